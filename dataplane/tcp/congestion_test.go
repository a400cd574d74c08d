// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"math"
	"reflect"
	"testing"
)

const testMSS = 1460

// ackAll acknowledges one round trip of the window, two segments at a time,
// ending at nowMs.
func ackAll(g *ccGrowth, w *window, nowMs, mss, srtt uint32) {
	for n := w.cwnd; n > 0; {
		a := min(n, 2*mss)
		g.ack(w, nowMs, 0, 0, a, mss, 0, srtt, true)
		n -= a
	}
}

func TestInitialWindow(t *testing.T) {
	for _, c := range []struct {
		mss  uint32
		lost bool
		want uint32
	}{
		// RFC 6928 section 2: min(10*MSS, max(2*MSS, 14600)).
		{536, false, 5360},
		{1460, false, 14600},
		{1440, false, 14400},
		{8960, false, 17920},
		{2000, false, 14600},
		{65495, false, 130990},
		// RFC 5681 section 3.1: a SYN was lost.
		{1460, true, 1460},
	} {
		if got := initialWindow(10, c.mss, c.lost); got != c.want {
			t.Errorf("mss %d, lost %v: %d, want %d", c.mss, c.lost, got, c.want)
		}
	}
	if got := initialWindow(1, 1460, false); got != 1460 {
		t.Errorf("one segment: %d", got)
	}
}

func TestSlowStart(t *testing.T) {
	w := window{10 * testMSS, noSsthresh}
	var g ccGrowth
	g.init(&w, 0, false, false)
	g.ack(&w, 0, 0, 0, 2*testMSS, testMSS, 0, 0, true)
	if w.cwnd != 12*testMSS {
		t.Errorf("cwnd %d after 2 segments, want 12 segments", w.cwnd)
	}
	// A stretch ACK counts as much as many.
	g.ack(&w, 0, 0, 0, 8*testMSS, testMSS, 0, 0, true)
	if w.cwnd != 20*testMSS {
		t.Errorf("cwnd %d after a stretch ACK, want 20 segments", w.cwnd)
	}
	// RFC 7661: a sender that does not use the window does not grow it.
	g.ack(&w, 0, 0, 0, 2*testMSS, testMSS, 0, 0, false)
	if w.cwnd != 20*testMSS {
		t.Errorf("cwnd %d, grown by an idle sender", w.cwnd)
	}
	// The ACK that crosses ssthresh counts in congestion avoidance for the
	// rest.
	w.ssthresh = 21 * testMSS
	g.flags |= growthReno
	g.ack(&w, 0, 0, 0, 2*testMSS, testMSS, 0, 0, true)
	if want := uint32(21*testMSS + testMSS/21); w.cwnd < want || w.cwnd > want+1 {
		t.Errorf("cwnd %d at ssthresh, want %d", w.cwnd, want)
	}
}

// TestReno: one segment per round trip, and half of the flight.
func TestReno(t *testing.T) {
	w := window{20 * testMSS, 20 * testMSS}
	var g ccGrowth
	g.init(&w, 0, true, true)
	for range 10 {
		ackAll(&g, &w, 0, testMSS, 0)
	}
	// (1+1/2n)^n per round trip, a little below one segment.
	if got := float64(w.cwnd) / testMSS; got < 29.5 || got > 30 {
		t.Errorf("%.2f segments after 10 round trips from 20", got)
	}
	w.cwnd = 40 * testMSS
	g.reduce(&w, 30*testMSS, testMSS)
	if w.ssthresh != 15*testMSS {
		t.Errorf("ssthresh %d, want half of the flight", w.ssthresh)
	}
	g.reduce(&w, testMSS, testMSS)
	if w.ssthresh != 2*testMSS {
		t.Errorf("ssthresh %d, want two segments at least", w.ssthresh)
	}
}

