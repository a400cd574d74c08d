// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOneHoldsTheDirectory: of many that take a directory at once, and give it
// back, one has it at a time, and nothing stays behind.
func TestOneHoldsTheDirectory(t *testing.T) {
	dir := t.TempDir()
	var holders, taken atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 500 {
				l, err := lockRuntimeDir(dir)
				if err != nil {
					if !errors.Is(err, unix.EADDRINUSE) {
						t.Error(err)
						return
					}
					continue
				}
				if holders.Add(1) != 1 {
					t.Error("two hold the directory")
				}
				taken.Add(1)
				holders.Add(-1)
				l.release()
			}
		})
	}
	all.Wait()
	if taken.Load() == 0 {
		t.Error("nobody ever had it")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
