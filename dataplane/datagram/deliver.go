// SPDX-License-Identifier: Apache-2.0

package datagram

import (
	"net/netip"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// Packet is an IP packet for the container whose addresses, lengths and
// checksums were verified.
type Packet struct {
	Whole    []byte // the packet, cut to its length
	At       int    // offset of the upper layer
	Src, Dst netip.Addr
	Reach    Reach // of Dst: Own, Broadcast or Multicast
}

// View returns the Packet of a verified IP packet that came from the network.
// Reach is None if it is not for the container: neither are loopback addresses
// nor groups that nobody joined.
func (s *Stack) View(whole []byte, at int) Packet {
	p := Packet{Whole: whole, At: at}
	if whole[0]>>4 == 6 {
		p.Src, p.Dst = wire.IPv6(whole).Src(), wire.IPv6(whole).Dst()
	} else {
		p.Src, p.Dst = wire.IPv4(whole).Src(), wire.IPv4(whole).Dst()
	}
	p.Reach = s.reach(p.Dst)
	if p.Reach == Multicast && !s.Member(p.Dst) || p.Reach == Link || p.Dst.IsLoopback() {
		p.Reach = None
	}
	return p
}

// Member reports whether datagrams to a multicast group, or a broadcast address,
// are taken: a socket joined it, or every host is a member.
func (s *Stack) Member(a netip.Addr) bool {
	if !a.IsMulticast() {
		return a.Is4() && s.has4 && s.isBroadcast(a)
	}
	if s.members[a] > 0 || a == allHosts4 {
		return true
	}
	return a == netip.IPv6LinkLocalAllNodes()
}

func (p *Packet) ttl() uint8 {
	if p.Whole[0]>>4 == 6 {
		return wire.IPv6(p.Whole).HopLimit()
	}
	return wire.IPv4(p.Whole).TTL()
}

func (p *Packet) tos() uint8 {
	if p.Whole[0]>>4 == 6 {
		return p.Whole[0]<<4 | p.Whole[1]>>4
	}
	return wire.IPv4(p.Whole).TOS()
}

// UDP takes a datagram whose header is whole and whose checksum is right.
func (s *Stack) UDP(p *Packet, u wire.UDP) stat.Reason {
	a := arrival{
		remote: netip.AddrPortFrom(p.Src, u.SrcPort()), local: p.Dst,
		ttl: p.ttl(), tos: p.tos(), body: u.Payload(),
	}
	if p.Reach.group() {
		return s.spread(&a, u.DstPort())
	}
	if k := s.find(netip.AddrPortFrom(p.Dst, u.DstPort()), a.remote); k != nil {
		return k.put(&a)
	}
	s.refuse(p)
	return stat.DropNoSocket
}

// spread gives a datagram to a group or broadcast address to every socket it is
// for (__udp_is_mcast_sock in Linux). A copy that a socket has no room for is a
// drop of its own.
func (s *Stack) spread(a *arrival, port uint16) stat.Reason {
	taken, reason := 0, stat.DropNoSocket
	for _, k := range s.udp.ports[port] {
		switch {
		case !k.takes(a.local), !k.wildcard() && k.local != a.local,
			k.remote.IsValid() && k.remote != a.remote &&
				(k.remote.Port() != 0 || k.remote.Addr() != a.remote.Addr()),
			a.local.IsMulticast() && !k.joined(a.local):
			continue
		}
		r := k.put(a)
		if r == stat.Accepted {
			taken++
			continue
		}
		if reason != stat.DropNoSocket {
			s.stat.Drop(reason)
		}
		reason = r
	}
	if taken > 0 {
		if reason != stat.DropNoSocket {
			s.stat.Drop(reason)
		}
		return stat.Accepted
	}
	return reason
}
