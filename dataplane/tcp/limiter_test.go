// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"testing"
	"time"
)

func TestLimiter(t *testing.T) {
	l := newLimiter(100, 10, time.Hour)
	now := time.Hour
	pass := func() int {
		n := 0
		for l.allow(now) {
			if n++; n > 1000 {
				t.Fatal("no limit")
			}
		}
		return n
	}
	if n := pass(); n != 10 {
		t.Errorf("a burst of %d, want 10", n)
	}
	now += 9 * time.Millisecond
	if n := pass(); n != 0 {
		t.Errorf("%d after 9 ms, want 0", n)
	}
	now += time.Millisecond
	if n := pass(); n != 1 {
		t.Errorf("%d after 10 ms, want 1", n)
	}
	now += 50 * time.Millisecond
	if n := pass(); n != 5 {
		t.Errorf("%d after 50 ms, want 5", n)
	}
	now -= time.Second // a clock that goes back
	if n := pass(); n != 0 {
		t.Errorf("%d after the clock went back, want 0", n)
	}
	now += 1000 * time.Hour
	if n := pass(); n != 10 {
		t.Errorf("%d after a long time, want 10", n)
	}
}

// Over a long time what passes is the rate, however it is asked.
func TestLimiterRate(t *testing.T) {
	for _, rate := range []int{1, 7, 1000, 1_000_000} {
		for _, step := range []time.Duration{time.Nanosecond * 333, 77 * time.Microsecond, 10 * time.Millisecond} {
			l := newLimiter(rate, 20_000, 0)
			for l.allow(0) {
			}
			n, now := 0, time.Duration(0)
			for range 500 {
				now += step
				for l.allow(now) {
					n++
				}
			}
			if want := int(int64(now) * int64(rate) / int64(time.Second)); n < want-1 || n > want+1 {
				t.Errorf("rate %d, asked every %v: %d passed in %v, want %d", rate, step, n, now, want)
			}
		}
	}
}

func TestLimiterExtremes(t *testing.T) {
	none, all := newLimiter(0, 10, 0), newLimiter(-1, 0, 0)
	for range 100 {
		if none.allow(time.Hour) {
			t.Error("a rate of 0 lets something pass")
		}
		if !all.allow(0) {
			t.Error("no limit does not let everything pass")
		}
	}
}

// How many challenge ACKs there are in a second cannot be foretold, and is near
// the limit.
func TestChallenges(t *testing.T) {
	const limit = 100
	c := newChallenges(key{1, 2}, limit)
	counts := map[int]bool{}
	total := 0
	for s := range 1000 {
		n := 0
		for ; n <= 2*limit && c.allow(time.Duration(s)*time.Second+time.Duration(n)); n++ {
		}
		if n < limit/2 || n > limit*3/2 {
			t.Fatalf("second %d: %d", s, n)
		}
		counts[n] = true
		total += n
	}
	if len(counts) < limit/2 {
		t.Errorf("only %d different numbers", len(counts))
	}
	if mean := total / 1000; mean < limit*9/10 || mean > limit*11/10 {
		t.Errorf("%d in a second on average", mean)
	}
	one := newChallenges(key{1, 2}, 1)
	if !one.allow(0) || one.allow(0) {
		t.Error("a limit of 1 lets one pass")
	}
	none, all := newChallenges(key{}, 0), newChallenges(key{}, -1)
	if none.allow(0) || !all.allow(0) {
		t.Error("no challenge ACKs, or no limit")
	}
}
