// SPDX-License-Identifier: Apache-2.0

package tcp

import "time"

// cookie is what a SYN cookie keeps of a SYN (RFC 4987 section 3.6). The last
// three survive only with timestamps.
type cookie struct {
	mss        uint16 // rounded down to one of cookieMSS
	scale      uint8  // noScale: none
	sack       bool
	ecn        bool
	timestamps bool
}

// cookieMSS are the segment sizes a cookie can say.
var cookieMSS = [8]uint16{536, 1220, 1360, 1390, 1410, 1440, 1460, 8940}

// cookieBits are the low bits of TSval that carry options.
const cookieBits = 6

// cookieTick is how long a cookie is made with one counter. One is taken until
// the counter has gone on twice: for 64 to 128 s.
const cookieTick = 64 * time.Second

// make returns the initial sequence number, and TSval, of the SYN-ACK that
// answers a SYN with sequence number irs. clock is the TSval it would have had;
// the one returned is at most 63 ms older.
func (c *cookie) make(k key, t *tuple, irs uint32, now time.Duration, clock uint32) (iss, tsVal uint32) {
	m := uint32(len(cookieMSS) - 1)
	for m > 0 && cookieMSS[m] > c.mss {
		m--
	}
	tsVal = clock
	var kept uint32
	if c.timestamps {
		kept = c.bits()
		tsVal = clock&^(1<<cookieBits-1) | kept
		if seqGT(tsVal, clock) {
			tsVal -= 1 << cookieBits
		}
		kept |= 1 << cookieBits
	}
	return cookieMAC(k, t, irs, uint32(now/cookieTick), m, kept), tsVal
}

// check reads a cookie back from the ACK that answers it: ack and seq are of
// that segment, tsEcr of its timestamps option, if it has one. It returns false
// if we did not make that cookie for this connection a short time ago.
func (c *cookie) check(k key, t *tuple, seq, ack uint32, timestamps bool, tsEcr uint32, now time.Duration) bool {
	iss, irs := ack-1, seq-1
	m := iss & 7
	var kept uint32
	if timestamps {
		kept = tsEcr&(1<<cookieBits-1) | 1<<cookieBits
	}
	count := uint32(now / cookieTick)
	if iss != cookieMAC(k, t, irs, count, m, kept) && iss != cookieMAC(k, t, irs, count-1, m, kept) {
		return false
	}
	*c = cookie{mss: cookieMSS[m], scale: noScale, timestamps: timestamps}
	if timestamps {
		if s := uint8(kept & 15); s <= maxScale {
			c.scale = s
		}
		c.sack, c.ecn = kept&16 != 0, kept&32 != 0
	}
	return true
}

// bits returns what TSval carries: the window scale, 15 for none, SACK, ECN.
func (c *cookie) bits() uint32 {
	b := uint32(15)
	if c.scale <= maxScale {
		b = uint32(c.scale)
	}
	if c.sack {
		b |= 16
	}
	if c.ecn {
		b |= 32
	}
	return b
}

// cookieMAC returns 29 bits that only we can compute, and 3 that say the MSS.
func cookieMAC(k key, t *tuple, irs, count, mss, kept uint32) uint32 {
	s := k.prf(t.remote.hi, t.remote.lo, t.word())
	return uint32(k.prf(s, uint64(irs)<<32|uint64(count), uint64(mss)<<32|uint64(kept)))&^7 | mss
}
