// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"net/netip"
	"testing"
)

var (
	macA = MAC{2, 0, 0, 0, 0, 1}
	macB = MAC{2, 0, 0, 0, 0, 2}
	a4   = netip.MustParseAddr("10.0.0.1")
	b4   = netip.MustParseAddr("10.0.0.2")
	a6   = netip.MustParseAddr("fd00::1")
	b6   = netip.MustParseAddr("fd00::2")
)

// with returns a copy of b with bytes replaced from offset at.
func with(b []byte, at int, v ...byte) []byte {
	b = bytes.Clone(b)
	copy(b[at:], v)
	return b
}

func cat(pieces ...[]byte) []byte { return bytes.Join(pieces, nil) }

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return
}

func TestMAC(t *testing.T) {
	for _, c := range []struct {
		m           MAC
		s           string
		group, zero bool
	}{
		{MAC{}, "00:00:00:00:00:00", false, true},
		{macA, "02:00:00:00:00:01", false, false},
		{Broadcast, "ff:ff:ff:ff:ff:ff", true, false},
		{MAC{0x33, 0x33, 0, 0, 0, 0xab}, "33:33:00:00:00:ab", true, false},
	} {
		if c.m.String() != c.s || c.m.IsGroup() != c.group || c.m.IsZero() != c.zero {
			t.Errorf("%s: group %v zero %v", c.m, c.m.IsGroup(), c.m.IsZero())
		}
		if b, err := c.m.MarshalText(); err != nil || string(b) != c.s {
			t.Errorf("%s: marshals to %s, %v", c.m, b, err)
		}
	}
	for a, want := range map[string]MAC{
		"224.0.0.1":      {0x01, 0x00, 0x5e, 0, 0, 1},
		"239.255.1.2":    {0x01, 0x00, 0x5e, 0x7f, 1, 2}, // 23 bits only
		"ff02::1:ff00:2": {0x33, 0x33, 0xff, 0, 0, 2},
	} {
		if got := MulticastMAC(netip.MustParseAddr(a)); got != want || !got.IsGroup() {
			t.Errorf("%s: %s", a, got)
		}
	}
	if got := SolicitedNode(netip.MustParseAddr("2001:db8::ab12:3456")); got != netip.MustParseAddr("ff02::1:ff12:3456") {
		t.Errorf("solicited node %s", got)
	}
}

func TestEthernet(t *testing.T) {
	b := make([]byte, EthernetLen+1)
	PutEthernet(b, macA, macB, EtherTypeARP)
	e, ok := ParseEthernet(b)
	if !ok || e.Dst() != macA || e.Src() != macB || e.Type() != EtherTypeARP || len(e.Payload()) != 1 {
		t.Errorf("%x", b)
	}
	if _, ok := ParseEthernet(b[:13]); ok {
		t.Error("13 bytes are a frame")
	}
	if e, ok := ParseEthernet(b[:14]); !ok || len(e.Payload()) != 0 {
		t.Error("14 bytes are no frame")
	}
}

func TestVXLAN(t *testing.T) {
	b := bytes.Repeat([]byte{0xff}, VXLANLen)
	PutVXLAN(b, 0xabcdef)
	if want := []byte{8, 0, 0, 0, 0xab, 0xcd, 0xef, 0}; !bytes.Equal(b, want) {
		t.Errorf("put %x", b)
	}
	v, ok := ParseVXLAN(b)
	if !ok || !v.Valid() || v.VNI() != 0xabcdef || len(v.Payload()) != 0 {
		t.Errorf("parsed %x", b)
	}
	if v, _ := ParseVXLAN(with(b, 0, 0xf7)); v.Valid() {
		t.Error("valid without the I flag")
	}
	if _, ok := ParseVXLAN(b[:7]); ok {
		t.Error("7 bytes are a header")
	}
	if OverheadIPv4 != 50 || OverheadIPv6 != 70 || MaxUDPPayload != 65507 {
		t.Error("overheads")
	}
}

