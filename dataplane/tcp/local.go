// SPDX-License-Identifier: Apache-2.0

package tcp

import "net/netip"

// locals are the local addresses of an engine, by index: records hold the index
// instead of sixteen bytes. Addresses of 127/8 are added when they are first
// used.
type locals struct {
	addrs []addr
	own   []bool // configured, not loopback
	at    map[addr]uint16
	last  uint16 // found last
}

// The unspecified addresses have the first indices.
const (
	any4 = 0 // 0.0.0.0
	any6 = 1 // ::
)

// maxLocals bounds how many local addresses there may be; beyond it, further
// ones of 127/8 are not ours.
const maxLocals = 4096

func (l *locals) init(prefixes []netip.Prefix) {
	l.at = map[addr]uint16{}
	l.add(addrFrom(netip.IPv4Unspecified()), false)
	l.add(addrFrom(netip.IPv6Unspecified()), false)
	for _, p := range prefixes {
		if a := addrFrom(p.Addr()); l.at[a] == 0 {
			l.add(a, true)
		}
	}
	l.add(addrFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1})), false)
	l.add(addrFrom(netip.IPv6Loopback()), false)
	l.last = any6 + 1
}

func (l *locals) add(a addr, own bool) uint16 {
	i := uint16(len(l.addrs))
	l.addrs, l.own = append(l.addrs, a), append(l.own, own)
	l.at[a] = i
	return i
}

// find returns the index of an address that is ours, loopback included.
func (l *locals) find(a addr) (uint16, bool) {
	if l.addrs[l.last] == a {
		return l.last, true
	}
	i, ok := l.at[a]
	switch {
	case ok && i > any6:
	case isLoop4(a) && len(l.addrs) < maxLocals:
		i = l.add(a, false)
	default:
		return 0, false
	}
	l.last = i
	return i, true
}

// has reports whether an address is ours, loopback included. It is asked of the
// source of every packet; few have more than a handful of addresses.
func (l *locals) has(a addr) bool {
	if len(l.addrs) > 8 {
		i, ok := l.at[a]
		return ok && i > any6
	}
	for _, x := range l.addrs[any6+1:] {
		if x == a {
			return true
		}
	}
	return false
}

// isLoop4 reports whether a is in 127/8.
func isLoop4(a addr) bool { return a.is4() && byte(a.lo>>24) == 127 }

// unicast reports whether a may be the source of a packet from outside, apart
// from being ours.
func unicast(a addr) bool {
	if a.is4() {
		// 0.0.0.0/8, 127.0.0.0/8, 224.0.0.0/4 and 240.0.0.0/4.
		b := byte(a.lo >> 24)
		return b != 0 && b != 127 && b < 224
	}
	// Multicast, the unspecified address, loopback, and the rest of ::/96.
	return a.hi>>56 != 0xff && (a.hi != 0 || a.lo>>32 != 0)
}
