// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"testing"
)

// within reports a view that reaches outside the bytes it was parsed from.
func within(t *testing.T, name string, b, view []byte) {
	t.Helper()
	if len(view) > len(b) {
		t.Fatalf("%s: %d bytes out of %d", name, len(view), len(b))
	}
}

// use calls every accessor and setter of every view that b parses as.
func use(t *testing.T, b []byte) {
	if e, ok := ParseEthernet(b); ok {
		_, _, _ = e.Dst(), e.Src(), e.Type()
		within(t, "ethernet", b, e.Payload())
	}
	if v, ok := ParseVXLAN(b); ok {
		if v.Valid(); v.VNI() > VNIMax {
			t.Fatalf("vni %d", v.VNI())
		}
		within(t, "vxlan", b, v.Payload())
	}
	if a, ok := ParseARP(b); ok {
		_, _, _ = a.Op(), a.SenderMAC(), a.TargetMAC()
		if !a.SenderIP().Is4() || !a.TargetIP().Is4() || len(a) != ARPLen {
			t.Fatal("arp addresses")
		}
	}
	if m, ok := ParseND(b); ok {
		_, _, _ = m.Type(), m.Flags(), m.Target()
		for opt := range 256 {
			m.LinkAddr(uint8(opt))
		}
	}
	if p, ok := ParseIPv4(b); ok {
		use4(t, b, p)
	}
	if p, ok := ParseIPv6(b); ok {
		use6(t, b, p)
	}
	useUpper(t, b)
}

func use4(t *testing.T, b []byte, p IPv4) {
	_, _, _, _ = p.TOS(), p.ID(), p.TTL(), p.Protocol()
	_, _, _ = p.DontFragment(), p.IsFragment(), p.FragmentOffset()
	_, _ = p.Src(), p.Dst()
	if len(p) != p.TotalLen() || len(p.Payload()) != p.TotalLen()-p.HeaderLen() {
		t.Fatalf("IPv4: %d bytes, total %d, header %d", len(p), p.TotalLen(), p.HeaderLen())
	}
	within(t, "IPv4", b, p)
	useUpper(t, p.Payload())
	q := IPv4(bytes.Clone(p))
	q.SetID(1)
	if q.SetChecksum(); !q.ChecksumOK() {
		t.Fatal("IPv4: a computed checksum is wrong")
	}
	p.ChecksumOK()
}

func use6(t *testing.T, b []byte, p IPv6) {
	_, _, _, _ = p.NextHeader(), p.HopLimit(), p.Src(), p.Dst()
	if len(p) != IPv6Len+p.PayloadLen() || len(p.Payload()) != p.PayloadLen() {
		t.Fatalf("IPv6: %d bytes, payload %d", len(p), p.PayloadLen())
	}
	within(t, "IPv6", b, p)
	_, offset, _, ok := p.UpperLayer()
	if !ok {
		return
	}
	if offset < IPv6Len || offset > len(p) {
		t.Fatalf("IPv6: upper layer at %d of %d", offset, len(p))
	}
	useUpper(t, p[offset:])
}

func useUpper(t *testing.T, b []byte) {
	b = bytes.Clone(b)
	if s, ok := ParseTCP(b); ok {
		_, _, _, _ = s.SrcPort(), s.DstPort(), s.Seq(), s.Ack()
		_, _, _ = s.Flags(), s.Window(), s.Checksum()
		if len(s.Payload()) != len(b)-s.HeaderLen() {
			t.Fatal("tcp payload")
		}
		s.SetSeq(1)
		s.SetFlags(2)
		s.SetChecksum(3)
	}
	if u, ok := ParseUDP(b); ok {
		_, _, _ = u.SrcPort(), u.DstPort(), u.Checksum()
		within(t, "udp", b[UDPLen:], u.Payload())
		u.SetChecksum(1)
	}
	if m, ok := ParseICMP(b); ok {
		_, _, _, _ = m.Type(), m.Code(), m.MTU(), m.MTU6()
		within(t, "icmp", b, m.Payload())
		if m.SetChecksum4(); naive(m) != 0xffff {
			t.Fatal("icmp checksum")
		}
		m.SetChecksum6(PseudoHeader(a6, b6, ProtoICMPv6, len(m)))
	}
}

// FuzzParse: whatever parses can be used, and nothing writes where it should
// not.
func FuzzParse(f *testing.F) {
	nd := make([]byte, NDLen+NDOptLLLen)
	PutND(nd, ICMPv6NeighAdvert, 0, a6, NDOptTargetLL, macA, a6, b6)
	arp := make([]byte, ARPLen)
	PutARP(arp, ARPRequest, macA, a4, macB, b4)
	tcp := append(make([]byte, 12), 0x50, 2, 0, 0, 0, 0, 0, 0)
	for _, b := range [][]byte{
		nil, packet4, nd, arp, tcp, make([]byte, 8),
		packet6(ProtoTCP, tcp),
		packet6(ProtoICMPv6, nd),
		packet6(0, []byte{43, 0, 0, 0, 0, 0, 0, 0}, []byte{44, 0, 0, 0, 0, 0, 0, 0}, []byte{60, 0, 0, 1, 0, 0, 0, 9},
			[]byte{17, 0, 0, 0, 0, 0, 0, 0}, []byte{0, 1, 0, 2, 0, 8, 0, 0}),
		{0, 1, 0, 2, 0, 9, 0, 0, 1, 1},
		{8, 0, 0, 0, 0, 0, 42, 0},
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		use(t, b)
		if !bytes.Equal(b, before) {
			t.Fatal("the input was written to")
		}
	})
}