// An echo request from 10.0.0.1 to 10.0.0.2.
var packet4 = []byte{
	0x45, 0x00, 0x00, 0x1c, // version 4, 20 bytes of header; TOS; 28 bytes in all
	0x12, 0x34, 0x40, 0x00, // ID; DF
	0x40, 0x01, 0x14, 0xab, // TTL 64; ICMP; checksum
	0x0a, 0x00, 0x00, 0x01, // source
	0x0a, 0x00, 0x00, 0x02, // destination
	0x08, 0x00, 0xf7, 0xfd, // echo; checksum
	0x00, 0x01, 0x00, 0x01, // identifier, sequence
}

func TestIPv4(t *testing.T) {
	padded := cat(packet4, make([]byte, 18)) // to the 46 bytes of Ethernet
	p, ok := ParseIPv4(padded)
	if !ok || len(p) != 28 || p.TotalLen() != 28 || p.HeaderLen() != 20 || p.TOS() != 0 || p.ID() != 0x1234 ||
		!p.DontFragment() || p.IsFragment() || p.FragmentOffset() != 0 || p.TTL() != 64 || p.Protocol() != ProtoICMP ||
		p.Src() != a4 || p.Dst() != b4 || !bytes.Equal(p.Payload(), packet4[20:]) || !p.ChecksumOK() {
		t.Errorf("%x", []byte(p))
	}
	for i := range 20 {
		bad, ok := ParseIPv4(with(packet4, i, packet4[i]^0x10))
		if ok && bad.ChecksumOK() {
			t.Errorf("byte %d may be wrong", i)
		}
	}
	for name, b := range map[string][]byte{
		"empty":                  nil,
		"19 bytes":               packet4[:19],
		"version 6":              with(packet4, 0, 0x65),
		"header of 16 bytes":     with(packet4, 0, 0x44),
		"header beyond total":    with(packet4, 0, 0x48),
		"total beyond buffer":    with(packet4, 2, 0, 29),
		"total below header":     with(packet4, 2, 0, 19),
		"header beyond a buffer": with(packet4, 0, 0x4f),
	} {
		if _, ok := ParseIPv4(b); ok {
			t.Errorf("%s: parsed", name)
		}
	}
	options := cat([]byte{0x46, 0, 0, 26}, packet4[4:20], []byte{1, 1, 1, 0}, []byte{0xaa, 0xbb})
	p, ok = ParseIPv4(options)
	if !ok || p.HeaderLen() != 24 || !bytes.Equal(p.Payload(), []byte{0xaa, 0xbb}) || p.ChecksumOK() {
		t.Errorf("options: %x", []byte(p))
	}
	if p.SetChecksum(); !p.ChecksumOK() {
		t.Error("options are not in the checksum")
	}
	for _, c := range []struct {
		hi, lo byte
		frag   bool
		off    int
	}{{0x40, 0, false, 0}, {0x20, 0, true, 0}, {0x20, 1, true, 8}, {0, 0xb9, true, 1480}, {0x1f, 0xff, true, 65528}, {0x80, 0, false, 0}} {
		p, _ := ParseIPv4(with(packet4, 6, c.hi, c.lo))
		if p.IsFragment() != c.frag || p.FragmentOffset() != c.off {
			t.Errorf("%02x%02x: fragment %v at %d", c.hi, c.lo, p.IsFragment(), p.FragmentOffset())
		}
	}
}

func TestPutIPv4(t *testing.T) {
	b := bytes.Repeat([]byte{0xee}, 28)
	copy(b[20:], packet4[20:])
	PutIPv4(b, a4, b4, ProtoICMP, 64, 8)
	p := IPv4(b)
	if !p.ChecksumOK() || p.ID() != 0 {
		t.Errorf("put %x", b)
	}
	p.SetID(0x1234)
	p.SetChecksum()
	if !bytes.Equal(b, packet4) {
		t.Errorf("put  %x\nwant %x", b, packet4)
	}
}

// head6 is an IPv6 header for n bytes of payload.
func head6(next byte, n int) []byte {
	b := make([]byte, IPv6Len)
	PutIPv6(b, a6, b6, next, 64, n)
	return b
}

