// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"sync/atomic"
)

// snapshot is everything that readers see. It is immutable once in force, but
// for the marks behind answer.used.
//
// The answers are a hash table with linear probing, because it is looked into
// for every frame. At least half of it is empty, so that a probe soon ends. The
// seed keeps those who choose VTEP addresses from choosing where they collide.
type snapshot struct {
	generation uint64
	up         bool
	mtu        int
	seed       [2]uint64
	n          int
	answers    []answer // the length is a power of two
}

// answer is what Lookup returns for a VTEP. It is empty if used is nil.
type answer struct {
	vtep  netip.Addr // as it was asked for
	hop   Hop
	used  *atomic.Bool // set by Lookup, cleared by the table's goroutine
	state State
}

// newSnapshot returns a snapshot with room for n answers.
func newSnapshot(n int, seed [2]uint64) *snapshot {
	return &snapshot{seed: seed, answers: make([]answer, 2<<bits.Len(uint(n)))}
}

// slot returns where the search for a VTEP begins.
func (s *snapshot) slot(vtep netip.Addr) uint64 {
	b := vtep.As16()
	hi, lo := bits.Mul64(binary.NativeEndian.Uint64(b[:8])^s.seed[0], binary.NativeEndian.Uint64(b[8:])^s.seed[1])
	return hi ^ lo
}

// find returns the answer for a VTEP, or nil.
func (s *snapshot) find(vtep netip.Addr) *answer {
	mask := uint64(len(s.answers) - 1)
	for i := s.slot(vtep); ; i++ {
		switch a := &s.answers[i&mask]; {
		case a.used == nil:
			return nil
		case a.vtep == vtep:
			return a
		}
	}
}

// add puts in an answer. There are no more than newSnapshot made room for, and
// none of the same VTEP.
func (s *snapshot) add(a answer) {
	mask := uint64(len(s.answers) - 1)
	i := s.slot(a.vtep)
	for s.answers[i&mask].used != nil {
		i++
	}
	s.answers[i&mask] = a
	s.n++
}
