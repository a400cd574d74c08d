// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"net/netip"

	"netcon/dataplane/frame"
	"netcon/dataplane/nexthop"
	"netcon/dataplane/stat"
)

// Bounds of what waits for next hops, in payloads.
const (
	maxHeld     = 64 // per link
	maxHeldVTEP = 16 // per VTEP
)

// mayHold says whether one more payload may wait for a VTEP. When it may not it
// is the new one that is dropped: the first of a connection is what the far side
// has to see first.
func (l *Link) mayHold(vtep netip.Addr) bool {
	if l.held == maxHeld {
		return false
	}
	n := 0
	for i := range l.holds[:l.held] {
		if l.holds[i].vtep == vtep {
			n++
		}
	}
	return n < maxHeldVTEP
}

// hold lets a payload wait. The caller asked mayHold.
func (l *Link) hold(c *chain) {
	for _, f := range c.frames[:c.count] {
		c.q.frames.Move(f, frame.Reserved, frame.Held)
	}
	l.holds[l.held] = *c
	l.held++
}

// release sends what waited for next hops that are known now, in order, and
// drops what waited for those that cannot be reached. The rest goes on waiting.
func (l *Link) release() {
	l.heldAt = l.generation
	kept := 0
	for i := range l.holds[:l.held] {
		c := &l.holds[i]
		h := l.lookup(c.vtep)
		switch {
		case h.state == nexthop.Pending && l.up:
			if kept != i {
				l.holds[kept] = *c
			}
			kept++
		case h.state == nexthop.Pending:
			l.discard(c, stat.DropUnderlayError)
		case h.state != nexthop.Resolved:
			l.discard(c, stat.DropNextHop)
		case c.n > min(l.mtu, h.to.MTU)-l.overhead:
			l.discard(c, stat.DropUnderlayMTU)
		default:
			for _, f := range c.frames[:c.count] {
				c.q.frames.Move(f, frame.Held, frame.Reserved)
			}
			l.transmit(c, h)
		}
	}
	l.held = kept
}

// discard drops a payload that waited.
func (l *Link) discard(c *chain, r stat.Reason) {
	c.free(frame.Held)
	l.stats.Drop(r)
}
