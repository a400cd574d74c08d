// SPDX-License-Identifier: Apache-2.0

package tcp

// ccState is congestion control's part of a work record: what is of use only
// while bytes are in flight. A connection that was idle for a retransmission
// timeout starts a new congestion avoidance stage.
type ccState struct {
	ccGrowth
	prr
	undo stage
}

// limits returns the bounds of the retransmission timeout.
func (e *Engine) limits() rtoLimits { return rtoLimits{e.minRTO, e.maxRTO, e.initialRTO} }

// sampleRTT takes one measurement in microseconds. With timestamps every ACK
// brings one (RFC 7323 section 4.1).
func (e *Engine) sampleRTT(c *conn, us uint32) {
	flight := uint32(0)
	if c.has(fTS) {
		flight = c.flight()
	}
	c.rtt.sample(us, e.ms, flight, uint32(c.mss))
}

// baseRTO returns the retransmission timeout without backoff, microseconds.
func (e *Engine) baseRTO(c *conn) uint32 {
	lim := e.limits()
	return c.rtt.rto(&lim)
}

// minRTT, srtt and rttvar return what is known of the round trip in
// microseconds, 0 before the first sample.
func (e *Engine) minRTT(c *conn) uint32 { return c.rtt.minimum() }
func (e *Engine) srtt(c *conn) uint32   { return c.rtt.smoothed() }
func (e *Engine) rttvar(c *conn) uint32 { return c.rtt.variance() }

// ccStart gives a connection its first window.
func (e *Engine) ccStart(c *conn) {
	c.cwnd = initialWindow(e.tun.InitialCwnd, uint32(c.mss), false)
	c.ssthresh = noSsthresh
}

// ccBegin prepares a work record that was just taken.
func (e *Engine) ccBegin(c *conn, w *work) {
	w.cc = ccState{}
	win := c.window()
	w.cc.ccGrowth.init(&win, c.nxt, !e.tun.Cubic, e.tun.HyStart)
}

// window and setWindow copy the congestion window out of and into the record.
func (c *conn) window() window { return window{c.cwnd, c.ssthresh} }

func (c *conn) setWindow(w window) { c.cwnd, c.ssthresh = w.cwnd, w.ssthresh }

// ccGrow lets cwnd grow for bytes that were acknowledged outside recovery. rtt
// is what the ACK measured in microseconds, 0 for nothing. limited says that
// cwnd limits the sender.
func (e *Engine) ccGrow(c *conn, w *work, acked, rtt uint32, limited bool) {
	win := c.window()
	w.cc.ccGrowth.ack(&win, e.ms, c.una, c.nxt, acked, uint32(c.mss), rtt, c.rtt.smoothed(), limited)
	c.setWindow(win)
}

// ccReduce sets ssthresh for a congestion event. cwnd is left to PRR.
func (e *Engine) ccReduce(c *conn, w *work) {
	win := c.window()
	w.cc.reduce(&win, c.flight()+e.news.acked, uint32(c.mss))
	c.setWindow(win)
}

// ccTimeout does so for a retransmission timeout, once for the same data. In
// recovery the window was reduced for this flight before: ssthresh is bound by
// the flight alone (RFC 5681 equation 4 with the factor of RFC 9438 section
// 4.8), not by a cwnd that is reduced already.
func (e *Engine) ccTimeout(c *conn, w *work) {
	if w.phase == phaseRecovery || w.phase == phaseCWR {
		before := c.ssthresh
		c.cwnd = max(c.cwnd, c.flight())
		e.ccReduce(c, w)
		c.ssthresh = min(c.ssthresh, before)
	} else {
		e.ccReduce(c, w)
	}
	w.cc.timeout()
}

// ccIdle shrinks a window that was not used for a while. It is called before
// the first transmission when nothing is in flight.
func (e *Engine) ccIdle(c *conn) {
	if !e.tun.SlowStartAfterIdle {
		return
	}
	// Beyond what microseconds hold it does not matter how long.
	idle := min(e.ms-c.lastOut, 1<<22) * 1000
	win := c.window()
	win.restart(idle, e.baseRTO(c), initialWindow(e.tun.InitialCwnd, uint32(c.mss), false))
	c.setWindow(win)
}

// ccSave remembers the window before a reduction, ccUndo restores it.
func (e *Engine) ccSave(c *conn, w *work) {
	win := c.window()
	w.cc.undo = w.cc.save(&win)
}

func (e *Engine) ccUndo(c *conn, w *work) {
	win := c.window()
	w.cc.restore(&win, &w.cc.undo)
	c.setWindow(win)
}

// prrStart begins a reduction. delivered is what the ACK that is processed
// delivered, 0 if there is none: it counts in prrAck.
func (e *Engine) prrStart(c *conn, w *work, delivered uint32) {
	// RecoverFS: what is still to be delivered.
	w.cc.prr.start(c.flight(), w.sacked, delivered)
}

// prrAck computes cwnd for one ACK in recovery. safe says that SND.UNA advanced
// and no further loss was found.
func (e *Engine) prrAck(c *conn, w *work, delivered uint32, safe bool) {
	if cwnd, ok := w.cc.prr.ack(delivered, c.pipe(w), c.ssthresh, uint32(c.mss), safe); ok {
		c.cwnd = cwnd
	}
}

// prrSent notes bytes sent in recovery.
func (e *Engine) prrSent(w *work, n uint32) { w.cc.prr.sent(n) }
