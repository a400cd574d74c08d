// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"netcon/dataplane/wire"
)

// inner is a UDP payload: VXLAN with VNI 42, an inner frame from 02..01 to
// 02..02.
var inner = []byte{
	0x08, 0, 0, 0, 0, 0, 42, 0, // VXLAN
	2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x06, // inner Ethernet
	'a', 'r', 'p',
}

// udp returns a datagram with that payload.
func udp(payload []byte) []byte {
	b := []byte{0xc0, 0, 0x12, 0xb5, 0, 0, 0, 0} // 49152 to 4789
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(payload)))
	return append(b, payload...)
}

// ipv4 returns a packet with options of n bytes and fragment field frag.
func ipv4(proto byte, n int, frag uint16, payload []byte) []byte {
	b := make([]byte, 20+n)
	b[0], b[8], b[9] = 0x45+byte(n/4), 64, proto
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)+len(payload)))
	binary.BigEndian.PutUint16(b[6:], frag)
	return append(b, payload...)
}

func ipv6(next byte, payload []byte) []byte {
	b := make([]byte, 40)
	b[0], b[6], b[7] = 0x60, next, 64
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	return append(b, payload...)
}

// eth returns a frame with VLAN tags before the type of its payload.
func eth(etherType uint16, payload []byte, tags ...uint16) []byte {
	b := make([]byte, 12)
	for i, t := range tags {
		b = append(binary.BigEndian.AppendUint16(b, t), 0, byte(i))
	}
	return append(binary.BigEndian.AppendUint16(b, etherType), payload...)
}

func TestPayloadOf(t *testing.T) {
	const v4, v6 = wire.EtherTypeIPv4, wire.EtherTypeIPv6
	short := udp(inner)
	binary.BigEndian.PutUint16(short[4:], 7)
	for _, c := range []struct {
		name  string
		frame []byte
		ok    bool
	}{
		{"IPv4", eth(v4, ipv4(17, 0, 0x4000, udp(inner))), true},
		{"IPv4 with options", eth(v4, ipv4(17, 8, 0, udp(inner))), true},
		{"IPv4, padded frame", append(eth(v4, ipv4(17, 0, 0, udp(inner))), 0, 0, 0), true},
		{"IPv4, VLAN", eth(v4, ipv4(17, 0, 0, udp(inner)), 0x8100), true},
		{"IPv4, Q-in-Q", eth(v4, ipv4(17, 0, 0, udp(inner)), 0x88a8, 0x8100), true},
		{"IPv6", eth(v6, ipv6(17, udp(inner))), true},
		{"IPv6 with an extension", eth(v6, ipv6(60, append([]byte{17, 0, 0, 0, 0, 0, 0, 0}, udp(inner)...))), true},

		{"nothing", nil, false},
		{"half an Ethernet header", make([]byte, 13), false},
		{"half a tag", append(make([]byte, 12), 0x81, 0, 0), false},
		{"three tags", eth(v4, ipv4(17, 0, 0, udp(inner)), 0x88a8, 0x8100, 0x8100), false},
		{"ARP", eth(0x0806, inner), false},
		{"IPv4 in the type of IPv6", eth(v6, ipv4(17, 0, 0, udp(inner))), false},
		{"IPv4 cut short", eth(v4, ipv4(17, 0, 0, udp(inner))[:30]), false},
		{"TCP", eth(v4, ipv4(6, 0, 0, udp(inner))), false},
		{"first fragment", eth(v4, ipv4(17, 0, 0x2000, udp(inner))), false},
		{"later fragment", eth(v4, ipv4(17, 0, 0x0010, udp(inner))), false},
		{"UDP of 7 bytes", eth(v4, ipv4(17, 0, 0, short)), false},
		{"no UDP header", eth(v4, ipv4(17, 0, 0, make([]byte, 7))), false},
		{"IPv6 fragment", eth(v6, ipv6(44, append([]byte{17, 0, 0, 1, 0, 0, 0, 0}, udp(inner)...))), false},
		{"IPv6, ICMP", eth(v6, ipv6(58, udp(inner))), false},
	} {
		got, ok := payloadOf(c.frame)
		if ok != c.ok || ok && !bytes.Equal(got, inner) {
			t.Errorf("%s: % x, %v", c.name, got, ok)
		}
	}
}

