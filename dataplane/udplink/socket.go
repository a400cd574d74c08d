// SPDX-License-Identifier: Apache-2.0

package udplink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// sockaddr is a sockaddr_in or sockaddr_in6 as the kernel reads and writes it.
type sockaddr [unix.SizeofSockaddrInet6]byte

// put encodes dst and returns the length in use. dst must be of the socket's
// family and not IPv4-mapped.
func (s *sockaddr) put(dst netip.Addr, port uint16, scope uint32) uint32 {
	clear(s[:])
	binary.BigEndian.PutUint16(s[2:], port)
	if dst.Is4() {
		binary.NativeEndian.PutUint16(s[0:], unix.AF_INET)
		a := dst.As4()
		copy(s[4:], a[:])
		return unix.SizeofSockaddrInet4
	}
	binary.NativeEndian.PutUint16(s[0:], unix.AF_INET6)
	a := dst.As16()
	copy(s[8:], a[:])
	if dst.IsLinkLocalUnicast() {
		binary.NativeEndian.PutUint32(s[24:], scope)
	}
	return unix.SizeofSockaddrInet6
}

// addr returns the address, never IPv4-mapped, or the zero Addr.
func (s *sockaddr) addr() netip.Addr {
	switch binary.NativeEndian.Uint16(s[0:]) {
	case unix.AF_INET:
		return netip.AddrFrom4([4]byte(s[4:8]))
	case unix.AF_INET6:
		return netip.AddrFrom16([16]byte(s[8:24])).Unmap()
	}
	return netip.Addr{}
}

// scopeID returns the interface index of a link-local address's zone.
func scopeID(addr netip.Addr) (uint32, error) {
	zone := addr.Zone()
	if zone == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), nil
	}
	ifc, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, fmt.Errorf("find zone of %s: %w", addr, err)
	}
	return uint32(ifc.Index), nil
}

func toSockaddr(ap netip.AddrPort, scope uint32) unix.Sockaddr {
	if ap.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(ap.Port()), Addr: ap.Addr().As16(), ZoneId: scope}
}

// newSocket returns a non-blocking UDP socket of addr's family.
func newSocket(addr netip.Addr) (int, error) {
	family := unix.AF_INET
	if addr.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		hint := ""
		switch {
		case errors.Is(err, unix.EAFNOSUPPORT):
			hint = " (is IPv6 disabled on this host?)"
		case errors.Is(err, unix.EMFILE):
			hint = " (raise the limit of open files)"
		}
		return -1, fmt.Errorf("open udp socket for %s: %w%s", addr, err, hint)
	}
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			_ = unix.Close(fd)
			return -1, fmt.Errorf("set IPV6_V6ONLY for %s: %w", addr, err)
		}
	}
	return fd, nil
}

// bind binds fd and returns the address with the port that it got.
func bind(fd int, local netip.AddrPort, scope uint32) (netip.AddrPort, error) {
	if err := unix.Bind(fd, toSockaddr(local, scope)); err != nil {
		hint := ""
		switch {
		case errors.Is(err, unix.EADDRINUSE):
			hint = fmt.Sprintf(" (is another netcon up running on %s?)", local)
		case errors.Is(err, unix.EADDRNOTAVAIL):
			hint = " (is it configured on an interface?)"
		case errors.Is(err, unix.EACCES):
			hint = " (a port this low needs CAP_NET_BIND_SERVICE)"
		}
		return local, fmt.Errorf("bind udp socket %s: %w%s", local, err, hint)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return local, fmt.Errorf("read name of udp socket %s: %w", local, err)
	}
	port := local.Port()
	switch sa := name.(type) {
	case *unix.SockaddrInet4:
		port = uint16(sa.Port)
	case *unix.SockaddrInet6:
		port = uint16(sa.Port)
	}
	return netip.AddrPortFrom(local.Addr(), port), nil
}

// dontFragment has the kernel set Don't Fragment and refuse what exceeds the
// path MTU it knows.
func dontFragment(fd int, local netip.Addr) error {
	if local.Is4() {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO); err != nil {
			return fmt.Errorf("set IP_MTU_DISCOVER for %s: %w", local, err)
		}
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO); err != nil {
		return fmt.Errorf("set IPV6_MTU_DISCOVER for %s: %w", local, err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1); err != nil {
		return fmt.Errorf("set IPV6_DONTFRAG for %s: %w", local, err)
	}
	return nil
}

// refuseInbound drops what is sent to a send socket's ephemeral port before it
// takes memory: nobody reads there.
func refuseInbound(fd int) error {
	drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	prog := unix.SockFprog{Len: uint16(len(drop)), Filter: &drop[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return fmt.Errorf("attach drop filter to send socket: %w", err)
	}
	return nil
}

// setBuffer asks for a socket buffer of n bytes and returns what was granted.
// opt is SO_RCVBUF or SO_SNDBUF and force its privileged form, which may exceed
// the host's limit; without the privilege the limit holds.
func setBuffer(fd, opt, force, n int) int {
	granted := func() int {
		got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, opt)
		if err != nil {
			return 0
		}
		return got / 2 // the kernel doubles it for its own overhead, socket(7)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, n)
	if granted() < n {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, n)
	}
	return granted()
}
