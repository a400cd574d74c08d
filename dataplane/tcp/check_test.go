// SPDX-License-Identifier: Apache-2.0

package tcp

import "fmt"

// check verifies the invariants of the engine's records. It costs time in the
// number of records: for tests.
func (e *Engine) check() error {
	if e.stopped {
		return nil
	}
	works, runs, holes, inTable, stashes, sockets, orphans := 0, 0, 0, 0, 0, 0, 0
	for i := e.conns.next(0); i != 0; i = e.conns.next(i) {
		c := e.conns.at(i)
		if err := e.checkConn(i, c, &runs, &holes); err != nil {
			return fmt.Errorf("connection %d, %s:%d -> %s:%d, state %d: %w", i, e.locals.addrs[c.local].netip(), c.lport, c.remote.netip(), c.rport, c.state, err)
		}
		if c.work != 0 {
			works++
		}
		if c.has(fTable) {
			inTable++
		}
		if c.stash != 0 {
			stashes++
		}
		switch {
		case c.has(fOwned | fQueued):
			sockets++
		default:
			orphans++
		}
	}
	for k, want := range map[string][2]int{
		"work records": {works, e.works.len()},
		"runs":         {runs, e.runs.len()},
		"spans":        {holes, e.holes.len()},
		"table":        {inTable + e.halfs.len() + e.waits.len(), e.table.len()},
		"stashes":      {stashes, e.stashes.inUse()},
		"sockets":      {sockets, e.sockets},
		"orphans":      {orphans, e.orphans},
	} {
		if want[0] != want[1] {
			return fmt.Errorf("%s: %d found, %d counted", k, want[0], want[1])
		}
	}
	return e.checkListeners()
}

func (e *Engine) checkConn(i uint32, c *conn, runs, holes *int) error {
	if c.has(fTable) && e.find(&c.tuple) != i|kindConn {
		return fmt.Errorf("the table has %#x", e.find(&c.tuple))
	}
	if !c.state.in(synchronized) {
		if c.work != 0 {
			return fmt.Errorf("a work record in state %d", c.state)
		}
		return nil
	}
	if !seqLEQ(c.una, c.nxt) || !seqLEQ(c.una, c.end) || !c.has(fFinSent) && !seqLEQ(c.nxt, c.end) || c.has(fFinSent) && c.nxt != c.end+1 && c.una != c.end {
		return fmt.Errorf("una %d, nxt %d, end %d, flags %#x", c.una, c.nxt, c.end, c.flags)
	}
	if !seqLEQ(c.rcvAcked, c.rcvNxt) || !seqLEQ(c.rcvNxt, c.rcvEdge) {
		return fmt.Errorf("acked %d, rcv.nxt %d, edge %d", c.rcvAcked, c.rcvNxt, c.rcvEdge)
	}
	if c.cwnd < uint32(c.mss) && c.work != 0 && c.nxt != c.una && false {
		return fmt.Errorf("cwnd %d below a segment of %d", c.cwnd, c.mss)
	}
	if c.una != c.nxt && c.timer != timerRetrans && c.timer != timerProbe && c.timer != timerReorder {
		return fmt.Errorf("%d bytes in flight, timer %d", c.nxt-c.una, c.timer)
	}
	if (c.timer != timerNone || c.flags&(fAckLater|fKeepOn) != 0) && !c.has(fWheel) {
		return fmt.Errorf("timer %d, flags %#x: the wheel is not armed", c.timer, c.flags)
	}
	if c.has(fWheel) != e.wheel.armed(i) {
		return fmt.Errorf("the wheel is armed: %v", e.wheel.armed(i))
	}
	if c.rcvNxt != c.rcvAcked && c.flags&(fAckNow|fAckLater|fInBurst) == 0 {
		return fmt.Errorf("%d bytes received and no ACK due", c.rcvNxt-c.rcvAcked)
	}
	if p := e.pairs.get(i); p != nil && c.state.in(synchronized) && int(c.end-c.una) > p.Tx.Len() && !p.Tx.Broken() {
		return fmt.Errorf("%d bytes to send, %d in the ring", c.end-c.una, p.Tx.Len())
	}
	if c.work == 0 {
		if c.una != c.nxt {
			return fmt.Errorf("%d bytes in flight without a work record", c.nxt-c.una)
		}
		return nil
	}
	return e.checkWork(c, e.works.at(c.work), runs, holes)
}

func (e *Engine) checkWork(c *conn, w *work, runs, holes *int) error {
	var sacked, pending uint32
	start, last, n := w.first, uint32(0), uint16(0)
	for k := w.head; k != 0; k = e.runs.at(k).next {
		r := e.runs.at(k)
		if !seqLT(start, r.end) {
			return fmt.Errorf("run from %d to %d", start, r.end)
		}
		switch {
		case r.flags&runSacked != 0:
			sacked += r.end - start
		case r.pending():
			pending += r.end - start
		}
		start, last = r.end, k
		n++
	}
	if start != c.nxt || w.first != c.una || last != w.tail || n != w.runs {
		return fmt.Errorf("runs from %d to %d, una %d, nxt %d, tail %d is %d, %d counted %d", w.first, start, c.una, c.nxt, last, w.tail, n, w.runs)
	}
	if sacked != w.sacked || pending != w.pending {
		return fmt.Errorf("sacked %d counted %d, pending %d counted %d", sacked, w.sacked, pending, w.pending)
	}
	*runs += int(n)
	n = 0
	at := c.rcvNxt
	for k := w.hole; k != 0; k = e.holes.at(k).next {
		h := e.holes.at(k)
		if !seqLT(at, h.start) || !seqLT(h.start, h.end) {
			return fmt.Errorf("span from %d to %d behind %d", h.start, h.end, at)
		}
		at = h.end
		n++
	}
	if n != w.ranges || seqGT(at, c.rcvEdge) {
		return fmt.Errorf("%d spans counted %d, to %d, edge %d", n, w.ranges, at, c.rcvEdge)
	}
	*holes += int(n)
	return nil
}

func (e *Engine) checkListeners() error {
	half := 0
	for k, l := range e.listeners {
		if l == nil {
			continue
		}
		c := e.conns.at(l.conn)
		if c.state != stListen || c.link != uint32(k) {
			return fmt.Errorf("listener %d: record %d in state %d", k, l.conn, c.state)
		}
		n := 0
		for i := l.head; i != 0; i = e.conns.at(i).link {
			n++
			if !e.conns.at(i).has(fQueued) {
				return fmt.Errorf("listener %d: %d does not wait", k, i)
			}
		}
		if n != l.ready {
			return fmt.Errorf("listener %d: %d wait, %d counted", k, n, l.ready)
		}
		half += l.half
	}
	if half != e.halfs.len() {
		return fmt.Errorf("%d half-open connections, %d counted", e.halfs.len(), half)
	}
	return nil
}
