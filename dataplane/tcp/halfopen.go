// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// maxSynAckTries bounds the retransmissions of a SYN-ACK.
const maxSynAckTries = 15

// sendSynAck queues the answer to a SYN.
func (e *Engine) sendSynAck(h *halfOpen) {
	r := e.synAck(&h.tuple, e.conns.at(h.listener).opts)
	r.seq, r.ack = h.iss, h.irs+1
	if h.scale != noScale {
		r.scale = e.ownScale(e.conns.at(h.listener).opts)
	}
	r.sack = h.flags&halfOpenSACK != 0
	if h.flags&halfOpenTimestamps != 0 {
		r.timestamps, r.tsVal, r.tsEcr = true, e.ms+e.tsOffset(&h.tuple), h.tsRecent
	}
	if h.flags&halfOpenECN != 0 {
		r.flags |= wire.TCPEce
	}
}

func (e *Engine) synAck(t *tuple, opts uint32) *reply {
	o := e.opts.get(opts)
	r := e.answer(t, wire.TCPSyn|wire.TCPAck)
	r.mss = e.mssFor(t.remote.is4(), opts)
	r.window = uint16(min(e.rcvBuffer(opts), 65535))
	r.tos, r.ttl = o.tos&^3, o.ttl
	return r
}

// Half-open connections that were answered equally often lie in one queue, in
// the order in which their SYN-ACK is due again: its time grows with the number
// of tries alone (RFC 6298 section 5.5).

// halfDue returns when the SYN-ACK is due again, microseconds.
func (e *Engine) halfDue(h *halfOpen) uint32 {
	at, step := h.sent, e.initialRTO
	for range int(min(h.tries, maxSynAckTries)) + 1 {
		at += step
		step = min(2*step, e.maxRTO)
	}
	return at
}

func (e *Engine) queueHalf(i uint32, h *halfOpen) {
	q := &e.halfQueue[min(h.tries, maxSynAckTries)]
	h.prev, h.next = q.tail, 0
	if q.tail != 0 {
		e.halfs.at(q.tail).next = i
	} else {
		q.head = i
	}
	q.tail = i
}

func (e *Engine) unqueueHalf(h *halfOpen) {
	q := &e.halfQueue[min(h.tries, maxSynAckTries)]
	if h.prev != 0 {
		e.halfs.at(h.prev).next = h.next
	} else {
		q.head = h.next
	}
	if h.next != 0 {
		e.halfs.at(h.next).prev = h.prev
	} else {
		q.tail = h.prev
	}
}

// resendSynAcks resends what is due, and gives up on what was resent too often.
func (e *Engine) resendSynAcks() {
	for k := range e.halfQueue {
		for e.halfQueue[k].head != 0 {
			i := e.halfQueue[k].head
			h := e.halfs.at(i)
			if int32(e.us-e.halfDue(h)) < 0 {
				break
			}
			opts := e.conns.at(h.listener).opts
			tries := e.tun.SynAckRetries
			if o := e.opts.get(opts); o.synCount != 0 {
				tries = int(o.synCount)
			}
			if o := e.opts.get(opts); o.deferAccept != 0 {
				tries = max(tries, e.deferTries(o))
			}
			if int(h.tries) >= min(tries, maxSynAckTries) {
				e.dropHalf(i, h)
				continue
			}
			e.unqueueHalf(h)
			h.tries++
			e.queueHalf(i, h)
			// A peer whose ACK was ignored because of TCP_DEFER_ACCEPT is
			// not bothered before the wait is over.
			if o := e.opts.get(opts); h.flags&halfOpenAcked != 0 && o.deferAccept != 0 && int(h.tries) < e.deferTries(o) {
				continue
			}
			h.flags |= halfOpenResent
			e.sendSynAck(h)
		}
	}
}

// deferTries returns how many SYN-ACKs TCP_DEFER_ACCEPT waits.
func (e *Engine) deferTries(o *optset) int {
	n, sum, step := 0, int32(0), int32(1)
	for sum < o.deferAccept && n < maxSynAckTries {
		sum += step
		step = min(step*2, 120)
		n++
	}
	return n
}

func (e *Engine) nextSynAck() (at time.Duration, ok bool) {
	for k := range e.halfQueue {
		if i := e.halfQueue[k].head; i != 0 {
			if t := e.atMicros(e.halfDue(e.halfs.at(i))); !ok || t < at {
				at, ok = t, true
			}
		}
	}
	return at, ok
}

