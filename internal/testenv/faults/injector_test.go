// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"testing"
	"time"
)

// numbered returns the smallest frame that carries n.
func numbered(n uint64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 14, 22), n)
}

func number(f []byte) uint64 { return binary.BigEndian.Uint64(f[14:]) }

// drainAll pops everything, letting the clock jump from deadline to deadline.
func drainAll(t *testing.T, i *Injector, each func(f []byte, at time.Duration)) {
	t.Helper()
	var now time.Duration
	for idle := 0; ; {
		f, ok := i.Pop(now)
		if ok {
			each(f, now)
			idle = 0
			continue
		}
		at, ok := i.Next()
		if !ok {
			return
		}
		if idle++; idle > 4*DefaultLimit {
			t.Fatalf("Next says %v at %v, but nothing comes out", at, now)
		}
		now = max(now, at)
	}
}

func conserved(t *testing.T, r Report) {
	t.Helper()
	if r.Seen+r.Duplicated != r.Out+r.Dropped+r.Overflowed+r.Queued {
		t.Errorf("frames not conserved: %+v", r)
	}
}

func TestPerfectWire(t *testing.T) {
	i := New(Config{})
	for n := range uint64(1000) {
		i.Push(numbered(n), 0)
		if f, ok := i.Pop(0); !ok || number(f) != n {
			t.Fatalf("frame %d: got %x, %v", n, f, ok)
		}
	}
	if _, ok := i.Next(); ok {
		t.Error("Next on an empty injector")
	}
	r := i.Report()
	if r.Seen != 1000 || r.Out != 1000 || r.Delayed+r.Dropped+r.Reordered+r.Corrupted+r.Duplicated+r.Queued != 0 {
		t.Errorf("report %+v", r)
	}
}

func TestPushCopies(t *testing.T) {
	i := New(Config{})
	f := numbered(1)
	i.Push(f, 0)
	clear(f)
	if got, _ := i.Pop(0); number(got) != 1 {
		t.Error("the injector kept the caller's buffer")
	}
}

// TestStatistics checks each probability alone: three standard deviations.
func TestStatistics(t *testing.T) {
	const total, p = 100_000, 0.03
	sigma := math.Sqrt(total * p * (1 - p))
	udp := ipFrame(false, 17, udpDatagram(53, pattern(4)), partial)
	for name, tc := range map[string]struct {
		cfg   Config
		count func(Report) uint64
	}{
		"drop":      {Config{Drop: p, Seed: 1}, func(r Report) uint64 { return r.Dropped }},
		"duplicate": {Config{Duplicate: p, Seed: 2}, func(r Report) uint64 { return r.Duplicated }},
		"reorder":   {Config{Reorder: p, Seed: 3}, func(r Report) uint64 { return r.Reordered }},
		"corrupt":   {Config{Corrupt: p, Seed: 4}, func(r Report) uint64 { return r.Corrupted }},
	} {
		i := New(tc.cfg)
		for range total {
			i.Push(udp, 0)
			for ok := true; ok; {
				_, ok = i.Pop(0)
			}
		}
		r := i.Report()
		if got := float64(tc.count(r)); math.Abs(got-total*p) > 3*sigma {
			t.Errorf("%s: %v of %d, want %v +- %.0f", name, got, total, total*p, 3*sigma)
		}
		if r.Seen != total {
			t.Errorf("%s: report %+v", name, r)
		}
		conserved(t, r)
	}
}

// everything is a configuration with all faults at once.
var everything = Config{
	Seed: 42, Drop: .03, Duplicate: .02, Reorder: .05, Corrupt: .04,
	Delay: 3 * time.Millisecond, Jitter: time.Millisecond, Rate: 50e6, ReorderBy: 5,
}

// trace runs frames at 20 us intervals through cfg and returns what came out
// and when.
func trace(t *testing.T, cfg Config, n int) ([]byte, Report) {
	i := New(cfg)
	var out []byte
	record := func(f []byte, at time.Duration) {
		out = binary.BigEndian.AppendUint64(out, uint64(at))
		out = append(out, f...)
	}
	now := time.Duration(0)
	for k := range n {
		now += 20 * time.Microsecond
		i.Push(ipFrame(k%2 == 0, 17, udpDatagram(53, binary.BigEndian.AppendUint64(nil, uint64(k))), partial), now)
		for {
			f, ok := i.Pop(now)
			if !ok {
				break
			}
			record(f, now)
		}
		conserved(t, i.Report())
	}
	drainAll(t, i, record)
	return out, i.Report()
}

