// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"syscall"

	"netcon/shm"

	"golang.org/x/sys/unix"
)

// opShutdown follows inet_shutdown. Closing a direction of our end is what the
// application's own shutdown(2) on its end would do, so bytes under way are
// kept and it does not matter whether it does both.
func (t *Set) opShutdown(s *sock, r *shm.Request) syscall.Errno {
	if r.Value < unix.SHUT_RD || r.Value > unix.SHUT_RDWR {
		return unix.EINVAL
	}
	if r.Flags&shm.FlagProbe != 0 {
		if s.state == stOpen && s.has(fListened) {
			t.wakeAcceptor(s)
		}
		return 0
	}
	read, write := r.Value != unix.SHUT_WR, r.Value != unix.SHUT_RD
	switch s.state {
	case stListening:
		if !read {
			return 0
		}
		t.dropPending(s)
		t.wakeAcceptor(s)
		s.flags |= fListened
		return t.reopen(s)
	case stConnecting:
		t.wakeWaiters(s, unix.ECONNRESET)
		t.discardFiller(s, s.skip)
		s.skip = 0
		return t.reopen(s)
	case stConnected, stFailed:
		if read && write {
			s.flags |= fShut
		}
		if write {
			shutdown(s.fd, unix.SHUT_RD)
			s.flags |= fCanRead | fRdHup
		}
		if read {
			shutdown(s.fd, unix.SHUT_WR)
			s.flags |= fCanWrite
		}
		t.enqueue(s)
		return 0
	}
	return unix.ENOTCONN
}

// wakeAcceptor sends the record that is no connection. One who sleeps in accept
// takes it and asks for the next; the last one stays, for those who poll. When
// something lies in the pair nobody sleeps.
func (t *Set) wakeAcceptor(s *sock) {
	if unread(s.fd) > 0 {
		return
	}
	rec := shm.Accept{Magic: shm.Magic, Ended: 1}
	_, _ = send(s.fd, shm.AcceptBytes(&rec))
}
