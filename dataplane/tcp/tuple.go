// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"encoding/binary"
	"net/netip"
)

// addr is an IP address in plain words; IPv4 addresses are mapped into IPv6
// (RFC 4291 section 2.5.5.2).
type addr struct{ hi, lo uint64 }

const mapped4 = 0xffff << 32 // what precedes an IPv4 address in addr.lo

// addr4 returns the IPv4 address in the four bytes of b.
func addr4(b []byte) addr { return addr{lo: mapped4 | uint64(binary.BigEndian.Uint32(b))} }

// addr6 returns the IPv6 address in the sixteen bytes of b.
func addr6(b []byte) addr {
	return addr{hi: binary.BigEndian.Uint64(b), lo: binary.BigEndian.Uint64(b[8:])}
}

// addrFrom returns a as plain words. Zones are dropped.
func addrFrom(a netip.Addr) addr {
	b := a.As16()
	return addr6(b[:])
}

// netip returns the address as the standard library has it, IPv4 unmapped.
func (a addr) netip() netip.Addr {
	var b [16]byte
	a.put6(b[:])
	return netip.AddrFrom16(b).Unmap()
}

// is4 reports whether the address is IPv4.
func (a addr) is4() bool { return a.hi == 0 && a.lo>>32 == mapped4>>32 }

// put4 writes an IPv4 address into the four bytes of b.
func (a addr) put4(b []byte) { binary.BigEndian.PutUint32(b, uint32(a.lo)) }

// put6 writes the address into the sixteen bytes of b.
func (a addr) put6(b []byte) {
	binary.BigEndian.PutUint64(b, a.hi)
	binary.BigEndian.PutUint64(b[8:], a.lo)
}

// tuple names a connection. The local address stands as its index among the
// engine's addresses: sixteen bytes less in every record.
type tuple struct {
	remote       addr
	lport, rport uint16
	local        uint16
	_            uint16
}

// ports returns the ports and the local address as one word.
func (t *tuple) word() uint64 {
	return uint64(t.local)<<32 | uint64(t.lport)<<16 | uint64(t.rport)
}

// equal reports whether two tuples name the same connection.
func (t *tuple) equal(u *tuple) bool {
	return t.remote.lo == u.remote.lo && t.remote.hi == u.remote.hi && t.word() == u.word()
}