// dropHalf ends a half-open connection without a word.
func (e *Engine) dropHalf(i uint32, h *halfOpen) {
	e.unqueueHalf(h)
	if l := e.listeners[e.conns.at(h.listener).link]; l != nil {
		l.half--
	}
	e.table.remove(e.key.table.hash(&h.tuple), i|kindHalf)
	e.ports.freed(&h.tuple)
	e.halfs.free(i)
}

// arrivesHalfOpen is RFC 9293 section 3.10.7.4 for SYN-RECEIVED (Linux,
// tcp_check_req).
func (e *Engine) arrivesHalfOpen(i uint32, s *segment) stat.Reason {
	h := e.halfs.at(i)
	l := e.listeners[e.conns.at(h.listener).link]
	ts := h.flags&halfOpenTimestamps != 0 && s.opts.timestamps
	// The SYN again: our answer was lost.
	if s.flags&(wire.TCPSyn|wire.TCPAck|wire.TCPRst) == wire.TCPSyn && s.seq == h.irs {
		h.flags |= halfOpenResent
		e.sendSynAck(h)
		return stat.Accepted
	}
	paws := ts && seqLT(s.opts.tsVal, h.tsRecent) && s.flags&wire.TCPRst == 0
	wnd := uint32(min(e.rcvBuffer(e.conns.at(h.listener).opts), 65535))
	n := s.len()
	if paws || seqGT(s.seq, h.irs+1+wnd) || seqLT(s.seq+n, h.irs+1) || n > 0 && s.seq+n == h.irs+1 {
		// First, check the sequence number.
		if s.flags&wire.TCPRst == 0 && e.challenges.allow(e.now) {
			r := e.answer(&h.tuple, wire.TCPAck)
			r.seq, r.ack, r.window = h.iss+1, h.irs+1, uint16(wnd)
			if h.scale != noScale {
				r.window >>= e.ownScale(e.conns.at(h.listener).opts)
			}
			if h.flags&halfOpenTimestamps != 0 {
				r.timestamps, r.tsVal, r.tsEcr = true, e.ms+e.tsOffset(&h.tuple), h.tsRecent
			}
		}
		return stat.Accepted
	}
	if s.flags&(wire.TCPRst|wire.TCPSyn) != 0 {
		// Second and fourth: a passive open goes back to LISTEN. RFC 5961
		// section 3.2 asks for the exact number.
		switch {
		case s.flags&wire.TCPRst == 0:
			e.refuse(s, &h.tuple)
			e.dropHalf(i, h)
		case s.seq == h.irs+1:
			e.dropHalf(i, h)
		}
		return stat.Accepted
	}
	// Fifth, check the ACK field.
	if s.flags&wire.TCPAck == 0 {
		return stat.Accepted
	}
	if s.ack != h.iss+1 {
		e.refuse(s, &h.tuple)
		return stat.Accepted
	}
	o := e.opts.get(e.conns.at(h.listener).opts)
	if o.deferAccept != 0 && len(s.payload) == 0 && s.flags&wire.TCPFin == 0 && int(h.tries) < e.deferTries(o) {
		h.flags |= halfOpenAcked
		return stat.Accepted
	}
	if l.full() {
		// The ACK is not heard; the SYN-ACK will be resent.
		h.flags |= halfOpenAcked
		if e.tun.AbortOnOverflow {
			e.refuse(s, &h.tuple)
			e.dropHalf(i, h)
		}
		return stat.DropHalfOpenLimit
	}
	return e.complete(i, h, l, s)
}

// complete makes a connection of a half-open one, whose ACK s arrived.
func (e *Engine) complete(i uint32, h *halfOpen, l *listener, s *segment) stat.Reason {
	b := birth{
		tuple: h.tuple, iss: h.iss, irs: h.irs, mss: h.mss, scale: h.scale, tos: h.tos,
		sack: h.flags&halfOpenSACK != 0, timestamps: h.flags&halfOpenTimestamps != 0, ecn: h.flags&halfOpenECN != 0,
		tsRecent: h.tsRecent, sent: max(h.sent, 1), lost: h.flags&halfOpenResent != 0,
	}
	k, c := e.bear(l, &b, s)
	if c == nil {
		return stat.DropConnectionLimit
	}
	e.unqueueHalf(h)
	l.half--
	e.table.replace(e.key.table.hash(&h.tuple), i|kindHalf, k|kindConn)
	c.flags |= fTable
	e.halfs.free(i)
	return e.admit(k, c, l, s)
}
