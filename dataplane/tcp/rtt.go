// SPDX-License-Identifier: Apache-2.0

package tcp

// rttState estimates the round trip time of a connection and its retransmission
// timeout (RFC 6298), and keeps the smallest round trip time of the last
// minutes (RFC 8985 section 6.2, step 1). The zero value has no sample. Times
// are microseconds unless they say otherwise. 20 bytes.
type rttState struct {
	srtt   uint32 // SRTT in rttUnits; 0: no sample
	rttvar uint32 // RTTVAR in rttUnits; before a sample not 0 if the SYN's timer expired
	// The minimum is kept in two halves of the window: that of the half that
	// runs, and that of the one before it.
	minNow  uint32
	minPrev uint32
	minAt   uint32 // when the half that runs began, milliseconds
}

const (
	// rttUnits is the fraction of a microsecond that SRTT and RTTVAR are kept
	// in: gains of RFC 7323 appendix G are small.
	rttUnits = 64

	// maxRTT bounds a sample: what fits at rttUnits. A longer one is not
	// measured, it is a timer gone mad.
	maxRTT = 60_000_000

	// minRTTHalf is half of the window of the minimum, milliseconds (Linux
	// tcp_min_rtt_wlen is 300 s).
	minRTTHalf = 150_000

	// synRTO is the timeout for data after the timer of the SYN expired (RFC
	// 6298 5.7).
	synRTO = 3_000_000
)

// rtoLimits bounds the retransmission timeout, microseconds.
type rtoLimits struct {
	min     uint32 // Linux TCP_RTO_MIN
	max     uint32 // TCP_RTO_MAX
	initial uint32 // before the first sample, RFC 6298 2.1
}

// valid reports whether there was a sample.
func (r *rttState) valid() bool { return r.srtt != 0 }

// sample takes a measurement of m microseconds. flight is the number of bytes
// that were in flight when every segment is measured by timestamps; it is 0
// when one segment per round trip is measured: the gains are divided by the
// number of samples expected per round trip (RFC 7323 appendix G).
func (r *rttState) sample(m, nowMs, flight, mss uint32) {
	m = min(max(m, 1), maxRTT)
	r.sampleMin(m, nowMs)
	scaled := int64(m) * rttUnits
	if !r.valid() {
		// RFC 6298 2.2.
		r.srtt = uint32(scaled)
		r.rttvar = uint32(scaled / 2)
		return
	}
	// RFC 6298 2.3, RFC 7323 appendix G: RTTVAR before SRTT.
	n := int64(1)
	if flight > 0 {
		double := 2 * uint64(max(mss, 1))
		n = int64(max((uint64(flight)+double-1)/double, 1))
	}
	diff := scaled - int64(r.srtt)
	dev := max(diff, -diff) - int64(r.rttvar)
	r.rttvar = uint32(int64(r.rttvar) + divAway(dev, 4*n))
	r.srtt = uint32(max(int64(r.srtt)+divAway(diff, 8*n), 1))
}

// divAway returns a/b rounded away from zero, b positive: small differences
// must not vanish however small the gain is.
func divAway(a, b int64) int64 {
	if a < 0 {
		return (a - b + 1) / b
	}
	return (a + b - 1) / b
}

// sampleMin notes m in the half of the window that runs at nowMs.
func (r *rttState) sampleMin(m, nowMs uint32) {
	switch elapsed := nowMs - r.minAt; {
	case !r.valid() || elapsed >= 2*minRTTHalf:
		r.minNow, r.minPrev, r.minAt = m, m, nowMs
	case elapsed >= minRTTHalf:
		r.minPrev, r.minNow, r.minAt = r.minNow, m, nowMs
	default:
		r.minNow = min(r.minNow, m)
	}
}

// smoothed returns SRTT, 0 before the first sample.
func (r *rttState) smoothed() uint32 {
	if !r.valid() {
		return 0
	}
	return max(r.srtt/rttUnits, 1)
}

// variance returns RTTVAR, 0 before the first sample.
func (r *rttState) variance() uint32 {
	if !r.valid() {
		return 0
	}
	return r.rttvar / rttUnits
}

// minimum returns the smallest round trip time of the last 150 to 300 s that
// had samples, 0 if there is none.
func (r *rttState) minimum() uint32 { return min(r.minNow, r.minPrev) }

// rto returns the retransmission timeout without backoff: the minimum bounds
// the variance term and not the sum, as in Linux, so that a delayed ACK on a
// long path does not look like a loss (RFC 6298 2.3 and 2.4).
func (r *rttState) rto(lim *rtoLimits) uint32 {
	base := uint64(lim.initial)
	switch {
	case r.valid():
		base = uint64(r.smoothed()) + max(uint64(r.rttvar)*4/rttUnits, uint64(lim.min))
	case r.rttvar != 0:
		base = max(base, synRTO)
	}
	return uint32(min(base, uint64(lim.max)))
}

// synTimeout says that the handshake is complete and the timer of the SYN
// expired meanwhile: without a sample, data starts with a longer timeout than
// the SYN (RFC 6298 5.7).
func (r *rttState) synTimeout() {
	if !r.valid() {
		r.rttvar = 1
	}
}
