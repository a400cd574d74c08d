// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"syscall"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

// opSocket registers a virtual socket whose daemon's end is fd.
func (t *Set) opSocket(r *shm.Request, fd int32, pid int32, uid uint32) syscall.Errno {
	f, ok := familyOf(r.Family)
	if !ok {
		t.janitor.close(fd)
		return unix.EAFNOSUPPORT
	}
	t.noRights = setSockInt(fd, soPassRights, 0) == 0
	// A fresh pair is empty, and an SO_COOKIE is never given twice.
	if r.Cookie == 0 || t.byCookie[r.Cookie] != nil || t.tombs.find(r.Cookie) != nil || queued(fd) > 0 {
		t.stat.Drop(stat.DropControlMalformed)
		t.janitor.close(fd)
		return unix.EINVAL
	}
	s := t.slab.alloc()
	if s == nil {
		t.closeStream(fd)
		return unix.EMFILE
	}
	h, e := t.openEngine(s, f, r)
	if e != 0 {
		t.closeStream(fd)
		t.slab.release(s)
		return e
	}
	s.handle = h
	t.register(s, fd, r.Cookie, f)
	s.state, s.pid, s.uid = stOpen, pid, uid
	s.flags |= fForked
	if s.dgram != nil {
		s.state = stDatagram
	}
	if r.Flags&shm.FlagSupervised != 0 {
		s.flags = s.flags&^fForked | fSupervised
		s.pid = r.Value
	}
	if !t.watch(s) {
		t.of(s).Close(h)
		t.drop(s)
		return unix.ENOBUFS
	}
	return 0
}

// opRevive registers a socket in the place of one whose connect failed, with
// its options, and its address if it was bound.
func (t *Set) opRevive(r *shm.Request, fd int32, pid int32, uid uint32) syscall.Errno {
	d := t.tombs.find(r.Cookie)
	if d == nil || d.peer || t.nowForAge().Sub(d.when) > tombAge {
		t.janitor.close(fd)
		return unix.ECONNABORTED
	}
	old := *d
	born := shm.Request{Cookie: r.Successor, Family: afOf(old.family), Flags: r.Flags, Value: r.Value}
	if e := t.opSocket(&born, fd, pid, uid); e != 0 {
		return e
	}
	t.tombs.forget(r.Cookie)
	s := t.byCookie[r.Successor]
	s.opts = old.opts
	t.replayOptions(s)
	if old.bound {
		s.asked = old.asked
		s.flags |= fBound
		return t.rebind(s)
	}
	return 0
}

// soPassRights is SO_PASSRIGHTS, Linux 6.16: 0 refuses SCM_RIGHTS to a socket.
const soPassRights = unix.SO_PASSRIGHTS

// register fills in what sockets of every origin have.
func (t *Set) register(s *sock, fd int32, cookie uint64, f stream.Family) {
	s.set, s.fd, s.cookie, s.family = t, fd, cookie, f
	// Urgent bytes stay where they are in the stream; without it the kernel
	// would drop them from what we read.
	_ = setSockInt(fd, unix.SO_OOBINLINE, 1)
	s.born = t.nowForAge()
	t.byCookie[cookie] = s
	t.stat.Count(stat.SocketsOpened)
}

// widen raises what the kernel holds for an application that does not read.
func (t *Set) widen(s *sock) {
	if t.cfg.SendBuffer > 0 {
		_ = setSockInt(s.fd, unix.SO_SNDBUF, int32(t.cfg.SendBuffer))
	}
}

// reopen gives a socket a fresh engine handle in the place of one that is of no
// more use, with its options, and its address if it was bound: Linux lets a
// socket try again after a connect that failed.
func (t *Set) reopen(s *sock) syscall.Errno {
	if s.handle != 0 {
		t.of(s).Close(s.handle)
	}
	t.takeBuffers(s)
	s.pair.Init()
	s.pair.State = stream.State{}
	s.handle = 0
	t.listeners = t.listeners || s.state == stListening
	s.state = stOpen
	s.flags &^= fTxEnd | fRxEnd | fRxDrop | fRxMemory | fAccept | fClaimed | fHold | fHost | fResolver
	h, e := t.engine.Open(s.family, s.user())
	if e != 0 {
		return e
	}
	s.handle = h
	t.replayOptions(s)
	if s.has(fBound) {
		return t.rebind(s)
	}
	return 0
}

// rebind gives a fresh handle the address that was asked for. A port that was
// not asked for is not kept (SOCK_BINDPORT_LOCK). Where connections of the port
// are in the way it waits until the socket is used, as inet_csk_listen_start.
func (t *Set) rebind(s *sock) syscall.Errno {
	s.flags &^= fRebind
	if s.asked.Port() == 0 && s.asked.Addr().Unmap().IsUnspecified() {
		s.flags &^= fBound
		return 0
	}
	e := t.engine.Bind(s.handle, s.asked)
	if e == unix.EADDRINUSE {
		s.flags |= fRebind
		return 0
	}
	return e
}

// settleBind does what rebind put off, and fails if it must.
func (t *Set) settleBind(s *sock) syscall.Errno {
	if !s.has(fRebind) {
		return 0
	}
	e := t.engine.Bind(s.handle, s.asked)
	if e == 0 {
		s.flags &^= fRebind
	}
	return e
}
