// SPDX-License-Identifier: Apache-2.0

package wire

import "net/netip"

// Unfinished reports whether packet, an IPv4 or IPv6 packet, carries a TCP or
// UDP checksum that its sender left to the hardware: the bare sum of the
// pseudo-header, not inverted (CHECKSUM_PARTIAL in Linux). Frames of the same
// host arrive so through veth and its like, and nothing is wrong with them. A
// fragment never does.
func Unfinished(packet []byte) bool {
	if len(packet) == 0 {
		return false
	}
	if packet[0]>>4 == 4 {
		p, ok := ParseIPv4(packet)
		return ok && !p.IsFragment() && unfinished(p.Src(), p.Dst(), p.Protocol(), p.Payload())
	}
	p, ok := ParseIPv6(packet)
	if !ok {
		return false
	}
	proto, offset, fragment, ok := p.UpperLayer()
	return ok && !fragment && unfinished(p.Src(), p.Dst(), proto, p[offset:])
}

func unfinished(src, dst netip.Addr, proto uint8, segment []byte) bool {
	var field uint16
	switch proto {
	case ProtoTCP:
		t, ok := ParseTCP(segment)
		if !ok {
			return false
		}
		field = t.Checksum()
	case ProtoUDP:
		u, ok := ParseUDP(segment)
		if !ok {
			return false
		}
		field = u.Checksum()
	default:
		return false
	}
	return field == PseudoHeader(src, dst, proto, len(segment)).Fold()
}
