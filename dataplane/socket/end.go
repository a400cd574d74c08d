// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"syscall"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"

	"golang.org/x/sys/unix"
)

// lastClose handles the close of the last reference to a virtual socket.
func (t *Set) lastClose(s *sock) {
	if s.state != stConnected {
		t.dropPending(s)
		t.closeEngine(s)
		t.finish(s)
		return
	}
	if s.pair.Rx.Len() > 0 && !s.has(fRxDrop) {
		t.abort(s) // unread bytes: RST, as tcp_close
		return
	}
	// What the application wrote goes out first; its pair is of no more
	// use.
	t.closePair(s)
	s.state = stClosing
	t.closing(s)
}

// resets reports whether the last close of a socket is a reset: bytes were not
// read, or it was asked for (SO_LINGER of no time). What the peer did not take
// until then is lost.
func (t *Set) resets(s *sock) bool {
	if s.pair.Rx.Len() > 0 && !s.has(fRxDrop) || t.value(s, rowLinger) == 0 {
		return true
	}
	e, _ := sockInt(s.fd, unix.SO_ERROR) // of an end that was closed with bytes in it
	return syscall.Errno(e) == unix.ECONNRESET
}

// closing ends a socket once the engine has pulled its last byte.
func (t *Set) closing(s *sock) {
	if s.pair.Tx.Len() > 0 {
		return // until Writable
	}
	t.closeEngine(s)
	t.finish(s)
}

// abort ends a connection with RST.
func (t *Set) abort(s *sock) {
	t.stat.Count(stat.Resets)
	if s.has(fShut) {
		t.remember(s)
	}
	if s.handle != 0 {
		t.of(s).Abort(s.handle)
		s.handle = 0
	}
	t.drop(s)
}

// connectFailed ends a connect. A blocking one was answered with the error and
// may be tried again on the same socket. Otherwise the pair is closed with the
// filler in it, which the application sees as EPOLLERR|EPOLLHUP, and SO_ERROR
// is answered from a tombstone.
func (t *Set) connectFailed(s *sock, err syscall.Errno) {
	heard := t.wakeWaiters(s, err)
	if heard {
		t.discardFiller(s, s.skip)
		s.skip = 0
		s.errno = t.reopen(s)
		return
	}
	if !heard {
		s.errno = err
	}
	t.closeEngine(s)
	t.bury(s)
}

// failed ends a connection that was reset or timed out. Bytes that were
// received before are delivered first.
func (t *Set) failed(s *sock, err syscall.Errno) {
	if s.errno = err; err == unix.ECONNRESET && s.pair.RxEOF.Load() {
		s.errno = unix.EPIPE // in CLOSE-WAIT, tcp_reset
	}
	s.local = t.of(s).Local(s.handle)
	t.closeEngine(s)
	t.giveBack(s.pair.Tx.Discard())
	s.state = stFailed
	t.enqueue(s)
}

// deliverLast hands over what is left in the Rx ring of a dead connection, then
// closes the pair: with unread bytes in it where there are some, so that the
// application sees ECONNRESET.
func (t *Set) deliverLast(s *sock) {
	for s.pair.Rx.Len() > 0 && !s.has(fHup) {
		n, ok := t.writeRx(s)
		if n == 0 && !ok {
			if s.has(fRxDrop) {
				break
			}
			t.endTx(s)
			return // until EPOLLOUT
		}
	}
	t.bury(s)
}

// endTx ends what the application sends on a dead connection whose bytes it does
// not read: one that waits to write has to wake, and be told.
func (t *Set) endTx(s *sock) {
	if s.has(fTxEnd) {
		return
	}
	s.flags |= fTxEnd
	shutdown(s.fd, unix.SHUT_RD)
	t.emptyPair(s)
}

// closeEngine ends the engine's socket in order.
func (t *Set) closeEngine(s *sock) {
	if s.handle != 0 {
		if s.local = t.of(s).Local(s.handle); s.state == stConnected || s.state == stClosing {
			s.remote, _ = t.of(s).Remote(s.handle)
		}
		t.of(s).Close(s.handle)
		s.handle = 0
	}
}

