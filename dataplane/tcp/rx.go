// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
)

type ringOf = *stream.Ring

// stashSize is the size of a stash in bytes: the window of a connection whose
// ring has no memory.
const stashSize = 64 << 10

// stashes are rings of the engine's own, for what arrives while the ring of a
// connection has no memory: until its owner, told by Readable, attached some.
// They are used last in, first out: as a rule the same few.
type stashes struct {
	rings []*stream.Ring // by number; 0 unused
	free  []uint32
	most  int
}

func (t *stashes) init(bytes int) {
	t.most = max(bytes/stashSize, 1)
	t.rings = []*stream.Ring{nil}
}

// take returns the number of an empty stash, 0 if there is none left.
func (t *stashes) take() uint32 {
	if n := len(t.free); n > 0 {
		k := t.free[n-1]
		t.free = t.free[:n-1]
		return k
	}
	if len(t.rings) > t.most {
		return 0
	}
	r := new(stream.Ring)
	r.Init()
	r.Attach(make([]byte, stashSize))
	t.rings = append(t.rings, r)
	if cap(t.free) < len(t.rings) {
		t.free = make([]uint32, 0, 2*len(t.rings))
	}
	return uint32(len(t.rings) - 1)
}

// give takes a stash back with whatever is in it.
func (t *stashes) give(k uint32) {
	r := t.rings[k]
	r.Hold(false)
	r.Release(r.Len())
	t.free = append(t.free, k)
}

func (t *stashes) inUse() int { return len(t.rings) - 1 - len(t.free) }

// rxRing returns the ring that received bytes go into: the connection's if it
// has memory and nothing waits elsewhere, else a stash. It is nil when there is
// no memory at all.
func (e *Engine) rxRing(i uint32, c *conn) *stream.Ring {
	if c.stash != 0 {
		return e.stashes.rings[c.stash]
	}
	if p := e.pairs.get(i); p != nil && p.Rx.Attached() {
		return &p.Rx
	}
	if c.stash = e.stashes.take(); c.stash == 0 {
		e.stat.Drop(stat.DropBufferLimit)
		return nil
	}
	return e.stashes.rings[c.stash]
}

// room returns how far behind RCV.NXT bytes can be taken.
func (e *Engine) room(i uint32, c *conn) uint32 {
	if c.has(fNoRead) {
		return c.rcvCap()
	}
	if c.stash != 0 {
		return uint32(e.stashes.rings[c.stash].Room())
	}
	if p := e.pairs.get(i); p != nil && p.Rx.Attached() {
		return uint32(p.Rx.Room())
	}
	return c.rcvCap()
}

// unstash moves what waits in the stash of a connection to its ring, when that
// has memory. Out-of-order bytes move too, or are forgotten: the peer still has
// them (RFC 2018 section 8).
func (e *Engine) unstash(i uint32, c *conn) {
	p := e.pairs.get(i)
	if c.stash == 0 || p == nil || !p.Rx.Attached() {
		return
	}
	s := e.stashes.rings[c.stash]
	n := min(s.Len(), p.Rx.Room())
	if n > 0 {
		moveBytes(&p.Rx, 0, s, 0, n)
		p.Rx.Publish(n)
		s.Release(n)
		e.report(i, c, evReadable)
	}
	if s.Len() > 0 {
		return
	}
	if c.work != 0 {
		if w := e.works.at(c.work); w.ranges > 0 {
			e.moveHoles(c, w, &p.Rx, s)
		}
	}
	e.stashes.give(c.stash)
	c.stash = 0
	if c.has(fFinIn) {
		e.endOfInput(i, c)
	}
}

// moveBytes copies n bytes from off behind the consumer's cursor of one ring to
// at behind the producer's of another.
func moveBytes(to *stream.Ring, at int, from *stream.Ring, off, n int) {
	a, b := to.ReserveAt(at, n)
	x, y := from.PeekAt(off, n)
	joinCopy(a, b, x, y)
}

// joinCopy copies x and y, one behind the other, to a and b.
func joinCopy(a, b, x, y []byte) {
	k := copy(a, x)
	if k < len(x) {
		m := copy(b, x[k:])
		copy(b[m:], y)
		return
	}
	m := copy(a[k:], y)
	copy(b, y[m:])
}

// endOfInput tells the owner that the peer's FIN follows the bytes in the ring,
// unless some of them still wait.
func (e *Engine) endOfInput(i uint32, c *conn) {
	p := e.pairs.get(i)
	if p == nil || p.RxEOF.Load() {
		return
	}
	if c.stash != 0 {
		if e.stashes.rings[c.stash].Len() > 0 && !c.has(fNoRead) {
			return
		}
		e.stashes.give(c.stash)
		c.stash = 0
	}
	p.RxEOF.Store(true)
	e.report(i, c, evReadable)
}

// unhold lets the memory that received bytes lie in be taken away: nothing lies
// behind a hole any more.
func (e *Engine) unhold(i uint32, c *conn) {
	if c.stash != 0 {
		e.stashes.rings[c.stash].Hold(false)
	}
	if p := e.pairs.get(i); p != nil {
		p.Rx.Hold(false)
	}
}

// dropStash gives back the stash of a connection.
func (e *Engine) dropStash(c *conn) {
	if c.stash != 0 {
		e.stashes.give(c.stash)
		c.stash = 0
	}
}
