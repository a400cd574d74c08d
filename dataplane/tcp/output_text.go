// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
)

// sendText sends retransmissions, then new text, then the FIN, as far as the
// peer's window, cwnd and the budget permit.
func (e *Engine) sendText(i uint32, c *conn, w *work, s *sender, p *stream.Pair) {
	idle := c.una == c.nxt
	if w.has(wTLPDue) {
		e.tailProbe(i, c, w, s)
	}
	if w.has(wProbe) {
		e.sendProbe(i, c, w, s, p)
	}
	if w.pending > 0 && e.mayResend(w) {
		e.resend(i, c, w, s, p)
	}
	was := c.nxt
	limited := false
	if !c.has(fFinSent) {
		limited = e.sendNew(i, c, w, s, p)
		c.nudge = 0
	}
	if c.nxt != was {
		e.sentNew(i, c, w, idle)
		e.usedWindow(c, w, limited)
	}
	if w.frto == frtoFresh && c.nxt == w.recover && s.left > 0 {
		// RFC 5682 section 3.1 (2b): there was nothing to send after all.
		w.frto.stop()
		e.resend(i, c, w, s, p)
	}
	if s.left <= 0 && (e.unsent(c) || w.pending > 0) {
		e.want(i, c) // the budget, or so it may be
	}
}

// usedWindow notes how much of cwnd is used, and whether it is what limits: for
// the flight that just left (Linux, tcp_cwnd_validate).
func (e *Engine) usedWindow(c *conn, w *work, limited bool) {
	if seqLT(c.una, w.usedEnd) && !limited && (w.has(wLimited) || c.flight() <= w.used) {
		return
	}
	if w.flags &^= wLimited; limited {
		w.flags |= wLimited
	}
	w.used, w.usedEnd = c.flight(), c.nxt
}

// afterIdle is RFC 2861: a window that was not used is no longer believed.
func (e *Engine) afterIdle(c *conn) {
	if c.lastOut != 0 {
		e.ccIdle(c)
	}
}

// sentNew does what follows the sending of new text.
func (e *Engine) sentNew(i uint32, c *conn, w *work, idle bool) {
	// A reply soon after something came: acknowledgments may wait for one.
	if c.ato != 0 && e.ms-c.lastData < uint32(c.ato) {
		c.flags |= fPongs
	}
	c.lastOut = e.ms
	if w.phase == phaseOpen {
		w.recover = c.nxt
	}
	// RFC 6298 section 5.1, RFC 8985 section 7.2.
	switch c.timer {
	case timerNone, timerIdle, timerPersist, timerProbe:
		e.armRetrans(i, c, w)
	case timerRetrans:
		// The timeout stands, but a probe may come before it.
		if pto, ok := e.probeTimeout(c, w); ok && int32(c.rtxAt-e.us-pto) > 0 {
			e.setTimer(i, c, timerProbe, pto)
		}
	}
}

// sendSegment sends what lies between two sequence numbers, a FIN at its end
// included.
func (e *Engine) sendSegment(c *conn, s *sender, p *stream.Pair, seq, n uint32, fresh bool) {
	h := &e.out
	h.seq = seq
	h.flags = wire.TCPAck
	text := n
	if c.has(fFinSent) && seq+n == c.nxt && (!fresh || c.nxt == c.end+1) && seq+n == c.end+1 {
		h.flags |= wire.TCPFin
		text--
	}
	if seq+text == c.end && text > 0 {
		h.flags |= wire.TCPPsh
	}
	if c.has(fECE) {
		h.flags |= wire.TCPEce
	}
	ect := h.tos
	if c.has(fECN) && fresh && text > 0 {
		// RFC 3168 section 6.1.5: retransmissions are not ECN-capable.
		h.tos |= 2
		if c.has(fCWR) {
			c.flags &^= fCWR
			h.flags |= wire.TCPCwr
		}
	}
	if text > 0 && p == nil {
		text = 0
	}
	if text > 0 {
		s.put(c, &p.Tx, int(seq-c.una), int(text))
	} else {
		s.put(c, nil, 0, 0)
	}
	h.tos = ect
}

// segmentRoom returns the text a segment may carry.
func (e *Engine) segmentRoom(c *conn, s *sender) int {
	n := int(c.mss)
	if b := int(e.out.opts.blocks); b > 0 {
		n -= 4 + lenSACKBlock*b
	}
	if s.path.Max != 0 {
		n = min(n, s.path.Max-s.hdr)
	}
	return max(n, 1)
}

