// SPDX-License-Identifier: Apache-2.0

package vxlan

import (
	"bytes"
	"net/netip"
	"testing"

	"netcon/dataplane/fib"
	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

var (
	vtep4  = netip.MustParseAddr("192.0.2.1")
	vtep6  = netip.MustParseAddr("2001:db8::1")
	local  = wire.MAC{2, 0, 0, 0, 0, 1}
	remote = wire.MAC{2, 0, 0, 0, 0, 2}
)

// Frames as in RFC 7348 section 5, from the VXLAN header on.
var (
	frame4 = []byte{
		0x08, 0x00, 0x00, 0x00, // VXLAN: flags, I set; reserved
		0x00, 0x00, 0x2a, 0x00, // VNI 42; reserved
		0x02, 0x00, 0x00, 0x00, 0x00, 0x01, // inner destination MAC
		0x02, 0x00, 0x00, 0x00, 0x00, 0x02, // inner source MAC
		0x08, 0x00, // EtherType IPv4
		0x45, 0x00, 0x00, 0x1c, // version 4, 20 bytes of header; 28 bytes in all
		0x00, 0x00, 0x40, 0x00, // ID 0; DF
		0x40, 0x01, 0x26, 0xdf, // TTL 64; ICMP; checksum
		0x0a, 0x00, 0x00, 0x01, // 10.0.0.1
		0x0a, 0x00, 0x00, 0x02, // 10.0.0.2
		0x08, 0x00, 0xf7, 0xfd, // ICMP echo; checksum
		0x00, 0x01, 0x00, 0x01, // identifier 1, sequence 1
	}
	frame6 = []byte{
		0x08, 0x00, 0x00, 0x00, // VXLAN: flags, I set; reserved
		0x00, 0x00, 0x2a, 0x00, // VNI 42; reserved
		0x02, 0x00, 0x00, 0x00, 0x00, 0x01, // inner destination MAC
		0x02, 0x00, 0x00, 0x00, 0x00, 0x02, // inner source MAC
		0x86, 0xdd, // EtherType IPv6
		0x60, 0x00, 0x00, 0x00, // version 6
		0x00, 0x08, 0x3a, 0x40, // 8 bytes of payload; ICMPv6; hop limit 64
		0xfd, 0x00, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, // fd00::1
		0xfd, 0x00, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, // fd00::2
		0x80, 0x00, 0x85, 0xb6, // ICMPv6 echo; checksum
		0x00, 0x01, 0x00, 0x01, // identifier 1, sequence 1
	}
	frameARP = []byte{
		0x08, 0x00, 0x00, 0x00, // VXLAN: flags, I set; reserved
		0x00, 0x00, 0x2a, 0x00, // VNI 42; reserved
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // broadcast
		0x02, 0x00, 0x00, 0x00, 0x00, 0x02, // inner source MAC
		0x08, 0x06, // EtherType ARP
		0x00, 0x01, 0x08, 0x00, 6, 4, 0x00, 0x01, // Ethernet, IPv4, request
		0x02, 0x00, 0x00, 0x00, 0x00, 0x02, 10, 0, 0, 2, // sender
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 10, 0, 0, 1, // target
	}
)

func snapshot(t testing.TB) *fib.Snapshot {
	t.Helper()
	s, err := fib.New([]fib.Network{
		{
			VNI: 42, Name: "blue", VTEPs: []netip.Addr{vtep4, vtep6},
			Members: []fib.Member{{MAC: local, Port: fib.Port{Worker: 1, Index: 2}}},
		},
		{VNI: 43, Name: "open", Learn: true},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// with returns a copy of b with bytes replaced from offset at.
func with(b []byte, at int, v ...byte) []byte {
	b = bytes.Clone(b)
	copy(b[at:], v)
	return b
}

func TestDecapAccepts(t *testing.T) {
	s := snapshot(t)
	any6 := netip.MustParseAddr("2001:db8::77")
	for _, c := range []struct {
		name  string
		src   netip.Addr
		frame []byte
		vni   uint32
		typ   uint16
	}{
		{"IPv4", vtep4, frame4, 42, wire.EtherTypeIPv4},
		{"IPv6", vtep4, frame6, 42, wire.EtherTypeIPv6},
		{"IPv4 over IPv6", vtep6, frame4, 42, wire.EtherTypeIPv4},
		{"ARP", vtep4, frameARP, 42, wire.EtherTypeARP},
		{"reserved bits are ignored", vtep4, with(with(frame4, 0, 0xff, 0xff, 0xff, 0xff), 7, 0xff), 42, wire.EtherTypeIPv4},
		{"any VTEP where learning", any6, with(frame4, 6, 43), 43, wire.EtherTypeIPv4},
		{"a member of another network", any6, with(with(frame4, 6, 43), 14, local[:]...), 43, wire.EtherTypeIPv4},
		{"no payload", vtep4, frame4[:Headroom], 42, wire.EtherTypeIPv4},
	} {
		n, e, r := Decap(s, c.src, c.frame)
		if r != stat.Accepted || n == nil || n.VNI() != c.vni || e.Type() != c.typ {
			t.Errorf("%s: %v", c.name, r)
			continue
		}
		if !bytes.Equal(e, c.frame[wire.VXLANLen:]) || &e[0] != &c.frame[wire.VXLANLen] {
			t.Errorf("%s: the inner frame is not a view of the payload", c.name)
		}
	}
	_, e, _ := Decap(s, vtep4, frame4)
	p, ok := wire.ParseIPv4(e.Payload())
	if !ok || !p.ChecksumOK() || p.Protocol() != wire.ProtoICMP || e.Dst() != local || e.Src() != remote ||
		wire.Sum(0).Add(p.Payload()).Fold() != 0xffff {
		t.Error("the IPv4 example was not understood")
	}
	_, e, _ = Decap(s, vtep4, frame6)
	q, ok := wire.ParseIPv6(e.Payload())
	if !ok || wire.PseudoHeader(q.Src(), q.Dst(), wire.ProtoICMPv6, len(q.Payload())).Add(q.Payload()).Fold() != 0xffff {
		t.Error("the IPv6 example was not understood")
	}
}

func TestDecapDrops(t *testing.T) {
	s := snapshot(t)
	stranger := netip.MustParseAddr("203.0.113.9")
	var block stat.Block
	for _, c := range []struct {
		name  string
		src   netip.Addr
		frame []byte
		want  stat.Reason
	}{
		{"empty", vtep4, nil, stat.DropVXLANShort},
		{"7 bytes", vtep4, frame4[:7], stat.DropVXLANShort},
		{"I flag clear", vtep4, with(frame4, 0, 0xf7), stat.DropVXLANFlags},
		{"VNI 41", vtep4, with(frame4, 6, 41), stat.DropUnknownVNI},
		{"VNI 42 + 2^16", vtep4, with(frame4, 4, 1), stat.DropUnknownVNI},
		{"stranger", stranger, frame4, stat.DropUnknownVTEP},
		{"multicast source where learning", netip.MustParseAddr("224.0.0.5"), with(frame4, 6, 43), stat.DropUnknownVTEP},
		{"no VTEP", netip.Addr{}, frame4, stat.DropUnknownVTEP},
		{"no inner frame", vtep4, frame4[:8], stat.DropInnerShort},
		{"13 bytes of inner frame", vtep4, frame4[:21], stat.DropInnerShort},
		{"group source", vtep4, with(frame4, 14, 0x33), stat.DropInnerMAC},
		{"zero source", vtep4, with(frame4, 14, 0, 0, 0, 0, 0, 0), stat.DropInnerMAC},
		{"our source", vtep4, with(frame4, 14, local[:]...), stat.DropInnerMAC},
		{"802.1Q", vtep4, with(frame4, 20, 0x81, 0x00), stat.DropEtherType},
		{"length field", vtep4, with(frame4, 20, 0x00, 0x40), stat.DropEtherType},

		// Of two faults the outermost is the reason.
		{"flags before VNI", vtep4, with(frame4, 0, 0, 0, 0, 0, 0xff), stat.DropVXLANFlags},
		{"VNI before VTEP", stranger, with(frame4, 6, 41), stat.DropUnknownVNI},
		{"VTEP before length", stranger, frame4[:8], stat.DropUnknownVTEP},
		{"MAC before type", vtep4, with(frame4, 14, 0x33, 0, 0, 0, 0, 0, 0x81, 0), stat.DropInnerMAC},
	} {
		n, e, r := Decap(s, c.src, c.frame)
		if r != c.want || n != nil || e != nil {
			t.Errorf("%s: %v, want %v", c.name, r, c.want)
		}
		block.Drop(r)
	}
	block.Publish()
	for r, want := range map[stat.Reason]uint64{
		stat.DropVXLANShort: 2, stat.DropVXLANFlags: 2, stat.DropUnknownVNI: 3,
		stat.DropUnknownVTEP: 4, stat.DropInnerShort: 2, stat.DropInnerMAC: 4, stat.DropEtherType: 2,
	} {
		if got := block.Drops(r); got != want {
			t.Errorf("%v counted %d times, want %d", r, got, want)
		}
	}
	if _, _, r := Decap(nil, vtep4, frame4); r != stat.DropUnknownVNI {
		t.Errorf("without a snapshot: %v", r)
	}
}

func TestPut(t *testing.T) {
	b := bytes.Repeat([]byte{0xee}, Headroom+2)
	Put(b, 42, local, remote, wire.EtherTypeIPv4)
	if want := append(bytes.Clone(frame4[:Headroom]), 0xee, 0xee); !bytes.Equal(b, want) {
		t.Errorf("put  %x\nwant %x", b, want)
	}
	Put(b, wire.VNIMax, local, remote, wire.EtherTypeIPv6)
	if v, _ := wire.ParseVXLAN(b); v.VNI() != wire.VNIMax || !v.Valid() || b[7] != 0 {
		t.Errorf("put %x", b)
	}
}

func TestInnerMTU(t *testing.T) {
	for _, c := range []struct {
		mtu    int
		outer6 bool
		want   int
	}{
		{1500, false, 1450},
		{1500, true, 1430},
		{9000, false, 8950},
		{9000, true, 8930},
		{65535, false, 65485}, // 65,507 bytes of UDP payload
		{65536, false, 65485}, // the loopback interface
		{1 << 30, false, 65485},
		{65575, true, 65505}, // 65,527 bytes of UDP payload
		{65574, true, 65504},
		{1 << 30, true, 65505},
		{50, false, 0},
		{70, true, 0},
		{0, false, 0},
		{-1, true, 0},
	} {
		got := InnerMTU(c.mtu, c.outer6)
		if got != c.want {
			t.Errorf("underlay %d, IPv6 %v: %d, want %d", c.mtu, c.outer6, got, c.want)
		}
	}
}

func FuzzDecap(f *testing.F) {
	for _, b := range [][]byte{frame4, frame6, frameARP, frame4[:8], nil} {
		f.Add(b, true)
		f.Add(b, false)
	}
	s := snapshot(f)
	f.Fuzz(func(t *testing.T, b []byte, known bool) {
		src := vtep4
		if !known {
			src = netip.MustParseAddr("203.0.113.9")
		}
		before := bytes.Clone(b)
		n, e, r := Decap(s, src, b)
		if !bytes.Equal(b, before) {
			t.Fatal("the payload was written to")
		}
		if r != stat.Accepted {
			if n != nil || e != nil || r >= stat.NumReasons {
				t.Fatalf("%v with a result", r)
			}
			return
		}
		if len(b) < Headroom || n == nil || e.Src().IsGroup() || e.Src().IsZero() || n.IsLocal(e.Src()) || !n.Accepts(src) {
			t.Fatalf("accepted %x", b)
		}
		// Nothing is lost: encapsulated again, it is the same frame but for
		// the reserved bits.
		out := bytes.Clone(b)
		Put(out, n.VNI(), e.Dst(), e.Src(), e.Type())
		n2, e2, r2 := Decap(s, src, out)
		if r2 != stat.Accepted || n2 != n || !bytes.Equal(e2, e) {
			t.Fatalf("encapsulated again: %v", r2)
		}
	})
}

func TestAllocs(t *testing.T) {
	s := snapshot(t)
	out := make([]byte, 2048)
	for name, frame := range map[string][]byte{"IPv4": frame4, "IPv6": frame6, "dropped": frame4[:10]} {
		if n := testing.AllocsPerRun(100, func() {
			if _, e, r := Decap(s, vtep4, frame); r == stat.Accepted {
				Put(out, 42, e.Src(), e.Dst(), e.Type())
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkDecap(b *testing.B) {
	s := snapshot(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, r := Decap(s, vtep4, frame4); r != stat.Accepted {
			b.Fatal(r)
		}
	}
}

func BenchmarkPut(b *testing.B) {
	out := make([]byte, 2048)
	b.ReportAllocs()
	for b.Loop() {
		Put(out, 42, local, remote, wire.EtherTypeIPv4)
	}
}

// BenchmarkFrame is all that this package and fib do for a frame in and a frame
// out.
func BenchmarkFrame(b *testing.B) {
	s := snapshot(b)
	out := make([]byte, 2048)
	b.ReportAllocs()
	for b.Loop() {
		n, e, r := Decap(s, vtep4, frame4)
		if r != stat.Accepted {
			b.Fatal(r)
		}
		n.Learn(e.Src(), vtep4, 0)
		if d := n.Lookup(e.Dst(), 0); d.Kind != fib.Local {
			b.Fatal(d)
		}
		Put(out, n.VNI(), e.Src(), e.Dst(), e.Type())
	}
}
