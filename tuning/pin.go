// SPDX-License-Identifier: Apache-2.0

package tuning

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// PinThread locks the calling goroutine to its thread and the thread to one
// CPU. It is never undone: the goroutine is expected to end with the thread.
// A CPU that is offline or outside the process's CPU set is an error that names
// it; the goroutine stays locked to its thread.
func PinThread(cpu int) error {
	runtime.LockOSThread()
	var set unix.CPUSet
	if cpu >= 0 { // Set takes -1 for a large number
		set.Set(cpu)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("pin worker to cpu %d: %w (is it online and in this process's cpu set?)", cpu, err)
	}
	return nil
}
