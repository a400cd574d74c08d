// SPDX-License-Identifier: Apache-2.0

package tcp

import "netcon/dataplane/wire"

// ackArrives processes the ACK field of an acceptable segment, RFC 9293 section
// 3.10.7.4, fifth. It returns false if the connection is gone.
func (e *Engine) ackArrives(i uint32, c *conn, s *segment) bool {
	n := &e.news
	*n = news{}
	if c.has(fTS) && s.opts.timestamps && s.opts.tsEcr != 0 {
		n.echo, n.hasEcho = s.opts.tsEcr-c.tsOff, true
	}
	if seqLT(s.ack, c.una) {
		// A duplicate. Its blocks may still tell something.
		if c.work != 0 && c.has(fSACK) && s.opts.blocks > 0 && c.flight() > 0 {
			w := e.works.at(c.work)
			n.begin(c, w)
			e.blocksArrive(c, w, s, n)
			e.settleAck(i, c, w, n)
		}
		return true
	}
	wnd := uint32(s.window) << c.sndScale()
	updated := e.updateWindow(i, c, s, wnd)
	if c.work == 0 {
		// Nothing was in flight since long; only the window may be news.
		if updated {
			e.wantIfPending(i, c)
		}
		return true
	}
	w := e.works.at(c.work)
	n.begin(c, w)
	n.acked = s.ack - c.una
	n.ece = c.has(fECN) && s.flags&wire.TCPEce != 0
	if c.flight() == 0 {
		if c.has(fSACK) && s.opts.blocks > 0 && e.isDSACK(s.opts.sack[:s.opts.blocks], s.ack) {
			e.dsackArrives(c, w, s.opts.sack[0], n)
			e.tryUndoDSACK(c, w, n)
		}
		if c.timer == timerPersist {
			e.probeAnswered(i, c)
		} else if updated {
			e.wantIfPending(i, c)
		}
		return true
	}
	if c.has(fSACK) && s.opts.blocks > 0 {
		e.blocksArrive(c, w, s, n)
	}
	// RFC 5681 section 2.
	n.duplicate = n.acked == 0 && len(s.payload) == 0 && !updated && s.flags&wire.TCPFin == 0
	if n.acked > 0 {
		e.advanceUna(i, c, w, s.ack, n)
	}
	e.settleAck(i, c, w, n)
	if n.acked > 0 && c.una == c.nxt && c.has(fFinSent) {
		return e.finAcked(i, c)
	}
	return true
}

// begin notes how things stood before an ACK.
func (n *news) begin(c *conn, w *work) {
	n.priorPipe = c.pipe(w)
	n.fack, n.hasFack = w.fack, w.has(wHasFack)
}

// updateWindow is RFC 9293 section 3.10.7.4: SND.WND, unless the segment is
// older than the one it was taken from. It reports whether the window changed.
func (e *Engine) updateWindow(i uint32, c *conn, s *segment, wnd uint32) bool {
	if !(seqGT(s.ack, c.una) || seqGT(s.seq, c.wl1) || s.seq == c.wl1 && (wnd > c.wnd || wnd == 0)) {
		return false
	}
	c.wl1 = s.seq
	if wnd == c.wnd {
		return false
	}
	c.wnd = wnd
	c.maxWnd = max(c.maxWnd, wnd)
	return true
}

// advanceUna takes what was acknowledged off the scoreboard and out of the Tx
// ring.
func (e *Engine) advanceUna(i uint32, c *conn, w *work, ack uint32, n *news) {
	e.ackRuns(c, w, ack, n)
	data := ack - c.una
	if left := c.end - c.una; data > left {
		data = left // the rest is the FIN
	}
	c.una = ack
	if data > 0 {
		c.acked += uint64(data)
		if p := e.pairs.get(i); p != nil {
			p.Tx.Release(int(data))
			e.writable(i, c)
		}
	}
	if n.resent {
		// RFC 6298 section 3: what else it covers may have arrived long ago.
		n.measured, n.rttLast = false, 0
	}
	if n.measured {
		e.sampleRTT(c, n.rttFirst)
	} else if n.hasEcho && n.delivered > 0 && !n.dsack {
		// RFC 7323 section 4.1: only what advances SND.UNA; the clock has a
		// grain of a millisecond. An ACK that a needless retransmission
		// provoked echoes what came before the wait for the timer.
		if d := e.ms - n.echo; int32(d) >= 0 {
			e.sampleRTT(c, max(d, 1)*1000)
		}
	}
	c.backoff = 0
	c.soft = 0
	w.stuckAt = 0
}

