// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"net/netip"
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

// datagramCall is the memory of one call about a datagram. It is kept on the
// heap, in an Engine: the kernel sees its address.
type datagramCall struct {
	addr unix.RawSockaddrInet6 // or the shorter one of IPv4
	size uint32
}

// four views the address as one of IPv4.
func (d *datagramCall) four() *unix.RawSockaddrInet4 {
	return (*unix.RawSockaddrInet4)(unsafe.Pointer(&d.addr))
}

func swap(port uint16) uint16 { return port>>8 | port<<8 }

// sendTo sends one datagram; without a valid remote to the peer of the socket.
func (d *datagramCall) sendTo(fd int, remote netip.AddrPort, p []byte) syscall.Errno {
	to := unsafe.Pointer(&d.addr)
	d.addr = unix.RawSockaddrInet6{}
	switch ip := remote.Addr().Unmap(); {
	case !remote.IsValid():
		to, d.size = nil, 0
	case ip.Is4():
		*d.four() = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: swap(remote.Port()), Addr: ip.As4()}
		d.size = unix.SizeofSockaddrInet4
	default:
		d.addr = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: swap(remote.Port()), Addr: ip.As16()}
		d.size = unix.SizeofSockaddrInet6
	}
	_, _, e := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, uintptr(to), uintptr(d.size))
	return e
}

// receiveFrom takes one datagram; n is its whole length.
func (d *datagramCall) receiveFrom(fd int, p []byte) (n int, from netip.AddrPort, e syscall.Errno) {
	d.addr, d.size = unix.RawSockaddrInet6{}, unix.SizeofSockaddrInet6
	r, _, e := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		unix.MSG_DONTWAIT|unix.MSG_TRUNC, uintptr(unsafe.Pointer(&d.addr)), uintptr(unsafe.Pointer(&d.size)))
	if e != 0 {
		return 0, from, e
	}
	if d.addr.Family == unix.AF_INET {
		return int(r), netip.AddrPortFrom(netip.AddrFrom4(d.four().Addr), swap(d.four().Port)), 0
	}
	return int(r), netip.AddrPortFrom(netip.AddrFrom16(d.addr.Addr), swap(d.addr.Port)), 0
}
