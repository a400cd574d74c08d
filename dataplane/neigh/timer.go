// SPDX-License-Identifier: Apache-2.0

package neigh

import (
	"container/heap"
	"time"
)

// timers is a heap of all entries by deadline (container/heap). It keeps
// entry.pos.
type timers []*entry

func (h timers) Len() int           { return len(h) }
func (h timers) Less(i, j int) bool { return h[i].deadline < h[j].deadline }
func (h timers) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i, j
}

// Push and Pop serve container/heap.
func (h *timers) Push(x any) {
	e := x.(*entry)
	e.pos = len(*h)
	*h = append(*h, e)
}

// Pop serves container/heap.
func (h *timers) Pop() any {
	n := len(*h) - 1
	e := (*h)[n]
	(*h)[n] = nil
	*h = (*h)[:n]
	return e
}

// arm sets e's deadline.
func (t *Table) arm(e *entry, at time.Duration) {
	e.deadline = at
	heap.Fix(&t.timers, e.pos)
}

// Next returns the time at which Tick has something to do, or Never.
func (t *Table) Next() time.Duration {
	if len(t.timers) == 0 {
		return t.announceAt
	}
	return min(t.timers[0].deadline, t.announceAt)
}

// Tick does what is due: requests again, ages, fails, collects, and repeats an
// announcement.
func (t *Table) Tick(now time.Duration) {
	t.now = now
	if now >= t.announceAt {
		t.announceAt = Never
		t.announceAll()
	}
	// Each step moves the first deadline past now or removes the entry.
	for len(t.timers) > 0 && t.timers[0].deadline <= now {
		t.expire(t.timers[0], now)
	}
}

// expire acts on e's timer (RFC 4861 appendix C).
func (t *Table) expire(e *entry, now time.Duration) {
	switch e.state {
	case incomplete:
		if mac, ok := t.staticMAC(e.ip); ok {
			t.record(e, mac, stale, now)
		} else if e.tries < maxSolicits {
			t.solicit(e, now)
		} else {
			t.enter(e, failed, now)
			t.fail(e)
		}
	case reachable:
		// Confirm moves updated only, not the timer.
		if at := e.updated + reachableTime; at > now {
			t.arm(e, at)
		} else {
			t.enter(e, stale, now)
		}
	case delay:
		e.tries = 0
		t.enter(e, probe, now)
		t.solicit(e, now)
	case probe:
		if e.tries < maxSolicits {
			t.solicit(e, now)
		} else {
			t.remove(e)
		}
	case stale, failed:
		t.remove(e)
	}
}
