// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// arrivesSynchronized is RFC 9293 section 3.10.7.4: ESTABLISHED, FIN-WAIT-1,
// FIN-WAIT-2, CLOSE-WAIT, CLOSING and LAST-ACK. The order is the RFC's.
func (e *Engine) arrivesSynchronized(i uint32, c *conn, s *segment, verified bool) stat.Reason {
	// In order and in the window: the payload is summed while it is copied
	// to its place, which nobody sees before it is published.
	copied := false
	if !verified {
		if e.copiesFirst(c, s) {
			ok := false
			if copied, ok = e.copyIn(i, c, s); !ok {
				return stat.DropL4Checksum
			}
		} else if !e.in.sumOK() {
			return stat.DropL4Checksum
		}
	}
	c.segsIn++

	// RFC 7323 section 5.3 R1: PAWS.
	if c.has(fTS) && s.flags&wire.TCPRst == 0 {
		if !s.opts.timestamps {
			// RFC 7323 section 3.2: SHOULD drop; Linux takes it, so do we.
		} else if c.has(fTimedIn) && seqLT(s.opts.tsVal, c.tsRecent) && !e.stale(c) {
			if !e.disorderedAck(c, s) {
				e.unacceptable(i, c, s)
				return stat.Accepted
			}
		}
	}

	// First, check the sequence number.
	if !e.acceptable(c, s) {
		if s.flags&wire.TCPRst == 0 {
			if s.flags&wire.TCPSyn != 0 {
				e.challenge(i, c) // RFC 5961 section 4.2
			} else {
				e.unacceptable(i, c, s)
			}
		} else if c.state.in(1<<stCloseWait|1<<stLastAck|1<<stClosing) && s.seq == c.rcvNxt-1 {
			// RFC 5961 section 3.2 compares with RCV.NXT; some peers use
			// the number of their FIN (as Linux accepts).
			e.reset(i, c)
		}
		return stat.Accepted
	}

	// Second, check the RST bit: RFC 5961 section 3.2.
	if s.flags&wire.TCPRst != 0 {
		if s.seq == c.rcvNxt || e.rstAfterHoles(c, s) {
			e.reset(i, c)
		} else {
			e.challenge(i, c)
		}
		return stat.Accepted
	}

	// Fourth, check the SYN bit: RFC 5961 section 4.2.
	if s.flags&wire.TCPSyn != 0 {
		e.challenge(i, c)
		return stat.Accepted
	}

	// Fifth, check the ACK field: RFC 5961 section 5.2.
	if s.flags&wire.TCPAck == 0 {
		return stat.Accepted
	}
	if seqGT(s.ack, c.nxt) {
		// It acknowledges something not yet sent.
		e.challengeData(i, c)
		return stat.Accepted
	}
	if seqLT(s.ack, c.una-min(c.maxWnd, 1<<30)) {
		e.challenge(i, c)
		return stat.Accepted
	}
	c.lastIn = e.ms
	c.probes = 0
	e.touch(i, c)

	// RFC 7323 section 4.3 (2): TS.Recent, if the segment covers the
	// acknowledgment number sent last.
	if c.has(fTS) && s.opts.timestamps && seqLEQ(s.seq, c.rcvAcked) {
		if !c.has(fTimedIn) || !seqLT(s.opts.tsVal, c.tsRecent) || e.stale(c) {
			c.tsRecent, c.tsAt = s.opts.tsVal, e.ms
			c.flags |= fTimedIn
		}
	}

	// RFC 3168 section 6.1.3.
	if c.has(fECN) {
		if s.flags&wire.TCPCwr != 0 {
			c.flags &^= fECE
			c.flags |= fAckNow
		}
		if s.ce() && len(s.payload) > 0 {
			if !c.has(fECE) {
				c.quick = max(c.quick, 2)
			}
			c.flags |= fECE
		}
	}

	if !e.ackArrives(i, c, s) {
		return stat.Accepted // the connection is gone
	}

	// Sixth, the URG bit is ignored: see the package comment.

	// Seventh, process the segment text; eighth, check the FIN bit.
	if len(s.payload) > 0 || s.flags&wire.TCPFin != 0 {
		e.textArrives(i, c, s, copied)
	}
	return stat.Accepted
}

