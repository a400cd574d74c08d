// SPDX-License-Identifier: Apache-2.0

package tcp

// growth is the state of a table that is being stretched or shrunk in place.
//
// To stretch it, words are taken from the end of the old order and put where
// they belong among more homes, which is further up, behind everything not taken
// yet: edge comes down from 2^32. To shrink it, words are taken from the
// beginning and put further down: edge goes up from 0. Either way hashes below
// edge have lo homes and others hi, and lo is less than hi.
//
// A word that went over leaves no gap that a search would fall into. Stretching,
// what stood behind it went over before, and belongs further up than it.
// Shrinking, cut closes the gap. A word that stays where it is, because there is
// no gap between its new home and it, keeps what stands in between there too:
// that is less, so its new home is no further up.
type growth struct {
	active  bool
	down    bool   // the table is being shrunk
	at      uint32 // stretching: words below edge stand before; shrinking: others stand from here on
	touched uint32 // slots from here on hold no memory
}

const (
	// tableStep is how many slots are looked at with every insert and remove.
	// The table is stretched by 3/16: seven would do to be done in time.
	tableStep = 16
	// tableTrim is how many slots are released at once: 64 KiB.
	tableTrim = 8192
)

// expand does a step of what is going on, or begins to stretch the table.
func (t *table) expand() {
	if !t.grow.active {
		if t.hi >= t.most {
			return // the load is 0.8 at the limit
		}
		t.grow.active, t.grow.down, t.grow.at = true, false, t.end()
		t.lo, t.hi, t.edge = t.hi, min(t.hi+t.hi*3/16, t.most), 1<<32
	}
	t.step()
}

// contract does a step of what is going on, or begins to shrink the table, and
// releases memory behind one that was shrunk.
func (t *table) contract() {
	t.trim()
	if !t.grow.active {
		if t.hi == tableLeast {
			return
		}
		t.grow.active, t.grow.down, t.grow.at = true, true, 0
		t.lo, t.edge = max(t.hi-t.hi/4, tableLeast), 0
	}
	t.step()
}

// end returns the slot behind the last word, or one behind it: where words
// stand behind the last home, they stand there without a gap.
func (t *table) end() uint32 {
	at := t.hi
	for t.slots[at] != 0 {
		at++
	}
	return at
}

func (t *table) step() {
	if t.grow.down {
		t.shrink()
	} else {
		t.stretch()
	}
}

// inserted keeps the promise of growth.at: a word of hash h was put at slot at,
// and those from there to the slot gap were moved up by one.
func (g *growth) inserted(h uint32, edge uint64, at, gap uint32) {
	g.touched = max(g.touched, gap+1)
	switch {
	case !g.active:
	case g.down:
		if uint64(h) >= edge {
			g.at = min(g.at, at)
		}
	case uint64(h) < edge && gap >= g.at:
		g.at = max(g.at, at) + 1
	}
}

// stretch takes words over from the end.
func (t *table) stretch() {
	g := &t.grow
	for n := tableStep; n > 0 && g.at > 0; n-- {
		at := g.at - 1
		w := t.slots[at]
		h := hashOf(w)
		switch {
		case w == 0:
			// Nobody has its home here. Let nobody come.
			t.edge = min(t.edge, uint64(at)<<32/uint64(t.lo)+1)
			g.at = at
			continue
		case uint64(h) >= t.edge:
			g.at = at
			continue
		}
		// All of one hash go over together: a search looks in one place.
		t.edge = uint64(h)
		for {
			t.lift(at, w)
			if g.at = at; at == 0 {
				break
			}
			at--
			if w = t.slots[at]; hashOf(w) != h {
				break
			}
		}
	}
	if g.at == 0 {
		t.lo, t.edge, g.active = t.hi, 0, false
	}
}

// lift puts a word, the greatest that did not go over yet, where it belongs
// among hi homes.
func (t *table) lift(at uint32, w uint64) {
	home := t.home(hashOf(w))
	if home <= at {
		return
	}
	t.slots[at] = 0
	gap := home
	for t.slots[gap] != 0 {
		gap++
	}
	copy(t.slots[home+1:gap+1], t.slots[home:gap])
	t.slots[home] = w
	t.grow.touched = max(t.grow.touched, gap+1)
}

// shrink takes words over from the beginning.
func (t *table) shrink() {
	g := &t.grow
	end := t.end()
	for n := tableStep; n > 0 && g.at < end; n-- {
		w := t.slots[g.at]
		h := hashOf(w)
		switch {
		case w == 0:
			// Nobody has its home up to here. Let nobody come.
			t.edge = max(t.edge, uint64(g.at+1)<<32/uint64(t.hi))
			g.at++
			continue
		case uint64(h) < t.edge:
			g.at++
			continue
		}
		// All of one hash go over together.
		t.edge = uint64(h) + 1
		for ; w != 0 && hashOf(w) == h; w = t.slots[g.at] {
			at := t.home(h)
			for at < g.at && t.slots[at] != 0 {
				at++
			}
			if at == g.at {
				g.at++
				continue
			}
			t.slots[at] = w
			t.cut(g.at)
		}
	}
	if g.at >= end {
		t.hi, t.edge, g.active = t.lo, 0, false
	}
}

// trim releases memory behind the last word, a piece at a time.
func (t *table) trim() {
	const page = pageSize / 8
	keep := max(t.hi+tableSlack, t.end()+1)
	keep = (keep + page - 1) &^ (page - 1)
	if t.grow.touched <= keep {
		return
	}
	end := (t.grow.touched + page - 1) &^ (page - 1)
	from := keep
	if end > keep+tableTrim {
		from = end - tableTrim
	}
	t.mem.release(t.bytes[from*8 : min(int(end)*8, len(t.bytes))])
	t.grow.touched = from
}
