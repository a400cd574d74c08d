// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// testMemory returns a memory that goes with the test.
func testMemory(tb testing.TB) *memory {
	tb.Helper()
	m, err := newMemory("test")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(m.close)
	return m
}

func testTable(tb testing.TB, limit int) *table {
	tb.Helper()
	t, err := newTable(testMemory(tb), "test", limit)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// check verifies what table promises: order, homes, no gap between a home and
// its word, and the same of what growth says about either side of its edge.
func (t *table) check(tb testing.TB) {
	tb.Helper()
	var last uint64
	n, gap := uint32(0), int64(-1)
	end := min(t.grow.touched+1, uint32(len(t.slots)))
	for at, w := range t.slots[:end] {
		if w == 0 {
			gap = int64(at)
			continue
		}
		n++
		h := hashOf(w)
		home := t.home(h)
		switch {
		case w>>32 < last>>32:
			tb.Fatalf("slot %d: hash %#x behind %#x", at, w>>32, last>>32)
		case home > uint32(at):
			tb.Fatalf("slot %d: before its home %d", at, home)
		case gap >= int64(home):
			tb.Fatalf("slot %d: home %d, gap at %d", at, home, gap)
		case uint32(at) >= t.grow.touched:
			tb.Fatalf("slot %d: not among the %d touched", at, t.grow.touched)
		case t.grow.active && t.grow.down && uint64(h) >= t.edge && uint32(at) < t.grow.at:
			tb.Fatalf("slot %d: did not go over, before %d", at, t.grow.at)
		case t.grow.active && !t.grow.down && uint64(h) < t.edge && uint32(at) >= t.grow.at:
			tb.Fatalf("slot %d: did not go over, behind %d", at, t.grow.at)
		}
		last = w
	}
	if n != t.n {
		tb.Fatalf("%d words, %d counted", n, t.n)
	}
	if end == uint32(len(t.slots)) && t.slots[end-1] != 0 {
		tb.Fatal("the last slot is not empty")
	}
}

// values returns what find finds, in order.
func (t *table) values(h uint32) []uint32 {
	var list []uint32
	for it := t.find(h); it.next(); {
		list = append(list, it.value())
	}
	slices.Sort(list)
	return list
}

// model is the same as a table, the simple way.
type model map[uint32][]uint32

func (m model) insert(h, v uint32) { m[h] = append(m[h], v) }

func (m model) remove(h, v uint32) bool {
	i := slices.Index(m[h], v)
	if i < 0 {
		return false
	}
	m[h] = slices.Delete(m[h], i, i+1)
	return true
}

func (m model) values(h uint32) []uint32 {
	list := slices.Clone(m[h])
	slices.Sort(list)
	return list
}

// FuzzTable plays inserts, removes and replacements against a model. Hashes are
// few, and some alike, so that they meet; the pattern decides how many of either
// follow each other, so that the table grows and shrinks.
func FuzzTable(f *testing.F) {
	f.Add(uint64(1), []byte{200, 255, 255, 255, 255, 0, 0, 0, 0, 0})
	f.Add(uint64(2), []byte{255, 255, 255, 255, 255, 100, 0, 0, 255, 0, 0, 0, 0})
	f.Add(uint64(3), []byte{128, 129, 130, 140, 128, 90, 10})
	f.Fuzz(func(t *testing.T, seed uint64, pattern []byte) {
		if len(pattern) > 64 {
			pattern = pattern[:64]
		}
		r := rand.New(rand.NewPCG(seed, 1))
		tb := testTable(t, 4000)
		m := model{}
		type entry struct{ h, v uint32 }
		var in []entry
		next := uint32(1)
		for _, p := range pattern {
			for range 150 {
				if r.IntN(256) < int(p) {
					h := r.Uint32()
					switch r.IntN(8) {
					case 0:
						h = 1<<32 - 1 - uint32(r.IntN(3))
					case 1:
						h = uint32(r.IntN(3))
					case 2:
						if len(in) > 0 {
							h = in[r.IntN(len(in))].h
						}
					}
					if ok := tb.insert(h, next); ok != (len(in) < 4000) {
						t.Fatalf("insert of value %d: %v", len(in), ok)
					} else if !ok {
						continue
					}
					m.insert(tableHash(h), next)
					in = append(in, entry{h, next})
					next++
				} else if len(in) > 0 {
					i := r.IntN(len(in))
					e := in[i]
					if r.IntN(16) == 0 {
						if !tb.replace(e.h, e.v, next) {
							t.Fatalf("replace %v: not there", e)
						}
						m.remove(tableHash(e.h), e.v)
						m.insert(tableHash(e.h), next)
						in[i].v = next
						next++
						continue
					}
					in[i] = in[len(in)-1]
					in = in[:len(in)-1]
					if !tb.remove(e.h, e.v) || tb.remove(e.h, e.v) {
						t.Fatalf("remove %v", e)
					}
					m.remove(tableHash(e.h), e.v)
				}
			}
			tb.check(t)
			for _, e := range in {
				if got, want := tb.values(e.h), m.values(tableHash(e.h)); !slices.Equal(got, want) {
					t.Fatalf("hash %#x: %v, want %v", e.h, got, want)
				}
			}
			for range 100 {
				if h := r.Uint32(); len(m[h]) == 0 && len(tb.values(h)) != 0 {
					t.Fatalf("hash %#x: %v, want none", h, tb.values(h))
				}
			}
		}
	})
}

// Every single operation keeps the promises, whatever is going on.
func TestTableEveryStep(t *testing.T) {
	tb := testTable(t, 2000)
	r := rand.New(rand.NewPCG(7, 7))
	var in []uint32
	for round, want := range []int{1500, 40, 900, 0, 2000, 300} {
		for i := uint32(0); len(in) != want; i++ {
			if len(in) < want {
				h := r.Uint32()
				if i%16 == 0 && len(in) > 0 {
					h = in[0] // of one hash
				}
				if !tb.insert(h, 1+uint32(len(in))) {
					t.Fatalf("insert of value %d failed", len(in))
				}
				in = append(in, h)
			} else {
				h := in[len(in)-1]
				if !tb.remove(h, uint32(len(in))) {
					t.Fatalf("round %d: value %d is gone", round, len(in))
				}
				in = in[:len(in)-1]
			}
			tb.check(t)
		}
		for v, h := range in {
			if !slices.Contains(tb.values(h), uint32(v+1)) {
				t.Fatalf("round %d: value %d is not found", round, v+1)
			}
		}
	}
	if tb.insert(1, 1); tb.hi > 1000 {
		t.Errorf("%d homes for %d values", tb.hi, tb.n)
	}
}

// Inserts and removes come in between while words move in either direction.
func TestTableChurnWhileMoving(t *testing.T) {
	tb := testTable(t, 3000)
	r := rand.New(rand.NewPCG(8, 8))
	type entry struct{ h, v uint32 }
	var in []entry
	moved := [2]int{}
	for _, up := range []int{70, 30, 65, 20, 80, 35, 55, 5} {
		for k := range 4000 {
			if r.IntN(100) < up && len(in) < 3000 {
				e := entry{r.Uint32(), uint32(k + 1)}
				if r.IntN(8) == 0 && len(in) > 0 {
					e.h = in[r.IntN(len(in))].h + uint32(r.IntN(3)) - 1 // next to another, or alike
				}
				if !tb.insert(e.h, e.v) {
					t.Fatalf("insert of value %d failed", len(in))
				}
				in = append(in, e)
			} else if len(in) > 0 {
				i := r.IntN(len(in))
				e := in[i]
				in[i] = in[len(in)-1]
				in = in[:len(in)-1]
				if !tb.remove(e.h, e.v) {
					t.Fatalf("value %+v is gone", e)
				}
			}
			if tb.grow.active && tb.grow.down {
				moved[1]++
			} else if tb.grow.active {
				moved[0]++
			}
			tb.check(t)
		}
		for _, e := range in {
			if !slices.Contains(tb.values(e.h), e.v) {
				t.Fatalf("value %+v is not found", e)
			}
		}
	}
	if moved[0] < 100 || moved[1] < 100 {
		t.Errorf("only %d steps while it grew, %d while it shrank", moved[0], moved[1])
	}
}

// Values of one hash, more than there is room for behind the last home: that
// takes a hash that is broken. The table refuses, and stays right.
func TestTableOverflow(t *testing.T) {
	tb := testTable(t, 5000)
	n := uint32(0)
	for ; n < 5000 && tb.insert(1<<32-1, n+1); n++ {
	}
	if n < tableSlack || n == 5000 {
		t.Fatalf("%d values of one hash", n)
	}
	tb.check(t)
	if !tb.remove(1<<32-1, 1) || tb.len() != int(n)-1 {
		t.Error("a value is gone")
	}
	tb.check(t)
}

// A table that holds many values takes what the comment says, finds all of
// them, and gives the memory back.
func TestTableLarge(t *testing.T) {
	const n = 1 << 18
	tb := testTable(t, 4*n)
	r := rand.New(rand.NewPCG(3, 4))
	for v := range uint32(n) {
		if !tb.insert(r.Uint32(), v+1) {
			t.Fatalf("insert of value %d failed", v)
		}
	}
	tb.check(t)
	if bytes := float64(tb.grow.touched) * 8 / n; bytes > 12.0 {
		t.Errorf("%.1f bytes per value", bytes)
	}
	r = rand.New(rand.NewPCG(3, 4))
	for v := range uint32(n) {
		if h := r.Uint32(); !slices.Contains(tb.values(h), v+1) {
			t.Fatalf("value %d is not found", v+1)
		}
	}
	r = rand.New(rand.NewPCG(3, 4))
	for v := range uint32(n - 1000) {
		if !tb.remove(r.Uint32(), v+1) {
			t.Fatalf("value %d is gone", v+1)
		}
	}
	tb.check(t)
	if tb.grow.touched > 1<<16 {
		t.Errorf("%d slots hold memory for %d values", tb.grow.touched, tb.n)
	}
	if tb.insert(5, 5); tb.len() != 1001 {
		t.Errorf("len %d", tb.len())
	}
}

func TestTableAllocs(t *testing.T) {
	tb := testTable(t, 1<<16)
	v := uint32(0)
	if n := testing.AllocsPerRun(10000, func() {
		v++
		tb.insert(v*2654435761, v)
		for it := tb.find(v * 2654435761); it.next(); {
			tb.replace(v*2654435761, v, v)
		}
		if v%3 == 0 {
			tb.remove(v*2654435761, v)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestTableLimits(t *testing.T) {
	m := testMemory(t)
	for _, limit := range []int{0, -1, 1<<30 + 1} {
		if _, err := newTable(m, "t", limit); err == nil {
			t.Errorf("limit %d: no error", limit)
		}
	}
	tb, err := newTable(m, "t", 1)
	if err != nil {
		t.Fatal(err)
	}
	if !tb.insert(1<<32-1, 9) || tb.insert(3, 3) {
		t.Error("a limit of 1 takes one value")
	}
	if !slices.Equal(tb.values(1<<32-1), []uint32{9}) {
		t.Error("the greatest hash is not found")
	}
}

// benchSizes are how many things there are in benchmarks of lookups, inserts
// and timers: what they cost is to be flat.
var benchSizes = []struct {
	name string
	n    int
}{{"1k", 1000}, {"100k", 100_000}, {"1M", 1_000_000}}

func BenchmarkTableFind(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(size.name, func(b *testing.B) {
			tb := testTable(b, size.n)
			r := rand.New(rand.NewPCG(3, 4))
			hashes := make([]uint32, size.n)
			for i := range hashes {
				hashes[i] = r.Uint32()
				tb.insert(hashes[i], uint32(i+1))
			}
			r.Shuffle(len(hashes), func(i, j int) { hashes[i], hashes[j] = hashes[j], hashes[i] })
			b.ReportAllocs()
			i, sum := 0, uint32(0)
			for b.Loop() {
				it := tb.find(hashes[i])
				it.next()
				sum += it.value()
				if i++; i == len(hashes) {
					i = 0
				}
			}
			sink += uint64(sum)
		})
	}
}

// An insert and a remove in a table of constant size.
func BenchmarkTableChurn(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(size.name, func(b *testing.B) {
			tb := testTable(b, size.n+1)
			r := rand.New(rand.NewPCG(3, 4))
			hashes := make([]uint32, size.n)
			for i := range hashes {
				hashes[i] = r.Uint32()
				tb.insert(hashes[i], uint32(i+1))
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				tb.remove(hashes[i], uint32(i+1))
				hashes[i] = hashes[i]*2654435761 + 1
				tb.insert(hashes[i], uint32(i+1))
				if i++; i == len(hashes) {
					i = 0
				}
			}
		})
	}
}

// Inserts into a table that grows from nothing, per insert.
func BenchmarkTableGrow(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(size.name, func(b *testing.B) {
			b.ReportAllocs()
			i := size.n
			var tb *table
			r := rand.New(rand.NewPCG(3, 4))
			for b.Loop() {
				if i == size.n {
					b.StopTimer()
					tb, i = testTable(b, size.n), 0
					b.StartTimer()
				}
				i++
				tb.insert(r.Uint32(), uint32(i))
			}
		})
	}
}

// sink keeps results of benchmarks alive.
var sink uint64
