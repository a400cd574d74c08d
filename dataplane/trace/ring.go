// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A record in a ring is a header of recordHeader bytes, then the bytes of the
// frame, padded to recordAlign. It never wraps: a record that would is preceded
// by a filler up to the ring's end, of which only the first 8 bytes are
// written.
//
//	0        4       8      16          20       24     28        32
//	| length | flags | time | interface | whole  | lost |  spare  | bytes
const (
	recordHeader = 32
	recordAlign  = 16
)

// Flags of a record.
const (
	recordOut     = 1 << iota // sent, not received
	recordRebuild             // the other VTEP (16 bytes), then a UDP payload: headers are to be put before it
	recordFiller              // nothing follows up to the ring's end
)

// record is what a ring says about one frame.
type record struct {
	time  int64 // nanoseconds of the worker's clock
	iface uint32
	flags uint32
	whole uint32 // length of the frame, or the payload, before it was cut
	lost  uint32 // frames of this interface and worker dropped since the last one
}

// ring carries captured frames from one worker to the trace's reader. Cursors
// run freely; tail-head is the number of bytes in the ring.
type ring struct {
	buf []byte // len is a power of two; constant until close

	// written by the producer
	tail   uint64        // what it has written
	seen   uint64        // the last head it saw
	shared atomic.Uint64 // tail as published, with every record
	_      [64]byte

	// written by the consumer
	next uint64 // what it has read
	head atomic.Uint64
	_    [64]byte

	// set by the producer, cleared by the consumer: the ring was found more
	// than half full and the consumer was told
	crowded atomic.Bool
}

// newRing maps a ring of size bytes, a power of two.
func newRing(size int) (*ring, error) {
	buf, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("map trace ring of %d bytes: %w", size, err)
	}
	return &ring{buf: buf}, nil
}

// close unmaps the ring: neither end may touch it any more.
func (r *ring) close() {
	if r.buf != nil {
		_ = unix.Munmap(r.buf)
		r.buf = nil
	}
}

// put adds a record with the bytes of head and body, and reports whether there
// was room. Producer only.
func (r *ring) put(rec *record, head, body []byte) bool {
	n := len(head) + len(body)
	size := uint64(len(r.buf))
	need := uint64(recordHeader+n+recordAlign-1) &^ (recordAlign - 1)
	at, skip := r.tail&(size-1), uint64(0)
	if at+need > size {
		skip = size - at
	}
	if r.tail+skip+need-r.seen > size {
		r.seen = r.head.Load()
		if r.tail+skip+need-r.seen > size {
			return false
		}
	}
	if skip != 0 {
		binary.LittleEndian.PutUint32(r.buf[at:], uint32(skip))
		binary.LittleEndian.PutUint32(r.buf[at+4:], recordFiller)
		at = 0
	}
	b := r.buf[at : at+need]
	binary.LittleEndian.PutUint32(b, uint32(n))
	binary.LittleEndian.PutUint32(b[4:], rec.flags)
	binary.LittleEndian.PutUint64(b[8:], uint64(rec.time))
	binary.LittleEndian.PutUint32(b[16:], rec.iface)
	binary.LittleEndian.PutUint32(b[20:], rec.whole)
	binary.LittleEndian.PutUint32(b[24:], rec.lost)
	copy(b[recordHeader+copy(b[recordHeader:], head):], body)
	r.tail += skip + need
	r.shared.Store(r.tail)
	return true
}

// full reports, once until the consumer comes, that the ring is more than half
// full. Producer only.
func (r *ring) full() bool {
	half := uint64(len(r.buf) / 2)
	if r.tail-r.seen <= half {
		return false
	}
	if r.seen = r.head.Load(); r.tail-r.seen <= half || r.crowded.Load() {
		return false
	}
	r.crowded.Store(true)
	return true
}

// limit returns up to where peek may go just now. Consumer only.
func (r *ring) limit() uint64 { return r.shared.Load() }

// peek returns the oldest record below limit and its bytes, which stay valid
// until release. Consumer only.
func (r *ring) peek(limit uint64) (rec record, data []byte, ok bool) {
	for r.next != limit {
		b := r.buf[r.next&uint64(len(r.buf)-1):]
		n := binary.LittleEndian.Uint32(b)
		flags := binary.LittleEndian.Uint32(b[4:])
		if flags&recordFiller != 0 {
			r.next += uint64(n)
			continue
		}
		return record{
			time:  int64(binary.LittleEndian.Uint64(b[8:])),
			iface: binary.LittleEndian.Uint32(b[16:]),
			flags: flags,
			whole: binary.LittleEndian.Uint32(b[20:]),
			lost:  binary.LittleEndian.Uint32(b[24:]),
		}, b[recordHeader : recordHeader+n], true
	}
	return record{}, nil, false
}

// release gives the record of the last peek back; n is the length of its bytes.
// Consumer only.
func (r *ring) release(n int) {
	r.next += uint64(recordHeader+n+recordAlign-1) &^ (recordAlign - 1)
	r.head.Store(r.next)
}