// superRoom returns the text that one segment may carry on the path: up to 64
// KiB where nothing cuts it and nothing sums it up.
func (e *Engine) superRoom(c *conn, s *sender) int {
	if s.path.Checksums || s.path.Max <= e.cfg.MTU {
		return e.segmentRoom(c, s)
	}
	return max(min(s.path.Max, 65535)-s.hdr, 1)
}

// sendNew sends new text: RFC 9293 section 3.8.6.2.1 (silly window avoidance of
// the sender), section 3.7.4 (Nagle).
func (e *Engine) sendNew(i uint32, c *conn, w *work, s *sender, p *stream.Pair) (limited bool) {
	for s.left > 0 {
		avail := c.end - c.nxt
		mss := uint32(e.segmentRoom(c, s))
		usable := c.una + c.wnd - c.nxt
		if int32(usable) < 0 {
			usable = 0
		}
		if avail == 0 {
			if c.has(fFin) && usable > 0 {
				e.sendFin(i, c, w, s, p)
			} else if c.has(fFin) {
				e.blocked(i, c)
			}
			return limited
		}
		if c.una == c.nxt && usable > 0 {
			e.afterIdle(c)
		}
		pipe := c.pipe(w)
		free := c.cwnd - min(c.cwnd, pipe)
		if want := min(avail, mss); free < want && (pipe > 0 || free == 0) {
			return true
		}
		size := min(avail, uint32(e.superRoom(c, s)))
		if size > mss {
			// A train in one piece: whole segments as far as cwnd goes.
			size = min(size, max(free/mss*mss, mss))
		}
		if size > usable {
			size = usable
			// Whole segments, or what is half of the largest window seen.
			if size >= mss {
				size = size / mss * mss
			} else if size == 0 || size < c.maxWnd/2 {
				e.blocked(i, c)
				return false
			}
		} else if size < mss && size == avail && e.nagleHolds(c, w) {
			if c.una == c.nxt {
				e.blocked(i, c) // corked
			}
			return false
		}
		if size < mss {
			w.flags |= wSmall
			w.smallEnd = c.nxt + size
		}
		if n := e.probeRoom(c, w, s); n != 0 {
			size = n
			e.mtuProbeSent(c, w, c.nxt, c.nxt+n)
		}
		seq := c.nxt
		n := size
		if size == avail && c.has(fFin) && usable > size {
			n++
			c.flags |= fFinSent
		}
		c.nxt += n
		e.sentRun(w, c.nxt)
		e.sendSegment(c, s, p, seq, n, true)
		if w.phase == phaseRecovery || w.phase == phaseCWR {
			e.prrSent(w, n)
		}
		if n > size {
			return false
		}
		limited = c.pipe(w)+mss > c.cwnd
	}
	return limited
}

// canSendNew reports whether new text would leave now, as far as the window and
// Nagle are concerned.
func (e *Engine) canSendNew(c *conn, w *work) bool {
	avail, usable := c.end-c.nxt, c.una+c.wnd-c.nxt
	if c.has(fFinSent) || avail == 0 || int32(usable) <= 0 {
		return false
	}
	return usable >= uint32(c.mss) || usable >= avail && !e.nagleHolds(c, w)
}

// nagleHolds reports whether a segment that is not full has to wait: TCP_CORK,
// or Nagle's algorithm as Minshall refined it (a small segment is not sent
// while another one is not acknowledged).
func (e *Engine) nagleHolds(c *conn, w *work) bool {
	if c.has(fFin) || c.nudge != 0 {
		return false
	}
	if c.has(fCork) {
		return true
	}
	return !c.has(fNoDelay) && w.has(wSmall) && seqLT(c.una, w.smallEnd) && c.una != c.nxt
}

// sendFin sends a FIN without text.
func (e *Engine) sendFin(i uint32, c *conn, w *work, s *sender, p *stream.Pair) {
	seq := c.nxt
	c.flags |= fFinSent
	c.nxt++
	e.sentRun(w, c.nxt)
	e.sendSegment(c, s, p, seq, 1, true)
}

// blocked is for a connection that has something to send and may not: if
// nothing in flight brings an ACK, it probes (RFC 9293 section 3.8.6.1).
func (e *Engine) blocked(i uint32, c *conn) {
	if c.una == c.nxt && c.timer != timerPersist {
		e.startPersist(i, c)
	}
}
