// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// reservePort binds a UDP socket to the VTEP's address and port. It keeps a
// second daemon or a vxlan device of the kernel away from the port, and what the
// XDP program leaves to the host does not provoke ICMP "port unreachable": the
// socket takes it and its filter drops it.
func reservePort(local netip.AddrPort) (fd int, bound netip.AddrPort, err error) {
	family := unix.AF_INET
	if local.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, local, fmt.Errorf("reserve udp port %s: %w", local, err)
	}
	if err = bindPort(fd, local); err == nil {
		bound, err = portOf(fd, local)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, local, fmt.Errorf("reserve udp port %s: %w", local, err)
	}
	return fd, bound, nil
}

func bindPort(fd int, local netip.AddrPort) error {
	// Before bind: datagrams arrive from then on.
	drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	prog := unix.SockFprog{Len: uint16(len(drop)), Filter: &drop[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return fmt.Errorf("attach drop filter: %w", err)
	}
	var sa unix.Sockaddr = &unix.SockaddrInet4{Port: int(local.Port())}
	if local.Addr().Is4() {
		sa.(*unix.SockaddrInet4).Addr = local.Addr().As4()
	} else {
		scope, err := scopeID(local.Addr())
		if err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return fmt.Errorf("set IPV6_V6ONLY: %w", err)
		}
		sa = &unix.SockaddrInet6{Port: int(local.Port()), Addr: local.Addr().As16(), ZoneId: scope}
	}
	err := unix.Bind(fd, sa)
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("%w (is another netcon up running on it, or a vxlan device of the kernel: ip -d link show type vxlan?)", err)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("%w (is it configured on an interface?)", err)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w (a port this low needs CAP_NET_BIND_SERVICE)", err)
	}
	return err
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

// portOf returns local with the port that the socket got.
func portOf(fd int, local netip.AddrPort) (netip.AddrPort, error) {
	name, err := unix.Getsockname(fd)
	if err != nil {
		return local, fmt.Errorf("read name of socket: %w", err)
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
