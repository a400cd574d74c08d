// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"math/bits"

	"netcon/dataplane/wire"
)

// textArrives processes the text and the FIN of an acceptable segment, RFC 9293
// section 3.10.7.4, seventh and eighth. copied says that the text already lies
// in its place.
func (e *Engine) textArrives(i uint32, c *conn, s *segment, copied bool) {
	if !c.state.in(receiving) {
		return // the peer has sent its FIN: this should not occur
	}
	n := uint32(len(s.payload))
	end := s.seq + n
	if n > 0 && seqGT(end, c.rcvNxt) && !c.has(fOwned) && !c.has(fQueued) {
		// RFC 1122 section 4.2.2.13: data for nobody.
		e.refuse(s, &c.tuple)
		e.done(i, c)
		return
	}
	if n > 0 && seqLT(s.seq, c.rcvNxt) {
		e.sawDuplicate(i, c, s.seq, seqMin(end, c.rcvNxt))
	}
	fin := s.flags&wire.TCPFin != 0
	start := seqMax(s.seq, c.rcvNxt)
	if seqGT(end, c.rcvEdge) {
		// RFC 9293 section 3.10.7.4: trim what is beyond the window. Its
		// field rounded up: what that offered is taken.
		if edge := c.rcvEdge + 1<<c.rcvScale() - 1; seqGT(end, edge) {
			end, fin = edge, false
		}
		if end-c.rcvNxt <= e.room(i, c) {
			c.rcvEdge = end
		} else {
			end, fin = c.rcvEdge, false
		}
	}
	if fin {
		w := e.workOf(i, c)
		if w == nil {
			return
		}
		if !w.has(wFin) {
			w.flags |= wFin
			w.finSeq = end
		}
	}
	if c.work != 0 {
		if w := e.works.at(c.work); w.has(wFin) && seqGT(end, w.finSeq) {
			end = w.finSeq // nothing follows a FIN
		}
	}
	if seqLT(start, end) {
		text := s.payload[start-s.seq : end-s.seq]
		e.receivedData(c, len(text))
		if start == c.rcvNxt {
			e.takeInOrder(i, c, text, copied)
		} else {
			e.takeOutOfOrder(i, c, start, text)
		}
	} else if n > 0 || fin && start != c.rcvNxt {
		c.quick = max(c.quick, 2)
		e.ackNow(i, c)
	}
	if c.work != 0 {
		if w := e.works.at(c.work); w.has(wFin) && w.finSeq == c.rcvNxt {
			e.finArrives(i, c, w)
		}
	}
}

// finArrives processes a FIN whose turn it is, RFC 9293 section 3.10.7.4,
// eighth.
func (e *Engine) finArrives(i uint32, c *conn, w *work) {
	if w.ranges > 0 {
		e.dropHoles(w) // nothing behind a FIN is text
		e.unhold(i, c)
	}
	w.flags &^= wFin
	c.rcvNxt++
	e.restLater(i, c)
	if seqLT(c.rcvEdge, c.rcvNxt) {
		c.rcvEdge = c.rcvNxt
	}
	c.flags |= fFinIn
	e.ackNow(i, c)
	e.endOfInput(i, c)
	switch c.state {
	case stEstablished:
		c.state = stCloseWait
	case stFinWait1:
		c.state = stClosing
	case stFinWait2:
		e.enterTimeWait(i, c)
	}
}

// probePause is after how many milliseconds without text a full segment may be
// the tail loss probe of a peer on a short path: RFC 8985 section 7.2, with the
// margins that peers add to two round trips.
const probePause = 2

// receivedData estimates how the peer sends: the size of its segments, and
// whether acknowledgments can wait (Linux, tcp_event_data_recv).
func (e *Engine) receivedData(c *conn, n int) {
	if n >= int(c.rcvMSS) {
		c.rcvMSS = uint16(min(n, int(e.announcedMSS(c))))
	} else if c.rcvMSS == 0 {
		c.rcvMSS = uint16(min(536, int(e.announcedMSS(c))))
	}
	least := uint32(e.tun.DelAckMin.Milliseconds())
	switch since := e.ms - c.lastData; {
	case c.ato == 0:
		e.quickAcks(c)
		c.ato = uint8(min(least, 255))
	case since <= least/2:
		c.ato = c.ato/2 + uint8(min(least/2, 127))
	case since < uint32(c.ato):
		c.ato = uint8(min(uint32(c.ato)/2+since, uint32(e.tun.DelAckMax.Milliseconds()), 255))
	case since > e.baseRTO(c)/1000:
		e.quickAcks(c)
	}
	if n >= int(c.rcvMSS) && !c.has(fPongs) && e.ms-c.lastData >= probePause && !e.tun.OmitFirstQuickAcks {
		// A peer with full segments does not pause and send one more unless
		// it waits for an ACK that was lost: its tail loss probe.
		c.quick = max(c.quick, 1)
	}
	c.lastData = e.ms
}

// quickAcks has the next ACKs sent at once: a peer in slow start needs them.
func (e *Engine) quickAcks(c *conn) {
	if e.tun.OmitFirstQuickAcks {
		return
	}
	q := (c.rcvEdge - c.rcvNxt) / (2 * uint32(max(c.rcvMSS, 1)))
	c.quick = max(c.quick, uint8(min(max(q, 2), 16)))
}

