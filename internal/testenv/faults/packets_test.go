// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"

	"netcon/dataplane/wire"
)

var (
	macA = wire.MAC{2, 0, 0, 0, 0, 1}
	macB = wire.MAC{2, 0, 0, 0, 0, 2}
	a4   = netip.MustParseAddr("192.0.2.1")
	b4   = netip.MustParseAddr("192.0.2.2")
	a6   = netip.MustParseAddr("2001:db8::1")
	b6   = netip.MustParseAddr("2001:db8::2")
)

// csum says in which state a built packet's transport checksum is.
type csum int

const (
	finished csum = iota
	partial       // the bare pseudo-header sum
	none          // zero
	offload       // UDP around a partial inner: valid once that is finished
)

// ipFrame builds an Ethernet frame around a transport packet.
func ipFrame(v6 bool, proto uint8, seg []byte, state csum) []byte {
	src, dst, hl, et := a4, b4, wire.IPv4Len, uint16(wire.EtherTypeIPv4)
	if v6 {
		src, dst, hl, et = a6, b6, wire.IPv6Len, wire.EtherTypeIPv6
	}
	f := make([]byte, wire.EthernetLen+hl, wire.EthernetLen+hl+len(seg))
	wire.PutEthernet(f, macB, macA, et)
	if v6 {
		wire.PutIPv6(f[wire.EthernetLen:], src, dst, proto, 64, len(seg))
	} else {
		wire.PutIPv4(f[wire.EthernetLen:], src, dst, proto, 64, len(seg))
	}
	f = append(f, seg...)
	seg = f[wire.EthernetLen+hl:]
	at := map[uint8]int{wire.ProtoTCP: 16, wire.ProtoUDP: 6, wire.ProtoICMP: 2, wire.ProtoICMPv6: 2}[proto]
	var pseudo wire.Sum
	if proto != wire.ProtoICMP {
		pseudo = wire.PseudoHeader(src, dst, proto, len(seg))
	}
	field := seg[at : at+2]
	field[0], field[1] = 0, 0
	switch state {
	case finished:
		binary.BigEndian.PutUint16(field, pseudo.Add(seg).Checksum())
	case partial:
		binary.BigEndian.PutUint16(field, pseudo.Fold())
	case offload:
		whole := bytes.Clone(f)
		finish(whole[wire.EthernetLen+hl+wire.UDPLen+wire.VXLANLen:], 0, false)
		binary.BigEndian.PutUint16(field, pseudo.Add(whole[wire.EthernetLen+hl:]).Checksum())
	}
	return f
}

func tcpSegment(n int) []byte {
	return append([]byte{
		0x9c, 0x40, 0x00, 0x50, // ports 40000 -> 80
		0x01, 0x02, 0x03, 0x04, // seq
		0x05, 0x06, 0x07, 0x08, // ack
		0x50, 0x18, 0x20, 0x00, // data offset 5, PSH ACK, window
		0x00, 0x00, 0x00, 0x00, // checksum, urgent
	}, pattern(n)...)
}

func udpDatagram(dstPort uint16, payload []byte) []byte {
	d := make([]byte, wire.UDPLen, wire.UDPLen+len(payload))
	binary.BigEndian.PutUint16(d[0:], 40000)
	binary.BigEndian.PutUint16(d[2:], dstPort)
	binary.BigEndian.PutUint16(d[4:], uint16(wire.UDPLen+len(payload)))
	return append(d, payload...)
}

func icmpEcho(v6 bool, n int) []byte {
	typ := byte(wire.ICMPv4Echo)
	if v6 {
		typ = wire.ICMPv6Echo
	}
	return append([]byte{typ, 0, 0, 0, 0x12, 0x34, 0, 1}, pattern(n)...)
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + 1)
	}
	return b
}

// vxlanPayload builds a UDP payload: VXLAN header and inner frame.
func vxlanPayload(inner []byte) []byte {
	p := make([]byte, wire.VXLANLen, wire.VXLANLen+len(inner))
	wire.PutVXLAN(p, 42)
	return append(p, inner...)
}

// sample is one kind of frame that protects its payload.
type sample struct {
	name  string
	frame []byte // as the sender left it
	want  []byte // with every checksum complete
}

