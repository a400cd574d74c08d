// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"encoding/binary"
	"math/bits"
)

// key is a secret of SipHash. Everything keyed here is derived from the
// engine's seed, so that a run can be repeated and a successor can go on.
type key struct{ k0, k1 uint64 }

// subkey derives the key for one purpose from a seed of 32 bytes.
func subkey(seed *[32]byte, purpose uint64) key {
	a := key{binary.LittleEndian.Uint64(seed[0:]), binary.LittleEndian.Uint64(seed[8:])}
	b := key{binary.LittleEndian.Uint64(seed[16:]), binary.LittleEndian.Uint64(seed[24:])}
	return key{a.prf(purpose, 0, 0), b.prf(purpose, 0, 0)}
}

// What keys are for.
const (
	keyTable uint64 = iota + 1
	keyISN
	keyTimestamp
	keyCookie
	keyPorts
	keyFlow
)

// SipHash (Aumasson, Bernstein 2012) has a state of four words, kept in
// variables of their own: then they stay in registers.

func (k key) start() (v0, v1, v2, v3 uint64) {
	return k.k0 ^ 0x736f6d6570736575, k.k1 ^ 0x646f72616e646f6d,
		k.k0 ^ 0x6c7967656e657261, k.k1 ^ 0x7465646279746573
}

func sipRound(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v2 += v3
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 = bits.RotateLeft64(v0, 32) + v3
	v2 += v1
	return v0, bits.RotateLeft64(v1, 17) ^ v2, bits.RotateLeft64(v2, 32), bits.RotateLeft64(v3, 21) ^ v0
}

// prf is SipHash-2-4 of three words: where the result is shown to strangers
// (RFC 6528, SYN cookies).
func (k key) prf(a, b, c uint64) uint64 {
	v0, v1, v2, v3 := k.start()
	for _, m := range [4]uint64{a, b, c, 24 << 56} {
		v3 ^= m
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0 ^= m
	}
	v2 ^= 0xff
	for range 4 {
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	}
	return v0 ^ v1 ^ v2 ^ v3
}

// hash13 is SipHash-1-3 of three words: for tables, whose places nobody sees.
func (k key) hash13(a, b, c uint64) uint64 {
	v0, v1, v2, v3 := k.start()
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3^a)
	v0, v1, v2, v3 = sipRound(v0^a, v1, v2, v3^b)
	v0, v1, v2, v3 = sipRound(v0^b, v1, v2, v3^c)
	v0, v1, v2, v3 = sipRound(v0^c, v1, v2, v3^24<<56)
	v0, v1, v2, v3 = sipRound(v0^24<<56, v1, v2^0xff, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	return v0 ^ v1 ^ v2 ^ v3
}

// hash13of2 is SipHash-1-3 of two words.
func (k key) hash13of2(a, b uint64) uint64 {
	v0, v1, v2, v3 := k.start()
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3^a)
	v0, v1, v2, v3 = sipRound(v0^a, v1, v2, v3^b)
	v0, v1, v2, v3 = sipRound(v0^b, v1, v2, v3^16<<56)
	v0, v1, v2, v3 = sipRound(v0^16<<56, v1, v2^0xff, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	return v0 ^ v1 ^ v2 ^ v3
}

// hash returns the table hash of a tuple. That of an IPv4 tuple is of two words:
// the length, which is hashed too, tells it from an IPv6 one.
func (k key) hash(t *tuple) uint32 {
	if t.remote.hi == 0 {
		return uint32(k.hash13of2(t.remote.lo, t.word()) >> 32)
	}
	return uint32(k.hash13(t.remote.hi, t.remote.lo, t.word()) >> 32)
}
