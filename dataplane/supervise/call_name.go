// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"encoding/binary"
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"
	"netcon/shm"
)

// bind carries out bind(2). AF_UNSPEC means AF_INET if the address is INADDR_ANY
// (inet_bind).
func (v *virtual) bind() syscall.Errno {
	r := v.request(shm.OpBind)
	length := v.intArg(2)
	var e syscall.Errno
	if r.Addr, e = v.readSockaddr(v.arg(1), length); e != 0 {
		return e
	}
	if r.Addr.Family == unix.AF_UNSPEC {
		switch {
		case length < sockaddrIn:
			return unix.EINVAL
		case [4]uint8(r.Addr.Ip[:4]) != [4]uint8{}:
			return unix.EAFNOSUPPORT
		}
		r.Addr.Family = unix.AF_INET
	}
	r.Value = int32(length)
	_, e = v.ask(r)
	return e
}

func (v *virtual) getsockname() syscall.Errno { return v.name(shm.OpGetsockname) }

func (v *virtual) getpeername() syscall.Errno {
	e := v.name(shm.OpGetpeername)
	if e == launch.Gone {
		return unix.ENOTCONN
	}
	return e
}

func (v *virtual) name(op uint16) syscall.Errno {
	room, e := v.readLen(v.arg(2))
	if e != 0 {
		return e
	}
	reply, e := v.ask(v.request(op))
	if e != 0 {
		return e
	}
	return v.writeSockaddr(&reply.Addr, v.arg(1), v.arg(2), room)
}

// outq carries out ioctl(SIOCOUTQ) and ioctl(SIOCOUTQNSD): what is on its way to
// the peer.
func (v *virtual) outq() syscall.Errno {
	r := v.request(shm.OpOutq)
	if v.arg(1) == siocOutqNsd {
		r.Value = 1
	}
	reply, e := v.ask(r)
	if e != 0 && e != launch.Gone {
		return e
	}
	return v.write(v.arg(2), binary.NativeEndian.AppendUint32(nil, uint32(reply.Value)))
}
