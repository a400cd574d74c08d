// SPDX-License-Identifier: Apache-2.0

package tcp

// window is the congestion window and the slow start threshold in bytes. cwnd
// is at least one segment and at most maxCwnd.
type window struct {
	cwnd     uint32
	ssthresh uint32 // noSsthresh: never reduced
}

// slowStart reports whether the window grows by slow start (RFC 5681 section
// 3.1).
func (w *window) slowStart() bool { return w.cwnd < w.ssthresh }

// ccGrowth is how a congestion window grows and shrinks: slow start (RFC 5681
// section 3.1) with HyStart++ (hystart.go), congestion avoidance by CUBIC
// (cubic.go) or Reno. During recovery PRR sets cwnd (prr.go). 40 bytes.
type ccGrowth struct {
	cubic
	flags growthFlags
	hystart
}

type growthFlags uint8

const (
	growthReno      growthFlags = 1 << iota // Reno instead of CUBIC
	growthEpoch                             // a congestion avoidance stage runs: epoch, K and W_est are valid
	growthPaused                            // epoch holds the elapsed time, not the start
	growthConverged                         // W_max was lowered by fast convergence
	growthReduced                           // W_max is valid
)

const (
	// noSsthresh is the initial slow start threshold: arbitrarily high
	// (Linux TCP_INFINITE_SSTHRESH).
	noSsthresh = 1<<31 - 1

	// maxCwnd bounds cwnd: the largest window of RFC 7323.
	maxCwnd = 1 << 30
)

// initialWindow returns the initial window for segments of mss bytes, RFC 6928
// with 10 for segments. If a SYN or its answer was lost it is one segment (RFC
// 5681 section 3.1).
func initialWindow(segments int, mss uint32, synLost bool) uint32 {
	if synLost {
		return mss
	}
	n := uint32(min(max(segments, 1), 1<<10))
	return min(n*mss, max(min(n, 2)*mss, n*1460))
}

// restartWindow returns the window after idle microseconds without
// transmission: it halves for every timeout that has passed, down to the
// initial window, and ssthresh remembers three quarters of it (RFC 2861, RFC
// 5681 section 4.1; Linux tcp_cwnd_restart).
func (w *window) restart(idle, rto, initial uint32) {
	n := idle / max(rto, 1)
	if n == 0 || w.cwnd <= initial {
		return
	}
	if w.ssthresh != noSsthresh {
		w.ssthresh = max(w.ssthresh, w.cwnd/4*3)
	}
	w.cwnd = max(w.cwnd>>min(n, 31), initial)
}

// init begins at SND.NXT = nxt. HyStart++ serves the first slow start only.
func (g *ccGrowth) init(w *window, nxt uint32, reno, hystart bool) {
	*g = ccGrowth{}
	if reno {
		g.flags = growthReno
	}
	g.hystart.init(nxt, hystart && w.ssthresh == noSsthresh)
}

// ack grows the window: acked bytes were acknowledged outside recovery. una and
// nxt are SND.UNA after the ACK and SND.NXT. rtt is what the ACK measured, or
// 0, and srtt the average, in microseconds. limited says that cwnd kept the
// sender from sending more in the last round trip: only then may it grow (RFC
// 7661 section 4.2).
func (g *ccGrowth) ack(w *window, nowMs, una, nxt, acked, mss, rtt, srtt uint32, limited bool) {
	if g.hystart.ack(una, nxt, rtt) {
		w.ssthresh = w.cwnd
	}
	if !limited {
		g.pause(nowMs)
		return
	}
	if w.slowStart() {
		if acked = g.slowStart(w, acked); acked == 0 {
			return
		}
	}
	if g.flags&growthReno != 0 {
		// RFC 5681 section 3.1, equation 3.
		w.cwnd, g.frac = addFraction(w.cwnd, g.frac, acked, mss, w.cwnd)
		return
	}
	g.avoid(w, nowMs, acked, mss, srtt)
}

// slowStart adds what was acknowledged (RFC 9406 section 4.2). L of the RFC, the
// most that one ACK may add, is infinite as in Linux: peers that merge segments
// acknowledge many at once. It returns the bytes that are left when ssthresh is
// reached.
func (g *ccGrowth) slowStart(w *window, acked uint32) (rest uint32) {
	add := acked
	if g.hystart.phase == hystartConservative {
		add /= cssGrowthDivisor
	}
	if room := w.ssthresh - w.cwnd; add > room {
		w.cwnd = min(w.ssthresh, maxCwnd) // noSsthresh is more
		return add - room
	}
	w.cwnd = uint32(min(uint64(w.cwnd)+uint64(add), maxCwnd))
	return 0
}

// addFraction returns w, with its fraction in 1/65536, and acked*by/over added
// to it. by and over are at most maxCwnd, over is not 0. More than over counts
// as over: an ACK grows the window by a round trip's worth at most.
func addFraction(w uint32, frac uint16, acked, by, over uint32) (uint32, uint16) {
	product := uint64(min(acked, over)) * uint64(by) // at most 2^60
	whole, rest := product/uint64(over), product%uint64(over)
	sum := uint64(w)<<16 + uint64(frac) + whole<<16 + rest<<16/uint64(over)
	if sum>>16 >= maxCwnd {
		return maxCwnd, 0
	}
	return uint32(sum >> 16), uint16(sum)
}

// reduce sets ssthresh after a congestion event: lost segments or ECN, with
// flight bytes in flight.
func (g *ccGrowth) reduce(w *window, flight, mss uint32) {
	g.hystart.stop()
	g.frac = 0
	flight = min(flight, w.cwnd)
	if g.flags&growthReno != 0 {
		// RFC 5681 equation 4.
		w.ssthresh = max(flight/2, 2*mss)
		return
	}
	g.event(w, flight, mss)
}

// timeout ends the stage after a retransmission timeout. reduce comes before
// it, unless the reduction for that data was made before.
func (g *ccGrowth) timeout() {
	g.hystart.stop()
	// RFC 9438 section 4.8: the next stage begins at its own window.
	g.flags &^= growthEpoch | growthPaused | growthReduced | growthConverged
	g.frac = 0
}

// stage is what an undo restores (RFC 9438 section 4.9.1).
type stage struct {
	window
	cubic
	flags growthFlags
}

// save returns what restore needs.
func (g *ccGrowth) save(w *window) stage { return stage{*w, g.cubic, g.flags} }

// restore undoes a reduction that proved needless. The window never shrinks by
// it (RFC 4015).
func (g *ccGrowth) restore(w *window, s *stage) {
	w.cwnd = min(max(w.cwnd, s.cwnd), maxCwnd)
	w.ssthresh = max(w.ssthresh, s.ssthresh)
	g.cubic, g.flags = s.cubic, s.flags
}
