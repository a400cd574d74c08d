// SPDX-License-Identifier: Apache-2.0

package tcp

// timeout runs what is due of a connection that the wheel woke.
func (e *Engine) timeout(i uint32, c *conn) {
	e.news = news{}
	if c.timer != timerNone && int32(e.us-c.rtxAt) >= 0 {
		kind := c.timer
		c.timer = timerNone
		alive := true
		switch kind {
		case timerRetrans:
			alive = e.retransTimeout(i, c)
		case timerProbe:
			e.sendTailProbe(i, c)
		case timerReorder:
			e.reorderTimeout(i, c)
		case timerPersist:
			alive = e.persistTimeout(i, c)
		case timerIdle:
			e.restWork(i, c)
		}
		if !alive {
			return
		}
	}
	if c.has(fAckLater) && int32(e.us-c.ackAt) >= 0 {
		e.delayedAckTimeout(i, c)
	}
	if c.has(fKeepOn) && int32(e.ms-c.keepAt) >= 0 {
		c.flags &^= fKeepOn
		if !e.keepTimeout(i, c) {
			return
		}
	}
	e.rearm(i, c)
}

// delayedAckTimeout sends an ACK that nothing carried (RFC 9293 section
// 3.8.6.3), and adapts the delay (Linux, tcp_delack_timer_handler).
func (e *Engine) delayedAckTimeout(i uint32, c *conn) {
	c.flags &^= fAckLater
	if c.rcvAcked == c.rcvNxt {
		return
	}
	if c.has(fPongs) {
		c.flags &^= fPongs
		c.ato = uint8(min(e.tun.DelAckMin.Milliseconds(), 255))
	} else {
		c.ato = uint8(min(uint32(c.ato)*2, uint32(e.tun.DelAckMax.Milliseconds()), 255))
	}
	e.ackNow(i, c)
}

// armRetrans sets the timer for what is in flight: a tail loss probe where it
// may help (RFC 8985 section 7.2), else the retransmission timeout (RFC 6298
// section 5).
func (e *Engine) armRetrans(i uint32, c *conn, w *work) {
	rto := e.rto(c)
	if pto, ok := e.probeTimeout(c, w); ok && pto < rto {
		e.setTimer(i, c, timerProbe, pto)
		return
	}
	e.setTimer(i, c, timerRetrans, rto)
}

// rto returns the retransmission timeout with backoff, microseconds (RFC 6298
// section 5.5).
func (e *Engine) rto(c *conn) uint32 {
	r := uint64(e.baseRTO(c)) << min(c.backoff, 20)
	return uint32(min(r, uint64(e.maxRTO)))
}

// retransTimeout is RFC 9293 section 3.10.8, RFC 6298 section 5.4 to 5.7. It
// returns false if the connection is gone.
func (e *Engine) retransTimeout(i uint32, c *conn) bool {
	if !c.state.in(synchronized) {
		return e.openingTimeout(i, c)
	}
	if c.work == 0 || c.una == c.nxt {
		return true
	}
	w := e.works.at(c.work)
	if w.stuckAt == 0 {
		w.stuckAt = max(e.ms-e.baseRTO(c)/1000, 1)
	}
	if e.gaveUp(i, c, w) {
		return false
	}
	e.blackHole(c, w)
	e.enterLoss(c, w)
	if c.backoff < 255 {
		c.backoff++
	}
	e.setTimer(i, c, timerRetrans, e.untilUserTimeout(c, w, e.rto(c)))
	e.want(i, c)
	return true
}

// untilUserTimeout returns us, or what is left of the user timeout if that is
// less.
func (e *Engine) untilUserTimeout(c *conn, w *work, us uint32) uint32 {
	if t := e.opts.get(c.opts).userTimeout; t != 0 {
		left := int32(w.stuckAt + t - e.ms)
		us = min(us, uint32(min(max(left, 1), 2000000))*1000)
	}
	return us
}

// gaveUp ends a connection that was not acknowledged for too long: RFC 9293
// section 3.8.3 (R2), or the user timeout (RFC 5482).
func (e *Engine) gaveUp(i uint32, c *conn, w *work) bool {
	limit := e.giveUpAfter(e.tun.Retries2)
	if !c.has(fOwned) && !c.has(fQueued) {
		n := e.tun.OrphanRetries
		if n == 0 {
			n = 8
		}
		limit = min(limit, e.giveUpAfter(n))
	}
	if t := e.opts.get(c.opts).userTimeout; t != 0 {
		limit = t
	}
	if c.backoff == 0 || e.ms-w.stuckAt < limit {
		return false
	}
	e.timedOut(i, c)
	return true
}

