// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"io"
	"sync"
	"sync/atomic"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"netcon/dataplane/stream"
)

// readyQueue holds each socket that has something to do once.
//
// No wake-up is lost: gVisor changes an endpoint first and notifies then; push
// queues the socket unless it lies in the queue; pop clears that mark before
// the socket is looked at. So a change is either made before the look, which
// sees it, or its push comes after the mark was cleared and queues the socket
// again. Where a look stops early because a ring is full or empty, the owner's
// RxRoom or TxReady pushes; where it stops because gVisor's send queue is full,
// gVisor notifies when the queue has drained by half; where it stops for lack
// of buffer budget, settle pushes.
type readyQueue struct {
	mu         sync.Mutex
	head, tail *socket
	n          atomic.Int32 // written under mu
}

// push queues k and rings the doorbell if the queue was empty. From any
// goroutine.
func (q *readyQueue) push(k *socket) {
	q.mu.Lock()
	if k.queued {
		q.mu.Unlock()
		return
	}
	k.queued, k.next = true, nil
	empty := q.head == nil
	if empty {
		q.head = k
	} else {
		q.tail.next = k
	}
	q.tail = k
	q.n.Add(1)
	q.mu.Unlock()
	if empty {
		k.st.ring()
	}
}

// pop takes the oldest socket, nil if there is none.
func (q *readyQueue) pop() *socket {
	if q.n.Load() == 0 {
		return nil
	}
	q.mu.Lock()
	k := q.head
	if k != nil {
		q.head, k.next, k.queued = k.next, nil, false
		q.n.Add(-1)
	}
	q.mu.Unlock()
	return k
}

// Busy implements stream.Engine.
func (s *Stack) Busy() bool {
	if s.off() {
		return false
	}
	return s.ready.n.Load() != 0 || s.link.n.Load() != 0 || s.datagrams.Busy()
}

// happened is what a look at a socket found worth reporting.
type happened struct {
	established, acceptable, readable, writable bool
	failed                                      syscall.Errno
}

// Poll implements stream.Engine.
func (s *Stack) Poll(ev stream.Events, budget int) (more bool) {
	if s.off() {
		return false
	}
	// Neither kind of socket gets more than half of the turns while the other
	// wants some.
	half := (budget + 1) / 2
	budget -= half - s.datagrams.Poll(ev, half)
	if s.off() {
		return false
	}
	for ; budget > 0; budget-- {
		k := s.ready.pop()
		if k == nil {
			break
		}
		if k.handle == 0 {
			s.lookOrphan(k)
			continue
		}
		h, user := k.handle, k.user
		var what happened
		s.look(k, &what)
		// Every report may close the socket.
		if what.established {
			ev.Established(user)
		}
		if what.acceptable && k.handle == h {
			ev.Acceptable(user)
		}
		if what.readable && k.handle == h {
			ev.Readable(user)
		}
		if what.writable && k.handle == h {
			ev.Writable(user)
		}
		if what.failed != 0 && k.handle == h {
			ev.Failed(user, what.failed)
		}
		if s.off() {
			return false
		}
	}
	s.settle()
	return s.ready.n.Load() != 0 || s.datagrams.Reports()
}

// lookOrphan lets go of an orphan when gVisor is done with it.
func (s *Stack) lookOrphan(k *socket) {
	if k.state != orphan {
		return
	}
	defer s.contain("poll")
	if k.over() {
		s.orphans.remove(k)
		s.nOrphans.Store(int64(s.orphans.n))
		s.release(k)
	}
}