func packet6(next byte, payload ...[]byte) []byte {
	p := cat(payload...)
	return cat(head6(next, len(p)), p)
}

func TestIPv6(t *testing.T) {
	want := []byte{
		0x60, 0x00, 0x00, 0x00, // version 6
		0x00, 0x03, 0x11, 0x40, // payload length; UDP; hop limit 64
		0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
		0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
	}
	b := bytes.Repeat([]byte{0xee}, 44)
	PutIPv6(b, a6, b6, ProtoUDP, 64, 3)
	if !bytes.Equal(b[:40], want) || b[40] != 0xee {
		t.Errorf("put %x", b)
	}
	p, ok := ParseIPv6(b)
	if !ok || len(p) != 43 || p.PayloadLen() != 3 || p.NextHeader() != ProtoUDP || p.HopLimit() != 64 ||
		p.Src() != a6 || p.Dst() != b6 || len(p.Payload()) != 3 {
		t.Errorf("%x", []byte(p))
	}
	for name, b := range map[string][]byte{
		"empty": nil, "39 bytes": want[:39], "version 4": with(want, 0, 0x40), "cut short": b[:42],
	} {
		if _, ok := ParseIPv6(b); ok {
			t.Errorf("%s: parsed", name)
		}
	}
}

func TestUpperLayer(t *testing.T) {
	opt := func(next byte) []byte { return []byte{next, 0, 1, 4, 0, 0, 0, 0} }
	frag := func(next byte, hi, lo byte) []byte { return []byte{next, 0, hi, lo, 0, 0, 0, 9} }
	udp := make([]byte, UDPLen)
	chain := func(n int) []byte {
		var b []byte
		for range n - 1 {
			b = append(b, opt(60)...)
		}
		return packet6(60, b, opt(ProtoUDP), udp)
	}
	for _, c := range []struct {
		name   string
		b      []byte
		proto  uint8
		offset int
		frag   bool
		ok     bool
	}{
		{"plain", packet6(ProtoUDP, udp), ProtoUDP, 40, false, true},
		{"no next header", packet6(59), 59, 40, false, true},
		{"hop by hop", packet6(0, opt(ProtoTCP)), ProtoTCP, 48, false, true},
		{"hop by hop, routing, destination", packet6(0, opt(43), opt(60), opt(ProtoUDP), udp), ProtoUDP, 64, false, true},
		{"long option", packet6(60, []byte{ProtoUDP, 2}, make([]byte, 22), udp), ProtoUDP, 64, false, true},
		{"longest option", packet6(60, []byte{ProtoUDP, 255}, make([]byte, 2046)), ProtoUDP, 2088, false, true},
		{"option cut short", packet6(60, []byte{ProtoUDP, 1}, make([]byte, 13)), 0, 0, false, false},
		{"option of 7 bytes", packet6(0, make([]byte, 7)), 0, 0, false, false},
		{"no option", packet6(43), 0, 0, false, false},
		{"first fragment", packet6(44, frag(ProtoUDP, 0, 1), udp), ProtoUDP, 48, true, true},
		{"first fragment with options", packet6(44, frag(60, 0, 1), opt(ProtoUDP), udp), ProtoUDP, 56, true, true},
		{"later fragment", packet6(44, frag(ProtoUDP, 0, 9), udp), ProtoUDP, 48, true, true},
		{"later fragment, options are data", packet6(44, frag(60, 0, 8), opt(ProtoUDP)), 60, 48, true, true},
		{"last fragment", packet6(44, frag(ProtoUDP, 0xff, 0xf8), udp), ProtoUDP, 48, true, true},
		{"atomic fragment", packet6(44, frag(ProtoUDP, 0, 0), udp), ProtoUDP, 48, false, true},
		{"atomic fragment, reserved bits", packet6(44, frag(ProtoUDP, 0, 6), udp), ProtoUDP, 48, false, true},
		{"fragment cut short", packet6(44, make([]byte, 7)), 0, 0, true, false},
		{"option after first fragment cut short", packet6(44, frag(60, 0, 1), make([]byte, 7)), 0, 0, true, false},
		{"ESP is an upper layer", packet6(50, udp), 50, 40, false, true},
		{"8 headers", chain(8), ProtoUDP, 104, false, true},
		{"9 headers", chain(9), 0, 0, false, false},
	} {
		p, ok := ParseIPv6(c.b)
		if !ok {
			t.Fatalf("%s: not parsed", c.name)
		}
		proto, offset, frag, ok := p.UpperLayer()
		if proto != c.proto || offset != c.offset || frag != c.frag || ok != c.ok {
			t.Errorf("%s: proto %d at %d, fragment %v, ok %v", c.name, proto, offset, frag, ok)
		}
	}
}

