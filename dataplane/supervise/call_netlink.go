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

// sockaddrNl is the size of struct sockaddr_nl.
const sockaddrNl = 12

// netlinkSocket carries out socket(2) of AF_NETLINK, NETLINK_ROUTE.
func (s *supervisor) netlinkSocket(t *target, kind int) {
	fd, e := launch.OpenNetlink(s.requests, t.process(), kind&unix.SOCK_NONBLOCK)
	s.endSocket(t, fd, e, kind)
}

// netlink carries out a call on a socket that asks for interfaces.
func (v *virtual) netlink() {
	var e syscall.Errno
	switch v.call.nr {
	case unix.SYS_BIND, unix.SYS_CONNECT:
		e = v.netlinkBind()
	case unix.SYS_GETSOCKNAME:
		e = v.netlinkName()
	case unix.SYS_SENDTO:
		v.sendNetlink()
		v.close()
		return
	case unix.SYS_RECVFROM:
		if v.arg(4) != 0 {
			if v.receiveNetlink() != errParked {
				v.close()
			}
			return
		}
		fallthrough
	default:
		v.pass()
		v.close()
		return
	}
	v.end(0, e)
	v.close()
}

// answerTime bounds the wait for the answer to what a program sent.
const answerTime = 500 * time.Millisecond

// sendNetlink carries out sendto. The kernel has answered when a send returns, and
// musl counts on it.
func (v *virtual) sendNetlink() {
	b, e := v.read(v.arg(1), int(min(v.arg(2), sendAtOnce)))
	if e != 0 {
		v.end(0, e)
		return
	}
	n, err := unix.SendmsgN(v.fd, b, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	if err == nil {
		p := []unix.PollFd{{Fd: int32(v.fd), Events: unix.POLLIN}}
		_, _ = unix.Poll(p, int(answerTime.Milliseconds()))
	}
	v.end(int64(max(n, 0)), launch.Errno(err))
}

// netlinkBind carries out bind, and connect to the kernel, which changes nothing.
func (v *virtual) netlinkBind() syscall.Errno {
	if n := v.intArg(2); n < sockaddrNl || n > sockaddrMax {
		return unix.EINVAL
	}
	b, e := v.read(v.arg(1), sockaddrNl)
	if e != 0 {
		return e
	}
	if binary.NativeEndian.Uint16(b) != unix.AF_NETLINK {
		return unix.EINVAL
	}
	r := v.request(shm.OpBind)
	r.Addr.Family, r.Addr.Scope = unix.AF_NETLINK, binary.NativeEndian.Uint32(b[4:])
	_, e = v.ask(r)
	return e
}

func (v *virtual) netlinkName() syscall.Errno {
	room, e := v.readLen(v.arg(2))
	if e != 0 {
		return e
	}
	reply, e := v.ask(v.request(shm.OpGetsockname))
	if e != 0 {
		return e
	}
	return v.writeNl(reply.Addr.Scope, v.arg(1), v.arg(2), room)
}

// writeNl writes the address of a port id.
func (t *target) writeNl(port uint32, address, lenAddress uint64, room int) syscall.Errno {
	b := binary.NativeEndian.AppendUint16(nil, unix.AF_NETLINK)
	b = binary.NativeEndian.AppendUint16(b, 0)
	b = binary.NativeEndian.AppendUint32(b, port)
	b = binary.NativeEndian.AppendUint32(b, 0)
	if e := t.write(address, b[:min(room, len(b))]); e != 0 {
		return e
	}
	return t.writeLen(lenAddress, len(b))
}

// listening is a recvfrom with an address, which may wait for an answer.
type listening struct {
	waiting
	room, nameRoom int
	flags          int
}

// receiveNetlink carries out recvfrom with an address: Go's own packages look at
// its family.
func (v *virtual) receiveNetlink() error {
	l := &listening{waiting: waiting{virtual: *v}, flags: v.intArg(3), room: int(min(v.arg(2), sendAtOnce))}
	var e syscall.Errno
	if l.nameRoom, e = v.readLen(v.arg(5)); e != 0 {
		v.end(0, e)
		return nil
	}
	return l.tryOrWait(l, l.flags, unix.EPOLLIN)
}

func (l *listening) try() bool {
	b := make([]byte, l.room)
	n, _, err := unix.Recvfrom(l.fd, b, l.flags|unix.MSG_DONTWAIT)
	if err == unix.EAGAIN {
		return false
	}
	if err != nil {
		l.end(0, launch.Errno(err))
		return true
	}
	e := l.write(l.arg(1), b[:min(n, len(b))])
	if e == 0 {
		e = l.writeNl(0, l.arg(4), l.arg(5), l.nameRoom)
	}
	l.end(int64(n), e)
	return true
}
