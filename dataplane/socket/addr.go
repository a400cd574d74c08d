// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"net/netip"
	"syscall"

	"netcon/dataplane/stream"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

// familyOf maps an AF_ number; ok is false for what we do not speak.
func familyOf(af uint16) (f stream.Family, ok bool) {
	switch af {
	case unix.AF_INET:
		return stream.IPv4, true
	case unix.AF_INET6:
		return stream.IPv6, true
	}
	return 0, false
}

func afOf(f stream.Family) uint16 {
	if f == stream.IPv6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// decodeAddr reads an address for a socket of family f. An address of another
// family is EAFNOSUPPORT. A v4-mapped address stays mapped.
func decodeAddr(a *shm.Addr, f stream.Family) (netip.AddrPort, syscall.Errno) {
	port := a.Port>>8 | a.Port<<8
	switch {
	case a.Family == unix.AF_INET && f == stream.IPv4:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(a.Ip[:4])), port), 0
	case a.Family == unix.AF_INET6 && f == stream.IPv6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Ip), port), 0
	}
	return netip.AddrPort{}, unix.EAFNOSUPPORT
}

// misfit is the error for an address that decodeAddr did not take: an AF_INET6
// socket looks at the length first (SIN6_LEN_RFC2133).
func misfit(s *sock, r *shm.Request, e syscall.Errno) syscall.Errno {
	const shortest = 24
	if s.family == stream.IPv6 && r.Value > 0 && r.Value < shortest {
		return unix.EINVAL
	}
	return e
}

// encodeAddr writes an address as a socket of family f shows it: IPv4 addresses
// of an AF_INET6 socket are mapped.
func encodeAddr(ap netip.AddrPort, f stream.Family) (a shm.Addr) {
	a.Family = afOf(f)
	a.Port = ap.Port()>>8 | ap.Port()<<8
	switch ip := ap.Addr(); {
	case !ip.IsValid():
	case f == stream.IPv6:
		a.Ip = ip.As16()
	case ip.Is4() || ip.Is4In6():
		v4 := ip.Unmap().As4()
		copy(a.Ip[:], v4[:])
	}
	return a
}

// encodeIP writes an address without a port.
func encodeIP(ip netip.Addr, f stream.Family) shm.Addr {
	return encodeAddr(netip.AddrPortFrom(ip, 0), f)
}

// unspecified is the address of an unbound socket.
func unspecified(f stream.Family) netip.AddrPort {
	if f == stream.IPv6 {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
}
