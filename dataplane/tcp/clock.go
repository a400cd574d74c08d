// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"math"
	"time"
)

// timerSteps bounds how many timers one Advance looks at. What is left is due
// at once, at the next.
const timerSteps = 4096

// Advance implements stream.Clocked.
func (e *Engine) Advance(now time.Duration) {
	if e.stopped {
		return
	}
	if now < e.now {
		now = e.now
	}
	e.setClock(now)
	e.wheel.advance(now)
	budget := timerSteps
	for i := e.wheel.due(&budget); i != 0; i = e.wheel.due(&budget) {
		c := e.conns.at(i)
		c.flags &^= fWheel
		e.timeout(i, c)
	}
	e.resendSynAcks()
	e.endTimeWaits()
}

// Next implements stream.Clocked.
func (e *Engine) Next() time.Duration {
	if e.stopped {
		return math.MaxInt64
	}
	t := e.wheel.next()
	if d, ok := e.nextSynAck(); ok {
		t = min(t, d)
	}
	if d, ok := e.nextTimeWait(); ok {
		t = min(t, d)
	}
	return t
}

// The wheel's ticks, in which conn.wake counts.
func tickOf(at time.Duration) uint32 { return uint32((at + 1<<wheelShift - 1) >> wheelShift) }

// atMicros and atMillis turn a time of a record into the engine's.
func (e *Engine) atMicros(us uint32) time.Duration {
	return e.now.Truncate(time.Microsecond) + time.Duration(int32(us-e.us))*time.Microsecond
}

func (e *Engine) atMillis(ms uint32) time.Duration {
	return e.now.Truncate(time.Millisecond) + time.Duration(int32(ms-e.ms))*time.Millisecond
}

// arm makes sure that the wheel wakes the connection by the time at. That it
// wakes it earlier, for a timer that was put off since, does no harm: most
// timers are put off and never fire.
func (e *Engine) arm(i uint32, c *conn, at time.Duration) {
	tick := tickOf(at)
	if c.has(fWheel) && seqLEQ(c.wake, tick) {
		return
	}
	c.flags |= fWheel
	c.wake = tick
	e.wheel.arm(i, at)
}

// rearm arms the wheel for the earliest timer of a connection that fired.
func (e *Engine) rearm(i uint32, c *conn) {
	if c.timer != timerNone {
		e.arm(i, c, e.atMicros(c.rtxAt))
	}
	if c.has(fAckLater) {
		e.arm(i, c, e.atMicros(c.ackAt))
	}
	if c.has(fKeepOn) {
		e.arm(i, c, e.atMillis(c.keepAt))
	}
}

// setTimer sets the one timer for what is in flight, after us microseconds.
func (e *Engine) setTimer(i uint32, c *conn, kind timerKind, us uint32) {
	c.timer, c.rtxAt = kind, e.us+us
	e.arm(i, c, e.now+time.Duration(us)*time.Microsecond)
}

// setKeep sets the timer of slow things, after ms milliseconds.
func (e *Engine) setKeep(i uint32, c *conn, ms uint32) {
	c.flags |= fKeepOn
	c.keepAt = e.ms + ms
	e.arm(i, c, e.now+time.Duration(ms)*time.Millisecond)
}