// writable reports room in the Tx ring, unless TCP_NOTSENT_LOWAT says that more
// is not wanted yet.
func (e *Engine) writable(i uint32, c *conn) {
	if low := e.notSentLowat(c); low != 0 && c.end-c.nxt >= low && seqGT(c.end, c.nxt) {
		return
	}
	e.report(i, c, evWritable)
}

func (e *Engine) notSentLowat(c *conn) uint32 {
	if v := e.opts.get(c.opts).notSentLowat; v != 0 {
		return uint32(v)
	}
	return uint32(e.tun.NotSentLowat)
}

// settleAck draws the consequences of an ACK for loss recovery, congestion
// control and timers.
func (e *Engine) settleAck(i uint32, c *conn, w *work, n *news) {
	w.delivered += n.delivered
	e.tailProbeAcked(c, w, n)
	e.mtuProbeAcked(c, w, n)
	if w.head == 0 {
		w.flags &^= wHasRACK | wHasFack
	}
	if n.acked > 0 && w.head != 0 && e.runs.at(w.head).flags&runSacked != 0 {
		// The peer has thrown away what it reported (RFC 2018 section 8), or
		// an ACK is late: a short while shows.
		e.setTimer(i, c, timerRetrans, max(e.srtt(c)/2, 10000))
		return
	}
	phase := w.phase
	e.recovered(i, c, w, n)
	if c.una == c.nxt {
		e.allAcked(i, c, w)
	} else if !n.waits && (n.acked > 0 || phase != w.phase || c.timer == timerReorder || n.sacked && e.sackExtends(c, w)) {
		e.armRetrans(i, c, w)
	}
	e.wantIfPending(i, c)
}

// sackExtends reports whether blocks alone restart the timer: a tail loss probe
// is not wanted any more, or what arrived left before the first segment did last
// (Linux, tcp_clean_rtx_queue). Later blocks do not: the timeout would never come.
func (e *Engine) sackExtends(c *conn, w *work) bool {
	return c.timer == timerProbe || int32(e.runs.at(w.head).sent-w.rackSent) > 0
}

// allAcked is for a connection with nothing in flight any more.
func (e *Engine) allAcked(i uint32, c *conn, w *work) {
	w.flags &^= wSmall
	if c.wnd == 0 && e.unsent(c) {
		e.startPersist(i, c)
		return
	}
	// RFC 6298 section 5.2: the timer is off. The work record stays a
	// while: what comes next needs it.
	e.setTimer(i, c, timerIdle, e.baseRTO(c))
}

// unsent reports whether there is something that was not sent yet.
func (e *Engine) unsent(c *conn) bool {
	return c.nxt != c.end && !c.has(fFinSent) || c.has(fFin) && !c.has(fFinSent)
}

// wantIfPending has Transmit look at a connection that may have to send.
func (e *Engine) wantIfPending(i uint32, c *conn) {
	if e.unsent(c) || c.work != 0 && e.works.at(c.work).pending > 0 {
		e.want(i, c)
	}
}

// finAcked is for a connection whose FIN was acknowledged. It returns false if
// the connection is gone.
func (e *Engine) finAcked(i uint32, c *conn) bool {
	c.end = c.una
	switch c.state {
	case stFinWait1:
		c.state = stFinWait2
		if !c.has(fOwned) {
			e.orphanFinWait2(i, c)
			return c.state == stFinWait2
		}
	case stClosing:
		e.enterTimeWait(i, c)
		return false
	case stLastAck:
		e.done(i, c)
		return false
	}
	return true
}

