// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// arrivesSynSent is RFC 9293 section 3.10.7.3.
func (e *Engine) arrivesSynSent(i uint32, c *conn, s *segment) stat.Reason {
	c.segsIn++
	iss := c.una
	acks := s.flags&wire.TCPAck != 0
	// First, check the ACK bit.
	if acks {
		if s.ack != c.nxt || c.nxt == iss {
			if s.flags&wire.TCPRst == 0 {
				e.refuse(s, &c.tuple)
			}
			return stat.Accepted
		}
		// RFC 7323 section 3.2: an echo of what we never sent.
		if c.has(fTS) && s.opts.timestamps && s.opts.tsEcr != 0 && !e.echoPlausible(c, s.opts.tsEcr) {
			if s.flags&wire.TCPRst == 0 {
				e.refuse(s, &c.tuple)
			}
			return stat.Accepted
		}
	}
	// Second, check the RST bit.
	if s.flags&wire.TCPRst != 0 {
		if acks {
			e.fail(i, c, eConnRefused)
		}
		return stat.Accepted
	}
	// Fourth, check the SYN bit.
	if s.flags&wire.TCPSyn == 0 {
		return stat.Accepted
	}
	e.agree(c, s)
	c.rcvNxt = s.seq + 1
	c.rcvAcked = c.rcvNxt
	c.rcvEdge += c.rcvNxt // what was offered with the SYN
	c.wl1 = s.seq
	c.wnd = uint32(s.window) // never scaled in a SYN, RFC 7323 section 2.2
	c.maxWnd = max(c.wnd, 1)
	c.lastIn = e.ms
	if !acks {
		// Simultaneous open.
		c.state = stSynReceived
		c.nxt = c.una
		c.timer = timerNone
		c.flags &^= fECN
		e.want(i, c)
		return stat.Accepted
	}
	if c.has(fECN) && s.flags&(wire.TCPEce|wire.TCPCwr) != wire.TCPEce {
		c.flags &^= fECN // RFC 3168 section 6.1.1
	}
	c.una = s.ack
	e.sampleHandshake(c, s)
	e.becomeEstablished(i, c)
	e.ackNow(i, c)
	if len(s.payload) > 0 || s.flags&wire.TCPFin != 0 {
		s.seq++
		e.textArrives(i, c, s, false)
	}
	return stat.Accepted
}

// echoPlausible reports whether a timestamp may be one that we sent since the
// connection was opened.
func (e *Engine) echoPlausible(c *conn, ecr uint32) bool {
	now := e.ms + c.tsOff
	return seqLEQ(ecr, now) && seqGEQ(ecr, now-(e.ms-c.lastOut)-1)
}

// agree takes what a SYN, or the SYN-ACK to our SYN, offers of what we want: RFC
// 9293 section 3.7.1, RFC 7323 section 2.2 and 3.2, RFC 2018 section 2.
func (e *Engine) agree(c *conn, s *segment) {
	o := &s.opts
	c.peerMSS = e.peerMSS(s.opts.mss, c.v4())
	if !o.timestamps {
		c.flags &^= fTS
	}
	if c.has(fTS) {
		c.tsRecent, c.tsAt = o.tsVal, e.ms
		c.flags |= fTimedIn
	}
	if !o.sackPermitted {
		c.flags &^= fSACK
	}
	if o.scale == noScale {
		c.flags &^= fScale
	}
	if c.has(fScale) {
		c.scales = c.scales&0xf0 | o.scale
	} else {
		c.scales = 0
	}
	e.setMSS(c)
}

// peerMSS returns the MSS that a SYN announced, or the default: RFC 9293
// section 3.7.1 (MUST-15). Less than the floor is not believed.
func (e *Engine) peerMSS(mss uint16, v4 bool) uint16 {
	if mss == 0 {
		mss = 1220
		if v4 {
			mss = 536
		}
	}
	return max(mss, uint16(e.tun.MinSndMSS))
}

// setMSS computes the text of a full segment: Eff.snd.MSS of RFC 9293 section
// 3.7.1.
func (e *Engine) setMSS(c *conn) {
	head := wire.IPv6Len + wire.TCPLen
	if c.v4() {
		head = wire.IPv4Len + wire.TCPLen
	}
	n := min(int(c.peerMSS), int(c.mtu)-head)
	if m := e.opts.get(c.opts).maxSeg; m != 0 {
		n = min(n, int(m))
	}
	if c.has(fTS) {
		n -= 12
	}
	c.mss = uint16(max(n, e.tun.MinSndMSS-12, 8))
}

// sampleHandshake measures the round trip by the handshake, unless a SYN was
// resent (RFC 6298 section 3): then by the timestamps.
func (e *Engine) sampleHandshake(c *conn, s *segment) {
	lost := c.backoff > 0
	switch {
	case !lost && c.sentAt() != 0:
		e.sampleRTT(c, e.us-c.sentAt())
	case c.has(fTS) && s.opts.timestamps && s.opts.tsEcr != 0:
		if d := e.ms + c.tsOff - s.opts.tsEcr; int32(d) >= 0 {
			e.sampleRTT(c, max(d, 1)*1000)
		}
	}
	if !c.rtt.valid() {
		c.rtt.synTimeout() // RFC 6298 section 5.7
	}
	e.ccStart(c)
	if lost {
		// RFC 5681 section 3.1: a SYN was lost.
		c.cwnd = initialWindow(e.tun.InitialCwnd, uint32(c.mss), true)
	}
	c.backoff = 0
}

