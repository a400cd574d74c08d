// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"time"

	"golang.org/x/sys/unix"
)

// What the thread that takes calls asks of the scheduler. It works for
// microseconds at a time, and a program waits meanwhile: a short slice makes the
// kernel run it soon (EEVDF, Linux 6.12), and so does a better nice value, where
// that is allowed.
const (
	slice     = 200 * time.Microsecond
	niceAhead = 15
	niceBest  = -20
)

// hasten puts the calling thread, which is to be locked, ahead of the programs it
// serves, as far as it may.
func hasten() {
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil || attr.Policy != unix.SCHED_NORMAL {
		return // somebody has chosen already
	}
	attr.Runtime = uint64(slice)
	usual := attr.Nice
	attr.Nice = max(usual-niceAhead, niceBest)
	if unix.SchedSetAttr(0, attr, 0) != nil {
		attr.Nice = usual
		_ = unix.SchedSetAttr(0, attr, 0)
	}
}
