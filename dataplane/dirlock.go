// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockFile is what a daemon holds locked in its runtime directory. It is a file
// that nobody else may open: the directory itself could be locked by whoever may
// read it.
const lockFile = "daemon.lock"

// dirLock says that one daemon works in a runtime directory.
type dirLock struct{ f *os.File }

// lockRuntimeDir takes the directory for this daemon. EADDRINUSE: another one
// has it.
func lockRuntimeDir(dir string) (*dirLock, error) {
	path := filepath.Join(dir, lockFile)
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock runtime directory: %w", err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			_ = f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, fmt.Errorf("runtime directory %s: %w (another daemon answers there)", dir, unix.EADDRINUSE)
			}
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		// What is locked may have been removed since it was opened.
		held, err := f.Stat()
		if err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if named, err := os.Lstat(path); err == nil && os.SameFile(held, named) {
			return &dirLock{f}, nil
		}
		_ = f.Close()
	}
}

// release gives the directory to the next daemon. It may be called on nil, and
// again.
func (l *dirLock) release() {
	if l == nil || l.f == nil {
		return
	}
	_ = os.Remove(l.f.Name()) // while it is locked: it is ours
	_ = l.f.Close()
	l.f = nil
}
