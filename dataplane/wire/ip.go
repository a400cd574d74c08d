// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"net/netip"
)

// IP protocol numbers.
const (
	ProtoICMP   = 1
	ProtoTCP    = 6
	ProtoUDP    = 17
	ProtoICMPv6 = 58
)

// IPv6 extension headers that are skipped on the way to the upper layer.
const (
	extHopByHop    = 0
	extRouting     = 43
	extFragment    = 44
	extDestination = 60
)

// Header lengths without options.
const (
	IPv4Len = 20
	IPv6Len = 40
)

// IPv4 is a packet that starts with an IPv4 header (RFC 791), cut to its total
// length.
type IPv4 []byte

// ParseIPv4 returns the view of b cut to the packet's total length, or false if
// the version, header length or total length disagree with b.
func ParseIPv4(b []byte) (IPv4, bool) {
	if len(b) < IPv4Len || b[0]>>4 != 4 {
		return nil, false
	}
	hl, tl := int(b[0]&0xf)*4, int(binary.BigEndian.Uint16(b[2:4]))
	if hl < IPv4Len || tl < hl || tl > len(b) {
		return nil, false
	}
	return IPv4(b[:tl]), true
}

// HeaderLen returns the header's length with options.
func (p IPv4) HeaderLen() int { return int(p[0]&0xf) * 4 }

// TotalLen returns the packet's length.
func (p IPv4) TotalLen() int { return int(binary.BigEndian.Uint16(p[2:4])) }

// TOS returns the DSCP and ECN byte.
func (p IPv4) TOS() uint8 { return p[1] }

// ID returns the identification field.
func (p IPv4) ID() uint16 { return binary.BigEndian.Uint16(p[4:6]) }

// DontFragment reports the DF bit.
func (p IPv4) DontFragment() bool { return p[6]&0x40 != 0 }

// IsFragment reports whether the packet is a piece of a larger one.
func (p IPv4) IsFragment() bool { return binary.BigEndian.Uint16(p[6:8])&0x3fff != 0 }

// FragmentOffset returns the fragment's offset in bytes.
func (p IPv4) FragmentOffset() int { return int(binary.BigEndian.Uint16(p[6:8])&0x1fff) * 8 }

// TTL returns the time to live.
func (p IPv4) TTL() uint8 { return p[8] }

// Protocol returns the upper layer's number.
func (p IPv4) Protocol() uint8 { return p[9] }

// Src returns the source address.
func (p IPv4) Src() netip.Addr { return netip.AddrFrom4([4]byte(p[12:16])) }

// Dst returns the destination address.
func (p IPv4) Dst() netip.Addr { return netip.AddrFrom4([4]byte(p[16:20])) }

// Payload returns what follows the header.
func (p IPv4) Payload() []byte { return p[p.HeaderLen():] }

// ChecksumOK verifies the header checksum.
func (p IPv4) ChecksumOK() bool { return Sum(0).Add(p[:p.HeaderLen()]).Fold() == 0xffff }

// SetTotalLen writes the total length.
func (p IPv4) SetTotalLen(n int) { binary.BigEndian.PutUint16(p[2:4], uint16(n)) }

// SetID writes the identification field.
func (p IPv4) SetID(id uint16) { binary.BigEndian.PutUint16(p[4:6], id) }

// SetChecksum computes and writes the header checksum.
func (p IPv4) SetChecksum() {
	p[10], p[11] = 0, 0
	binary.BigEndian.PutUint16(p[10:12], Sum(0).Add(p[:p.HeaderLen()]).Checksum())
}

// PutIPv4 writes a header without options into the first IPv4Len bytes of b,
// with DF set and the checksum complete, for an upper layer of payload bytes.
// Both addresses are IPv4.
func PutIPv4(b []byte, src, dst netip.Addr, proto, ttl uint8, payload int) {
	p := IPv4(b[:IPv4Len])
	clear(p)
	p[0] = 0x45
	p.SetTotalLen(IPv4Len + payload)
	p[6] = 0x40
	p[8], p[9] = ttl, proto
	s, d := src.As4(), dst.As4()
	copy(p[12:16], s[:])
	copy(p[16:20], d[:])
	p.SetChecksum()
}

// IPv6 is a packet that starts with an IPv6 header (RFC 8200), cut to its
// length.
type IPv6 []byte

// ParseIPv6 returns the view of b cut to the packet's length, or false if the
// version or payload length disagree with b.
func ParseIPv6(b []byte) (IPv6, bool) {
	if len(b) < IPv6Len || b[0]>>4 != 6 {
		return nil, false
	}
	tl := IPv6Len + int(binary.BigEndian.Uint16(b[4:6]))
	if tl > len(b) {
		return nil, false
	}
	return IPv6(b[:tl]), true
}

// PayloadLen returns the length field.
func (p IPv6) PayloadLen() int { return int(binary.BigEndian.Uint16(p[4:6])) }

// NextHeader returns the number of the first header behind this one.
func (p IPv6) NextHeader() uint8 { return p[6] }

// HopLimit returns the hop limit.
func (p IPv6) HopLimit() uint8 { return p[7] }

// Src returns the source address.
func (p IPv6) Src() netip.Addr { return netip.AddrFrom16([16]byte(p[8:24])) }

// Dst returns the destination address.
func (p IPv6) Dst() netip.Addr { return netip.AddrFrom16([16]byte(p[24:40])) }

// Payload returns what follows the fixed header.
func (p IPv6) Payload() []byte { return p[IPv6Len:] }

// SetPayloadLen writes the length field.
func (p IPv6) SetPayloadLen(n int) { binary.BigEndian.PutUint16(p[4:6], uint16(n)) }

// UpperLayer walks the extension headers and returns the upper layer's number,
// its offset in the packet, and whether the packet is a fragment. It returns
// false if a header is cut short or there are more than 8. In a fragment other
// than the first, the offset is that of the fragment's data.
func (p IPv6) UpperLayer() (proto uint8, offset int, fragment, ok bool) {
	proto, offset = p.NextHeader(), IPv6Len
	for range 9 { // 8 headers, then the upper layer
		switch proto {
		case extHopByHop, extRouting, extDestination:
			if len(p) < offset+8 {
				return 0, 0, fragment, false
			}
			n := 8 + int(p[offset+1])*8
			if len(p) < offset+n {
				return 0, 0, fragment, false
			}
			proto, offset = p[offset], offset+n
		case extFragment:
			if len(p) < offset+8 {
				return 0, 0, true, false
			}
			fo := binary.BigEndian.Uint16(p[offset+2:])
			// An atomic fragment (RFC 6946) is a whole packet.
			fragment = fragment || fo&^6 != 0
			first := fo>>3 == 0
			proto, offset = p[offset], offset+8
			if !first {
				return proto, offset, true, true
			}
		default:
			return proto, offset, fragment, true
		}
	}
	return 0, 0, fragment, false
}

// PutIPv6 writes a header into the first IPv6Len bytes of b for an upper layer
// of payload bytes.
func PutIPv6(b []byte, src, dst netip.Addr, next, hopLimit uint8, payload int) {
	p := IPv6(b[:IPv6Len])
	clear(p[:8])
	p[0] = 0x60
	p.SetPayloadLen(payload)
	p[6], p[7] = next, hopLimit
	s, d := src.As16(), dst.As16()
	copy(p[8:24], s[:])
	copy(p[24:40], d[:])
}
