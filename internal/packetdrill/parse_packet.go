// SPDX-License-Identifier: Apache-2.0

package packetdrill

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"strings"

	"netcon/dataplane/wire"
)

// flagAE is the bit beside the flags byte: accurate ECN, formerly NS.
const flagAE = 1 << 8

var flagLetters = map[byte]uint16{
	'F': wire.TCPFin, 'S': wire.TCPSyn, 'R': wire.TCPRst, 'P': wire.TCPPsh,
	'U': wire.TCPUrg, 'E': wire.TCPEce, 'W': wire.TCPCwr, 'A': flagAE, '.': wire.TCPAck,
}

// packet parses a packet from its direction on.
func (p *parser) packet() (*Packet, error) {
	k := &Packet{Win: -1, Out: p.next().text == ">"}
	if p.is("(") || p.is("[") {
		if err := p.ipInfo(k); err != nil {
			return nil, err
		}
	}
	for _, word := range []string{"udp", "ipv4", "ipv6", "gre", "GREv0", "mpls", "raw"} {
		if p.is(word) {
			return nil, p.fail("packets with %s are not supported", word)
		}
	}
	if p.accept("icmp") {
		return k, p.icmp(k)
	}
	if p.isAt(1, ">") {
		if err := p.ports(k); err != nil {
			return nil, err
		}
	}
	if err := p.flags(k); err != nil {
		return nil, err
	}
	var err error
	if k.Seq, k.Len, err = p.sequence(); err != nil {
		return nil, err
	}
	return k, p.tcpFields(k)
}

// ipInfo parses (ect0), [tos 0x2], (ttl 64), [flowlabel 0x1], also with commas.
func (p *parser) ipInfo(k *Packet) error {
	end := ")"
	if p.next().text == "[" {
		end = "]"
	}
	for {
		t := p.next()
		switch t.text {
		case "noecn":
			k.ECN, k.TOS = ecnExact, 0
		case "ect0":
			k.ECN, k.TOS = ecnExact, 2
		case "ect1":
			k.ECN, k.TOS = ecnExact, 1
		case "ce":
			k.ECN, k.TOS = ecnExact, 3
		case "ect01":
			if k.ECN = ecnECT; !k.Out {
				return p.fail("[ect01] is for expected packets")
			}
		case "tos":
			v, err := p.integer("tos", 0, 255)
			if err != nil {
				return err
			}
			k.TOS, k.CheckTOS = uint8(v), true
		case "ttl":
			v, err := p.integer("ttl", 1, 255)
			if err != nil {
				return err
			}
			k.TTL = uint8(v)
		case "flowlabel":
			v, err := p.integer("flow label", 0, 1<<20-1)
			if err != nil {
				return err
			}
			k.Label, k.HasLabel = uint32(v), true
		default:
			return p.failAt(t.line, "%v is no property of an IP header", t)
		}
		if p.accept(end) {
			return nil
		}
		if err := p.expect(","); err != nil {
			return err
		}
	}
}

func (p *parser) ports(k *Packet) error {
	src, err := p.integer("source port", 1, math.MaxUint16)
	if err != nil {
		return err
	}
	p.next() // >
	dst, err := p.integer("destination port", 1, math.MaxUint16)
	k.SrcPort, k.DstPort = uint16(src), uint16(dst)
	return err
}

// flags parses "S", "FP.", ".", "-", and "S.5", which is AccECN's count.
func (p *parser) flags(k *Packet) error {
	t := p.next()
	text := t.text
	switch {
	case t.kind == tokPunct && text == "-":
		return nil
	case t.kind == tokWord:
		switch f := p.peek(); {
		case p.is("."):
			text += p.next().text
		case f.kind == tokFloat && f.text[0] == '.':
			text += p.next().text
		}
	}
	for i := range len(text) {
		c := text[i]
		bit, ok := flagLetters[c]
		switch {
		case ok:
		case i > 0 && text[i-1] == '.' && c >= '0' && c <= '7' && i == len(text)-1:
			bit = uint16(c-'0')&1*wire.TCPEce | uint16(c-'0')>>1&1*wire.TCPCwr | uint16(c-'0')>>2*flagAE
		default:
			return p.failAt(t.line, "%v: %q is no TCP flag", t, c)
		}
		k.Flags |= bit
	}
	return nil
}

// sequence parses START:END(LENGTH).
func (p *parser) sequence() (uint32, int, error) {
	line := p.peek().line
	start, err := p.integer("sequence number", 0, math.MaxUint32)
	if err != nil {
		return 0, 0, err
	}
	if err := p.expect(":"); err != nil {
		return 0, 0, err
	}
	end, err := p.integer("sequence number", 0, math.MaxUint32)
	if err != nil {
		return 0, 0, err
	}
	if err := p.expect("("); err != nil {
		return 0, 0, err
	}
	n, err := p.integer("payload length", 0, math.MaxUint16)
	if err != nil {
		return 0, 0, err
	}
	if uint32(start)+uint32(n) != uint32(end) {
		return 0, 0, p.failAt(line, "sequence numbers %d:%d do not fit %d bytes", start, end, n)
	}
	return uint32(start), int(n), p.expect(")")
}

