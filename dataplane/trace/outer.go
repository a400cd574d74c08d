// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"encoding/binary"
	"net/netip"

	"netcon/dataplane/wire"
)

// VLAN tags that may stand before the outer IP header (IEEE 802.1Q).
const (
	etherTypeVLAN  = 0x8100
	etherTypeQinQ  = 0x88a8
	vlanTagLen     = 4
	maxVLANTags    = 2
	rebuiltTTL     = 64
	rebuiltAddrLen = 16 // the other VTEP, before the payload in a record
)

// Lengths of what is put before a UDP payload.
const (
	rebuilt4 = wire.EthernetLen + wire.IPv4Len + wire.UDPLen
	rebuilt6 = wire.EthernetLen + wire.IPv6Len + wire.UDPLen
)

// payloadOf returns the UDP payload of an outer frame, or false if it carries
// none: another protocol, a later fragment, or a frame cut short.
func payloadOf(frame []byte) ([]byte, bool) {
	e, ok := wire.ParseEthernet(frame)
	if !ok {
		return nil, false
	}
	etherType, packet := e.Type(), e.Payload()
	for range maxVLANTags {
		if etherType != etherTypeVLAN && etherType != etherTypeQinQ {
			break
		}
		if len(packet) < vlanTagLen {
			return nil, false
		}
		etherType, packet = binary.BigEndian.Uint16(packet[2:]), packet[vlanTagLen:]
	}
	var datagram []byte
	switch etherType {
	case wire.EtherTypeIPv4:
		p, ok := wire.ParseIPv4(packet)
		if !ok || p.Protocol() != wire.ProtoUDP || p.IsFragment() {
			return nil, false
		}
		datagram = p.Payload()
	case wire.EtherTypeIPv6:
		p, ok := wire.ParseIPv6(packet)
		if !ok {
			return nil, false
		}
		proto, offset, fragment, ok := p.UpperLayer()
		if !ok || fragment || proto != wire.ProtoUDP {
			return nil, false
		}
		datagram = p[offset:]
	default:
		return nil, false
	}
	u, ok := wire.ParseUDP(datagram)
	if !ok {
		return nil, false
	}
	return u.Payload(), true
}

// appendRebuilt appends Ethernet, IP and UDP headers for a UDP payload of whole
// bytes between two VTEPs of one family, as the package comment describes them.
// payload is what was captured of it.
func appendRebuilt(b []byte, src, dst netip.Addr, port uint16, whole int, payload []byte) []byte {
	at, n := len(b), wire.UDPLen+whole
	if src.Is4() {
		b = append(b, make([]byte, rebuilt4)...)
		h := b[at:]
		wire.PutEthernet(h, wire.MAC{}, wire.MAC{}, wire.EtherTypeIPv4)
		wire.PutIPv4(h[wire.EthernetLen:], src, dst, wire.ProtoUDP, rebuiltTTL, n)
		putUDP(h[wire.EthernetLen+wire.IPv4Len:], port, n)
		return b
	}
	b = append(b, make([]byte, rebuilt6)...)
	h := b[at:]
	wire.PutEthernet(h, wire.MAC{}, wire.MAC{}, wire.EtherTypeIPv6)
	wire.PutIPv6(h[wire.EthernetLen:], src, dst, wire.ProtoUDP, rebuiltTTL, n)
	udp := h[wire.EthernetLen+wire.IPv6Len:]
	putUDP(udp, port, n)
	sum := uint16(0xffff)
	if len(payload) == whole {
		sum = wire.PseudoHeader(src, dst, wire.ProtoUDP, n).Add(udp).Add(payload).Checksum()
		if sum == 0 {
			sum = 0xffff // RFC 8200 section 8.1
		}
	}
	wire.UDP(udp).SetChecksum(sum)
	return b
}

func putUDP(b []byte, port uint16, n int) {
	binary.BigEndian.PutUint16(b, port)
	binary.BigEndian.PutUint16(b[2:], port)
	binary.BigEndian.PutUint16(b[4:], uint16(n))
	binary.BigEndian.PutUint16(b[6:], 0)
}