func TestReproducible(t *testing.T) {
	a, ra := trace(t, everything, 5000)
	b, rb := trace(t, everything, 5000)
	if !bytes.Equal(a, b) || ra != rb {
		t.Errorf("same seed, different output: %+v, %+v", ra, rb)
	}
	other := everything
	other.Seed++
	if c, _ := trace(t, other, 5000); bytes.Equal(a, c) {
		t.Error("another seed, same output")
	}
	conserved(t, ra)
	for name, n := range map[string]uint64{
		"dropped": ra.Dropped, "duplicated": ra.Duplicated,
		"reordered": ra.Reordered, "corrupted": ra.Corrupted, "delayed": ra.Delayed,
	} {
		if n == 0 {
			t.Errorf("nothing %s: %+v", name, ra)
		}
	}
	if ra.Queued != 0 || ra.Seen != 5000 {
		t.Errorf("report %+v", ra)
	}
}

// TestFaultsAreIndependent: switching one fault on does not move another.
func TestFaultsAreIndependent(t *testing.T) {
	dropped := func(cfg Config) (gone []uint64) {
		i := New(cfg)
		seen := map[uint64]bool{}
		for n := range uint64(2000) {
			i.Push(numbered(n), 0)
		}
		drainAll(t, i, func(f []byte, _ time.Duration) { seen[number(f)] = true })
		for n := range uint64(2000) {
			if !seen[n] {
				gone = append(gone, n)
			}
		}
		return gone
	}
	a := dropped(Config{Seed: 5, Drop: .1})
	b := dropped(Config{Seed: 5, Drop: .1, Duplicate: .2, Reorder: .2, Delay: time.Second, Jitter: time.Second})
	if len(a) == 0 || !slices.Equal(a, b) {
		t.Errorf("%d and %d frames dropped, not the same ones", len(a), len(b))
	}
}

func TestReorderBound(t *testing.T) {
	for _, by := range []int{1, 3, 10} {
		i := New(Config{Seed: 6, Reorder: .05, ReorderBy: by})
		var order []uint64
		const total = 20_000
		for n := range uint64(total) {
			i.Push(numbered(n), 0)
			for {
				f, ok := i.Pop(0)
				if !ok {
					break
				}
				order = append(order, number(f))
			}
		}
		drainAll(t, i, func(f []byte, _ time.Duration) { order = append(order, number(f)) })
		if len(order) != total {
			t.Fatalf("by %d: %d of %d frames", by, len(order), total)
		}
		late, most := uint64(0), 0
		for k, n := range order {
			overtakers := 0
			for _, m := range order[max(0, k-4*by-4):k] {
				if m > n {
					overtakers++
				}
			}
			if overtakers > 0 {
				late++
			}
			most = max(most, overtakers)
		}
		if r := i.Report(); late != r.Reordered || late < total/40 {
			t.Errorf("by %d: %d frames overtaken, report says %d", by, late, r.Reordered)
		}
		if most != by {
			t.Errorf("by %d: a frame was overtaken by %d", by, most)
		}
	}
}

// TestReorderLastFrame: a reordered frame that nothing follows still comes out.
func TestReorderLastFrame(t *testing.T) {
	i := New(Config{Reorder: 1})
	i.Push(numbered(1), 0)
	if _, ok := i.Pop(0); ok {
		t.Fatal("the frame was not held")
	}
	if _, ok := i.Pop(reorderWait - 1); ok {
		t.Fatal("the frame was not held long enough")
	}
	if at, ok := i.Next(); !ok || at != reorderWait {
		t.Errorf("Next = %v, %v", at, ok)
	}
	if f, ok := i.Pop(reorderWait); !ok || number(f) != 1 {
		t.Error("the frame is stuck")
	}
	if r := i.Report(); r.Reordered != 0 || r.Out != 1 {
		t.Errorf("nothing overtook it, but the report says %+v", r)
	}
}

