// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"encoding/binary"
	"sync/atomic"
)

// handoverSize is the size of a hand-over ring in bytes, a power of two. The
// largest record, a 64 KiB packet, fits 63 times.
const handoverSize = 4 << 20

// A record is a header of recordHeader bytes, then an inner Ethernet frame,
// padded to recordAlign. It never wraps: a record that would is preceded by a
// filler up to the ring's end.
//
//	0        4       8       16
//	| length | shard | flags | frame
const (
	recordHeader = 16
	recordAlign  = 16

	recordVerified = 1 // transport checksums need no verification
	recordFiller   = 2 // nothing follows up to the ring's end
)

// handover is the ring through which one worker gives inner frames to another.
// Cursors run freely; tail-head is the number of bytes in the ring.
type handover struct {
	buf []byte // len is handoverSize

	// written by the producer
	tail   uint64        // what it has written
	seen   uint64        // the last head it saw
	shared atomic.Uint64 // tail as published, once per turn
	_      [64]byte

	// written by the consumer
	head atomic.Uint64
	_    [64]byte
}

func newHandover() *handover { return &handover{buf: make([]byte, handoverSize)} }

// reserve returns room for a frame of n bytes, or nil if the ring is full.
// Nothing is kept until commit.
func (h *handover) reserve(n int) []byte {
	need := uint64(recordHeader+n+recordAlign-1) &^ (recordAlign - 1)
	at := h.tail & (handoverSize - 1)
	skip := uint64(0)
	if at+need > handoverSize {
		skip = handoverSize - at
	}
	if h.tail+skip+need-h.seen > handoverSize {
		h.seen = h.head.Load()
		if h.tail+skip+need-h.seen > handoverSize {
			return nil
		}
	}
	if skip != 0 {
		putRecord(h.buf[at:], int(skip)-recordHeader, 0, recordFiller)
		h.tail += skip
		at = 0
	}
	return h.buf[at+recordHeader : at+recordHeader+uint64(n)]
}

// commit keeps the frame of n bytes written into the last reserve.
func (h *handover) commit(n int, shard int32, flags uint32) {
	at := h.tail & (handoverSize - 1)
	putRecord(h.buf[at:], n, shard, flags)
	h.tail += uint64(recordHeader+n+recordAlign-1) &^ (recordAlign - 1)
}

// publish makes committed frames visible and reports whether there were any.
func (h *handover) publish() bool {
	if h.shared.Load() == h.tail {
		return false
	}
	h.shared.Store(h.tail)
	return true
}

// empty reports whether the consumer has nothing to take.
func (h *handover) empty() bool { return h.shared.Load() == h.head.Load() }

// take returns the oldest frame, or nil if there is none. It stays valid until
// release, which must follow.
func (h *handover) take() (frame []byte, shard int32, flags uint32) {
	head, tail := h.head.Load(), h.shared.Load()
	for head != tail {
		at := head & (handoverSize - 1)
		r := h.buf[at:]
		n := uint64(binary.LittleEndian.Uint32(r))
		flags = binary.LittleEndian.Uint32(r[8:])
		if flags&recordFiller == 0 {
			return r[recordHeader : recordHeader+n], int32(binary.LittleEndian.Uint32(r[4:])), flags
		}
		head += recordHeader + n
		h.head.Store(head)
	}
	return nil, 0, 0
}

// release gives the frame of the last take back.
func (h *handover) release(frame []byte) {
	n := uint64(recordHeader+len(frame)+recordAlign-1) &^ (recordAlign - 1)
	h.head.Store(h.head.Load() + n)
}

func putRecord(b []byte, n int, shard int32, flags uint32) {
	binary.LittleEndian.PutUint32(b, uint32(n))
	binary.LittleEndian.PutUint32(b[4:], uint32(shard))
	binary.LittleEndian.PutUint32(b[8:], flags)
}
