// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"encoding/binary"
	"net/netip"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// outerParser takes outer frames apart that are for one VTEP.
type outerParser struct {
	local      netip.Addr // without zone
	port       uint16
	unfinished bool // accept a checksum that is the bare pseudo-header sum
}

// parse returns the source VTEP and the UDP payload of a frame as it lay on the
// wire, or why it is dropped. mtu is the largest IP packet that may come.
//
// The XDP program has looked at addresses, protocol and port; nothing here
// relies on it.
func (o *outerParser) parse(frame []byte, mtu int) (netip.Addr, []byte, stat.Reason) {
	e, ok := wire.ParseEthernet(frame)
	if !ok {
		return netip.Addr{}, nil, stat.DropOuterTruncated
	}
	if len(e) > wire.EthernetLen+mtu {
		return netip.Addr{}, nil, stat.DropOuterTooBig
	}
	switch t := e.Type(); {
	case t == wire.EtherTypeIPv4 && o.local.Is4():
		return o.parse4(e.Payload())
	case t == wire.EtherTypeIPv6 && o.local.Is6():
		return o.parse6(e.Payload())
	}
	return netip.Addr{}, nil, stat.DropOuterHeader
}

func (o *outerParser) parse4(b []byte) (netip.Addr, []byte, stat.Reason) {
	p, ok := wire.ParseIPv4(b)
	if !ok {
		return netip.Addr{}, nil, lengthReason(len(b), wire.IPv4Len, func() int { return int(binary.BigEndian.Uint16(b[2:4])) })
	}
	if !p.ChecksumOK() {
		return netip.Addr{}, nil, stat.DropOuterChecksum
	}
	if p.Dst() != o.local || p.Protocol() != wire.ProtoUDP || p.IsFragment() {
		return netip.Addr{}, nil, stat.DropOuterHeader
	}
	// The two addresses lie side by side, for the pseudo-header as well.
	payload, r := o.udp(p.Payload(), p[12:20], true)
	return p.Src(), payload, r
}

func (o *outerParser) parse6(b []byte) (netip.Addr, []byte, stat.Reason) {
	p, ok := wire.ParseIPv6(b)
	if !ok {
		return netip.Addr{}, nil, lengthReason(len(b), wire.IPv6Len, func() int { return wire.IPv6Len + int(binary.BigEndian.Uint16(b[4:6])) })
	}
	src := p.Src()
	// An IPv4-mapped source would be taken for the IPv4 VTEP.
	if p.Dst() != o.local || p.NextHeader() != wire.ProtoUDP || src.Is4In6() {
		return netip.Addr{}, nil, stat.DropOuterHeader
	}
	payload, r := o.udp(p.Payload(), p[8:40], false)
	return src, payload, r
}

// udp returns the payload of a datagram between two addresses.
func (o *outerParser) udp(b, addrs []byte, v4 bool) ([]byte, stat.Reason) {
	u, ok := wire.ParseUDP(b)
	if !ok {
		return nil, lengthReason(len(b), wire.UDPLen, func() int { return int(binary.BigEndian.Uint16(b[4:6])) })
	}
	if u.DstPort() != o.port {
		return nil, stat.DropOuterHeader
	}
	field := u.Checksum()
	if field == 0 {
		// RFC 6935 lets a tunnel over IPv6 do without a checksum where both
		// ends are configured so. We are not, nor is a stock receiver.
		if v4 {
			return u.Payload(), stat.Accepted
		}
		return nil, stat.DropOuterChecksum
	}
	pseudo := wire.Sum(0).Add(addrs).Add16(wire.ProtoUDP).Add16(uint16(len(u)))
	if sumsUp(u, pseudo) || o.unfinished && unfinished(u, pseudo) {
		return u.Payload(), stat.Accepted
	}
	return nil, stat.DropOuterChecksum
}

// sumsUp reports whether the checksum of a datagram is right. A TCP segment or
// UDP datagram inside is not read for it: if its own checksum, which the stack
// verifies, is right, then what it adds to the sum is known. If it is wrong, the
// packet passes here and ends there.
func sumsUp(u wire.UDP, pseudo wire.Sum) bool {
	headers := pseudo.Add(u[:wire.UDPLen])
	return headers.Add16(wire.EncapSum(u.Payload()).Fold()).Fold() == 0xffff || pseudo.Add(u).Fold() == 0xffff
}

// unfinished reports whether the checksum of a datagram is one that the sender's
// kernel left to hardware: its own, or that of the packet inside, on which it
// depends.
func unfinished(u wire.UDP, pseudo wire.Sum) bool {
	if u.Checksum() == pseudo.Fold() {
		return true
	}
	inner, ok := wire.UnfinishedEncapSum(u.Payload())
	return ok && pseudo.Add(u[:wire.UDPLen]).Add16(inner.Fold()).Fold() == 0xffff
}

// lengthReason says why a header of at least least bytes could not be parsed
// from n: cut short, told to be longer than what is there, or nonsense.
func lengthReason(n, least int, told func() int) stat.Reason {
	if n < least || told() > n {
		return stat.DropOuterTruncated
	}
	return stat.DropOuterHeader
}
