// SPDX-License-Identifier: Apache-2.0

package datagram

import (
	"net/netip"
	"syscall"

	"netcon/dataplane/stream"
)

// Inside this package an address is never mapped: an IPv4 address of an IPv6
// socket is an IPv4 address.

var (
	any4       = netip.IPv4Unspecified()
	any6       = netip.IPv6Unspecified()
	loopback4  = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	loopback6  = netip.IPv6Loopback()
	broadcast4 = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	allHosts4  = netip.AddrFrom4([4]byte{224, 0, 0, 1})
)

// Reach says what a destination address is to the container.
type Reach uint8

// The kinds of destination.
const (
	None      Reach = iota // no route
	Own                    // the container itself, loopback included
	Link                   // a host, directly or through a gateway
	Broadcast              // of a subnet of ours, or the limited one
	Multicast              // a group
)

// group reports whether more than one host is meant.
func (r Reach) group() bool { return r >= Broadcast }

// addresses is what a container is called.
type addresses struct {
	own       []netip.Prefix
	broadcast []netip.Addr
	gw4, gw6  netip.Addr
	has4      bool
	has6      bool
}

func newAddresses(own []netip.Prefix, gw4, gw6 netip.Addr) (a addresses) {
	a.own, a.gw4, a.gw6 = own, gw4, gw6
	for _, p := range own {
		a.has4 = a.has4 || p.Addr().Is4()
		a.has6 = a.has6 || p.Addr().Is6()
		if b, ok := subnetBroadcast(p); ok {
			a.broadcast = append(a.broadcast, b)
		}
	}
	return a
}

// subnetBroadcast returns the broadcast address of an IPv4 subnet. A /31 (RFC
// 3021) and a /32 have none.
func subnetBroadcast(p netip.Prefix) (netip.Addr, bool) {
	if !p.Addr().Is4() || p.Bits() > 30 {
		return netip.Addr{}, false
	}
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b), true
}

// mine reports whether an address is one of the container's, loopback included.
func (a *addresses) mine(ip netip.Addr) bool {
	for i := range a.own {
		if a.own[i].Addr() == ip {
			return true
		}
	}
	return ip.IsLoopback()
}

func (a *addresses) isBroadcast(ip netip.Addr) bool {
	if ip == broadcast4 {
		return true
	}
	for i := range a.broadcast {
		if a.broadcast[i] == ip {
			return true
		}
	}
	return false
}

func (a *addresses) reach(dst netip.Addr) Reach {
	switch {
	case a.mine(dst):
		return Own
	case dst.Is4() && !a.has4 || dst.Is6() && !a.has6:
		return None
	case dst.IsMulticast():
		return Multicast
	case dst.Is4() && a.isBroadcast(dst):
		return Broadcast
	}
	for i := range a.own {
		if a.own[i].Contains(dst) {
			return Link
		}
	}
	if dst.Is4() && a.gw4.IsValid() || dst.Is6() && a.gw6.IsValid() {
		return Link
	}
	return None
}

// source returns the address from which dst is spoken to: dst itself if it is
// ours, else the one with the longest prefix around the next hop, else the
// first of the family.
func (a *addresses) source(dst netip.Addr, r Reach) netip.Addr {
	hop := dst
	switch {
	case r == Own && dst.IsLoopback():
		if dst.Is4() {
			return loopback4
		}
		return loopback6
	case r == Own:
		return dst
	}
	for {
		best := -1
		for i := range a.own {
			if a.own[i].Contains(hop) && (best < 0 || a.own[i].Bits() > a.own[best].Bits()) {
				best = i
			}
		}
		if best >= 0 {
			return a.own[best].Addr()
		}
		gw := a.gw6
		if dst.Is4() {
			gw = a.gw4
		}
		if r.group() || !gw.IsValid() || hop == gw {
			break
		}
		hop = gw
	}
	for i := range a.own {
		if a.own[i].Addr().Is4() == dst.Is4() {
			return a.own[i].Addr()
		}
	}
	return netip.Addr{}
}

// inward returns an address that a caller gave for a socket: unmapped and
// without a zone.
func (k *socket) inward(a netip.Addr) (netip.Addr, syscall.Errno) {
	if a.Zone() != "" {
		a = a.WithZone("")
	}
	a = a.Unmap()
	switch {
	case !a.IsValid():
		return a, syscall.EINVAL
	case k.family == stream.IPv4 && !a.Is4():
		return a, syscall.EAFNOSUPPORT
	}
	return a, 0
}

// outward returns an address in the form in which the owner of a socket sees
// it.
func (k *socket) outward(a netip.Addr) netip.Addr {
	if k.family == stream.IPv6 && a.Is4() {
		return netip.AddrFrom16(a.As16())
	}
	return a
}

// takes4 reports whether packets of IPv4 may be the socket's.
func (k *socket) takes4() bool {
	return k.local.Is4() || k.family == stream.IPv6 && !k.v6only() && k.local == any6
}

// takes6 reports whether packets of IPv6 may be the socket's.
func (k *socket) takes6() bool { return k.local.Is6() }

func (k *socket) takes(a netip.Addr) bool {
	if a.Is4() {
		return k.takes4()
	}
	return k.takes6()
}

// wildcard reports whether the socket takes what is sent to any address.
func (k *socket) wildcard() bool { return k.local.IsUnspecified() }

func (k *socket) v6only() bool { return k.value[stream.OptV6Only] != 0 }

// overlap reports whether two bound addresses have an address in common, by
// Linux's ipv4_rcv_saddr_equal and ipv6_rcv_saddr_equal: an IPv6 wildcard
// socket that is not IPV6_V6ONLY covers IPv4.
func overlap(a, b *socket) bool {
	if a.local.Is4() && b.local.Is4() {
		return a.local == b.local || a.wildcard() || b.wildcard()
	}
	if b.local == any6 && !(b.v6only() && a.local.Is4()) {
		return true
	}
	if a.family == stream.IPv4 && a.wildcard() && !b.v6only() {
		return true // b was bound to any address before it was connected
	}
	if a.local == any6 && !(a.v6only() && b.local.Is4()) {
		return true
	}
	return a.local == b.local
}
