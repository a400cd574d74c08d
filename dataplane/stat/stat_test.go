// SPDX-License-Identifier: Apache-2.0

package stat

import (
	"regexp"
	"sync"
	"testing"
)

func TestNames(t *testing.T) {
	good, seen := regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`), map[string]bool{}
	for c := range NumCounters {
		if s := c.String(); !good.MatchString(s) || seen[s] {
			t.Errorf("counter %d: %q", c, s)
		}
		seen[c.String()] = true
	}
	clear(seen)
	for r := range NumReasons {
		if s := r.String(); !good.MatchString(s) || seen[s] {
			t.Errorf("reason %d: %q", r, s)
		}
		seen[r.String()] = true
	}
	if NumCounters.String() != "unknown" || NumReasons.String() != "unknown" {
		t.Error("a name beyond the last")
	}
	// First and last of each list: the table of names is not shifted.
	if RxFrames.String() != "rx_frames" || LocalPackets.String() != "local_packets" || Wakes.String() != "wakes" ||
		DropControlGarbage.String() != "control_garbage" {
		t.Error("names do not stand beside their counters")
	}
}

func TestPublish(t *testing.T) {
	var b Block
	b.Count(RxFrames)
	b.Add(RxBytes, 100)
	b.Drop(DropARPInvalid)
	b.DropN(DropARPInvalid, 4)
	b.Drop(Accepted)
	b.DropN(Accepted, 9)
	b.DropShared(Accepted)
	if b.Get(RxFrames) != 0 || b.Drops(DropARPInvalid) != 0 {
		t.Error("seen before it was published")
	}
	b.Publish()
	b.Publish()
	if b.Get(RxFrames) != 1 || b.Get(RxBytes) != 100 || b.Drops(DropARPInvalid) != 5 || b.Drops(Accepted) != 0 {
		t.Error("published wrongly")
	}
	b.AddShared(RxBytes, 11)
	b.DropShared(DropARPInvalid)
	if b.Get(RxBytes) != 111 || b.Drops(DropARPInvalid) != 6 {
		t.Error("shared counts are not seen at once")
	}
	b.Add(RxBytes, ^uint64(0)) // wraps
	b.Publish()
	if b.Get(RxBytes) != 110 {
		t.Error("counters do not wrap")
	}
}

func TestEveryCellIsItsOwn(t *testing.T) {
	var b Block
	for c := range NumCounters {
		b.Add(c, 1000+uint64(c))
	}
	for r := Accepted + 1; r < NumReasons; r++ {
		b.DropN(r, 2000+uint64(r))
	}
	b.Publish()
	for c := range NumCounters {
		if b.Get(c) != 1000+uint64(c) {
			t.Errorf("%v: %d", c, b.Get(c))
		}
	}
	for r := Accepted + 1; r < NumReasons; r++ {
		if b.Drops(r) != 2000+uint64(r) {
			t.Errorf("%v: %d", r, b.Drops(r))
		}
	}
}

func TestRead(t *testing.T) {
	var a, b Block
	a.Count(TxFrames)
	a.Drop(DropTooBig)
	a.Publish()
	b.Add(TxFrames, 2)
	b.Publish()
	b.DropShared(DropTooBig)
	s := Read(&a, &b)
	if len(s.Counters) != 1 || s.Counters["tx_frames"] != 3 || len(s.Drops) != 1 || s.Drops["too_big"] != 2 {
		t.Errorf("%+v", s)
	}
	if s := Read(); s.Counters == nil || s.Drops == nil {
		t.Error("nil maps: JSON null")
	}
}

// TestConcurrent: one writer, others that add shared counts, and readers.
func TestConcurrent(t *testing.T) {
	const n = 2000
	var b Block
	var wg sync.WaitGroup
	wg.Go(func() {
		for range n {
			b.Count(Turns)
			b.Drop(DropNoRoute)
			b.Publish()
		}
	})
	for range 2 {
		wg.Go(func() {
			for range n {
				b.AddShared(Turns, 1)
				b.DropShared(DropNoRoute)
			}
		})
	}
	wg.Go(func() {
		var last uint64
		for range n / 10 {
			v := Read(&b).Counters["turns"]
			if v < last {
				t.Errorf("turns went from %d to %d", last, v)
			}
			last = v
		}
	})
	wg.Wait()
	if b.Get(Turns) != 3*n || b.Drops(DropNoRoute) != 3*n {
		t.Errorf("%d turns, %d drops", b.Get(Turns), b.Drops(DropNoRoute))
	}
}

func TestAllocs(t *testing.T) {
	var b Block
	if n := testing.AllocsPerRun(100, func() {
		b.Count(Turns)
		b.Drop(DropNoRoute)
		b.AddShared(Turns, 1)
		b.Publish()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCount(b *testing.B) {
	var s Block
	b.ReportAllocs()
	for b.Loop() {
		s.Count(RxFrames)
		s.Drop(DropNoRoute)
	}
}

func BenchmarkPublish(b *testing.B) {
	var s Block
	b.ReportAllocs()
	for b.Loop() {
		s.Count(RxFrames)
		s.Publish()
	}
}
