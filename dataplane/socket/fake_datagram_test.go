// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"net/netip"
	"slices"
	"syscall"

	"netcon/dataplane/stream"

	"golang.org/x/sys/unix"
)

// fakeDatagrams is the datagram sockets of a fakeEngine: what is sent to a port
// lies in the queue of who is bound to it.
type fakeDatagrams struct {
	socks map[stream.Handle]*fakeDatagram
	full  bool // Send says EAGAIN
	next  uint16
	sends int
}

type fakeDatagram struct {
	user    uint64
	family  stream.Family
	proto   stream.Protocol
	local   netip.AddrPort
	remote  netip.AddrPort
	queue   []fakeRecord
	groups  []netip.Addr
	filter  stream.ICMPFilter
	ttl     int
	blocked bool // was told EAGAIN
}

type fakeRecord struct {
	msg     stream.Message
	payload []byte
}

func (e *fakeEngine) OpenDatagram(f stream.Family, proto stream.Protocol, user uint64) (stream.Handle, syscall.Errno) {
	if e.openErr != 0 {
		return 0, e.openErr
	}
	if e.datagrams.socks == nil {
		e.datagrams.socks = map[stream.Handle]*fakeDatagram{}
	}
	e.next++
	e.datagrams.socks[e.next] = &fakeDatagram{user: user, family: f, proto: proto, local: unspecified(f), ttl: 64}
	return e.next, 0
}

func (s *fakeDatagram) bind(e *fakeEngine, local netip.AddrPort) syscall.Errno {
	if s.local.Port() != 0 {
		return unix.EINVAL
	}
	if local.Port() == 0 {
		e.datagrams.next++
		local = netip.AddrPortFrom(local.Addr(), 40000+e.datagrams.next)
	}
	if e.datagrams.at(local.Port()) != nil {
		return unix.EADDRINUSE
	}
	s.local = local
	return 0
}

func (d *fakeDatagrams) at(port uint16) *fakeDatagram {
	for _, s := range d.socks {
		if s.local.Port() == port {
			return s
		}
	}
	return nil
}

func (e *fakeEngine) Disconnect(h stream.Handle) syscall.Errno {
	e.datagrams.socks[h].remote = netip.AddrPort{}
	return 0
}

func (e *fakeEngine) Send(h stream.Handle, m *stream.Message, payload []byte) syscall.Errno {
	s := e.datagrams.socks[h]
	e.datagrams.sends++
	to := m.Remote
	switch {
	case e.datagrams.full:
		s.blocked = true
		return unix.EAGAIN
	case !to.IsValid() && !s.remote.IsValid():
		return unix.EDESTADDRREQ
	case !to.IsValid():
		to = s.remote
	case to.Addr() == addrUnreachable:
		return unix.ENETUNREACH
	}
	if s.local.Port() == 0 {
		s.bind(e, s.local)
	}
	ttl := m.TTL
	if ttl == 0 {
		ttl = uint8(s.ttl)
	}
	peer := e.datagrams.at(to.Port())
	if peer == nil {
		if s.remote.IsValid() {
			s.push(e, stream.Message{
				Err: unix.ECONNREFUSED, Remote: to,
				Cause: stream.Cause{Origin: 2, Type: 3, Code: 3, Offender: to.Addr()},
			}, payload)
		}
		return 0
	}
	peer.push(e, stream.Message{Remote: s.local, Local: to.Addr(), TTL: ttl, TOS: m.TOS}, payload)
	return 0
}

// push reuses the memory of what was received before.
func (s *fakeDatagram) push(e *fakeEngine, m stream.Message, payload []byte) {
	if len(s.queue) < cap(s.queue) {
		s.queue = s.queue[:len(s.queue)+1]
	} else {
		s.queue = append(s.queue, fakeRecord{})
	}
	r := &s.queue[len(s.queue)-1]
	r.msg, r.payload = m, append(r.payload[:0], payload...)
	if len(s.queue) == 1 {
		e.events = append(e.events, fakeEvent{'R', s.user, 0})
	}
}

func (e *fakeEngine) Receive(h stream.Handle, m *stream.Message, buf []byte) (int, syscall.Errno) {
	s := e.datagrams.socks[h]
	if len(s.queue) == 0 {
		return 0, unix.EAGAIN
	}
	r := s.queue[0]
	*m = r.msg
	copy(buf, r.payload)
	copy(s.queue, s.queue[1:])
	s.queue[len(s.queue)-1] = r
	s.queue = s.queue[:len(s.queue)-1]
	return len(r.payload), 0
}

func (e *fakeEngine) Join(h stream.Handle, group netip.Addr) syscall.Errno {
	s := e.datagrams.socks[h]
	if slices.Contains(s.groups, group) {
		return unix.EADDRINUSE
	}
	s.groups = append(s.groups, group)
	return 0
}

func (e *fakeEngine) Leave(h stream.Handle, group netip.Addr) syscall.Errno {
	s := e.datagrams.socks[h]
	i := slices.Index(s.groups, group)
	if i < 0 {
		return unix.EADDRNOTAVAIL
	}
	s.groups = slices.Delete(s.groups, i, i+1)
	return 0
}

func (e *fakeEngine) Filter(h stream.Handle, f *stream.ICMPFilter) syscall.Errno {
	e.datagrams.socks[h].filter = *f
	return 0
}

// room ends what full began.
func (e *fakeEngine) room() {
	e.datagrams.full = false
	for _, s := range e.datagrams.socks {
		if s.blocked {
			s.blocked = false
			e.events = append(e.events, fakeEvent{'W', s.user, 0})
		}
	}
}

// datagram says that a handle is one of a datagram socket.
func (e *fakeEngine) datagram(h stream.Handle) *fakeDatagram { return e.datagrams.socks[h] }