func TestTCP(t *testing.T) {
	b := []byte{
		0x00, 0x50, 0xc3, 0x50, // ports 80, 50000
		0x01, 0x02, 0x03, 0x04, // sequence
		0x05, 0x06, 0x07, 0x08, // acknowledgment
		0x60, 0x12, 0x20, 0x00, // 24 bytes of header; SYN, ACK; window 8192
		0xab, 0xcd, 0x00, 0x00, // checksum; urgent pointer
		0x02, 0x04, 0x05, 0xb4, // MSS 1460
		0xaa, // payload
	}
	s, ok := ParseTCP(b)
	if !ok || s.SrcPort() != 80 || s.DstPort() != 50000 || s.Seq() != 0x01020304 || s.Ack() != 0x05060708 ||
		s.HeaderLen() != 24 || s.Flags() != TCPSyn|TCPAck || s.Window() != 8192 || s.Checksum() != 0xabcd ||
		!bytes.Equal(s.Payload(), []byte{0xaa}) {
		t.Errorf("%x", b)
	}
	s.SetSeq(0x11121314)
	s.SetFlags(TCPCwr | TCPFin)
	s.SetChecksum(0x2122)
	if s.Seq() != 0x11121314 || s.Flags() != 0x81 || s.Checksum() != 0x2122 {
		t.Errorf("set %x", b)
	}
	for name, b := range map[string][]byte{
		"empty": nil, "19 bytes": b[:19], "options cut short": b[:23], "header of 16 bytes": with(b, 12, 0x40),
		"header beyond the buffer": with(b, 12, 0xf0),
	} {
		if _, ok := ParseTCP(b); ok {
			t.Errorf("%s: parsed", name)
		}
	}
}

func TestUDP(t *testing.T) {
	b := []byte{
		0x12, 0xb5, 0x00, 0x35, // ports 4789, 53
		0x00, 0x0a, 0xab, 0xcd, // 10 bytes; checksum
		0x01, 0x02, 0xee, // payload; padding
	}
	u, ok := ParseUDP(b)
	if !ok || len(u) != 10 || u.SrcPort() != 4789 || u.DstPort() != 53 || u.Checksum() != 0xabcd || !bytes.Equal(u.Payload(), []byte{1, 2}) {
		t.Errorf("%x", []byte(u))
	}
	if u.SetChecksum(0x1234); u.Checksum() != 0x1234 {
		t.Error("checksum not set")
	}
	for name, b := range map[string][]byte{
		"empty": nil, "7 bytes": b[:7], "length 7": with(b, 4, 0, 7), "length 12": with(b, 4, 0, 12), "length 0": with(b, 4, 0, 0),
	} {
		if _, ok := ParseUDP(b); ok {
			t.Errorf("%s: parsed", name)
		}
	}
}

func TestICMP(t *testing.T) {
	b := []byte{
		0x03, 0x04, 0x00, 0x00, // fragmentation needed; checksum
		0x00, 0x01, 0x05, 0x78, // unused; MTU 1400 (as a packet-too-big message: 66,936)
		0x45, // what it quotes
	}
	m, ok := ParseICMP(b)
	if !ok || m.Type() != ICMPv4Unreachable || m.Code() != ICMPv4FragNeeded || m.MTU() != 1400 || m.MTU6() != 66936 || len(m.Payload()) != 1 {
		t.Errorf("%x", b)
	}
	if m.SetChecksum4(); naive(b) != 0xffff {
		t.Errorf("checksum %x", b)
	}
	pseudo := PseudoHeader(a6, b6, ProtoICMPv6, len(b))
	if m.SetChecksum6(pseudo); pseudo.Add(b).Fold() != 0xffff {
		t.Errorf("checksum %x", b)
	}
	if _, ok := ParseICMP(b[:7]); ok {
		t.Error("7 bytes are a message")
	}
}

