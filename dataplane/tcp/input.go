// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// Deliver implements stream.Engine.
func (e *Engine) Deliver(packet []byte, verified bool) {
	e.stat.Count(stat.PacketsIn)
	e.stat.Add(stat.PacketBytesIn, uint64(len(packet)))
	if e.stopped {
		e.stat.Drop(stat.DropContainerGone)
		return
	}
	e.stat.Drop(e.deliver(packet, verified, false))
}

// deliver takes one packet, from the network or (looped) from ourselves.
func (e *Engine) deliver(packet []byte, verified, looped bool) stat.Reason {
	d := &e.in
	if r := d.parse(packet); r != stat.Accepted {
		return r
	}
	local, ok := e.locals.find(d.dst)
	if !ok || !looped && (!e.locals.own[local] || !unicast(d.src) || e.isOurs(d.src)) {
		// Broadcast and multicast are for nobody here; our own and
		// loopback addresses as source are forged.
		return stat.DropIPNotLocal
	}
	if d.fragment {
		return stat.DropProtocolDisabled
	}
	switch d.proto {
	case wire.ProtoTCP:
		s := &e.seg
		// The sum of a payload is verified while it is copied, if it is.
		if r := s.parse(d, true); r != stat.Accepted {
			return r
		}
		return e.segmentArrives(s, local, verified)
	case wire.ProtoICMP:
		if !d.v6 {
			return e.icmp4(d, local)
		}
	case wire.ProtoICMPv6:
		if d.v6 {
			return e.icmp6(d, local)
		}
	}
	return stat.DropProtocolDisabled
}

// isOurs reports whether an address is one of ours.
func (e *Engine) isOurs(a addr) bool {
	return e.locals.has(a)
}

// segmentArrives is SEGMENT ARRIVES, RFC 9293 section 3.10.7, for the state that
// the connection is in.
func (e *Engine) segmentArrives(s *segment, local uint16, verified bool) stat.Reason {
	t := tuple{remote: s.remote, lport: s.lport, rport: s.rport, local: local}
	v := e.find(&t)
	if v != 0 && v&kindMask == kindConn {
		i := v &^ kindMask
		c := e.conns.at(i)
		if c.state.in(synchronized) {
			return e.arrivesSynchronized(i, c, s, verified)
		}
		if !verified && !e.in.sumOK() {
			return stat.DropL4Checksum
		}
		switch c.state {
		case stSynSent:
			return e.arrivesSynSent(i, c, s)
		default:
			return e.arrivesSynReceived(i, c, s)
		}
	}
	if !verified && !e.in.sumOK() {
		return stat.DropL4Checksum
	}
	switch v & kindMask {
	case kindHalf:
		return e.arrivesHalfOpen(v&^kindMask, s)
	case kindWait:
		return e.arrivesTimeWait(v&^kindMask, s, &t)
	}
	return e.arrivesListen(s, &t)
}

// EndBurst implements stream.Engine: what arrived in this turn is acknowledged
// at once.
func (e *Engine) EndBurst() {
	for e.burst.len() > 0 {
		i := e.burst.pop()
		c := e.conns.at(i)
		if !c.has(fInBurst) {
			continue
		}
		c.flags &^= fInBurst
		if c.state.in(synchronized) {
			e.decideAck(i, c)
		}
	}
}

// touch has EndBurst look at a connection.
func (e *Engine) touch(i uint32, c *conn) {
	if !c.has(fInBurst) {
		c.flags |= fInBurst
		e.burst.push(i)
	}
}

// want has Transmit look at a connection.
func (e *Engine) want(i uint32, c *conn) {
	if !c.has(fInTx) {
		c.flags |= fInTx
		e.tx.push(i)
	}
}

// report has Poll report something of a socket.
func (e *Engine) report(i uint32, c *conn, ev eventSet) {
	c.events |= ev
	if !c.has(fInEvents) && c.has(fOwned) {
		c.flags |= fInEvents
		e.events.push(i)
	}
}
