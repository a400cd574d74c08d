// SPDX-License-Identifier: Apache-2.0

package tcp

// news is what one ACK told.
type news struct {
	acked     uint32 // bytes cumulatively
	delivered uint32 // bytes not known to have arrived before
	priorPipe uint32
	rttFirst  uint32 // of the oldest and the newest bytes sent once, if measured
	rttLast   uint32
	echo      uint32 // TSecr less our offset
	fack      uint32 // work.fack before the ACK
	hasFack   bool
	hasEcho   bool
	measured  bool
	original  bool // bytes never resent arrived, which loss of all of them would not have let through
	resent    bool // bytes that were resent arrived
	sacked    bool // a block told something new
	dsack     bool // RFC 2883
	duplicate bool // RFC 5681 section 2
	lostAgain bool // a retransmission was lost
	lost      bool // something was newly deemed lost
	waits     bool // the reordering timer was set: something may be lost
	cwndSet   bool // F-RTO chose cwnd
	ece       bool
}

// echoedBefore reports whether a timestamp that was echoed is older than what
// left at the time sent: then it was not that which is acknowledged.
func (e *Engine) echoedBefore(echo, sent uint32) bool {
	ms := e.ms - (e.us-sent)/1000
	return int32(echo-ms) < 0
}

// recovered does what loss recovery and congestion control have to do when an
// ACK arrived, with the scoreboard up to date.
func (e *Engine) recovered(i uint32, c *conn, w *work, n *news) {
	if n.ece {
		e.echoed(c, w, n.delivered)
	}
	e.guessDuplicates(c, w, n)
	switch w.phase {
	case phaseLoss:
		e.inLoss(i, c, w, n)
	case phaseRecovery:
		e.inRecovery(i, c, w, n)
	case phaseCWR:
		if seqGEQ(c.una, w.recover) {
			e.leave(c, w)
		}
	}
	if w.phase != phaseRecovery && w.phase != phaseLoss || n.lostAgain {
		e.tryUndoDSACK(c, w, n)
	}
	if w.phase <= phaseCWR {
		if e.findLosses(i, c, w, n) && !e.onlyProbeLost(c, w) {
			e.enterRecovery(c, w, n.delivered)
		}
	}
	switch w.phase {
	case phaseRecovery, phaseCWR:
		if n.delivered > 0 || w.guessed > 0 {
			e.prrAck(c, w, max(n.delivered, n.guess(c)), n.acked > 0 && !n.lost)
		}
	default:
		if n.acked > 0 && !n.cwndSet {
			e.ccGrow(c, w, n.delivered, n.rttLast, e.limited(c, w, n))
		}
	}
}

// limited reports whether cwnd was what limited the sender: only then may it
// grow (RFC 9438 section 5.8; in slow start while half of it is used).
func (e *Engine) limited(c *conn, w *work, n *news) bool {
	if w.probing() {
		return false
	}
	return w.has(wLimited) || c.cwnd < c.ssthresh && c.cwnd < 2*w.used
}

// guess returns the bytes a duplicate ACK without SACK stands for.
func (n *news) guess(c *conn) uint32 {
	if n.duplicate && !c.has(fSACK) {
		return uint32(c.mss)
	}
	return 0
}

// guessDuplicates counts duplicate ACKs of a peer without SACK: each says that
// a segment left the network (RFC 5681 section 3.2 step 4).
func (e *Engine) guessDuplicates(c *conn, w *work, n *news) {
	if c.has(fSACK) {
		return
	}
	if n.acked > 0 {
		w.dups = 0
		// What duplicates stood for was delivered before.
		n.delivered = max(n.acked-min(n.acked, w.guessed), min(n.acked, uint32(c.mss)))
		if w.phase == phaseRecovery || w.phase == phaseLoss {
			// A partial ACK takes the segments it covers off, but for the
			// one that was resent (RFC 6582 section 3.2 step 3).
			w.guessed -= min(w.guessed, n.acked-min(n.acked, uint32(c.mss)))
		} else {
			w.guessed = 0
		}
	} else if n.duplicate {
		if w.dups < 255 {
			w.dups++
		}
		w.guessed = min(w.guessed+uint32(c.mss), c.flight()-min(c.flight(), uint32(c.mss)))
	}
}

// remember keeps what an undo needs.
func (e *Engine) remember(c *conn, w *work) {
	w.flags |= wUndo
	w.undoFrom, w.undoLeft = c.una, -1
	if n := e.resentInFlight(w); n > 0 {
		w.undoLeft = int32(n)
	}
	w.resentAt = 0
}

// enterRecovery begins fast recovery, RFC 6675 section 5 step 4, with
// proportional rate reduction, RFC 9937.
func (e *Engine) enterRecovery(c *conn, w *work, delivered uint32) {
	e.remember(c, w)
	if w.phase != phaseCWR {
		e.ccSave(c, w)
		e.prrStart(c, w, delivered)
		e.ccReduce(c, w)
		if c.has(fECN) {
			c.flags |= fCWR
		}
	}
	w.recover = c.nxt
	w.phase = phaseRecovery
	e.endTailProbe(w)
}

