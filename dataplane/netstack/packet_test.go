// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"encoding/binary"
	"net/netip"

	"netcon/dataplane/wire"
)

// ip4 returns an IPv4 packet.
func ip4(src, dst netip.Addr, proto uint8, upper []byte) []byte {
	b := make([]byte, wire.IPv4Len+len(upper))
	wire.PutIPv4(b, src, dst, proto, 64, len(upper))
	copy(b[wire.IPv4Len:], upper)
	return b
}

// ip6 returns an IPv6 packet.
func ip6(src, dst netip.Addr, next uint8, upper []byte) []byte {
	b := make([]byte, wire.IPv6Len+len(upper))
	wire.PutIPv6(b, src, dst, next, 64, len(upper))
	copy(b[wire.IPv6Len:], upper)
	return b
}

// segmentOf returns a TCP segment with its checksum.
func segmentOf(src, dst netip.AddrPort, seq, ack uint32, flags uint8, options, payload []byte) []byte {
	b := make([]byte, wire.TCPLen, wire.TCPLen+len(options)+len(payload))
	b = append(append(b, options...), payload...)
	binary.BigEndian.PutUint16(b[0:], src.Port())
	binary.BigEndian.PutUint16(b[2:], dst.Port())
	binary.BigEndian.PutUint32(b[4:], seq)
	binary.BigEndian.PutUint32(b[8:], ack)
	b[12] = uint8((wire.TCPLen + len(options)) / 4 << 4)
	b[13] = flags
	binary.BigEndian.PutUint16(b[14:], 0xffff)
	wire.TCP(b).SetChecksum(wire.PseudoHeader(src.Addr(), dst.Addr(), wire.ProtoTCP, len(b)).Add(b).Checksum())
	if src.Addr().Is4() {
		return ip4(src.Addr(), dst.Addr(), wire.ProtoTCP, b)
	}
	return ip6(src.Addr(), dst.Addr(), wire.ProtoTCP, b)
}

// icmp4 returns an ICMPv4 message; rest is the second word.
func icmp4(src, dst netip.Addr, typ, code uint8, rest uint32, payload []byte) []byte {
	m := append([]byte{typ, code, 0, 0, 0, 0, 0, 0}, payload...)
	binary.BigEndian.PutUint32(m[4:], rest)
	wire.ICMP(m).SetChecksum4()
	return ip4(src, dst, wire.ProtoICMP, m)
}

// icmp6 is icmp4 for ICMPv6.
func icmp6(src, dst netip.Addr, typ, code uint8, rest uint32, payload []byte) []byte {
	m := append([]byte{typ, code, 0, 0, 0, 0, 0, 0}, payload...)
	binary.BigEndian.PutUint32(m[4:], rest)
	wire.ICMP(m).SetChecksum6(wire.PseudoHeader(src, dst, wire.ProtoICMPv6, len(m)))
	return ip6(src, dst, wire.ProtoICMPv6, m)
}

// udpPacket returns a UDP datagram with its checksum.
func udpPacket(src, dst netip.AddrPort, payload []byte) []byte {
	u := append(make([]byte, wire.UDPLen), payload...)
	binary.BigEndian.PutUint16(u[0:], src.Port())
	binary.BigEndian.PutUint16(u[2:], dst.Port())
	binary.BigEndian.PutUint16(u[4:], uint16(len(u)))
	wire.UDP(u).SetChecksum(wire.PseudoHeader(src.Addr(), dst.Addr(), wire.ProtoUDP, len(u)).Add(u).Checksum())
	if src.Addr().Is4() {
		return ip4(src.Addr(), dst.Addr(), wire.ProtoUDP, u)
	}
	return ip6(src.Addr(), dst.Addr(), wire.ProtoUDP, u)
}

// fragments4 cuts an IPv4 packet into fragments of size payload bytes.
func fragments4(p []byte, id uint16, size int) (fs [][]byte) {
	h, body := p[:wire.IPv4Len], p[wire.IPv4Len:]
	for off := 0; off < len(body); off += size {
		end := min(off+size, len(body))
		f := append(append([]byte(nil), h...), body[off:end]...)
		ip := wire.IPv4(f)
		ip.SetTotalLen(len(f))
		ip.SetID(id)
		w := uint16(off / 8)
		if end < len(body) {
			w |= 0x2000
		}
		binary.BigEndian.PutUint16(f[6:], w)
		ip.SetChecksum()
		fs = append(fs, f)
	}
	return fs
}

// fragments6 is fragments4 for IPv6.
func fragments6(p []byte, id uint32, size int) (fs [][]byte) {
	h, body := p[:wire.IPv6Len], p[wire.IPv6Len:]
	for off := 0; off < len(body); off += size {
		end := min(off+size, len(body))
		f := append([]byte(nil), h...)
		f = append(f, h[6], 0, 0, 0, 0, 0, 0, 0)
		w := uint16(off)
		if end < len(body) {
			w |= 1
		}
		binary.BigEndian.PutUint16(f[42:], w)
		binary.BigEndian.PutUint32(f[44:], id)
		f = append(f, body[off:end]...)
		f[6] = 44
		wire.IPv6(f).SetPayloadLen(len(f) - wire.IPv6Len)
		fs = append(fs, f)
	}
	return fs
}
