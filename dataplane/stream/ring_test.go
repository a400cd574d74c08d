// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
)

// startAt makes a private ring whose cursors begin at c.
func startAt(c uint32, size int) *Ring {
	r := &Ring{}
	r.Init()
	r.cur.tail.Store(c)
	r.cur.head.Store(c)
	r.tail, r.head = c, c
	r.seeEmpty()
	if size > 0 {
		r.Attach(make([]byte, size))
	}
	return r
}

// write puts b into r and returns how much went in.
func write(r *Ring, b []byte) int {
	first, second := r.Reserve()
	n := copy(first, b)
	n += copy(second, b[n:])
	r.Publish(n)
	return n
}

// read takes up to n bytes out of r.
func read(r *Ring, n int) []byte {
	first, second := r.Peek()
	all := append(append([]byte{}, first...), second...)
	all = all[:min(n, len(all))]
	r.Release(len(all))
	return all
}

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return
}

func TestRingWrapsAtCursorEnd(t *testing.T) {
	for _, start := range []uint32{0, 5, 1<<32 - 3, 1<<32 - 8, 1<<32 - 1} {
		r := startAt(start, 8)
		if r.Room() != 8 || r.Len() != 0 {
			t.Fatalf("start %d: room %d len %d", start, r.Room(), r.Len())
		}
		if n := write(r, []byte("abcdefghij")); n != 8 {
			t.Fatalf("start %d: wrote %d of 8", start, n)
		}
		if r.Room() != 0 || r.Len() != 8 {
			t.Fatalf("start %d: full ring: room %d len %d", start, r.Room(), r.Len())
		}
		if a, b := r.Reserve(); a != nil || b != nil {
			t.Fatalf("start %d: full ring reserved %d+%d", start, len(a), len(b))
		}
		a, b := r.Peek()
		if off := int(start) & 7; len(a) != 8-off || len(b) != off {
			t.Fatalf("start %d: pieces %d+%d", start, len(a), len(b))
		}
		if got := read(r, 5); string(got) != "abcde" {
			t.Fatalf("start %d: read %q", start, got)
		}
		if n := write(r, []byte("XYZ")); n != 3 {
			t.Fatalf("start %d: wrote %d of 3", start, n)
		}
		if got := read(r, 99); string(got) != "fghXYZ" {
			t.Fatalf("start %d: read %q", start, got)
		}
		if r.Broken() || r.Len() != 0 || r.Room() != 8 {
			t.Fatalf("start %d: at the end: broken %v len %d room %d", start, r.Broken(), r.Len(), r.Room())
		}
	}
}

func TestRingDetached(t *testing.T) {
	r := startAt(1<<32-3, 0)
	if r.Attached() || r.Cap() != 0 || r.Room() != 0 || r.Len() != 0 || r.Detach() != nil || r.Discard() != nil {
		t.Fatal("a ring without memory has something")
	}
	a, b := r.Reserve()
	c, d := r.Peek()
	if a != nil || b != nil || c != nil || d != nil || r.Broken() {
		t.Fatal("a ring without memory gives bytes")
	}
	r.Publish(0)
	r.Release(0)

	big := make([]byte, 16)
	r.Attach(big)
	if !r.Attached() || r.Cap() != 16 {
		t.Fatal("not attached")
	}
	write(r, make([]byte, 16))
	if r.Detach() != nil {
		t.Fatal("detached a ring that holds bytes")
	}
	read(r, 16)
	// The producer has not looked at the head since: smaller memory must not
	// make its view of the room negative.
	if got := r.Detach(); &got[0] != &big[0] {
		t.Fatal("detach gave other memory")
	}
	if !panics(func() { r.Publish(1) }) {
		t.Fatal("publish without memory went through")
	}
	r.Attach(make([]byte, 4))
	if !panics(func() { r.Publish(5) }) {
		t.Fatal("publish of 5 into 4 went through")
	}
	if n := write(r, []byte("12345")); n != 4 {
		t.Fatalf("wrote %d of 4", n)
	}
	if got := r.Discard(); len(got) != 4 || r.Attached() || r.Len() != 0 {
		t.Fatal("discard left something")
	}
	r.Attach(make([]byte, 8))
	if n := write(r, []byte("again")); n != 5 || string(read(r, 9)) != "again" {
		t.Fatal("ring does not work after Discard")
	}
	// In place of memory that was full when the producer last looked.
	write(r, make([]byte, 8))
	read(r, 8)
	r.Attach(make([]byte, 2))
	if !panics(func() { r.Publish(3) }) || r.Room() != 2 {
		t.Fatal("smaller memory not noticed")
	}
}

