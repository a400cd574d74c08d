// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"netcon/dataplane/frame"
	"netcon/dataplane/nexthop"
	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// pending is the frame between Reserve and Commit.
type pending struct {
	open   bool
	reason stat.Reason // why it is refused; Accepted if it is not
	q      *queue
	vtep   netip.Addr
	flow   uint32
	n      int
	hop    *hop
	frame  uint32 // if it fits one
	single bool   // it fits one frame, which is written in place
	hold   bool   // it waits for its next hop
}

// Reserve returns room for one UDP payload of n bytes to the VTEP dst: in a
// frame of the UMEM, behind room for the outer headers. A frame that is empty,
// longer than the MTU or to an address of the other family is refused by
// Commit, as is one for which there is no way or no frame.
func (l *Link) Reserve(dst netip.Addr, flow uint32, n int) []byte {
	p := &l.pend
	if p.open {
		l.abandon()
	}
	if !dst.Is4() {
		dst = dst.Unmap().WithZone("")
	}
	// The rest is set by admit, and read only if it was.
	p.open, p.vtep, p.flow, p.n, p.single, p.hold = true, dst, flow, n, false, false
	if p.reason = l.admit(p); p.reason != stat.Accepted {
		return l.scratchRoom(max(n, 0))
	}
	if !p.single {
		return l.scratchRoom(n)
	}
	return p.q.room(p.frame)[payloadOffset:][:n:n]
}

// admit finds the way and the frame for p, or says why it is refused.
func (l *Link) admit(p *pending) stat.Reason {
	switch {
	case p.n <= 0 || !p.vtep.IsValid() || p.vtep.Is4() != l.outer.local.Is4():
		return stat.DropUnderlayError
	case p.n > l.mtu-l.overhead:
		return stat.DropUnderlayMTU
	case !l.up || l.closed:
		return stat.DropUnderlayError
	}
	p.hop = l.lookup(p.vtep)
	switch p.hop.state {
	case nexthop.Resolved:
		if p.n > p.hop.to.MTU-l.overhead {
			return stat.DropUnderlayMTU
		}
	case nexthop.Pending:
		if !l.mayHold(p.vtep) {
			return stat.DropNextHopQueue
		}
		p.hold = true
	default:
		return stat.DropNextHop
	}
	p.q = l.sender(p.flow)
	if p.single = payloadOffset+p.n <= 1<<p.q.shift; p.single {
		var ok bool
		if p.frame, ok = p.q.reserve(); !ok {
			p.single = false
			return stat.DropUnderlayFull
		}
	}
	return stat.Accepted
}

// sender picks the queue of a flow.
func (l *Link) sender(flow uint32) *queue {
	if len(l.senders) == 1 {
		return l.senders[0]
	}
	return l.senders[uint64(flow*0x9e3779b1)*uint64(len(l.senders))>>32]
}

// scratchRoom returns room for a payload that is not written in place. Asking
// for more than any datagram holds is the caller's mistake and costs an
// allocation.
func (l *Link) scratchRoom(n int) []byte {
	if payloadOffset+n > len(l.scratch) {
		l.scratch = make([]byte, payloadOffset+n)
	}
	return l.scratch[payloadOffset:][:n:n]
}

// abandon gives back what a Reserve took that no Commit followed.
func (l *Link) abandon() {
	if p := &l.pend; p.single {
		p.q.frames.Put(p.frame, frame.Reserved)
	}
	l.pend.open = false
}

// Commit queues the frame of the last Reserve, or counts why it cannot.
func (l *Link) Commit() {
	p := &l.pend
	if !p.open {
		panic("xsk: commit without reserve")
	}
	p.open = false
	if p.reason != stat.Accepted {
		l.stats.Drop(p.reason)
		return
	}
	c := &l.out
	c.q, c.vtep, c.flow, c.n, c.count, c.frames[0] = p.q, p.vtep, p.flow, p.n, 1, p.frame
	if p.single {
		if p.hold {
			l.hold(c)
		} else {
			l.transmit(c, p.hop)
		}
		return
	}
	// Headers first: scratch is in one piece.
	whole := l.scratch[payloadOffset-p.hop.n : payloadOffset+p.n]
	if !p.hold {
		p.hop.encapsulate(whole, p.flow)
	}
	switch {
	case !c.fill(l.scratch):
		l.stats.Drop(stat.DropUnderlayFull)
	case p.hold:
		l.hold(c)
	default:
		l.enqueue(c, whole)
	}
}

// chain is one payload in the frames of a queue: it starts at payloadOffset of
// the first and goes on at the start of the others.
type chain struct {
	q      *queue
	vtep   netip.Addr
	flow   uint32
	n      int // length of the payload
	count  int
	frames [maxChain]uint32
}

// fill takes frames and copies the payload from scratch, which is laid out as
// the frames are, one behind the other. It takes none if there are not enough.
func (c *chain) fill(scratch []byte) bool {
	size, total := 1<<c.q.shift, payloadOffset+c.n
	for c.count = 0; c.count*size < total; c.count++ {
		f, ok := c.q.reserve()
		if !ok {
			c.free(frame.Reserved)
			return false
		}
		c.frames[c.count] = f
		copy(c.q.room(f), scratch[c.count*size:total])
	}
	return true
}

