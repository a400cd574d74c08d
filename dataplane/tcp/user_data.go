// SPDX-License-Identifier: Apache-2.0

package tcp

import "netcon/dataplane/stream"

// Attach implements stream.Engine.
func (e *Engine) Attach(h stream.Handle, p *stream.Pair) {
	i, c, errno := e.lookup(h)
	if errno != 0 {
		return
	}
	if c.has(fDead) {
		e.pairs.set(i, p) // for Connect, which may try again
		return
	}
	if was := e.pairs.get(i); was != nil && was != p && c.end != c.base() {
		return // bytes in the old one are not acknowledged yet
	}
	e.pairs.set(i, p)
	if p == nil {
		return
	}
	e.setRcvCap(i, c, p)
	if c.stash != 0 {
		e.unstash(i, c)
		if c.stash != 0 {
			e.report(i, c, evReadable)
		}
	}
	if c.failing() {
		e.report(i, c, evFailed)
		return
	}
	if c.has(fFinIn) {
		e.endOfInput(i, c)
	}
	e.pullTx(i, c, p)
}

// setRcvCap remembers the size of the ring that received bytes go into.
func (e *Engine) setRcvCap(i uint32, c *conn, p *stream.Pair) {
	if p.Rx.Attached() {
		c.rcvLog = log2(p.Rx.Cap())
	}
}

// base returns the sequence number of the first byte in the Tx ring.
func (c *conn) base() uint32 {
	if c.state == stSynSent || c.state == stSynReceived {
		return c.una + 1
	}
	return c.una
}

// pullTx takes note of what lies in the Tx ring.
func (e *Engine) pullTx(i uint32, c *conn, p *stream.Pair) {
	if c.has(fFin) || !c.state.in(synchronized|1<<stSynSent|1<<stSynReceived) {
		return
	}
	// Read before the length: bytes come before the end.
	eof := p.TxEOF.Load()
	n := p.Tx.Len()
	if p.Tx.Broken() {
		e.want(i, c)
		return
	}
	c.end = c.base() + uint32(n)
	if eof {
		e.closeSending(i, c)
	}
	if c.state.in(synchronized) {
		e.wantIfPending(i, c)
	}
}

// TxReady implements stream.Engine: the SEND call of RFC 9293 section 3.10.2.
func (e *Engine) TxReady(h stream.Handle) {
	i, c, errno := e.lookup(h)
	if errno != 0 {
		return
	}
	if c.failing() {
		// Who sends learns of it at once, as in Linux, whatever there is to read.
		e.dropStash(c)
		e.report(i, c, evFailed)
		return
	}
	if p := e.pairs.get(i); p != nil {
		e.pullTx(i, c, p)
	}
}

// RxRoom implements stream.Engine: the RECEIVE call of RFC 9293 section 3.10.3.
func (e *Engine) RxRoom(h stream.Handle) {
	i, c, errno := e.lookup(h)
	if errno != 0 {
		return
	}
	p := e.pairs.get(i)
	if p == nil {
		return
	}
	e.setRcvCap(i, c, p)
	if c.stash != 0 {
		e.unstash(i, c)
		if c.failing() {
			e.report(i, c, evFailed)
		}
	}
	if !c.state.in(receiving) {
		return
	}
	e.openWindow(i, c)
}

// openWindow tells the peer that there is room again, when it is worth a
// segment: RFC 9293 section 3.8.6.2.2 (Linux, __tcp_cleanup_rbuf).
func (e *Engine) openWindow(i uint32, c *conn) {
	if c.rcvd == 0 {
		return // nothing was taken out: what is offered stands
	}
	now := c.rcvEdge - c.rcvNxt
	if int32(now) < 0 {
		now = 0
	}
	room := min(e.room(i, c), 65535<<c.rcvScale())
	if 2*now <= c.rcvCap() && room >= 2*now && room-now >= min(uint32(e.announcedMSS(c)), c.rcvCap()/2) {
		e.ackNow(i, c)
	}
}
