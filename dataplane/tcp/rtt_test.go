// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"math"
	"math/rand/v2"
	"testing"
)

var testLimits = rtoLimits{min: 200_000, max: 120_000_000, initial: 1_000_000}

// TestRTTFormula compares with RFC 6298 section 2 in floating point.
func TestRTTFormula(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, scale := range []float64{50, 2_000, 80_000, 5_000_000} {
		var r rttState
		var srtt, rttvar float64
		for i := range 500 {
			m := uint32(scale * (0.5 + rnd.Float64()))
			r.sample(m, uint32(i), 0, testMSS)
			if i == 0 {
				srtt, rttvar = float64(m), float64(m)/2
			} else {
				rttvar += (math.Abs(srtt-float64(m)) - rttvar) / 4
				srtt += (float64(m) - srtt) / 8
			}
			if math.Abs(float64(r.smoothed())-srtt) > 1.5 || math.Abs(float64(r.variance())-rttvar) > 1.5 {
				t.Fatalf("sample %d: SRTT %d RTTVAR %d, want %.1f %.1f", i, r.smoothed(), r.variance(), srtt, rttvar)
			}
			want := srtt + max(4*rttvar, 200_000)
			if got := float64(r.rto(&testLimits)); math.Abs(got-want) > 8 {
				t.Fatalf("sample %d: RTO %.0f, want %.1f", i, got, want)
			}
		}
	}
}

// TestRTTManySamples: with a sample per segment the average forgets as fast per
// round trip as with one sample (RFC 7323 appendix G).
func TestRTTManySamples(t *testing.T) {
	const segments = 100
	var one, many rttState
	one.sample(10_000, 0, 0, testMSS)
	many.sample(10_000, 0, segments*testMSS, testMSS)
	for range 5 {
		one.sample(50_000, 0, 0, testMSS)
		for range segments / 2 { // an ACK for every other segment
			many.sample(50_000, 0, segments*testMSS, testMSS)
		}
		a, b := float64(one.smoothed()), float64(many.smoothed())
		if math.Abs(a-b) > 0.05*a {
			t.Errorf("SRTT %.0f with one sample, %.0f with many", a, b)
		}
	}
	// Small differences must not vanish in the division.
	var r rttState
	r.sample(1000, 0, 0, testMSS)
	for range 100_000 {
		r.sample(1010, 0, 1000*testMSS, testMSS)
	}
	if got := r.smoothed(); got < 1005 {
		t.Errorf("SRTT %d after samples of 1010", got)
	}
}

func TestRTO(t *testing.T) {
	var r rttState
	if r.valid() || r.smoothed() != 0 || r.variance() != 0 || r.minimum() != 0 {
		t.Error("the zero value has a sample")
	}
	if got := r.rto(&testLimits); got != 1_000_000 {
		t.Errorf("RTO %d before a sample, want 1 s", got)
	}
	// RFC 6298 5.7.
	r.synTimeout()
	if got := r.rto(&testLimits); got != 3_000_000 || r.valid() || r.variance() != 0 {
		t.Errorf("RTO %d after the SYN's timer, want 3 s", got)
	}
	r.sample(30_000, 0, 0, testMSS)
	if got := r.rto(&testLimits); got != 230_000 {
		t.Errorf("RTO %d after 30 ms, want 230 ms", got)
	}
	r.synTimeout()
	if got := r.rto(&testLimits); got != 230_000 {
		t.Errorf("RTO %d: a sample is better than the SYN's timer", got)
	}
	// Bounds.
	var wild rttState
	for range 50 {
		wild.sample(1<<32-1, 0, 1, 1)
		wild.sample(0, 0, 1<<32-1, 1)
	}
	if got := wild.rto(&testLimits); got > testLimits.max || got < testLimits.min {
		t.Errorf("RTO %d", got)
	}
	if got := wild.minimum(); got != 1 {
		t.Errorf("minimum %d of a sample of zero", got)
	}
}

func TestMinRTT(t *testing.T) {
	const start = 1<<32 - 100_000 // the clock wraps
	var r rttState
	for _, c := range []struct{ at, rtt, want uint32 }{
		{0, 500, 500},
		{10, 400, 400},
		{20, 900, 400},
		{minRTTHalf, 800, 400},       // the half before counts
		{2*minRTTHalf - 1, 700, 400}, // to the end of this one
		{2 * minRTTHalf, 900, 700},   // 400 is forgotten
		{2*minRTTHalf + 5, 650, 650},
		{9 * minRTTHalf, 1000, 1000}, // after a long silence
	} {
		r.sample(c.rtt, start+c.at, 0, testMSS)
		if got := r.minimum(); got != c.want {
			t.Errorf("at %d ms: minimum %d, want %d", c.at, got, c.want)
		}
	}
}
