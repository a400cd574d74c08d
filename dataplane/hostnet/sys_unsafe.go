// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stream"
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
// heap, in an Engine: the kernel sees its addresses.
type datagramCall struct {
	addr    unix.RawSockaddrInet6 // or the shorter one of IPv4
	hdr     unix.Msghdr
	iov     unix.Iovec
	control packetInfo
}

// packetInfo is a control message that names a place of the host. It is also room
// for one: nothing else is asked for.
type packetInfo struct {
	hdr  unix.Cmsghdr
	info [unsafe.Sizeof(unix.Inet6Pktinfo{})]byte // or the shorter one of IPv4
	_    [4]byte                                  // up to the next word
}

// four views the address as one of IPv4.
func (d *datagramCall) four() *unix.RawSockaddrInet4 {
	return (*unix.RawSockaddrInet4)(unsafe.Pointer(&d.addr))
}

func swap(port uint16) uint16 { return port>>8 | port<<8 }

// begin makes a header for one span.
func (d *datagramCall) begin(p []byte) {
	d.iov.Base = unsafe.SliceData(p)
	d.iov.SetLen(len(p))
	d.hdr = unix.Msghdr{Iov: &d.iov}
	d.hdr.SetIovlen(1)
}

// from has the datagram sent from a place of the host.
func (d *datagramCall) from(at stream.HostPlace) {
	d.control = packetInfo{}
	size := 0
	if at.IP.Is4() {
		info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&d.control.info))
		info.Ifindex, info.Spec_dst = int32(at.Interface), at.IP.As4()
		d.control.hdr.Level, d.control.hdr.Type, size = unix.IPPROTO_IP, unix.IP_PKTINFO, int(unsafe.Sizeof(*info))
	} else {
		info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&d.control.info))
		info.Ifindex, info.Addr = at.Interface, at.IP.As16()
		d.control.hdr.Level, d.control.hdr.Type, size = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, int(unsafe.Sizeof(*info))
	}
	d.control.hdr.SetLen(unix.CmsgLen(size))
	d.hdr.Control = (*byte)(unsafe.Pointer(&d.control))
	d.hdr.SetControllen(unix.CmsgSpace(size))
}

// place reads where a datagram came in.
func (d *datagramCall) place() (at stream.HostPlace) {
	if int(d.hdr.Controllen) < unix.CmsgLen(int(unsafe.Sizeof(unix.Inet4Pktinfo{}))) {
		return at
	}
	switch c := &d.control; {
	case c.hdr.Level == unix.IPPROTO_IP && c.hdr.Type == unix.IP_PKTINFO:
		info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&c.info))
		at = stream.HostPlace{IP: netip.AddrFrom4(info.Spec_dst), Interface: uint32(info.Ifindex)}
	case c.hdr.Level == unix.IPPROTO_IPV6 && c.hdr.Type == unix.IPV6_PKTINFO:
		info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&c.info))
		at = stream.HostPlace{IP: netip.AddrFrom16(info.Addr), Interface: info.Ifindex}
	}
	return at
}

// sendTo sends one datagram; without a valid remote to the peer of the socket, and
// without a place from where the kernel says.
func (d *datagramCall) sendTo(fd int, at stream.HostPlace, remote netip.AddrPort, p []byte) syscall.Errno {
	d.begin(p)
	if remote.IsValid() {
		d.addr = unix.RawSockaddrInet6{}
		d.hdr.Name, d.hdr.Namelen = (*byte)(unsafe.Pointer(&d.addr)), unix.SizeofSockaddrInet6
		if ip := remote.Addr().Unmap(); ip.Is4() {
			*d.four() = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: swap(remote.Port()), Addr: ip.As4()}
			d.hdr.Namelen = unix.SizeofSockaddrInet4
		} else {
			d.addr = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: swap(remote.Port()), Addr: ip.As16()}
		}
	}
	if at.IP.IsValid() {
		d.from(at)
	}
	_, _, e := unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&d.hdr)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	d.iov.Base = nil
	return e
}

// receiveFrom takes one datagram; n is its whole length.
func (d *datagramCall) receiveFrom(fd int, p []byte) (n int, from netip.AddrPort, at stream.HostPlace, e syscall.Errno) {
	d.begin(p)
	d.addr = unix.RawSockaddrInet6{}
	d.hdr.Name, d.hdr.Namelen = (*byte)(unsafe.Pointer(&d.addr)), unix.SizeofSockaddrInet6
	d.hdr.Control = (*byte)(unsafe.Pointer(&d.control))
	d.hdr.SetControllen(int(unsafe.Sizeof(d.control)))
	r, _, e := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&d.hdr)), unix.MSG_DONTWAIT|unix.MSG_TRUNC)
	d.iov.Base = nil
	if e != 0 {
		return 0, from, at, e
	}
	at = d.place()
	if d.addr.Family == unix.AF_INET {
		return int(r), netip.AddrPortFrom(netip.AddrFrom4(d.four().Addr), swap(d.four().Port)), at, 0
	}
	return int(r), netip.AddrPortFrom(netip.AddrFrom16(d.addr.Addr), swap(d.addr.Port)), at, 0
}
