// SPDX-License-Identifier: Apache-2.0

package neigh

import (
	"encoding/binary"
	"net/netip"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

const (
	ndHopLimit     = 255 // proof that no router forwarded the packet
	fragmentHeader = 44
)

// ND looks at an IPv6 packet from an Ethernet frame of src and consumes it if
// it is neighbour discovery, ICMPv6 types 133 to 137. Solicitations and
// advertisements are handled; router discovery and redirects are consumed and
// ignored with Accepted, because gateways are configured. The reason is
// returned for the caller to count. DropNeighTableFull means that the
// solicitation was answered, but not learned from.
func (t *Table) ND(src wire.MAC, packet wire.IPv6, now time.Duration) (consumed bool, r stat.Reason) {
	m, fragmented, ok := icmpv6(packet)
	if !ok || len(m) == 0 || m[0] < wire.ICMPv6RouterSolicit || m[0] > wire.ICMPv6Redirect {
		return false, stat.Accepted
	}
	t.now = now
	t.stat.Count(stat.NDRx)
	if m[0] != wire.ICMPv6NeighSolicit && m[0] != wire.ICMPv6NeighAdvert {
		return true, stat.Accepted
	}
	nd, ok := wire.ParseND(m)
	from, to := packet.Src(), packet.Dst()
	if !ok || fragmented || packet.HopLimit() != ndHopLimit || src.IsGroup() || src.IsZero() || src == t.mac ||
		wire.PseudoHeader(from, to, wire.ProtoICMPv6, len(m)).Add(m).Fold() != 0xffff ||
		from.IsMulticast() || from.IsLoopback() || from.Is4In6() || nd.Target().IsMulticast() {
		return true, stat.DropNDInvalid
	}
	if !to.IsMulticast() && t.own(to) == nil {
		return true, stat.DropIPNotLocal
	}
	if nd.Type() == wire.ICMPv6NeighSolicit {
		return true, t.solicitation(src, nd, from, to, now)
	}
	return true, t.advertisement(nd, from, to, now)
}

// icmpv6 returns the ICMPv6 message of p, and whether a fragment header lies
// before it: neighbour discovery must not have one (RFC 6980 section 5), not
// even an atomic one. Fragments other than the first are not looked at; they
// are no whole packet without the first.
func icmpv6(p wire.IPv6) (m []byte, fragmented, ok bool) {
	switch p.NextHeader() {
	case wire.ProtoICMPv6:
		return p.Payload(), false, true
	case wire.ProtoTCP, wire.ProtoUDP:
		return nil, false, false
	}
	proto, offset, _, ok := p.UpperLayer()
	if !ok || proto != wire.ProtoICMPv6 {
		return nil, false, false
	}
	for next, o := p.NextHeader(), wire.IPv6Len; o < offset; {
		n := 8 + int(p[o+1])*8
		if next == fragmentHeader {
			if binary.BigEndian.Uint16(p[o+2:])>>3 != 0 {
				return nil, false, false
			}
			n, fragmented = 8, true
		}
		next, o = p[o], o+n
	}
	return p[offset:], fragmented, true
}

// linkAddr returns the link-layer address in the options of type opt. ok is
// false if one has a length that is not Ethernet's or an address that no
// neighbour has.
func (t *Table) linkAddr(nd wire.ND, opt uint8) (mac wire.MAC, present, ok bool) {
	for o := []byte(nd[wire.NDLen:]); len(o) >= 8; o = o[int(o[1])*8:] {
		if o[0] != opt {
			continue
		}
		m := wire.MAC(o[2:8])
		if o[1] != 1 || m.IsGroup() || m.IsZero() || m == t.mac {
			return wire.MAC{}, true, false
		}
		if !present {
			mac, present = m, true
		}
	}
	return mac, present, true
}

// solicitation handles a neighbour solicitation (RFC 4861 sections 7.1.1, 7.2.3
// and 7.2.4).
func (t *Table) solicitation(src wire.MAC, nd wire.ND, from, to netip.Addr, now time.Duration) stat.Reason {
	target := nd.Target()
	mac, present, ok := t.linkAddr(nd, wire.NDOptSourceLL)
	if !ok {
		return stat.DropNDInvalid
	}
	if from.IsUnspecified() {
		if present || !isSolicitedNode(to) {
			return stat.DropNDInvalid
		}
		// Somebody checks whether the address is free: everyone hears that
		// it is not (RFC 4861 section 7.2.4).
		if t.own(target) != nil {
			all := netip.IPv6LinkLocalAllNodes()
			t.sendND(wire.MulticastMAC(all), wire.ICMPv6NeighAdvert, wire.NAFlagOverride, target, all, target)
		}
		return stat.Accepted
	}
	if l := t.own(from); l != nil {
		t.defend(l, now)
		return stat.DropNDInvalid
	}
	if t.own(target) == nil {
		return stat.Accepted
	}
	r := stat.Accepted
	if !present {
		mac = src
	} else if e := t.entries[from]; e != nil {
		t.hint(e, mac, now)
	} else if t.onLink(from) {
		r = t.learn(from, mac, now)
	}
	t.sendND(mac, wire.ICMPv6NeighAdvert, wire.NAFlagSolicited|wire.NAFlagOverride, target, from, target)
	return r
}

// isSolicitedNode reports whether a is in ff02::1:ff00:0/104.
func isSolicitedNode(a netip.Addr) bool { return a == wire.SolicitedNode(a) }

// advertisement handles a neighbour advertisement (RFC 4861 sections 7.1.2 and
// 7.2.5).
func (t *Table) advertisement(nd wire.ND, from, to netip.Addr, now time.Duration) stat.Reason {
	mac, present, ok := t.linkAddr(nd, wire.NDOptTargetLL)
	if !ok || from.IsUnspecified() || to.IsMulticast() && nd.Flags()&wire.NAFlagSolicited != 0 {
		return stat.DropNDInvalid
	}
	if l := t.own(nd.Target()); l != nil {
		t.defend(l, now)
		return stat.DropNDInvalid
	}
	if t.own(from) != nil {
		return stat.DropNDInvalid
	}
	if e := t.entries[nd.Target()]; e != nil {
		t.mergeND(e, mac, present, nd.Flags(), now)
	}
	return stat.Accepted
}

// mergeND updates e from a valid advertisement.
func (t *Table) mergeND(e *entry, mac wire.MAC, present bool, flags uint8, now time.Duration) {
	solicited := flags&wire.NAFlagSolicited != 0
	if !present {
		if !e.resolved() {
			return
		}
		mac = e.mac
	}
	news := !e.resolved() || mac != e.mac
	if e.resolved() && news && flags&wire.NAFlagOverride == 0 {
		if e.state == reachable {
			t.enter(e, stale, now)
		}
		return
	}
	e.router = flags&wire.NAFlagRouter != 0
	if solicited {
		t.record(e, mac, reachable, now)
	} else if news {
		t.record(e, mac, stale, now)
	}
}
