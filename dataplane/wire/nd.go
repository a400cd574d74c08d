// SPDX-License-Identifier: Apache-2.0

package wire

import "net/netip"

// Neighbour discovery (RFC 4861 sections 4.3 and 4.4).
const (
	NDLen = 24 // a solicitation or advertisement without options

	NDOptSourceLL = 1 // source link-layer address option
	NDOptTargetLL = 2 // target link-layer address option
	NDOptLLLen    = 8 // length of a link-layer address option for Ethernet

	NAFlagSolicited = 0x40
	NAFlagOverride  = 0x20
	NAFlagRouter    = 0x80
)

// ND is a neighbour solicitation or advertisement: the whole ICMPv6 message.
//
//	0      1      2        4       5..8       8        24
//	| type | code | cksum | flags | reserved | target | options
type ND []byte

// ParseND returns the view of b, or false if it is cut short, has another type
// or code, or an option whose length is zero or reaches past the end.
func ParseND(b []byte) (ND, bool) {
	if len(b) < NDLen || b[1] != 0 ||
		(b[0] != ICMPv6NeighSolicit && b[0] != ICMPv6NeighAdvert) {
		return nil, false
	}
	for o := b[NDLen:]; len(o) > 0; {
		if len(o) < 8 || o[1] == 0 || len(o) < int(o[1])*8 {
			return nil, false
		}
		o = o[int(o[1])*8:]
	}
	return ND(b), true
}

// Type returns ICMPv6NeighSolicit or ICMPv6NeighAdvert.
func (n ND) Type() uint8 { return n[0] }

// Flags returns the advertisement's flag byte.
func (n ND) Flags() uint8 { return n[4] }

// Target returns the target address.
func (n ND) Target() netip.Addr { return netip.AddrFrom16([16]byte(n[8:24])) }

// LinkAddr returns the link-layer address in the first option of type opt.
func (n ND) LinkAddr(opt uint8) (MAC, bool) {
	for o := []byte(n[NDLen:]); len(o) >= 8; o = o[int(o[1])*8:] {
		if o[0] == opt && o[1] == 1 {
			return MAC(o[2:8]), true
		}
	}
	return MAC{}, false
}

// PutND writes a solicitation or advertisement with one link-layer address
// option into the first NDLen+NDOptLLLen bytes of b and completes its checksum
// for a packet from src to dst. A zero MAC leaves the option out (RFC 4861
// section 4.3: not with an unspecified source). It returns the length written.
func PutND(b []byte, typ, flags uint8, target netip.Addr, opt uint8, mac MAC, src, dst netip.Addr) int {
	n := NDLen
	if !mac.IsZero() {
		n += NDOptLLLen
	}
	m := b[:n]
	clear(m)
	m[0], m[4] = typ, flags
	t := target.As16()
	copy(m[8:24], t[:])
	if !mac.IsZero() {
		m[24], m[25] = opt, 1
		copy(m[26:32], mac[:])
	}
	ICMP(m).SetChecksum6(PseudoHeader(src, dst, ProtoICMPv6, n))
	return n
}

// SolicitedNode returns the solicited-node multicast address of a (RFC 4291
// section 2.7.1).
func SolicitedNode(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom16([16]byte{0xff, 0x02, 11: 0x01, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]})
}

// MulticastMAC returns the Ethernet address of an IP multicast address (RFC
// 1112 section 6.4, RFC 2464 section 7).
func MulticastMAC(a netip.Addr) MAC {
	if a.Is4() {
		b := a.As4()
		return MAC{0x01, 0x00, 0x5e, b[1] & 0x7f, b[2], b[3]}
	}
	b := a.As16()
	return MAC{0x33, 0x33, b[12], b[13], b[14], b[15]}
}
