// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/shm"
)

// SetMark marks the application's end of a pair (shm/abi.h, enum nc_mark).
func SetMark(fd int, mark uint32) syscall.Errno {
	return Errno(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, int(mark)))
}

// Cookie is a socket's identity; 0: it has none.
func Cookie(fd int) uint64 {
	c, _ := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	return c
}

// ReceiveConnection takes one record from a listener's pair, and the connection
// that comes along: it is accepted with that, and marked. ESHUTDOWN: the record of a
// listener that was shut down; Gone: nothing comes any more.
func ReceiveConnection(fd int, record *shm.Accept) (int, syscall.Errno) {
	control := make([]byte, unix.CmsgSpace(4))
	n, controlLen, _, _, err := unix.Recvmsg(fd, shm.AcceptBytes(record), control, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	switch {
	case err == unix.ECONNRESET, err == nil && n == 0:
		return -1, Gone
	case err != nil:
		return -1, Errno(err)
	}
	conn := -1
	if messages, err := unix.ParseSocketControlMessage(control[:controlLen]); err == nil && len(messages) == 1 {
		if fds, err := unix.ParseUnixRights(&messages[0]); err == nil && len(fds) == 1 {
			conn = fds[0]
		}
	}
	whole := n == shm.SizeofAccept && record.Magic == shm.Magic
	switch {
	case conn < 0 && whole && record.Ended != 0:
		return -1, unix.ESHUTDOWN
	case conn < 0:
		return -1, unix.ECONNABORTED
	case !whole:
		_ = unix.Close(conn)
		return -1, unix.EPROTO
	}
	// The byte that says that nobody accepted it.
	var token [1]byte
	_, _, _ = unix.Recvfrom(conn, token[:], unix.MSG_DONTWAIT)
	_ = SetMark(conn, shm.MarkUsed)
	return conn, 0
}

// Errno is the number in an error of the kernel's; 0 for none.
func Errno(err error) syscall.Errno {
	var e syscall.Errno
	if err == nil || errors.As(err, &e) {
		return e
	}
	return unix.EIO
}
