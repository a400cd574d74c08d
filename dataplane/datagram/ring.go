// SPDX-License-Identifier: Apache-2.0

package datagram

import (
	"encoding/binary"
	"math/bits"
)

// A record of a ring is a length of 4 bytes, 4 bytes of nothing, and as many
// bytes, padded to recordAlign. It never wraps: a record that would is preceded
// by a filler up to the ring's end, whose length has fillerBit set.
const (
	recordHeader = 8
	recordAlign  = 8
	fillerBit    = 1 << 31
)

// The least and the largest buffer a pool keeps, and how many bytes it keeps.
const (
	minRing    = 4 << 10
	maxIdle    = 1 << 20
	idleBytes  = 1 << 20
	poolClass0 = 12 // log2 of minRing
	poolSize   = 9  // classes up to maxIdle
)

// pool recycles buffers of powers of two and counts the bytes that are out.
// The zero value is ready to use.
type pool struct {
	free [poolSize][][]byte
	idle int // bytes in free
	out  int // bytes given out
}

// get returns a buffer of at least n bytes whose length is a power of two.
func (p *pool) get(n int) []byte {
	c := max(bits.Len(uint(n-1)), poolClass0) - poolClass0
	size := minRing << c
	p.out += size
	if c < poolSize {
		if k := len(p.free[c]); k > 0 {
			b := p.free[c][k-1]
			p.free[c] = p.free[c][:k-1]
			p.idle -= size
			return b
		}
	}
	return make([]byte, size)
}

// put takes back what get gave.
func (p *pool) put(b []byte) {
	p.out -= len(b)
	if c := bits.Len(uint(len(b)-1)) - poolClass0; c < poolSize && p.idle+len(b) <= idleBytes {
		p.free[c] = append(p.free[c], b)
		p.idle += len(b)
	}
}

// ring is a queue of records. It has memory only while it holds some, as much
// as it needed the last time, and grows by doubling. Cursors run freely. The
// zero value is ready to use.
type ring struct {
	buf        []byte
	head, tail uint64
	n          int // records
	peak       int // most bytes used since it was empty
	hint       int // size to begin with
}

func recordSize(n int) int { return recordHeader + (n+recordAlign-1)&^(recordAlign-1) }

// used returns how many bytes the records take, fillers included.
func (r *ring) used() int { return int(r.tail - r.head) }

// growth returns how many bytes of memory a record of n bytes would need beyond
// what the ring has.
func (r *ring) growth(n int) int {
	if r.fits(recordSize(n)) {
		return 0
	}
	return 1<<bits.Len(uint(r.next(recordSize(n))-1)) - len(r.buf)
}

// next returns the least size of the buffer when a record of that size has no
// room.
func (r *ring) next(size int) int { return max(r.used()+size, r.hint, minRing) }

// fits reports whether a record of that size has room without growing.
func (r *ring) fits(size int) bool {
	if len(r.buf) == 0 {
		return false
	}
	if at := int(r.tail) & (len(r.buf) - 1); at+size > len(r.buf) {
		size += len(r.buf) - at
	}
	return r.used()+size <= len(r.buf)
}

// push appends a record of n bytes and returns it; its bytes are undefined.
func (r *ring) push(n int, p *pool) []byte {
	size := recordSize(n)
	if !r.fits(size) {
		b := p.get(r.next(size))
		if r.buf != nil {
			from := int(r.head) & (len(r.buf) - 1)
			used := r.used()
			c := copy(b[:used], r.buf[from:])
			copy(b[c:used], r.buf)
			p.put(r.buf)
			r.head, r.tail = 0, uint64(used)
		}
		r.buf = b
	}
	at := int(r.tail) & (len(r.buf) - 1)
	if skip := len(r.buf) - at; skip < size {
		binary.LittleEndian.PutUint32(r.buf[at:], uint32(skip)|fillerBit)
		r.tail += uint64(skip)
		at = 0
	}
	binary.LittleEndian.PutUint32(r.buf[at:], uint32(n))
	r.tail += uint64(size)
	r.peak = max(r.peak, r.used())
	r.n++
	return r.buf[at+recordHeader : at+recordHeader+n]
}

// front returns the oldest record, nil if there is none. It stays valid until
// the next push or pop.
func (r *ring) front() []byte {
	for r.n > 0 {
		at := int(r.head) & (len(r.buf) - 1)
		n := binary.LittleEndian.Uint32(r.buf[at:])
		if n&fillerBit == 0 {
			return r.buf[at+recordHeader : at+recordHeader+int(n)]
		}
		r.head += uint64(n &^ fillerBit)
	}
	return nil
}

// pop removes the record that front returned.
func (r *ring) pop(p *pool) {
	at := int(r.head) & (len(r.buf) - 1)
	r.head += uint64(recordSize(int(binary.LittleEndian.Uint32(r.buf[at:]))))
	if r.n--; r.n == 0 {
		r.reset(p)
	}
}

// reset empties the ring and gives its memory back. The size to begin with
// follows what was used down as it does up, a half at a time.
func (r *ring) reset(p *pool) {
	hint := r.hint
	if r.buf != nil {
		p.put(r.buf)
		if hint = len(r.buf); r.peak < hint/4 {
			hint /= 2
		}
	}
	*r = ring{hint: hint}
}
