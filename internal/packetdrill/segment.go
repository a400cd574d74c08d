// SPDX-License-Identifier: Apache-2.0

package packetdrill

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"netcon/dataplane/wire"
)

// segment is a packet on the wire, taken apart.
type segment struct {
	at       time.Duration // script time
	src, dst netip.AddrPort
	tos, ttl uint8
	label    uint32
	size     int // of the whole packet

	seq, ack uint32
	flags    uint16
	win, urg uint16
	opts     []TCPOption
	payload  []byte

	icmp wire.ICMP // instead of TCP
}

// parseSegment takes apart what a machine sent and verifies every checksum.
func parseSegment(b []byte, checksums bool) (*segment, error) {
	s := &segment{size: len(b)}
	var src, dst netip.Addr
	var proto uint8
	var body []byte
	if p, ok := wire.ParseIPv4(b); ok {
		src, dst, proto, body = p.Src(), p.Dst(), p.Protocol(), p.Payload()
		s.tos, s.ttl = p.TOS(), p.TTL()
		switch {
		case p.TotalLen() != len(b):
			return nil, fmt.Errorf("IPv4 packet of %d bytes says %d", len(b), p.TotalLen())
		case !p.ChecksumOK():
			return nil, fmt.Errorf("IPv4 header checksum is wrong")
		case p.IsFragment():
			return nil, fmt.Errorf("a fragment")
		}
	} else if p, ok := wire.ParseIPv6(b); ok {
		src, dst, proto, body = p.Src(), p.Dst(), p.NextHeader(), p.Payload()
		word := binary.BigEndian.Uint32(b)
		s.tos, s.label, s.ttl = uint8(word>>20), word&0xfffff, p.HopLimit()
		if p.PayloadLen()+wire.IPv6Len != len(b) {
			return nil, fmt.Errorf("IPv6 packet of %d bytes says %d", len(b), p.PayloadLen()+wire.IPv6Len)
		}
	} else {
		return nil, fmt.Errorf("neither IPv4 nor IPv6")
	}
	sum := wire.PseudoHeader(src, dst, proto, len(body)).Add(body).Fold()
	switch proto {
	case wire.ProtoTCP:
		if checksums && sum != 0xffff {
			return nil, fmt.Errorf("TCP checksum is wrong")
		}
		return s, s.parseTCP(src, dst, body)
	case wire.ProtoICMP, wire.ProtoICMPv6:
		if proto == wire.ProtoICMP {
			sum = wire.Sum(0).Add(body).Fold()
		}
		m, ok := wire.ParseICMP(body)
		if !ok || sum != 0xffff {
			return nil, fmt.Errorf("ICMP message is short or its checksum wrong")
		}
		s.src, s.dst, s.icmp = netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, 0), m
		return s, nil
	}
	return nil, fmt.Errorf("protocol %d", proto)
}

func (s *segment) parseTCP(src, dst netip.Addr, body []byte) error {
	t, ok := wire.ParseTCP(body)
	if !ok {
		return fmt.Errorf("TCP header is not whole")
	}
	s.src, s.dst = netip.AddrPortFrom(src, t.SrcPort()), netip.AddrPortFrom(dst, t.DstPort())
	s.seq, s.ack, s.win = t.Seq(), t.Ack(), t.Window()
	s.flags = uint16(t.Flags()) | uint16(t[12]&1)<<8
	s.urg = binary.BigEndian.Uint16(t[18:20])
	s.payload = t.Payload()
	var err error
	s.opts, err = parseOptions(t[wire.TCPLen:t.HeaderLen()])
	return err
}

func parseOptions(b []byte) (list []TCPOption, err error) {
	for len(b) > 0 {
		switch n := len(b); {
		case b[0] == optEOL:
			return append(list, TCPOption{Kind: optEOL}), nil
		case b[0] == optNOP:
			list, b = append(list, TCPOption{Kind: optNOP}), b[1:]
		case n < 2 || b[1] < 2 || int(b[1]) > n:
			return nil, fmt.Errorf("TCP option %d is not whole", b[0])
		default:
			list, b = append(list, TCPOption{Kind: b[0], Data: b[2:b[1]]}), b[b[1]:]
		}
	}
	return list, nil
}

func optionsLen(opts []TCPOption) (n int) {
	for _, o := range opts {
		if n++; o.Kind != optEOL && o.Kind != optNOP {
			n += 1 + len(o.Data)
		}
	}
	return n
}

