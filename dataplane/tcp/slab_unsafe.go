// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"math/bits"
	"unsafe"
)

// pointer is where a region begins.
type pointer = unsafe.Pointer

func pointerTo(b []byte) pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

// at returns the record with index i, which alloc returned. An index that was
// never in use is our own broken invariant.
func (s *slab[T]) at(i uint32) *T {
	if i >= s.bound {
		panic("tcp: index beyond the slab")
	}
	var zero T
	return (*T)(unsafe.Add(s.base, uintptr(i)*unsafe.Sizeof(zero)))
}

// vacant is a record that is not in use.
type vacant struct {
	slot
	next uint32 // freed before it
}

func (s *slab[T]) head(i uint32) *vacant {
	return (*vacant)(unsafe.Add(s.base, uintptr(i)*uintptr(s.size)))
}

// alloc returns a record of zeros, or 0 and nil when limit records are in use.
func (s *slab[T]) alloc() (uint32, *T) {
	if s.live >= s.limit || s.top == 0 {
		return 0, nil
	}
	w := uint32(bits.TrailingZeros64(s.top))
	c := w*64 + uint32(bits.TrailingZeros64(s.avail[w]))
	k := &s.chunks[c]
	i, gen := k.free, k.gen
	if i != 0 {
		v := s.head(i)
		k.free, gen = v.next, v.gen
	} else {
		i = k.fresh
		k.fresh++
		s.bound = max(s.bound, k.fresh)
	}
	if k.free == 0 && k.fresh == (c+1)<<s.shift {
		s.withdraw(c)
	}
	if s.spare == int(c) {
		s.spare = -1
	}
	k.live++
	s.live++
	r := s.at(i)
	var zero T
	*r = zero
	s.head(i).gen = gen + 1
	return i, r
}

// free ends the use of the record with index i: its handle is stale from now
// on.
func (s *slab[T]) free(i uint32) {
	if i == 0 || i >= s.bound || s.head(i).gen&1 == 0 {
		panic("tcp: free of a record that is not in use")
	}
	v := s.head(i)
	v.gen++
	c := i >> s.shift
	k := &s.chunks[c]
	k.most = max(k.most, v.gen)
	k.live--
	s.live--
	if v.gen <= lastGen {
		v.next = k.free
		k.free = i
		s.offer(c)
	}
	if k.live == 0 {
		s.recycle(c)
	}
}