func TestARP(t *testing.T) {
	want := []byte{
		0x00, 0x01, 0x08, 0x00, 6, 4, // Ethernet, IPv4, address lengths
		0x00, 0x02, // reply
		2, 0, 0, 0, 0, 1, 10, 0, 0, 1, // sender
		2, 0, 0, 0, 0, 2, 10, 0, 0, 2, // target
	}
	b := bytes.Repeat([]byte{0xee}, 46)
	PutARP(b, ARPReply, macA, a4, macB, b4)
	if !bytes.Equal(b[:ARPLen], want) || b[ARPLen] != 0xee {
		t.Errorf("put %x", b)
	}
	a, ok := ParseARP(b)
	if !ok || len(a) != ARPLen || a.Op() != ARPReply || a.SenderMAC() != macA || a.SenderIP() != a4 || a.TargetMAC() != macB || a.TargetIP() != b4 {
		t.Errorf("parsed %x", []byte(a))
	}
	for name, b := range map[string][]byte{
		"empty": nil, "27 bytes": want[:27], "hardware 6": with(want, 0, 0, 6), "protocol IPv6": with(want, 2, 0x86, 0xdd),
		"hardware length": with(want, 4, 8), "protocol length": with(want, 5, 16),
	} {
		if _, ok := ParseARP(b); ok {
			t.Errorf("%s: parsed", name)
		}
	}
	if !panics(func() { PutARP(b[:27], ARPReply, macA, a4, macB, b4) }) {
		t.Error("put into 27 bytes")
	}
}

func TestND(t *testing.T) {
	b := bytes.Repeat([]byte{0xee}, 40)
	n := PutND(b, ICMPv6NeighAdvert, NAFlagSolicited|NAFlagOverride, a6, NDOptTargetLL, macA, a6, b6)
	want := []byte{
		0x88, 0x00, 0, 0, // advertisement; checksum
		0x60, 0, 0, 0, // solicited, override
		0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, // target
		2, 1, 2, 0, 0, 0, 0, 1, // target link-layer address
	}
	if n != NDLen+NDOptLLLen || !bytes.Equal(with(b[:n], 2, 0, 0), want) || b[n] != 0xee {
		t.Errorf("put %x", b)
	}
	if PseudoHeader(a6, b6, ProtoICMPv6, n).Add(b[:n]).Fold() != 0xffff {
		t.Error("checksum")
	}
	m, ok := ParseND(b[:n])
	if !ok || m.Type() != ICMPv6NeighAdvert || m.Flags() != 0x60 || m.Target() != a6 {
		t.Errorf("parsed %x", []byte(m))
	}
	if mac, ok := m.LinkAddr(NDOptTargetLL); !ok || mac != macA {
		t.Errorf("link address %s %v", mac, ok)
	}
	if _, ok := m.LinkAddr(NDOptSourceLL); ok {
		t.Error("another option was found")
	}
	// Without an option: a solicitation from the unspecified address.
	to := SolicitedNode(a6)
	n = PutND(b, ICMPv6NeighSolicit, 0, a6, NDOptSourceLL, MAC{}, netip.IPv6Unspecified(), to)
	m, ok = ParseND(b[:n])
	if n != NDLen || !ok || m.Type() != ICMPv6NeighSolicit || PseudoHeader(netip.IPv6Unspecified(), to, ProtoICMPv6, n).Add(b[:n]).Fold() != 0xffff {
		t.Errorf("put %x", b[:n])
	}
	if _, ok := m.LinkAddr(NDOptSourceLL); ok {
		t.Error("an option was found where none is")
	}

	bare := with(want[:NDLen], 0, ICMPv6NeighSolicit)
	ll := []byte{NDOptSourceLL, 1, 2, 0, 0, 0, 0, 2}
	for _, c := range []struct {
		name string
		b    []byte
		ok   bool
		mac  MAC
	}{
		{"two options", cat(bare, []byte{14, 1, 0, 0, 0, 0, 0, 0}, ll), true, macB},
		{"long option before", cat(bare, []byte{5, 2}, make([]byte, 14), ll), true, macB},
		{"link address of 14 bytes is not Ethernet", cat(bare, []byte{NDOptSourceLL, 2}, make([]byte, 14), ll), true, macB},
		{"the first of two", cat(bare, ll, []byte{NDOptSourceLL, 1, 9, 9, 9, 9, 9, 9}), true, macB},
		{"23 bytes", bare[:23], false, MAC{}},
		{"code", with(bare, 1, 1), false, MAC{}},
		{"redirect", with(bare, 0, ICMPv6Redirect), false, MAC{}},
		{"option of length 0", cat(bare, []byte{1, 0, 0, 0, 0, 0, 0, 0}), false, MAC{}},
		{"option cut short", cat(bare, ll[:7]), false, MAC{}},
		{"option beyond the end", cat(bare, with(ll, 1, 2)), false, MAC{}},
		{"second option of length 0", cat(bare, ll, with(ll, 1, 0)), false, MAC{}},
	} {
		m, ok := ParseND(c.b)
		if ok != c.ok {
			t.Errorf("%s: parsed %v", c.name, ok)
		}
		if ok {
			if mac, _ := m.LinkAddr(NDOptSourceLL); mac != c.mac {
				t.Errorf("%s: %s", c.name, mac)
			}
		}
	}
}