// look does what can be done for a socket.
func (s *Stack) look(k *socket, what *happened) {
	defer s.contain("poll")
	switch k.state {
	case listening:
		what.acceptable = k.ep.Readiness(waiter.ReadableEvents) != 0
		return
	case connecting:
		if !s.opened(k, what) {
			return
		}
	case connected:
	default:
		return
	}
	// Asked first: of a connection that ends from here on there may be bytes that
	// were not there to pull.
	over := k.over()
	if k.pair != nil {
		what.readable = s.pull(k)
		what.writable = s.push(k)
		if k.pair.Rx.Broken() || k.pair.Tx.Broken() {
			// Whoever shares the ring lies. Nobody is owed an orderly end.
			k.ep.Abort()
			s.fail(k)
			what.failed = syscall.ECONNRESET
			return
		}
	}
	switch {
	case what.failed != 0:
	case over:
		what.failed = s.ended(k)
	case k.over():
		s.ready.push(k)
	}
	k.recharge()
}

// opened looks at an active open, and reports whether it succeeded.
func (s *Stack) opened(k *socket, what *happened) bool {
	switch k.tcpState() {
	case tcp.StateConnecting, tcp.StateSynSent, tcp.StateSynRecv:
		switch {
		case k.fatal != 0:
			what.failed = k.fatal
		case k.synExpired.Load():
			if what.failed = k.soft; what.failed == 0 {
				what.failed = syscall.ETIMEDOUT
			}
		default:
			return false
		}
		k.ep.Abort()
	case tcp.StateError, tcp.StateClose:
		what.failed = k.lastError(syscall.ECONNRESET)
	default:
		k.stopSynTimer()
		k.state = connected
		what.established = true
		return true
	}
	s.fail(k)
	return false
}

// fail gives the pair of a socket back to its owner.
func (s *Stack) fail(k *socket) {
	k.stopSynTimer()
	s.unfollow(k)
	k.state, k.pair = failed, nil
}

// lastError returns why gVisor ended a connection, none if it does not say.
func (k *socket) lastError(none syscall.Errno) syscall.Errno {
	e := k.died
	if e == 0 {
		e = errnoOf(k.ep.LastError())
	}
	switch {
	case e == 0:
		return none
	case e == syscall.ETIMEDOUT && k.soft != 0:
		return k.soft
	case e == syscall.ECONNABORTED:
		return syscall.ECONNRESET
	}
	return e
}

// ended looks at a connection gVisor is done with. Bytes received before the
// end are the owner's first, unless it has not read those it was given and tries
// to send: then it must learn.
func (s *Stack) ended(k *socket) syscall.Errno {
	if k.dry && k.pair != nil && (k.pair.Tx.Len() == 0 || !k.pair.Rx.Attached()) {
		return 0
	}
	if k.tcpState() == tcp.StateClose {
		// The common end: both halves closed, no error.
		if e := k.lastError(0); e != 0 {
			s.fail(k)
			return e
		}
		return 0
	}
	e := k.lastError(syscall.ECONNRESET)
	s.fail(k)
	return e
}

// ringWriter is the free space of an Rx ring as an io.Writer.
type ringWriter struct {
	a, b []byte
}

// Write implements io.Writer.
func (w *ringWriter) Write(p []byte) (int, error) {
	done := 0
	for len(p) > 0 {
		if len(w.a) == 0 {
			if w.a, w.b = w.b, nil; len(w.a) == 0 {
				return done, io.ErrShortWrite
			}
		}
		n := copy(w.a, p)
		w.a, p = w.a[n:], p[n:]
		done += n
	}
	return done, nil
}

