// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"encoding/binary"

	"netcon/dataplane/wire"
)

// header is what a segment to be sent says, in plain values.
type header struct {
	local, remote addr // source and destination, of one family
	lport, rport  uint16
	seq, ack      uint32
	window        uint16 // scaled already
	flags         uint8
	tos, ttl      uint8
	v6            bool
	id            uint16 // IPv4 identification
	flow          uint32 // IPv6 flow label, 20 bits
	opts          options
}

// size returns the bytes of the IP and TCP headers with options.
func (h *header) size() int {
	n := wire.IPv4Len + wire.TCPLen + h.opts.size()
	if h.v6 {
		n += wire.IPv6Len - wire.IPv4Len
	}
	return n
}

// put writes the headers of a segment of payload bytes into b, whose first size
// bytes they are, and returns that size. sum is the sum of the payload. Without
// sums, where the path needs no transport checksums, the field is 0; the IPv4
// header checksum is always complete.
func (h *header) put(b []byte, payload int, sum wire.Sum, sums bool) int {
	at := wire.IPv4Len
	if h.v6 {
		at = wire.IPv6Len
	}
	b = b[:h.size()]
	t := b[at:]
	segment := len(t) + payload
	binary.BigEndian.PutUint32(t, uint32(h.lport)<<16|uint32(h.rport))
	binary.BigEndian.PutUint32(t[4:], h.seq)
	binary.BigEndian.PutUint32(t[8:], h.ack)
	binary.BigEndian.PutUint32(t[12:], uint32(len(t))<<26|uint32(h.flags)<<16|uint32(h.window))
	binary.BigEndian.PutUint32(t[16:], 0)
	h.opts.put(t[wire.TCPLen:])
	if h.v6 {
		binary.BigEndian.PutUint32(b, 6<<28|uint32(h.tos)<<20|h.flow&0xfffff)
		binary.BigEndian.PutUint32(b[4:], uint32(segment)<<16|wire.ProtoTCP<<8|uint32(h.ttl))
		h.local.put6(b[8:24])
		h.remote.put6(b[24:40])
		if sums {
			binary.BigEndian.PutUint16(t[16:], sum.Add(b[8:]).Add16(uint16(segment)).Add16(wire.ProtoTCP).Checksum())
		}
		return len(b)
	}
	binary.BigEndian.PutUint32(b, 0x45<<24|uint32(h.tos)<<16|uint32(at+segment))
	binary.BigEndian.PutUint32(b[4:], uint32(h.id)<<16|0x4000)
	binary.BigEndian.PutUint32(b[8:], uint32(h.ttl)<<24|wire.ProtoTCP<<16)
	h.local.put4(b[12:16])
	h.remote.put4(b[16:20])
	binary.BigEndian.PutUint16(b[10:], wire.Sum(0).Add(b[:at]).Checksum())
	if sums {
		binary.BigEndian.PutUint16(t[16:], sum.Add(b[12:]).Add16(uint16(segment)).Add16(wire.ProtoTCP).Checksum())
	}
	return len(b)
}
