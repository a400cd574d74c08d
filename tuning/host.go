// SPDX-License-Identifier: Apache-2.0

package tuning

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/safchain/ethtool"
)

// Config says what the host is tuned for.
type Config struct {
	Device   string // that carries the frames; "": only what concerns the whole host
	CPUs     []int  // of the workers; empty: not pinned
	Workers  int
	XDP      bool // AF_XDP; otherwise UDP sockets
	BusyPoll bool // the kernel polls the device for the workers
	InnerMTU int  // IP packets that containers should be able to send; 0: 1500
	IPv6     bool // outer
}

// host is where knobs are.
type host struct {
	root string // in front of /sys and /proc; "" but in tests
	nic  nic
	flow flowHash
}

// thisHost opens the host that the process runs on. close ends its use.
func thisHost() (h *host, end func(), err error) {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return nil, nil, fmt.Errorf("open ethtool socket: %w", err)
	}
	return &host{nic: e, flow: ioctlHash{}}, e.Close, nil
}

// read returns the trimmed content of a file below /sys or /proc, "" if there is
// none.
func (h *host) read(path string) string {
	v, _ := h.file(path).get()
	return v
}

// names returns what a directory holds.
func (h *host) names(dir string) (names []string) {
	entries, _ := os.ReadDir(filepath.Join(h.root, dir))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// number returns the number in a file, -1 if there is none.
func (h *host) number(path string) int {
	n, err := strconv.Atoi(h.read(path))
	if err != nil {
		return -1
	}
	return n
}

// cpuSet is a set of CPUs, as the kernel writes it: "0-3,8".
type cpuSet map[int]bool

// parseCPUs returns a set, empty if the text is none.
func parseCPUs(text string) cpuSet {
	set := cpuSet{}
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			to = from
		}
		a, err1 := strconv.Atoi(from)
		b, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil || a < 0 || b >= maxCPUs {
			continue
		}
		for ; a <= b; a++ {
			set[a] = true
		}
	}
	return set
}

// maxCPUs bounds CPU numbers: NR_CPUS of the largest kernels.
const maxCPUs = 8192

// String returns the set as the kernel writes it.
func (s cpuSet) String() string {
	var parts []string
	for a := 0; a < maxCPUs; a++ {
		if !s[a] {
			continue
		}
		b := a
		for s[b+1] {
			b++
		}
		if a == b {
			parts = append(parts, strconv.Itoa(a))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", a, b))
		}
		a = b
	}
	return strings.Join(parts, ",")
}

// without returns the CPUs of s that are not in list.
func (s cpuSet) without(list []int) cpuSet {
	out := cpuSet{}
	for c := range s {
		out[c] = true
	}
	for _, c := range list {
		delete(out, c)
	}
	return out
}
