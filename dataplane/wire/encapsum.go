// SPDX-License-Identifier: Apache-2.0

package wire

import "encoding/binary"

// EncapSum returns the sum of payload, a UDP payload from the VXLAN header on,
// as Sum(0).Add(payload) does, and mostly without reading it.
//
// It is local checksum offload, as Linux calls it: a TCP segment or UDP
// datagram whose checksum is complete sums up, with its pseudo-header, to zero.
// So the inner transport header and data sum up to the complement of the
// pseudo-header, whatever they are, and only what lies before is added up.
//
// The inner checksum is believed. If it is wrong, the result is wrong as well,
// by the same difference: an outer checksum made of it does not match the
// bytes, and a receiver that verifies it drops the frame there instead of
// inside. Bytes that change later are not covered up either. What has no
// complete inner checksum is added up byte by byte: other protocols, fragments,
// IPv6 extension headers, datagrams without checksum, unfinished checksums, and
// lengths that disagree.
func EncapSum(payload []byte) Sum {
	if at, pseudo, field := innerTransport(payload); at > 0 && field != pseudo {
		return Sum(0).Add(payload[:at]).Add16(^pseudo)
	}
	return Sum(0).Add(payload)
}

// UnfinishedEncapSum returns the sum that payload will have once its inner
// checksum, which is unfinished now, is complete. Linux computes the outer
// checksum of such a packet so, and leaves the inner one to hardware. It returns
// false if the inner checksum is not unfinished.
func UnfinishedEncapSum(payload []byte) (Sum, bool) {
	at, pseudo, field := innerTransport(payload)
	if at == 0 || field != pseudo {
		return 0, false
	}
	return Sum(0).Add(payload[:at]).Add16(^pseudo), true
}

// innerTransport finds the inner TCP or UDP header in a VXLAN payload, the
// folded sum of its pseudo-header and its checksum field. at is 0 unless there
// is a checksum that covers the rest of the payload.
func innerTransport(payload []byte) (at int, pseudo, field uint16) {
	if len(payload) < EncapLen+IPv4Len+UDPLen || payload[0]&vxlanFlagI == 0 {
		return 0, 0, 0
	}
	var sum Sum
	var proto byte
	ip := payload[EncapLen:]
	switch binary.BigEndian.Uint16(payload[EncapLen-2:]) {
	case EtherTypeIPv4:
		hl := int(ip[0]&0xf) * 4
		if ip[0]>>4 != 4 || hl < IPv4Len || int(binary.BigEndian.Uint16(ip[2:4])) != len(ip) ||
			binary.BigEndian.Uint16(ip[6:8])&0x3fff != 0 || len(ip) < hl+UDPLen {
			return 0, 0, 0
		}
		at, proto, sum = EncapLen+hl, ip[9], Sum(0).Add(ip[12:20])
	case EtherTypeIPv6:
		if ip[0]>>4 != 6 || len(ip) < IPv6Len+UDPLen ||
			int(binary.BigEndian.Uint16(ip[4:6])) != len(ip)-IPv6Len {
			return 0, 0, 0
		}
		at, proto, sum = EncapLen+IPv6Len, ip[6], Sum(0).Add(ip[8:40])
	default:
		return 0, 0, 0
	}
	l4 := payload[at:]
	switch proto {
	case ProtoTCP:
		if len(l4) < TCPLen {
			return 0, 0, 0
		}
		field = binary.BigEndian.Uint16(l4[16:18])
	case ProtoUDP:
		field = binary.BigEndian.Uint16(l4[6:8])
		if field == 0 || int(binary.BigEndian.Uint16(l4[4:6])) != len(l4) {
			return 0, 0, 0
		}
	default:
		return 0, 0, 0
	}
	pseudo = sum.Add16(uint16(proto)).Add16(uint16(len(l4))).Fold()
	return at, pseudo, field
}
