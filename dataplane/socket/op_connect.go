// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"net/netip"
	"syscall"

	"netcon/dataplane/stat"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

// opConnect follows __inet_stream_connect. With FlagWait the answer comes when
// the connection is decided, otherwise at once. A process that stopped waiting
// (a signal) leaves the connect going on.
func (t *Set) opConnect(s *sock, r *shm.Request, replyFD int32) {
	if r.Flags&shm.FlagProbe != 0 {
		t.answer(replyFD, t.probe(s))
		return
	}
	filler := int(min(r.Filler, 1<<20))
	if r.Flags&(shm.FlagHold|shm.FlagFilled) != 0 {
		t.answer(replyFD, t.hold(s, r.Flags, filler))
		return
	}
	wait := r.Flags&shm.FlagWait != 0
	if s.state == stConnecting && wait && r.Addr.Family != unix.AF_UNSPEC && len(s.waiters) < maxWaiters {
		t.discardFiller(s, filler)
		s.waiters = append(s.waiters, replyFD)
		return
	}
	e := t.startConnect(s, r, filler)
	if e == unix.EINPROGRESS && wait {
		s.waiters = append(s.waiters, replyFD)
		return
	}
	t.answer(replyFD, e)
}

// startConnect does what a connect that does not wait does. The filler of a
// request that does not start a connection is taken out of the pair.
func (t *Set) startConnect(s *sock, r *shm.Request, filler int) syscall.Errno {
	var e syscall.Errno
	switch {
	case r.Addr.Family == unix.AF_UNSPEC:
		e = t.dissolve(s)
	case s.state == stConnected && !s.has(fClaimed):
		// The first call after a connect that did not wait succeeded.
		s.flags |= fClaimed
	case s.state == stOpen && s.errno == 0:
		if e = t.open(s, r); e == unix.EINPROGRESS {
			s.skip, s.skipAt = filler, 0
			return e
		}
	default:
		e = t.probe(s)
	}
	t.discardFiller(s, filler)
	return e
}

// probe says whether a connect could start now. A pending error is taken.
func (t *Set) probe(s *sock) syscall.Errno {
	switch s.state {
	case stOpen:
		e := s.errno
		s.errno = 0
		return e
	case stConnecting:
		return unix.EALREADY
	}
	return unix.EISCONN
}

// hold lets a connect that was interrupted fill its pair: nothing is read from
// it until we know how much of it is filler.
func (t *Set) hold(s *sock, flags uint32, filler int) syscall.Errno {
	if flags&shm.FlagHold != 0 {
		if s.state != stConnecting {
			return 0
		}
		s.flags |= fHold
		return unix.EALREADY
	}
	if !s.has(fHold) {
		return unix.EINVAL
	}
	s.flags &^= fHold
	s.skip, s.skipAt = filler, 0
	if s.state == stConnected {
		s.flags |= fCanRead
		t.enqueue(s)
	}
	return 0
}

// open asks the engine for an active open.
func (t *Set) open(s *sock, r *shm.Request) syscall.Errno {
	remote, e := decodeAddr(&r.Addr, s.family)
	if e != 0 {
		return misfit(s, r, e)
	}
	if s.handle == 0 {
		return unix.ENOBUFS
	}
	remote, e = t.destination(s, remote)
	if e != 0 {
		return e
	}
	switch {
	case t.isNameserver(s, remote):
		e = t.moveToResolver(s, remote.Addr())
	case t.goesOut(s, remote.Addr()):
		e = t.moveOut(s, remote.Addr())
	default:
		if e = t.settleBind(s); e == 0 {
			t.reapListeners(remote.Port())
		}
	}
	if e != 0 {
		return e
	}
	t.of(s).Attach(s.handle, &s.pair)
	e = t.of(s).Connect(s.handle, remote)
	if e == 0 {
		e = unix.EINPROGRESS
	}
	if e != unix.EINPROGRESS {
		t.stat.Count(stat.ConnectFails)
		if s.has(fHost) {
			_ = t.reopen(s) // the next destination may be the container's
		}
		return e
	}
	s.state, s.remote = stConnecting, remote
	s.flags &^= fListened
	t.widen(s)
	return e
}

// destination checks where a connect may go as tcp_v4_connect and
// tcp_v6_connect do; the unspecified address means this host.
func (t *Set) destination(s *sock, ap netip.AddrPort) (netip.AddrPort, syscall.Errno) {
	ip := ap.Addr()
	v4 := ip.Unmap()
	switch {
	case ip.Is4In6() && t.v6Only(s), v4.IsMulticast(), v4 == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return ap, unix.ENETUNREACH
	case ip == netip.IPv6Unspecified():
		ip = netip.IPv6Loopback()
	case v4 == netip.IPv4Unspecified():
		v4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		if ip.Is4In6() {
			ip = netip.AddrFrom16(v4.As16())
		} else {
			ip = v4
		}
	}
	return netip.AddrPortFrom(ip, ap.Port()), 0
}

// dissolve is connect to AF_UNSPEC, tcp_disconnect.
func (t *Set) dissolve(s *sock) syscall.Errno {
	switch s.state {
	case stOpen:
		return 0
	case stListening:
		t.dropPending(s)
		return t.reopen(s)
	case stConnecting:
		t.wakeWaiters(s, unix.ECONNRESET)
		t.discardFiller(s, s.skip)
		s.skip = 0
		return t.reopen(s)
	case stConnected:
		if s.has(fTxEnd | fRxEnd | fRxDrop | fShut | fHold) {
			return unix.EOPNOTSUPP // a direction of the pair is shut for good
		}
		t.stat.Count(stat.Resets)
		t.of(s).Abort(s.handle)
		s.handle = 0
		t.emptyPair(s)
		return t.reopen(s)
	}
	return unix.EOPNOTSUPP
}

// emptyPair drops what the application wrote and the engine did not get.
func (t *Set) emptyPair(s *sock) {
	for {
		n, e := recv(s.fd, t.scratch)
		if e != unix.EINTR && (e != 0 || n == 0) {
			break
		}
	}
	s.skip, s.skipAt = 0, 0
}

// discardFiller takes n bytes of filler that a request just wrote out of the
// pair. On a connection they lie behind bytes that are to be sent.
func (t *Set) discardFiller(s *sock, n int) {
	if n == 0 || s.fd < 0 {
		return
	}
	if s.state == stConnected {
		if s.skip == 0 {
			s.skipAt = max(0, queued(s.fd)-n)
		}
		s.skip += n
		s.flags |= fCanRead
		t.enqueue(s)
		return
	}
	for n > 0 {
		m, e := recv(s.fd, t.scratch[:min(n, len(t.scratch))])
		if e == unix.EINTR {
			continue
		}
		if e != 0 || m == 0 {
			return
		}
		n -= m
	}
}

// wakeWaiters answers the connects that wait and reports whether one of them
// was still there.
func (t *Set) wakeWaiters(s *sock, e syscall.Errno) (heard bool) {
	for _, fd := range s.waiters {
		t.reply = shm.Reply{}
		heard = t.answerValue(fd, int32(e)) || heard
	}
	s.waiters = nil
	return heard
}
