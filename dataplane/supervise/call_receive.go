// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"encoding/binary"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"

	"netcon/shm"
)

// Offsets in struct msghdr and struct iovec of a 64-bit program.
const (
	msghdrSize       = 56
	msgNameLen       = 8
	msgIov           = 16
	msgIovLen        = 24
	msgControl       = 32
	msgControlLen    = 40
	msgFlags         = 48
	iovecSize        = 16
	iovecLen         = 8
	iovecMax         = 1024 // UIO_MAXIOV
	discardAtOnce    = 4096
	discardAtMostMiB = 64
)

// discarding is a receive that takes bytes without copying them.
type discarding struct {
	virtual
	room   uint64
	flags  int
	header uint64 // address of the msghdr, 0: recvfrom
	until  time.Time
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
	d := &discarding{virtual: *v, flags: flags &^ unix.MSG_TRUNC}
	var e syscall.Errno
	if v.call.nr == unix.SYS_RECVMSG {
		d.header = v.arg(1)
		d.room, e = v.roomOf(d.header)
	} else {
		d.room = v.arg(2)
	}
	if e != 0 {
		v.end(0, e)
		return nil
	}
	d.room = min(d.room, discardAtMostMiB<<20)
	if d.try() {
		return nil
	}
	if flags&unix.MSG_DONTWAIT != 0 || !v.blocks() {
		v.end(0, unix.EAGAIN)
		return nil
	}
	d.until = v.deadline(unix.SO_RCVTIMEO)
	return v.parking.add(d)
}

// roomOf adds up the lengths in a msghdr.
func (v *virtual) roomOf(header uint64) (room uint64, e syscall.Errno) {
	h, e := v.read(header, msghdrSize)
	if e != 0 {
		return 0, e
	}
	n := binary.NativeEndian.Uint64(h[msgIovLen:])
	if n > iovecMax {
		return 0, unix.EMSGSIZE
	}
	spans, e := v.read(binary.NativeEndian.Uint64(h[msgIov:]), int(n)*iovecSize)
	if e != 0 {
		return 0, e
	}
	for ; len(spans) > 0; spans = spans[iovecSize:] {
		room += min(binary.NativeEndian.Uint64(spans[iovecLen:]), discardAtMostMiB<<20)
	}
	return room, 0
}

func (d *discarding) waitsFor() (int, uint32) { return d.fd, unix.EPOLLIN }

// try takes what is there, and ends the call unless that is nothing.
func (d *discarding) try() bool {
	var scratch [discardAtOnce]byte
	done := uint64(0)
	for done < d.room {
		n, _, err := unix.Recvfrom(d.fd, scratch[:min(d.room-done, discardAtOnce)], d.flags|unix.MSG_DONTWAIT)
		if err != nil && done == 0 {
			if err == unix.EAGAIN {
				return false
			}
			d.end(0, launch.Errno(err))
			return true
		}
		done += uint64(max(n, 0))
		if n < discardAtOnce || d.flags&unix.MSG_PEEK != 0 {
			break
		}
	}
	d.finish(done)
	return true
}

// finish says what came beside the bytes: nothing.
func (d *discarding) finish(n uint64) {
	var e syscall.Errno
	switch {
	case d.header != 0:
		zero := make([]byte, 8)
		for _, at := range []uint64{msgControlLen, msgFlags, msgNameLen} {
			size := 4
			if at == msgControlLen {
				size = 8
			}
			if e == 0 {
				e = d.write(d.header+at, zero[:size])
			}
		}
	case d.arg(5) != 0:
		e = d.writeLen(d.arg(5), 0)
	}
	d.end(int64(n), e)
}

func (d *discarding) interrupt() bool {
	return d.endIfInterrupted(d.until)
}
