// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"netcon/dataplane/wire"
)

// same reports whether two sums are the same checksum: 0 and 0xffff are.
func same(a, b wire.Sum) bool {
	x, y := a.Fold(), b.Fold()
	return x == y || x%0xffff == 0 && y%0xffff == 0
}

// simpleSum is the sum by definition (RFC 1071 section 1).
func simpleSum(b []byte) wire.Sum {
	var s uint32
	for i, x := range b {
		if i%2 == 0 {
			s += uint32(x) << 8
		} else {
			s += uint32(x)
		}
		s = s&0xffff + s>>16
	}
	return wire.Sum(s)
}

// checkCopySum copies data by every function, cut at every place that cut is
// near.
func checkCopySum(t *testing.T, data []byte, cut int) {
	t.Helper()
	want := simpleSum(data)
	guard := func(b []byte) []byte { return append(make([]byte, len(b), len(b)+1), 0xaa)[:len(b)] }
	for k := max(0, cut-1); k <= min(len(data), cut+1); k++ {
		dst := guard(data)
		if got := gatherSum(dst, data[:k], data[k:]); !same(got, want) {
			t.Fatalf("gather %d and %d bytes: %#x, want %#x", k, len(data)-k, got.Fold(), want.Fold())
		}
		if !bytes.Equal(dst, data) || dst[:len(dst)+1][len(dst)] != 0xaa {
			t.Fatalf("gather %d and %d bytes: wrong bytes", k, len(data)-k)
		}
		first, second := guard(data[:k]), guard(data[k:])
		if got := scatterSum(first, second, data); !same(got, want) {
			t.Fatalf("scatter %d and %d bytes: %#x, want %#x", k, len(data)-k, got.Fold(), want.Fold())
		}
		if !bytes.Equal(append(bytes.Clone(first), second...), data) || first[:k+1][k] != 0xaa || second[:len(second)+1][len(second)] != 0xaa {
			t.Fatalf("scatter %d and %d bytes: wrong bytes", k, len(data)-k)
		}
	}
	dst := guard(data)
	if got := copySum(dst, data); !same(got, want) || !bytes.Equal(dst, data) {
		t.Fatalf("copy %d bytes: %#x, want %#x", len(data), got.Fold(), want.Fold())
	}
}

// Every length up to a few rounds of the loops, cut everywhere.
func TestCopySum(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 300)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	for n := range 200 {
		for cut := 0; cut <= n; cut += 3 {
			checkCopySum(t, data[:n], cut)
		}
		checkCopySum(t, data[1:1+n], n/2)
	}
	// Carries at every word.
	for i := range data {
		data[i] = 0xff
	}
	for n := range 200 {
		checkCopySum(t, data[:n], n/2)
	}
}

func FuzzCopySum(f *testing.F) {
	f.Add([]byte{}, uint16(0))
	f.Add([]byte{1}, uint16(1))
	f.Add(bytes.Repeat([]byte{0xff}, 129), uint16(63))
	f.Add([]byte("the quick brown fox jumps over the lazy dog, and over and over it again, until it wakes up"), uint16(41))
	f.Fuzz(func(t *testing.T, data []byte, cut uint16) {
		checkCopySum(t, data, int(cut)%(len(data)+1))
	})
}

func TestCopySumAllocs(t *testing.T) {
	src, dst := make([]byte, 1448), make([]byte, 1448)
	if n := testing.AllocsPerRun(100, func() {
		sink += uint64(gatherSum(dst, src[:701], src[701:]))
		sink += uint64(scatterSum(dst[:701], dst[701:], src))
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Beside it, what it stands for: a copy, and a sum of what was copied.
func BenchmarkCopySum(b *testing.B) {
	for _, n := range []int{64, 1448, 65000} {
		src, dst := make([]byte, n), make([]byte, n)
		b.Run(fmt.Sprintf("one/%d", n), func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				sink += uint64(copySum(dst, src))
			}
		})
		b.Run(fmt.Sprintf("two/%d", n), func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				copy(dst, src)
				sink += uint64(wire.Sum(0).Add(dst))
			}
		})
	}
}
