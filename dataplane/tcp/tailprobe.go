// SPDX-License-Identifier: Apache-2.0

package tcp

// Tail loss probes, RFC 8985 section 7.

// probeTimeout returns when to probe, in microseconds from now, and whether to:
// TLP_calc_PTO, section 7.2.
func (e *Engine) probeTimeout(c *conn, w *work) (uint32, bool) {
	if !e.tun.EarlyRetrans || !e.tun.RACK || !c.has(fSACK) || w.phase > phaseCWR || w.sacked > 0 || w.has(wTLP) ||
		c.una == c.nxt || c.backoff > 0 {
		return 0, false
	}
	pto := uint32(1000000)
	if srtt := e.srtt(c); srtt != 0 {
		pto = 2 * srtt
		if c.flight() <= uint32(c.mss) {
			// The peer may delay its ACK of a lone segment.
			pto += 200000
		} else {
			pto += 2000
		}
	}
	return pto, true
}

// sendTailProbe sends one: TLP_send_probe, section 7.3. The segment leaves with
// the next Transmit.
func (e *Engine) sendTailProbe(i uint32, c *conn) {
	if c.work == 0 || c.una == c.nxt {
		return
	}
	w := e.works.at(c.work)
	w.flags |= wTLPDue
	e.setTimer(i, c, timerRetrans, e.rto(c))
	e.want(i, c)
}

// tailProbe sends the probe that is due: new text if there is some and the
// window permits, else the last segment again.
func (e *Engine) tailProbe(i uint32, c *conn, w *work, s *sender) {
	w.flags &^= wTLPDue
	if w.head == 0 || w.has(wTLP) {
		return
	}
	p := e.pairs.get(i)
	mss := uint32(e.segmentRoom(c, s))
	if avail := c.end - c.nxt; !c.has(fFinSent) && avail > 0 && seqLEQ(c.nxt+min(avail, mss), c.una+c.wnd) {
		n := min(avail, mss)
		seq := c.nxt
		c.nxt += n
		e.sentRun(w, c.nxt)
		e.sendSegment(c, s, p, seq, n, true)
		c.lastOut = e.ms
		w.flags |= wTLP
	} else {
		// The last segment.
		start, at := w.first, w.head
		for at != w.tail {
			start, at = e.runs.at(at).end, e.runs.at(at).next
		}
		r := e.runs.at(at)
		if n := r.end - start; n > mss && e.split(w, at, r.end-mss) {
			at = e.runs.at(at).next
			r = e.runs.at(at)
			start = r.end - mss
		}
		flags := r.flags
		e.resendRun(i, c, w, s, p, r, start)
		r.flags = flags // it was not lost
		w.flags |= wTLP | wTLPResent
	}
	w.tlpEnd = c.nxt
}

// tailProbeAcked is TLP_process_ack, section 7.4.2.
func (e *Engine) tailProbeAcked(c *conn, w *work, n *news) {
	if !w.has(wTLP) || seqLT(c.una, w.tlpEnd) {
		return
	}
	switch {
	case !w.has(wTLPResent) || n.dsack:
		// New text, or case 1: the probe was not needed.
	case seqGT(c.una, w.tlpEnd):
		// Case 2: what came after the probe was acknowledged and nothing
		// was reported twice. The probe repaired a loss: respond to it as
		// congestion.
		if w.phase == phaseOpen {
			e.ccSave(c, w)
			e.ccReduce(c, w)
			c.cwnd = min(c.cwnd, c.ssthresh)
		}
	case n.acked > 0 || n.sacked || !n.duplicate:
		return // not decided yet
	}
	e.endTailProbe(w)
}

// reorderTimeout is RACK's timer, section 6.3: what was given time to arrive
// has had it.
func (e *Engine) reorderTimeout(i uint32, c *conn) {
	if c.work == 0 || c.una == c.nxt {
		return
	}
	w := e.works.at(c.work)
	n := &e.news
	*n = news{}
	wait := e.rackDetect(c, w, n)
	if w.pending > 0 {
		if w.phase <= phaseCWR {
			// Nothing was delivered: the rate is one segment, the fast
			// retransmission (RFC 9937 section 6.2).
			e.enterRecovery(c, w, 0)
			c.cwnd = c.pipe(w) + uint32(c.mss)
		}
	}
	e.armRetrans(i, c, w)
	if wait > 0 {
		e.setTimer(i, c, timerReorder, wait)
	}
	e.want(i, c)
}
