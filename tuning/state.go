// SPDX-License-Identifier: Apache-2.0

package tuning

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// DefaultState is where Apply writes down what it changes. A reboot empties it,
// and resets the knobs.
const DefaultState = "/run/netcon-tune.json"

// maxState bounds a state file.
const maxState = 1 << 20

// Saved is a knob that Apply wrote to.
type Saved struct {
	Name   string `json:"name"`
	Knob   string `json:"knob"`
	Before string `json:"before"` // what it held
	After  string `json:"after"`  // what Apply wrote
}

// state is the content of a state file, open and locked.
type state struct {
	Boot  string  `json:"boot"` // boot_id of the kernel
	Saved []Saved `json:"saved"`

	path string
	lock *os.File
}

// openState locks and reads a state file; there may be none.
func (h *host) openState(path string) (*state, error) {
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock state file: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("lock state file %s: %w (is another netcon tune running?)", path, err)
	}
	boot := h.read("/proc/sys/kernel/random/boot_id")
	s := &state{path: path, lock: lock}
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		s.Boot = boot
		return s, nil
	case err != nil:
		s.close()
		return nil, fmt.Errorf("read state file: %w", err)
	case len(b) > maxState:
		s.close()
		return nil, fmt.Errorf("state file %s: %d bytes (at most %d)", path, len(b), maxState)
	}
	if err := json.Unmarshal(b, s); err != nil {
		s.close()
		return nil, fmt.Errorf("state file %s: %w (remove it if it is not worth keeping)", path, err)
	}
	if s.Boot != boot {
		// The knobs were reset by the reboot.
		s.Boot, s.Saved = boot, nil
	}
	return s, nil
}

func (s *state) close() { _ = s.lock.Close() }

// find returns the index of a knob, -1 if it was not saved.
func (s *state) find(knob string) int {
	for i := range s.Saved {
		if s.Saved[i].Knob == knob {
			return i
		}
	}
	return -1
}

// write replaces the file as a whole, or removes it when nothing is saved. It
// has reached the disk, as far as there is one, when write returns.
func (s *state) write() error {
	if len(s.Saved) == 0 {
		err := os.Remove(s.path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove state file: %w", err)
		}
		return nil
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(s.path), filepath.Base(s.path)+".*")
	if err != nil {
		return fmt.Errorf("write state file: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write state file %s: %w", s.path, err)
	}
	return nil
}
