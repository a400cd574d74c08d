// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"encoding/binary"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// datagram is a validated IP packet in plain values.
type datagram struct {
	b        []byte // the packet, cut to its length
	src, dst addr
	at       int   // offset of the upper layer
	proto    uint8 // its number
	tos, ttl uint8
	v6       bool
	fragment bool // a piece of a larger packet
}

// parse reads an IP packet. It returns stat.Accepted, or why the packet is to
// be dropped.
func (d *datagram) parse(packet []byte) stat.Reason {
	if len(packet) == 0 {
		return stat.DropIPShort
	}
	switch packet[0] >> 4 {
	case 4:
		ip, ok := wire.ParseIPv4(packet)
		if !ok {
			return stat.DropIPShort
		}
		if !ip.ChecksumOK() {
			return stat.DropIPChecksum
		}
		d.b, d.v6 = ip, false
		d.src, d.dst = addr4(ip[12:16]), addr4(ip[16:20])
		d.at, d.proto = ip.HeaderLen(), ip.Protocol()
		d.tos, d.ttl = ip.TOS(), ip.TTL()
		d.fragment = ip.IsFragment()
		return stat.Accepted
	case 6:
		ip, ok := wire.ParseIPv6(packet)
		if !ok {
			return stat.DropIPShort
		}
		d.b, d.v6 = ip, true
		d.src, d.dst = addr6(ip[8:24]), addr6(ip[24:40])
		d.tos, d.ttl = ip[0]<<4|ip[1]>>4, ip.HopLimit()
		if d.proto, d.at, d.fragment, ok = ip.UpperLayer(); !ok {
			return stat.DropIPShort
		}
		return stat.Accepted
	}
	return stat.DropIPVersion
}

// upper returns the upper layer.
func (d *datagram) upper() []byte { return d.b[d.at:] }

// sumOK verifies the checksum of the upper layer with its pseudo-header.
func (d *datagram) sumOK() bool {
	u := d.upper()
	return d.pseudo(len(u)).Add(u).Fold() == 0xffff
}

// pseudo returns the sum of the pseudo-header for an upper layer of n bytes.
func (d *datagram) pseudo(n int) wire.Sum {
	addrs := d.b[12:20]
	if d.v6 {
		addrs = d.b[8:40]
	}
	return wire.Sum(0).Add(addrs).Add16(uint16(n >> 16)).Add16(uint16(n)).Add16(uint16(d.proto))
}

// segment is a validated TCP segment in plain values, as RFC 9293 section 3.10
// names them.
type segment struct {
	local, remote addr // its destination and source
	lport, rport  uint16
	seq, ack      uint32
	window        uint16 // unscaled
	flags         uint8  // wire.TCPFin …
	tos, ttl      uint8
	v6            bool
	opts          options
	payload       []byte // in the packet
}

// len returns SEG.LEN: the sequence numbers that the segment occupies.
func (s *segment) len() uint32 {
	n := uint32(len(s.payload))
	if s.flags&wire.TCPSyn != 0 {
		n++
	}
	if s.flags&wire.TCPFin != 0 {
		n++
	}
	return n
}

// ce reports whether a router marked the segment (RFC 3168).
func (s *segment) ce() bool { return s.tos&3 == 3 }

// parse reads the TCP segment of a datagram that is no fragment. verified says
// that the checksum needs no verification. It returns stat.Accepted, or why the
// segment is to be dropped.
func (s *segment) parse(d *datagram, verified bool) stat.Reason {
	u := d.upper()
	if len(u) < wire.TCPLen {
		return stat.DropL4Short
	}
	hl := int(u[12]>>4) * 4
	if hl < wire.TCPLen || hl > len(u) {
		return stat.DropL4Short
	}
	if !verified && !d.sumOK() {
		return stat.DropL4Checksum
	}
	s.local, s.remote = d.dst, d.src
	s.rport, s.lport = binary.BigEndian.Uint16(u), binary.BigEndian.Uint16(u[2:])
	s.seq, s.ack = binary.BigEndian.Uint32(u[4:]), binary.BigEndian.Uint32(u[8:])
	s.flags, s.window = u[13], binary.BigEndian.Uint16(u[14:])
	s.tos, s.ttl, s.v6 = d.tos, d.ttl, d.v6
	s.payload = u[hl:]
	s.opts.parse(u[wire.TCPLen:hl], s.flags&wire.TCPSyn != 0)
	return stat.Accepted
}
