// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// put gives a frame and reports whether there was room.
func put(h *handover, frame []byte, shard int32, flags uint32) bool {
	b := h.reserve(len(frame))
	if b == nil {
		return false
	}
	copy(b, frame)
	h.commit(len(frame), shard, flags)
	return true
}

func TestHandoverKeepsOrderAndContent(t *testing.T) {
	h := newHandover()
	rng := rand.New(rand.NewPCG(1, 2))
	var queue [][]byte
	sent := uint64(0)
	for range 200_000 {
		if rng.IntN(2) == 0 {
			n := 9 + rng.IntN(1500) // the number and one byte more
			if rng.IntN(50) == 0 {
				n = scratchSize
			}
			f := make([]byte, n)
			binary.LittleEndian.PutUint64(f, sent)
			f[n-1] = byte(sent)
			if put(h, f, int32(sent%100), uint32(sent%2)) {
				queue = append(queue, f)
				sent++
			}
			h.publish()
			continue
		}
		f, shard, flags := h.take()
		if f == nil {
			if len(queue) != 0 || !h.empty() {
				t.Fatalf("nothing to take, %d frames were given", len(queue))
			}
			continue
		}
		want := queue[0]
		queue = queue[1:]
		id := binary.LittleEndian.Uint64(want)
		if !bytes.Equal(f, want) || shard != int32(id%100) || flags != uint32(id%2) {
			t.Fatalf("frame %d came out as %d bytes, shard %d, flags %d", id, len(f), shard, flags)
		}
		h.release(f)
	}
	if sent < 50_000 {
		t.Errorf("only %d frames passed", sent)
	}
}

func TestHandoverFull(t *testing.T) {
	h := newHandover()
	frame := make([]byte, 1000)
	n := 0
	for put(h, frame, 1, 0) {
		n++
	}
	if want := handoverSize / 1024; n < want-2 || n > want {
		t.Errorf("%d frames of 1000 bytes fit, want about %d", n, want)
	}
	if f, _, _ := h.take(); f != nil {
		t.Error("a frame was seen before publish")
	}
	h.publish()
	for range 2 { // one slot is not always enough behind a filler
		f, _, _ := h.take()
		h.release(f)
	}
	if !put(h, frame, 1, 0) {
		t.Error("no room after two releases")
	}
}

// TestHandoverConcurrent has a producer and a consumer at work; -race looks on.
func TestHandoverConcurrent(t *testing.T) {
	const frames = 100_000
	h := newHandover()
	go func() {
		var f [64]byte
		for i := uint64(0); i < frames; {
			binary.LittleEndian.PutUint64(f[:], i)
			if put(h, f[:8+i%56], 0, 0) {
				i++
			}
			if i%16 == 0 || i == frames {
				h.publish()
			}
		}
		h.publish()
	}()
	for i := uint64(0); i < frames; {
		f, _, _ := h.take()
		if f == nil {
			continue
		}
		if got := binary.LittleEndian.Uint64(f); got != i || uint64(len(f)) != 8+i%56 {
			t.Fatalf("frame %d: got number %d, %d bytes", i, got, len(f))
		}
		h.release(f)
		i++
	}
}

func TestHandoverAllocs(t *testing.T) {
	h := newHandover()
	var frame [1450]byte
	if n := testing.AllocsPerRun(1000, func() { cycle(h, frame[:]) }); n != 0 {
		t.Errorf("%v allocations per frame", n)
	}
}

func BenchmarkHandover(b *testing.B) {
	h := newHandover()
	var frame [1450]byte
	b.ReportAllocs()
	b.SetBytes(int64(len(frame)))
	for b.Loop() {
		cycle(h, frame[:])
	}
}

// cycle passes one frame through the ring.
func cycle(h *handover, frame []byte) {
	put(h, frame, 1, recordVerified)
	h.publish()
	f, _, _ := h.take()
	h.release(f)
}
