// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// enterTimeWait leaves of a connection what TIME-WAIT needs, RFC 9293 section
// 3.3.2. The record stays with its owner, closed.
func (e *Engine) enterTimeWait(i uint32, c *conn) {
	w := e.waitFor(i, c)
	if w == nil {
		// No room: what comes late is answered with RST.
		e.sendLastAck(c)
		e.done(i, c)
		return
	}
	if c.has(fAckNow|fAckLater) || c.rcvAcked != c.rcvNxt {
		e.ackFromTimeWait(w)
	}
	e.retire(i, c)
}

// orphanFinWait2 lets a connection without owner wait for the peer's FIN for a
// limited time (RFC 9293 section 3.10.7.4 knows no such limit; Linux,
// tcp_fin_timeout).
func (e *Engine) orphanFinWait2(i uint32, c *conn) {
	o := e.opts.get(c.opts)
	d := e.tun.FinTimeout
	if o.bits&optLinger2Set != 0 {
		if o.linger2 < 0 {
			d = 0
		} else {
			d = min(d, time.Duration(o.linger2)*time.Second)
		}
	}
	if d <= 0 {
		e.sendReset(c, c.nxt)
		e.done(i, c)
		return
	}
	e.setKeep(i, c, uint32(d.Milliseconds()))
}

// finWait2Over ends an orphan whose peer did not send its FIN in time.
func (e *Engine) finWait2Over(i uint32, c *conn) { e.done(i, c) }

// waitFor makes the TIME-WAIT record of a connection and puts it in its place in
// the table.
func (e *Engine) waitFor(i uint32, c *conn) *timeWait {
	k, w := e.waits.alloc()
	if w == nil {
		return nil
	}
	w.tuple = c.tuple
	w.sndNxt, w.rcvNxt = c.nxt, c.rcvNxt
	w.tsRecent, w.tsAt = c.tsRecent, c.tsAt
	w.window = e.selectWindow(i, c)
	o := e.opts.get(c.opts)
	w.tos = o.tos &^ 3
	if c.has(fTS) {
		w.flags |= timeWaitTimestamps
	}
	w.flags |= c.binding &^ bindDual << timeWaitClass
	if e.table.replace(e.key.table.hash(&c.tuple), i|kindConn, k|kindWait) {
		c.flags &^= fTable
	}
	// The port stays held, by the record.
	c.flags &^= fBound
	w.until = e.ms + uint32(e.tun.TimeWait.Milliseconds())
	e.queueWait(k, w)
	return w
}

// TIME-WAIT lasts equally long for all: they end in the order in which they
// began.
func (e *Engine) queueWait(k uint32, w *timeWait) {
	q := &e.waitQueue
	w.prev, w.next = q.tail, 0
	if q.tail != 0 {
		e.waits.at(q.tail).next = k
	} else {
		q.head = k
	}
	q.tail = k
}

func (e *Engine) unqueueWait(w *timeWait) {
	q := &e.waitQueue
	if w.prev != 0 {
		e.waits.at(w.prev).next = w.next
	} else {
		q.head = w.next
	}
	if w.next != 0 {
		e.waits.at(w.next).prev = w.prev
	} else {
		q.tail = w.prev
	}
}

// endTimeWaits ends what has waited long enough, RFC 9293 section 3.10.8.
func (e *Engine) endTimeWaits() {
	for n := 0; e.waitQueue.head != 0 && n < timerSteps; n++ {
		k := e.waitQueue.head
		w := e.waits.at(k)
		if int32(e.ms-w.until) < 0 {
			return
		}
		e.endTimeWait(k, w)
	}
}

func (e *Engine) nextTimeWait() (time.Duration, bool) {
	if e.waitQueue.head == 0 {
		return 0, false
	}
	return e.atMillis(e.waits.at(e.waitQueue.head).until), true
}

// endTimeWait forgets a connection for good.
func (e *Engine) endTimeWait(k uint32, w *timeWait) {
	e.unqueueWait(w)
	e.table.remove(e.key.table.hash(&w.tuple), k|kindWait)
	e.ports.drop(w.binding())
	e.ports.freed(&w.tuple)
	e.waits.free(k)
}

