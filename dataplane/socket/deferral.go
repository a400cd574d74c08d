// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"time"

	"netcon/dataplane/stream"
)

// TCP_DEFER_ACCEPT, for engines that leave it to us: a connection of the
// listener is handed over when bytes of it have arrived, or its end, or when its
// time is over. One that is reset before is never seen. Unlike on the kernel it
// is established meanwhile.

// deferral is a connection that waits to be handed over.
type deferral struct {
	listener uint64 // as a user value
	fd       int32  // the application's end
	until    time.Time
}

// deferStep is how exactly the end of a deferral is kept: those that end in one
// step are looked for together.
const deferStep = 250 * time.Millisecond

// deferAccept puts a connection aside if its listener was asked to, and there
// are not too many already.
func (t *Set) deferAccept(s, c *sock, fd int32) bool {
	seconds := t.value(s, rowDeferAccept)
	if seconds <= 0 || len(t.deferred) >= t.cfg.ListenBacklogMax {
		return false
	}
	if _, e := t.of(s).Option(s.handle, stream.OptDeferAccept); e == 0 {
		return false // the engine did it
	}
	until := t.nowForAge().Add(time.Duration(seconds)*time.Second + deferStep).Truncate(deferStep)
	if len(t.deferred) == 0 || until.Before(t.deferEnd) {
		t.deferEnd = until
	}
	t.deferred[c.user()] = deferral{listener: s.user(), fd: fd, until: until}
	c.flags |= fDeferred
	t.enqueue(c) // bytes may have arrived
	return true
}

// arrived hands a connection over that has something to say.
func (t *Set) arrived(c *sock) {
	if c.state == stConnected && (c.rx > 0 || c.has(fRxEnd)) {
		t.handOver(c)
	}
}

// handOver makes a deferred connection the listener's next.
func (t *Set) handOver(c *sock) {
	d := t.deferred[c.user()]
	delete(t.deferred, c.user())
	c.flags &^= fDeferred
	s := t.slab.lookup(d.listener) // lives: it drops its deferred connections when it ends
	s.pending = append(s.pending, undelivered{user: c.user(), fd: d.fd})
	t.enqueue(s)
}

// forget closes what a deferred connection that died leaves behind.
func (t *Set) forget(c *sock) {
	closeFD(t.deferred[c.user()].fd)
	delete(t.deferred, c.user())
	c.flags &^= fDeferred
}

// endDeferrals hands over the connections whose time is over.
func (t *Set) endDeferrals() {
	now := t.nowForAge()
	if now.Before(t.deferEnd) {
		return
	}
	var over []*sock
	t.deferEnd = time.Time{}
	for user, d := range t.deferred {
		switch {
		case !now.Before(d.until):
			over = append(over, t.slab.lookup(user))
		case t.deferEnd.IsZero() || d.until.Before(t.deferEnd):
			t.deferEnd = d.until
		}
	}
	for _, c := range over {
		t.handOver(c)
	}
}

// dropDeferred resets the connections that wait for a listener.
func (t *Set) dropDeferred(s *sock) {
	for user, d := range t.deferred {
		if d.listener == s.user() {
			t.abort(t.slab.lookup(user))
		}
	}
}
