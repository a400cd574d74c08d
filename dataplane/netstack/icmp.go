// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"encoding/binary"
	"syscall"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// minPathMTU4 is the smallest path MTU believed for IPv4: the datagram every
// host must accept, RFC 791. Linux's floor is 552 (min_pmtu).
const minPathMTU4 = 576

// deliverICMP4 lets echo requests, and fragmentation needed for a connection,
// through to gVisor and settles the other errors of connections here. Such an
// error is believed only if it quotes a segment of a live connection that is in
// flight (RFC 5927 section 4.1). The rest is for datagram sockets.
func (s *Stack) deliverICMP4(in *incoming) stat.Reason {
	m, ok := wire.ParseICMP(in.upper())
	if !ok {
		return stat.DropL4Short
	}
	if wire.Sum(0).Add(m).Fold() != 0xffff {
		return stat.DropL4Checksum
	}
	if in.group {
		return s.rawICMP(in, m)
	}
	switch m.Type() {
	case wire.ICMPv4Echo:
		return s.deliverEcho(in, m)
	case wire.ICMPv4Unreachable, wire.ICMPv4TimeExceeded, wire.ICMPv4ParamProblem:
		if !quotesTCP(m.Payload()) {
			return s.datagramICMP(in, m)
		}
		s.showRaw(in, m)
	default:
		return s.datagramICMP(in, m)
	}
	k := s.quoted4(m.Payload())
	if k == nil {
		return stat.DropICMPForged
	}
	if m.Type() == wire.ICMPv4Unreachable && m.Code() == wire.ICMPv4FragNeeded {
		return s.lowerMTU(in, k, int(m.MTU()), minPathMTU4)
	}
	k.unreachable(errnoOfICMP4(m))
	return stat.Accepted
}

// deliverICMP6 is deliverICMP4 for ICMPv6. Neighbour discovery and MLD are not
// for gVisor.
func (s *Stack) deliverICMP6(in *incoming) stat.Reason {
	m, ok := wire.ParseICMP(in.upper())
	if !ok {
		return stat.DropL4Short
	}
	if !in.sumOK(m) {
		return stat.DropL4Checksum
	}
	if in.group {
		return s.rawICMP(in, m)
	}
	switch m.Type() {
	case wire.ICMPv6Echo:
		return s.deliverEcho(in, m)
	case wire.ICMPv6Unreachable, wire.ICMPv6PacketTooBig, wire.ICMPv6TimeExceeded, wire.ICMPv6ParamProblem:
		if !quotesTCP(m.Payload()) {
			return s.datagramICMP(in, m)
		}
		s.showRaw(in, m)
	default:
		return s.datagramICMP(in, m)
	}
	k := s.quoted6(m.Payload())
	if k == nil {
		return stat.DropICMPForged
	}
	if m.Type() == wire.ICMPv6PacketTooBig {
		return s.lowerMTU(in, k, int(min(m.MTU6(), 1<<20)), minMTU)
	}
	k.unreachable(errnoOfICMP6(m))
	return stat.Accepted
}

// deliverEcho has gVisor answer an echo request. Raw sockets see it as well.
func (s *Stack) deliverEcho(in *incoming, m wire.ICMP) stat.Reason {
	s.showRaw(in, m)
	s.enqueue(in, len(in.b), nil)
	return stat.Accepted
}

// showRaw shows Raw sockets a message that is not theirs alone.
func (s *Stack) showRaw(in *incoming, m wire.ICMP) {
	if r := s.rawICMP(in, m); r != stat.DropProtocolDisabled {
		s.stat.Drop(r)
	}
}

// rawICMP gives a message to Raw sockets.
func (s *Stack) rawICMP(in *incoming, m wire.ICMP) stat.Reason {
	if !s.datagrams.WantsICMP() {
		return stat.DropProtocolDisabled
	}
	p := s.datagrams.View(in.b, in.at)
	return s.datagrams.Raw(&p, m)
}

// datagramICMP gives a message to the datagram sockets.
func (s *Stack) datagramICMP(in *incoming, m wire.ICMP) stat.Reason {
	p := s.datagrams.View(in.b, in.at)
	return s.datagrams.ICMP(&p, m)
}

