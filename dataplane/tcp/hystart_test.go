// SPDX-License-Identifier: Apache-2.0

package tcp

import "testing"

// hystartPath runs slow start over rounds whose round trip times the function
// gives, in microseconds; every round has n ACKs.
type hystartPath struct {
	w   window
	g   ccGrowth
	una uint32
}

func newHystartPath() *hystartPath {
	p := &hystartPath{w: window{10 * testMSS, noSsthresh}, una: 1<<32 - 5000}
	p.g.init(&p.w, p.una+p.w.cwnd, false, true)
	return p
}

func (p *hystartPath) round(n int, rtt uint32) {
	end := p.una + p.w.cwnd
	for i := range n {
		p.una += testMSS
		if i == n-1 {
			p.una = end
		}
		p.g.ack(&p.w, 0, p.una, end+testMSS, testMSS, testMSS, rtt, rtt, true)
	}
	// What was sent meanwhile ends the next round.
	p.g.windowEnd = p.una + p.w.cwnd
}

func TestHystartThreshold(t *testing.T) {
	// RFC 9406 section 4.2: RttThresh = max(4 ms, min(lastRoundMinRTT/8, 16 ms)).
	for _, c := range []struct{ base, thresh uint32 }{
		{1_000, 4_000}, {32_000, 4_000}, {64_000, 8_000}, {128_000, 16_000}, {300_000, 16_000},
	} {
		for _, over := range []bool{false, true} {
			p := newHystartPath()
			p.round(10, c.base)
			p.round(10, c.base)
			rtt := c.base + c.thresh
			if !over {
				rtt--
			}
			p.round(10, rtt)
			if got := p.g.phase == hystartConservative; got != over {
				t.Errorf("%d us after %d us: conservative %v", rtt, c.base, got)
			}
		}
	}
}

// TestHystartSamples: fewer than eight samples decide nothing.
func TestHystartSamples(t *testing.T) {
	p := newHystartPath()
	p.round(10, 20_000)
	p.round(nRTTSample-1, 90_000)
	if p.g.phase != hystartStandard {
		t.Fatal("seven samples decided")
	}
	// Nor is a round with too few of them forgotten: it is the next one's
	// measure.
	p.round(10, 90_000)
	if p.g.phase != hystartStandard {
		t.Fatal("compared with a round that is not the last")
	}
}

// TestHystartRounds: CSS grows a quarter as fast, and ends slow start after
// five rounds.
func TestHystartRounds(t *testing.T) {
	p := newHystartPath()
	p.round(10, 20_000)
	p.round(8, 30_000) // the eighth sample enters CSS, which counts as its first round
	if p.g.phase != hystartConservative {
		t.Fatal("not in CSS")
	}
	for i := range cssRounds - 1 {
		before := p.w.cwnd
		p.round(10, 30_000)
		got, want := p.w.cwnd-before, uint32(10*(testMSS/cssGrowthDivisor))
		if i == cssRounds-2 {
			want = 9*(testMSS/cssGrowthDivisor) + got%(testMSS/cssGrowthDivisor) // the last ACK is congestion avoidance's
		}
		if got != want {
			t.Errorf("round %d: grew by %d bytes for 10 segments", i, got)
		}
		if over := p.w.ssthresh != noSsthresh; over != (i == cssRounds-2) {
			t.Errorf("round %d: slow start over: %v", i, over)
		}
	}
	if p.w.ssthresh > p.w.cwnd || p.w.slowStart() || p.g.phase != hystartOff {
		t.Errorf("window %+v after CSS", p.w)
	}
	// The first stage without a reduction: K is 0 (RFC 9438 section 4.10).
	p.round(10, 30_000)
	if p.g.k != 0 || p.g.flags&growthEpoch == 0 {
		t.Errorf("K %d", p.g.k)
	}
}

// TestHystartResume: a delay that goes down again was jitter.
func TestHystartResume(t *testing.T) {
	p := newHystartPath()
	p.round(10, 20_000)
	p.round(10, 30_000)
	p.round(10, 29_999)
	if p.g.phase != hystartStandard {
		t.Fatal("slow start did not go on")
	}
	before := p.w.cwnd
	p.round(10, 20_000)
	if p.w.cwnd != before+10*testMSS {
		t.Errorf("grew by %d", p.w.cwnd-before)
	}
	p.round(10, 40_000)
	if p.g.phase != hystartConservative {
		t.Error("HyStart++ did not go on")
	}
}

// TestHystartFirstOnly: after a congestion event it is standard slow start.
func TestHystartFirstOnly(t *testing.T) {
	p := newHystartPath()
	p.round(10, 20_000)
	p.g.reduce(&p.w, p.w.cwnd, testMSS)
	p.g.timeout()
	p.w.cwnd = testMSS
	p.round(10, 90_000)
	p.round(10, 190_000)
	if p.g.phase != hystartOff {
		t.Error("HyStart++ after a congestion event")
	}
	var g ccGrowth
	if g.init(&window{testMSS, 9 * testMSS}, 0, false, true); g.phase != hystartOff {
		t.Error("HyStart++ in a later slow start")
	}
}