// giveUpAfter returns for how many milliseconds n timeouts last, if the first
// is the least there is (Linux, tcp_model_timeout).
func (e *Engine) giveUpAfter(n int) uint32 {
	base, most := uint64(e.minRTO), uint64(e.maxRTO)
	var sum uint64
	for r := base; n >= 0; n-- {
		sum += min(r, most)
		r = min(2*r, most)
	}
	return uint32(sum / 1000)
}

// timedOut ends a connection that does not answer. What an ICMP error said is
// the better reason (RFC 1122 section 4.2.3.9).
func (e *Engine) timedOut(i uint32, c *conn) {
	errno := eTimedOut
	if c.soft != 0 {
		errno = c.soft
	}
	e.fail(i, c, errno)
}

// startPersist begins to probe a window that is closed, RFC 9293 section
// 3.8.6.1.
func (e *Engine) startPersist(i uint32, c *conn) {
	c.backoff = 0
	e.setTimer(i, c, timerPersist, max(e.baseRTO(c), e.minRTO))
}

// persistTimeout sends a window probe. It returns false if the connection is
// gone.
func (e *Engine) persistTimeout(i uint32, c *conn) bool {
	if c.una != c.nxt || !e.unsent(c) {
		return true
	}
	w := e.workOf(i, c)
	if w == nil {
		e.setTimer(i, c, timerPersist, e.rto(c))
		return true
	}
	if w.stuckAt == 0 {
		w.stuckAt = max(e.ms, 1)
	}
	// MUST-35: a window may stay closed for ever, as long as the probes are
	// answered. Without an owner there is a limit.
	o := e.opts.get(c.opts)
	if o.userTimeout != 0 && e.ms-w.stuckAt >= o.userTimeout || int(c.probes) >= e.tun.Retries2 ||
		!c.has(fOwned) && !c.has(fQueued) && int(c.backoff) >= 8 {
		e.timedOut(i, c)
		return false
	}
	if c.backoff < 255 {
		c.backoff++
	}
	c.probes++
	w.flags |= wProbe
	e.setTimer(i, c, timerPersist, e.rto(c))
	e.want(i, c)
	return true
}

// probeAnswered is for an ACK while a window is closed.
func (e *Engine) probeAnswered(i uint32, c *conn) {
	if c.work != 0 {
		e.works.at(c.work).stuckAt = 0
	}
	if c.wnd > 0 {
		c.backoff = 0
		e.want(i, c)
	}
	e.setTimer(i, c, timerPersist, e.rto(c))
}

// keepTimeout runs the slow timer: keepalive (RFC 1122 section 4.2.3.6), the
// end of an orphan in FIN-WAIT-2. It returns false if the connection is gone.
func (e *Engine) keepTimeout(i uint32, c *conn) bool {
	if c.state == stFinWait2 && !c.has(fOwned) {
		e.finWait2Over(i, c)
		return false
	}
	if !c.has(fKeepAlive) || !c.state.in(synchronized) {
		return true
	}
	o := e.opts.get(c.opts)
	idle := uint32(o.keepIdle) * 1000
	if c.una != c.nxt || e.unsent(c) {
		// Something is in flight: its timer tells.
		e.setKeep(i, c, idle)
		return true
	}
	since := e.ms - c.lastIn
	if since < idle {
		e.setKeep(i, c, idle-since)
		return true
	}
	if o.userTimeout != 0 && since >= o.userTimeout && c.probes > 0 || o.userTimeout == 0 && c.probes >= o.keepCount {
		e.sendReset(c, c.nxt)
		e.timedOut(i, c)
		return false
	}
	c.probes++
	e.keepProbe(i, c)
	e.setKeep(i, c, uint32(o.keepInterval)*1000)
	return true
}

// keepProbe queues a segment that the peer must answer: its sequence number was
// acknowledged (RFC 1122 section 4.2.3.6).
func (e *Engine) keepProbe(i uint32, c *conn) {
	if w := e.workOf(i, c); w != nil {
		w.flags |= wProbe
		e.want(i, c)
	}
}