// samples returns every combination of families and protocols, plain and in
// VXLAN, with n payload bytes.
func samples(n int) (all []sample) {
	type plain struct {
		name             string
		frame, completed []byte
	}
	var plains []plain
	for _, v6 := range []bool{false, true} {
		icmp := uint8(wire.ProtoICMP)
		fam := "v4"
		if v6 {
			icmp, fam = wire.ProtoICMPv6, "v6"
		}
		for _, p := range []struct {
			name  string
			proto uint8
			seg   []byte
		}{
			{"tcp", wire.ProtoTCP, tcpSegment(n)},
			{"udp", wire.ProtoUDP, udpDatagram(53, pattern(n))},
			{"icmp", icmp, icmpEcho(v6, n)},
		} {
			done := ipFrame(v6, p.proto, p.seg, finished)
			for state, sn := range map[csum]string{finished: "finished", partial: "partial"} {
				plains = append(plains, plain{fmt.Sprintf("%s/%s/%s", fam, p.name, sn), ipFrame(v6, p.proto, p.seg, state), done})
			}
		}
	}
	for _, p := range plains {
		all = append(all, sample{p.name, p.frame, p.completed})
		for _, v6 := range []bool{false, true} {
			for state, sn := range map[csum]string{finished: "finished", partial: "partial", none: "none", offload: "offload"} {
				final := state
				if state != none {
					final = finished
				}
				all = append(all, sample{
					name:  fmt.Sprintf("vxlan/outer6=%v/%s/%s", v6, sn, p.name),
					frame: ipFrame(v6, wire.ProtoUDP, udpDatagram(wire.VXLANPort, vxlanPayload(p.frame)), state),
					want:  ipFrame(v6, wire.ProtoUDP, udpDatagram(wire.VXLANPort, vxlanPayload(p.completed)), final),
				})
			}
		}
	}
	return all
}

// receive is a strict receiver written apart from the code under test. It
// returns what the frame would deliver to applications, or false if a header or
// checksum is wrong. A VXLAN datagram delivers what is inside it.
func receive(f []byte) (string, bool) {
	if len(f) < wire.EthernetLen || wire.Ethernet(f).Dst() != macB {
		return "", false
	}
	var src, dst netip.Addr
	var proto uint8
	var seg []byte
	switch body := f[wire.EthernetLen:]; wire.Ethernet(f).Type() {
	case wire.EtherTypeIPv4:
		p, ok := wire.ParseIPv4(body)
		if !ok || !p.ChecksumOK() || p.IsFragment() {
			return "", false
		}
		src, dst, proto, seg = p.Src(), p.Dst(), p.Protocol(), p.Payload()
	case wire.EtherTypeIPv6:
		p, ok := wire.ParseIPv6(body)
		if !ok {
			return "", false
		}
		src, dst, proto, seg = p.Src(), p.Dst(), p.NextHeader(), p.Payload()
	default:
		return "", false
	}
	sum := wire.PseudoHeader(src, dst, proto, len(seg)).Add(seg).Fold()
	at := 0
	switch proto {
	case wire.ProtoTCP:
		if _, ok := wire.ParseTCP(seg); !ok {
			return "", false
		}
		at = 16
	case wire.ProtoICMP:
		sum, at = wire.Sum(0).Add(seg).Fold(), 2
	case wire.ProtoICMPv6:
		at = 2
	case wire.ProtoUDP:
		u, ok := wire.ParseUDP(seg)
		if !ok {
			return "", false
		}
		seg, at = u, 6
		sum = wire.PseudoHeader(src, dst, proto, len(u)).Add(u).Fold()
		if u.Checksum() == 0 {
			sum = 0xffff
		}
		if u.DstPort() == wire.VXLANPort {
			v, ok := wire.ParseVXLAN(u.Payload())
			if !ok || !v.Valid() || v.VNI() != 42 || sum != 0xffff {
				return "", false
			}
			return receive(v.Payload())
		}
		if u.DstPort() != 53 {
			return "", false // nobody listens there
		}
	default:
		return "", false
	}
	if sum != 0xffff || len(seg) < at+2 {
		return "", false
	}
	// The checksum itself is not delivered.
	return fmt.Sprintf("%v %v %d %x %x", src, dst, proto, seg[:at], seg[at+2:]), true
}
