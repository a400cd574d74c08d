// SPDX-License-Identifier: Apache-2.0

package tcp

import "time"

// limiter is a token bucket on the engine's clock: for challenge ACKs (RFC 5961
// section 7), RSTs and ICMP.
type limiter struct {
	rate   int64 // tokens per second; 0: nothing passes, negative: everything
	burst  int64
	tokens int64
	rest   int64 // of a token, in nanoseconds times rate
	last   time.Duration
}

// newLimiter makes a full bucket of burst tokens.
func newLimiter(rate, burst int, now time.Duration) limiter {
	return limiter{rate: int64(rate), burst: int64(burst), tokens: int64(burst), last: now}
}

// allow takes a token, if there is one.
func (l *limiter) allow(now time.Duration) bool {
	if l.rate <= 0 {
		return l.rate < 0
	}
	if l.tokens < l.burst {
		l.refill(now)
	}
	if l.tokens == 0 {
		return false
	}
	if l.tokens == l.burst {
		l.last, l.rest = now, 0
	}
	l.tokens--
	return true
}

func (l *limiter) refill(now time.Duration) {
	d := now - l.last
	if d <= 0 {
		return
	}
	l.last = now
	if int64(d/time.Second) >= l.burst/l.rate+1 {
		l.tokens, l.rest = l.burst, 0
		return
	}
	// No overflow: d is at most burst/rate+2 seconds.
	l.rest += int64(d) * l.rate
	l.tokens += l.rest / int64(time.Second)
	l.rest %= int64(time.Second)
	if l.tokens >= l.burst {
		l.tokens, l.rest = l.burst, 0
	}
}

// challenges limits the challenge ACKs of all connections together (RFC 5961
// section 7). A stranger who provokes them could count how many come back, and
// so learn what becomes of segments of other connections (CVE-2016-5696): so how
// many there are in a second, between half and three halves of the limit, is
// drawn anew every second.
type challenges struct {
	key    key
	limit  int64 // per second; 0: none, negative: no limit
	left   int64
	second int64
}

// newChallenges makes a limit of so many challenge ACKs per second.
func newChallenges(k key, limit int) challenges {
	return challenges{key: k, limit: int64(limit), second: -1 << 63}
}

// allow takes one, if there is one.
func (c *challenges) allow(now time.Duration) bool {
	if c.limit <= 0 {
		return c.limit < 0
	}
	if s := int64(now / time.Second); s != c.second {
		c.second = s
		c.left = c.limit - c.limit/2 + int64(c.key.prf(uint64(s), 0, 0)%uint64(c.limit))
	}
	if c.left == 0 {
		return false
	}
	c.left--
	return true
}