// blocksArrive processes SACK blocks: RFC 2018, RFC 2883, RFC 6675 section 4
// (Update).
func (e *Engine) blocksArrive(c *conn, w *work, s *segment, n *news) {
	blocks := s.opts.sack[:s.opts.blocks]
	if e.isDSACK(blocks, s.ack) {
		e.dsackArrives(c, w, blocks[0], n)
		blocks = blocks[1:]
	}
	var in [4]block
	k := 0
	for _, b := range blocks {
		// Only what is in flight and above the cumulative ACK.
		if !seqLT(b.start, b.end) || seqLT(b.start, s.ack) || seqGT(b.end, c.nxt) || seqLT(b.start, c.una) {
			continue
		}
		at := k
		for at > 0 && seqGT(in[at-1].start, b.start) {
			in[at] = in[at-1]
			at--
		}
		in[at] = b
		k++
	}
	if k > 0 {
		e.markBlocks(c, w, in[:k], n)
	}
}

// isDSACK reports whether the first block reports a duplicate, RFC 2883 section
// 4.
func (e *Engine) isDSACK(b []block, ack uint32) bool {
	return seqLT(b[0].start, b[0].end) && (seqLT(b[0].start, ack) && seqLEQ(b[0].end, ack) ||
		len(b) > 1 && seqGEQ(b[0].start, b[1].start) && seqLEQ(b[0].end, b[1].end))
}

// dsackArrives notes that bytes arrived twice.
func (e *Engine) dsackArrives(c *conn, w *work, b block, n *news) {
	if seqLT(b.start, c.una-min(c.maxWnd, 1<<30)) || seqGT(b.end, c.nxt) {
		return // RFC 5961 section 5: older than anything in flight lately
	}
	n.dsack = true
	w.dsacks++
	if w.has(wUndo) && w.undoLeft > 0 && seqGT(b.end, w.undoFrom) {
		w.undoLeft = max(w.undoLeft-int32(b.end-b.start), 0)
	}
	// RFC 8985 section 6.2 step 4: widen the window once per round.
	w.flags |= wDSACKs
	if !w.has(wDSACKRound) || seqGEQ(c.una, w.dsackEnd) {
		w.flags |= wDSACKRound
		w.dsackEnd = c.nxt
		w.reoMult = max(w.reoMult, 1)
		if w.reoMult < 20 {
			w.reoMult++
		}
		w.reoKeep = 16
	}
	if w.has(wTLP) && w.has(wTLPResent) && b.end == w.tlpEnd {
		// RFC 8985 section 7.4.1 case 1: the probe was not needed.
		e.endTailProbe(w)
	}
}

// markBlocks marks the runs that sorted blocks cover.
func (e *Engine) markBlocks(c *conn, w *work, blocks []block, n *news) {
	start, prev := w.first, uint32(0)
	i := w.head
	for _, b := range blocks {
		for i != 0 {
			r := e.runs.at(i)
			if seqLEQ(r.end, b.start) {
				start, prev, i = r.end, i, r.next
				continue
			}
			if seqGEQ(start, b.end) {
				break
			}
			if r.flags&runSacked == 0 {
				if seqLT(start, b.start) {
					if !e.split(w, i, b.start) {
						start, prev, i = r.end, i, r.next
						continue
					}
					start, prev, i = r.end, i, r.next
					continue
				}
				if seqGT(r.end, b.end) && !e.split(w, i, b.end) {
					break
				}
				size := r.end - start
				if r.pending() {
					w.pending -= size
				}
				w.sacked += size
				n.delivered += size
				n.sacked = true
				e.arrived(c, w, r, r.end, n)
				r.flags = runSacked
			}
			end := r.end
			if prev != 0 {
				// What lies side by side and has arrived is one run.
				if p := e.runs.at(prev); p.flags&runSacked != 0 {
					p.end, p.next = r.end, r.next
					if w.tail == i {
						w.tail = prev
					}
					next := r.next
					e.runs.free(i)
					w.runs--
					start, i = end, next
					continue
				}
			}
			start, prev, i = end, i, r.next
		}
	}
	// A block may end where a run began that had arrived before.
	if prev != 0 && i != 0 {
		p, r := e.runs.at(prev), e.runs.at(i)
		if p.flags&r.flags&runSacked != 0 && p.next == i {
			p.end, p.next = r.end, r.next
			if w.tail == i {
				w.tail = prev
			}
			e.runs.free(i)
			w.runs--
		}
	}
}
