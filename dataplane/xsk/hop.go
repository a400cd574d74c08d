// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"encoding/binary"
	"net/netip"

	"netcon/dataplane/nexthop"
	"netcon/dataplane/wire"
)

// nextHops is what a link asks for the way to a VTEP: a nexthop.Table.
type nextHops interface {
	Lookup(vtep netip.Addr) (nexthop.Hop, nexthop.State)
	Generation() uint64
	Up() bool
	MTU() int
}

// maxHops is how many VTEPs a link remembers; those whose addresses collide take
// turns.
const (
	hopBits = 6
	maxHops = 1 << hopBits
)

// outerTTL is the time to live of what we send.
const outerTTL = 64

// hop is the way to one VTEP as it was looked up last, with the outer headers
// that lead there, and their sums.
type hop struct {
	vtep  netip.Addr
	turn  uint64 // the lookup holds for this turn of the worker
	state nexthop.State
	to    nexthop.Hop

	n    int // length of the headers
	head [headers6]byte
	ip   wire.Sum // of the IPv4 header without length and checksum
	udp  wire.Sum // of the pseudo-header and the UDP header, without ports and lengths
}

// lookup returns the way to a VTEP, which mostly is that of the last frame.
func (l *Link) lookup(vtep netip.Addr) *hop {
	if h := l.lastHop; h == nil || h.turn != l.turn || h.vtep != vtep {
		l.lastHop = l.find(vtep)
	}
	return l.lastHop
}

// find looks a VTEP up, at most once per turn unless another takes its place.
func (l *Link) find(vtep netip.Addr) *hop {
	a := vtep.As16()
	k := binary.NativeEndian.Uint64(a[8:]) ^ binary.NativeEndian.Uint64(a[:8])
	h := &l.hops[(k*0x9e3779b97f4a7c15)>>(64-hopBits)]
	if h.turn == l.turn && h.vtep == vtep {
		return h
	}
	to, state := l.table.Lookup(vtep)
	if state == nexthop.Resolved && (h.vtep != vtep || h.to != to || h.n == 0) {
		h.write(l.outer.local, vtep, l.outer.port, to)
	}
	h.vtep, h.turn, h.state, h.to = vtep, l.turn, state, to
	return h
}

// write prepares the outer headers for a datagram that is empty.
func (h *hop) write(local, vtep netip.Addr, port uint16, to nexthop.Hop) {
	b := h.head[:]
	if local.Is4() {
		h.n = headers4
		wire.PutEthernet(b, to.Dst, to.Src, wire.EtherTypeIPv4)
		ip := b[wire.EthernetLen:]
		wire.PutIPv4(ip, local, vtep, wire.ProtoUDP, outerTTL, 0)
		// Length and checksum are filled in frame by frame.
		clear(ip[2:4])
		clear(ip[10:12])
		h.ip = wire.Sum(0).Add(ip[:wire.IPv4Len])
	} else {
		h.n = headers6
		wire.PutEthernet(b, to.Dst, to.Src, wire.EtherTypeIPv6)
		wire.PutIPv6(b[wire.EthernetLen:], local, vtep, wire.ProtoUDP, outerTTL, 0)
	}
	udp := b[h.n-wire.UDPLen : h.n]
	clear(udp)
	binary.BigEndian.PutUint16(udp[2:4], port)
	h.udp = wire.PseudoHeader(local, vtep, wire.ProtoUDP, 0).Add16(port)
}

// encapsulate writes the outer headers before the payload of a frame, which
// starts at b[h.n]. All checksums are complete.
func (h *hop) encapsulate(b []byte, flow uint32) {
	payload := b[h.n:]
	length := uint16(wire.UDPLen + len(payload))
	// Copies of constant length need no call.
	if h.n == headers4 {
		*(*[headers4]byte)(b) = [headers4]byte(h.head[:])
		ip := b[wire.EthernetLen : wire.EthernetLen+wire.IPv4Len]
		total := wire.IPv4Len + length
		binary.BigEndian.PutUint16(ip[2:4], total)
		binary.BigEndian.PutUint16(ip[10:12], h.ip.Add16(total).Checksum())
	} else {
		*(*[headers6]byte)(b) = h.head
		binary.BigEndian.PutUint16(b[wire.EthernetLen+4:], length)
	}
	udp := b[h.n-wire.UDPLen : h.n]
	port := sourcePort(flow)
	binary.BigEndian.PutUint16(udp[0:2], port)
	binary.BigEndian.PutUint16(udp[4:6], length)
	// The length counts twice: in the pseudo-header and in the header.
	sum := h.udp.Add16(port).Add16(length).Add16(length).Add16(wire.EncapSum(payload).Fold()).Checksum()
	if sum == 0 {
		sum = 0xffff // 0 means no checksum, RFC 768
	}
	binary.BigEndian.PutUint16(udp[6:8], sum)
}

// sourcePort spreads flows over the dynamic ports (RFC 7348 section 5, RFC 6335
// section 6). The multiplication makes hashes usable that differ in few bits
// only.
func sourcePort(flow uint32) uint16 { return 49152 + uint16(flow*0x9e3779b1>>(32-14)) }
