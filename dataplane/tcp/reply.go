// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
)

// reply is a segment without text that no record of a connection stands behind:
// a SYN-ACK, an ACK from TIME-WAIT, a RST.
type reply struct {
	tuple
	seq, ack     uint32
	tsVal, tsEcr uint32
	mss          uint16
	window       uint16
	flags        uint8
	tos, ttl     uint8
	scale        uint8
	sack         bool
	timestamps   bool
}

// maxReplies bounds the replies that wait for Transmit; one more is dropped, as
// if it was lost.
const maxReplies = 4096

// replies is a queue of them.
type replies struct {
	ring       []reply
	head, tail uint32
}

func (q *replies) len() int { return int(q.tail - q.head) }

// add returns a fresh reply at the end of the queue, nil if it is full.
func (q *replies) add() *reply {
	if n := q.len(); n == len(q.ring) {
		if n >= maxReplies {
			return nil
		}
		ring := make([]reply, max(64, 2*n))
		for k := range n {
			ring[k] = q.ring[(q.head+uint32(k))&uint32(n-1)]
		}
		q.ring, q.head, q.tail = ring, 0, uint32(n)
	}
	r := &q.ring[q.tail&uint32(len(q.ring)-1)]
	q.tail++
	*r = reply{scale: noScale}
	return r
}

// pop takes the oldest.
func (q *replies) pop() *reply {
	r := &q.ring[q.head&uint32(len(q.ring)-1)]
	q.head++
	return r
}

// answer queues a reply to a tuple. It is never nil: what does not fit is
// counted and lost.
func (e *Engine) answer(t *tuple, flags uint8) *reply {
	r := e.reply.add()
	if r == nil {
		e.stat.Drop(stat.DropTxQueue)
		r = new(reply)
	}
	r.tuple, r.flags = *t, flags
	r.ttl = uint8(e.tun.TTL)
	return r
}

// sendReplies sends what was queued, at most budget packets.
func (e *Engine) sendReplies(out stream.Output, budget int) int {
	n := 0
	for ; n < budget && e.reply.len() > 0; n++ {
		e.sendReply(e.reply.pop(), out)
	}
	for ; n < budget && e.echoes.len() > 0; n++ {
		e.sendEcho(out)
	}
	return n
}

func (e *Engine) sendReply(r *reply, out stream.Output) {
	if !e.locals.own[r.local] || e.isOurs(r.remote) {
		out = &e.loop
	}
	flow := e.key.flowHash(&r.tuple)
	path := out.Open(r.remote.netip(), flow)
	if path.Max == 0 {
		return
	}
	h := &e.out
	*h = header{
		local: e.locals.addrs[r.local], remote: r.remote, lport: r.lport, rport: r.rport,
		seq: r.seq, ack: r.ack, flags: r.flags, window: r.window,
		tos: r.tos, ttl: r.ttl, v6: !r.remote.is4(), flow: flow & 0xfffff,
	}
	h.opts = options{mss: r.mss, scale: r.scale, sackPermitted: r.sack, timestamps: r.timestamps, tsVal: r.tsVal, tsEcr: r.tsEcr}
	h.id = e.ipID
	e.ipID++
	size := h.size()
	h.put(out.Frame(size)[:size], 0, 0, path.Checksums)
	out.Commit()
	e.stat.Count(stat.PacketsOut)
	e.stat.Add(stat.PacketBytesOut, uint64(size))
}

// refuse answers a segment that no connection takes with a RST, RFC 9293
// section 3.10.7.1.
func (e *Engine) refuse(s *segment, t *tuple) {
	if s.flags&wire.TCPRst != 0 || !e.resets.allow(e.now) {
		return
	}
	r := e.answer(t, wire.TCPRst)
	if s.flags&wire.TCPAck != 0 {
		r.seq = s.ack
		return
	}
	r.flags |= wire.TCPAck
	r.ack = s.seq + s.len()
}

// sendReset queues the RST of a connection that ends here.
func (e *Engine) sendReset(c *conn, seq uint32) {
	r := e.answer(&c.tuple, wire.TCPRst|wire.TCPAck)
	r.seq, r.ack = seq, c.rcvNxt
	if c.has(fTS) {
		r.timestamps, r.tsVal, r.tsEcr = true, e.ms+c.tsOff, c.tsRecent // RFC 7323 section 3.2
	}
	o := e.opts.get(c.opts)
	r.tos, r.ttl = o.tos&^3, o.ttl
}