// closePair closes our end of the pair. A child that another thread forked in the
// middle of socket(2) may hold it too, and the close is not its last one: the
// shutdown is what the application sees then.
func (t *Set) closePair(s *sock) {
	if s.fd < 0 {
		return
	}
	if s.has(fWatched) {
		t.cfg.Poller.Remove(int(s.fd), s)
	}
	if s.has(fForked) && !s.has(fHup) {
		shutdown(s.fd, unix.SHUT_RDWR)
	}
	t.closeStream(s.fd)
	s.fd = -1
}

// finish ends a socket that its application let go of. A tombstone is left only
// where a process may still hold it, shut in both directions.
func (t *Set) finish(s *sock) {
	if s.has(fShut) {
		t.bury(s)
		return
	}
	t.drop(s)
}

// bury leaves a tombstone and frees the socket.
func (t *Set) bury(s *sock) {
	t.remember(s)
	t.drop(s)
}

func (t *Set) remember(s *sock) {
	t.tombs.add(tomb{
		cookie: s.cookie, when: t.nowForAge(), errno: s.errno, family: s.family,
		local: s.local, remote: s.remote, peer: s.has(fShut) && s.errno == 0, ended: s.pair.RxEOF.Load(),
		opts: s.opts, asked: s.asked, bound: s.has(fBound),
	})
}

// drop frees a socket that has no engine handle any more.
func (t *Set) drop(s *sock) {
	t.wakeWaiters(s, unix.ECONNRESET)
	if s.has(fDeferred) {
		t.forget(s)
	}
	t.dropHeld(s)
	t.closePair(s)
	t.takeBuffers(s)
	delete(t.byCookie, s.cookie)
	t.listeners = t.listeners || s.state == stListening
	t.stat.Count(stat.SocketsClosed)
	t.closeOut(s)
	if s.dgram != nil && s.has(fBound) {
		t.stalePorts(s.asked.Port())
	}
	s.opts, s.dgram = nil, nil
	t.slab.release(s)
}

// Close ends every socket with RST and every attach socket: the daemon stops.
// Applications see EOF or errors.
func (t *Set) Close() {
	if t.closed {
		return
	}
	t.slab.each(func(s *sock) {
		for len(s.pending) > 0 {
			s.delivered()
		}
		if s.handle != 0 {
			t.of(s).Abort(s.handle)
			s.handle = 0
		}
		t.drop(s)
	})
	for a := range t.attached {
		t.detach(a)
	}
	for r := range t.trees {
		r.dropPidfd()
	}
	for len(t.published) > 0 {
		t.Unpublish(t.published[0].id)
	}
	for _, n := range t.netlinks {
		t.closeNetlink(n)
	}
	t.dropSpare()
	t.closed = true
}

// Restart takes a new engine in the place of one that died, which is not called
// again. Every virtual socket ends; the attach sockets stay.
func (t *Set) Restart(e stream.Engine) {
	t.engine = e
	t.datagrams, _ = e.(stream.Datagrams)
	t.closeRequest()
	t.slab.each(func(s *sock) {
		for len(s.pending) > 0 {
			s.delivered()
		}
		if s.has(fHost) && s.handle != 0 {
			t.of(s).Abort(s.handle)
		}
		s.handle = 0
		if s.dgram != nil {
			t.drop(s)
			return
		}
		s.errno = unix.ECONNRESET
		t.stat.Count(stat.Resets)
		t.bury(s)
	})
}

// closeRequest closes what came with a request that was never carried out to its
// end, because the engine died in it, and looks at every attach socket again:
// which of them were in line is not known any more.
func (t *Set) closeRequest() {
	owned := map[int32]bool{}
	t.slab.each(func(s *sock) {
		owned[s.fd] = true
		for _, fd := range s.waiters {
			owned[fd] = true
		}
	})
	for _, fd := range t.fds {
		if !owned[fd] {
			t.janitor.close(fd)
		}
	}
	t.fds = t.fds[:0]
	t.ctlQueue, t.ctlSpare = nil, nil
	for a := range t.attached {
		a.queued, a.waiting = false, false
		a.ready()
	}
}

func (t *Set) dropSpare() {
	if t.spare[0] >= 0 {
		closeFD(t.spare[0])
		closeFD(t.spare[1])
		t.spare = [2]int32{-1, -1}
	}
}
