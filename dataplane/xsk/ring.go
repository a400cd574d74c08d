// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// words are the cursors of a ring in memory shared with the kernel. They run
// freely modulo 2^32.
type words struct {
	producer *atomic.Uint32 // written by who fills the ring
	consumer *atomic.Uint32 // written by who empties it
	flags    *atomic.Uint32 // written by the kernel
}

// level returns how many entries lie in the ring, from any goroutine. A nonsense
// distance counts as full.
func (w *words) level(size int) int {
	return min(int(w.producer.Load()-w.consumer.Load()), size)
}

// needsWakeup says whether the kernel wants a system call to go on with this
// ring.
func (w *words) needsWakeup() bool { return w.flags.Load()&unix.XDP_RING_NEED_WAKEUP != 0 }

// producer is our end of a ring that the kernel empties: fill and transmit.
// Entries become visible to the kernel with publish, once per burst.
type producer[T any] struct {
	words
	entries []T    // a power of two of them, shared with the kernel
	next    uint32 // where the next entry goes
	shown   uint32 // what the kernel was shown
	peer    uint32 // the kernel's cursor as it was last seen
	broken  bool   // the kernel's cursor made no sense
}

// room returns how many entries can be set. It looks at the kernel's cursor
// only if it knows of fewer than n.
func (r *producer[T]) room(n uint32) uint32 {
	size := uint32(len(r.entries))
	if size-(r.next-r.peer) < n {
		// Pairs with the kernel's release: it has read the entries that are
		// going to be overwritten.
		peer := r.consumer.Load()
		if r.next-peer > size {
			r.broken = true
			return 0
		}
		r.peer = peer
	}
	return size - (r.next - r.peer)
}

// set writes the next entry. The caller has seen that there is room.
func (r *producer[T]) set(v T) {
	r.entries[r.next&uint32(len(r.entries)-1)] = v
	r.next++
}

// publish shows the kernel all entries that were set, and says whether there
// were any.
func (r *producer[T]) publish() bool {
	if r.shown == r.next {
		return false
	}
	r.shown = r.next
	r.words.producer.Store(r.next) // release: after the entries
	return true
}

// pending returns how many published entries the kernel has not taken yet, as
// far as it says.
func (r *producer[T]) pending() int {
	return min(int(r.shown-r.words.consumer.Load()), len(r.entries))
}

// consumer is our end of a ring that the kernel fills: receive and completion.
// Entries go back to the kernel with release, once per burst.
type consumer[T any] struct {
	words
	entries []T    // a power of two of them, shared with the kernel
	next    uint32 // the first entry that was not released
	peer    uint32 // the kernel's cursor as it was last seen
	broken  bool   // the kernel's cursor made no sense
}

// peek returns how many entries there are to get.
func (r *consumer[T]) peek() uint32 {
	// Acquire: pairs with the kernel's release of the entries before it.
	peer := r.words.producer.Load()
	if peer-r.next > uint32(len(r.entries)) {
		r.broken = true
		return 0
	}
	r.peer = peer
	return peer - r.next
}

// get returns the i-th entry; i is less than what peek returned.
func (r *consumer[T]) get(i uint32) T {
	return r.entries[(r.next+i)&uint32(len(r.entries)-1)]
}

// release gives the first n entries back to the kernel.
func (r *consumer[T]) release(n uint32) {
	if n > 0 {
		r.next += n
		r.words.consumer.Store(r.next) // release: the entries were read
	}
}
