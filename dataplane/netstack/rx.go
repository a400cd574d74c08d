// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// incoming is a validated IP packet on its way in.
type incoming struct {
	b        []byte // the packet, cut to its length
	v6       bool
	at       int   // offset of the upper layer
	proto    uint8 // its number
	verified bool  // the transport checksum needs no verification
	apart    bool  // not to be merged with others
	group    bool  // the destination is a broadcast or multicast address
}

// Deliver implements stream.Engine.
func (s *Stack) Deliver(packet []byte, verified bool) {
	s.stat.Count(stat.PacketsIn)
	s.stat.Add(stat.PacketBytesIn, uint64(len(packet)))
	if s.off() {
		s.stat.Drop(stat.DropContainerGone)
		return
	}
	defer s.containPacket()
	if panicHook != nil {
		panicHook(packet)
	}
	s.stat.Drop(s.deliver(packet, verified))
}

// EndBurst implements stream.Engine: segments held back to be merged go on.
func (s *Stack) EndBurst() {
	if s.off() {
		return
	}
	defer s.contain("end of burst")
	s.gro.Flush()
	if s.frags.Held() > 0 {
		s.frags.Expire(s.now())
	}
	s.settle()
}

// countBacklogDrops counts the SYNs gVisor dropped because a listener's
// backlog was full.
func (s *Stack) countBacklogDrops() {
	tcp := s.gv.Stats().TCP
	n := tcp.ListenOverflowSynDrop.Value() + tcp.ListenOverflowAckDrop.Value()
	if d := n - s.synIn; d != 0 {
		s.synIn = n
		r := stat.DropHalfOpenLimit
		if s.Sockets() >= s.cfg.Limits.Connections {
			r = stat.DropConnectionLimit
		}
		s.stat.DropN(r, d)
	}
}

func (s *Stack) deliver(packet []byte, verified bool) stat.Reason {
	if len(packet) == 0 {
		return stat.DropIPShort
	}
	in := incoming{verified: verified}
	var fragment bool
	switch packet[0] >> 4 {
	case 4:
		ip, ok := wire.ParseIPv4(packet)
		if !ok {
			return stat.DropIPShort
		}
		if !ip.ChecksumOK() {
			return stat.DropIPChecksum
		}
		if !s.acceptable4(ip, &in) {
			return stat.DropIPNotLocal
		}
		in.b, in.at, in.proto = ip, ip.HeaderLen(), ip.Protocol()
		fragment = ip.IsFragment()
	case 6:
		ip, ok := wire.ParseIPv6(packet)
		if !ok {
			return stat.DropIPShort
		}
		if !s.acceptable6(ip, &in) {
			return stat.DropIPNotLocal
		}
		in.b, in.v6 = ip, true
		in.proto, in.at, fragment, ok = ip.UpperLayer()
		if !ok {
			return stat.DropIPShort
		}
	default:
		return stat.DropIPVersion
	}
	if fragment {
		return s.deliverFragment(&in)
	}
	switch in.proto {
	case wire.ProtoTCP:
		if in.group {
			return stat.DropIPNotLocal
		}
		return s.deliverTCP(&in)
	case wire.ProtoUDP:
		return s.deliverUDP(&in)
	case wire.ProtoICMP:
		if !in.v6 {
			return s.deliverICMP4(&in)
		}
	case wire.ProtoICMPv6:
		if in.v6 {
			return s.deliverICMP6(&in)
		}
	}
	return stat.DropProtocolDisabled
}

// acceptable4 reports whether the destination is ours, or a group that a
// datagram socket takes, and the source may send to us. Our own, loopback and
// broadcast addresses as source are forged: an answer would go to everybody.
func (s *Stack) acceptable4(ip wire.IPv4, in *incoming) bool {
	if _, ours := s.own4[[4]byte(ip[16:20])]; !ours {
		if in.group = s.datagrams.Member(ip.Dst()); !in.group {
			return false
		}
	}
	if _, forged := s.own4[[4]byte(ip[12:16])]; forged {
		return false
	}
	// 0.0.0.0/8, 127.0.0.0/8, 224.0.0.0/4 and 240.0.0.0/4.
	if ip[12] == 0 || ip[12] == 127 || ip[12] >= 224 {
		return false
	}
	return !s.datagrams.Member(ip.Src())
}

// acceptable6 is acceptable4 for IPv6.
func (s *Stack) acceptable6(ip wire.IPv6, in *incoming) bool {
	if _, ours := s.own6[[16]byte(ip[24:40])]; !ours {
		if in.group = s.datagrams.Member(ip.Dst()); !in.group {
			return false
		}
	}
	if _, forged := s.own6[[16]byte(ip[8:24])]; forged {
		return false
	}
	src := ip.Src()
	return !src.IsMulticast() && !src.IsUnspecified() && !src.IsLoopback() && !src.Is4In6()
}

// upper returns the upper layer.
func (in *incoming) upper() []byte { return in.b[in.at:] }

// sumOK verifies the checksum of the upper layer u with its pseudo-header.
func (in *incoming) sumOK(u []byte) bool {
	addrs := in.b[12:20]
	if in.v6 {
		addrs = in.b[8:40]
	}
	return wire.Sum(0).Add(addrs).Add16(uint16(len(u))).Add16(uint16(in.proto)).Add(u).Fold() == 0xffff
}

