// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"fmt"
	"runtime/debug"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"

	"netcon/dataplane/stat"
)

// panicHook is called with every packet given to Deliver; tests set it.
var panicHook func(packet []byte)

// Dead reports whether the stack panicked, and why. From any goroutine. A dead
// stack is never called again, because its locks may be held: every method
// does nothing or returns ENETDOWN.
func (s *Stack) Dead() (reason string, dead bool) {
	if p := s.death.Load(); p != nil {
		return *p, true
	}
	return "", false
}

// off reports whether the stack may not be called: dead, or stopped.
func (s *Stack) off() bool { return s.death.Load() != nil || s.stop }

// ring rings the doorbell unless the stack was stopped.
func (s *Stack) ring() {
	if !s.quiet.Load() {
		s.cfg.Doorbell()
	}
}

// kill marks the stack dead.
func (s *Stack) kill(where string, cause any) {
	reason := fmt.Sprintf("%s: %v\n%s", where, cause, debug.Stack())
	if s.death.CompareAndSwap(nil, &reason) {
		s.ring()
	}
}

// contain ends a call into gVisor. It is deferred; a panic of gVisor kills the
// stack and nothing else.
func (s *Stack) contain(where string) {
	if cause := recover(); cause != nil {
		s.kill(where, cause)
	}
}

// containPacket is contain for a packet, which is counted as dropped.
func (s *Stack) containPacket() {
	if cause := recover(); cause != nil {
		s.kill("deliver", cause)
		s.stat.Drop(stat.DropStackPanic)
	}
}

// clock is gVisor's clock with contained timer callbacks. A callback runs on a
// goroutine of its own.
type clock struct {
	std tcpip.Clock
	s   *Stack
}

// Now implements tcpip.Clock.
func (c *clock) Now() time.Time { return c.std.Now() }

// NowMonotonic implements tcpip.Clock.
func (c *clock) NowMonotonic() tcpip.MonotonicTime { return c.std.NowMonotonic() }

// AfterFunc implements tcpip.Clock.
func (c *clock) AfterFunc(d time.Duration, f func()) tcpip.Timer {
	return c.std.AfterFunc(d, func() {
		if c.s.death.Load() != nil {
			return
		}
		defer c.s.contain("timer")
		f()
	})
}