// takeInOrder takes text that is next.
func (e *Engine) takeInOrder(i uint32, c *conn, text []byte, copied bool) {
	n := uint32(len(text))
	if c.has(fNoRead) {
		e.advanceRcv(i, c, nil, n)
		return
	}
	r := e.rxRing(i, c)
	if r == nil {
		e.refused(i, c)
		return
	}
	if !copied {
		if room := uint32(r.Room()); n > room {
			n = room
			e.forgetFin(c) // the text before it was not taken
		}
		a, b := r.ReserveAt(0, int(n))
		copy(b, text[copy(a, text):n])
	}
	if n == 0 {
		e.refused(i, c)
		return
	}
	e.advanceRcv(i, c, r, n)
}

// advanceRcv moves RCV.NXT over n bytes that were taken, and over what had
// arrived behind them before.
func (e *Engine) advanceRcv(i uint32, c *conn, r ringOf, n uint32) {
	if c.work != 0 {
		w := e.works.at(c.work)
		if w.ranges > 0 {
			n = e.joinHoles(c, w, n)
			// RFC 5681 section 4.2: a segment that fills a gap is
			// acknowledged at once.
			c.flags |= fAckNow
			if w.ranges == 0 {
				if r != nil {
					r.Hold(false)
				}
				e.restLater(i, c)
			}
		}
	}
	c.rcvNxt += n
	c.rcvd += uint64(n)
	if seqLT(c.rcvEdge, c.rcvNxt) {
		c.rcvEdge = c.rcvNxt
	}
	if r != nil {
		r.Publish(int(n))
		e.report(i, c, evReadable)
	}
	if c.has(fAckNow) {
		e.want(i, c)
	}
}

// takeOutOfOrder puts text at its final place, behind a hole.
func (e *Engine) takeOutOfOrder(i uint32, c *conn, start uint32, text []byte) {
	// RFC 5681 section 4.2: at once, so that the sender learns of the hole.
	c.flags |= fAckNow
	c.quick = max(c.quick, 2)
	e.want(i, c)
	if !c.has(fSACK) && c.dupAcks < 255 {
		c.dupAcks++ // each is one duplicate ACK, RFC 5681 section 3.2
	}
	w := e.workOf(i, c)
	if w == nil {
		return
	}
	r := e.rxRing(i, c)
	if r == nil {
		return
	}
	off := int(start - c.rcvNxt)
	n := min(len(text), r.Room()-off)
	if n <= 0 {
		return
	}
	if c.has(fNoRead) {
		return
	}
	a, b := r.ReserveAt(off, n)
	if e.addHole(i, c, w, start, start+uint32(n)) {
		copy(b, text[copy(a, text):n])
		r.Hold(true)
	}
}

// refused is for text that there was no memory for: it is not acknowledged.
func (e *Engine) refused(i uint32, c *conn) {
	e.forgetFin(c)
	e.ackNow(i, c)
	e.report(i, c, evReadable)
}

// forgetFin forgets a FIN: the text before it was not taken, so the peer sends
// both again.
func (e *Engine) forgetFin(c *conn) {
	if c.work != 0 {
		e.works.at(c.work).flags &^= wFin
	}
}

// copiesFirst reports whether the text of a segment may be summed while it is
// copied: it is next, nothing lies behind it and there is room.
func (e *Engine) copiesFirst(c *conn, s *segment) bool {
	return len(s.payload) > 0 && s.seq == c.rcvNxt && c.state.in(receiving) && !c.has(fNoRead) &&
		c.has(fOwned|fQueued) && uint32(len(s.payload)) <= c.rcvEdge-c.rcvNxt &&
		(c.work == 0 || e.works.at(c.work).ranges == 0 && !e.works.at(c.work).has(wFin))
}

// copyIn copies the text of a segment to its place and verifies the checksum of
// the whole in the same pass.
func (e *Engine) copyIn(i uint32, c *conn, s *segment) (copied, ok bool) {
	d := &e.in
	r := e.rxRing(i, c)
	if r == nil || r.Room() < len(s.payload) {
		return false, d.sumOK()
	}
	a, b := r.ReserveAt(0, len(s.payload))
	u := d.upper()
	sum := scatterSum(a, b, s.payload)
	return true, d.pseudo(len(u)).Add(u[:len(u)-len(s.payload)]).Add16(sum.Fold()).Fold() == 0xffff
}

// decideAck decides, at the end of a burst, what becomes of what was received:
// an ACK now, with whatever is sent, or later (RFC 9293 section 3.8.6.3, RFC
// 5681 section 4.2).
func (e *Engine) decideAck(i uint32, c *conn) {
	if c.has(fAckNow) {
		e.want(i, c)
		return
	}
	owed := c.rcvNxt - c.rcvAcked
	if owed == 0 {
		return
	}
	// More than one full segment, and the window moved: the ACK says more
	// than "one more".
	if owed > uint32(c.rcvMSS) || c.quick > 0 && !c.has(fPongs) {
		e.ackNow(i, c)
		return
	}
	if c.has(fAckLater) && int32(c.ackAt-e.us) <= int32(c.ato)*1000 {
		return
	}
	c.flags |= fAckLater
	c.ackAt = e.us + uint32(c.ato)*1000
	e.arm(i, c, e.atMicros(c.ackAt))
}

// rcvCap returns the size of the receive buffer.
func (c *conn) rcvCap() uint32 { return 1 << c.rcvLog }

func log2(n int) uint8 { return uint8(bits.Len(uint(n)) - 1) }
