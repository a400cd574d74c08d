// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Alarm is a clock and a timerfd that is readable once a deadline has passed.
type Alarm struct {
	fd    int
	start time.Time
	set   bool
	at    time.Duration
}

// NewAlarm returns an alarm whose clock starts at zero.
func NewAlarm() (*Alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("create timerfd: %w", err)
	}
	return &Alarm{fd: fd, start: time.Now()}, nil
}

// Now reads the clock.
func (a *Alarm) Now() time.Duration { return time.Since(a.start) }

// FD is readable from the deadline on, until Set is called after it.
func (a *Alarm) FD() int { return a.fd }

// Set arms the alarm for the earliest of the injectors' deadlines. An alarm
// that stands for an earlier time is left alone: waking up too early costs less
// than a system call for every frame.
func (a *Alarm) Set(now time.Duration, injectors ...*Injector) {
	var at time.Duration
	want := false
	for _, i := range injectors {
		if t, ok := i.Next(); ok && (!want || t < at) {
			at, want = t, true
		}
	}
	switch {
	case want && a.set && a.at > now && a.at <= at:
		return
	case want:
		// A zero value would disarm the timer.
		a.arm(max(at-now, 1))
		a.set, a.at = true, at
	case a.set:
		a.arm(0)
		a.set = false
	}
}

func (a *Alarm) arm(d time.Duration) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	if err := unix.TimerfdSettime(a.fd, 0, &spec, nil); err != nil {
		panic(fmt.Sprintf("faults: arm timerfd for %v: %v", d, err))
	}
}

// Close releases the timerfd.
func (a *Alarm) Close() error { return unix.Close(a.fd) }
