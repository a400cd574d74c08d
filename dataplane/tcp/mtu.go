// SPDX-License-Identifier: Apache-2.0

package tcp

// lowerMTU takes a path MTU that the network reported: RFC 1191 section 3, RFC
// 8201 section 4. Only what is lower and not below the protocol's minimum is
// believed. What was too big goes out again at once.
func (e *Engine) lowerMTU(i uint32, c *conn, mtu int) bool {
	least := minMTU6
	if c.v4() {
		least = minPathMTU4
	}
	if mtu < least || mtu >= int(c.mtu) || !e.tun.PMTUDiscovery {
		return false
	}
	c.mtu = uint16(mtu)
	e.probeLater(c, probeAfterReport)
	was := c.mss
	e.setMSS(c)
	if c.mss >= was || c.work == 0 || !c.state.in(synchronized) || c.una == c.nxt {
		return true
	}
	// What is larger than a segment is lost. It is no sign of congestion
	// (RFC 1191 section 6.5, RFC 8201 section 5.4): cwnd stays.
	w := e.works.at(c.work)
	e.loseLarge(c, w)
	e.want(i, c)
	return true
}

// minPathMTU4 is the smallest path MTU believed for IPv4 (Linux, min_pmtu).
const minPathMTU4 = 552

// loseLarge deems everything in flight that is too large now lost, without a
// congestion response: retransmissions too, which were as large (Linux,
// tcp_simple_retransmit).
func (e *Engine) loseLarge(c *conn, w *work) {
	start := w.first
	for k := w.head; k != 0; {
		r := e.runs.at(k)
		size := r.end - start
		if r.flags&runSacked == 0 && !r.pending() && size > uint32(c.mss) {
			e.lose(w, r, size, nil)
		}
		start, k = r.end, r.next
	}
	if w.phase == phaseOpen {
		w.phase = phaseLoss
		w.recover = c.nxt
		c.ssthresh = max(c.ssthresh, c.cwnd)
	}
}

// blackHole lowers the MTU of a connection whose full segments are not
// acknowledged any more though nothing was reported: RFC 4821 section 7.7 (Linux,
// tcp_mtu_probing). There are two steps: to the base size, then to what every
// path must take.
func (e *Engine) blackHole(c *conn, w *work) {
	if e.tun.MTUProbing == 0 || int(c.backoff)+1 < e.tun.Retries1 || c.has(fLoop) {
		return
	}
	head, least := c.headers(), minMTU6
	if c.v4() {
		least = minMTU4
	}
	mtu := max(e.tun.BaseMSS+head, least)
	if was := int(c.mss); was <= e.tun.BaseMSS {
		if int(c.backoff)+1 < e.tun.Retries1+2 {
			return
		}
		mtu = least
	}
	if mtu < int(c.mtu) {
		c.mtu = uint16(mtu)
		e.probeLater(c, probeAfterGuess)
		e.setMSS(c)
	}
}

// A path that could not take large packets may be able to later: RFC 1191
// section 6.3, RFC 4821 section 7.3. After a while one segment is sent as large
// as our own MTU permits. If it arrives the MTU is raised. If it alone is lost
// that is no sign of congestion (RFC 4821 section 7.5).

// When a larger MTU is probed for, seconds.
const (
	probeAfterReport = 10 * 60 // RFC 1191 section 6.3
	probeAfterGuess  = 60
)

func (e *Engine) seconds() uint16 { return uint16(e.ms / 1000) }

// probeLater has no larger MTU tried for a while.
func (e *Engine) probeLater(c *conn, seconds uint16) { c.mtuAt = e.seconds() + seconds }

// probeRoom returns the text of an MTU probe if one is due and may be sent, else
// 0: there must be enough to tell its loss from others.
func (e *Engine) probeRoom(c *conn, w *work, s *sender) uint32 {
	if e.tun.MTUProbing == 0 || int(c.mtu) >= e.cfg.MTU || w.probing() || w.phase != phaseOpen || c.has(fLoop) ||
		int16(e.seconds()-c.mtuAt) < 0 || s.path.Max < e.cfg.MTU || w.head == 0 {
		return 0
	}
	n := min(e.cfg.MTU-c.headers(), int(c.peerMSS))
	if c.has(fTS) {
		n -= 12
	}
	size := uint32(n)
	room := uint32(c.mss)
	if size <= room || c.end-c.nxt < size+4*room || c.una+c.wnd-c.nxt < size+4*room || c.cwnd < c.pipe(w)+size+4*room ||
		e.out.opts.blocks > 0 {
		return 0
	}
	return size
}

// mtuProbeSent notes that the bytes from start to end left as an MTU probe.
func (e *Engine) mtuProbeSent(c *conn, w *work, start, end uint32) {
	w.flags |= wProbing
	w.probeStart, w.probeEnd = start, end
}

// mtuProbeAcked raises the MTU when a probe arrived.
func (e *Engine) mtuProbeAcked(c *conn, w *work, n *news) {
	if !w.probing() || seqLT(c.una, w.probeEnd) {
		return
	}
	w.flags &^= wProbing
	if n.resent || w.phase != phaseOpen {
		e.probeLater(c, probeAfterReport) // nobody knows what arrived
		return
	}
	c.mtu = uint16(e.cfg.MTU)
	e.setMSS(c)
}

// onlyProbeLost reports whether an MTU probe, and nothing else, was just deemed
// lost. It is sent again in segments that fit.
func (e *Engine) onlyProbeLost(c *conn, w *work) bool {
	if !w.probing() || w.pending > w.probeEnd-w.probeStart {
		return false
	}
	start := w.first
	for k := w.head; k != 0; k = e.runs.at(k).next {
		r := e.runs.at(k)
		if r.pending() && (seqLT(start, w.probeStart) || seqGT(r.end, w.probeEnd)) {
			return false
		}
		start = r.end
	}
	w.flags &^= wProbing
	e.probeLater(c, probeAfterReport)
	return true
}
