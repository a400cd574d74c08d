// SPDX-License-Identifier: Apache-2.0

package tcpsim

import (
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// gvClock is gVisor's clock: it moves when told, and timers run one by one, in
// the order of their times and of their making.
type gvClock struct {
	mu     sync.Mutex
	now    time.Duration
	seq    uint64
	timers []*gvTimer // in no order: they are few
}

type gvTimer struct {
	c   *gvClock
	at  time.Duration
	seq uint64
	f   func()
}

// Now implements tcpip.Clock.
func (c *gvClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Unix(1_700_000_000, 0).Add(c.now)
}

// NowMonotonic implements tcpip.Clock.
func (c *gvClock) NowMonotonic() tcpip.MonotonicTime {
	c.mu.Lock()
	defer c.mu.Unlock()
	return tcpip.MonotonicTime{}.Add(c.now)
}

// AfterFunc implements tcpip.Clock.
func (c *gvClock) AfterFunc(d time.Duration, f func()) tcpip.Timer {
	t := &gvTimer{c: c, f: f}
	t.Reset(d)
	return t
}

// find returns the timer's place among those that run, or -1.
func (c *gvClock) find(t *gvTimer) int {
	for i, u := range c.timers {
		if u == t {
			return i
		}
	}
	return -1
}

// Stop implements tcpip.Timer.
func (t *gvTimer) Stop() bool {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	i := t.c.find(t)
	if i < 0 {
		return false
	}
	last := len(t.c.timers) - 1
	t.c.timers[i] = t.c.timers[last]
	t.c.timers[last] = nil
	t.c.timers = t.c.timers[:last]
	return true
}

// Reset implements tcpip.Timer.
func (t *gvTimer) Reset(d time.Duration) {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	t.c.seq++
	t.at, t.seq = t.c.now+max(d, 0), t.c.seq
	if t.c.find(t) < 0 {
		t.c.timers = append(t.c.timers, t)
	}
}

// first returns the timer that is due first.
func (c *gvClock) first() *gvTimer {
	var f *gvTimer
	for _, t := range c.timers {
		if f == nil || t.at < f.at || t.at == f.at && t.seq < f.seq {
			f = t
		}
	}
	return f
}

// next returns when the first timer is due.
func (c *gvClock) next() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.first(); t != nil {
		return t.at
	}
	return never
}

// due moves the clock to the first timer that is due by now and returns what it
// runs; without one it moves the clock to now and returns nil.
func (c *gvClock) due(now time.Duration) func() {
	c.mu.Lock()
	t := c.first()
	if t == nil || t.at > now {
		c.now = max(c.now, now)
		c.mu.Unlock()
		return nil
	}
	c.now = max(c.now, t.at)
	c.mu.Unlock()
	t.Stop()
	return t.f
}
