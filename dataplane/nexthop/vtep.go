// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// vtep is a tracked VTEP.
type vtep struct {
	addr netip.Addr
	mark *atomic.Bool // set by Lookup
	used time.Time    // when the mark was seen

	asked  time.Time  // when the route was last asked for
	queued bool       // in a queue
	why    string     // the route leads nowhere; "": it does not, or is not known
	mtu    int        // of the route; 0: of the interface
	nb     *neighbour // the next hop; nil: not known

	waits  time.Time // since when there is no definite answer; zero: there is
	hop    Hop       // the last answer, as state and reason
	state  State
	reason string
}

// look takes the mark that Lookup left.
func (v *vtep) look(now time.Time) {
	if v.mark.Swap(false) {
		v.used = now
	}
}

// queue is VTEPs whose routes are to be asked for. A VTEP is in one at most.
type queue []*vtep

func (q *queue) push(v *vtep) {
	if !v.queued {
		v.queued = true
		*q = append(*q, v)
	}
}

// pop returns the first, or nil.
func (q *queue) pop() *vtep {
	if len(*q) == 0 {
		return nil
	}
	v := (*q)[0]
	(*q)[0] = nil
	*q = (*q)[1:]
	v.queued = false
	return v
}

func (q *queue) clear() {
	for q.pop() != nil {
	}
}

// admit takes in the VTEPs that Lookup did not find. While there is no room for
// them, or too much else to ask for, they wait where Lookup left them.
func (t *Table) admit(now time.Time) {
	if !t.timers.admit.IsZero() && !due(&t.timers.admit, now) || len(t.fresh) >= routeBurst {
		return
	}
	if len(t.vteps) > t.max-maxWishes && !t.evict(now) {
		t.timers.admit = now.Add(retryAfter)
		return
	}
	t.spare = t.wanted.take(t.spare[:0])
	for _, ip := range t.spare {
		if t.vteps[ip] != nil {
			continue
		}
		v := &vtep{addr: ip, mark: new(atomic.Bool), used: now, waits: now}
		t.vteps[ip] = v
		t.touched = true
		t.fresh.push(v)
		if t.timers.sweep.IsZero() {
			t.timers.sweep = now.Add(sweepEvery)
		}
	}
}

// evict makes room: it forgets a sixteenth of the VTEPs, those that have not
// been used for the longest time. It reports false if all are in use.
func (t *Table) evict(now time.Time) bool {
	var idle []*vtep
	for _, v := range t.vteps {
		v.look(now)
		if now.Sub(v.used) >= sweepEvery {
			idle = append(idle, v)
		}
	}
	slices.SortFunc(idle, func(a, b *vtep) int { return a.used.Compare(b.used) })
	idle = idle[:min(len(idle), t.max/16)]
	for _, v := range idle {
		t.forget(v, now)
	}
	return len(idle) > 0
}

// forget ends following a VTEP.
func (t *Table) forget(v *vtep, now time.Time) {
	delete(t.vteps, v.addr)
	t.setNeighbour(v, nil)
	t.touched = true
}

// sweep forgets what is not used, and refreshes and retries what is.
func (t *Table) sweep(now time.Time) {
	if !due(&t.timers.sweep, now) {
		return
	}
	for _, v := range t.vteps {
		v.look(now)
		idle := now.Sub(v.used)
		switch {
		case idle >= forgetAfter, idle >= idleAfter && v.state != Resolved && t.link.up():
			t.forget(v, now)
		case idle >= idleAfter:
		default:
			if v.nb != nil {
				v.nb.wanted = true
			}
			if now.Sub(v.asked) >= refreshEvery {
				t.stale.push(v)
			}
		}
	}
	t.tendNeighbours(now, true)
	if len(t.vteps) != 0 {
		t.timers.sweep = now.Add(sweepEvery)
		t.timers.link = now // the MTU of IPv6 may be set without a message
	}
}

// resolve asks for the routes of what is queued, as many as the limit allows.
// New VTEPs and known ones take turns, so that neither keeps the other waiting.
func (t *Table) resolve(now time.Time) {
	t.timers.resolve = time.Time{}
	if !t.link.up() {
		// The kernel would deny what it will know again later. Everything is
		// asked for when the interface comes up.
		t.fresh.clear()
		t.stale.clear()
		return
	}
	for len(t.fresh)+len(t.stale) != 0 {
		for _, q := range []*queue{&t.fresh, &t.stale} {
			if len(*q) == 0 {
				continue
			}
			if !t.limit.take(now) {
				t.timers.resolve = now.Add(routeBurst / 4 * time.Second / routeRate)
				return
			}
			if v := q.pop(); t.vteps[v.addr] == v {
				t.ask(v, now)
			}
		}
	}
}

// ask asks for the route of v and takes in the answer.
func (t *Table) ask(v *vtep, now time.Time) {
	v.asked, t.touched = now, true
	via, mtu, err := t.way(v.addr)
	if err != nil {
		v.why, v.mtu = err.Error(), 0
		t.setNeighbour(v, nil)
		return
	}
	v.why, v.mtu = "", mtu
	t.setNeighbour(v, t.neighbour(via, now))
}
