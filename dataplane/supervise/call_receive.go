// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"

	"netcon/shm"
)

// Offsets in struct msghdr and struct iovec of a 64-bit program.
const (
	msghdrSize    = 56
	msgNameLen    = 8
	msgIov        = 16
	msgIovLen     = 24
	msgControl    = 32
	msgControlLen = 40
	msgFlags      = 48
	iovecSize     = 16
	iovecLen      = 8
	iovecMax      = 1024 // UIO_MAXIOV
	discardAtOnce = 4096
	discardAtMost = 64 << 20
)

// discarding is a receive that takes bytes without copying them.
type discarding struct {
	waiting
	m     message
	room  int
	flags int
}

// receive carries out recvfrom(2) and recvmsg(2) with flags that a pair does not
// know.
func (v *virtual) receive(flags int) error {
	if flags&(unix.MSG_TRUNC|unix.MSG_ERRQUEUE) == 0 {
		v.pass() // with an address, which a stream has not
		return nil
	}
	if v.mark == shm.MarkListen || v.mark == shm.MarkShut {
		e := unix.ENOTCONN
		if flags&unix.MSG_ERRQUEUE != 0 {
			e = unix.EAGAIN
		}
		v.end(0, e)
		return nil
	}
	if flags&unix.MSG_ERRQUEUE != 0 {
		v.end(0, unix.EAGAIN)
		return nil
	}
	m, e := v.readMessage(0)
	if e != 0 {
		v.end(0, e)
		return nil
	}
	d := &discarding{waiting: waiting{virtual: *v}, m: m, room: m.size(discardAtMost), flags: flags &^ unix.MSG_TRUNC}
	return d.tryOrWait(d, flags, unix.EPOLLIN)
}

// try takes what is there, and ends the call unless that is nothing.
func (d *discarding) try() bool {
	var scratch [discardAtOnce]byte
	done := 0
	for done < d.room {
		n, _, err := unix.Recvfrom(d.fd, scratch[:min(d.room-done, discardAtOnce)], d.flags|unix.MSG_DONTWAIT)
		if err != nil && done == 0 {
			if err == unix.EAGAIN {
				return false
			}
			d.end(0, launch.Errno(err))
			return true
		}
		done += max(n, 0)
		if n < discardAtOnce || d.flags&unix.MSG_PEEK != 0 {
			break
		}
	}
	d.finish(done)
	return true
}

// finish says what came beside the bytes: nothing.
func (d *discarding) finish(n int) {
	var e syscall.Errno
	switch {
	case d.m.header != 0:
		zero := make([]byte, 8)
		for _, at := range []uint64{msgControlLen, msgFlags, msgNameLen} {
			size := 4
			if at == msgControlLen {
				size = 8
			}
			if e == 0 {
				e = d.write(d.m.header+at, zero[:size])
			}
		}
	case d.m.name != 0:
		e = d.writeLen(d.m.nameLen, 0)
	}
	d.end(int64(n), e)
}
