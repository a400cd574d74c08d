// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"encoding/binary"

	"netcon/dataplane/wire"
)

// maxLayers is how many IP headers a super-frame may have: outer and inner.
const maxLayers = 2

// Segmenter cuts super-frames (GSO) into the frames that a wire would carry.
type Segmenter struct{ scratch []byte }

// Segment cuts an Ethernet frame into frames of at most size transport payload
// bytes and gives each to emit, with all lengths, sequence numbers and
// checksums complete. l4 is the offset of the TCP or UDP header that is to be
// repeated: the innermost of a tunnelled segment. A frame given to emit is
// valid until emit returns. It returns false, and has given nothing, if the
// frame is of no kind that can be cut.
func (s *Segmenter) Segment(frame []byte, l4, size int, emit func(frame []byte)) bool {
	var layers [maxLayers]layer
	n, eth := 0, 0
	for {
		l, ok := parseLayer(frame, eth)
		if !ok || l.fragment {
			return false
		}
		layers[n] = l
		n++
		if l.l4 == l4 {
			break
		}
		if eth, ok = l.inner(frame); !ok || n == maxLayers {
			return false
		}
	}
	last := &layers[n-1]
	header := l4
	switch last.proto {
	case wire.ProtoTCP:
		t, ok := wire.ParseTCP(frame[l4:last.end])
		if !ok {
			return false
		}
		header += t.HeaderLen()
	case wire.ProtoUDP:
		if last.end-l4 < wire.UDPLen {
			return false
		}
		header += wire.UDPLen
	default:
		return false
	}
	payload := frame[header:last.end]
	if size <= 0 || len(payload) == 0 {
		return false
	}
	if cap(s.scratch) < header+size {
		s.scratch = make([]byte, header+size)
	}
	for i := 0; len(payload) > 0; i++ {
		k := min(size, len(payload))
		seg := s.scratch[:header+k]
		copy(seg, frame[:header])
		copy(seg[header:], payload[:k])
		payload = payload[k:]
		if last.proto == wire.ProtoTCP {
			patchTCP(wire.TCP(seg[l4:]), uint32(i*size), i == 0, len(payload) == 0)
		}
		// Inner headers first: the outer checksum covers them.
		for j := n - 1; j >= 0; j-- {
			patchLayer(seg, layers[j], uint16(i))
		}
		emit(seg)
	}
	return true
}

// patchTCP makes a segment of its super-segment's header: CWR belongs to the
// first, FIN and PSH to the last.
func patchTCP(t wire.TCP, advance uint32, first, last bool) {
	t.SetSeq(t.Seq() + advance)
	f := t.Flags()
	if !first {
		f &^= wire.TCPCwr
	}
	if !last {
		f &^= wire.TCPFin | wire.TCPPsh
	}
	t.SetFlags(f)
}

// patchLayer writes lengths, identification and checksums of one IP header and
// its transport header, for a frame that ends where the packet ends.
func patchLayer(seg []byte, l layer, index uint16) {
	l.end = len(seg)
	if l.v6 {
		p := wire.IPv6(seg[l.ip:])
		p.SetPayloadLen(len(p) - wire.IPv6Len)
		l.pseudo = wire.PseudoHeader(p.Src(), p.Dst(), l.proto, l.end-l.l4)
	} else {
		p := wire.IPv4(seg[l.ip:])
		p.SetTotalLen(len(p))
		p.SetID(p.ID() + index)
		p.SetChecksum()
		l.pseudo = wire.PseudoHeader(p.Src(), p.Dst(), l.proto, l.end-l.l4)
	}
	if l.proto == wire.ProtoUDP {
		binary.BigEndian.PutUint16(seg[l.l4+4:], uint16(l.end-l.l4))
		if wire.UDP(seg[l.l4:]).Checksum() == 0 {
			return // the sender wants none
		}
	}
	if field, ok := l.field(seg); ok {
		l.complete(seg, field)
	}
}
