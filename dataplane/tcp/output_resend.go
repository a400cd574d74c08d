// SPDX-License-Identifier: Apache-2.0

package tcp

import "netcon/dataplane/stream"

// sendProbe sends a segment that makes the peer answer: as much text as a window
// that is not quite closed permits, else one with a sequence number that was
// acknowledged (Linux, tcp_write_wakeup).
func (e *Engine) sendProbe(i uint32, c *conn, w *work, s *sender, p *stream.Pair) {
	w.flags &^= wProbe
	n := min(c.wnd, c.end-c.nxt, uint32(e.segmentRoom(c, s)))
	if c.una != c.nxt || n == 0 || c.has(fFinSent) {
		e.sendPlainAck(c, s, c.una-1)
		return
	}
	seq := c.nxt
	c.nxt += n
	e.sentRun(w, c.nxt)
	e.sendSegment(c, s, p, seq, n, true)
	c.lastOut = e.ms
	e.setTimer(i, c, timerRetrans, e.rto(c))
}

// mayResend reports whether F-RTO permits retransmissions: the first segment,
// and no more until it has decided (RFC 5682 section 3.1).
func (e *Engine) mayResend(w *work) bool {
	return !w.frto.active() || w.frto == frtoFirst && e.runs.at(w.head).pending()
}

// resend sends again what is deemed lost, lowest first (RFC 6675 section 4,
// NextSeg rule 1).
func (e *Engine) resend(i uint32, c *conn, w *work, s *sender, p *stream.Pair) {
	start := w.first
	for at := w.head; at != 0 && w.pending > 0 && s.left > 0; {
		r := e.runs.at(at)
		if !r.pending() {
			start, at = r.end, r.next
			continue
		}
		room := uint32(e.segmentRoom(c, s))
		e.collapse(w, at, start, room)
		size := min(r.end-start, room)
		if pipe := c.pipe(w); pipe+size > c.cwnd && pipe > 0 {
			return
		}
		if size < r.end-start {
			// If the scoreboard has no room, all of the run is resent.
			e.split(w, at, start+size)
		}
		e.resendRun(i, c, w, s, p, r, start)
		start, at = r.end, r.next
	}
}

// collapse joins a run that is to be resent with those behind it that are too,
// as far as one segment goes: RFC 9293 section 3.8.1 permits to repacketize.
func (e *Engine) collapse(w *work, at, start, room uint32) {
	r := e.runs.at(at)
	for r.next != 0 {
		n := e.runs.at(r.next)
		if !n.pending() || n.end-start > room {
			return
		}
		if w.tail == r.next {
			w.tail = at
		}
		gone := r.next
		r.end, r.next, r.times = n.end, n.next, max(r.times, n.times)
		e.runs.free(gone)
		w.runs--
	}
}

// resendRun sends the run that starts at start again, in as many segments as it
// takes.
func (e *Engine) resendRun(i uint32, c *conn, w *work, s *sender, p *stream.Pair, r *run, start uint32) {
	if r.pending() {
		w.pending -= r.end - start
	}
	r.flags |= runResent
	if r.times < 255 {
		r.times++
	}
	r.sent = e.us
	if w.has(wUndo) {
		w.undoLeft = max(w.undoLeft, 0) + int32(r.end-start)
	}
	if w.resentAt == 0 {
		w.resentAt = max(e.ms, 1)
	}
	e.prrSent(w, r.end-start)
	for seq := start; seqLT(seq, r.end); {
		n := min(r.end-seq, uint32(e.segmentRoom(c, s)))
		e.sendSegment(c, s, p, seq, n, false)
		c.resent++
		seq += n
	}
}
