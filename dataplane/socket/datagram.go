// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"net/netip"
	"syscall"

	"netcon/dataplane/stream"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

// A datagram socket is in state stDatagram until its last close. Datagrams pass
// it both ways without a queue of ours: what the pair has no room for is lost,
// what the engine has no room for is held, at most one burst of a socket, and the
// pair is not read meanwhile.

// Bounds of datagram sockets.
const (
	visitDatagrams = 64      // per direction and visit
	settleMost     = 1024    // that are sent before a request is carried out
	maxHeld        = 4 << 20 // bytes held in a Set
	maxErrors      = 16      // entries of a socket's error queue
	maxQuoted      = shm.OptMax - shm.SizeofCause
)

// datagram is what a datagram socket has besides.
type datagram struct {
	proto     stream.Protocol
	connected bool
	far       netip.AddrPort   // the peer, where the engine does not know it
	out       [2]stream.Handle // of the host's stack, for IPv4 and IPv6
	full      bool             // the engine said EAGAIN: until Writable
	wants     uint32
	verdict   syscall.Errno
	drops     uint32 // that the pair had no room for
	lost      uint32 // that the engine had no room for, when it last told
	held      []heldDatagram
	errors    []reported
	filter    stream.ICMPFilter
	source    netip.Addr // IP_MULTICAST_IF
}

// heldDatagram waits for the engine.
type heldDatagram struct {
	msg     stream.Message
	payload []byte
}

// reported is one entry of an error queue.
type reported struct {
	errno  syscall.Errno
	cause  stream.Cause
	to     netip.AddrPort
	quoted []byte
}

// exchange moves datagrams both ways, and ends a socket that its application has
// closed when everything that was written before is sent.
func (t *Set) exchange(s *sock) {
	more := t.fromAppDatagrams(s, visitDatagrams)
	more = t.toAppDatagrams(s, visitDatagrams) || more
	switch {
	case s.has(fTxEnd) && s.has(fHup) && len(s.dgram.held) == 0:
		t.lastClose(s)
	case more:
		t.enqueue(s)
	}
}

// settle sends what the application wrote before the request that is to be
// carried out.
func (t *Set) settle(s *sock) {
	s.flags |= fCanRead
	t.fromAppDatagrams(s, settleMost)
	t.enqueue(s)
}

// decodeDatagram reads the header of a datagram of a socket of family f.
// EINVAL: it is no header, EAFNOSUPPORT: an address is of another family.
func decodeDatagram(h *shm.Datagram, f stream.Family, m *stream.Message) (e syscall.Errno) {
	*m = stream.Message{}
	if h.Magic != shm.Magic || h.Flags&^(shm.DatagramTTL|shm.DatagramTOS|shm.DatagramReport) != 0 {
		return unix.EINVAL
	}
	if h.Remote.Family != unix.AF_UNSPEC {
		if m.Remote, e = decodeAddr(&h.Remote, f); e != 0 {
			return e
		}
		m.Remote = thisHost(m.Remote)
	}
	if h.Local.Family != unix.AF_UNSPEC {
		local, e := decodeAddr(&h.Local, f)
		if e != 0 {
			return e
		}
		m.Local = local.Addr()
	}
	if h.Flags&shm.DatagramTTL != 0 {
		m.TTL = h.Ttl
	}
	if h.Flags&shm.DatagramTOS != 0 {
		m.TOS, m.OwnTOS = h.Tos, true
	}
	return 0
}

// thisHost makes of an unspecified destination this host, as Linux's routes do.
func thisHost(ap netip.AddrPort) netip.AddrPort {
	ip := ap.Addr()
	switch {
	case !ip.Unmap().IsUnspecified():
		return ap
	case ip.Is4():
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case ip.Is4In6():
		ip = netip.AddrFrom16(netip.AddrFrom4([4]byte{127, 0, 0, 1}).As16())
	default:
		ip = netip.IPv6Loopback()
	}
	return netip.AddrPortFrom(ip, ap.Port())
}

// Interfaces of a container, as the application sees their numbers.
const (
	loopbackIndex = 1
	deviceIndex   = 2
)

// interfaceOf is the interface on which a datagram for ip arrived.
func interfaceOf(ip netip.Addr) uint32 {
	if ip.Unmap().IsLoopback() {
		return loopbackIndex
	}
	return deviceIndex
}
