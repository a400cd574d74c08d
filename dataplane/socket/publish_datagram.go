// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"hash/maphash"
	"net/netip"
	"syscall"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

// A published UDP port is a socket of the host's stack. What it receives goes to
// the container's socket that is bound to the port, as if it had come over the
// network, from who sent it to the host; what a socket on that port sends to
// somebody who wrote to it this way lately goes back this way, from the address
// that was written to. Nothing else leaves by it. Who wrote over the network last
// is answered there.

// PublishDatagrams has datagrams to a kernel UDP socket, of this family, go to the
// container's port. fd is the Set's from here on.
func (t *Set) PublishDatagrams(fd int, family stream.Family, port uint16) (Publication, syscall.Errno) {
	id, e := t.Publish(fd, family, port)
	if e == 0 {
		p := t.published[len(t.published)-1]
		p.datagrams, p.stale = true, true
	}
	return id, e
}

// stalePorts has published ports look for their sockets again: one was bound to the
// port, or is gone.
func (t *Set) stalePorts(port uint16) {
	for _, p := range t.published {
		if p.datagrams && p.port == port {
			p.stale = true
		}
	}
}

// receivers finds the sockets that take what comes in at a published port: those
// that were bound to it, and not by chance.
func (t *Set) receivers(p *publication) []uint64 {
	if p.stale {
		p.stale, p.receivers = false, p.receivers[:0]
		t.slab.each(func(s *sock) {
			if s.dgram != nil && s.dgram.proto == stream.UDP && s.has(fBound) && s.asked.Port() == p.port && t.serves(s, p) {
				p.receivers = append(p.receivers, s.user())
			}
		})
	}
	return p.receivers
}

var flowSeed = maphash.MakeSeed()

// receiver finds the socket that takes a datagram from this remote, nil if there is
// none: one connected to it, else one bound to an address, else one of the family;
// of equals always the same for one remote. It follows compute_score of udp.c.
func (t *Set) receiver(p *publication, from netip.AddrPort) *sock {
	best, equals := -1, t.fit[:0]
	for _, user := range t.receivers(p) {
		s := t.slab.lookup(user)
		if s == nil || s.dgram == nil || s.fd < 0 || s.has(fHup) {
			continue
		}
		score := 0
		if s.family == p.family {
			score++
		}
		if !s.asked.Addr().Unmap().IsUnspecified() {
			score += 2
		}
		if remote, e := t.remoteOf(s); e == 0 {
			if unmapped(remote) != from {
				continue
			}
			score += 4
		}
		switch {
		case score > best:
			best, equals = score, append(equals[:0], s)
		case score == best:
			equals = append(equals, s)
		}
	}
	t.fit = equals
	switch len(equals) {
	case 0:
		return nil
	case 1:
		return equals[0]
	}
	return equals[maphash.Comparable(flowSeed, from)%uint64(len(equals))]
}

// takeDatagrams hands over what came in at published ports, about visitDatagrams of
// each.
func (t *Set) takeDatagrams() {
	list := t.heard
	t.heard = t.heardSpare[:0]
	t.heardSpare = list
	for _, p := range list {
		for n := 0; p.ready; n++ {
			if n == visitDatagrams {
				t.heard = append(t.heard, p)
				break
			}
			t.takeDatagram(p)
		}
	}
}

func (t *Set) takeDatagram(p *publication) {
	buf := t.scratch
	if t.burst != nil {
		buf = t.burst.payload[0]
	}
	n, from, at, e := t.cfg.Host.ReceiveFrom(p.handle, buf)
	switch e {
	case 0:
	case unix.EAGAIN:
		p.ready = false
		return
	default:
		return // an error that somebody's answer met, which is nobody's
	}
	if from.Port() == 0 || from.Port() == t.cfg.NoDatagrams {
		t.stat.Drop(stat.DropDatagramRefused) // could not be answered
		return
	}
	s := t.receiver(p, from)
	if s == nil {
		t.stat.Drop(stat.DropNoSocket)
		return
	}
	if !from.Addr().IsLinkLocalUnicast() {
		at.Interface = 0 // the way back is the routes'
	}
	if at.IP.IsMulticast() {
		at.IP = netip.IPv6Unspecified()
	}
	if t.flows.hear(flowKey{from, p.port}, p.id, at, t.nowForAge()) {
		t.stat.Count(stat.FlowsEvicted)
	}
	t.dmsg = stream.Message{Remote: asSeen(s, from), TTL: 64, Local: t.ownAddress(s, p.family)}
	t.address(s, 0, min(n, shm.PayloadMax))
	t.deliverBurst(s, 1)
}

// ownAddress is where a datagram that came in at a published port went to, as a
// socket sees it: the port is the container's, and so is the address.
func (t *Set) ownAddress(s *sock, f stream.Family) netip.Addr {
	if ip := s.asked.Addr(); !ip.Unmap().IsUnspecified() {
		return ip
	}
	return t.addressFor(s, f == stream.IPv4)
}

// addressFor is the container's first address of IPv4, or of IPv6, as s sees it; not
// valid: there is none.
func (t *Set) addressFor(s *sock, four bool) netip.Addr {
	for _, ip := range t.cfg.Addresses {
		if ip.Is4() == four {
			return asSeen(s, netip.AddrPortFrom(ip, 0)).Addr()
		}
	}
	return netip.Addr{}
}

// asSeen is an address in the form that a socket's family has.
func asSeen(s *sock, ap netip.AddrPort) netip.AddrPort {
	if s.family == stream.IPv6 && ap.Addr().Is4() {
		return netip.AddrPortFrom(netip.AddrFrom16(ap.Addr().As16()), ap.Port())
	}
	return netip.AddrPortFrom(ap.Addr(), ap.Port())
}

// unmapped undoes asSeen.
func unmapped(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// flowOf returns the flow that a datagram of s to this place belongs to, nil if it
// answers nothing that came in at a published port.
func (t *Set) flowOf(s *sock, to netip.AddrPort) *flow {
	if len(t.flows.index) == 0 || !s.has(fBound) || s.dgram.proto != stream.UDP {
		return nil
	}
	return t.flows.find(flowKey{unmapped(to), s.asked.Port()}, t.nowForAge())
}

// sendBack sends an answer.
func (t *Set) sendBack(s *sock, f *flow, payload []byte) syscall.Errno {
	p := t.find(f.via)
	if p == nil {
		return unix.ENETUNREACH
	}
	e := t.cfg.Host.SendTo(p.handle, f.at, f.key.remote, payload)
	switch e {
	case 0:
		t.flows.answered(f, t.nowForAge())
	case unix.EAGAIN:
		p.waiting = append(p.waiting, s.user())
	}
	return e
}

// heardOnNetwork notes that somebody wrote to s over the container's network: that
// is where the answer goes.
func (t *Set) heardOnNetwork(s *sock, from netip.AddrPort) {
	if len(t.flows.index) > 0 && s.has(fBound) {
		t.flows.drop(flowKey{unmapped(from), s.asked.Port()})
	}
}

// roomOnHost has those go on who waited to answer by a published port.
func (t *Set) roomOnHost(p *publication) {
	waiting := p.waiting
	p.waiting = nil
	for _, user := range waiting {
		t.Writable(user)
	}
}
