// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"fmt"
	"hash/fnv"
	"math/bits"
	"reflect"
)

// slot begins every record of a slab.
type slot struct {
	gen uint32 // generation; odd while the record is in use
}

func (slot) isRecord() {}

// record is a type with a slot embedded.
type record interface{ isRecord() }

// maxRecords bounds a slab: indices of 24 bits, 0 unused.
const maxRecords = 1<<24 - 1

// maxRecord is the largest record in bytes: chunks of at least 512 records of a
// multiple of 8 bytes are whole pages.
const maxRecord = chunkBytes / 512

// chunkBytes is about how much memory goes back at once, and maxChunks how many
// chunks a slab has at most: very many records make larger chunks.
const (
	chunkBytes = 1 << 20
	maxChunks  = 64 * 64
)

// slab holds records of T by index. T has no pointers and begins with a slot.
// Index 0 names no record.
//
// Every free list is LIFO within its chunk, and chunks are used from the lowest
// on, so that what is in use stays together and chunks at the end fall empty. An
// empty chunk goes back to the kernel, unless it is the only one to spare.
//
// A record's generation counts its uses. It outlives the chunk's memory; a
// record whose generations are used up is never used again.
type slab[T record] struct {
	base  pointer // the region; record i stands at i*size
	size  uint32  // of a record, in bytes
	bound uint32  // indices below may be in use
	limit uint32  // records at most
	live  uint32  // records in use

	shift  uint8 // a chunk is 1<<shift records
	spare  int   // the chunk that holds memory and no live record; -1: none
	chunks []chunk
	avail  []uint64 // bit per chunk that has a free record
	top    uint64   // bit per word of avail that is not zero
	mem    *memory
	region []byte
}

// chunk is the state of 1<<shift records.
type chunk struct {
	free  uint32 // the record freed last; 0: none
	fresh uint32 // records from this one on are new: they hold no memory
	live  uint32 // records in use
	gen   uint32 // generation of new records, even
	most  uint32 // highest generation of records freed, even
}

// newSlab makes a slab of at most limit records in a region of m.
func newSlab[T record](m *memory, name string, limit int) (*slab[T], error) {
	t := reflect.TypeFor[T]()
	if err := plainRecord(t); err != nil {
		return nil, fmt.Errorf("slab %q: %w", name, err)
	}
	if limit < 1 || limit > maxRecords {
		return nil, fmt.Errorf("slab %q of %d records (want 1 to %d)", name, limit, maxRecords)
	}
	s := &slab[T]{size: uint32(t.Size()), limit: uint32(limit), spare: -1, mem: m}
	s.shift = uint8(bits.Len32(chunkBytes/s.size) - 1)
	for limit>>s.shift >= maxChunks {
		s.shift++
	}
	per := 1 << s.shift
	n := (limit + per) / per
	var err error
	if s.region, err = m.region(name, n*per*int(s.size), int(s.size), layoutOf(t)); err != nil {
		return nil, err
	}
	s.base = pointerTo(s.region)
	s.chunks = make([]chunk, n)
	s.avail = make([]uint64, (n+63)/64)
	for c := range s.chunks {
		s.chunks[c].fresh = uint32(c * per)
		s.offer(uint32(c))
	}
	s.chunks[0].fresh = 1
	return s, nil
}

// get returns the record that handle h names, or nil if it was freed since, or
// never was.
func (s *slab[T]) get(h uint64) (uint32, *T) {
	i := uint32(h)
	if i == 0 || i >= s.bound {
		return 0, nil
	}
	r := s.at(i)
	if g := uint32(h >> 32); g&1 == 0 || s.head(i).gen != g {
		return 0, nil
	}
	return i, r
}

// handle names the record with index i, which is in use, until it is freed.
func (s *slab[T]) handle(i uint32) uint64 { return uint64(s.head(i).gen)<<32 | uint64(i) }

// len returns the number of records in use.
func (s *slab[T]) len() int { return int(s.live) }

// next returns the first record in use with an index above i, or 0: to visit
// every record, from 0 on.
func (s *slab[T]) next(i uint32) uint32 {
	for i++; i < s.bound; i++ {
		c := i >> s.shift
		if s.chunks[c].live == 0 || i >= s.chunks[c].fresh {
			i = (c+1)<<s.shift - 1
			continue
		}
		if s.head(i).gen&1 != 0 {
			return i
		}
	}
	return 0
}

// offer marks that chunk c has a free record, withdraw that it has none.
func (s *slab[T]) offer(c uint32) {
	s.avail[c/64] |= 1 << (c % 64)
	s.top |= 1 << (c / 64)
}

func (s *slab[T]) withdraw(c uint32) {
	if s.avail[c/64] &^= 1 << (c % 64); s.avail[c/64] == 0 {
		s.top &^= 1 << (c / 64)
	}
}

// recycle gives memory back to the kernel when chunk c has no record in use any
// more: its own, or that of another such chunk, the higher one. One is kept, so
// that a load that goes up and down by a record does not go to the kernel every
// time.
func (s *slab[T]) recycle(c uint32) {
	if s.spare < 0 {
		s.spare = int(c)
		return
	}
	low := min(c, uint32(s.spare))
	c = max(c, uint32(s.spare))
	s.spare = int(low)
	k := &s.chunks[c]
	if k.most > keepGen {
		return
	}
	size := int(s.size) << s.shift
	s.mem.release(s.region[int(c)*size:][:size])
	*k = chunk{fresh: max(c<<s.shift, 1), gen: k.most, most: k.most}
	s.offer(c)
}

const (
	// lastGen is the highest generation, even, from which a record is used
	// again.
	lastGen = 1<<32 - 4
	// keepGen is the generation beyond which a chunk keeps its memory: all its
	// records would go on from the highest generation of one of them.
	keepGen = 1 << 31
)

// plainRecord reports why records of type t cannot be kept in a slab.
func plainRecord(t reflect.Type) error {
	if t.Kind() != reflect.Struct || t.NumField() == 0 || t.Field(0).Type != reflect.TypeFor[slot]() {
		return fmt.Errorf("record %s: its first field is no slot", t)
	}
	if t.Size() < 8 || t.Size()%8 != 0 || t.Size() > maxRecord {
		return fmt.Errorf("record %s of %d bytes (want a multiple of 8 up to %d)", t, t.Size(), maxRecord)
	}
	return plain(t)
}

// plain reports where t has a pointer.
func plain(t reflect.Type) error {
	switch t.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint,
		reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		return nil
	case reflect.Array:
		return plain(t.Elem())
	case reflect.Struct:
		for f := range t.NumField() {
			if err := plain(t.Field(f).Type); err != nil {
				return fmt.Errorf("field %s: %w", t.Field(f).Name, err)
			}
		}
		return nil
	}
	return fmt.Errorf("%s has pointers", t)
}

// layoutOf returns a hash of names, types and offsets of all fields: two
// processes that agree on it agree on the record.
func layoutOf(t reflect.Type) uint64 {
	h := fnv.New64a()
	var walk func(t reflect.Type, at uintptr)
	walk = func(t reflect.Type, at uintptr) {
		fmt.Fprintf(h, "%d %d %d;", at, t.Kind(), t.Size())
		switch t.Kind() {
		case reflect.Struct:
			for f := range t.NumField() {
				fmt.Fprint(h, t.Field(f).Name)
				walk(t.Field(f).Type, at+t.Field(f).Offset)
			}
		case reflect.Array:
			fmt.Fprint(h, t.Len())
			walk(t.Elem(), at)
		}
	}
	walk(t, 0)
	return h.Sum64()
}
