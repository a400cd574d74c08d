// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"encoding/binary"

	"netcon/dataplane/wire"
)

// layer is an IP packet inside a frame and the transport header behind it. All
// positions are offsets in the frame.
type layer struct {
	ip, l4, end int
	proto       uint8
	v6          bool
	fragment    bool
	pseudo      wire.Sum // pseudo-header sum, 0 where the protocol has none
}

// parseLayer reads the Ethernet frame at offset eth of frame. Of a whole UDP
// datagram, end is where its own length field says.
func parseLayer(frame []byte, eth int) (l layer, ok bool) {
	if len(frame) < eth+wire.EthernetLen {
		return l, false
	}
	l.ip = eth + wire.EthernetLen
	body := frame[l.ip:]
	switch wire.Ethernet(frame[eth:]).Type() {
	case wire.EtherTypeIPv4:
		p, ok := wire.ParseIPv4(body)
		if !ok {
			return l, false
		}
		l.proto, l.fragment = p.Protocol(), p.IsFragment()
		l.l4, l.end = l.ip+p.HeaderLen(), l.ip+len(p)
		l.trimUDP(frame)
		if l.proto != wire.ProtoICMP {
			l.pseudo = wire.PseudoHeader(p.Src(), p.Dst(), l.proto, l.end-l.l4)
		}
	case wire.EtherTypeIPv6:
		p, ok := wire.ParseIPv6(body)
		if !ok {
			return l, false
		}
		proto, off, fragment, ok := p.UpperLayer()
		if !ok {
			return l, false
		}
		l.v6, l.proto, l.fragment = true, proto, fragment
		l.l4, l.end = l.ip+off, l.ip+len(p)
		l.trimUDP(frame)
		l.pseudo = wire.PseudoHeader(p.Src(), p.Dst(), l.proto, l.end-l.l4)
	default:
		return l, false
	}
	return l, true
}

func (l *layer) trimUDP(frame []byte) {
	if l.proto == wire.ProtoUDP && !l.fragment {
		if u, ok := wire.ParseUDP(frame[l.l4:l.end]); ok {
			l.end = l.l4 + len(u)
		}
	}
}

// field returns the transport header's checksum field, or false if the protocol
// has none that we know or the header is cut short.
func (l *layer) field(frame []byte) ([]byte, bool) {
	off, least := 0, 0
	switch {
	case l.proto == wire.ProtoTCP:
		off, least = 16, wire.TCPLen
	case l.proto == wire.ProtoUDP:
		off, least = 6, wire.UDPLen
	case l.proto == wire.ProtoICMP && !l.v6, l.proto == wire.ProtoICMPv6 && l.v6:
		off, least = 2, wire.ICMPLen
	}
	if least == 0 || l.end-l.l4 < least {
		return nil, false
	}
	return frame[l.l4+off : l.l4+off+2], true
}

// complete computes the transport checksum into field.
func (l *layer) complete(frame, field []byte) {
	field[0], field[1] = 0, 0
	v := l.pseudo.Add(frame[l.l4:l.end]).Checksum()
	if v == 0 && l.proto == wire.ProtoUDP {
		v = 0xffff // zero would mean "none", RFC 768
	}
	binary.BigEndian.PutUint16(field, v)
}

// inner returns the offset of the Ethernet frame inside a VXLAN datagram, or
// false if l is none.
func (l *layer) inner(frame []byte) (int, bool) {
	if l.proto != wire.ProtoUDP || l.fragment {
		return 0, false
	}
	u, ok := wire.ParseUDP(frame[l.l4:l.end])
	if !ok || u.DstPort() != wire.VXLANPort {
		return 0, false
	}
	return l.l4 + wire.UDPLen + wire.VXLANLen, true
}

// FinishChecksums completes the transport checksums of an Ethernet frame, and
// of the frame inside it if it is VXLAN, that hold no more than the
// pseudo-header's sum; ICMP over IPv4, which has no pseudo-header, counts as
// unfinished when the field is zero. Finished checksums, right or wrong, stay
// as they are, but an outer one that was right stays right.
//
// It reports whether every payload byte is covered by some checksum, as far as
// one frame can tell: a fragment is covered by the checksum of its datagram.
func FinishChecksums(frame []byte) bool { return finish(frame, 0, true) }

func finish(frame []byte, eth int, outer bool) bool {
	l, ok := parseLayer(frame, eth)
	if !ok {
		return false
	}
	if l.fragment {
		return l.proto == wire.ProtoTCP || l.proto == wire.ProtoUDP ||
			l.proto == wire.ProtoICMP || l.proto == wire.ProtoICMPv6
	}
	field, ok := l.field(frame)
	if !ok {
		return false
	}
	have := binary.BigEndian.Uint16(field)

	var right, covered bool
	if at, ok := l.inner(frame); ok && outer {
		// The kernel may have computed the outer checksum over what the inner
		// one is going to be (local checksum offload): so look first, finish
		// the inner one, and repair the outer one only if it was right before.
		right = l.pseudo.Add(frame[l.l4:l.end]).Fold() == 0xffff
		covered = finish(frame[:l.end], at, false)
	}
	if have == 0 && l.proto == wire.ProtoUDP {
		return covered // no outer checksum: the inner ones must do
	}
	if right || have == l.pseudo.Fold() {
		l.complete(frame, field)
	}
	return true
}