func (p *parser) tcpFields(k *Packet) error {
	if p.accept("ack") {
		v, err := p.integer("ack", 0, math.MaxUint32)
		if err != nil {
			return err
		}
		k.Ack = uint32(v)
	}
	if p.accept("win") {
		v, err := p.integer("win", 0, math.MaxUint16)
		if err != nil {
			return err
		}
		k.Win = int(v)
	}
	if p.accept("urg") {
		v, err := p.integer("urg", 0, math.MaxUint16)
		if err != nil {
			return err
		}
		k.Urg = uint16(v)
	}
	if p.is("{") {
		return p.fail("fuzzing of packets is not supported")
	}
	// "<" may also begin the next event's direction, but an event begins
	// with its time.
	if !p.accept("<") {
		return nil
	}
	if p.peek().kind == tokEllipsis {
		p.next()
		if k.AnyOptions = true; !k.Out {
			return p.fail("<...> is for expected packets")
		}
		return p.expect(">")
	}
	for {
		o, err := p.option()
		if err != nil {
			return err
		}
		k.Opts = append(k.Opts, o)
		if p.accept(">") {
			break
		}
		if err := p.expect(","); err != nil {
			return err
		}
	}
	if n := optionsLen(k.Opts); n > 40 {
		return p.fail("options of %d bytes (want 40 at most)", n)
	}
	return nil
}

// Kinds of TCP options.
const (
	optEOL       = 0
	optNOP       = 1
	optMSS       = 2
	optWScale    = 3
	optSACKOK    = 4
	optSACK      = 5
	optTimestamp = 8
	optMD5       = 19
	optFastOpen  = 34
	optExp       = 254
)

func (p *parser) option() (TCPOption, error) {
	t := p.next()
	number := func(what string, most int64) (uint32, error) {
		v, err := p.integer(what, 0, most)
		return uint32(v), err
	}
	switch t.text {
	case "eol":
		return TCPOption{Kind: optEOL}, nil
	case "nop":
		return TCPOption{Kind: optNOP}, nil
	case "sackOK":
		return TCPOption{Kind: optSACKOK}, nil
	case "mss":
		v, err := number("mss", math.MaxUint16)
		return TCPOption{optMSS, binary.BigEndian.AppendUint16(nil, uint16(v))}, err
	case "wscale":
		v, err := number("window scale", math.MaxUint8)
		return TCPOption{optWScale, []byte{byte(v)}}, err
	case "TS":
		if err := p.expect("val"); err != nil {
			return TCPOption{}, err
		}
		val, err := number("TS val", math.MaxUint32)
		if err != nil {
			return TCPOption{}, err
		}
		if err := p.expect("ecr"); err != nil {
			return TCPOption{}, err
		}
		ecr, err := number("TS ecr", math.MaxUint32)
		return TCPOption{optTimestamp, binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, val), ecr)}, err
	case "sack":
		o := TCPOption{Kind: optSACK}
		for {
			left, err := number("sack", math.MaxUint32)
			if err != nil {
				return o, err
			}
			if err := p.expect(":"); err != nil {
				return o, err
			}
			right, err := number("sack", math.MaxUint32)
			if err != nil {
				return o, err
			}
			o.Data = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(o.Data, left), right)
			if p.peek().kind != tokInt {
				return o, nil
			}
		}
	case "md5":
		data, err := p.hexBlob()
		return TCPOption{optMD5, data}, err
	case "FO":
		data, err := p.hexBlob()
		return TCPOption{optFastOpen, data}, err
	case "FOEXP":
		data, err := p.hexBlob()
		return TCPOption{optExp, append([]byte{0xf9, 0x89}, data...)}, err
	}
	return TCPOption{}, p.failAt(t.line, "%v is no TCP option", t)
}

// hexBlob takes hexadecimal digits, none at all if something else follows.
func (p *parser) hexBlob() ([]byte, error) {
	t := p.peek()
	if t.kind != tokWord && t.kind != tokInt && t.kind != tokHex {
		return nil, nil
	}
	data, err := hex.DecodeString(strings.TrimPrefix(t.text, "0x"))
	if err != nil || len(data) > 38 {
		return nil, p.fail("%v (want pairs of hexadecimal digits, 38 at most)", t)
	}
	p.next()
	return data, nil
}

func (p *parser) icmp(k *Packet) error {
	t := p.next()
	if t.kind != tokWord {
		return p.failAt(t.line, "%v, want an ICMP type", t)
	}
	m := &ICMP{Type: t.text, MTU: -1}
	k.ICMP = m
	if p.peek().kind == tokWord && !p.is("mtu") && !p.is("id") {
		m.Code = p.next().text
	}
	if p.accept("mtu") {
		v, err := p.integer("mtu", 0, math.MaxUint32)
		if err != nil {
			return err
		}
		m.MTU = int(v)
	}
	if p.accept("id") {
		v, err := p.integer("id", 0, math.MaxUint16)
		if err != nil {
			return err
		}
		m.ID = uint16(v)
	}
	if !p.accept("[") {
		return nil
	}
	if p.is("udp") || p.is("raw") {
		return p.fail("an ICMP message that quotes %s is not supported", p.peek().text)
	}
	var err error
	m.Quote = true
	if m.Seq, m.Len, err = p.sequence(); err != nil {
		return err
	}
	return p.expect("]")
}
