// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"encoding/binary"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// testRecord is a record of the size of a connection.
type testRecord struct {
	slot
	a    uint32
	rest [248]byte
}

func testSlab[T record](tb testing.TB, limit int) *slab[T] {
	tb.Helper()
	s, err := newSlab[T](testMemory(tb), "test", limit)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// held returns how much memory m holds.
func held(tb testing.TB, m *memory) int {
	tb.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(m.fd, &st); err != nil {
		tb.Fatal(err)
	}
	return int(st.Blocks) * 512
}

func TestSlabHandles(t *testing.T) {
	s := testSlab[testRecord](t, 100)
	i, r := s.alloc()
	if i == 0 || r == nil || s.at(i) != r {
		t.Fatalf("alloc: %d %p", i, r)
	}
	r.a, r.rest[247] = 5, 5
	h := s.handle(i)
	if j, p := s.get(h); j != i || p != r {
		t.Errorf("get: %d %p", j, p)
	}
	for _, bad := range []uint64{0, uint64(i), h + 1, h - 1, h + 1<<32, h + 2<<32, h | 1<<31, 1 << 32, 1<<64 - 1} {
		if j, p := s.get(bad); j != 0 || p != nil {
			t.Errorf("get(%#x) for %#x: %d", bad, h, j)
		}
	}
	s.free(i)
	if _, p := s.get(h); p != nil {
		t.Error("a freed record is found")
	}
	j, r := s.alloc()
	if j != i {
		t.Errorf("not the record freed last: %d, want %d", j, i)
	}
	if r.a != 0 || r.rest != [248]byte{} {
		t.Error("a record is not zero")
	}
	if _, p := s.get(h); p != nil || s.handle(j) == h {
		t.Error("a stale handle names the next use")
	}
}

func TestSlabLimit(t *testing.T) {
	s := testSlab[testRecord](t, 3)
	for k := range 5 {
		if i, r := s.alloc(); (i != 0) != (k < 3) || (r != nil) != (k < 3) {
			t.Errorf("alloc %d: %d", k, i)
		}
	}
	if s.len() != 3 {
		t.Errorf("len %d", s.len())
	}
	s.free(2)
	if i, _ := s.alloc(); i != 2 {
		t.Errorf("alloc: %d", i)
	}
}

// Alloc, free, handles and the walk over records against a model, over several
// chunks that come and go.
func FuzzSlab(f *testing.F) {
	f.Add(uint64(1), []byte{255, 255, 255, 0, 0, 0, 128})
	f.Add(uint64(2), []byte{255, 255, 255, 255, 60, 60, 60, 255, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, seed uint64, pattern []byte) {
		if len(pattern) > 32 {
			pattern = pattern[:32]
		}
		type large struct {
			slot
			index uint32
			_     [2040]byte
		}
		const limit = 4000 // 8 chunks
		r := rand.New(rand.NewPCG(seed, 3))
		s := testSlab[large](t, limit)
		live := map[uint32]uint64{}
		var order, stale []uint64
		for _, p := range pattern {
			for range 500 {
				if r.IntN(256) < int(p) {
					i, rec := s.alloc()
					if (i == 0) != (len(live) == limit) {
						t.Fatalf("alloc of record %d: %d", len(live), i)
					}
					if i == 0 {
						continue
					}
					if _, twice := live[i]; twice || rec.index != 0 {
						t.Fatalf("record %d twice, or not zero: %d", i, rec.index)
					}
					rec.index = i
					live[i] = s.handle(i)
					order = append(order, live[i])
				} else if len(order) > 0 {
					k := r.IntN(len(order))
					if p&1 == 0 {
						k = len(order) - 1
					}
					h := order[k]
					order[k] = order[len(order)-1]
					order = order[:len(order)-1]
					s.free(uint32(h))
					delete(live, uint32(h))
					stale = append(stale, h)
				}
			}
			n := 0
			for i := s.next(0); i != 0; i = s.next(i) {
				if n++; live[i] == 0 || s.at(i).index != i {
					t.Fatalf("walk: record %d is not in use", i)
				}
			}
			if n != len(live) || s.len() != n {
				t.Fatalf("walk over %d records of %d, len %d", n, len(live), s.len())
			}
			for i, h := range live {
				if j, rec := s.get(h); j != i || rec.index != i {
					t.Fatalf("get(%#x): %d", h, j)
				}
			}
			for _, h := range stale {
				if _, rec := s.get(h); rec != nil {
					t.Fatalf("stale handle %#x is found", h)
				}
			}
		}
	})
}

// Memory follows use, up and down, and generations outlive it.
func TestSlabMemory(t *testing.T) {
	s := testSlab[testRecord](t, 100_000)
	if n := held(t, s.mem); n > 64<<10 {
		t.Errorf("%d bytes before use", n)
	}
	var handles []uint64
	for range 50_000 {
		i, _ := s.alloc()
		handles = append(handles, s.handle(i))
	}
	if n := held(t, s.mem); n > 50_000*256+(1<<20) {
		t.Errorf("%d bytes for 50,000 records of 256", n)
	}
	for _, h := range handles[1000:] {
		s.free(uint32(h))
	}
	if n := held(t, s.mem); n > 2<<20+64<<10 {
		t.Errorf("%d bytes for 1,000 records", n)
	}
	for range 49_000 {
		s.alloc()
	}
	for _, h := range handles[1000:] {
		if _, r := s.get(h); r != nil {
			t.Fatalf("stale handle %#x is found after its memory came back", h)
		}
	}
}

// A record whose generations are used up is not used again.
func TestSlabGenerations(t *testing.T) {
	s := testSlab[testRecord](t, 3)
	i, _ := s.alloc()
	s.at(i).gen = lastGen + 1
	s.free(i)
	j, r := s.alloc()
	if j == i {
		t.Fatalf("record %d is used again at generation %d", i, r.gen)
	}
	s.at(j).gen = lastGen - 1
	s.free(j)
	if k, r := s.alloc(); k != j || r.gen != lastGen+1 {
		t.Errorf("record %d at generation %#x, want %d at %#x", k, r.gen, j, uint32(lastGen+1))
	}
}

// A chunk keeps its memory when one of its records is old: all would be as old
// otherwise.
func TestSlabKeepsOldChunks(t *testing.T) {
	s := testSlab[testRecord](t, 20000)
	for range 20000 {
		s.alloc()
	}
	s.at(19999).gen = keepGen + 1
	for i := uint32(20000); i > 0; i-- {
		s.free(i)
	}
	if c := s.chunks[19999>>s.shift]; c.gen != 0 || c.free == 0 {
		t.Errorf("the chunk was recycled: %+v", c)
	}
	if c := s.chunks[3]; c.gen == 0 || c.free != 0 {
		t.Errorf("another chunk was not: %+v", c)
	}
}

// More chunks than one word has bits.
func TestSlabManyChunks(t *testing.T) {
	const n = 70 * 512
	type large struct {
		slot
		_ [2044]byte
	}
	s := testSlab[large](t, n)
	for k := range uint32(n) {
		if i, _ := s.alloc(); i != k+1 {
			t.Fatalf("record %d, want %d", i, k+1)
		}
	}
	if i, _ := s.alloc(); i != 0 {
		t.Errorf("record %d beyond the limit", i)
	}
	s.free(n)
	s.free(5)
	if i, _ := s.alloc(); i != 5 {
		t.Errorf("record %d, want the one in the lowest chunk", i)
	}
	if i, _ := s.alloc(); i != n {
		t.Errorf("record %d, want %d", i, n)
	}
}

func TestSlabPanics(t *testing.T) {
	s := testSlab[testRecord](t, 10)
	i, _ := s.alloc()
	s.free(i)
	for name, f := range map[string]func(){
		"free twice":     func() { s.free(i) },
		"free zero":      func() { s.free(0) },
		"free beyond":    func() { s.free(9) },
		"at beyond":      func() { s.at(9) },
		"at far beyond":  func() { s.at(1<<32 - 1) },
		"free of zeroth": func() { s.free(0) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

func TestSlabRecords(t *testing.T) {
	m := testMemory(t)
	type inner struct{ P *int }
	for want, make := range map[string]func() error{
		"first field is no slot": func() error {
			_, err := newSlab[struct {
				A uint32
				slot
			}](m, "x", 1)
			return err
		},
		"field In: field P: *int has pointers": func() error {
			_, err := newSlab[struct {
				slot
				In inner
			}](m, "x", 1)
			return err
		},
		"has pointers": func() error {
			_, err := newSlab[struct {
				slot
				S [2]string
			}](m, "x", 1)
			return err
		},
		"of 12 bytes": func() error {
			_, err := newSlab[struct {
				slot
				A, B uint32
			}](m, "x", 1)
			return err
		},
		"of 4096 bytes": func() error {
			_, err := newSlab[struct {
				slot
				A [4092]byte
			}](m, "x", 1)
			return err
		},
		"want 1 to 16777215": func() error {
			_, err := newSlab[testRecord](m, "x", 1<<24)
			return err
		},
	} {
		if err := make(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	seen := map[uint64]bool{}
	for _, r := range []reflect.Type{
		reflect.TypeFor[struct{ A uint32 }](), reflect.TypeFor[struct{ B uint32 }](), reflect.TypeFor[struct{ A int32 }](),
		reflect.TypeFor[struct{ A, B uint16 }](), reflect.TypeFor[struct{ A [2]uint16 }](), reflect.TypeFor[struct{ A [4]uint8 }](),
	} {
		if h := layoutOf(r); seen[h] {
			t.Errorf("%s has the layout of another record", r)
		} else {
			seen[h] = true
		}
	}
}

// The largest slab has no more chunks than there are bits for.
func TestSlabLargest(t *testing.T) {
	s := testSlab[testRecord](t, maxRecords)
	if len(s.chunks) > maxChunks {
		t.Errorf("%d chunks", len(s.chunks))
	}
	if i, _ := s.alloc(); i != 1 {
		t.Errorf("first record %d", i)
	}
}

// The compact records are as small as they are meant to be.
func TestRecordSizes(t *testing.T) {
	for _, r := range []struct {
		t    reflect.Type
		most uintptr
	}{
		{reflect.TypeFor[halfOpen](), 64},
		{reflect.TypeFor[timeWait](), 64},
		{reflect.TypeFor[timer](), 12},
		{reflect.TypeFor[tuple](), 24},
	} {
		if r.t.Size() > r.most {
			t.Errorf("%s has %d bytes, at most %d", r.t, r.t.Size(), r.most)
		}
		if err := plain(r.t); err != nil {
			t.Error(err)
		}
	}
}

// A stranger finds every region by the first page.
func TestMemoryHead(t *testing.T) {
	m := testMemory(t)
	s, err := newSlab[testRecord](m, "records", 10)
	if err != nil {
		t.Fatal(err)
	}
	i, _ := s.alloc()
	s.at(i).a = 0xabcd
	head := make([]byte, pageSize)
	if _, err := unix.Pread(m.fd, head, 0); err != nil {
		t.Fatal(err)
	}
	if binary.LittleEndian.Uint64(head) != memoryMagic || binary.LittleEndian.Uint32(head[8:]) != memoryVersion ||
		binary.LittleEndian.Uint32(head[12:]) != 1 {
		t.Errorf("head % x", head[:16])
	}
	e := head[memoryHeadLen:]
	if !strings.HasPrefix(string(e), "records\x00") || binary.LittleEndian.Uint64(e[40:]) != 256 ||
		binary.LittleEndian.Uint64(e[48:]) != layoutOf(reflect.TypeFor[testRecord]()) {
		t.Errorf("entry % x", e[:64])
	}
	rec := make([]byte, 256)
	if _, err := unix.Pread(m.fd, rec, int64(binary.LittleEndian.Uint64(e[24:]))+int64(i)*256); err != nil {
		t.Fatal(err)
	}
	if binary.LittleEndian.Uint32(rec)&1 != 1 || binary.LittleEndian.Uint32(rec[4:]) != 0xabcd {
		t.Errorf("record % x", rec[:16])
	}
}

func TestMemoryRelease(t *testing.T) {
	anonymous := &memory{fd: -1, end: pageSize, head: make([]byte, pageSize)}
	for name, m := range map[string]*memory{"memfd": testMemory(t), "anonymous": anonymous} {
		b, err := m.region("x", 10*pageSize, 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b {
			b[i] = 1
		}
		m.release(b[pageSize : 3*pageSize])
		m.release(nil)
		// Before it is read: that would make pages of holes.
		if m.fd >= 0 && held(t, m) > 9*pageSize {
			t.Errorf("%s: holds %d bytes", name, held(t, m))
		}
		for i, x := range b {
			if released := i >= pageSize && i < 3*pageSize; (x == 0) != released {
				t.Fatalf("%s: byte %d is %d", name, i, x)
			}
		}
	}
	if _, err := anonymous.region("x", 0, 1, 0); err == nil {
		t.Error("an empty region: no error")
	}
	for n := 1; ; n++ {
		if _, err := anonymous.region("x", 1, 1, 0); err != nil {
			break
		} else if n > memoryMost {
			t.Fatal("more regions than the head has room for")
		}
	}
	for _, b := range anonymous.maps {
		_ = unix.Munmap(b)
	}
}

func TestSlabAllocs(t *testing.T) {
	s := testSlab[testRecord](t, 100_000)
	var ring [5000]uint32
	k := 0
	if n := testing.AllocsPerRun(20000, func() {
		if ring[k] != 0 {
			s.free(ring[k])
		}
		ring[k], _ = s.alloc()
		k = (k + 1) % len(ring)
		s.get(s.handle(ring[0]))
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSlabAllocFree(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(size.name, func(b *testing.B) {
			s := testSlab[testRecord](b, size.n)
			ring := make([]uint32, size.n-1)
			for k := range ring {
				ring[k], _ = s.alloc()
			}
			b.ReportAllocs()
			k := 0
			for b.Loop() {
				s.free(ring[k])
				ring[k], _ = s.alloc()
				if k++; k == len(ring) {
					k = 0
				}
			}
		})
	}
}

func BenchmarkSlabGet(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(size.name, func(b *testing.B) {
			s := testSlab[testRecord](b, size.n)
			handles := make([]uint64, size.n)
			for k := range handles {
				i, _ := s.alloc()
				handles[k] = s.handle(i)
			}
			rand.Shuffle(len(handles), func(i, j int) { handles[i], handles[j] = handles[j], handles[i] })
			b.ReportAllocs()
			k := 0
			for b.Loop() {
				_, r := s.get(handles[k])
				sink += uint64(r.a)
				if k++; k == len(handles) {
					k = 0
				}
			}
		})
	}
}

// What it costs to use memory for the first time: mostly the kernel's pages.
func BenchmarkSlabGrow(b *testing.B) {
	const n = 1 << 18
	b.ReportAllocs()
	m := testMemory(b)
	s, err := newSlab[testRecord](m, "test", n)
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		if i == n {
			b.StopTimer()
			for ; i > 0; i-- {
				s.free(uint32(i))
			}
			b.StartTimer()
		}
		s.alloc()
	}
}