// arrivesSynReceived is RFC 9293 section 3.10.7.4 for SYN-RECEIVED, which only a
// simultaneous open puts a record in: what a listener answered is a halfOpen.
func (e *Engine) arrivesSynReceived(i uint32, c *conn, s *segment) stat.Reason {
	c.segsIn++
	scale := c.sndScale()
	if !e.acceptable(c, s) {
		if s.flags&wire.TCPSyn != 0 && s.flags&wire.TCPRst == 0 && s.seq == c.rcvNxt-1 && s.flags&wire.TCPAck != 0 && s.ack == c.nxt && c.nxt != c.una {
			// The peer's SYN-ACK repeats its SYN.
			s.flags &^= wire.TCPSyn
			s.seq++
			scale = 0 // never scaled in a SYN, RFC 7323 section 2.2
		} else {
			switch {
			case s.flags&wire.TCPRst != 0:
			case s.flags&wire.TCPSyn != 0 && s.seq == c.rcvNxt-1:
				c.nudge = 1 // the peer's SYN again: our SYN-ACK was lost
				e.want(i, c)
			default:
				e.unacceptable(i, c, s)
			}
			return stat.Accepted
		}
	}
	if s.flags&wire.TCPRst != 0 {
		if s.seq == c.rcvNxt {
			e.fail(i, c, eConnRefused)
		} else {
			e.challenge(i, c)
		}
		return stat.Accepted
	}
	if s.flags&wire.TCPSyn != 0 {
		e.challenge(i, c)
		return stat.Accepted
	}
	if s.flags&wire.TCPAck == 0 {
		return stat.Accepted
	}
	if s.ack != c.nxt || c.nxt == c.una {
		e.refuse(s, &c.tuple)
		return stat.Accepted
	}
	c.una = s.ack
	c.wnd = uint32(s.window) << scale
	c.maxWnd = max(c.maxWnd, c.wnd)
	c.wl1 = s.seq
	if c.has(fTS) && s.opts.timestamps {
		c.tsRecent, c.tsAt = s.opts.tsVal, e.ms
	}
	e.sampleHandshake(c, s)
	e.becomeEstablished(i, c)
	e.touch(i, c)
	if len(s.payload) > 0 || s.flags&wire.TCPFin != 0 {
		e.textArrives(i, c, s, false)
	}
	return stat.Accepted
}

// becomeEstablished is the end of an active open.
func (e *Engine) becomeEstablished(i uint32, c *conn) {
	c.state = stEstablished
	c.nudge = 0
	c.timer = timerNone
	c.lastIn = e.ms
	c.lastOut = 0
	c.flags |= fConnected
	e.report(i, c, evEstablished)
	e.startKeepalive(i, c)
	if c.has(fFin) {
		c.state = stFinWait1 // shut down before it was established
	}
	e.wantIfPending(i, c)
}

// sendOpening sends the SYN, or SYN-ACK, of an active open.
func (e *Engine) sendOpening(i uint32, c *conn, s *sender) {
	if c.nxt != c.una && c.nudge == 0 {
		if c.has(fAckNow) && c.state == stSynReceived {
			s.acks(i, c)
			e.sendPlainAck(c, s, c.nxt)
			c.flags &^= fAckNow
		}
		return
	}
	c.nudge = 0
	c.flags &^= fAckNow
	h := &e.out
	h.seq = c.una
	h.flags = wire.TCPSyn
	h.opts.mss = e.announcedMSS(c)
	h.opts.sackPermitted = c.has(fSACK)
	if c.has(fScale) {
		h.opts.scale = c.rcvScale()
	}
	if c.has(fTS) {
		h.opts.timestamps = true
		h.opts.tsVal = e.ms + c.tsOff
	}
	if c.state == stSynSent {
		// Until RCV.NXT is known, rcvEdge holds the window alone. It stays:
		// a window never shrinks.
		if c.rcvEdge == 0 {
			c.rcvEdge = min(c.rcvCap(), 65535)
		}
		h.window = uint16(c.rcvEdge)
	} else {
		h.window = uint16(c.rcvEdge - c.rcvNxt)
	}
	if c.state == stSynReceived {
		h.flags |= wire.TCPAck
		h.ack = c.rcvNxt
		h.opts.tsEcr = c.tsRecent
	} else if c.has(fECN) {
		h.flags |= wire.TCPEce | wire.TCPCwr // RFC 3168 section 6.1.1
	}
	s.hdr = h.size()
	s.put(c, nil, 0, 0)
	c.nxt = c.una + 1
	if c.backoff == 0 {
		c.setSentAt(e.us)
		c.lastOut = e.ms
	}
	e.setTimer(i, c, timerRetrans, uint32(min(uint64(e.initialRTO)<<min(c.backoff, 20), uint64(e.maxRTO))))
}

// openingTimeout resends a SYN, or gives up: RFC 9293 section 3.8.3 (MUST-23).
func (e *Engine) openingTimeout(i uint32, c *conn) bool {
	o := e.opts.get(c.opts)
	tries := e.tun.SynRetries
	if c.state == stSynReceived {
		tries = e.tun.SynAckRetries
	}
	if o.synCount != 0 {
		tries = int(o.synCount)
	}
	if int(c.backoff) >= tries || o.userTimeout != 0 && e.ms-c.lastOut >= o.userTimeout {
		e.timedOut(i, c)
		return false
	}
	c.backoff++
	if c.has(fECN) {
		c.flags &^= fECN // RFC 3168 section 6.1.1.1: perhaps that is what is dropped
	}
	c.resent++
	c.nudge = 1
	e.want(i, c)
	return true
}

// While a connection is opened, ackAt holds when its first SYN left: no ACK is
// owed then.
func (c *conn) sentAt() uint32      { return c.ackAt }
func (c *conn) setSentAt(us uint32) { c.ackAt = us }
