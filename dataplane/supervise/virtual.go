// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"
	"netcon/shm"
)

// virtual is a virtual socket that a call is about.
type virtual struct {
	*supervisor
	target
	fd    int // our descriptor of the application's end
	mark  uint32
	known uint64 // under what the daemon knows it; 0: SO_COOKIE of fd
}

func (v *virtual) close() { _ = unix.Close(v.fd) }

// end ends the call.
func (v *virtual) end(val int64, e syscall.Errno) { v.target.end(val, public(e)) }

// markOf reads the mark of a descriptor; 0: it is none of ours.
func markOf(fd int) uint32 {
	m, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE)
	switch mark := uint32(m); {
	case err != nil:
		return 0
	case mark >= shm.MarkFresh && mark <= shm.MarkShut, mark == shm.MarkNetlink, mark == shm.MarkPlain:
		return mark
	}
	return 0
}

// move sets another mark, and takes away the limit for reads that the preload
// library gives to fresh sockets (preload/mark.h).
func (v *virtual) move(mark uint32) syscall.Errno {
	if v.mark == shm.MarkFresh {
		_ = unix.SetsockoptTimeval(v.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{})
	}
	return launch.SetMark(v.fd, mark)
}

// request begins a request about the socket.
func (v *virtual) request(op uint16) *shm.Request {
	cookie := v.known
	if cookie == 0 {
		cookie = launch.Cookie(v.fd)
	}
	return launch.NewRequest(op, cookie)
}

// ask asks about the socket. The program's call makes no descriptor, so it is
// not told of a full table.
func (v *virtual) ask(r *shm.Request) (*shm.Reply, syscall.Errno) { return v.requests.Call(r, -1) }

// blocks reports whether calls on the descriptor wait.
func (v *virtual) blocks() bool {
	flags, err := unix.FcntlInt(uintptr(v.fd), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_NONBLOCK == 0
}

// deadline is when a call that begins now has waited for as long as SO_RCVTIMEO or
// SO_SNDTIMEO says; zero: never.
func (v *virtual) deadline(option int) (t time.Time) {
	tv, err := unix.GetsockoptTimeval(v.fd, unix.SOL_SOCKET, option)
	if err == nil && tv.Nano() > 0 {
		t = time.Now().Add(time.Duration(tv.Nano()))
	}
	return t
}

// drain drops what lies unread in the pair. Descriptors that come along are
// closed by the kernel: connections of a listener end, and are reset.
func (v *virtual) drain() {
	var scratch [4096]byte
	for {
		n, _, err := unix.Recvfrom(v.fd, scratch[:], unix.MSG_DONTWAIT)
		if err != nil || n == 0 {
			return
		}
	}
}