// inRecovery handles an ACK in fast recovery.
func (e *Engine) inRecovery(i uint32, c *conn, w *work, n *news) {
	if seqGEQ(c.una, w.recover) {
		// RFC 6675 section 5 step A; but without SACK not before something
		// above is acknowledged (RFC 6582 section 4).
		if !e.tryUndo(c, w, n) {
			e.leave(c, w)
		}
		return
	}
	if n.acked > 0 && e.tryUndo(c, w, n) {
		return
	}
	e.findLosses(i, c, w, n)
}

// inLoss handles an ACK after a retransmission timeout: slow start over what was
// lost, and F-RTO (RFC 5682 section 3.1).
func (e *Engine) inLoss(i uint32, c *conn, w *work, n *news) {
	fresh := w.frto == frtoFresh
	switch w.frto.ack(frtoAck{
		advanced: n.acked > 0, complete: seqGEQ(c.una, w.recover),
		original: n.original && (c.has(fSACK) || !n.resent), sacked: n.sacked, duplicate: n.duplicate,
		canSend: e.canSendNew(c, w),
	}) {
	case frtoSpurious:
		e.undo(c, w)
		return
	case frtoSendNew:
		// RFC 5682 section 3.1 (2b): two, whatever this ACK is worth.
		c.cwnd = c.pipe(w) + 2*uint32(c.mss)
		n.cwndSet = true
	case frtoLoss:
		if fresh {
			// Step 3a: two round trips have passed since the timeout. The
			// new segments may have been lost too: one more has to fit,
			// or nothing leaves before the next timeout.
			c.cwnd = 3 * uint32(c.mss)
			n.cwndSet = true
		}
	}
	if seqGEQ(c.una, w.recover) {
		if !e.tryUndo(c, w, n) {
			e.leave(c, w)
		}
		return
	}
	if n.acked > 0 && e.tryUndo(c, w, n) {
		return
	}
	if c.has(fSACK) {
		e.findLosses(i, c, w, n)
	}
}

// leave ends a recovery in order.
func (e *Engine) leave(c *conn, w *work) {
	if w.phase != phaseLoss {
		// RFC 9937: what remains of the reduction; RFC 6582 section 3.2.
		c.cwnd = min(c.ssthresh, max(c.cwnd, c.ssthresh))
	}
	w.phase = phaseOpen
	w.resentAt = 0
	w.dups, w.guessed = 0, 0
	if w.reoKeep > 0 {
		if w.reoKeep--; w.reoKeep == 0 {
			w.reoMult = 1 // RFC 8985 section 6.2 step 4
		}
	}
}

// tryUndo undoes a reduction that proves needless: the ACK echoes a timestamp
// from before the first retransmission (RFC 4015), or everything resent was
// reported as duplicate (RFC 3708).
func (e *Engine) tryUndo(c *conn, w *work, n *news) bool {
	if !w.has(wUndo) {
		return false
	}
	eifel := n.hasEcho && w.resentAt != 0 && seqLT(n.echo, w.resentAt)
	if !eifel && w.undoLeft != 0 {
		return false
	}
	e.undo(c, w)
	return true
}

// tryUndoDSACK does so once everything resent was reported.
func (e *Engine) tryUndoDSACK(c *conn, w *work, n *news) {
	if n.dsack && w.has(wUndo) && w.undoLeft == 0 {
		e.undo(c, w)
	}
}

// undo restores what was before the reduction.
func (e *Engine) undo(c *conn, w *work) {
	e.ccUndo(c, w)
	e.findAll(w)
	w.frto.stop()
	w.phase = phaseOpen
	w.flags &^= wUndo
	w.resentAt = 0
	w.dups, w.guessed = 0, 0
	c.backoff = 0
}

// echoed handles ECE, RFC 3168 section 6.1.2: at most one reduction per window.
func (e *Engine) echoed(c *conn, w *work, delivered uint32) {
	if w.phase != phaseOpen {
		return
	}
	e.ccSave(c, w)
	e.prrStart(c, w, delivered)
	e.ccReduce(c, w)
	w.recover = c.nxt
	w.phase = phaseCWR
	c.flags |= fCWR
}

// enterLoss is what a retransmission timeout does to the scoreboard, RFC 5681
// section 3.1, RFC 6675 section 5.1.
func (e *Engine) enterLoss(c *conn, w *work) {
	again := w.phase == phaseLoss && seqGEQ(w.recover, c.una) && c.una == w.undoFrom
	if w.phase != phaseLoss || !again {
		if w.phase != phaseRecovery && w.phase != phaseCWR || !w.has(wUndo) {
			e.ccSave(c, w)
		}
		stamp := w.resentAt
		e.remember(c, w)
		w.resentAt = stamp
		// RFC 5681 equation 4: not again for the same data.
		e.ccTimeout(c, w)
	}
	// RFC 5682 section 3.1 step 1.
	w.frto.start(!e.tun.FRTO || again || w.phase == phaseRecovery)
	if w.head != 0 && e.runs.at(w.head).flags&runSacked != 0 {
		e.renege(w)
	}
	e.loseAll(w)
	c.cwnd = uint32(c.mss)
	w.recover = c.nxt
	w.phase = phaseLoss
	w.dups = 0
	w.flags &^= wProbing
	e.endTailProbe(w)
	if c.has(fECN) {
		c.flags |= fCWR
	}
}

func (e *Engine) endTailProbe(w *work) { w.flags &^= wTLP | wTLPResent }
