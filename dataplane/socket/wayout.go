// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"net/netip"
	"syscall"

	"netcon/dataplane/stream"
)

// A socket begins in the container's engine. Where its connect names a place
// that is not on the container's networks, and policy lets it, it moves to the
// host's stack: an engine like the other, with a handle of its own. Which one
// has a socket never changes while it is connecting or connected.

// of returns what has the handle of a socket.
func (t *Set) of(s *sock) stream.Sockets {
	if s.has(fHost) {
		return t.cfg.Host
	}
	return t.engine
}

// SetWayOut opens or closes the way to the host's stack. Sockets that are on it
// stay.
func (t *Set) SetWayOut(open bool) { t.wayOut = open && t.cfg.Host != nil }

// goesOut reports whether a connect to ip leaves the container. A socket that was
// bound to an address of the container stays.
func (t *Set) goesOut(s *sock, ip netip.Addr) bool {
	if !t.wayOut || s.has(fBound) && !s.asked.Addr().Unmap().IsUnspecified() || t.value(s, rowDevice) != 0 {
		return false
	}
	return t.outside(ip)
}

// outside reports whether ip is not on the container's networks, in this order:
// its own loopback, links and groups; its subnets; what a gateway leads to.
func (t *Set) outside(ip netip.Addr) bool {
	ip = ip.Unmap()
	switch {
	case ip.IsUnspecified(), ip.IsLoopback(), ip.IsLinkLocalUnicast(), ip.IsMulticast(),
		ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return false
	case ip.Is4() && t.cfg.Gateway4, ip.Is6() && t.cfg.Gateway6:
		return false
	}
	return !t.onSubnet(ip)
}

// onSubnet reports whether ip is on a subnet of the container's network.
func (t *Set) onSubnet(ip netip.Addr) bool {
	for _, p := range t.cfg.Networks {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// moveOut gives a socket a handle of the host's stack, with its options. A port
// it was bound to is the container's and does not go along.
func (t *Set) moveOut(s *sock, ip netip.Addr) syscall.Errno {
	family := stream.IPv6
	if ip.Unmap().Is4() {
		family = stream.IPv4
	}
	h, e := t.cfg.Host.Open(family, s.user())
	if e != 0 {
		return e
	}
	t.engine.Close(s.handle)
	s.handle = h
	s.flags |= fHost
	s.flags &^= fRebind
	t.replayOptions(s)
	return 0
}
