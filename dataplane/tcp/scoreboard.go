// SPDX-License-Identifier: Apache-2.0

package tcp

// A run is bytes in flight that follow each other, left at the same time and
// share a fate. The runs of a connection lie in sequence order and cover what is
// between SND.UNA and SND.NXT without gap: where one starts, the one before
// ends. They are what RFC 6675 calls the scoreboard and RFC 8985 the records of
// segments; a train that leaves in one pass is one run however long it is.
type run struct {
	slot
	next  uint32 // in sequence order; 0: the last
	end   uint32 // sequence number behind it
	sent  uint32 // when it left last, microseconds
	flags uint8
	times uint8 // transmissions beyond the first; sticks at 255
	_     [6]byte
}

const (
	runSacked = 1 << iota // selectively acknowledged
	runLost               // deemed lost
	runResent             // resent since it was deemed lost
)

// maxRuns bounds the runs of a connection: a peer that acknowledges every other
// byte costs memory and time. Beyond it, blocks that would split runs are
// ignored and trains are joined.
const maxRuns = 1024

// pending reports whether the run is to be resent.
func (r *run) pending() bool { return r.flags&(runLost|runResent|runSacked) == runLost }

// pipe returns the bytes in flight, RFC 6675 section 4 (SetPipe). Without SACK
// every duplicate ACK stands for a segment that arrived (RFC 5681 section 3.2).
func (c *conn) pipe(w *work) uint32 {
	return c.nxt - c.una - min(c.nxt-c.una, w.sacked+w.pending+w.guessed)
}

// sentRun adds the bytes up to end, which left now for the first time.
func (e *Engine) sentRun(w *work, end uint32) {
	if w.tail != 0 {
		t := e.runs.at(w.tail)
		if t.flags == 0 && t.times == 0 && (t.sent == e.us || w.runs >= maxRuns) {
			t.end, t.sent = end, e.us
			return
		}
	}
	i := e.newRun(w)
	if i == 0 {
		// No memory: the last run takes it, whatever its fate was.
		t := e.runs.at(w.tail)
		t.end, t.sent = end, e.us
		t.flags, t.times = 0, max(t.times, 1)
		e.recount(w)
		return
	}
	r := e.runs.at(i)
	r.end, r.sent = end, e.us
	if w.tail == 0 {
		w.head = i
	} else {
		e.runs.at(w.tail).next = i
	}
	w.tail = i
}

// newRun returns the index of a fresh run, 0 if there is no memory. The first
// run of a connection always exists: its work record was refused otherwise.
func (e *Engine) newRun(w *work) uint32 {
	i, _ := e.runs.alloc()
	if i != 0 {
		w.runs++
	}
	return i
}

// recount computes what is counted along the list anew.
func (e *Engine) recount(w *work) {
	w.sacked, w.pending = 0, 0
	start := w.first
	for i := w.head; i != 0; {
		r := e.runs.at(i)
		switch {
		case r.flags&runSacked != 0:
			w.sacked += r.end - start
		case r.pending():
			w.pending += r.end - start
		}
		start, i = r.end, r.next
	}
}

// split cuts run i at the sequence number at, which lies inside it, and reports
// whether it could.
func (e *Engine) split(w *work, i, at uint32) bool {
	if w.runs >= maxRuns {
		return false
	}
	j := e.newRun(w)
	if j == 0 {
		return false
	}
	r, s := e.runs.at(i), e.runs.at(j)
	s.next, s.end, s.sent, s.times, s.flags = r.next, r.end, r.sent, r.times, r.flags
	r.end, r.next = at, j
	if w.tail == i {
		w.tail = j
	}
	return true
}

// dropRuns frees every run.
func (e *Engine) dropRuns(w *work) {
	for i := w.head; i != 0; {
		next := e.runs.at(i).next
		e.runs.free(i)
		i = next
	}
	w.head, w.tail, w.runs = 0, 0, 0
	w.sacked, w.pending, w.guessed = 0, 0, 0
}

// ackRuns takes the runs up to ack off the scoreboard: they were acknowledged
// cumulatively.
func (e *Engine) ackRuns(c *conn, w *work, ack uint32, n *news) {
	start := c.una
	for w.head != 0 && seqLT(start, ack) {
		i := w.head
		r := e.runs.at(i)
		end := r.end
		if seqGT(end, ack) {
			end = ack
		}
		size := end - start
		if r.flags&runSacked != 0 {
			w.sacked -= size
		} else {
			if r.pending() {
				w.pending -= size
			}
			n.delivered += size
			e.arrived(c, w, r, end, n)
		}
		start = end
		if end != r.end {
			break
		}
		w.head = r.next
		e.runs.free(i)
		w.runs--
	}
	if w.head == 0 {
		w.tail = 0
	}
	w.first = ack
}

// arrived notes that the bytes of r up to end have reached the peer, as was
// learned now.
func (e *Engine) arrived(c *conn, w *work, r *run, end uint32, n *news) {
	rtt := e.us - r.sent
	if r.times == 0 {
		// Karn's algorithm, RFC 6298 section 3: only what was sent once.
		if !n.measured {
			n.rttFirst = rtt
		}
		n.measured, n.rttLast = true, rtt
		if !seqGT(end, w.recover) || w.phase != phaseLoss {
			n.original = true
		}
		// RFC 8985 section 6.2 step 3, with what was known before this ACK.
		if n.hasFack && seqLT(end, n.fack) {
			w.flags |= wReordered
		}
	} else {
		n.resent = true
		// RFC 8985 section 6.2 step 2: not if it may be the original that
		// is acknowledged.
		if n.hasEcho && e.echoedBefore(n.echo, r.sent) {
			return
		}
		if rtt < e.minRTT(c) {
			return
		}
	}
	if !w.has(wHasRACK) || sentAfter(r.sent, end, w.rackSent, w.rackEnd) {
		w.flags |= wHasRACK
		w.rackSent, w.rackEnd, w.rackRTT = r.sent, end, rtt
	}
	if !w.has(wHasFack) || seqGT(end, w.fack) {
		w.flags |= wHasFack
		w.fack = end
	}
}

// sentAfter orders transmissions, RFC 8985 section 6.2 (RACK_sent_after).
func sentAfter(t1, end1, t2, end2 uint32) bool {
	return int32(t1-t2) > 0 || t1 == t2 && seqGT(end1, end2)
}
