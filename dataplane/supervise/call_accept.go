// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"
	"netcon/shm"
)

// accepting is an accept, which may wait for a connection.
type accepting struct {
	waiting
	flags int
	room  int
}

// accept carries out accept(2) and accept4(2).
func (v *virtual) accept(flags int) error {
	a := &accepting{waiting: waiting{virtual: *v}, flags: flags}
	switch {
	case v.mark != shm.MarkListen, flags&^(unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK) != 0:
		v.end(0, unix.EINVAL)
		return nil
	}
	if v.arg(1) != 0 {
		var e syscall.Errno
		if a.room, e = v.readLen(v.arg(2)); e != 0 {
			v.end(0, e)
			return nil
		}
	}
	if !v.hasRoom() {
		v.end(0, unix.EMFILE) // and the connection stays where it is
		return nil
	}
	return a.tryOrWait(a, 0, unix.EPOLLIN)
}

// try takes a connection, if there is one, and ends the call.
func (a *accepting) try() bool {
	for {
		var record shm.Accept
		conn, e := launch.ReceiveConnection(a.fd, &record)
		switch {
		case e == unix.EAGAIN:
			return false
		case e == unix.ESHUTDOWN && markOf(a.fd) == shm.MarkListen:
			continue // it listens again
		case e == unix.ESHUTDOWN:
			// Tells the next one who sleeps.
			r := a.request(shm.OpShutdown)
			r.Flags = shm.FlagProbe
			_, _ = a.ask(r)
			a.end(0, unix.EINVAL)
		case e == launch.Gone && markOf(a.fd) != shm.MarkListen:
			a.end(0, unix.EINVAL)
		case e != 0:
			a.end(0, e)
		default:
			a.hand(conn, &record)
			_ = unix.Close(conn)
		}
		return true
	}
}

// hand gives the program a connection.
func (a *accepting) hand(conn int, record *shm.Accept) {
	_ = unix.SetNonblock(conn, a.flags&unix.SOCK_NONBLOCK != 0)
	if a.arg(1) != 0 {
		if e := a.writeSockaddr(&record.Peer, a.arg(1), a.arg(2), a.room); e != 0 {
			a.end(0, e)
			return
		}
	}
	a.endWithFD(conn, a.flags&unix.SOCK_CLOEXEC != 0)
}
