// SPDX-License-Identifier: Apache-2.0

package udplink

import (
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	// probePort is what probe sockets connect to; a route does not depend on
	// it in general and nothing is sent.
	probePort = 4789
	// maxIPPacket is the largest IP packet; loopback's MTU is larger.
	maxIPPacket = 65535
)

// PathMTU returns the largest IP packet in bytes that passes from local to all
// of remotes: the MTU of local's interface, and the kernel's path MTU to each
// remote. No packet is sent. Remotes without a route do not lower it and are
// returned.
func PathMTU(local netip.Addr, remotes []netip.Addr) (mtu int, unroutable []netip.Addr, err error) {
	local = local.Unmap()
	if mtu, err = interfaceMTU(local); err != nil {
		return 0, nil, err
	}
	scope, err := scopeID(local)
	if err != nil {
		return 0, nil, err
	}
	mtu = min(mtu, maxIPPacket)
	for _, remote := range remotes {
		m, routed, err := routeMTU(local, remote.Unmap(), scope)
		switch {
		case err != nil:
			return 0, nil, err
		case !routed:
			unroutable = append(unroutable, remote)
		default:
			mtu = min(mtu, m)
		}
	}
	return mtu, unroutable, nil
}

// interfaceMTU returns the MTU of the interface that holds addr.
func interfaceMTU(addr netip.Addr) (int, error) {
	ifc, err := interfaceOf(addr)
	return ifc.MTU, err
}

// interfaceOf returns the interface that holds addr.
func interfaceOf(addr netip.Addr) (net.Interface, error) {
	ifcs, err := net.Interfaces()
	if err != nil {
		return net.Interface{}, fmt.Errorf("list interfaces: %w", err)
	}
	for _, ifc := range ifcs {
		if zone := addr.Zone(); zone != "" && zone != ifc.Name {
			continue
		}
		addrs, err := ifc.Addrs()
		if err != nil {
			return net.Interface{}, fmt.Errorf("list addresses of interface %s: %w", ifc.Name, err)
		}
		for _, a := range addrs {
			prefix, err := netip.ParsePrefix(a.String())
			if err != nil {
				continue
			}
			if prefix.Addr() == addr.WithZone("") ||
				// All of 127.0.0.0/8 is local, not only the address shown.
				addr.IsLoopback() && prefix.Contains(addr) {
				return ifc, nil
			}
		}
	}
	return net.Interface{}, fmt.Errorf("find interface of %s: no such address (is it configured on an interface?)", addr)
}

// routeMTU returns the path MTU from local to remote, or false if there is no
// route.
func routeMTU(local, remote netip.Addr, scope uint32) (int, bool, error) {
	if !remote.IsValid() || local.Is4() != remote.Is4() {
		return 0, false, nil
	}
	fd, err := newSocket(local)
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = unix.Close(fd) }()
	if _, err := bind(fd, netip.AddrPortFrom(local, 0), scope); err != nil {
		return 0, false, err
	}
	if err := unix.Connect(fd, toSockaddr(netip.AddrPortFrom(remote, probePort), scope)); err != nil {
		return 0, false, nil
	}
	level, opt := unix.IPPROTO_IP, unix.IP_MTU
	if local.Is6() {
		level, opt = unix.IPPROTO_IPV6, unix.IPV6_MTU
	}
	mtu, err := unix.GetsockoptInt(fd, level, opt)
	if err != nil {
		return 0, false, fmt.Errorf("read path MTU from %s to %s: %w", local, remote, err)
	}
	return mtu, true, nil
}
