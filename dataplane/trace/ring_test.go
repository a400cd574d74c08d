// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

const testRing = 4096

func newTestRing(t testing.TB) *ring {
	r, err := newRing(testRing)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	return r
}

// fill returns n bytes that start with seq.
func fill(seq uint32, n int) []byte {
	b := bytes.Repeat([]byte{byte(seq)}, max(n, 4))
	binary.LittleEndian.PutUint32(b, seq)
	return b[:n]
}

// take takes one record and checks it against the given one.
func take(t testing.TB, r *ring, seq uint32, n int) {
	t.Helper()
	rec, data, ok := r.peek(r.limit())
	if !ok {
		t.Fatalf("record %d is not there", seq)
	}
	want := record{time: int64(seq) << 30, iface: seq, flags: recordOut, whole: seq + 1, lost: seq + 2}
	if rec != want || !bytes.Equal(data, fill(seq, n)) {
		t.Fatalf("record %+v of %d bytes, want %+v of %d", rec, len(data), want, n)
	}
	r.release(len(data))
}

// give puts record seq, its bytes in two pieces.
func give(r *ring, seq uint32, n int) bool {
	rec := record{time: int64(seq) << 30, iface: seq, flags: recordOut, whole: seq + 1, lost: seq + 2}
	b := fill(seq, n)
	return r.put(&rec, b[:n/3], b[n/3:])
}

func TestRingRandomSizes(t *testing.T) {
	r := newTestRing(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	type waiting struct {
		seq uint32
		n   int
	}
	var queue []waiting
	refused, wraps := 0, 0
	for seq := range uint32(20_000) {
		n, before := rnd.IntN(600), r.tail/testRing
		if give(r, seq, n) {
			queue = append(queue, waiting{seq, n})
		} else {
			refused++
		}
		wraps += int(r.tail/testRing - before)
		if rnd.IntN(3) == 0 {
			for len(queue) > rnd.IntN(8) {
				take(t, r, queue[0].seq, queue[0].n)
				queue = queue[1:]
			}
		}
	}
	for _, x := range queue {
		take(t, r, x.seq, x.n)
	}
	if _, _, ok := r.peek(r.limit()); ok {
		t.Error("something is left")
	}
	if refused == 0 || wraps < 100 {
		t.Errorf("%d refused, %d wraps: the test tests nothing", refused, wraps)
	}
}

// TestRingFull: room is what fits, to the byte, and what is refused changes
// nothing.
func TestRingFull(t *testing.T) {
	r := newTestRing(t)
	half := testRing/2 - recordHeader
	if !give(r, 1, half) || !give(r, 2, half) {
		t.Fatal("two halves do not fit")
	}
	for range 3 {
		if give(r, 3, 0) {
			t.Fatal("a full ring took something")
		}
	}
	take(t, r, 1, half)
	if give(r, 4, half+1) {
		t.Fatal("more than the half that is free was taken")
	}
	if !give(r, 5, half) {
		t.Fatal("what is free was refused")
	}
	take(t, r, 2, half)
	take(t, r, 5, half)
	if give(r, 6, testRing) {
		t.Fatal("more than the ring was taken")
	}
}

// TestRingFillerMinimal leaves the least possible room before the ring's end.
func TestRingFillerMinimal(t *testing.T) {
	r := newTestRing(t)
	n := testRing - 2*recordHeader - recordAlign
	if !give(r, 1, n) || !give(r, 2, 0) {
		t.Fatal("refused")
	}
	take(t, r, 1, n)
	if at := r.tail % testRing; at != testRing-recordAlign {
		t.Fatalf("tail at %d", at)
	}
	if !give(r, 3, 100) {
		t.Fatal("refused")
	}
	take(t, r, 2, 0)
	take(t, r, 3, 100)
}

// TestRingLimit: a round of the reader does not go on for ever.
func TestRingLimit(t *testing.T) {
	r := newTestRing(t)
	give(r, 1, 10)
	limit := r.limit()
	give(r, 2, 10)
	_, data, _ := r.peek(limit)
	r.release(len(data))
	if _, _, ok := r.peek(limit); ok {
		t.Error("a record beyond the limit")
	}
	take(t, r, 2, 10)
}

// TestRingCrowded: the consumer is told once each time it has let the ring fill.
func TestRingCrowded(t *testing.T) {
	r := newTestRing(t)
	const n = testRing/8 - recordHeader
	told := func(from, to uint32) (count int) {
		for seq := from; seq <= to; seq++ {
			if !give(r, seq, n) {
				t.Fatalf("record %d refused", seq)
			}
			if r.full() {
				count++
			}
		}
		return count
	}
	if got := told(1, 4); got != 0 {
		t.Errorf("told %d times at half", got)
	}
	if got := told(5, 8); got != 1 {
		t.Errorf("told %d times, want once", got)
	}
	r.crowded.Store(false)
	for seq := range uint32(8) {
		take(t, r, seq+1, n)
	}
	if got := told(9, 12); got != 0 {
		t.Errorf("told %d times although everything was taken", got)
	}
	if got := told(13, 13); got != 1 {
		t.Errorf("told %d times, want once", got)
	}
}

func TestRingConcurrent(t *testing.T) {
	r := newTestRing(t)
	const records = 50_000
	size := func(seq uint32) int { return int(seq*7919) % 700 }
	done := make(chan struct{})
	go func() {
		defer close(done)
		for seq := uint32(0); seq < records; {
			if give(r, seq, size(seq)) {
				r.full()
				seq++
			}
		}
	}()
	for seq := uint32(0); seq < records; {
		if limit := r.limit(); limit != r.next {
			r.crowded.Store(false)
			take(t, r, seq, size(seq))
			seq++
		}
	}
	<-done
}
