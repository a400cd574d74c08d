// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"encoding/binary"
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/shm"
)

// Sizes of socket addresses, linux/in.h and linux/in6.h.
const (
	sockaddrMax  = 128 // struct sockaddr_storage
	sockaddrIn   = 16
	sockaddrIn6  = 28
	rfc2133Len   = 24 // struct sockaddr_in6 before it had sin6_scope_id
	familyLength = 2
)

// addrFromSockaddr reads a socket address, of the length that the program says it
// has, as the kernel would; which family fits the socket is the daemon's to say.
// AF_UNSPEC gives family 0, with the IPv4 address that follows if it is there.
func addrFromSockaddr(b []byte) (a shm.Addr, e syscall.Errno) {
	if len(b) < familyLength {
		return a, unix.EINVAL
	}
	switch family := binary.NativeEndian.Uint16(b); family {
	case unix.AF_INET, unix.AF_UNSPEC:
		if len(b) < sockaddrIn {
			if family == unix.AF_UNSPEC {
				return a, 0
			}
			return a, unix.EINVAL
		}
		a.Family, a.Port = family, binary.NativeEndian.Uint16(b[2:])
		copy(a.Ip[:4], b[4:8])
		return a, 0
	case unix.AF_INET6:
		if len(b) < rfc2133Len {
			return a, unix.EINVAL
		}
		a.Family, a.Port = family, binary.NativeEndian.Uint16(b[2:])
		a.Flowinfo = binary.NativeEndian.Uint32(b[4:])
		copy(a.Ip[:], b[8:24])
		if len(b) >= sockaddrIn6 {
			a.Scope = binary.NativeEndian.Uint32(b[24:])
		}
		return a, 0
	}
	return a, unix.EAFNOSUPPORT
}

// sockaddrFromAddr is the address as the kernel would write it.
func sockaddrFromAddr(a *shm.Addr) []byte {
	if a.Family == unix.AF_INET6 {
		b := make([]byte, sockaddrIn6)
		binary.NativeEndian.PutUint16(b, unix.AF_INET6)
		binary.NativeEndian.PutUint16(b[2:], a.Port)
		binary.NativeEndian.PutUint32(b[4:], a.Flowinfo)
		copy(b[8:24], a.Ip[:])
		binary.NativeEndian.PutUint32(b[24:], a.Scope)
		return b
	}
	b := make([]byte, sockaddrIn)
	binary.NativeEndian.PutUint16(b, unix.AF_INET)
	binary.NativeEndian.PutUint16(b[2:], a.Port)
	copy(b[4:8], a.Ip[:4])
	return b
}

// readSockaddr reads the address at a pointer of the program's.
func (t *target) readSockaddr(address uint64, length int) (shm.Addr, syscall.Errno) {
	if length < 0 || length > sockaddrMax {
		return shm.Addr{}, unix.EINVAL
	}
	b, e := t.read(address, length)
	if e != 0 {
		return shm.Addr{}, e
	}
	return addrFromSockaddr(b)
}

// writeSockaddr writes as much of an address as room lets, and its whole length.
func (t *target) writeSockaddr(a *shm.Addr, address, lenAddress uint64, room int) syscall.Errno {
	b := sockaddrFromAddr(a)
	if e := t.write(address, b[:min(room, len(b))]); e != 0 {
		return e
	}
	return t.writeLen(lenAddress, len(b))
}
