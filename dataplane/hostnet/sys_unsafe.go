// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// recv reads from a kernel socket into one span.
func recv(fd int, p []byte, flags int) (int, syscall.Errno) {
	n, _, e := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		uintptr(flags|unix.MSG_DONTWAIT), 0, 0)
	return int(n), e
}

// send writes one span.
func send(fd int, p []byte) (int, syscall.Errno) {
	n, _, e := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return int(n), e
}

// tcpInfo is TCP_INFO with the byte of the window scales, which x/sys leaves out
// of the struct.
func tcpInfo(fd int) (i *unix.TCPInfo, scales byte, ok bool) {
	i, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return nil, 0, false
	}
	const at = 6 // behind tcpi_options
	return i, *(*byte)(unsafe.Add(unsafe.Pointer(i), at)), true
}
