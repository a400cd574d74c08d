// SPDX-License-Identifier: Apache-2.0

package tuning

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxValue bounds what is read of a knob.
const maxValue = 4096

// knob is one value of the host. Its id says where it is, in words that open
// understands and people do, too: "file /proc/irq/24/smp_affinity_list",
// "channels eth0 combined".
type knob struct {
	id  string
	get func() (string, error)
	set func(string) error
}

// errNoKnob says that the host does not have a knob.
var errNoKnob = errors.New("not on this host")

// open returns the knob of that id.
func (h *host) open(id string) (knob, error) {
	f := strings.Fields(id)
	switch {
	case len(f) == 2 && f[0] == "file" && (strings.HasPrefix(f[1], "/sys/") || strings.HasPrefix(f[1], "/proc/")) && filepath.Clean(f[1]) == f[1]:
		if f[1] == hugepages {
			return choice(h.file(f[1])), nil
		}
		return h.file(f[1]), nil
	case len(f) == 3 && f[0] == "channels":
		return h.channels(f[1], f[2])
	case len(f) == 3 && f[0] == "coalesce":
		return h.coalesce(f[1], f[2])
	case len(f) == 3 && f[0] == "ring":
		return h.ring(f[1], f[2])
	case len(f) == 3 && f[0] == "feature":
		return h.feature(f[1], f[2]), nil
	case len(f) == 3 && f[0] == "hash":
		return h.hash(f[1], f[2])
	}
	return knob{}, fmt.Errorf("knob %q: unknown", id)
}

// file is a knob that is a file below /sys or /proc.
func (h *host) file(path string) knob {
	real := filepath.Join(h.root, path)
	return knob{
		id: "file " + path,
		get: func() (string, error) {
			f, err := os.Open(real)
			if err != nil {
				return "", reasonOf(err)
			}
			defer func() { _ = f.Close() }()
			b, err := io.ReadAll(io.LimitReader(f, maxValue))
			return strings.TrimSpace(string(b)), reasonOf(err)
		},
		set: func(value string) error {
			f, err := os.OpenFile(real, os.O_WRONLY|os.O_TRUNC, 0)
			if err != nil {
				return reasonOf(err)
			}
			_, err = f.WriteString(value)
			if e := f.Close(); err == nil {
				err = e
			}
			return reasonOf(err)
		},
	}
}

// reasonOf strips what a knob's id says already.
func reasonOf(err error) error {
	if pe := (*os.PathError)(nil); errors.As(err, &pe) {
		err = pe.Err
	}
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.EOPNOTSUPP):
		return errNoKnob
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w (root may)", err)
	}
	return err
}

// hugepages is a file that shows every choice.
const hugepages = "/sys/kernel/mm/transparent_hugepage/enabled"

// choice reads the chosen word of a file such as "always [madvise] never".
func choice(k knob) knob {
	inner := k.get
	k.get = func() (string, error) {
		v, err := inner()
		if _, rest, ok := strings.Cut(v, "["); ok && err == nil {
			v, _, _ = strings.Cut(rest, "]")
		}
		return v, err
	}
	return k
}
