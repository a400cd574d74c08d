// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernelGet and kernelSet ask a kernel TCP socket: the reference.
func kernelGet(fd int, level, name int32, room int) ([]byte, syscall.Errno) {
	b := make([]byte, 512)
	l := uint32(room)
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&l)), 0)
	return b[:l], e
}

func kernelSet(fd int, level, name int32, v []byte) syscall.Errno {
	v = append(v, make([]byte, 16)...)
	_, _, e := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(&v[0])), uintptr(len(v)-16), 0)
	return e
}
