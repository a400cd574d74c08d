// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"fmt"
	"sync/atomic"
)

// Cursors are the two shared words of a ring, each on a cache line of its own.
// They run freely modulo 2^32; tail-head is the number of bytes in the ring.
type Cursors struct {
	tail atomic.Uint32 // written by the producer, published with release
	_    [60]byte
	head atomic.Uint32 // written by the consumer, published with release
	_    [60]byte
}

// MaxRing is the largest ring in bytes.
const MaxRing = 1 << 30

// Ring is one end, or in pump mode both ends, of a single-producer,
// single-consumer byte ring. The producer calls Reserve, ReserveAt, Publish,
// Hold and Room, the consumer Peek, PeekAt, Release and Len.
//
// Each end keeps its own cursor here, in private memory, and only publishes it
// to the shared word: a hostile peer can lie about its own cursor and about
// nothing else. Each end also keeps the peer's cursor as it last read it: a
// cursor only moves forward, so room once reserved and bytes once peeked stay so
// whatever the peer writes. A lie is noticed (Broken) and never acted upon.
type Ring struct {
	buf  []byte // len is a power of two, or 0 while detached
	cur  *Cursors
	priv Cursors // backs cur unless the words are shared

	tail uint32 // producer's own cursor
	head uint32 // consumer's own cursor
	bad  bool
	held bool // Detach gives nothing back

	peerHead uint32 // the consumer's cursor as the producer last read it
	peerTail uint32 // the producer's cursor as the consumer last read it
}

// Init makes r a private ring without memory: empty, with no room, until
// Attach.
func (r *Ring) Init() {
	*r = Ring{}
	r.cur = &r.priv
}

// InitShared makes r an end of a ring whose words and bytes are shared. The
// words must be valid for the life of r. Len of buf must be a power of two.
func (r *Ring) InitShared(cur *Cursors, buf []byte) {
	*r = Ring{}
	r.cur = cur
	r.tail, r.head = cur.tail.Load(), cur.head.Load()
	r.Attach(buf)
	r.peerTail, r.peerHead = r.tail, r.head
	r.bad = r.tail-r.head > uint32(len(buf))
}

// Attach gives an empty ring its memory. It panics if the ring holds bytes or
// the size is not a power of two up to MaxRing.
func (r *Ring) Attach(buf []byte) {
	if n := len(buf); n == 0 || n&(n-1) != 0 || n > MaxRing {
		panic(fmt.Sprintf("stream: ring of %d bytes (want a power of two up to %d)", n, MaxRing))
	}
	if len(r.buf) != 0 && r.tail != r.head {
		panic("stream: attach to a ring that holds bytes")
	}
	r.buf = buf
	r.seeEmpty()
}

// Detach takes the memory back from an empty private ring; it returns nil if
// the ring holds bytes, has no memory, or is held.
func (r *Ring) Detach() []byte {
	if r.tail != r.head || r.held {
		return nil
	}
	b := r.buf
	r.buf = nil
	r.seeEmpty()
	return b
}

// Hold keeps the memory of a private ring from being detached, until Hold(false):
// its producer wrote bytes beyond its cursor (ReserveAt).
func (r *Ring) Hold(on bool) { r.held = on }

// seeEmpty forgets what was last read of the cursors: the memory changes size
// while the ring is empty.
func (r *Ring) seeEmpty() { r.peerTail, r.peerHead = r.tail, r.head }

// Discard empties a private ring and takes its memory back, held or not.
func (r *Ring) Discard() []byte {
	r.held = false
	r.head = r.tail
	r.cur.head.Store(r.head)
	return r.Detach()
}

// Attached reports whether the ring has memory.
func (r *Ring) Attached() bool { return len(r.buf) != 0 }

// Cap returns the ring's size in bytes.
func (r *Ring) Cap() int { return len(r.buf) }

// Broken reports whether the peer published a cursor that cannot be true. Such
// a ring has no room and no bytes any more; its socket is to be killed.
func (r *Ring) Broken() bool { return r.bad }

// Room returns how many bytes the producer may write.
func (r *Ring) Room() int {
	head := r.cur.head.Load()
	// At most what was in the ring last time: head has not gone back, nor
	// past our tail.
	if r.tail-head > r.tail-r.peerHead {
		r.bad = true
	}
	if r.bad {
		return 0
	}
	r.peerHead = head
	return r.room()
}

// room is Room as last seen.
func (r *Ring) room() int { return len(r.buf) - int(r.tail-r.peerHead) }

// Reserve returns the free space, in two pieces where it wraps.
func (r *Ring) Reserve() (first, second []byte) {
	return r.spans(r.tail, r.Room())
}

// ReserveAt returns n bytes of the free space from off bytes behind the
// producer's cursor on, in two pieces where they wrap. What is written there is
// the consumer's once Publish passes it. It panics if the room, as Room last
// returned it, is less than off+n.
func (r *Ring) ReserveAt(off, n int) (first, second []byte) {
	if off < 0 || n < 0 || off+n > r.room() {
		panic(fmt.Sprintf("stream: reserve %d at %d of %d free", n, off, r.room()))
	}
	return r.spans(r.tail+uint32(off), n)
}

// Publish makes n bytes written to the reserved space visible to the consumer.
// It panics if n exceeds the room: that is our own broken invariant. It does
// nothing to a broken ring.
func (r *Ring) Publish(n int) {
	if uint(n) > uint(r.room()) && uint(n) > uint(r.Room()) && !r.bad {
		panic(fmt.Sprintf("stream: publish %d of %d reserved", n, r.room()))
	}
	if r.bad {
		return
	}
	r.tail += uint32(n)
	r.cur.tail.Store(r.tail)
}

// Len returns how many bytes the consumer may read.
func (r *Ring) Len() int {
	tail := r.cur.tail.Load()
	// At least what was in the ring last time, at most its size.
	if n := tail - r.head; n < r.peerTail-r.head || n > uint32(len(r.buf)) {
		r.bad = true
	}
	if r.bad {
		return 0
	}
	r.peerTail = tail
	return int(tail - r.head)
}

// Peek returns the bytes in the ring, in two pieces where they wrap.
func (r *Ring) Peek() (first, second []byte) {
	return r.spans(r.head, r.Len())
}

// PeekAt returns n bytes from off bytes behind the consumer's cursor on, in two
// pieces where they wrap. It panics if the ring, as Len last returned it, holds
// less than off+n.
func (r *Ring) PeekAt(off, n int) (first, second []byte) {
	if off < 0 || n < 0 || uint(off+n) > uint(r.peerTail-r.head) {
		panic(fmt.Sprintf("stream: peek %d at %d of %d", n, off, r.peerTail-r.head))
	}
	return r.spans(r.head+uint32(off), n)
}

// Release gives n peeked bytes back to the producer. It panics if n exceeds
// what the ring holds. It does nothing to a broken ring.
func (r *Ring) Release(n int) {
	if uint(n) > uint(r.peerTail-r.head) && uint(n) > uint(r.Len()) && !r.bad {
		panic(fmt.Sprintf("stream: release %d of %d peeked", n, r.peerTail-r.head))
	}
	if r.bad {
		return
	}
	r.head += uint32(n)
	r.cur.head.Store(r.head)
}

func (r *Ring) spans(at uint32, n int) (first, second []byte) {
	if n == 0 {
		return nil, nil
	}
	i := int(at) & (len(r.buf) - 1)
	if end := i + n; end > len(r.buf) {
		return r.buf[i:], r.buf[:end-len(r.buf)]
	}
	return r.buf[i : i+n], nil
}
