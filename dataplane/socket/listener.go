// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"syscall"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

// undelivered is a connection taken from the engine that its listener's pair
// had no room for.
type undelivered struct {
	user uint64 // the connection, as a user value
	fd   int32  // the application's end
}

// accept moves connections from the engine's queue to the listener's pair while
// there is room; then they wait in the engine.
func (t *Set) accept(s *sock) {
	if s.has(fHup) {
		t.lastClose(s)
		return
	}
	t.shared = false
	for range visitAccepts {
		if t.shared {
			// The next connection from outside is another listener's.
			if s.has(fAccept) {
				t.enqueue(s)
			}
			return
		}
		if len(s.pending) == 0 && !t.takeConnection(s) {
			return
		}
		if len(s.pending) > 0 && !t.deliver(s) {
			return
		}
	}
	t.enqueue(s)
}

// takeConnection takes one connection from the engine into s.pending, or puts it
// aside. What it needs is made first, so a connection is never taken in vain.
func (t *Set) takeConnection(s *sock) bool {
	if !s.has(fAccept) && !t.mayBePublished(s) {
		return false
	}
	if t.spare[0] < 0 {
		ours, theirs, e := streamPair()
		if e != 0 { // EMFILE, ENFILE, ENOBUFS, ENOMEM: no fault of the listener
			t.pause(s)
			return false
		}
		// Whoever accepts takes it; closed with it unread, the connection is
		// one that was never accepted.
		if n, _ := send(ours, []byte{0}); n != 1 {
			closeFD(ours)
			closeFD(theirs)
			t.pause(s)
			return false
		}
		t.spare = [2]int32{ours, theirs}
		t.noRights = setSockInt(ours, soPassRights, 0) == 0
	}
	c := t.slab.alloc()
	if c == nil {
		t.pause(s)
		return false
	}
	h, from, e := t.acceptFor(s, c)
	if e != 0 {
		t.slab.release(c)
		switch e {
		case unix.ECONNABORTED:
			t.enqueue(s)
		case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
			t.pause(s)
		}
		return false
	}
	c.handle = h
	c.flags |= from
	cookie, _ := cookieOf(t.spare[1])
	t.register(c, t.spare[0], cookie, s.family)
	t.widen(c)
	c.state, c.pid, c.uid, c.opts = stConnected, s.pid, s.uid, s.opts
	c.flags |= fClaimed | fCanWrite | s.flags&fSupervised
	c.remote, _ = t.of(c).Remote(h)
	t.of(c).Attach(h, &c.pair)
	fd := t.spare[1]
	t.spare = [2]int32{-1, -1}
	if !t.deferAccept(s, c, fd) {
		s.pending = append(s.pending, undelivered{user: c.user(), fd: fd})
	}
	return true
}

// acceptFor accepts one connection, from the container's network or a published
// port; from is the flag that says which.
func (t *Set) acceptFor(s, c *sock) (h stream.Handle, from flag, e syscall.Errno) {
	if s.has(fAccept) {
		h, e = t.engine.Accept(s.handle, c.user())
		switch e {
		case 0, unix.ECONNABORTED, unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
			return h, 0, e
		}
		s.flags &^= fAccept
	}
	h, e = t.takePublished(s, c)
	return h, fHost, e
}

// deliver puts the first of s.pending on the listener's pair.
func (t *Set) deliver(s *sock) bool {
	c := t.slab.lookup(s.pending[0].user)
	if c == nil { // died while it waited
		s.delivered()
		return true
	}
	if !s.has(fCanWrite) {
		return false
	}
	rec := shm.Accept{
		Magic:  shm.Magic,
		Cookie: c.cookie,
		Peer:   encodeAddr(c.remote, c.family),
		Local:  encodeAddr(t.localOf(c), c.family),
	}
	switch e := t.sendAccept(s, &rec); e {
	case 0:
	case unix.EAGAIN:
		s.flags &^= fCanWrite
		return false
	case unix.ETOOMANYREFS, unix.ENOBUFS, unix.ENOMEM:
		t.pause(s) // fds in flight, or kernel memory
		return false
	default: // the application's end takes nothing any more
		t.lastClose(s)
		return false
	}
	s.delivered()
	t.stat.Count(stat.Accepts)
	if !t.watch(c) {
		t.abort(c)
		return true
	}
	t.enqueue(c) // bytes may have arrived while it waited
	return true
}

// delivered takes the first of s.pending away.
func (s *sock) delivered() {
	closeFD(s.pending[0].fd)
	if s.pending = s.pending[1:]; len(s.pending) == 0 {
		s.pending = nil
	}
}

func (t *Set) sendAccept(s *sock, rec *shm.Accept) syscall.Errno {
	for {
		if e := t.msg.sendFD(s.fd, shm.AcceptBytes(rec), s.pending[0].fd); e != unix.EINTR {
			return e
		}
	}
}

// dropPending resets the connections that were accepted but not delivered.
func (t *Set) dropPending(s *sock) {
	if s.state == stListening {
		t.dropDeferred(s)
	}
	for len(s.pending) > 0 {
		c := t.slab.lookup(s.pending[0].user)
		s.delivered()
		if c != nil {
			t.abort(c)
		}
	}
}