// reusable reports whether a TIME-WAIT record may give way to a new connection
// that we open: RFC 6191, and Linux, tcp_twsk_unique: with timestamps, when the
// clock has moved on.
func (e *Engine) reusable(w *timeWait) bool {
	return e.tun.TimeWaitReuse && w.flags&timeWaitTimestamps != 0 && e.ms-w.tsAt >= 1000
}

// arrivesTimeWait is RFC 9293 section 3.10.7.4 for TIME-WAIT, with RFC 6191.
func (e *Engine) arrivesTimeWait(k uint32, s *segment, t *tuple) stat.Reason {
	w := e.waits.at(k)
	ts := w.flags&timeWaitTimestamps != 0 && s.opts.timestamps
	paws := ts && seqLT(s.opts.tsVal, w.tsRecent) && e.ms-w.tsAt < 24*24*3600*1000

	// A RST ends it, unless RFC 1337 is followed.
	if s.flags&wire.TCPRst != 0 {
		if !paws && s.seq == w.rcvNxt && !e.tun.RFC1337 {
			e.endTimeWait(k, w)
		}
		return stat.Accepted
	}
	// RFC 6191 section 2, RFC 9293 section 3.10.7.4 (MAY-2): a SYN that
	// cannot be an old duplicate opens a new connection.
	if s.flags&(wire.TCPSyn|wire.TCPAck) == wire.TCPSyn && !paws &&
		(seqGT(s.seq, w.rcvNxt) || ts && seqLT(w.tsRecent, s.opts.tsVal)) {
		if e.ports.listener(t, e.key.flowHash(t)) != 0 {
			old := w.sndNxt
			e.endTimeWait(k, w)
			e.afterWait = old + 65535 + 2 // RFC 9293 section 3.4.3: above what was used
			r := e.arrivesListen(s, t)
			e.afterWait = 0
			return r
		}
	}
	if s.flags&wire.TCPAck == 0 && s.flags&wire.TCPSyn == 0 {
		return stat.Accepted
	}
	inOrder := !paws && s.flags&wire.TCPSyn == 0 && s.seq == w.rcvNxt && s.len() == 0
	if ts && !paws && seqLEQ(s.seq, w.rcvNxt) {
		w.tsRecent, w.tsAt = s.opts.tsVal, e.ms
	}
	if inOrder {
		return stat.Accepted // an ACK of what we had
	}
	if s.flags&wire.TCPFin != 0 && !paws && s.seq+s.len() == w.rcvNxt {
		// The FIN again: our ACK was lost. Wait for 2 MSL again.
		e.unqueueWait(w)
		w.until = e.ms + uint32(e.tun.TimeWait.Milliseconds())
		e.queueWait(k, w)
		e.ackFromTimeWait(w)
		return stat.Accepted
	}
	if limit := uint32(e.tun.InvalidRateLimit.Milliseconds()); w.lastAck != 0 && e.ms-w.lastAck < limit {
		return stat.Accepted
	}
	w.lastAck = max(e.ms, 1)
	e.ackFromTimeWait(w)
	return stat.Accepted
}

// ackFromTimeWait queues the ACK that says where the connection stood.
func (e *Engine) ackFromTimeWait(w *timeWait) {
	r := e.answer(&w.tuple, wire.TCPAck)
	r.seq, r.ack, r.window, r.tos = w.sndNxt, w.rcvNxt, w.window, w.tos
	if w.flags&timeWaitTimestamps != 0 {
		r.timestamps, r.tsVal, r.tsEcr = true, e.ms+e.tsOffset(&w.tuple), w.tsRecent
	}
}

// sendLastAck queues the ACK of a FIN when there is nothing to keep.
func (e *Engine) sendLastAck(c *conn) {
	r := e.answer(&c.tuple, wire.TCPAck)
	r.seq, r.ack = c.nxt, c.rcvNxt
	if c.has(fTS) {
		r.timestamps, r.tsVal, r.tsEcr = true, e.ms+c.tsOff, c.tsRecent
	}
}

// heldBinding returns how a record with a tuple holds its port.
func heldBinding(t *tuple, b uint8) binding {
	return binding{port: t.lport, local: t.local, dual: b&bindDual != 0, class: b &^ bindDual}
}