// TestReduceAndUndo: fast convergence, and all of it back.
func TestReduceAndUndo(t *testing.T) {
	w := window{100 * testMSS, 50 * testMSS}
	var g ccGrowth
	g.init(&w, 0, false, true)
	ackAll(&g, &w, 1000, testMSS, 20_000)
	before, g0 := w, g
	saved := g.save(&w)

	g.reduce(&w, w.cwnd, testMSS)
	if want := before.cwnd / 10 * 7; absDiff(w.ssthresh, want) > 10 {
		t.Errorf("ssthresh %d, want %d", w.ssthresh, want)
	}
	if g.wMax != before.cwnd {
		t.Errorf("W_max %d, want %d", g.wMax, before.cwnd)
	}
	w.cwnd = w.ssthresh
	// A second event below W_max: RFC 9438 section 4.7.
	below := w.cwnd
	g.reduce(&w, w.cwnd, testMSS)
	if want := uint32(float64(below) * 0.85); absDiff(g.wMax, want) > 1 {
		t.Errorf("W_max %d, want %d", g.wMax, want)
	}
	if got := g.prior(); absDiff(got, below) > 2 {
		t.Errorf("cwnd_prior %d, want %d", got, below)
	}
	// What the path carries is what is reduced.
	w.cwnd = 80 * testMSS
	g.reduce(&w, 20*testMSS, testMSS)
	if w.ssthresh != 14*testMSS {
		t.Errorf("ssthresh %d, want 14 segments", w.ssthresh)
	}

	w.cwnd = 3 * testMSS
	g.restore(&w, &saved)
	if w != before || g.cubic != g0.cubic || g.flags != g0.flags {
		t.Errorf("undo gave %+v, want %+v", w, before)
	}
	w.cwnd *= 2
	g.restore(&w, &saved)
	if w.cwnd != 2*before.cwnd {
		t.Error("undo lowered the window")
	}
}

// TestTimeout: the stage after a timeout begins at its own window (RFC 9438
// section 4.8).
func TestTimeout(t *testing.T) {
	w := window{100 * testMSS, 50 * testMSS}
	var g ccGrowth
	g.init(&w, 0, false, true)
	ackAll(&g, &w, 1000, testMSS, 20_000)
	g.reduce(&w, 100*testMSS, testMSS)
	g.timeout()
	w.cwnd = testMSS
	if w.ssthresh != 70*testMSS {
		t.Fatalf("ssthresh %d segments, want 70", w.ssthresh/testMSS)
	}
	for now := uint32(2000); w.slowStart(); now += 20 {
		ackAll(&g, &w, now, testMSS, 20_000)
	}
	if g.k != 0 || absDiff(g.wMax, 70*testMSS) > testMSS {
		t.Errorf("K %d, W_max %d segments; want 0 and 70", g.k, g.wMax/testMSS)
	}
}

func TestRestart(t *testing.T) {
	const iw, rto = 10 * testMSS, 200_000
	for _, c := range []struct {
		idle, ssthresh, want, wantSsthresh uint32
	}{
		{rto - 1, noSsthresh, 64, noSsthresh},
		{rto, noSsthresh, 32, noSsthresh},
		{2 * rto, 20, 16, 48},
		{3 * rto, 60, 10, 60},
		{math.MaxUint32, 20, 10, 48},
	} {
		w := window{64 * testMSS, noSsthresh}
		want := window{c.want * testMSS, noSsthresh}
		if c.ssthresh != noSsthresh {
			w.ssthresh, want.ssthresh = c.ssthresh*testMSS, c.wantSsthresh*testMSS
		}
		if w.restart(c.idle, rto, iw); w != want {
			t.Errorf("idle for %d us: %+v, want %+v", c.idle, w, want)
		}
	}
	w := window{4 * testMSS, noSsthresh}
	if w.restart(rto*9, rto, iw); w.cwnd != 4*testMSS {
		t.Error("a window below the initial one was changed")
	}
}

func absDiff(a, b uint32) uint32 { return max(a, b) - min(a, b) }

// TestControlSizes: what a connection pays.
func TestControlSizes(t *testing.T) {
	for _, c := range []struct {
		t    reflect.Type
		want uintptr
	}{
		{reflect.TypeFor[rttState](), 20},
		{reflect.TypeFor[ccGrowth](), 48},
		{reflect.TypeFor[prr](), 12},
		{reflect.TypeFor[stage](), 36},
	} {
		if got := c.t.Size(); got > c.want {
			t.Errorf("%s has %d bytes, want at most %d", c.t, got, c.want)
		}
	}
}

