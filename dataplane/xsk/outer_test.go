// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// frame4 is a whole outer frame with a payload of four bytes.
var frame4 = []byte{
	0x02, 0x00, 0x00, 0x00, 0x00, 0x01, // Ethernet destination
	0x02, 0x00, 0x00, 0x00, 0x00, 0x02, // source
	0x08, 0x00, // IPv4
	0x45, 0x00, 0x00, 0x20, // version 4, 5 words; length 32
	0x00, 0x00, 0x40, 0x00, // Don't Fragment
	0x40, 0x11, 0x26, 0xb9, // TTL 64, UDP, checksum
	10, 9, 0, 2, // source
	10, 9, 0, 1, // destination
	0xc0, 0x00, 0x12, 0xb5, // ports 49152, 4789
	0x00, 0x0c, 0x00, 0x00, // length 12, no checksum
	0x08, 0x00, 0x00, 0x00, // payload
}

// frame6 is the same over IPv6.
var frame6 = []byte{
	0x02, 0x00, 0x00, 0x00, 0x00, 0x01,
	0x02, 0x00, 0x00, 0x00, 0x00, 0x02,
	0x86, 0xdd, // IPv6
	0x60, 0x00, 0x00, 0x00, // version 6
	0x00, 0x0c, 0x11, 0x40, // length 12, UDP, hop limit 64
	0xfd, 0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, // source
	0xfd, 0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, // destination
	0xc0, 0x00, 0x12, 0xb5, // ports 49152, 4789
	0x00, 0x0c, 0x00, 0x00, // length 12, checksum to be filled in
	0x08, 0x00, 0x00, 0x00, // payload
}

const (
	ip4At, udp4At = wire.EthernetLen, wire.EthernetLen + wire.IPv4Len
	ip6At, udp6At = wire.EthernetLen, wire.EthernetLen + wire.IPv6Len
)

// edit returns a copy of frame with the bytes at an offset replaced.
func edit(frame []byte, at int, v ...byte) []byte {
	b := bytes.Clone(frame)
	copy(b[at:], v)
	return b
}

// l4 returns the datagram of a frame, and both addresses.
func l4(b []byte) (udp, addrs []byte) {
	if b[ip4At]>>4 == 4 {
		return b[udp4At:], b[ip4At+12 : ip4At+20]
	}
	return b[udp6At:], b[ip6At+8 : ip6At+40]
}

// summed returns a copy of frame with all checksums complete.
func summed(frame []byte) []byte {
	b := bytes.Clone(frame)
	if b[ip4At]>>4 == 4 {
		wire.IPv4(b[ip4At:]).SetChecksum()
	}
	udp, addrs := l4(b)
	u := wire.UDP(udp)
	u.SetChecksum(0)
	u.SetChecksum(wire.Sum(0).Add(addrs).Add16(wire.ProtoUDP).Add16(uint16(len(u))).Add(u).Checksum())
	return b
}

// bare returns a copy of frame with the checksum that a sender leaves to
// hardware.
func bare(frame []byte) []byte {
	b := summed(frame)
	u, addrs := l4(b)
	wire.UDP(u).SetChecksum(wire.Sum(0).Add(addrs).Add16(wire.ProtoUDP).Add16(uint16(len(u))).Fold())
	return b
}

// ip4 returns frame with the IPv4 header's checksum made right again.
func ip4(frame []byte) []byte {
	wire.IPv4(frame[ip4At:]).SetChecksum()
	return frame
}

