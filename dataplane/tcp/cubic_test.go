// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"fmt"
	"math"
	"testing"
)

// wCubic is W_cubic(t) of RFC 9438 section 4.2 as it stands there: segments and
// seconds.
func wCubic(wMax, cwndEpoch, t float64) float64 {
	k := math.Cbrt((wMax - cwndEpoch) / 0.4)
	return 0.4*math.Pow(t-k, 3) + wMax
}

func TestCubeRoot(t *testing.T) {
	for _, x := range []uint64{0, 1, 7, 8, 9, 26, 27, 1e9 - 1, 1e9, 1 << 59, 2097151 * 2097151 * 2097151, math.MaxUint64 >> 1} {
		r := uint64(cubeRoot(x))
		next := r + 1
		if r*r*r > x || next <= 2097151 && next*next*next <= x {
			t.Errorf("cube root of %d is not %d", x, r)
		}
	}
}

// TestCubicWindow compares the window with the RFC's formula, t seconds after a
// reduction, on a path whose round trip is too long for the Reno-friendly
// region to matter.
func TestCubicWindow(t *testing.T) {
	const rttMs = 100
	for _, segments := range []uint32{100, 1000, 10_000, 100_000} {
		for _, mss := range []uint32{536, 1460, 8960} {
			if uint64(segments)*uint64(mss) > maxCwnd/2 {
				continue
			}
			t.Run(fmt.Sprint(segments, "x", mss), func(t *testing.T) {
				w := window{segments * mss, segments * mss / 2}
				var g ccGrowth
				g.init(&w, 0, false, false)
				g.reduce(&w, w.cwnd, mss)
				w.cwnd = w.ssthresh
				top, bottom := float64(segments), float64(w.cwnd)/float64(mss)
				const start = 4_294_960_000 // the clock wraps
				g.begin(&w, uint32(start%(1<<32)), mss)
				for ms := uint64(0); ms < 90_000; ms += 500 {
					want := wCubic(top, bottom, float64(ms)/1000)
					got := float64(g.at(uint32(ms), mss)) / float64(mss)
					if want*float64(mss) > maxCwnd {
						break
					}
					// K is kept in milliseconds: half of one moves the
					// curve by its slope.
					slope := 1.2 * math.Pow(float64(ms)/1000-math.Cbrt((top-bottom)/0.4), 2) / 1000
					if math.Abs(got-want) > 1+slope {
						t.Fatalf("W_cubic(%d ms) = %.2f segments, want %.2f", ms, got, want)
					}
				}
				// And the window follows it, a round trip ahead.
				for ms := uint32(rttMs); ms < 20_000; ms += rttMs {
					ackAll(&g, &w, start+ms, mss, rttMs*1000)
					want := wCubic(top, bottom, float64(ms+rttMs)/1000)
					got := float64(w.cwnd) / float64(mss)
					// Each ACK closes 1/cwnd of what is missing: after a
					// round trip 1/e of a step is left.
					step := want - wCubic(top, bottom, float64(ms-rttMs)/1000)
					// W_est of Reno is the least.
					if got > max(want, float64(g.wEst)/float64(mss))+1 || got < want-step-1 {
						t.Fatalf("after %d ms %.2f segments, W_cubic(t+RTT) is %.2f", ms, got, want)
					}
				}
			})
		}
	}
}

// TestCubicRenoFriendly: on a short path the window is Reno's: alpha 9/17 until
// the window is back where it was, then one segment per round trip (RFC 9438
// section 4.3).
func TestCubicRenoFriendly(t *testing.T) {
	const mss, rttUs = 1460, 2_000
	w := window{20 * mss, 10 * mss}
	var g ccGrowth
	g.init(&w, 0, false, false)
	g.reduce(&w, w.cwnd, mss)
	w.cwnd = w.ssthresh // 14 segments
	now := uint32(5000)
	est := float64(w.cwnd)
	for range 40 {
		for n := w.cwnd; n > 0; {
			a := min(n, 2*mss)
			alpha := 1.0
			if est < 20*mss {
				alpha = 3 * 0.3 / 1.7
			}
			est += alpha * mss * float64(a) / float64(w.cwnd)
			g.ack(&w, now, 0, 0, a, mss, 0, rttUs, true)
			n -= a
		}
		now += rttUs / 1000
		if d := math.Abs(float64(w.cwnd) - est); d > 0.05*mss {
			t.Fatalf("cwnd %d, W_est %.0f", w.cwnd, est)
		}
	}
	if w.cwnd < 40*mss {
		t.Errorf("%d segments after 40 round trips", w.cwnd/mss)
	}
}

// TestCubicPause: time in which the window does not limit the sender does not
// count.
func TestCubicPause(t *testing.T) {
	const mss = 1460
	run := func(gap uint32) uint32 {
		w := window{100 * mss, 50 * mss}
		var g ccGrowth
		g.init(&w, 0, false, false)
		g.reduce(&w, w.cwnd, mss)
		w.cwnd = w.ssthresh
		now := uint32(1000)
		for i := range 30 {
			if i == 10 {
				g.ack(&w, now, 0, 0, mss, mss, 0, 50_000, false)
				now += gap
			}
			ackAll(&g, &w, now, mss, 50_000)
			now += 50
		}
		return w.cwnd
	}
	if a, b := run(0), run(600_000); a != b {
		t.Errorf("10 minutes without need for the window changed it from %d to %d", a, b)
	}
}

// TestCubicBounds: a stage of weeks, and windows at their bound.
func TestCubicBounds(t *testing.T) {
	w := window{1000 * testMSS, 500 * testMSS}
	var g ccGrowth
	g.init(&w, 0, false, false)
	now := uint32(0)
	before := uint32(0)
	for range 100 {
		now += 1 << 26 // 18 hours
		g.ack(&w, now, 0, 0, testMSS, testMSS, 0, 10_000, true)
		if w.cwnd < before {
			t.Fatalf("cwnd went from %d to %d", before, w.cwnd)
		}
		before = w.cwnd
		if got := g.at(g.elapsed(now), testMSS); now > 1<<28 && got != maxCwnd {
			t.Fatalf("W_cubic %d after %d ms", got, now)
		}
	}
	// From the largest window down and up again.
	w.cwnd = maxCwnd
	g.reduce(&w, maxCwnd, 65535)
	w.cwnd = 65535
	g.begin(&w, now, 1)
	if k := float64(g.k) / 1000; math.Abs(k-math.Cbrt((maxCwnd-65535)/0.4)) > 0.01 {
		t.Errorf("K = %.3f s", k)
	}
	if g.at(0, 65535) != 0 {
		t.Error("W_cubic below zero wrapped")
	}
}
