// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"
	"netcon/shm"
)

// socket carries out socket(2) of AF_INET and AF_INET6: TCP, UDP and ICMP are ours,
// the rest the kernel's. Multipath TCP is refused as by a kernel without it, so that programs
// fall back to TCP.
func (s *supervisor) socket(t *target) {
	kind, protocol := t.intArg(1), t.intArg(2)
	if t.intArg(0) == unix.AF_NETLINK {
		s.netlinkSocket(t, kind)
		return
	}
	if bare := kind &^ (unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK); bare != unix.SOCK_STREAM {
		if isDatagram(t.intArg(0), bare, protocol) {
			s.datagramSocket(t)
		} else {
			t.pass()
		}
		return
	}
	switch protocol {
	case 0, unix.IPPROTO_TCP:
	case unix.IPPROTO_MPTCP:
		t.end(0, unix.EPROTONOSUPPORT)
		return
	default:
		t.pass()
		return
	}
	r := launch.NewRequest(shm.OpSocket, 0)
	r.Family = uint16(t.intArg(0))
	// Its limits are the program's own: no option of that kind comes here.
	fd, e := s.open(t, r, &r.Cookie, shm.MarkTimed, kind&unix.SOCK_NONBLOCK)
	s.endSocket(t, fd, e, kind)
}

// endSocket ends a socket(2) of this type with the descriptor that was made, which
// is the program's then, or the error.
func (s *supervisor) endSocket(t *target, fd int, e syscall.Errno, kind int) {
	switch {
	case e == launch.Gone && s.toKernel:
		t.pass()
	case e != 0:
		t.end(0, public(e))
	default:
		t.endWithFD(fd, kind&unix.SOCK_CLOEXEC != 0)
		_ = unix.Close(fd)
	}
}

// open makes a pair and gives the daemon its end with a request that names ours.
func (s *supervisor) open(t *target, r *shm.Request, cookie *uint64, mark uint32, nonblock int) (int, syscall.Errno) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|nonblock, 0)
	if err != nil {
		return -1, unix.ENOBUFS
	}
	defer unix.Close(pair[1])
	e := launch.SetMark(pair[0], mark)
	if e == 0 {
		*cookie = launch.Cookie(pair[0])
		r.Flags |= shm.FlagSupervised
		r.Value = int32(t.process())
		_, e = s.requests.Call(r, pair[1])
	}
	if e != 0 {
		_ = unix.Close(pair[0])
		return -1, e
	}
	return pair[0], 0
}

// revive puts a new pair in the place of one that ended with a failed connect:
// Linux lets the socket try again. Duplicates of the descriptor and epoll sets
// keep the old one.
func (v *virtual) revive() syscall.Errno {
	nonblock := unix.SOCK_NONBLOCK
	if v.blocks() {
		nonblock = 0
	}
	r := v.request(shm.OpRevive)
	fd, e := v.open(&v.target, r, &r.Successor, shm.MarkUsed, nonblock)
	if e != 0 {
		return e
	}
	if e := v.replaceFD(fd, v.intArg(0)); e != 0 {
		_ = unix.Close(fd)
		return e
	}
	_ = unix.Close(v.fd)
	v.fd, v.mark = fd, shm.MarkUsed
	return 0
}
