// SPDX-License-Identifier: Apache-2.0

package tcp

// cubic is the state of CUBIC (RFC 9438) that belongs to one congestion
// avoidance stage. Windows are bytes where the RFC counts segments; times are
// milliseconds. Fixed point throughout. cwnd_prior of the RFC is not kept: it
// is W_max before fast convergence lowered it. 24 bytes; Reno uses frac alone.
type cubic struct {
	wMax     uint32 // W_max
	k        uint32 // K
	epoch    uint32 // when the stage began; while it is paused, how long it ran
	wEst     uint32 // W_est, the window of Reno
	wEstFrac uint16 // fraction of wEst, in 1/65536
	frac     uint16 // fraction of cwnd
}

// beta_cubic is 0.7, C 0.4 segments per cubic second, alpha_cubic 9/17 (RFC 9438
// sections 4.1 and 4.3).
const (
	betaNum, betaDen   = 7, 10
	alphaNum, alphaDen = 9, 17

	// cubicScale is 1/C in cubic milliseconds per segment.
	cubicScale = 2_500_000_000

	// maxCubicTime bounds |t-K| in milliseconds: its cube fits, and the
	// window is far beyond any bound by then.
	maxCubicTime = 1 << 20

	// maxElapsed bounds t, so that a stage of weeks does not wrap.
	maxElapsed = 1 << 30
)

// event is a congestion event with flight bytes in flight: W_max by fast
// convergence, and ssthresh (RFC 9438 sections 4.6 and 4.7). ssthresh comes
// from the flight and not from the window: that is what the path carried.
func (g *ccGrowth) event(w *window, flight, mss uint32) {
	top := w.cwnd
	g.flags &^= growthEpoch | growthPaused | growthConverged
	if g.flags&growthReduced != 0 && top < g.wMax {
		top = uint32(uint64(top) * (betaDen + betaNum) / (2 * betaDen))
		g.flags |= growthConverged
	}
	g.wMax = top
	g.flags |= growthReduced
	w.ssthresh = max(uint32(uint64(flight)*betaNum/betaDen), 2*mss)
}

// begin starts a congestion avoidance stage (RFC 9438 section 4.2). Without a
// reduction before it, or after a timeout, W_max is the window itself and K is
// 0 (sections 4.8 and 4.10).
func (g *ccGrowth) begin(w *window, nowMs, mss uint32) {
	if g.flags&growthReduced == 0 || g.wMax < w.cwnd {
		g.wMax, g.k = w.cwnd, 0
		g.flags = g.flags&^growthConverged | growthReduced
	} else {
		g.k = cubeRoot(uint64(g.wMax-w.cwnd) * cubicScale / uint64(mss))
	}
	g.epoch = nowMs
	g.wEst, g.wEstFrac = w.cwnd, g.frac
	g.flags |= growthEpoch
}

// prior returns cwnd_prior.
func (g *ccGrowth) prior() uint32 {
	if g.flags&growthConverged == 0 {
		return g.wMax
	}
	return uint32(min(uint64(g.wMax)*(2*betaDen)/(betaDen+betaNum), maxCwnd))
}

// pause stops the clock of the stage while the sender is not limited by cwnd
// (RFC 9438 sections 4.2 and 5.8).
func (g *ccGrowth) pause(nowMs uint32) {
	if g.flags&(growthEpoch|growthPaused) == growthEpoch {
		g.epoch = g.elapsed(nowMs)
		g.flags |= growthPaused
	}
}

// elapsed returns t. A stage so long that the clock could wrap stays at
// maxElapsed, where the window has long been at its bound.
func (g *ccGrowth) elapsed(nowMs uint32) uint32 {
	t := nowMs - g.epoch
	switch {
	case t > 1<<31:
		return 0 // a pause from before the stage
	case t > maxElapsed:
		g.epoch = nowMs - maxElapsed
		return maxElapsed
	}
	return t
}

// avoid is congestion avoidance (RFC 9438 sections 4.3 to 4.5).
func (g *ccGrowth) avoid(w *window, nowMs, acked, mss, srtt uint32) {
	switch {
	case g.flags&growthEpoch == 0:
		g.begin(w, nowMs, mss)
	case g.flags&growthPaused != 0:
		g.epoch = nowMs - g.epoch
		g.flags &^= growthPaused
	}
	t := g.elapsed(nowMs)

	// Reno-friendly: alpha is 1 once Reno's window is back where the last
	// reduction began.
	alpha := mss
	if g.wEst < g.prior() {
		alpha = uint32(uint64(mss) * alphaNum / alphaDen)
	}
	g.wEst, g.wEstFrac = addFraction(g.wEst, g.wEstFrac, acked, alpha, w.cwnd)
	if g.at(t, mss) < g.wEst {
		if g.wEst >= w.cwnd {
			w.cwnd, g.frac = g.wEst, g.wEstFrac
		}
		return
	}
	target := min(g.at(t+srtt/1000, mss), w.cwnd+w.cwnd/2, maxCwnd)
	if target > w.cwnd {
		w.cwnd, g.frac = addFraction(w.cwnd, g.frac, acked, target-w.cwnd, w.cwnd)
	}
}

// at returns W_cubic(t), at most maxCwnd.
func (g *ccGrowth) at(t, mss uint32) uint32 {
	if t >= g.k {
		return uint32(min(uint64(g.wMax)+cube(t-g.k, mss), maxCwnd))
	}
	less := cube(g.k-t, mss)
	if less >= uint64(g.wMax) {
		return 0
	}
	return g.wMax - uint32(less)
}

// cube returns C*d^3 in bytes, d in milliseconds.
func cube(d, mss uint32) uint64 {
	n := uint64(min(d, maxCubicTime))
	// In 1/4096 segments: 60 bits of cube leave 41, mss has 16.
	return n * n * n / (cubicScale / 4096) * uint64(mss) / 4096
}

// cubeRoot returns the largest integer whose cube is at most x, a bit at a
// time.
func cubeRoot(x uint64) uint32 {
	var r uint64
	for bit := uint64(1) << 20; bit > 0; bit >>= 1 {
		if n := r | bit; n*n*n <= x {
			r = n
		}
	}
	return uint32(r)
}