func TestRingPanicsOnOwnMistakes(t *testing.T) {
	full := startAt(0, 8)
	write(full, []byte("abc"))
	for name, f := range map[string]func(){
		"attach 0":         func() { startAt(0, 0).Attach(nil) },
		"attach 3":         func() { startAt(0, 0).Attach(make([]byte, 3)) },
		"attach to bytes":  func() { full.Attach(make([]byte, 8)) },
		"publish too much": func() { full.Publish(6) },
		"publish -1":       func() { full.Publish(-1) },
		"release too much": func() { full.Release(4) },
		"release -1":       func() { full.Release(-1) },
	} {
		if !panics(f) {
			t.Errorf("%s: no panic", name)
		}
	}
	if full.Len() != 3 || full.Room() != 5 || full.Broken() {
		t.Error("a refused call changed the ring")
	}
}

// TestRingHostileCursors: whatever the peer writes at whatever moment, the ring
// says Broken at most and hands out no byte that is not there.
func TestRingHostileCursors(t *testing.T) {
	const size = 16
	type lie struct {
		name string
		v    func(tail, head uint32) uint32
	}
	producerSees := []lie{ // written to head
		{"past the tail", func(tail, head uint32) uint32 { return tail + 1 }},
		{"far past", func(tail, head uint32) uint32 { return tail + 1<<31 }},
		{"back by one", func(tail, head uint32) uint32 { return head - 1 }},
		{"back by the size", func(tail, head uint32) uint32 { return head - size }},
	}
	consumerSees := []lie{ // written to tail
		{"beyond the size", func(tail, head uint32) uint32 { return head + size + 1 }},
		{"far beyond", func(tail, head uint32) uint32 { return head + 1<<31 }},
		{"before the head", func(tail, head uint32) uint32 { return head - 1 }},
		{"back by one", func(tail, head uint32) uint32 { return tail - 1 }},
	}
	for _, start := range []uint32{0, 1<<32 - 3} {
		fresh := func() (*Ring, *Cursors) {
			cur := &Cursors{}
			cur.tail.Store(start)
			cur.head.Store(start)
			r := &Ring{}
			r.InitShared(cur, make([]byte, size))
			return r, cur
		}
		broken := func(r *Ring, name string) {
			t.Helper()
			a, b := r.Reserve()
			c, d := r.Peek()
			if !r.Broken() || r.Room() != 0 || r.Len() != 0 || a != nil || b != nil || c != nil || d != nil {
				t.Errorf("start %d: %s: not broken", start, name)
			}
			r.Publish(3)
			r.Release(3)
		}
		for _, l := range producerSees {
			r, cur := fresh()
			write(r, []byte("abcdef"))
			cur.head.Add(2)
			if r.Room() != size-4 {
				t.Fatalf("room %d", r.Room())
			}
			reserved, _ := r.Reserve()
			cur.head.Store(l.v(cur.tail.Load(), cur.head.Load()))
			before := cur.tail.Load()
			r.Publish(min(2, len(reserved))) // within what was reserved: no panic
			if cur.tail.Load() != before+2 {
				t.Errorf("%s: publish of reserved bytes went wrong", l.name)
			}
			cur.head.Store(l.v(cur.tail.Load(), start+2))
			r.Room()
			broken(r, "head "+l.name)
			if cur.tail.Load() != before+2 {
				t.Errorf("%s: a broken ring published", l.name)
			}
		}
		for _, l := range consumerSees {
			r, cur := fresh()
			cur.tail.Add(6)
			if got := r.Len(); got != 6 {
				t.Fatalf("len %d", got)
			}
			r.Peek()
			cur.tail.Store(l.v(start+6, start))
			r.Release(2) // within what was peeked: no panic
			if cur.head.Load() != start+2 {
				t.Errorf("%s: release of peeked bytes went wrong", l.name)
			}
			cur.tail.Store(l.v(start+6, start+2))
			r.Len()
			broken(r, "tail "+l.name)
			if cur.head.Load() != start+2 {
				t.Errorf("%s: a broken ring released", l.name)
			}
		}
	}
}

func TestRingInitSharedHostile(t *testing.T) {
	for _, d := range []uint32{0, 1, 8, 9, 1 << 31, 1<<32 - 1} {
		cur := &Cursors{}
		cur.head.Store(1<<32 - 3)
		cur.tail.Store(1<<32 - 3 + d&(1<<32-1))
		r := &Ring{}
		r.InitShared(cur, make([]byte, 8))
		if want := d > 8; r.Broken() != want {
			t.Errorf("distance %d: broken %v", d, r.Broken())
		}
		want := int(d)
		if r.Broken() {
			want = 0
		}
		if r.Len() != want {
			t.Errorf("distance %d: len %d", d, r.Len())
		}
		r.Publish(0)
		r.Release(0)
	}
}

