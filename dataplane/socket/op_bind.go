// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"syscall"

	"netcon/dataplane/stream"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

// opBind follows inet_bind and inet6_bind.
func (t *Set) opBind(s *sock, r *shm.Request) syscall.Errno {
	a := r.Addr
	if a.Family == unix.AF_UNSPEC && s.family == stream.IPv4 && [4]byte(a.Ip[:4]) == [4]byte{} {
		a.Family = unix.AF_INET // compatibility games, as the kernel says
	}
	local, e := decodeAddr(&a, s.family)
	if e != 0 {
		return misfit(s, r, e)
	}
	if s.state != stDatagram && (s.state != stOpen || s.has(fBound)) {
		return unix.EINVAL
	}
	if s.handle == 0 {
		return unix.ENOBUFS
	}
	if local.Addr().Is4In6() && t.v6Only(s) {
		return unix.EINVAL
	}
	e = t.engine.Bind(s.handle, local)
	if e == unix.EADDRINUSE && t.reap(local.Port()) {
		e = t.engine.Bind(s.handle, local)
	}
	if e != 0 {
		return e
	}
	s.flags |= fBound
	s.asked = local
	if s.state == stDatagram {
		t.stalePorts(local.Port())
		return 0 // may be bound again, after it was disconnected
	}
	s.local = t.of(s).Local(s.handle)
	return 0
}

// reap ends the sockets on a port that their application has closed already, and
// reports whether there were any: a program that closes a socket and binds its
// address again may be heard on the attach socket before the close is.
func (t *Set) reap(port uint16) bool {
	var closed []*sock
	t.slab.each(func(s *sock) {
		if (s.state == stOpen || s.state == stListening || s.state == stDatagram) && s.fd >= 0 && t.localOf(s).Port() == port && hungUp(s.fd) {
			closed = append(closed, s)
		}
	})
	for _, s := range closed {
		t.lastClose(s)
	}
	return len(closed) > 0
}

// reapListeners ends the listeners on a port that their application has closed
// already: a program that closes a listener and connects to its port may be
// heard on the attach socket before the close is.
func (t *Set) reapListeners(port uint16) {
	var closed []*sock
	kept := t.listening[:0]
	for _, user := range t.listening {
		s := t.slab.lookup(user)
		if s == nil || s.state != stListening {
			continue
		}
		if t.localOf(s).Port() == port && hungUp(s.fd) {
			closed = append(closed, s)
			continue
		}
		kept = append(kept, user)
	}
	t.listening = kept
	for _, s := range closed {
		t.lastClose(s)
	}
}

// opListen follows inet_listen; a second listen changes the backlog.
func (t *Set) opListen(s *sock, r *shm.Request) syscall.Errno {
	if s.state != stOpen && s.state != stListening {
		return unix.EINVAL
	}
	if s.handle == 0 {
		return unix.ENOBUFS
	}
	if e := t.settleBind(s); e != 0 {
		return e
	}
	// The kernel compares as unsigned: a negative backlog is the maximum.
	// Zero lets one connection wait.
	n := int(min(uint32(r.Value), uint32(t.cfg.ListenBacklogMax)))
	if e := t.engine.Listen(s.handle, max(1, n)); e != 0 {
		return e
	}
	if s.state != stListening {
		t.listening = append(t.listening, s.user())
	}
	s.state = stListening
	s.flags &^= fListened
	s.backlog = int32(n)
	s.flags |= fCanWrite
	t.listeners = true
	return 0
}
