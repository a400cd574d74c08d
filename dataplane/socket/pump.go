// SPDX-License-Identifier: Apache-2.0

package socket

// keepMemory is how many bytes a visit must have moved for the ring to keep its
// memory until the next one: a bulk transfer keeps it, a request does not.
const keepMemory = 16 << 10

// pump moves bytes of a connection both ways.
func (t *Set) pump(s *sock) {
	more := t.fromApp(s)
	if s.state != stConnected {
		return
	}
	more = t.toApp(s) || more
	if more && s.state == stConnected {
		t.enqueue(s)
	}
}

// buffer takes ring memory from the pool, nil at the bound.
func (t *Set) buffer() []byte {
	if t.cfg.MaxBuffers > 0 && t.buffers >= t.cfg.MaxBuffers {
		return nil
	}
	b := t.cfg.Buffers.Get()
	if b != nil {
		t.buffers++
	}
	return b
}

// giveBack returns ring memory to the pool; nil is ignored.
func (t *Set) giveBack(b []byte) {
	if b != nil {
		t.buffers--
		t.cfg.Buffers.Put(b)
	}
}

// takeBuffers empties both rings. The engine must have no use for them any
// more.
func (t *Set) takeBuffers(s *sock) {
	t.giveBack(s.pair.Tx.Discard())
	t.giveBack(s.pair.Rx.Discard())
}
