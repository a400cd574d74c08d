// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"net/netip"
	"syscall"

	"netcon/dataplane/stream"

	"golang.org/x/sys/unix"
)

// Datagrams to places that are not on the container's networks go out, where
// policy lets them, through a UDP socket of the host: one for each family that a
// socket of the container uses. What is sent back to it is the container's.

// datagramsGoOut reports whether datagrams of s to this place leave the container.
func (t *Set) datagramsGoOut(s *sock, to netip.AddrPort) bool {
	return s.dgram.proto == stream.UDP && t.goesOut(s, to.Addr())
}

// isOut reports whether s is connected to this place over the host's stack. It
// stays that when the way out is closed.
func (t *Set) isOut(s *sock, to netip.AddrPort) bool {
	return to == s.dgram.far && (s.dgram.out[0] != 0 || s.dgram.out[1] != 0)
}

// outFor returns the host's socket for a destination, made if there is none.
func (t *Set) outFor(s *sock, to netip.AddrPort) (stream.Handle, syscall.Errno) {
	i, family := 0, stream.IPv4
	if !to.Addr().Unmap().Is4() {
		i, family = 1, stream.IPv6
	}
	if s.dgram.out[i] != 0 {
		return s.dgram.out[i], 0
	}
	h, e := t.cfg.Host.OpenDatagram(family, s.user())
	if e == 0 {
		s.dgram.out[i] = h
		if t.localOf(s).Port() == 0 {
			_ = t.engine.Bind(s.handle, unspecified(s.family)) // as any first datagram
		}
	}
	return h, e
}

// pointOut connects a socket to a place outside.
func (t *Set) pointOut(s *sock, to netip.AddrPort) syscall.Errno {
	switch {
	case to.Port() == 0:
		return unix.EINVAL
	case to.Port() == t.cfg.NoDatagrams:
		return unix.EACCES
	}
	h, e := t.outFor(s, to)
	if e != 0 {
		return e
	}
	return t.cfg.Host.Point(h, to)
}

// sendOut sends a datagram over the host's stack.
func (t *Set) sendOut(s *sock, to netip.AddrPort, payload []byte) syscall.Errno {
	switch {
	case to.Port() == 0:
		return unix.EINVAL
	case to.Port() == t.cfg.NoDatagrams:
		return unix.EACCES
	}
	h, e := t.outFor(s, to)
	if e != 0 {
		return e
	}
	if to == s.dgram.far {
		to = netip.AddrPort{} // it is pointed there
	}
	return t.cfg.Host.SendTo(h, stream.HostPlace{}, to, payload)
}

// receiveOut takes a datagram, or an error, that came back over the host's stack.
func (t *Set) receiveOut(s *sock, m *stream.Message, buf []byte) (int, syscall.Errno) {
	for _, h := range s.dgram.out {
		if h == 0 {
			continue
		}
		n, from, _, e := t.cfg.Host.ReceiveFrom(h, buf)
		switch e {
		case unix.EAGAIN:
		case 0:
			*m = stream.Message{Remote: asSeen(s, from), TTL: 64}
			return n, 0
		default:
			*m = stream.Message{Remote: s.dgram.far, Err: e}
			return 0, 0
		}
	}
	return 0, unix.EAGAIN
}

// closeOut ends what a socket has of the host's stack.
func (t *Set) closeOut(s *sock) {
	if s.dgram == nil {
		return
	}
	for i, h := range s.dgram.out {
		if h != 0 {
			t.cfg.Host.Close(h)
			s.dgram.out[i] = 0
		}
	}
}
