// SPDX-License-Identifier: Apache-2.0

package tcp

// beginConn fills in what every new connection begins with, with its tuple and
// option set in place.
func (e *Engine) beginConn(c *conn) {
	c.mtu = uint16(e.cfg.MTU)
	c.rcvLog = log2(e.rcvBuffer(c.opts))
	c.cwnd = 1
	c.ssthresh = noSsthresh
	if !e.locals.own[c.local] || e.isOurs(c.remote) {
		c.flags |= fLoop
		c.mtu = 65535
	}
}

// workOf returns the work record of a connection, nil if there is no memory for
// one.
func (e *Engine) workOf(i uint32, c *conn) *work {
	if c.work != 0 {
		return e.works.at(c.work)
	}
	k, w := e.works.alloc()
	if w == nil {
		return nil
	}
	c.work = k
	w.first = c.una
	w.recover = c.una
	w.reoMult = 1
	e.ccBegin(c, w)
	if c.timer == timerNone {
		e.setTimer(i, c, timerIdle, e.baseRTO(c))
	}
	return w
}

// restWork gives a work record back if the connection rests.
func (e *Engine) restWork(i uint32, c *conn) {
	if c.work == 0 {
		return
	}
	w := e.works.at(c.work)
	if w.ranges > 0 || w.has(wFin) {
		return // until the hole is filled: restLater
	}
	if c.una != c.nxt || w.flags&(wDSACKDue|wProbe|wTLPDue|wProbing) != 0 || e.unsent(c) {
		if c.timer == timerNone {
			e.setTimer(i, c, timerIdle, e.baseRTO(c))
		}
		return
	}
	e.dropWork(c)
}

// restLater has the work record of a connection given back in a while, if
// nothing else waits for its timer.
func (e *Engine) restLater(i uint32, c *conn) {
	if c.work != 0 && c.timer == timerNone && c.una == c.nxt {
		e.setTimer(i, c, timerIdle, e.baseRTO(c))
	}
}

// dropWork gives back the work record with everything that hangs on it.
func (e *Engine) dropWork(c *conn) {
	if c.work == 0 {
		return
	}
	w := e.works.at(c.work)
	e.dropRuns(w)
	e.dropHoles(w)
	e.works.free(c.work)
	c.work = 0
}

// fail ends a connection with an error that its owner is told.
func (e *Engine) fail(i uint32, c *conn, errno uint8) {
	c.err = errno
	e.retire(i, c)
}

// done ends a connection that TCP is done with.
func (e *Engine) done(i uint32, c *conn) { e.retire(i, c) }

// retire makes a connection CLOSED. Its record goes unless somebody still holds
// it: its owner, or the accept queue.
func (e *Engine) retire(i uint32, c *conn) {
	e.leaveTable(i, c)
	e.dropWork(c)
	c.state = stClosed
	c.timer = timerNone
	c.flags &^= fAckNow | fAckLater | fKeepOn
	if p := e.pairs.get(i); p != nil {
		p.Rx.Hold(false)
	}
	if c.has(fOwned) {
		if c.err != 0 {
			e.report(i, c, evFailed)
		}
		return
	}
	if c.has(fQueued) {
		return
	}
	e.orphans--
	e.free(i, c)
}

// leaveTable takes a connection out of the table and gives its port back.
func (e *Engine) leaveTable(i uint32, c *conn) {
	if c.has(fTable) {
		e.table.remove(e.key.table.hash(&c.tuple), i|kindConn)
		e.ports.freed(&c.tuple)
		c.flags &^= fTable
	}
	if c.has(fBound) {
		c.flags &^= fBound
		e.ports.drop(heldBinding(&c.tuple, c.binding))
	}
}

// free gives the record of a socket back. What lies of it in queues is passed
// over.
func (e *Engine) free(i uint32, c *conn) {
	e.leaveTable(i, c)
	e.dropWork(c)
	e.dropStash(c)
	if c.has(fWheel) {
		e.wheel.disarm(i)
	}
	e.opts.release(c.opts)
	e.pairs.set(i, nil)
	c.flags = 0
	c.state = 0
	e.conns.free(i)
}

// disown takes a socket away from its owner: the handle is stale from now on.
func (e *Engine) disown(c *conn) {
	c.flags &^= fOwned
	e.sockets--
}

// abort ends a connection with RST, where there is a peer to tell (RFC 9293
// section 3.10.5).
func (e *Engine) abort(i uint32, c *conn) {
	if c.state.in(synchronized) || c.state == stSynReceived {
		e.sendReset(c, c.nxt)
	}
}

// startKeepalive starts the keepalive timer if the option is set.
func (e *Engine) startKeepalive(i uint32, c *conn) {
	if c.has(fKeepAlive) && c.state.in(synchronized) {
		c.probes = 0
		e.setKeep(i, c, uint32(e.opts.get(c.opts).keepIdle)*1000)
	}
}
