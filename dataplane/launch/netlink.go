// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/shm"
)

// nameTries is how many names are tried for the daemon's end.
const nameTries = 256

// OpenNetlink makes a socket that asks for the container's interfaces, for a
// program with the port id port (preload/netlink.c).
func OpenNetlink(q *Requests, port, nonblock int) (int, syscall.Errno) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|nonblock, 0)
	if err != nil {
		return -1, unix.ENOBUFS
	}
	defer unix.Close(pair[1])
	r := NewRequest(shm.OpNetlink, Cookie(pair[0]))
	r.Value = int32(port)
	nameEnd(pair[1], r.Cookie)
	e := SetMark(pair[0], shm.MarkNetlink)
	if e == 0 {
		_, e = q.Call(r, pair[1])
	}
	if e != 0 {
		_ = unix.Close(pair[0])
		return -1, e
	}
	return pair[0], 0
}

// nameEnd gives the daemon's end a name that reads as the kernel's sockaddr_nl
// behind the family.
func nameEnd(fd int, cookie uint64) {
	for i := range uint64(nameTries) {
		groups := uint32(0)
		if i >= nameTries/2 {
			groups = uint32(cookie >> 8)
		}
		name := []byte{0, byte(cookie + i), 0, 0, 0, 0, byte(groups), byte(groups >> 8), byte(groups >> 16), byte(groups >> 24)}
		// x/sys takes a leading @ for the NUL of an abstract name.
		name[0] = '@'
		if unix.Bind(fd, &unix.SockaddrUnix{Name: string(name)}) != unix.EADDRINUSE {
			return
		}
	}
}
