// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// Sum is an unfolded ones'-complement sum (RFC 1071). The zero value is the
// empty sum. Add at even offsets only: all pieces but the last must have even
// length.
type Sum uint64

// Add returns s plus the 16-bit big-endian words of b; an odd last byte counts
// as if a zero followed it.
func (s Sum) Add(b []byte) Sum {
	// Eight bytes at a time: the sum is byte-order independent (RFC 1071
	// section 2B), and end-around carry may be deferred.
	var acc, c uint64 = uint64(s), 0
	for len(b) >= 64 {
		acc, c = bits.Add64(acc, binary.BigEndian.Uint64(b), 0)
		acc, c = bits.Add64(acc, binary.BigEndian.Uint64(b[8:]), c)
		acc, c = bits.Add64(acc, binary.BigEndian.Uint64(b[16:]), c)
		acc, c = bits.Add64(acc, binary.BigEndian.Uint64(b[24:]), c)
		acc, c = bits.Add64(acc, binary.BigEndian.Uint64(b[32:]), c)
		acc, c = bits.Add64(acc, binary.BigEndian.Uint64(b[40:]), c)
		acc, c = bits.Add64(acc, binary.BigEndian.Uint64(b[48:]), c)
		acc, c = bits.Add64(acc, binary.BigEndian.Uint64(b[56:]), c)
		acc, c = bits.Add64(acc, 0, c)
		acc += c
		b = b[64:]
	}
	for len(b) >= 8 {
		acc, c = bits.Add64(acc, binary.BigEndian.Uint64(b), 0)
		acc += c
		b = b[8:]
	}
	// What is left, as if zeros followed up to eight bytes.
	var tail uint64
	shift := uint(64)
	if len(b) >= 4 {
		tail, shift, b = uint64(binary.BigEndian.Uint32(b))<<32, 32, b[4:]
	}
	if len(b) >= 2 {
		shift -= 16
		tail, b = tail|uint64(binary.BigEndian.Uint16(b))<<shift, b[2:]
	}
	if len(b) == 1 {
		tail |= uint64(b[0]) << (shift - 8)
	}
	acc, c = bits.Add64(acc, tail, 0)
	acc += c
	return Sum(acc)
}

// Add16 returns s plus one 16-bit word.
func (s Sum) Add16(v uint16) Sum {
	acc, c := bits.Add64(uint64(s), uint64(v), 0)
	return Sum(acc + c)
}

// Fold returns the 16-bit ones'-complement sum, not inverted.
func (s Sum) Fold() uint16 {
	v := uint64(s)
	v = v>>32 + v&0xffffffff
	v = v>>32 + v&0xffffffff
	v = v>>16 + v&0xffff
	v = v>>16 + v&0xffff
	return uint16(v)
}

// Checksum returns the value for a checksum field over what was added.
func (s Sum) Checksum() uint16 { return ^s.Fold() }

// PseudoHeader returns the sum of the pseudo-header (RFC 9293 section 3.1, RFC
// 8200 section 8.1) for an upper-layer packet of length bytes. Both addresses
// are of the same family.
func PseudoHeader(src, dst netip.Addr, proto uint8, length int) Sum {
	var s Sum
	if src.Is4() {
		a, b := src.As4(), dst.As4()
		s = s.Add(a[:]).Add(b[:])
	} else {
		a, b := src.As16(), dst.As16()
		s = s.Add(a[:]).Add(b[:])
	}
	return s.Add16(uint16(length >> 16)).Add16(uint16(length)).Add16(uint16(proto))
}
