// SPDX-License-Identifier: Apache-2.0

package neigh

import (
	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// Bounds of what waits for resolution. The fragments of the largest datagram,
// of 1,450 bytes each, may wait together.
const (
	maxHeldPackets = 64      // per neighbour
	maxHeldBytes   = 1 << 17 // per neighbour, of packets
	maxHeldTotal   = 4 << 20 // per table, of buffers
)

// Hold returns room for one IP packet of n bytes, at most 65,535, that waits
// for the neighbour of the last Lookup, which returned Pending. It never
// returns nil; the bytes are undefined. When too much waits for the neighbour
// the oldest packet is dropped; when too much waits in the whole table, or
// the neighbour is no longer being resolved, it is this one that is dropped.
// Either is counted.
func (t *Table) Hold(n int) []byte {
	b := t.pool.get(n)
	e := t.pending
	if e == nil || e.gen != t.pendingGen || e.state != incomplete {
		t.discard(b)
		return b
	}
	for len(e.held) > 0 && (len(e.held) >= maxHeldPackets || e.heldBytes+n > maxHeldBytes ||
		t.held+cap(b) > maxHeldTotal) {
		old := e.held[0]
		copy(e.held, e.held[1:])
		e.held[len(e.held)-1] = nil
		e.held = e.held[:len(e.held)-1]
		e.heldBytes -= len(old)
		t.held -= cap(old)
		t.discard(old)
	}
	if t.held+cap(b) > maxHeldTotal {
		t.discard(b)
		return b
	}
	e.held = append(e.held, b)
	e.heldBytes += n
	t.held += cap(b)
	return b
}

// discard counts a packet that found no place in a queue and recycles its
// buffer. The buffer stays writable until the pool gives it out again.
func (t *Table) discard(b []byte) {
	t.stat.Drop(stat.DropNeighQueue)
	t.pool.put(b)
}

// takeHeld empties e's queue and returns what was in it.
func (t *Table) takeHeld(e *entry) [][]byte {
	q := e.held
	e.held, e.heldBytes = nil, 0
	for _, b := range q {
		t.held -= cap(b)
	}
	return q
}

// release sends what waited for e, in order.
func (t *Table) release(e *entry) {
	mac, etherType := e.mac, uint16(wire.EtherTypeIPv6)
	if e.ip.Is4() {
		etherType = wire.EtherTypeIPv4
	}
	for _, b := range t.takeHeld(e) {
		t.out.Send(mac, etherType, b)
		t.pool.put(b)
	}
}

// fail gives back what waited for e. Undeliverable may call Lookup and Hold:
// nothing here depends on e any more once the queue is taken.
func (t *Table) fail(e *entry) {
	for _, b := range t.takeHeld(e) {
		t.stat.Drop(stat.DropNeighFailed)
		t.out.Undeliverable(b)
		t.pool.put(b)
	}
}

// The pool's classes: small covers requests and SYNs, medium an MTU, large any
// packet. idle bounds what is kept of each.
var classes = [...]struct{ size, idle int }{{256, 64}, {2048, 32}, {1 << 16, 1}}

// pool recycles buffers. The zero value is ready to use.
type pool [len(classes)][][]byte

// get returns n undefined bytes, n at most the largest class. A buffer that is
// passed to a callback is always a fresh one of the pool, so calls may nest.
func (p *pool) get(n int) []byte {
	c := 0
	for n > classes[c].size {
		c++
	}
	if k := len(p[c]); k > 0 {
		b := p[c][k-1]
		p[c] = p[c][:k-1]
		return b[:n]
	}
	return make([]byte, n, classes[c].size)
}

// put takes back what get gave.
func (p *pool) put(b []byte) {
	c := 0
	for cap(b) > classes[c].size {
		c++
	}
	if len(p[c]) < classes[c].idle {
		p[c] = append(p[c], b)
	}
}