func TestParseOuter(t *testing.T) {
	v4 := outerParser{local: addr("10.9.0.1"), port: testPort}
	v6 := outerParser{local: addr("fd09::1"), port: testPort}
	veth4, veth6 := v4, v6
	veth4.unfinished, veth6.unfinished = true, true
	for _, tt := range []struct {
		name  string
		o     outerParser
		frame []byte
		want  stat.Reason
	}{
		{"IPv4 without UDP checksum", v4, frame4, stat.Accepted},
		{"IPv4", v4, summed(frame4), stat.Accepted},
		{"IPv6", v6, summed(frame6), stat.Accepted},
		{"IPv4 with Ethernet padding", v4, append(bytes.Clone(frame4), make([]byte, 14)...), stat.Accepted},
		{"IPv4 options", v4, ip4(append(append(edit(frame4, ip4At, 0x46, 0, 0, 36)[:udp4At], 1, 1, 1, 1), frame4[udp4At:]...)), stat.Accepted},
		{"UDP shorter than IP", v4, summed(edit(frame4, udp4At+4, 0, 8)), stat.DropOuterChecksum},
		{"UDP shorter than IP, no checksum", v4, edit(frame4, udp4At+4, 0, 8), stat.Accepted},

		{"empty", v4, nil, stat.DropOuterTruncated},
		{"Ethernet cut short", v4, frame4[:13], stat.DropOuterTruncated},
		{"no IP header", v4, frame4[:14], stat.DropOuterTruncated},
		{"IPv4 header cut short", v4, frame4[:udp4At-1], stat.DropOuterTruncated},
		{"IPv4 payload cut short", v4, frame4[:len(frame4)-1], stat.DropOuterTruncated},
		{"IPv4 length lies", v4, ip4(edit(frame4, ip4At+2, 0xff, 0xff)), stat.DropOuterTruncated},
		{"IPv4 length below the header", v4, ip4(edit(frame4, ip4At+2, 0, 19)), stat.DropOuterHeader},
		{"IPv4 header of 4 words", v4, edit(frame4, ip4At, 0x44), stat.DropOuterHeader},
		{"IPv4 version", v4, edit(frame4, ip4At, 0x55), stat.DropOuterHeader},
		{"IPv6 header cut short", v6, summed(frame6)[:udp6At-1], stat.DropOuterTruncated},
		{"IPv6 payload cut short", v6, summed(frame6)[:len(frame6)-1], stat.DropOuterTruncated},
		{"IPv6 length lies", v6, edit(frame6, ip6At+4, 0xff, 0xff), stat.DropOuterTruncated},
		{"IPv6 version", v6, edit(frame6, ip6At, 0x40), stat.DropOuterHeader},
		{"UDP header cut short", v4, ip4(edit(frame4, ip4At+2, 0, 27)), stat.DropOuterTruncated},
		{"UDP length lies", v4, edit(frame4, udp4At+4, 0, 13), stat.DropOuterTruncated},
		{"UDP length below the header", v4, edit(frame4, udp4At+4, 0, 7), stat.DropOuterHeader},
		{"UDP length lies over IPv6", v6, edit(frame6, udp6At+4, 0, 13), stat.DropOuterTruncated},

		{"other EtherType", v4, edit(frame4, 12, 0x81, 0), stat.DropOuterHeader},
		{"IPv6 to an IPv4 VTEP", v4, summed(frame6), stat.DropOuterHeader},
		{"IPv4 to an IPv6 VTEP", v6, frame4, stat.DropOuterHeader},
		{"other address", v4, ip4(edit(frame4, ip4At+19, 9)), stat.DropOuterHeader},
		{"other IPv6 address", v6, summed(edit(frame6, ip6At+39, 9)), stat.DropOuterHeader},
		{"other port", v4, edit(frame4, udp4At+2, 0x12, 0xb6), stat.DropOuterHeader},
		{"TCP", v4, ip4(edit(frame4, ip4At+9, wire.ProtoTCP)), stat.DropOuterHeader},
		{"IPv6 extension header", v6, edit(summed(frame6), ip6At+6, 0), stat.DropOuterHeader},
		{"more fragments", v4, ip4(edit(frame4, ip4At+6, 0x20)), stat.DropOuterHeader},
		{"fragment offset", v4, ip4(edit(frame4, ip4At+7, 1)), stat.DropOuterHeader},
		{"IPv4-mapped source", v6, summed(edit(frame6, ip6At+8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 9, 0, 2)), stat.DropOuterHeader},

		{"IPv4 header checksum", v4, edit(frame4, ip4At+10, 0), stat.DropOuterChecksum},
		{"UDP checksum", v4, edit(summed(frame4), len(frame4)-1, 1), stat.DropOuterChecksum},
		{"UDP checksum over IPv6", v6, edit(summed(frame6), len(frame6)-1, 1), stat.DropOuterChecksum},
		{"no UDP checksum over IPv6", v6, frame6, stat.DropOuterChecksum},
		{"no UDP checksum over IPv6 on a veth", veth6, frame6, stat.DropOuterChecksum},
		{"unfinished", v4, bare(frame4), stat.DropOuterChecksum},
		{"unfinished over IPv6", v6, bare(frame6), stat.DropOuterChecksum},
		{"unfinished on a veth", veth4, bare(frame4), stat.Accepted},
		{"unfinished over IPv6 on a veth", veth6, bare(frame6), stat.Accepted},
		{"complete on a veth", veth4, summed(frame4), stat.Accepted},
		{"wrong on a veth", veth4, edit(summed(frame4), len(frame4)-1, 1), stat.DropOuterChecksum},
	} {
		src, payload, r := tt.o.parse(tt.frame, 1500)
		if r != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, r, tt.want)
			continue
		}
		if r != stat.Accepted {
			if payload != nil {
				t.Errorf("%s: dropped with a payload", tt.name)
			}
			continue
		}
		wantSrc := addr("10.9.0.2")
		if tt.o.local.Is6() {
			wantSrc = addr("fd09::2")
		}
		if src != wantSrc || len(payload) > 0 && !bytes.Equal(payload, []byte{8, 0, 0, 0}) {
			t.Errorf("%s: payload % x from %s", tt.name, payload, src)
		}
	}
}