// pull moves received bytes into the Rx ring, and reports whether its owner is
// to look at it.
func (s *Stack) pull(k *socket) bool {
	p := k.pair
	if p.RxEOF.Load() {
		if k.shutRead {
			s.discard(k)
		}
		return false
	}
	moved, waiting, eof := 0, false, false
	for {
		s.reader.a, s.reader.b = p.Rx.Reserve()
		room := len(s.reader.a) + len(s.reader.b)
		r, err := k.ep.Read(&s.reader, tcpip.ReadOptions{})
		s.reader = ringWriter{}
		if r.Count > 0 {
			p.Rx.Publish(r.Count)
			moved += r.Count
		}
		if err != nil {
			switch err.(type) {
			case *tcpip.ErrBadBuffer:
				waiting = true // bytes, and no room at all
			case *tcpip.ErrClosedForReceive:
				eof = k.tcpState() != tcp.StateError
			case *tcpip.ErrWouldBlock:
			default:
				k.died = errnoOf(err) // told once
			}
			break
		}
		if r.Count == room {
			waiting = true
			break
		}
		if k.tcpState() == tcp.StateEstablished {
			break // empty, and no FIN: no need to ask
		}
	}
	k.dry = waiting
	k.unread = 0
	if waiting {
		if n, err := k.ep.GetSockOptInt(tcpip.ReceiveQueueSizeOption); err == nil {
			k.unread = n
		}
	}
	if moved > 0 {
		k.flow.bytesIn += uint64(moved)
		k.ep.ModerateRecvBuf(moved)
	}
	if k.shutRead {
		eof = true
		s.discard(k)
	}
	if eof {
		p.RxEOF.Store(true)
		k.dry = false
	}
	return moved > 0 || eof || waiting && !p.Rx.Attached()
}

// discard throws received bytes away.
func (s *Stack) discard(k *socket) {
	if r, err := k.ep.Read(io.Discard, tcpip.ReadOptions{}); err == nil {
		k.flow.bytesIn += uint64(r.Count)
	}
	k.unread = 0
}

// ringReader is the bytes of a Tx ring as a tcpip.Payloader.
type ringReader struct {
	a, b []byte
}

// Len implements tcpip.Payloader.
func (r *ringReader) Len() int { return len(r.a) + len(r.b) }

// Read implements io.Reader.
func (r *ringReader) Read(p []byte) (int, error) {
	if len(r.a) == 0 {
		if r.a, r.b = r.b, nil; len(r.a) == 0 {
			return 0, io.EOF
		}
	}
	n := copy(p, r.a)
	r.a = r.a[n:]
	return n, nil
}

// writesPerLook bounds how often one look writes, because the peer of a shared
// ring can fill it as fast as it is emptied.
const writesPerLook = 8

// push moves bytes of the Tx ring into gVisor, and reports whether its owner
// has room there again.
func (s *Stack) push(k *socket) bool {
	p := k.pair
	if k.finSent {
		return false
	}
	// Read before the ring is drained: bytes come before the end.
	eof := p.TxEOF.Load() || k.shutWrite
	moved := 0
	for i := 0; ; i++ {
		a, b := p.Tx.Peek()
		if len(a) == 0 {
			break
		}
		if s.full() {
			s.stall(k)
			break
		}
		if i == writesPerLook {
			s.ready.push(k)
			break
		}
		s.writer = ringReader{a, b}
		n, err := k.ep.Write(&s.writer, tcpip.WriteOptions{Atomic: true})
		s.writer = ringReader{}
		if n > 0 {
			p.Tx.Release(int(n))
			moved += int(n)
			k.flow.written += uint64(n)
			k.recharge()
		}
		if err != nil || n == 0 {
			switch err.(type) {
			case nil, *tcpip.ErrWouldBlock, *tcpip.ErrClosedForSend:
			default:
				k.died = errnoOf(err)
			}
			break
		}
	}
	if eof && p.Tx.Len() == 0 {
		k.finSent = true
		k.ep.Shutdown(tcpip.ShutdownWrite)
	}
	return moved > 0
}

// stall remembers a connection that is not pulled from for lack of budget.
func (s *Stack) stall(k *socket) {
	if !k.stalled {
		k.stalled = true
		s.stalled = append(s.stalled, k)
	}
}

// settle ends a turn: stalled connections go on when the budget allows, and
// what the stack uses and dropped is published.
func (s *Stack) settle() {
	if len(s.stalled) > 0 && !s.full() {
		for i, k := range s.stalled {
			k.stalled = false
			s.stalled[i] = nil
			if k.handle != 0 {
				s.ready.push(k)
			}
		}
		s.stalled = s.stalled[:0]
	}
	s.countBacklogDrops()
	s.nUsed.Store(int64(s.held()))
	s.nFrag.Store(int64(s.frags.Held()))
}