// stale reports whether TS.Recent is so old that it proves nothing, RFC 7323
// section 5.5.
func (e *Engine) stale(c *conn) bool { return e.ms-c.tsAt >= 24*24*3600*1000 }

// acceptable is the test of RFC 9293 section 3.4, by the window that was
// offered.
func (e *Engine) acceptable(c *conn, s *segment) bool {
	n := s.len()
	wnd := c.rcvEdge - c.rcvNxt
	if int32(wnd) < 0 {
		wnd = 0
	}
	if s.flags&wire.TCPRst != 0 {
		// RFC 5961 section 3.2 looks at the first number alone.
		return seqGEQ(s.seq, c.rcvNxt) && seqLEQ(s.seq, c.rcvNxt+wnd)
	}
	switch {
	case n == 0 && wnd == 0:
		return s.seq == c.rcvNxt
	case n == 0:
		return seqGEQ(s.seq, c.rcvNxt) && seqLEQ(s.seq, c.rcvNxt+wnd)
	case wnd == 0:
		// RFC 9293 section 3.10.7.4: with a zero window nothing but ACK,
		// URG and RST is taken; what the text acknowledges counts, and
		// the probe is answered (MUST-66).
		return s.seq == c.rcvNxt
	}
	return seqLT(s.seq, c.rcvNxt+wnd) && seqGT(s.seq+n, c.rcvNxt)
}

// disorderedAck reports whether a segment that PAWS would drop is an ACK that
// was overtaken: harmless, and it may still open the window (Linux,
// tcp_disordered_ack).
func (e *Engine) disorderedAck(c *conn, s *segment) bool {
	return s.len() == 0 && s.flags&wire.TCPSyn == 0 && s.seq == c.rcvNxt && s.ack == c.una &&
		uint32(s.window)<<c.sndScale() == c.wnd && int32(c.tsRecent-s.opts.tsVal) <= 1000
}

// rstAfterHoles reports whether a RST follows the last byte that was received
// out of order: the peer sent all it had, then gave up (as Linux accepts).
func (e *Engine) rstAfterHoles(c *conn, s *segment) bool {
	if c.work == 0 || !c.has(fSACK) {
		return false
	}
	w := e.works.at(c.work)
	return w.ranges > 0 && s.seq == e.lastHole(w)
}

// unacceptable answers a segment outside the window with an ACK, at a limited
// rate (RFC 9293 section 3.10.7.4; Linux, tcp_oow_rate_limited).
func (e *Engine) unacceptable(i uint32, c *conn, s *segment) {
	if len(s.payload) > 0 && seqLT(s.seq, c.rcvNxt) {
		e.sawDuplicate(i, c, s.seq, seqMin(s.seq+uint32(len(s.payload)), c.rcvNxt))
		c.quick = max(c.quick, 2)
	}
	if s.len() == 0 || s.flags&wire.TCPSyn != 0 {
		if !e.mayAnswer(c) {
			return
		}
	}
	e.ackNow(i, c)
}

// mayAnswer limits the answers to bad segments of one connection.
func (e *Engine) mayAnswer(c *conn) bool {
	now := uint16(e.ms >> 4)
	if limit := uint16(e.tun.InvalidRateLimit.Milliseconds() >> 4); c.badAt != 0 && now-c.badAt < limit {
		return false
	}
	c.badAt = max(now, 1)
	return true
}

// challenge sends a challenge ACK, RFC 5961 section 3.2, within the limits.
func (e *Engine) challenge(i uint32, c *conn) {
	if e.mayAnswer(c) && e.challenges.allow(e.now) {
		e.ackNow(i, c)
	}
}

// challengeData answers an ACK of something that was never sent, RFC 5961
// section 5.2.
func (e *Engine) challengeData(i uint32, c *conn) { e.challenge(i, c) }

// ackNow has an ACK sent at the next Transmit.
func (e *Engine) ackNow(i uint32, c *conn) {
	c.flags |= fAckNow
	e.want(i, c)
}

// reset ends a connection that the peer reset, RFC 9293 section 3.10.7.4.
func (e *Engine) reset(i uint32, c *conn) {
	errno := eConnReset
	switch {
	case c.state == stCloseWait:
		errno = ePipe // as the kernel has it; Failed reports ECONNRESET
	}
	e.fail(i, c, errno)
}