// quotesTCP reports whether an ICMP error is about a segment, or about nothing
// that can be told.
func quotesTCP(q []byte) bool {
	switch {
	case len(q) < wire.IPv4Len:
		return true
	case q[0]>>4 == 4:
		return wire.IPv4(q).Protocol() == wire.ProtoTCP
	}
	return len(q) < wire.IPv6Len || wire.IPv6(q).NextHeader() == wire.ProtoTCP
}

// lowerMTU passes a path MTU on to gVisor if it is one, and lower than the
// last.
func (s *Stack) lowerMTU(in *incoming, k *socket, mtu, least int) stat.Reason {
	if mtu < least || mtu >= k.flow.mtu {
		return stat.DropICMPMTU
	}
	k.flow.mtu = mtu
	s.enqueue(in, len(in.b), nil)
	return stat.Accepted
}

// quoted4 returns the connection that sent the quoted packet, if the quoted
// segment is in flight.
func (s *Stack) quoted4(q []byte) *socket {
	if len(q) < wire.IPv4Len || q[0]>>4 != 4 {
		return nil
	}
	ip := wire.IPv4(q)
	h := ip.HeaderLen()
	if h < wire.IPv4Len || len(q) < h+8 || ip.Protocol() != wire.ProtoTCP || ip.FragmentOffset() != 0 {
		return nil
	}
	t := q[h:]
	return s.quotedFlow(flowKey4(q[12:16], q[16:20], binary.BigEndian.Uint16(t), binary.BigEndian.Uint16(t[2:])), t)
}

// quoted6 is quoted4 for IPv6. We never send TCP behind extension headers.
func (s *Stack) quoted6(q []byte) *socket {
	if len(q) < wire.IPv6Len+8 || q[0]>>4 != 6 || wire.IPv6(q).NextHeader() != wire.ProtoTCP {
		return nil
	}
	t := q[wire.IPv6Len:]
	return s.quotedFlow(flowKey6(q[8:24], q[24:40], binary.BigEndian.Uint16(t), binary.BigEndian.Uint16(t[2:])), t)
}

// quotedFlow finds a connection by what is quoted. That the quoted source is
// ours needs no check of its own: a flow's local address is.
func (s *Stack) quotedFlow(key flowKey, t []byte) *socket {
	k := s.flows[key]
	if k == nil || !k.flow.inFlight(binary.BigEndian.Uint32(t[4:8])) {
		return nil
	}
	return k
}

// unreachable takes a credible report that the peer cannot be reached. It ends
// a connection that is still opening; an established one remembers it as the
// reason should it time out (RFC 1122 section 4.2.3.9).
func (k *socket) unreachable(err syscall.Errno) {
	k.soft = err
	if k.state == connecting {
		k.fatal = err
		k.st.ready.push(k)
	}
}

// Undeliverable implements stream.Engine.
func (s *Stack) Undeliverable(packet []byte) {
	if s.off() || len(packet) == 0 {
		return
	}
	var key flowKey
	var at int
	switch packet[0] >> 4 {
	case 4:
		ip, ok := wire.ParseIPv4(packet)
		if !ok || ip.FragmentOffset() != 0 {
			return
		}
		if ip.Protocol() != wire.ProtoTCP {
			s.datagrams.Undeliverable(packet)
			return
		}
		at = ip.HeaderLen()
		key = flowKey4(packet[12:16], packet[16:20], 0, 0)
	case 6:
		ip, ok := wire.ParseIPv6(packet)
		if !ok {
			return
		}
		if ip.NextHeader() != wire.ProtoTCP {
			s.datagrams.Undeliverable(packet)
			return
		}
		at = wire.IPv6Len
		key = flowKey6(packet[8:24], packet[24:40], 0, 0)
	default:
		return
	}
	if len(packet) < at+4 {
		return
	}
	copy(key[32:36], packet[at:at+4])
	if k := s.flows[key]; k != nil {
		k.unreachable(syscall.EHOSTUNREACH)
	}
}