// key returns the flow of a TCP segment that came in.
func (in *incoming) key(src, dst uint16) flowKey {
	if in.v6 {
		return flowKey6(in.b[24:40], in.b[8:24], dst, src)
	}
	return flowKey4(in.b[16:20], in.b[12:16], dst, src)
}

func (s *Stack) deliverTCP(in *incoming) stat.Reason {
	t, ok := wire.ParseTCP(in.upper())
	if !ok {
		return stat.DropL4Short
	}
	if !in.verified && !in.sumOK(t) {
		return stat.DropL4Checksum
	}
	payload := len(t) - t.HeaderLen()
	k := s.flows[in.key(t.SrcPort(), t.DstPort())]
	refused := payload > 0 && s.refuses(k, t)
	early := !refused && payload > 0 && k == nil && s.listens(in, t)
	var m mending
	if k != nil {
		m = k.flow.mend(t)
		if refused {
			k.noteReceived(t, 0)
		} else {
			k.noteReceived(t, payload)
		}
		in.apart = k.flow.gap
	}
	if refused || early || m.duplicate && payload > 0 {
		// Without its payload the segment still acknowledges: if refused,
		// send queues must be able to drain.
		s.enqueue(in, in.at+t.HeaderLen(), func(b []byte) {
			bare(in, b)
			m.apply(b[in.at:])
		})
	}
	switch {
	case refused:
		return stat.DropBufferLimit
	case early:
	case t.Flags()&wire.TCPSyn != 0:
		s.enqueue(in, len(in.b), func(b []byte) { raiseMSS(b[in.at:]) })
	case m.duplicate || m.stale:
		s.enqueue(in, len(in.b), func(b []byte) { m.apply(b[in.at:]) })
	default:
		s.enqueue(in, len(in.b), nil)
	}
	return stat.Accepted
}

// listens reports whether a segment is for a listener and no connection: either
// it answers a SYN cookie, or nobody has asked for it. Such a one goes without its
// payload, which the peer sends again. gVisor would charge payloads to the listener
// and never take that back where a connection comes of it: after 1 MiB the
// listener drops all that has a payload, and connections whose first
// acknowledgment was lost are never made.
func (s *Stack) listens(in *incoming, t wire.TCP) bool {
	if t.Flags()&(wire.TCPSyn|wire.TCPAck|wire.TCPRst) != wire.TCPAck {
		return false
	}
	id := stack.TransportEndpointID{LocalPort: t.DstPort(), RemotePort: t.SrcPort()}
	proto := tcpip.NetworkProtocolNumber(header.IPv4ProtocolNumber)
	if in.v6 {
		proto = header.IPv6ProtocolNumber
		id.LocalAddress, id.RemoteAddress = tcpip.AddrFrom16Slice(in.b[24:40]), tcpip.AddrFrom16Slice(in.b[8:24])
	} else {
		id.LocalAddress, id.RemoteAddress = tcpip.AddrFrom4Slice(in.b[16:20]), tcpip.AddrFrom4Slice(in.b[12:16])
	}
	ep, ok := s.gv.FindTransportEndpoint(proto, header.TCPProtocolNumber, id, linkNIC).(*tcp.Endpoint)
	return ok && ep.EndpointState() == tcp.StateListen
}

// setLength makes the length fields of an IP packet say len(b).
func setLength(b []byte) {
	if b[0]>>4 == 6 {
		binary.BigEndian.PutUint16(b[4:6], uint16(len(b)-wire.IPv6Len))
		return
	}
	wire.IPv4(b).SetTotalLen(len(b))
	wire.IPv4(b).SetChecksum()
}

// deliverUDP gives a datagram to its socket.
func (s *Stack) deliverUDP(in *incoming) stat.Reason {
	u, ok := wire.ParseUDP(in.upper())
	if !ok {
		return stat.DropL4Short
	}
	if u.Checksum() == 0 && in.v6 && !in.verified {
		return stat.DropL4Checksum // RFC 8200 section 8.1
	}
	if !in.verified && u.Checksum() != 0 && !in.sumOK(u) {
		return stat.DropL4Checksum
	}
	p := s.datagrams.View(in.b, in.at)
	return s.datagrams.UDP(&p, u)
}

// enqueue copies the first n bytes of a packet into a buffer of gVisor, has
// edit change the copy, and passes it on. The buffer is as large as the packet:
// gVisor charges receivers by length, so room to spare would not be accounted.
func (s *Stack) enqueue(in *incoming, n int, edit func(b []byte)) {
	v := buffer.NewViewSize(n)
	b := v.AsSlice()
	copy(b, in.b)
	if edit != nil {
		edit(b)
	}
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithView(v)})
	proto := tcpip.NetworkProtocolNumber(header.IPv4ProtocolNumber)
	if in.v6 {
		proto = header.IPv6ProtocolNumber
	}
	p.NetworkProtocolNumber = proto
	p.RXChecksumValidated = true
	if in.apart {
		s.gro.Flush() // what was merged so far is older
	}
	if in.proto == wire.ProtoTCP && !in.apart {
		s.gro.Enqueue(p)
	} else {
		s.gro.Dispatcher.DeliverNetworkPacket(proto, p)
	}
	p.DecRef()
}