func TestMatches(t *testing.T) {
	one, two := wire.MAC{2, 0, 0, 0, 0, 1}, wire.MAC{2, 0, 0, 0, 0, 2}
	with := func(at int, b byte) []byte {
		p := slices.Clone(inner)
		p[at] = b
		return p
	}
	for _, c := range []struct {
		name    string
		place   place
		out     bool
		payload []byte
		want    bool
	}{
		{"to it", place{42, two}, false, inner, true},
		{"by it", place{42, one}, true, inner, true},
		{"by somebody else, out", place{42, two}, true, inner, false},
		{"to somebody else, in", place{42, one}, false, inner, false},
		{"another network", place{43, two}, false, inner, false},
		{"to all", place{42, one}, false, with(8, 0xff), true},
		{"to all, out, by somebody else", place{42, two}, true, with(8, 0xff), false},
		{"no I flag", place{42, two}, false, with(0, 0), false},
		{"half an inner header", place{42, two}, false, inner[:21], false},
		{"half a VXLAN header", place{42, two}, false, inner[:7], false},
	} {
		if got := c.place.matches(c.out, c.payload); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestRebuilt: what is put before a payload carries it, and a receiver would
// take it.
func TestRebuilt(t *testing.T) {
	for _, c := range []struct {
		src, dst string
		cut      int // how much of the payload is missing
	}{
		{"192.0.2.1", "192.0.2.2", 0},
		{"192.0.2.1", "192.0.2.2", 5},
		{"2001:db8::1", "2001:db8::2", 0},
		{"2001:db8::1", "2001:db8::2", 5},
	} {
		src, dst := netip.MustParseAddr(c.src), netip.MustParseAddr(c.dst)
		captured := inner[:len(inner)-c.cut]
		b := appendRebuilt([]byte{0xee}, src, dst, 4789, len(inner), captured)
		if b[0] != 0xee {
			t.Fatal("what was there before is gone")
		}
		frame := append(b[1:], inner...)
		if got, ok := payloadOf(frame); !ok || !bytes.Equal(got, inner) {
			t.Errorf("%+v: % x does not carry the payload", c, frame)
		}
		if !bytes.Equal(frame[:12], make([]byte, 12)) {
			t.Errorf("%+v: MAC addresses % x", c, frame[:12])
		}
		var udp wire.UDP
		if src.Is4() {
			p, ok := wire.ParseIPv4(frame[wire.EthernetLen:])
			if !ok || !p.ChecksumOK() || p.Src() != src || p.Dst() != dst || !p.DontFragment() {
				t.Fatalf("%+v: IPv4 header % x", c, p)
			}
			if udp, ok = wire.ParseUDP(p.Payload()); !ok || udp.Checksum() != 0 {
				t.Errorf("%+v: UDP % x", c, udp)
			}
		} else {
			p, ok := wire.ParseIPv6(frame[wire.EthernetLen:])
			if !ok || p.Src() != src || p.Dst() != dst {
				t.Fatalf("%+v: IPv6 header % x", c, p)
			}
			udp, ok = wire.ParseUDP(p.Payload())
			switch sum := wire.PseudoHeader(src, dst, wire.ProtoUDP, len(udp)).Add(udp).Fold(); {
			case !ok || c.cut == 0 && sum != 0xffff:
				t.Errorf("%+v: checksum %#x, sum %#x", c, udp.Checksum(), sum)
			case c.cut != 0 && udp.Checksum() != 0xffff:
				t.Errorf("%+v: checksum %#x of a payload that is not whole", c, udp.Checksum())
			}
		}
		if udp.SrcPort() != 4789 || udp.DstPort() != 4789 {
			t.Errorf("%+v: ports %d and %d", c, udp.SrcPort(), udp.DstPort())
		}
	}
}

// TestRebuiltChecksumNotZero: over IPv6 a sum of zero is sent as ffff.
func TestRebuiltChecksumNotZero(t *testing.T) {
	a := netip.MustParseAddr("fd00::1")
	for v := range 1 << 16 {
		payload := binary.BigEndian.AppendUint16(nil, uint16(v))
		b := appendRebuilt(nil, a, a, 4789, 2, payload)
		if sum := wire.UDP(b[wire.EthernetLen+wire.IPv6Len:]).Checksum(); sum == 0 {
			t.Fatalf("payload %04x: no checksum", v)
		}
	}
}

// FuzzOuter shows foreign frames to a tap that has to look into them.
func FuzzOuter(f *testing.F) {
	f.Add(eth(wire.EtherTypeIPv4, ipv4(17, 8, 0, udp(inner)), 0x8100))
	f.Add(eth(wire.EtherTypeIPv6, ipv6(60, append([]byte{17, 0, 0, 0, 0, 0, 0, 0}, udp(inner)...))))
	f.Add(inner)
	f.Fuzz(func(t *testing.T, frame []byte) {
		b := slices.Clone(frame)
		if payload, ok := payloadOf(b); ok && len(payload) > len(b)-rebuilt4 {
			t.Errorf("%d bytes of payload in %d of frame", len(payload), len(b))
		}
		for _, vtep := range []string{"192.0.2.1", "fd00::1"} {
			x := newTest(t, func(c *Config) {
				c.Layers, c.Container, c.Snaplen = Both, "one", MinSnaplen
				c.VTEP = netip.AddrPortFrom(netip.MustParseAddr(vtep), 4789)
			})
			tap := x.Tap(0)
			for _, out := range []bool{false, true} {
				tap.Outer(0, out, b)
				tap.Datagram(0, out, x.cfg.VTEP.Addr(), b)
			}
			s := x.finish()
			for _, p := range s.packets {
				if len(p.data) > MinSnaplen || p.whole < len(p.data) {
					t.Errorf("captured %d bytes of %d", len(p.data), p.whole)
				}
			}
		}
		if !bytes.Equal(b, frame) {
			t.Error("the frame was changed")
		}
	})
}

func ExampleParseLayer() {
	_, err := ParseLayer("middle")
	fmt.Println(err)
	// Output: layer "middle" (want inner, outer or both)
}