// The kernel computes the outer checksum of a packet whose inner one it leaves to
// hardware as if that were complete. Only on a software device it stays so.
func TestParseOuterUnfinishedInside(t *testing.T) {
	for _, a := range [][2]string{{"10.9.0.2", "10.9.0.1"}, {"fd09::2", "fd09::1"}} {
		h := written(a[0], a[1])
		b := append(make([]byte, h.n), innerFrame(200)...)
		h.encapsulate(b, 1)
		inner := b[h.n+wire.EncapLen:]
		tcp := wire.TCP(inner[wire.IPv4Len:])
		tcp.SetChecksum(wire.PseudoHeader(wire.IPv4(inner).Src(), wire.IPv4(inner).Dst(), wire.ProtoTCP, len(tcp)).Fold())
		for _, unfinished := range []bool{false, true} {
			want := stat.DropOuterChecksum
			if unfinished {
				want = stat.Accepted
			}
			o := outerParser{local: addr(a[1]), port: testPort, unfinished: unfinished}
			if _, _, r := o.parse(b, 1500); r != want {
				t.Errorf("%s, unfinished %v: %v, want %v", a[0], unfinished, r, want)
			}
			// The headers are still verified, but for the inner addresses, which
			// the inner checksum covers.
			for at := h.n; at < h.n+wire.EncapLen+wire.IPv4Len-8; at++ {
				if _, _, r := o.parse(edit(b, at, b[at]^4), 1500); r != stat.DropOuterChecksum {
					t.Errorf("%s, unfinished %v, byte %d: %v", a[0], unfinished, at, r)
				}
			}
		}
	}
}

func TestParseOuterTooBig(t *testing.T) {
	o := outerParser{local: addr("10.9.0.1"), port: testPort}
	for mtu, want := range map[int]stat.Reason{32: stat.Accepted, 31: stat.DropOuterTooBig} {
		if _, _, r := o.parse(frame4, mtu); r != want {
			t.Errorf("MTU %d: %v, want %v", mtu, r, want)
		}
	}
}

// Every single flipped bit of a frame is noticed, but in what no checksum covers:
// Ethernet addresses, and over IPv6 traffic class, flow label and hop limit.
func TestParseOuterFindsEveryBit(t *testing.T) {
	for _, tt := range []struct {
		frame     []byte
		local     string
		uncovered func(at int) bool
	}{
		{summed(frame4), "10.9.0.1", func(at int) bool { return at < 12 }},
		{summed(frame6), "fd09::1", func(at int) bool { return at < 12 || at >= ip6At && at < ip6At+4 || at == ip6At+7 }},
	} {
		o := outerParser{local: addr(tt.local), port: testPort}
		for at := range tt.frame {
			for bit := range 8 {
				_, _, r := o.parse(edit(tt.frame, at, tt.frame[at]^1<<bit), 1500)
				if r == stat.Accepted && !tt.uncovered(at) {
					t.Errorf("%s: byte %d bit %d goes unnoticed", tt.local, at, bit)
				}
			}
		}
	}
}

func FuzzParseOuter(f *testing.F) {
	for _, seed := range [][]byte{frame4, summed(frame4), bare(frame4), summed(frame6), bare(frame6), nil} {
		f.Add(seed, 1500, true)
	}
	f.Fuzz(func(t *testing.T, frame []byte, mtu int, unfinished bool) {
		saved := bytes.Clone(frame)
		for _, local := range []netip.Addr{addr("10.9.0.1"), addr("fd09::1")} {
			o := outerParser{local: local, port: testPort, unfinished: unfinished}
			src, payload, r := o.parse(frame, mtu)
			if !bytes.Equal(frame, saved) {
				t.Fatal("the frame was changed")
			}
			if r != stat.Accepted {
				if payload != nil || r == 0 || r >= stat.NumReasons {
					t.Fatalf("dropped as %v with %d bytes", r, len(payload))
				}
				continue
			}
			headers := headers4
			if local.Is6() {
				headers = headers6
			}
			if len(frame)-len(payload) < headers || src.Is4() != local.Is4() || src.Is4In6() || len(frame) > mtu+wire.EthernetLen {
				t.Fatalf("%d of %d bytes from %s", len(payload), len(frame), src)
			}
			// What was accepted does not change when it is checked again after
			// the checksum was left out.
			if local.Is4() {
				at := ip4At + int(frame[ip4At]&15)*4 + 6
				if binary.BigEndian.Uint16(frame[at:]) != 0 {
					if _, p, r := o.parse(edit(frame, at, 0, 0), mtu); r != stat.Accepted || len(p) != len(payload) {
						t.Fatalf("without checksum: %v, %d bytes, want %d", r, len(p), len(payload))
					}
				}
			}
		}
	})
}

func TestGather(t *testing.T) {
	var g gather
	for round := range 3 {
		if b, whole := g.add([]byte("abc"), true); whole || b != nil || !g.open {
			t.Fatal("whole too early")
		}
		g.add([]byte("de"), true)
		if b, whole := g.add([]byte("f"), false); !whole || string(b) != "abcdef" || g.open {
			t.Fatalf("round %d: %q", round, b)
		}
	}
	// What does not fit is dropped for its length.
	for range 20 {
		g.add(make([]byte, 4096), true)
	}
	b, whole := g.add([]byte("end"), false)
	o := outerParser{local: addr("10.9.0.1"), port: testPort}
	if _, _, r := o.parse(b, maxPacket); !whole || r != stat.DropOuterTooBig {
		t.Errorf("a frame of %d bytes: %v", len(b), r)
	}
	if b, _ := g.add([]byte("next"), false); string(b) != "next" {
		t.Errorf("after it: %q", b)
	}
}
