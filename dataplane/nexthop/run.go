// SPDX-License-Identifier: Apache-2.0

package nexthop

import "time"

// Limits and times. See the package comment.
const (
	maxVTEPs      = 16384 // tracked
	maxWishes     = 64    // VTEPs that wait to be tracked
	maxTrying     = 256   // neighbour entries that are not usable
	maxNeighbours = 16384 // neighbours that changed, between two looks
	maxPrefixes   = 1024  // destinations that changed, between two looks

	feedBuffer = 4 << 20 // bytes of messages that wait to be heard

	routeRate  = 4000 // questions for routes per second
	routeBurst = 256
	logRate    = 1 // lines about VTEPs per second
	logBurst   = 16

	debounce     = 100 * time.Millisecond // of changed routes
	publishPer   = 4 * time.Microsecond   // and VTEP: the least time from a snapshot to the next
	retryAfter   = time.Second            // of what failed or is in dispute
	turnEvery    = 50 * time.Millisecond  // of neighbours that wait to be tried
	patience     = 5 * time.Second        // before no answer is an answer
	sweepEvery   = 5 * time.Second
	refreshEvery = 10 * time.Second // of routes in use: learned path MTUs are not announced
	idleAfter    = 30 * time.Second // without use: not refreshed, and forgotten unless resolved
	forgetAfter  = 10 * time.Minute // without use
)

// timers say when run has to look again; the zero time means not at all.
type timers struct {
	admit    time.Time // when there may be room for more VTEPs
	link     time.Time // when the interface is read again, which failed
	tend     time.Time // when neighbours that were lost or wait are tried
	debounce time.Time // when changed routes are asked for
	resolve  time.Time // when there are tokens for more questions
	publish  time.Time // when a snapshot may follow the last one
	patience time.Time // when the first VTEP has waited too long
	sweep    time.Time
}

// next returns how long there is nothing to do.
func (m *timers) next(now time.Time) time.Duration {
	first := now.Add(time.Hour)
	for _, at := range []time.Time{m.admit, m.link, m.tend, m.debounce, m.resolve, m.publish, m.patience, m.sweep} {
		if !at.IsZero() && at.Before(first) {
			first = at
		}
	}
	return max(first.Sub(now), 0)
}

// due reports whether a timer has expired, and stops it if so.
func due(at *time.Time, now time.Time) bool {
	if at.IsZero() || now.Before(*at) {
		return false
	}
	*at = time.Time{}
	return true
}

// run owns the table until Close.
func (t *Table) run() {
	defer t.ended.Done()
	defer t.releaseAll()
	timer := time.NewTimer(t.timers.next(time.Now()))
	defer timer.Stop()
	for {
		select {
		case <-t.done:
			return
		case <-t.bell:
		case f := <-t.calls:
			f()
		case <-timer.C:
		}
		now := time.Now()
		t.step(now)
		timer.Reset(t.timers.next(now))
	}
}

// step does all there is to do.
func (t *Table) step(now time.Time) {
	t.attend(now)
	t.admit(now)
	t.sweep(now)
	t.resolve(now)
	t.publish(now)
}

// limiter is a token bucket. It is full at first.
type limiter struct {
	rate, burst float64 // tokens per second, tokens at most
	tokens      float64
	last        time.Time
}

// take reports whether there is a token, and takes it.
func (l *limiter) take(now time.Time) bool {
	if l.last.IsZero() {
		l.tokens = l.burst
	} else {
		l.tokens = min(l.tokens+now.Sub(l.last).Seconds()*l.rate, l.burst)
	}
	l.last = now
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}
