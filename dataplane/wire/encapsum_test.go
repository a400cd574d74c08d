// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// encapsulated returns a VXLAN payload with a TCP segment or UDP datagram of n
// data bytes, its checksum complete.
func encapsulated(src, dst netip.Addr, proto uint8, n int) []byte {
	hl, ipLen, etherType := TCPLen, IPv4Len, uint16(EtherTypeIPv4)
	if proto == ProtoUDP {
		hl = UDPLen
	}
	if src.Is6() {
		ipLen, etherType = IPv6Len, EtherTypeIPv6
	}
	b := make([]byte, EncapLen+ipLen+hl+n)
	PutVXLAN(b, 0x123456)
	PutEthernet(b[VXLANLen:], MAC{2, 0, 0, 0, 0, 1}, MAC{2, 0, 0, 0, 0, 2}, etherType)
	ip := b[EncapLen:]
	if src.Is4() {
		PutIPv4(ip, src, dst, proto, 64, hl+n)
	} else {
		PutIPv6(ip, src, dst, proto, 64, hl+n)
	}
	l4 := ip[ipLen:]
	r := rand.New(rand.NewPCG(uint64(n), uint64(proto)))
	for i := range l4 {
		l4[i] = byte(r.Uint32())
	}
	pseudo := PseudoHeader(src, dst, proto, len(l4))
	if proto == ProtoTCP {
		l4[12] = 5 << 4
		TCP(l4).SetChecksum(0)
		TCP(l4).SetChecksum(pseudo.Add(l4).Checksum())
		return b
	}
	l4[4], l4[5] = byte(len(l4)>>8), byte(len(l4))
	UDP(l4).SetChecksum(0)
	UDP(l4).SetChecksum(pseudo.Add(l4).Checksum())
	return b
}

var (
	inner4a, inner4b = netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.1.0.2")
	inner6a, inner6b = netip.MustParseAddr("fd01::1"), netip.MustParseAddr("fd01::2")
)

// same says whether two sums are the same number: in ones' complement, zero is
// written in two ways.
func same(a, b Sum) bool { return a.Fold()%0xffff == b.Fold()%0xffff }

// shortcut reports whether EncapSum does not read p in full.
func shortcut(p []byte) bool {
	at, pseudo, field := innerTransport(p)
	return at > 0 && field != pseudo
}

func TestEncapSum(t *testing.T) {
	for _, a := range [][2]netip.Addr{{inner4a, inner4b}, {inner6a, inner6b}} {
		for _, proto := range []uint8{ProtoTCP, ProtoUDP} {
			for _, n := range []int{0, 1, 2, 3, 63, 64, 65, 1400, 1401, 8900} {
				p := encapsulated(a[0], a[1], proto, n)
				if !shortcut(p) {
					t.Errorf("%v proto %d, %d bytes: no short cut", a[0], proto, n)
				}
				if got, want := EncapSum(p), Sum(0).Add(p); !same(got, want) {
					t.Errorf("%v proto %d, %d bytes: %#x, want %#x", a[0], proto, n, got.Fold(), want.Fold())
				}
			}
		}
	}
}

// What has no complete checksum is added up in full.
func TestEncapSumInFull(t *testing.T) {
	edit := func(p []byte, at int, v ...byte) []byte {
		copy(p[at:], v)
		return p
	}
	const ip4, ip6, tcp4, udp6 = EncapLen, EncapLen, EncapLen + IPv4Len, EncapLen + IPv6Len
	tcp := func() []byte { return encapsulated(inner4a, inner4b, ProtoTCP, 101) }
	udp := func() []byte { return encapsulated(inner6a, inner6b, ProtoUDP, 101) }
	pseudo := func(p []byte) []byte {
		s := PseudoHeader(inner4a, inner4b, ProtoTCP, len(p)-tcp4).Fold()
		return edit(p, tcp4+16, byte(s>>8), byte(s))
	}
	for name, p := range map[string][]byte{
		"empty":                nil,
		"VXLAN header only":    tcp()[:VXLANLen],
		"no I flag":            edit(tcp(), 0, 0),
		"ARP":                  edit(tcp(), EncapLen-2, 0x08, 0x06),
		"IPv4 version":         edit(tcp(), ip4, 0x65),
		"IPv4 header length":   edit(tcp(), ip4, 0x44),
		"IPv4 options too far": edit(tcp()[:tcp4+UDPLen], ip4, 0x4f, 0, 0, IPv4Len+UDPLen),
		"more fragments":       edit(tcp(), ip4+6, 0x20),
		"fragment offset":      edit(tcp(), ip4+7, 1),
		"ICMP":                 edit(tcp(), ip4+9, ProtoICMP),
		"padding behind":       append(tcp(), 0xff),
		"cut short":            tcp()[:100],
		"TCP cut short":        edit(tcp()[:tcp4+TCPLen-1], ip4+2, 0, IPv4Len+TCPLen-1),
		"unfinished":           pseudo(tcp()),
		"IPv6 version":         edit(udp(), ip6, 0x40),
		"IPv6 length":          edit(udp(), ip6+4, 0, 0),
		"extension header":     edit(udp(), ip6+6, extFragment),
		"UDP without checksum": edit(udp(), udp6+6, 0, 0),
		"UDP length":           edit(udp(), udp6+4, 0, UDPLen),
		"IPv6 cut short":       udp()[:EncapLen+IPv6Len+UDPLen-1],
	} {
		if shortcut(p) {
			t.Errorf("%s: short cut taken", name)
		}
		if got, want := EncapSum(p), Sum(0).Add(p); got != want {
			t.Errorf("%s: %#x, want %#x", name, got, want)
		}
	}
}