func TestAllocs(t *testing.T) {
	b := make([]byte, 128)
	nd := make([]byte, 32)
	PutND(nd, ICMPv6NeighAdvert, 0, a6, NDOptTargetLL, macA, a6, b6)
	chain := IPv6(packet6(0, []byte{60, 0, 0, 0, 0, 0, 0, 0}, []byte{ProtoUDP, 0, 0, 0, 0, 0, 0, 0}))
	if n := testing.AllocsPerRun(100, func() {
		PutIPv4(b, a4, b4, ProtoTCP, 64, 100)
		if p, ok := ParseIPv4(packet4); !ok || p.Src() != a4 || !p.ChecksumOK() {
			t.Fail()
		}
		PutIPv6(b, a6, b6, ProtoTCP, 64, 60)
		if p, ok := ParseIPv6(b); !ok || p.Src() != a6 {
			t.Fail()
		}
		chain.UpperLayer()
		PutARP(b, ARPReply, macA, a4, macB, b4)
		ParseARP(b)
		if m, ok := ParseND(nd); ok {
			m.LinkAddr(NDOptTargetLL)
		}
		PutND(b, ICMPv6NeighAdvert, 0, a6, NDOptTargetLL, macA, a6, SolicitedNode(b6))
		PutEthernet(b, MulticastMAC(a4), macB, EtherTypeARP)
		PutVXLAN(b, 7)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkUpperLayer(b *testing.B) {
	p := IPv6(packet6(0, []byte{60, 0, 0, 0, 0, 0, 0, 0}, []byte{ProtoUDP, 0, 0, 0, 0, 0, 0, 0}))
	b.ReportAllocs()
	for b.Loop() {
		p.UpperLayer()
	}
}

func BenchmarkPutIPv4(b *testing.B) {
	p := make([]byte, 20)
	b.ReportAllocs()
	for b.Loop() {
		PutIPv4(p, a4, b4, ProtoTCP, 64, 1448)
	}
}

func TestMACText(t *testing.T) {
	want := MAC{2, 0, 0, 0xab, 0, 1}
	text, err := want.MarshalText()
	var got MAC
	if err != nil || got.UnmarshalText(text) != nil || got != want {
		t.Errorf("%s: %v, want %v (%v)", text, got, want, err)
	}
	for _, bad := range []string{"", "02:00:00:00:00", "02:00:00:00:00:00:00:01", "x"} {
		if got.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%q is an address", bad)
		}
	}
}