// free gives the frames back.
func (c *chain) free(from frame.Owner) {
	for _, f := range c.frames[:c.count] {
		c.q.frames.Put(f, from)
	}
}

// transmit writes the outer headers before a payload and sends it. Its frames
// are Reserved.
func (l *Link) transmit(c *chain, h *hop) {
	start, total := payloadOffset-h.n, payloadOffset+c.n
	first := c.q.room(c.frames[0])
	if c.count == 1 {
		whole := first[start:total]
		h.encapsulate(whole, c.flow)
		l.enqueue(c, whole)
		return
	}
	// The checksum is over all of it, and frames need not lie side by side.
	whole := l.gatherChain(c)[start:total]
	h.encapsulate(whole, c.flow)
	copy(first[start:], whole[:h.n])
	l.enqueue(c, whole)
}

// enqueue puts frames into the transmit ring. whole is what they hold, from the
// outer headers on.
func (l *Link) enqueue(c *chain, whole []byte) {
	if l.tap != nil {
		l.tap.Outer(true, whole)
	}
	q := c.q
	size, total := 1<<q.shift, payloadOffset+c.n
	from := total - len(whole)
	// There is room: the ring has an entry for each frame of the sending half.
	for i, f := range c.frames[:c.count] {
		n, options := min(size, total-i*size)-from, uint32(unix.XDP_PKT_CONTD)
		if i == c.count-1 {
			options = 0
		}
		q.frames.Move(f, frame.Reserved, frame.Tx)
		q.tx.set(unix.XDPDesc{Addr: q.addr(f) + uint64(from), Len: uint32(n), Options: options})
		from = 0
	}
	l.sentFrames++
	l.sentBytes += uint64(c.n)
}

// gatherChain copies a chain into the second scratch buffer.
func (l *Link) gatherChain(c *chain) []byte {
	size, total := 1<<c.q.shift, payloadOffset+c.n
	if l.linear == nil {
		l.linear = make([]byte, payloadOffset+maxPacket)
	}
	for i, f := range c.frames[:c.count] {
		copy(l.linear[i*size:total], c.q.room(f))
	}
	return l.linear
}

// Flush hands what was queued to the kernel. What it does not take stays in the
// transmit ring. It may not come between a Reserve and its Commit.
func (l *Link) Flush() (more bool) {
	if l.closed {
		return false
	}
	if l.pend.open {
		l.abandon()
	}
	rung := l.bell.answer()
	l.newTurn()
	if l.held > 0 && (rung || l.generation != l.heldAt) {
		l.release()
	}
	worked := l.attend()
	for _, q := range l.queues {
		if rung {
			q.retry()
		}
		if q.send() {
			more = true
		}
		if q.sock.busyPoll && q.rx.peek() == 0 {
			l.poll(q)
		} else if q.wakeRx() {
			l.stats.Count(stat.RxCalls)
		}
		q.publish()
	}
	// While something is left the sockets are not watched: to watch one is to
	// have it send, and nobody would hear what came of that.
	if !worked && !more {
		l.rest()
	}
	l.countSent()
	return more
}

// newTurn reads afresh what holds for one turn of the worker.
func (l *Link) newTurn() {
	l.turn++
	l.generation = l.table.Generation()
	l.up = l.table.Up()
	if mtu := l.table.MTU(); mtu > 0 {
		l.mtu, l.rxMTU = min(mtu, l.dev.limit), min(mtu, l.dev.shape.mtu)
	}
}

// countSent counts as sent what was queued since the last time, less what the
// device dropped meanwhile. In copy mode that is known once the kernel has taken
// everything.
func (l *Link) countSent() {
	var kicks, lost uint64
	waiting := false
	for _, q := range l.queues {
		kicks += q.drive.kicks
		lost += q.drive.lost
		waiting = waiting || !q.sock.zeroCopy && q.tx.pending() > 0
	}
	l.stats.Add(stat.TxCalls, kicks-l.kicks)
	l.kicks = kicks
	if d := lost - l.lost; d > 0 {
		l.stats.DropN(stat.DropUnderlayError, d)
		l.lost = lost
		l.owed += d
	}
	if waiting || l.sentFrames == 0 {
		return
	}
	if n := min(l.owed, l.sentFrames); n > 0 {
		// Which of them it was is not known.
		l.sentBytes -= l.sentBytes / l.sentFrames * n
		l.sentFrames -= n
		l.owed -= n
	}
	l.stats.Add(stat.TxFrames, l.sentFrames)
	l.stats.Add(stat.TxBytes, l.sentBytes)
	l.sentFrames, l.sentBytes = 0, 0
}

// overheadOf returns the bytes of IP and UDP header before a payload.
func overheadOf(local netip.Addr) int {
	if local.Is4() {
		return wire.IPv4Len + wire.UDPLen
	}
	return wire.IPv6Len + wire.UDPLen
}
