// SPDX-License-Identifier: Apache-2.0

package tcpsim

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"netcon/dataplane/wire"
)

// link is one direction of the network.
type link struct {
	linkPlan
	w        *world
	from, to int
	rnd      *rand.Rand
	n        int            // packets taken
	inBurst  int            // packets that are still to be lost
	burstEnd time.Duration  // and until when
	inRow    int            // packets lost one after the other
	last     time.Duration  // when the packet before arrives
	free     time.Duration  // when the bottleneck has sent what waits
	forced   [NumFaults]int // packets after which a fault has to show
}

// init prepares a link of a plan. Every fault that the plan wants shows on one
// of the first packets, whatever the dice say.
func (l *link) init(w *world, from int) {
	l.linkPlan = w.plan.links[from]
	l.w, l.from, l.to = w, from, 1-from
	l.rnd = rand.New(rand.NewPCG(w.plan.seed, uint64(0x6c696e6b+from)))
	for f := range l.forced {
		l.forced[f] = 1 + l.rnd.IntN(8)
	}
	if w.plan.hosts[l.to].gvisor || w.plan.local {
		l.forge = 0
	}
}

// shown stands for a fault that has shown: more packets than a link sees.
const shown = 1 << 31

// hit reports whether a fault of probability p strikes the packet, and counts it
// if so.
func (l *link) hit(f Fault, p float64) bool {
	if p == 0 || l.w.calm() {
		return false
	}
	if l.rnd.Float64() >= p && l.n < l.forced[f] {
		return false
	}
	if l.n >= l.forced[f] {
		l.forced[f] = shown
	}
	l.w.met(f)
	return true
}

// maxInRow bounds how many packets in a row are lost by chance: more would be an
// outage, which TCP may give up on.
const maxInRow = 6

// send takes a packet from the host. It belongs to the link.
func (l *link) send(p []byte) {
	w := l.w
	l.n++
	if l.mtu > 0 && w.now >= l.mtuAt && len(p) > l.mtu {
		if l.silent {
			w.met(BlackHole)
			w.drop(l.from, p, "black hole")
			return
		}
		w.met(MTUDrop)
		w.tooBig(l.from, p, l.mtu)
		w.drop(l.from, p, "too big")
		return
	}
	if w.now >= l.blackFrom && w.now < l.blackTo {
		w.met(Blackout)
		w.drop(l.from, p, "blackout")
		return
	}
	if l.inBurst == 0 && l.hit(BurstLoss, l.burst) {
		l.inBurst, l.burstEnd = 2+l.rnd.IntN(12), w.now+second/2
	} else if w.now >= l.burstEnd {
		l.inBurst = 0
	}
	if l.inBurst > 0 && w.now < l.burstEnd {
		l.inBurst--
		w.drop(l.from, p, "burst loss")
		return
	}
	if l.inRow < maxInRow && l.hit(Loss, l.loss) {
		l.inRow++
		w.drop(l.from, p, "loss")
		return
	}
	l.inRow = 0
	if l.hit(Unreachable, l.back) {
		w.note(l.from, p, "given back")
		w.back[l.from] = append(w.back[l.from], p)
		return
	}

	at := w.now
	if l.rate > 0 && w.now < w.plan.calm {
		l.free = max(l.free, w.now)
		one := time.Duration(len(p)) * second / time.Duration(l.rate)
		if l.free-w.now > time.Duration(l.queue)*time.Duration(min(w.plan.mtu, 1500))*second/time.Duration(l.rate) {
			w.met(RateLimit)
			w.drop(l.from, p, "queue full")
			return
		}
		l.free += one
		at = l.free
	}
	at += l.delay
	if l.hit(Jitter, min(l.jitter.Seconds()*1e9, 1)) {
		at += time.Duration(l.rnd.Int64N(int64(l.jitter)))
	}
	note := ""
	if l.hit(Reorder, l.reorder) {
		at += l.late
		note = "late"
	} else {
		// What is not reordered stays in order.
		at = max(at, l.last)
		l.last = at
	}
	if l.hit(Mark, l.mark) && mark(p) {
		note += " marked"
	}
	if l.hit(Duplicate, l.dup) {
		d := at + time.Duration(l.rnd.Int64N(int64(2*l.late)+1))
		w.queue.push(d, l.to, append(w.buffer(len(p))[:0], p...))
		note += " twice"
	}
	if l.hit(Forged, l.forge) {
		l.forgery(p, at)
	}
	if l.hit(Corrupt, l.corrupt) {
		l.damage(p)
		note += " corrupt"
	}
	if l.hit(Truncate, l.truncate) {
		p = p[:l.rnd.IntN(len(p))]
		note += " cut"
	}
	if note != "" {
		w.note(l.from, p, note)
	}
	w.queue.push(at, l.to, p)
}

// mark sets CE in a packet that is ECN-capable.
func mark(p []byte) bool {
	if len(p) == 0 {
		return false
	}
	if p[0]>>4 == 4 {
		if p[1]&3 == 0 {
			return false
		}
		p[1] |= 3
		wire.IPv4(p).SetChecksum()
		return true
	}
	if p[1]>>4&3 == 0 {
		return false
	}
	p[1] |= 3 << 4
	return true
}

// damage changes one 16-bit word behind what IPv6 leaves unprotected, into one
// that differs in one's complement arithmetic too.
func (l *link) damage(p []byte) {
	first := 0
	if p[0]>>4 == 6 {
		first = 8
	}
	at := first + 2*l.rnd.IntN((len(p)-first)/2)
	old := binary.BigEndian.Uint16(p[at:])
	v := old ^ uint16(1+l.rnd.IntN(1<<16-1))
	if v == 0 && old == 0xffff || v == 0xffff && old == 0 {
		v ^= 0x10
	}
	binary.BigEndian.PutUint16(p[at:], v)
}
