// SPDX-License-Identifier: Apache-2.0

package tcp

import "netcon/dataplane/stream"

// A span is bytes that arrived behind a hole. They lie in the ring at their
// final place, behind the producer's cursor. The spans of a connection are in
// sequence order and do not touch.
type span struct {
	slot
	next       uint32 // 0: the last
	start, end uint32
}

// maxRanges bounds the spans of a connection. What would make one more is not
// taken.
const maxRanges = 128

// addHole notes that the bytes from start to end arrived, and reports whether
// they are to be copied: they are not if all of them were there before, or
// there is no room for one more span.
func (e *Engine) addHole(i uint32, c *conn, w *work, start, end uint32) bool {
	prev := uint32(0)
	at := w.hole
	for at != 0 && seqLT(e.holes.at(at).end, start) {
		prev, at = at, e.holes.at(at).next
	}
	if at == 0 || seqLT(end, e.holes.at(at).start) {
		if w.ranges >= maxRanges {
			return false
		}
		k, h := e.holes.alloc()
		if k == 0 {
			return false
		}
		h.start, h.end, h.next = start, end, at
		if prev == 0 {
			w.hole = k
		} else {
			e.holes.at(prev).next = k
		}
		w.ranges++
		w.remember(start)
		return true
	}
	h := e.holes.at(at)
	if seqGEQ(start, h.start) && seqLEQ(end, h.end) {
		e.sawDuplicate(i, c, start, end)
		w.remember(start)
		return false
	}
	if seqLT(seqMax(start, h.start), seqMin(end, h.end)) {
		e.sawDuplicate(i, c, seqMax(start, h.start), seqMin(end, h.end))
	}
	h.start = seqMin(h.start, start)
	h.end = seqMax(h.end, end)
	for h.next != 0 {
		x := e.holes.at(h.next)
		if seqGT(x.start, h.end) {
			break
		}
		h.end = seqMax(h.end, x.end)
		k := h.next
		h.next = x.next
		e.holes.free(k)
		w.ranges--
	}
	w.remember(start)
	return true
}

// joinHoles returns how far RCV.NXT goes on when n bytes at it have arrived.
func (e *Engine) joinHoles(c *conn, w *work, n uint32) uint32 {
	arrived := c.rcvNxt + n
	for w.hole != 0 {
		h := e.holes.at(w.hole)
		if seqGT(h.start, c.rcvNxt+n) {
			break
		}
		if seqLT(h.start, arrived) && c.has(fSACK) && !w.has(wDSACKDue) {
			// RFC 2883 section 4.2.3: the first of those it repeats.
			w.flags |= wDSACKDue
			w.dsackLeft, w.dsackRight = h.start, seqMin(h.end, arrived)
		}
		if seqGT(h.end, c.rcvNxt+n) {
			n = h.end - c.rcvNxt
		}
		k := w.hole
		w.hole = h.next
		e.holes.free(k)
		w.ranges--
	}
	return n
}

// lastHole returns the end of the last span.
func (e *Engine) lastHole(w *work) uint32 {
	end := uint32(0)
	for k := w.hole; k != 0; k = e.holes.at(k).next {
		end = e.holes.at(k).end
	}
	return end
}

// dropHoles forgets everything that arrived behind holes.
func (e *Engine) dropHoles(w *work) {
	for k := w.hole; k != 0; {
		next := e.holes.at(k).next
		e.holes.free(k)
		k = next
	}
	w.hole, w.ranges = 0, 0
}

// moveHoles moves what lies behind holes from one ring to another, both of
// which are empty in front of it.
func (e *Engine) moveHoles(c *conn, w *work, to, from *stream.Ring) {
	room := to.Room()
	for k := w.hole; k != 0; k = e.holes.at(k).next {
		h := e.holes.at(k)
		if int(h.end-c.rcvNxt) > room {
			e.dropHoles(w)
			return
		}
	}
	for k := w.hole; k != 0; k = e.holes.at(k).next {
		h := e.holes.at(k)
		off, n := int(h.start-c.rcvNxt), int(h.end-h.start)
		a, b := to.ReserveAt(off, n)
		x, y := from.ReserveAt(off, n)
		joinCopy(a, b, x, y)
	}
	to.Hold(true)
}

// sackBlocks writes what is to be reported of holes, RFC 2018 section 4, and of
// a duplicate, RFC 2883 section 4. It returns how many blocks it wrote.
func (e *Engine) sackBlocks(w *work, out []block) int {
	n := 0
	if w.has(wDSACKDue) {
		w.flags &^= wDSACKDue
		out[0] = block{w.dsackLeft, w.dsackRight}
		n++
	}
	if w.hole == 0 {
		return n
	}
	// Those that grew last first, then the others in sequence.
	seen := [5]uint32{}
	had := 0
	for _, at := range w.recent {
		k := e.holeAt(w, at)
		if n == len(out) {
			return n
		}
		if k != 0 && !has(seen[:had], k) {
			out[n] = e.blockOf(w, k)
			seen[had] = k
			n, had = n+1, had+1
		}
	}
	for k := w.hole; k != 0 && n < len(out); k = e.holes.at(k).next {
		if !has(seen[:had], k) {
			out[n] = e.blockOf(w, k)
			n++
		}
	}
	return n
}

func has(list []uint32, k uint32) bool {
	for _, x := range list {
		if x == k {
			return true
		}
	}
	return false
}

// remember notes where a segment began that arrived behind a hole.
func (w *work) remember(at uint32) {
	k := 0
	for k < len(w.recent)-1 && w.recent[k] != at {
		k++
	}
	copy(w.recent[1:k+1], w.recent[:k])
	w.recent[0] = at
}

// holeAt returns the span with a byte in it, 0 for none.
func (e *Engine) holeAt(w *work, at uint32) uint32 {
	for k := w.hole; k != 0; k = e.holes.at(k).next {
		if h := e.holes.at(k); seqGEQ(at, h.start) && seqLT(at, h.end) {
			return k
		}
	}
	return 0
}

// blockOf returns the block for a span; a FIN behind it belongs to it.
func (e *Engine) blockOf(w *work, k uint32) block {
	h := e.holes.at(k)
	b := block{h.start, h.end}
	if w.has(wFin) && h.end == w.finSeq {
		b.end++
	}
	return b
}

// sawDuplicate notes bytes that arrived twice, for a DSACK with the next ACK.
func (e *Engine) sawDuplicate(i uint32, c *conn, start, end uint32) {
	if !c.has(fSACK) || !c.state.in(synchronized) {
		return
	}
	w := e.workOf(i, c)
	if w == nil {
		return
	}
	w.flags |= wDSACKDue
	w.dsackLeft, w.dsackRight = start, end
	e.ackNow(i, c)
}
