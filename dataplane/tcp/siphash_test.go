// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// siphash is SipHash-c-d as the paper has it, over whole words, the last of
// which has the length in its last byte.
func siphash(k key, c, d int, in []byte) uint64 {
	v0, v1, v2, v3 := k.start()
	round := func() {
		v0 += v1
		v1 = v1<<13 | v1>>51
		v1 ^= v0
		v0 = v0<<32 | v0>>32
		v2 += v3
		v3 = v3<<16 | v3>>48
		v3 ^= v2
		v0 += v3
		v3 = v3<<21 | v3>>43
		v3 ^= v0
		v2 += v1
		v1 = v1<<17 | v1>>47
		v1 ^= v2
		v2 = v2<<32 | v2>>32
	}
	for ; len(in) >= 8; in = in[8:] {
		m := binary.LittleEndian.Uint64(in)
		v3 ^= m
		for range c {
			round()
		}
		v0 ^= m
	}
	v2 ^= 0xff
	for range d {
		round()
	}
	return v0 ^ v1 ^ v2 ^ v3
}

func TestSipHash(t *testing.T) {
	var b [16]byte
	for i := range b {
		b[i] = byte(i)
	}
	k := key{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])}

	// Appendix A of the paper: fifteen bytes, their number in the last.
	in := append([]byte{}, b[:15]...)
	in = append(in, 15)
	if got := siphash(k, 2, 4, in); got != 0xa129ca6149be45e5 {
		t.Fatalf("SipHash-2-4: %#x", got)
	}

	r := rand.New(rand.NewPCG(1, 1))
	for range 100 {
		x, y, z := r.Uint64(), r.Uint64(), r.Uint64()
		in := binary.LittleEndian.AppendUint64(nil, x)
		in = binary.LittleEndian.AppendUint64(in, y)
		in = binary.LittleEndian.AppendUint64(in, z)
		in = append(in, 0, 0, 0, 0, 0, 0, 0, 24)
		if got, want := k.prf(x, y, z), siphash(k, 2, 4, in); got != want {
			t.Fatalf("prf: %#x, want %#x", got, want)
		}
		if got, want := k.hash13(x, y, z), siphash(k, 1, 3, in); got != want {
			t.Fatalf("hash13: %#x, want %#x", got, want)
		}
		tu := tuple{remote: addr{x, y}, lport: uint16(z), rport: uint16(z >> 16), local: uint16(z >> 32)}
		binary.LittleEndian.PutUint64(in[16:], tu.word())
		if got, want := k.hash(&tu), uint32(siphash(k, 1, 3, in)>>32); got != want {
			t.Fatalf("hash: %#x, want %#x", got, want)
		}
		tu.remote.hi = 0
		in[31] = 16
		if got, want := k.hash(&tu), uint32(siphash(k, 1, 3, in[8:])>>32); got != want {
			t.Fatalf("hash of an IPv4 tuple: %#x, want %#x", got, want)
		}
	}
}

// Every part of a tuple, and of the key, is part of the hash.
func TestTupleHash(t *testing.T) {
	base := tuple{remote: addr{1, 2}, lport: 3, rport: 4, local: 5}
	k := key{6, 7}
	seen := map[uint32]string{k.hash(&base): "base"}
	for name, change := range map[string]func(*tuple, *key){
		"remote.hi": func(u *tuple, _ *key) { u.remote.hi++ },
		"remote.lo": func(u *tuple, _ *key) { u.remote.lo++ },
		"lport":     func(u *tuple, _ *key) { u.lport++ },
		"rport":     func(u *tuple, _ *key) { u.rport++ },
		"local":     func(u *tuple, _ *key) { u.local++ },
		"swapped":   func(u *tuple, _ *key) { u.lport, u.rport = u.rport, u.lport },
		"k0":        func(_ *tuple, k *key) { k.k0++ },
		"k1":        func(_ *tuple, k *key) { k.k1++ },
	} {
		u, l := base, k
		change(&u, &l)
		h := l.hash(&u)
		if other, ok := seen[h]; ok {
			t.Errorf("%s hashes like %s", name, other)
		}
		seen[h] = name
		if name != "k0" && name != "k1" && u.equal(&base) {
			t.Errorf("%s: equal", name)
		}
	}
	if u := base; !u.equal(&base) {
		t.Error("a tuple does not equal itself")
	}
}

// Tuples as a load generator, or an attacker who does not know the key, makes
// them spread evenly.
func TestTupleHashSpread(t *testing.T) {
	k := key{1, 2}
	var count [256]int
	const n = 1 << 16
	for i := range n {
		u := tuple{remote: addr{lo: mapped4 | uint64(0x0a000000+i>>4)}, lport: 80, rport: uint16(32768 + i&15)}
		count[k.hash(&u)>>24]++
	}
	for i, c := range count {
		if c < n/256*3/4 || c > n/256*5/4 {
			t.Errorf("%d of %d in bucket %d of 256", c, n, i)
		}
	}
}

func BenchmarkTupleHash(b *testing.B) {
	for name, u := range map[string]tuple{
		"v4": {remote: addr{lo: mapped4 | 0x0a000001}, lport: 80, rport: 4711},
		"v6": {remote: addr{0xfd00 << 48, 1}, lport: 80, rport: 4711},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			k := key{1, 2}
			for b.Loop() {
				u.rport++
				sink += uint64(k.hash(&u))
			}
		})
	}
}
