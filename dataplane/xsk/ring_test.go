// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// pairOf returns both ends of a ring in ordinary memory, with all cursors at
// start.
func pairOf(size int, start uint32) (*producer[uint64], *consumer[uint64]) {
	w := words{producer: new(atomic.Uint32), consumer: new(atomic.Uint32), flags: new(atomic.Uint32)}
	w.producer.Store(start)
	w.consumer.Store(start)
	entries := make([]uint64, size)
	return &producer[uint64]{words: w, entries: entries, next: start, shown: start, peer: start},
		&consumer[uint64]{words: w, entries: entries, next: start, peer: start}
}

// Cursors wrap at 2^32 in the middle of what lies in the ring.
func TestRingWraps(t *testing.T) {
	for _, start := range []uint32{0, 1<<32 - 3, 1<<31 - 1} {
		p, c := pairOf(8, start)
		next, want := uint64(0), uint64(0)
		for round := range 50 {
			n := min(p.room(8), uint32(round%8+1))
			for range n {
				p.set(next)
				next++
			}
			if p.level(8) != int(next-want)-int(n) {
				t.Fatalf("start %d: %d entries are visible before they are published", start, p.level(8))
			}
			if p.publish() != (n > 0) || p.pending() != int(next-want) {
				t.Fatalf("start %d: %d pending, want %d", start, p.pending(), next-want)
			}
			there := c.peek()
			if there != uint32(next-want) {
				t.Fatalf("start %d: %d entries, want %d", start, there, next-want)
			}
			take := min(there, uint32(round%5+1))
			for i := range take {
				if got := c.get(i); got != want {
					t.Fatalf("start %d: entry %d, want %d", start, got, want)
				}
				want++
			}
			c.release(take)
		}
		if p.broken || c.broken {
			t.Errorf("start %d: broken", start)
		}
	}
}

func TestRingFull(t *testing.T) {
	p, c := pairOf(4, 1<<32-2)
	if p.room(9) != 4 || p.publish() {
		t.Fatal("an empty ring has no room, or something to publish")
	}
	for i := range uint64(4) {
		p.set(i)
	}
	p.publish()
	if p.room(1) != 0 || c.peek() != 4 || p.level(4) != 4 {
		t.Fatal("a full ring has room")
	}
	c.release(1)
	// The cached cursor is looked up only when it does not do.
	if p.room(1) != 1 {
		t.Error("room is not seen")
	}
	c.release(1)
	if p.room(1) != 1 || p.room(2) != 2 {
		t.Error("the cursor of the other end is looked at when it need not be, or not when it must be")
	}
}

// Whatever the other end writes into its cursor, there is neither more room than
// entries nor more entries than the ring has.
func TestHostileCursors(t *testing.T) {
	for _, d := range []uint32{1, 5, 9, 1 << 30, 1 << 31, 1<<32 - 1, 1<<32 - 5, 1<<32 - 9} {
		p, c := pairOf(8, 1<<32-4)
		p.set(1)
		p.publish()
		p.words.consumer.Store(p.next + d)
		if n := p.room(8); n > 8 {
			t.Errorf("consumer at %+d: room for %d", int32(d), n)
		}
		if bad := -d > 8; p.broken != bad {
			t.Errorf("consumer at %+d: broken is %v", int32(d), p.broken)
		}
		if n := p.pending(); n < 0 || n > 8 {
			t.Errorf("consumer at %+d: %d pending", int32(d), n)
		}
		c.words.producer.Store(c.next + d)
		if n := c.peek(); n > 8 || d > 8 && (n != 0 || !c.broken) {
			t.Errorf("producer at %+d: %d entries, broken is %v", int32(d), n, c.broken)
		}
		if n := c.level(8); n < 0 || n > 8 {
			t.Errorf("level %d", n)
		}
	}
}

// Both ends at once: what comes out is what went in, in order.
func TestRingConcurrently(t *testing.T) {
	const n = 200000
	p, c := pairOf(64, 1<<32-100)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := uint64(0); i < n; {
			for range p.room(16) {
				if i == n {
					break
				}
				p.set(i)
				i++
			}
			if !p.publish() {
				runtime.Gosched()
			}
		}
	})
	for want := uint64(0); want < n; {
		there := c.peek()
		for i := range there {
			if got := c.get(i); got != want {
				t.Fatalf("entry %d, want %d", got, want)
			}
			want++
		}
		c.release(there)
		if there == 0 {
			runtime.Gosched()
		}
	}
	wg.Wait()
}

func TestNeedsWakeup(t *testing.T) {
	p, _ := pairOf(4, 0)
	for flags, want := range map[uint32]bool{0: false, 1: true, 2: false, 3: true} {
		p.flags.Store(flags)
		if p.needsWakeup() != want {
			t.Errorf("flags %#x: %v", flags, !want)
		}
	}
}

func TestParseMapping(t *testing.T) {
	for line, want := range map[string]bool{
		"7f0000000000-7f0000009000 rw-s 00000000 00:08 12345                      socket:[12345]":  true,
		"7f0000000000-7f0000009000 rw-s 80000000 00:08 12345                      socket:[12345]":  true,
		"7f0000000000-7f0000009000 rw-s 100000000 00:08 12345                      socket:[12345]": true,
		"7f0000000000-7f0000009000 rw-s 180000000 00:08 12345                      socket:[12345]": true,
		"7f0000000000-7f0000009000 rw-s 00001000 00:08 12345                      socket:[12345]":  false,
		"7f0000000000-7f0000009000 rw-p 00000000 00:00 0":                                          false,
		"7f0000000000-7f0000009000 r-xp 00000000 08:01 99                         /bin/true":       false,
		"zz-7f0000009000 rw-s 00000000 00:08 12345                      socket:[12345]":            false,
		"": false,
	} {
		m, ok := parseMapping(line)
		if ok != want || ok && (m.start != 0x7f0000000000 || m.socket != "socket:[12345]") {
			t.Errorf("%q: %+v, %v", line, m, ok)
		}
	}
}
