// SPDX-License-Identifier: Apache-2.0

package tcp

// findLosses marks what is deemed lost, and reports whether anything newly is.
func (e *Engine) findLosses(i uint32, c *conn, w *work, n *news) bool {
	if !c.has(fSACK) {
		// RFC 6582: the third duplicate ACK, and each partial ACK, tell of
		// one segment.
		if w.phase == phaseRecovery && n.acked > 0 || int(w.dups) >= e.tun.Reordering && w.phase != phaseRecovery {
			return e.loseFirst(c, w)
		}
		return false
	}
	if w.head == 0 || w.sacked == 0 && !n.resent && w.phase == phaseOpen {
		return false
	}
	before := w.pending
	if e.tun.RACK {
		if wait := e.rackDetect(c, w, n); wait > 0 {
			e.setTimer(i, c, timerReorder, wait)
			n.waits = true
		}
	} else if w.sacked > uint32(e.tun.Reordering-1)*uint32(c.mss) {
		// RFC 6675 section 4 (IsLost): a hole below that many bytes.
		e.loseBelow(c, w, w.fack-uint32(e.tun.Reordering-1)*uint32(c.mss))
	}
	return w.pending > before
}

// rackDetect is RACK_detect_loss of RFC 8985 section 6.2 step 5. It returns the
// time in microseconds after which to look again, 0 for none.
func (e *Engine) rackDetect(c *conn, w *work, n *news) uint32 {
	if !w.has(wHasRACK) {
		return 0
	}
	reo := e.reoWindow(c, w)
	var wait uint32
	start := w.first
	for i := w.head; i != 0; {
		r := e.runs.at(i)
		size := r.end - start
		start, i = r.end, r.next
		if r.flags&runSacked != 0 || r.pending() {
			continue
		}
		if !sentAfter(w.rackSent, w.rackEnd, r.sent, r.end) {
			if r.times == 0 {
				break // what follows was sent later still, unless resent
			}
			continue
		}
		if left := int32(r.sent + w.rackRTT + reo - e.us); left <= 0 {
			e.lose(w, r, size, n)
		} else {
			wait = max(wait, uint32(left))
		}
	}
	return wait
}

// reoWindow is RFC 8985 section 6.2 step 4.
func (e *Engine) reoWindow(c *conn, w *work) uint32 {
	if !w.has(wReordered) {
		if w.phase == phaseRecovery || w.phase == phaseLoss {
			return 0
		}
		if w.sacked > uint32(e.tun.Reordering-1)*uint32(c.mss) {
			return 0
		}
	}
	mult := uint32(max(w.reoMult, 1))
	return min(mult*(e.minRTT(c)/4), e.srtt(c))
}

// lose deems the run lost.
func (e *Engine) lose(w *work, r *run, size uint32, n *news) {
	e.news.lost = true
	if r.flags&runResent != 0 && n != nil {
		n.lostAgain = true
	}
	r.flags = r.flags&^runResent | runLost
	w.pending += size
}

// loseBelow deems everything below a sequence number lost that was not resent.
func (e *Engine) loseBelow(c *conn, w *work, limit uint32) {
	start := w.first
	for i := w.head; i != 0; {
		r := e.runs.at(i)
		if seqGT(r.end, limit) && (seqGEQ(start, limit) || !e.split(w, i, limit)) {
			break
		}
		size := r.end - start
		start, i = r.end, r.next
		if r.flags&(runSacked|runLost) == 0 {
			e.lose(w, r, size, nil)
		}
	}
}

// loseFirst deems the first segment lost.
func (e *Engine) loseFirst(c *conn, w *work) bool {
	if w.head == 0 {
		return false
	}
	r := e.runs.at(w.head)
	if r.flags&(runLost|runSacked) != 0 {
		return false
	}
	if at := w.first + uint32(c.mss); seqLT(at, r.end) {
		e.split(w, w.head, at)
	}
	e.lose(w, r, r.end-w.first, nil)
	return true
}

// loseAll deems everything lost that was not selectively acknowledged.
func (e *Engine) loseAll(w *work) {
	for i := w.head; i != 0; {
		r := e.runs.at(i)
		if r.flags&runSacked == 0 {
			r.flags = runLost
		}
		i = r.next
	}
	w.guessed = 0
	e.recount(w)
}

// renege forgets every selective acknowledgment: the peer did, RFC 2018 section
// 8.
func (e *Engine) renege(w *work) {
	for i := w.head; i != 0; {
		r := e.runs.at(i)
		r.flags &^= runSacked
		i = r.next
	}
}

// findAll takes back what loseAll and lose said: it was not lost.
func (e *Engine) findAll(w *work) {
	for i := w.head; i != 0; {
		r := e.runs.at(i)
		r.flags &^= runLost | runResent
		i = r.next
	}
	w.pending = 0
}