// build makes the packet that s says. Options are padded with zeros.
func (s *segment) build() []byte {
	hl := wire.TCPLen + (optionsLen(s.opts)+3)&^3
	body := make([]byte, hl+len(s.payload))
	binary.BigEndian.PutUint16(body[0:], s.src.Port())
	binary.BigEndian.PutUint16(body[2:], s.dst.Port())
	binary.BigEndian.PutUint32(body[4:], s.seq)
	binary.BigEndian.PutUint32(body[8:], s.ack)
	body[12] = byte(hl/4)<<4 | byte(s.flags>>8&1)
	body[13] = byte(s.flags)
	binary.BigEndian.PutUint16(body[14:], s.win)
	binary.BigEndian.PutUint16(body[18:], s.urg)
	at := body[wire.TCPLen:wire.TCPLen]
	for _, o := range s.opts {
		if at = append(at, o.Kind); o.Kind != optEOL && o.Kind != optNOP {
			at = append(append(at, byte(2+len(o.Data))), o.Data...)
		}
	}
	copy(body[hl:], s.payload)
	src, dst := s.src.Addr(), s.dst.Addr()
	sum := wire.PseudoHeader(src, dst, wire.ProtoTCP, len(body)).Add(body).Checksum()
	binary.BigEndian.PutUint16(body[16:], sum)
	return wrapIP(src, dst, wire.ProtoTCP, s.tos, s.ttl, s.label, body)
}

// wrapIP puts an IP header in front of body.
func wrapIP(src, dst netip.Addr, proto, tos, ttl uint8, label uint32, body []byte) []byte {
	if src.Is4() {
		b := make([]byte, wire.IPv4Len+len(body))
		wire.PutIPv4(b, src, dst, proto, ttl, len(body))
		b[1] = tos
		wire.IPv4(b).SetChecksum()
		copy(b[wire.IPv4Len:], body)
		return b
	}
	b := make([]byte, wire.IPv6Len+len(body))
	wire.PutIPv6(b, src, dst, proto, ttl, len(body))
	binary.BigEndian.PutUint32(b, 6<<28|uint32(tos)<<20|label)
	copy(b[wire.IPv6Len:], body)
	return b
}

// flagString writes flags the way scripts do.
func flagString(flags uint16) string {
	var b strings.Builder
	for _, c := range "FSRPEWUA." {
		if flags&flagLetters[byte(c)] != 0 {
			b.WriteRune(c)
		}
	}
	if b.Len() == 0 {
		return "-"
	}
	return b.String()
}

// optionString writes options the way scripts do.
func optionString(opts []TCPOption) string {
	var list []string
	for _, o := range opts {
		list = append(list, o.String())
	}
	return "<" + strings.Join(list, ",") + ">"
}

// String writes the option the way scripts do.
func (o TCPOption) String() string {
	word := func(i int) uint32 { return binary.BigEndian.Uint32(o.Data[i:]) }
	switch n := len(o.Data); {
	case o.Kind == optEOL:
		return "eol"
	case o.Kind == optNOP:
		return "nop"
	case o.Kind == optSACKOK && n == 0:
		return "sackOK"
	case o.Kind == optMSS && n == 2:
		return fmt.Sprintf("mss %d", binary.BigEndian.Uint16(o.Data))
	case o.Kind == optWScale && n == 1:
		return fmt.Sprintf("wscale %d", o.Data[0])
	case o.Kind == optTimestamp && n == 8:
		return fmt.Sprintf("TS val %d ecr %d", word(0), word(4))
	case o.Kind == optSACK && n > 0 && n%8 == 0:
		text := "sack"
		for i := 0; i < n; i += 8 {
			text += fmt.Sprintf(" %d:%d", word(i), word(i+4))
		}
		return text
	case o.Kind == optFastOpen:
		return strings.TrimSpace(fmt.Sprintf("FO %x", o.Data))
	case o.Kind == optMD5:
		return fmt.Sprintf("md5 %x", o.Data)
	}
	return fmt.Sprintf("option %d %x", o.Kind, o.Data)
}

// String writes a segment the way scripts do, without its direction.
func (s *segment) String() string {
	var b strings.Builder
	switch s.tos & 3 {
	case 1:
		b.WriteString("[ect1] ")
	case 2:
		b.WriteString("[ect0] ")
	case 3:
		b.WriteString("[ce] ")
	}
	if s.icmp != nil {
		fmt.Fprintf(&b, "icmp type %d code %d", s.icmp.Type(), s.icmp.Code())
		return b.String()
	}
	fmt.Fprintf(&b, "%s %d:%d(%d)", flagString(s.flags), s.seq, s.seq+uint32(len(s.payload)), len(s.payload))
	if s.flags&wire.TCPAck != 0 {
		fmt.Fprintf(&b, " ack %d", s.ack)
	}
	fmt.Fprintf(&b, " win %d", s.win)
	if s.flags&wire.TCPUrg != 0 {
		fmt.Fprintf(&b, " urg %d", s.urg)
	}
	if len(s.opts) > 0 {
		b.WriteString(" " + optionString(s.opts))
	}
	return b.String()
}
