// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
)

// Transmit implements stream.Engine. Every connection with something to send
// sends all it may in one pass; one that the budget stops goes on in the next.
func (e *Engine) Transmit(out stream.Output, budget int) int {
	if e.stopped {
		return 0
	}
	built := e.sendReplies(out, budget)
	for n := e.tx.len(); built < budget && n > 0; n-- {
		i := e.tx.pop()
		c := e.conns.at(i)
		if !c.has(fInTx) {
			continue
		}
		c.flags &^= fInTx
		built += e.output(i, c, out, budget-built)
	}
	e.drainLoop()
	return built
}

// Busy implements stream.Engine.
func (e *Engine) Busy() bool {
	return !e.stopped && (e.tx.len() > 0 || e.events.len() > 0 || e.reply.len() > 0 || e.echoes.len() > 0 || e.loop.len() > 0)
}

// sender is where a connection sends to, for one pass.
type sender struct {
	e     *Engine
	out   stream.Output
	path  stream.Path
	hdr   int // bytes of the headers, options included
	left  int // of the budget
	built int
}

// open asks for the path of a connection and fills in what is the same in all
// its headers.
func (s *sender) open(e *Engine, i uint32, c *conn, out stream.Output, budget int) {
	s.e, s.out, s.left, s.built = e, out, budget, 0
	if c.has(fLoop) {
		s.out = &e.loop
	}
	flow := e.key.flowHash(&c.tuple)
	s.path = s.out.Open(c.remote.netip(), flow)
	o := e.opts.get(c.opts)
	h := &e.out
	*h = header{
		local: e.locals.addrs[c.local], remote: c.remote, lport: c.lport, rport: c.rport,
		tos: o.tos &^ 3, ttl: o.ttl, v6: !c.v4(), flow: flow & 0xfffff,
	}
	h.opts.scale = noScale
}

// acks writes what acknowledges: the number, the window and the options of a
// synchronized connection.
func (s *sender) acks(i uint32, c *conn) {
	e, h := s.e, &s.e.out
	h.ack = c.rcvNxt
	h.window = e.selectWindow(i, c)
	if c.has(fTS) {
		h.opts.timestamps = true
		h.opts.tsVal, h.opts.tsEcr = e.ms+c.tsOff, c.tsRecent
	}
	h.opts.blocks = 0
	if c.work != 0 && c.has(fSACK) {
		if w := e.works.at(c.work); w.hole != 0 || w.has(wDSACKDue) {
			h.opts.blocks = uint8(e.sackBlocks(w, h.opts.sack[:maxBlocks(c.has(fTS))]))
		}
	}
	s.hdr = h.size()
}

// put sends one segment of n bytes of the Tx ring from off on.
func (s *sender) put(c *conn, r *stream.Ring, off, n int) {
	e, h := s.e, &s.e.out
	size := s.hdr + n
	s.left--
	s.built++
	c.segsOut++
	var f []byte
	if s.path.Max == 0 {
		// Nowhere: as if it was lost. The Output counted it.
		if len(e.void) < size {
			e.void = make([]byte, max(size, 2048))
		}
		f = e.void[:size]
	} else {
		f = s.out.Frame(size)[:size]
	}
	var sum wire.Sum
	if n > 0 {
		a, b := r.PeekAt(off, n)
		if s.path.Checksums {
			sum = gatherSum(f[s.hdr:], a, b)
		} else {
			copy(f[s.hdr+copy(f[s.hdr:], a):], b)
		}
	}
	h.id = e.ipID
	e.ipID++
	h.put(f, n, sum, s.path.Checksums)
	if s.path.Max != 0 {
		s.out.Commit()
	}
	e.stat.Count(stat.PacketsOut)
	e.stat.Add(stat.PacketBytesOut, uint64(size))
}

// acked notes that an acknowledgment left.
func (e *Engine) ackLeft(c *conn) {
	if c.quick > 0 {
		c.quick--
	}
	c.rcvAcked = c.rcvNxt
	c.dupAcks = 0
	c.flags &^= fAckNow | fAckLater
}

// output sends what a connection may send, at most budget segments, and returns
// how many it sent.
func (e *Engine) output(i uint32, c *conn, out stream.Output, budget int) int {
	var s sender
	switch {
	case c.state == stSynSent, c.state == stSynReceived:
		s.open(e, i, c, out, budget)
		e.sendOpening(i, c, &s)
		return s.built
	case !c.state.in(synchronized):
		return 0
	}
	p := e.pairs.get(i)
	if e.broken(i) {
		e.brokenRing(i, c)
		return 0
	}
	s.open(e, i, c, out, budget)
	s.acks(i, c)
	if c.work != 0 || e.unsent(c) {
		if w := e.workOf(i, c); w != nil {
			e.sendText(i, c, w, &s, p)
		}
	}
	if s.built > 0 {
		e.ackLeft(c)
	} else if c.has(fAckNow) {
		for n := max(int(c.dupAcks), 1); n > 0 && s.left > 0; n-- {
			e.sendPlainAck(c, &s, c.nxt)
		}
		e.ackLeft(c)
	}
	return s.built
}

// sendPlainAck sends a segment without text.
func (e *Engine) sendPlainAck(c *conn, s *sender, seq uint32) {
	h := &e.out
	h.seq, h.flags = seq, wire.TCPAck
	if c.has(fECE) {
		h.flags |= wire.TCPEce
	}
	s.put(c, nil, 0, 0)
}

// brokenRing ends a connection whose owner lies about its cursors: nobody is
// owed an orderly end.
func (e *Engine) brokenRing(i uint32, c *conn) {
	e.sendReset(c, c.nxt)
	e.fail(i, c, eConnReset)
}

// selectWindow returns the window field: RFC 9293 section 3.8.6.2.2, silly
// window avoidance of the receiver. The right edge never goes back (section
// 3.8.6), and moves by a segment or half the buffer at least.
func (e *Engine) selectWindow(i uint32, c *conn) uint16 {
	scale := c.rcvScale()
	room := min(e.room(i, c), 65535<<scale)
	if c.state == stSynReceived {
		// The SYN-ACK may have to be sent again, and its window is not scaled.
		room = min(room, 65535)
	}
	empty := room == c.rcvCap()
	// The field rounds up, because the edge may not go back: what that offers
	// beyond the edge has to be there as well.
	room -= min(room, 1<<scale-1)
	edge := c.rcvNxt + room
	step := min(uint32(e.announcedMSS(c)), c.rcvCap()/2)
	if grow := int32(edge - c.rcvEdge); grow >= int32(step) || grow > 0 && empty {
		c.rcvEdge = c.rcvNxt + room>>scale<<scale
	}
	wnd := (c.rcvEdge - c.rcvNxt + 1<<scale - 1) >> scale
	if int32(c.rcvEdge-c.rcvNxt) <= 0 {
		return 0
	}
	return uint16(min(wnd, 65535))
}

// announcedMSS is what we said, or say, we take.
func (e *Engine) announcedMSS(c *conn) uint16 { return e.mssFor(c.v4(), c.opts) }

// mssFor returns the MSS to be announced, RFC 9293 section 3.7.1, RFC 6691.
func (e *Engine) mssFor(v4 bool, opts uint32) uint16 {
	n := e.cfg.MTU - wire.IPv6Len - wire.TCPLen
	if v4 {
		n = e.cfg.MTU - wire.IPv4Len - wire.TCPLen
	}
	if m := e.opts.get(opts).maxSeg; m != 0 {
		n = min(n, int(m))
	}
	return uint16(n)
}
