// SPDX-License-Identifier: Apache-2.0

package tcp

// hystart finds the end of the first slow start from growing round trip times
// (HyStart++, RFC 9406). 20 bytes.
type hystart struct {
	windowEnd  uint32 // the round ends when this is acknowledged
	lastMin    uint32 // lastRoundMinRTT, microseconds
	currentMin uint32 // currentRoundMinRTT
	baseline   uint32 // cssBaselineMinRtt
	phase      hystartPhase
	samples    uint8 // rttSampleCount, up to nRTTSample
	rounds     uint8 // of conservative slow start that began
}

type hystartPhase uint8

const (
	hystartOff          hystartPhase = iota // slow start has ended once, or HyStart++ is not wanted
	hystartStandard                         // slow start
	hystartConservative                     // conservative slow start (CSS)
)

// Constants of RFC 9406 section 4.3.
const (
	minRTTThresh     = 4_000 // microseconds
	maxRTTThresh     = 16_000
	minRTTDivisor    = 8
	nRTTSample       = 8
	cssGrowthDivisor = 4
	cssRounds        = 5
)

// rttInfinite stands for a round without samples.
const rttInfinite = 1<<32 - 1

// init begins the first round at nxt.
func (h *hystart) init(nxt uint32, on bool) {
	*h = hystart{windowEnd: nxt, lastMin: rttInfinite, currentMin: rttInfinite, baseline: rttInfinite}
	if on {
		h.phase = hystartStandard
	}
}

// stop ends it for good: it serves the first slow start only (RFC 9406 section
// 4.2).
func (h *hystart) stop() { h.phase = hystartOff }

// ack takes an ACK with the round trip time it measured, 0 for none; una and
// nxt are SND.UNA after it and SND.NXT. It reports whether slow start is over.
func (h *hystart) ack(una, nxt, rtt uint32) (over bool) {
	if h.phase == hystartOff {
		return false
	}
	if rtt > 0 {
		h.currentMin = min(h.currentMin, rtt)
		h.samples = min(h.samples+1, nRTTSample)
		h.judge()
	}
	if seqLT(una, h.windowEnd) {
		return false
	}
	return h.newRound(nxt)
}

// judge compares the round with the one before it.
func (h *hystart) judge() {
	if h.samples < nRTTSample {
		return
	}
	if h.phase == hystartConservative {
		if h.currentMin < h.baseline {
			// It was jitter: slow start goes on.
			h.phase, h.baseline = hystartStandard, rttInfinite
		}
		return
	}
	if h.lastMin == rttInfinite {
		return
	}
	thresh := max(minRTTThresh, min(h.lastMin/minRTTDivisor, maxRTTThresh))
	if uint64(h.currentMin) >= uint64(h.lastMin)+uint64(thresh) {
		h.baseline = h.currentMin
		h.phase, h.rounds = hystartConservative, 1 // what is left of a round counts as one
	}
}

// newRound begins a round that ends at nxt. It reports whether CSS has run its
// rounds.
func (h *hystart) newRound(nxt uint32) (over bool) {
	h.windowEnd = nxt
	h.lastMin, h.currentMin, h.samples = h.currentMin, rttInfinite, 0
	if h.phase == hystartConservative {
		if h.rounds == cssRounds {
			h.stop()
			return true
		}
		h.rounds++
	}
	return false
}
