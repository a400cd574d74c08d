// SPDX-License-Identifier: Apache-2.0

package tcp

import "fmt"

// table maps hashes of 32 bits to values of 32 bits, several values to the same
// hash if need be; a value is an index or whatever else its user makes of it,
// and not 0. What a value stands for, and with it equality, is the user's:
//
//	for it := t.find(h); it.next(); {
//		if e.conn(it.value()).tuple.equal(&tu) { … }
//	}
//
// It is one array of words, hash above value, in the order of their hashes, with
// gaps: linear probing with a home that grows with the hash. Of n homes, hash h
// has h*n>>32.
//
//   - The words are sorted.
//   - No word stands before its home.
//   - No slot between a word's home and the word is empty.
//
// So a search begins at the home and ends at the first greater word or gap; a
// word is removed by moving those behind it back, and nothing is left in its
// place. At the highest load a search passes two words beside the one it is
// for: one or two cache lines, however large the table.
//
// Because the order does not depend on n, the array is stretched and shrunk in
// place, from one end to the other, a few slots with every insert and remove
// (table_grow.go): no moment costs more than another, nothing is held twice, and
// the load stays between 0.67 and 0.8, at 10 to 11.9 bytes per value.
//
// Hashes are keyed (key.hash): who does not know the key cannot choose tuples
// that meet.
type table struct {
	slots []uint64 // the whole region; the last slot stays empty
	edge  uint64   // hashes below have lo homes, others hi
	lo    uint32
	hi    uint32
	n     uint32 // values
	limit uint32
	most  uint32 // homes there is room for
	grow  growth
	mem   *memory
	bytes []byte
}

const (
	// tableLeast is the least number of homes: a quarter of a page.
	tableLeast = 128
	// tableSlack is the room behind the last home for words that could not
	// stand there. There is as much again, for what is moved up.
	tableSlack = 1024
)

// newTable makes a table of at most limit values in a region of m.
func newTable(m *memory, name string, limit int) (*table, error) {
	if limit < 1 || limit > 1<<30 {
		return nil, fmt.Errorf("table %q of %d values (want 1 to %d)", name, limit, 1<<30)
	}
	t := &table{limit: uint32(limit), mem: m}
	t.most = max(tableLeast, uint32(uint64(limit)*5/4)+1)
	t.lo, t.hi = tableLeast, tableLeast
	var err error
	if t.bytes, err = m.region(name, (int(t.most)+2*tableSlack)*8, 8, 0); err != nil {
		return nil, err
	}
	t.slots = sliceOf[uint64](t.bytes)
	return t, nil
}

// len returns the number of values.
func (t *table) len() int { return int(t.n) }

// finder walks the values of one hash.
type finder struct {
	slots []uint64
	at    uint32
	h     uint32
	v     uint32
}

// find begins a walk over the values of hash h. The table must not change
// while it lasts.
func (t *table) find(h uint32) finder {
	h = tableHash(h)
	return finder{slots: t.slots, at: t.home(h), h: h}
}

// tableHash keeps the greatest hash free: it is how an empty slot looks.
func tableHash(h uint32) uint32 {
	if h == 1<<32-1 {
		h--
	}
	return h
}

// homes returns how many homes there are for words like that of hash h.
func (t *table) homes(h uint32) uint32 {
	if uint64(h) < t.edge {
		return t.lo
	}
	return t.hi
}

// home returns where the words of hash h begin.
func (t *table) home(h uint32) uint32 { return uint32(uint64(h) * uint64(t.homes(h)) >> 32) }

// hashOf returns the hash of a word; an empty slot has the greatest.
func hashOf(word uint64) uint32 { return uint32((word - 1) >> 32) }

// next goes to the next value and says whether there is one.
func (f *finder) next() bool {
	for {
		w := f.slots[f.at]
		f.at++
		if k := hashOf(w); k >= f.h {
			f.v = uint32(w)
			return k == f.h
		}
	}
}

// value returns the value that next found.
func (f *finder) value() uint32 { return f.v }

// insert adds a value, which is not in the table yet. It returns false if the
// table is full.
func (t *table) insert(h, value uint32) bool {
	if t.n >= t.limit {
		return false
	}
	h = tableHash(h)
	if t.grow.active || uint64(t.n)*5 >= uint64(t.hi)*4 {
		t.expand()
	}
	if !t.put(h, value) {
		return false
	}
	t.n++
	return true
}

// put places a word behind those that are not greater.
func (t *table) put(h, value uint32) bool {
	at := t.home(h)
	for hashOf(t.slots[at]) <= h {
		at++
	}
	gap := at
	for t.slots[gap] != 0 {
		gap++
	}
	if gap >= t.homes(h)+tableSlack {
		// That takes a thousand words more than homes in a row: the hash is
		// not what it should be.
		return false
	}
	copy(t.slots[at+1:gap+1], t.slots[at:gap])
	t.slots[at] = uint64(h)<<32 | uint64(value)
	t.grow.inserted(h, t.edge, at, gap)
	return true
}

// seek returns the slot of a value.
func (t *table) seek(h, value uint32) (uint32, bool) {
	for at := t.home(h); ; at++ {
		switch w := t.slots[at]; {
		case w == uint64(h)<<32|uint64(value):
			return at, true
		case hashOf(w) > h:
			return 0, false
		}
	}
}

// remove takes a value out and says whether it was there.
func (t *table) remove(h, value uint32) bool {
	at, ok := t.seek(tableHash(h), value)
	if !ok {
		return false
	}
	t.cut(at)
	t.n--
	if t.grow.active || t.n < t.hi*2/5 {
		t.contract()
	}
	return true
}

// cut empties a slot and moves those words back that stood behind it for want
// of room.
func (t *table) cut(at uint32) {
	end := at + 1
	for w := t.slots[end]; w != 0 && t.home(hashOf(w)) != end; w = t.slots[end] {
		end++
	}
	copy(t.slots[at:end-1], t.slots[at+1:end])
	t.slots[end-1] = 0
}

// replace puts another value in the place of one and says whether that was
// there: a connection that becomes a TIME-WAIT record keeps its place.
func (t *table) replace(h, value, with uint32) bool {
	h = tableHash(h)
	at, ok := t.seek(h, value)
	if ok {
		t.slots[at] = uint64(h)<<32 | uint64(with)
	}
	return ok
}