func TestDelayAndJitter(t *testing.T) {
	const delay, jitter = 20 * time.Millisecond, 5 * time.Millisecond
	i := New(Config{Delay: delay, Jitter: jitter, Seed: 3})
	const step = 10 * time.Millisecond
	next, lo, hi := uint64(0), time.Hour, time.Duration(0)
	for n := range uint64(1000) {
		i.Push(numbered(n), time.Duration(n)*step)
	}
	drainAll(t, i, func(f []byte, at time.Duration) {
		if number(f) != next {
			t.Fatalf("jitter reordered: frame %d, want %d", number(f), next)
		}
		next++
		took := at - time.Duration(number(f))*step
		lo, hi = min(lo, took), max(hi, took)
	})
	if lo < delay || lo > delay+jitter/20 || hi > delay+jitter || hi < delay+jitter*19/20 {
		t.Errorf("delays from %v to %v, want %v to %v", lo, hi, delay, delay+jitter)
	}
	if r := i.Report(); r.Delayed != 1000 {
		t.Errorf("report %+v", r)
	}
}

func TestRate(t *testing.T) {
	// 1000 frames of 1250 bytes at 100 Mbit/s: 100 us each.
	i := New(Config{Rate: 100e6, Queue: time.Second})
	for range 1000 {
		i.Push(make([]byte, 1250), 0)
	}
	n, last := 0, time.Duration(0)
	drainAll(t, i, func(_ []byte, at time.Duration) {
		if n++; at != time.Duration(n)*100*time.Microsecond {
			t.Fatalf("frame %d left at %v", n, at)
		}
		last = at
	})
	if n != 1000 || last != 100*time.Millisecond {
		t.Errorf("%d frames in %v", n, last)
	}
	// An idle line sends at once what comes next.
	i.Push(make([]byte, 1250), time.Second)
	if at, ok := i.Next(); !ok || at != time.Second+100*time.Microsecond {
		t.Errorf("after a pause: %v, %v", at, ok)
	}
}

func TestBounds(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg        Config
		size, want int // frames that fit
	}{
		"limit": {Config{Limit: 10, Delay: time.Second}, 100, 10},
		// Each frame waits for those before it: 100 us each, at most 1 ms.
		"line":  {Config{Rate: 100e6, Queue: time.Millisecond}, 1250, 11},
		"bytes": {Config{Delay: time.Second}, 1 << 20, 64},
	} {
		i := New(tc.cfg)
		f := make([]byte, tc.size)
		for range 100 {
			i.Push(f, 0)
		}
		r := i.Report()
		if int(r.Queued) != tc.want || int(r.Overflowed) != 100-tc.want {
			t.Errorf("%s: queued %d, overflowed %d, want %d", name, r.Queued, r.Overflowed, tc.want)
		}
		conserved(t, r)
		drainAll(t, i, func([]byte, time.Duration) {})
		conserved(t, i.Report())
	}
}

func TestReportJSON(t *testing.T) {
	i := New(Config{Drop: 1, Seed: 3})
	i.Push(numbered(1), 0)
	b, err := json.Marshal(i.Report())
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil || m["seen"] != 1.0 || m["dropped"] != 1.0 || len(m) != 10 {
		t.Errorf("%s, %v", b, err)
	}
	cfg, err := ParseConfig(m["faults"].(string))
	if err != nil || cfg.Drop != 1 || cfg.Seed != 3 {
		t.Errorf("faults %q do not read back: %+v, %v", m["faults"], cfg, err)
	}
}

func TestInjectorAllocs(t *testing.T) {
	i := New(Config{Duplicate: .1, Reorder: .1, Corrupt: .1})
	f := ipFrame(false, 6, tcpSegment(1000), partial)
	now := time.Duration(0)
	turn := func() {
		now += time.Millisecond
		i.Push(f, now)
		for ok := true; ok; {
			_, ok = i.Pop(now)
		}
	}
	for range 1000 {
		turn()
	}
	if n := testing.AllocsPerRun(1000, turn); n != 0 {
		t.Errorf("%v allocations per frame", n)
	}
}

func BenchmarkInjector(b *testing.B) {
	i := New(Config{Drop: .01, Duplicate: .01, Reorder: .01, Corrupt: .01})
	f := ipFrame(false, 6, tcpSegment(1448), partial)
	b.ReportAllocs()
	b.SetBytes(int64(len(f)))
	for b.Loop() {
		i.Push(f, 0)
		i.Pop(0)
	}
}

func BenchmarkFinishChecksums(b *testing.B) {
	whole := ipFrame(false, 17, udpDatagram(4789, vxlanPayload(ipFrame(false, 6, tcpSegment(1398), partial))), partial)
	f := bytes.Clone(whole)
	b.ReportAllocs()
	b.SetBytes(int64(len(f)))
	for b.Loop() {
		copy(f[:100], whole[:100])
		FinishChecksums(f)
	}
}
