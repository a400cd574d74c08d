// SPDX-License-Identifier: Apache-2.0

package datagram

import (
	"encoding/binary"
	"net/netip"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
)

// txRecord is what stands before a packet in the transmit queue: the flow's
// hash, and the largest fragment or 0.
const txRecord = 8

const fragmentHeader = 8

// Transmit sends what is queued, about budget packets, and returns how many it
// sent. The fragments of a datagram leave together.
func (s *Stack) Transmit(out stream.Output, budget int) int {
	built := 0
	for built < budget {
		b := s.tx.front()
		if b == nil {
			break
		}
		built += max(s.transmit(b, out), 1)
		s.tx.pop(&s.pool)
	}
	if len(s.blocked) > 0 && s.tx.used() <= txLimit/2 {
		for i, k := range s.blocked {
			k.blocked, k.writable = false, true
			s.ready.push(k)
			s.blocked[i] = nil
		}
		s.blocked = s.blocked[:0]
	}
	return built
}

func (s *Stack) transmit(b []byte, out stream.Output) int {
	flow, limit, p := binary.LittleEndian.Uint32(b), int(binary.LittleEndian.Uint32(b[4:])), b[txRecord:]
	dst, df := destinationOf(p)
	path := out.Open(dst, flow)
	if path.Max == 0 {
		s.Undeliverable(p)
		return 0
	}
	most := path.Max
	if limit != 0 {
		most = min(most, limit)
	}
	if len(p) <= most {
		copy(out.Frame(len(p)), p)
		out.Commit()
		s.sent(len(p))
		return 1
	}
	if df {
		s.stat.Drop(stat.DropTooBig)
		return 0
	}
	if dst.Is4() {
		return s.fragment4(p, most, out)
	}
	return s.fragment6(p, most, out)
}

// destinationOf returns where a packet of ours goes, and whether it must not be
// fragmented.
func destinationOf(p []byte) (netip.Addr, bool) {
	if p[0]>>4 == 6 {
		return wire.IPv6(p).Dst(), false
	}
	return wire.IPv4(p).Dst(), wire.IPv4(p).DontFragment()
}

func (s *Stack) sent(n int) {
	s.stat.Count(stat.PacketsOut)
	s.stat.Add(stat.PacketBytesOut, uint64(n))
}

// fragment4 sends an IPv4 packet in fragments of at most most bytes.
func (s *Stack) fragment4(p []byte, most int, out stream.Output) int {
	body, n := p[wire.IPv4Len:], 0
	size := (most - wire.IPv4Len) &^ 7
	for at := 0; at < len(body); n++ {
		part := body[at:min(at+size, len(body))]
		f := out.Frame(wire.IPv4Len + len(part))[:wire.IPv4Len+len(part)]
		copy(f, p[:wire.IPv4Len])
		copy(f[wire.IPv4Len:], part)
		word := uint16(at / 8)
		if at += len(part); at < len(body) {
			word |= 1 << 13
		}
		binary.BigEndian.PutUint16(f[6:], word)
		ip := wire.IPv4(f)
		ip.SetTotalLen(len(f))
		ip.SetChecksum()
		out.Commit()
		s.sent(len(f))
	}
	return n
}

// fragment6 is fragment4 for IPv6.
func (s *Stack) fragment6(p []byte, most int, out stream.Output) int {
	body, n := p[wire.IPv6Len:], 0
	const head = wire.IPv6Len + fragmentHeader
	size := (most - head) &^ 7
	s.ipID++
	for at := 0; at < len(body); n++ {
		part := body[at:min(at+size, len(body))]
		f := out.Frame(head + len(part))[:head+len(part)]
		copy(f, p[:wire.IPv6Len])
		f[6] = protoFragment
		wire.IPv6(f).SetPayloadLen(fragmentHeader + len(part))
		h := f[wire.IPv6Len:]
		h[0], h[1] = p[6], 0
		word := uint16(at)
		if at += len(part); at < len(body) {
			word |= 1
		}
		binary.BigEndian.PutUint16(h[2:], word)
		binary.BigEndian.PutUint32(h[4:], s.ipID)
		copy(f[head:], part)
		out.Commit()
		s.sent(len(f))
	}
	return n
}
