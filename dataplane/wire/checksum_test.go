// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// naive is RFC 1071 section 4.1, word by word.
func naive(pieces ...[]byte) uint16 {
	var sum uint32
	for _, b := range pieces {
		for i := 0; i < len(b); i += 2 {
			w := uint32(b[i]) << 8
			if i+1 < len(b) {
				w |= uint32(b[i+1])
			}
			if sum += w; sum > 0xffff {
				sum -= 0xffff
			}
		}
	}
	return uint16(sum)
}

func TestSumRFC1071(t *testing.T) {
	// The example of section 3.
	b := []byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}
	if got := Sum(0).Add(b).Fold(); got != 0xddf2 {
		t.Errorf("%#x", got)
	}
	if got := Sum(0).Add(b).Checksum(); got != 0x220d {
		t.Errorf("%#x", got)
	}
	if got := Sum(0).Fold(); got != 0 {
		t.Errorf("empty: %#x", got)
	}
}

func TestSumAgainstNaive(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 4096)
	for i := range random {
		random[i] = byte(rnd.Uint32())
	}
	fill := map[string][]byte{
		"random": random,
		"ones":   bytes.Repeat([]byte{0xff}, 4096),
		"zeros":  make([]byte, 4096),
		"high":   bytes.Repeat([]byte{0x80, 0}, 2048),
	}
	for name, b := range fill {
		for n := range 300 {
			for off := range 9 {
				p := b[off : off+n]
				if got, want := Sum(0).Add(p).Fold(), naive(p); got != want {
					t.Fatalf("%s: %d bytes at %d: %#x, want %#x", name, n, off, got, want)
				}
			}
		}
		// In pieces: all but the last of even length.
		for range 500 {
			i := rnd.IntN(1000) * 2
			j := i + rnd.IntN(1000)*2
			k := j + rnd.IntN(90)
			if got, want := Sum(0).Add(b[:i]).Add(b[i:j]).Add(b[j:k]).Fold(), naive(b[:k]); got != want {
				t.Fatalf("%s: pieces %d %d %d: %#x, want %#x", name, i, j, k, got, want)
			}
		}
	}
}

func TestSum64K(t *testing.T) {
	for _, n := range []int{65535, 65536, 65535 * 2, 1 << 20} {
		b := bytes.Repeat([]byte{0xff}, n)
		if got, want := Sum(0).Add(b).Fold(), naive(b); got != want {
			t.Errorf("%d bytes of 0xff: %#x, want %#x", n, got, want)
		}
		// Every carry there can be, and an accumulator that is full.
		if got, want := Sum(1<<64-1).Add(b).Fold(), naive([]byte{0xff, 0xff}, b); got != want {
			t.Errorf("%d bytes of 0xff on a full sum: %#x, want %#x", n, got, want)
		}
	}
}

func TestAdd16AndFold(t *testing.T) {
	for _, s := range []Sum{0, 1, 0xffff, 0x10000, 1<<32 - 1, 1 << 32, 1<<48 - 1, 1<<64 - 2, 1<<64 - 1} {
		b := []byte{byte(s >> 56), byte(s >> 48), byte(s >> 40), byte(s >> 32), byte(s >> 24), byte(s >> 16), byte(s >> 8), byte(s)}
		if got, want := s.Fold(), naive(b); got != want {
			t.Errorf("fold of %#x: %#x, want %#x", uint64(s), got, want)
		}
		for _, v := range []uint16{0, 1, 0x8000, 0xffff} {
			if got, want := s.Add16(v).Fold(), naive(b, []byte{byte(v >> 8), byte(v)}); got != want {
				t.Errorf("%#x + %#x: %#x, want %#x", uint64(s), v, got, want)
			}
		}
	}
}

func TestPseudoHeader(t *testing.T) {
	a4, b4 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("255.255.255.254")
	a6, b6 := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::ffff:ffff:ffff:ffff")
	for _, n := range []int{0, 8, 1480, 65515, 65535, 1 << 17} {
		got := PseudoHeader(a4, b4, ProtoTCP, n).Fold()
		want := naive(
			[]byte{192, 0, 2, 1},
			[]byte{255, 255, 255, 254},
			[]byte{0, ProtoTCP}, // zero, protocol
			[]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, // length
		)
		if got != want {
			t.Errorf("IPv4, %d bytes: %#x, want %#x", n, got, want)
		}
		got = PseudoHeader(a6, b6, ProtoICMPv6, n).Fold()
		a, b := a6.As16(), b6.As16()
		want = naive(a[:], b[:],
			[]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, // length
			[]byte{0, 0, 0, ProtoICMPv6},                                // zero, next header
		)
		if got != want {
			t.Errorf("IPv6, %d bytes: %#x, want %#x", n, got, want)
		}
	}
}

func FuzzSum(f *testing.F) {
	f.Add(uint64(0), []byte{1}, []byte{0xff, 0xff, 0xff})
	f.Add(uint64(1<<64-1), bytes.Repeat([]byte{0xff}, 65), bytes.Repeat([]byte{0xff}, 129))
	f.Fuzz(func(t *testing.T, start uint64, a, b []byte) {
		a = a[:len(a)&^1]
		s := []byte{
			byte(start >> 56), byte(start >> 48), byte(start >> 40), byte(start >> 32),
			byte(start >> 24), byte(start >> 16), byte(start >> 8), byte(start),
		}
		if got, want := Sum(start).Add(a).Add(b).Fold(), naive(s, a, b); got != want {
			t.Fatalf("%#x, want %#x", got, want)
		}
	})
}

func TestChecksumAllocs(t *testing.T) {
	b := make([]byte, 1449)
	a4, a6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	var sink uint16
	if n := testing.AllocsPerRun(100, func() {
		sink += PseudoHeader(a4, a4, ProtoTCP, len(b)).Add(b).Checksum()
		sink += PseudoHeader(a6, a6, ProtoTCP, len(b)).Add(b).Checksum()
	}); n != 0 {
		t.Errorf("%v allocations (%d)", n, sink)
	}
}

func BenchmarkChecksum(b *testing.B) {
	for _, n := range []int{20, 64, 1448, 64 << 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := bytes.Repeat([]byte{0xa5}, n)
			var sink uint16
			b.ReportAllocs()
			b.SetBytes(int64(n))
			for b.Loop() {
				sink += Sum(0).Add(p).Checksum()
			}
		})
	}
}

func BenchmarkPseudoHeader(b *testing.B) {
	for _, a := range []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")} {
		b.Run(a.String(), func(b *testing.B) {
			var sink uint16
			b.ReportAllocs()
			for b.Loop() {
				sink += PseudoHeader(a, a, ProtoTCP, 1448).Fold()
			}
		})
	}
}
