// SPDX-License-Identifier: Apache-2.0

package tuning

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPinThread(t *testing.T) {
	got := make(chan unix.CPUSet)
	go func() { // the thread dies with its goroutine, pinned
		var set unix.CPUSet
		if err := PinThread(0); err != nil {
			t.Error(err)
		} else if err := unix.SchedGetaffinity(0, &set); err != nil {
			t.Error(err)
		}
		got <- set
		runtime.Goexit()
	}()
	if set := <-got; set.Count() != 1 || !set.IsSet(0) {
		t.Errorf("pinned to %d cpus, cpu 0 set: %v", set.Count(), set.IsSet(0))
	}
}

func TestPinThreadNamesTheCPU(t *testing.T) {
	for _, cpu := range []int{1000, 1 << 20, -1} {
		errs := make(chan error)
		go func() { errs <- PinThread(cpu) }()
		if err := <-errs; err == nil || !strings.Contains(err.Error(), fmt.Sprintf("cpu %d", cpu)) {
			t.Errorf("got %v, want an error that names cpu %d", err, cpu)
		}
	}
}