// A receiver that verifies the outer checksum finds every single corrupted bit
// that it would find if the sum had been taken in full, and a packet whose
// inner checksum was wrong from the start does not pass either.
func TestEncapSumCoversNothingUp(t *testing.T) {
	for _, p := range [][]byte{
		encapsulated(inner4a, inner4b, ProtoTCP, 200),
		encapsulated(inner6a, inner6b, ProtoUDP, 201),
	} {
		sum := EncapSum(p)
		for at := range p {
			for bit := range 8 {
				p[at] ^= 1 << bit
				if same(sum, Sum(0).Add(p)) {
					t.Fatalf("byte %d bit %d: changed after the sum was taken, and it still matches", at, bit)
				}
				// Wrong when the sum is taken.
				if shortcut(p) && at >= EncapLen+IPv4Len && same(EncapSum(p), Sum(0).Add(p)) {
					t.Fatalf("byte %d bit %d: a wrong inner checksum gives a right outer one", at, bit)
				}
				p[at] ^= 1 << bit
			}
		}
	}
}

// A packet whose inner checksum is left to hardware has the outer checksum that
// it would have if hardware had finished it.
func TestUnfinishedEncapSum(t *testing.T) {
	for _, a := range [][2]netip.Addr{{inner4a, inner4b}, {inner6a, inner6b}} {
		for _, proto := range []uint8{ProtoTCP, ProtoUDP} {
			p := encapsulated(a[0], a[1], proto, 101)
			want := Sum(0).Add(p)
			if _, ok := UnfinishedEncapSum(p); ok {
				t.Errorf("%v proto %d: a complete checksum passes as unfinished", a[0], proto)
			}
			at, pseudo, _ := innerTransport(p)
			field := at + 6
			if proto == ProtoTCP {
				field = at + 16
			}
			p[field], p[field+1] = byte(pseudo>>8), byte(pseudo)
			if got, ok := UnfinishedEncapSum(p); !ok || !same(got, want) {
				t.Errorf("%v proto %d: %#x, want %#x", a[0], proto, got.Fold(), want.Fold())
			}
			// Whatever lies before the segment counts.
			p[VXLANLen] ^= 1
			if got, _ := UnfinishedEncapSum(p); same(got, want) {
				t.Errorf("%v proto %d: a changed header has the same sum", a[0], proto)
			}
		}
	}
}

func FuzzEncapSum(f *testing.F) {
	f.Add(encapsulated(inner4a, inner4b, ProtoTCP, 10))
	f.Add(encapsulated(inner6a, inner6b, ProtoUDP, 11))
	f.Add([]byte{8})
	f.Fuzz(func(t *testing.T, p []byte) {
		got, full := EncapSum(p), Sum(0).Add(p)
		at, pseudo, _ := innerTransport(p)
		if !shortcut(p) {
			if got != full {
				t.Fatalf("%#x, want %#x", got, full)
			}
			return
		}
		// Right if and only if the inner checksum is.
		right := same(Sum(0).Add16(pseudo).Add(p[at:]), 0)
		if right != same(got, full) {
			t.Fatalf("inner checksum right: %v; sum right: %v", right, same(got, full))
		}
	})
}

func BenchmarkEncapSum(b *testing.B) {
	for _, n := range []int{64, 1400, 8900} {
		p := encapsulated(inner4a, inner4b, ProtoTCP, n)
		for name, sum := range map[string]func([]byte) Sum{
			"full": func(p []byte) Sum { return Sum(0).Add(p) }, "shortcut": EncapSum,
		} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				var s Sum
				for b.Loop() {
					s += sum(p)
				}
				_ = s
			})
		}
	}
}
