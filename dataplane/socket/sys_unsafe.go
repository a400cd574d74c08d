// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of the pump go through Syscall although they do not wait:
// RawSyscall would save 70 to 100 ns each (BenchmarkPumpOne, 2.3 us), but
// kernel memory may have to be reclaimed first, or an application may hold the
// lock of a duplicate (Limits), and then the collector would stand still.

const sendFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL

// recv reads from a stream into one span.
func recv(fd int32, p []byte) (int, syscall.Errno) {
	n, _, e := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		unix.MSG_DONTWAIT, 0, 0)
	return int(n), e
}

// send writes one span or one record.
func send(fd int32, p []byte) (int, syscall.Errno) {
	n, _, e := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		sendFlags, 0, 0)
	return int(n), e
}

// message is a reusable msghdr with up to two spans. It is kept on the heap, in
// a Set: the kernel sees its address.
type message struct {
	hdr unix.Msghdr
	iov [2]unix.Iovec
	ctl [controlRoom]byte
}

func (m *message) set(first, second []byte) {
	m.iov[0].Base = unsafe.SliceData(first)
	m.iov[0].SetLen(len(first))
	m.iov[1].Base = unsafe.SliceData(second)
	m.iov[1].SetLen(len(second))
	m.hdr = unix.Msghdr{Iov: &m.iov[0]}
	m.hdr.SetIovlen(2)
}

// recv reads from a stream into two spans. Fds that come along are dropped by
// the kernel.
func (m *message) recv(fd int32, first, second []byte) (int, syscall.Errno) {
	m.set(first, second)
	n, _, e := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.hdr)), unix.MSG_DONTWAIT)
	return int(n), e
}

// send writes two spans.
func (m *message) send(fd int32, first, second []byte) (int, syscall.Errno) {
	m.set(first, second)
	n, _, e := unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.hdr)), sendFlags)
	return int(n), e
}

// recvControl reads one record with its control messages; flags tells about
// truncation.
func (m *message) recvControl(fd int32, p []byte) (n int, control []byte, flags int, e syscall.Errno) {
	m.set(p, nil)
	m.hdr.SetIovlen(1)
	m.hdr.Control = &m.ctl[0]
	m.hdr.SetControllen(len(m.ctl))
	r, _, e := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.hdr)), unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if e != 0 {
		return 0, nil, 0, e
	}
	return int(r), m.ctl[:m.hdr.Controllen], int(m.hdr.Flags), 0
}

// sendFD writes one record with one fd.
func (m *message) sendFD(fd int32, p []byte, pass int32) syscall.Errno {
	m.set(p, nil)
	m.hdr.SetIovlen(1)
	h := (*unix.Cmsghdr)(unsafe.Pointer(&m.ctl[0]))
	h.Level, h.Type = unix.SOL_SOCKET, unix.SCM_RIGHTS
	h.SetLen(unix.CmsgLen(4))
	*(*int32)(unsafe.Pointer(&m.ctl[unix.CmsgLen(0)])) = pass
	m.hdr.Control = &m.ctl[0]
	m.hdr.SetControllen(unix.CmsgSpace(4))
	_, _, e := unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.hdr)), sendFlags)
	return e
}

// sockInt reads an int-sized option of a kernel socket.
func sockInt(fd int32, opt int) (int32, syscall.Errno) {
	var v int32
	l := uint32(4)
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, uintptr(opt),
		uintptr(unsafe.Pointer(&v)), uintptr(unsafe.Pointer(&l)), 0)
	return v, e
}

func setSockInt(fd int32, opt int, v int32) syscall.Errno {
	_, _, e := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, uintptr(opt),
		uintptr(unsafe.Pointer(&v)), 4, 0)
	return e
}

// cookieOf asks for a socket's identity, SO_COOKIE.
func cookieOf(fd int32) (uint64, syscall.Errno) {
	var v uint64
	l := uint32(8)
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_COOKIE,
		uintptr(unsafe.Pointer(&v)), uintptr(unsafe.Pointer(&l)), 0)
	return v, e
}

// queued returns how many bytes lie unread in a socket, SIOCINQ.
func queued(fd int32) int {
	var v int32
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCINQ, uintptr(unsafe.Pointer(&v))); e != 0 {
		return 0
	}
	return int(v)
}

// unread returns how much of what we wrote the other end has not read, SIOCOUTQ:
// memory, not bytes.
func unread(fd int32) int {
	var v int32
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCOUTQ, uintptr(unsafe.Pointer(&v))); e != 0 {
		return 0
	}
	return int(v)
}

// hungUp asks whether both directions of a stream are shut: its other end was
// closed.
func hungUp(fd int32) bool {
	p := unix.PollFd{Fd: fd}
	var zero unix.Timespec
	n, _, _ := unix.Syscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&zero)), 0, 0, 0)
	return n == 1 && p.Revents&unix.POLLHUP != 0
}

func shutdown(fd int32, how int) {
	_, _, _ = unix.Syscall(unix.SYS_SHUTDOWN, uintptr(fd), uintptr(how), 0)
}

func closeFD(fd int32) {
	_, _, _ = unix.Syscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
}

// streamPair makes a pair for an accepted connection: ours, the application's.
// Not non-blocking: that is the application's choice.
func streamPair() (ours, theirs int32, e syscall.Errno) {
	var p [2]int32
	_, _, e = unix.Syscall6(unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0,
		uintptr(unsafe.Pointer(&p)), 0, 0)
	return p[0], p[1], e
}
