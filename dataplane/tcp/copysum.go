// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"encoding/binary"
	"math/bits"

	"netcon/dataplane/wire"
)

// copySum copies src to dst, which is at least as long, and returns the sum of
// src as if it began at an even offset. The two do not overlap.
//
// It is one pass with eight bytes at a time: as fast as the sum alone. The sum
// is that of little-endian words, whose bytes are swapped at the end (RFC 1071
// section 2B).
func copySum(dst, src []byte) wire.Sum {
	dst = dst[:len(src)]
	var acc, c uint64
	for len(src) >= 64 && len(dst) >= 64 {
		s, d := (*[64]byte)(src), (*[64]byte)(dst)
		w0, w1 := binary.LittleEndian.Uint64(s[0:]), binary.LittleEndian.Uint64(s[8:])
		w2, w3 := binary.LittleEndian.Uint64(s[16:]), binary.LittleEndian.Uint64(s[24:])
		binary.LittleEndian.PutUint64(d[0:], w0)
		binary.LittleEndian.PutUint64(d[8:], w1)
		binary.LittleEndian.PutUint64(d[16:], w2)
		binary.LittleEndian.PutUint64(d[24:], w3)
		w4, w5 := binary.LittleEndian.Uint64(s[32:]), binary.LittleEndian.Uint64(s[40:])
		w6, w7 := binary.LittleEndian.Uint64(s[48:]), binary.LittleEndian.Uint64(s[56:])
		binary.LittleEndian.PutUint64(d[32:], w4)
		binary.LittleEndian.PutUint64(d[40:], w5)
		binary.LittleEndian.PutUint64(d[48:], w6)
		binary.LittleEndian.PutUint64(d[56:], w7)
		acc, c = bits.Add64(acc, w0, c)
		acc, c = bits.Add64(acc, w1, c)
		acc, c = bits.Add64(acc, w2, c)
		acc, c = bits.Add64(acc, w3, c)
		acc, c = bits.Add64(acc, w4, c)
		acc, c = bits.Add64(acc, w5, c)
		acc, c = bits.Add64(acc, w6, c)
		acc, c = bits.Add64(acc, w7, c)
		src, dst = src[64:], dst[64:]
	}
	for len(src) >= 8 && len(dst) >= 8 {
		w := binary.LittleEndian.Uint64(src)
		binary.LittleEndian.PutUint64(dst, w)
		acc, c = bits.Add64(acc, w, c)
		src, dst = src[8:], dst[8:]
	}
	var tail uint64
	for i := range src {
		b := src[i]
		dst[i] = b
		tail |= uint64(b) << (i * 8)
	}
	acc, c = bits.Add64(acc, tail, c)
	acc, c = bits.Add64(acc, 0, c)
	return wire.Sum(bits.ReverseBytes16(wire.Sum(acc + c).Fold()))
}

// gatherSum copies two spans to dst, one behind the other, and returns the sum
// of what it copied: from a ring into a frame.
func gatherSum(dst, first, second []byte) wire.Sum {
	s := copySum(dst, first)
	if len(second) == 0 {
		return s
	}
	return joinSum(s, len(first), copySum(dst[len(first):], second))
}

// scatterSum copies src to two spans, which together are at least as long, and
// returns the sum of src: from a frame into a ring.
func scatterSum(first, second, src []byte) wire.Sum {
	n := min(len(first), len(src))
	s := copySum(first, src[:n])
	if n == len(src) {
		return s
	}
	return joinSum(s, n, copySum(second, src[n:]))
}

// joinSum returns the sum of n bytes that sum to a, followed by bytes that sum
// to b on their own: at an odd offset, the bytes of every word change places.
func joinSum(a wire.Sum, n int, b wire.Sum) wire.Sum {
	if n&1 != 0 {
		b = wire.Sum(bits.ReverseBytes16(b.Fold()))
	}
	return a.Add16(b.Fold())
}