func TestControlAllocs(t *testing.T) {
	w := window{10 * testMSS, noSsthresh}
	var (
		g   ccGrowth
		p   prr
		r   rttState
		f   frto
		now uint32
	)
	g.init(&w, 0, false, true)
	if n := testing.AllocsPerRun(1000, func() {
		now += 10
		r.sample(20_000+now%977, now, w.cwnd, testMSS)
		g.ack(&w, now, now, now+testMSS, testMSS, testMSS, 20_000+now, 20_000, true)
		s := g.save(&w)
		g.reduce(&w, w.cwnd, testMSS)
		p.start(w.cwnd, 0, testMSS)
		w.cwnd, _ = p.ack(testMSS, w.cwnd, w.ssthresh, testMSS, true)
		p.sent(testMSS)
		f.start(false)
		f.ack(frtoAck{advanced: true})
		g.restore(&w, &s)
	}); n != 0 {
		t.Errorf("%v allocations per ACK", n)
	}
}

// FuzzCongestion: any sequence of events leaves a window that can be used.
func FuzzCongestion(f *testing.F) {
	f.Add(uint32(14600), uint32(1460), []byte{0, 9, 1, 200, 2, 3, 3, 255, 4, 1, 5, 8})
	f.Add(uint32(1), uint32(1), []byte{1, 255, 1, 255, 2, 0, 0, 255})
	f.Add(uint32(maxCwnd), uint32(65495), []byte{0, 255, 6, 255, 0, 255, 1, 255, 0, 255})
	f.Add(uint32(1<<30+66), uint32(65474), []byte{0xe8, 50}) // an ACK of more than noSsthresh
	f.Fuzz(func(t *testing.T, iw, mss uint32, ops []byte) {
		mss = mss%65535 + 1
		w := window{min(max(iw, mss), maxCwnd), noSsthresh}
		var g ccGrowth
		var p prr
		var now, una uint32
		g.init(&w, una, len(ops)%2 == 1, true)
		saved := g.save(&w)
		for i := 0; i+1 < len(ops); i += 2 {
			arg := uint32(ops[i+1])
			switch ops[i] % 8 {
			case 0, 1:
				acked := arg << (ops[i] / 8)
				now += arg
				una += acked
				before := w
				g.ack(&w, now, una, una+w.cwnd, acked, mss, arg*1000, arg*900, ops[i]%8 == 0)
				if w.cwnd < before.cwnd {
					t.Fatalf("an ACK lowered the window from %d to %d", before.cwnd, w.cwnd)
				}
				if ops[i]%8 == 1 && w.cwnd != before.cwnd {
					t.Fatal("a window that is not used grew")
				}
			case 2:
				saved = g.save(&w)
				g.reduce(&w, arg*mss, mss)
				p.start(w.cwnd, 0, 0)
			case 3:
				g.reduce(&w, arg*mss, mss)
				g.timeout()
				w.cwnd = mss
			case 4:
				if c, ok := p.ack(arg*mss, arg*mss/2, w.ssthresh, mss, arg%2 == 0); ok {
					w.cwnd = max(c, mss)
				}
				p.sent(arg * mss)
			case 5:
				g.restore(&w, &saved)
			case 6:
				now += arg << (ops[i] / 8)
			case 7:
				w.restart(arg<<(ops[i]/8), 200_000, initialWindow(10, mss, false))
			}
			if w.cwnd < min(mss, 1) || w.cwnd > maxCwnd || w.ssthresh < 2*mss {
				t.Fatalf("window %+v with segments of %d", w, mss)
			}
		}
	})
}

func BenchmarkCubicAck(b *testing.B) {
	w := window{100 * testMSS, 50 * testMSS}
	var g ccGrowth
	g.init(&w, 0, false, true)
	b.ReportAllocs()
	now := uint32(0)
	for b.Loop() {
		now++
		g.ack(&w, now, now, now, testMSS, testMSS, 0, 20_000, true)
		if w.cwnd > 1000*testMSS {
			g.reduce(&w, w.cwnd, testMSS)
			w.cwnd = w.ssthresh
		}
	}
}