// TestRingConcurrentPair runs the two ends of one shared ring on two
// goroutines; the race detector checks that the cursors order the bytes.
func TestRingConcurrentPair(t *testing.T) {
	const total = 4 << 20
	cur, buf := &Cursors{}, make([]byte, 1<<12)
	cur.tail.Store(1<<32 - 3)
	cur.head.Store(1<<32 - 3)
	var p, c Ring
	p.InitShared(cur, buf)
	c.InitShared(cur, buf)

	go func() {
		rnd := rand.New(rand.NewPCG(1, 2))
		for sent := 0; sent < total; {
			first, second := p.Reserve()
			n := min(1+rnd.IntN(len(buf)), len(first)+len(second), total-sent)
			if n == 0 {
				runtime.Gosched()
				continue
			}
			for i := range n {
				if i < len(first) {
					first[i] = byte((sent + i) * 7)
				} else {
					second[i-len(first)] = byte((sent + i) * 7)
				}
			}
			p.Publish(n)
			sent += n
		}
	}()
	rnd := rand.New(rand.NewPCG(3, 4))
	for got := 0; got < total; {
		first, second := c.Peek()
		n := min(1+rnd.IntN(len(buf)), len(first)+len(second))
		if n == 0 {
			if c.Broken() {
				t.Fatal("broken")
			}
			runtime.Gosched()
			continue
		}
		for i := range n {
			var b byte
			if i < len(first) {
				b = first[i]
			} else {
				b = second[i-len(first)]
			}
			if b != byte((got+i)*7) {
				t.Fatalf("byte %d: %#x", got+i, b)
			}
		}
		c.Release(n)
		got += n
	}
	if c.Len() != 0 || p.Broken() || c.Broken() {
		t.Fatal("not empty and whole at the end")
	}
}

// FuzzRing drives a shared ring against a plain queue while the fuzzer writes
// the shared words. Until the first lie both agree; afterwards nothing panics
// and nothing outside the buffer is given out.
func FuzzRing(f *testing.F) {
	f.Add(uint32(1<<32-3), []byte{0, 8, 1, 8, 0, 8, 1, 3})
	f.Add(uint32(0), []byte{0, 200, 2, 1, 0, 3, 3, 255, 1, 1})
	f.Fuzz(func(t *testing.T, start uint32, ops []byte) {
		cur, buf := &Cursors{}, make([]byte, 32)
		cur.tail.Store(start)
		cur.head.Store(start)
		var p, c Ring
		p.InitShared(cur, buf)
		c.InitShared(cur, buf)
		var model []byte
		lied := false
		for i := 0; i+1 < len(ops); i += 2 {
			n := int(ops[i+1])
			switch ops[i] % 6 {
			case 0:
				in := bytes.Repeat([]byte{byte(i)}, n)
				w := write(&p, in)
				if model = append(model, in[:w]...); !lied && len(model) > 32 {
					t.Fatalf("%d bytes in 32", len(model))
				}
			case 1:
				out := read(&c, n)
				if len(out) > 32 {
					t.Fatalf("read %d", len(out))
				}
				if lied {
					break
				}
				if want := model[:min(n, len(model))]; !bytes.Equal(out, want) {
					t.Fatalf("read %x, want %x", out, want)
				}
				model = model[len(out):]
			case 2: // lies between reserving and publishing
				a, b := p.Reserve()
				cur.head.Add(uint32(int32(int8(n))))
				p.Publish(len(a) + len(b))
				lied = true
			case 3:
				a, b := c.Peek()
				cur.tail.Add(uint32(int32(int8(n))))
				c.Release(len(a) + len(b))
				lied = true
			case 4:
				cur.head.Store(uint32(n) << 24)
				lied = true
			case 5:
				cur.tail.Store(uint32(n) << 24)
				lied = true
			}
			if a, b := p.Reserve(); len(a)+len(b) > 32 {
				t.Fatal("reserved more than there is")
			}
			if p.Room() < 0 || p.Room() > 32 || c.Len() < 0 || c.Len() > 32 {
				t.Fatalf("room %d len %d", p.Room(), c.Len())
			}
			if !lied && (p.Broken() || c.Broken()) {
				t.Fatal("broken without a lie")
			}
		}
	})
}

func TestRingAllocs(t *testing.T) {
	r := startAt(0, 4096)
	b := make([]byte, 1448)
	if n := testing.AllocsPerRun(100, func() {
		write(r, b)
		r.Peek()
		r.Release(len(b))
	}); n != 0 {
		t.Errorf("%v allocations per write and read", n)
	}
}

func BenchmarkRing(b *testing.B) {
	for _, n := range []int{64, 1448, 16 << 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := startAt(0, 1<<16)
			src, dst := make([]byte, n), make([]byte, n)
			b.ReportAllocs()
			b.SetBytes(int64(n))
			for b.Loop() {
				write(r, src)
				first, second := r.Peek()
				copy(dst[copy(dst, first):], second)
				r.Release(n)
			}
		})
	}
}
