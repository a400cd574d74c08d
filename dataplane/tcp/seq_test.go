// SPDX-License-Identifier: Apache-2.0

package tcp

import "testing"

// Everything that arithmetic modulo 2^32 can get wrong is near 0, 2^31 and
// 2^32: all pairs of numbers there, against the definition in 64 bits.
func TestSeq(t *testing.T) {
	var edges []uint32
	for _, base := range []uint32{0, 1 << 30, 1 << 31, 3 << 30} {
		for d := -3; d <= 3; d++ {
			edges = append(edges, base+uint32(d))
		}
	}
	for _, a := range edges {
		for _, b := range edges {
			ahead := (uint64(b) + 1<<32 - uint64(a)) % (1 << 32) // of b before a
			lt := ahead > 0 && ahead < 1<<31
			gt := ahead > 1<<31
			if seqLT(a, b) != lt || seqGT(a, b) != gt || seqLEQ(a, b) == gt || seqGEQ(a, b) == lt {
				t.Errorf("%#x, %#x: LT %v GT %v LEQ %v GEQ %v", a, b, seqLT(a, b), seqGT(a, b), seqLEQ(a, b), seqGEQ(a, b))
			}
			if (a == b) != (seqLEQ(a, b) && seqGEQ(a, b) && ahead != 1<<31) {
				t.Errorf("%#x, %#x: equality", a, b)
			}
			if lo, hi := seqMin(a, b), seqMax(a, b); lt && (lo != a || hi != b) || gt && (lo != b || hi != a) {
				t.Errorf("%#x, %#x: min %#x, max %#x", a, b, lo, hi)
			}
		}
	}
}
