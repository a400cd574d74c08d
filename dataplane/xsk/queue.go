// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"fmt"
	"math/bits"

	"golang.org/x/sys/unix"

	"netcon/dataplane/frame"
)

// newLedger makes the ledger of a queue; tests put a checked one here.
var newLedger = frame.New

// queue is a receive queue of the device, and the transmit queue of the same
// number, as the worker that owns it sees them. Half of the frames circulate
// through the fill and receive rings, the other half through the transmit and
// completion rings: each ring has room for all of its half, so none is ever
// full.
type queue struct {
	number int
	sends  bool // the device has a transmit queue of that number
	sock   *socket
	fd     int
	umem   []byte
	shift  int // log2 of the frame size
	frames *frame.Ledger

	fill       producer[uint64]
	rx         consumer[unix.XDPDesc]
	tx         producer[unix.XDPDesc]
	completion consumer[uint64]

	gather gather
	drive  drive
	board  board
}

// newQueue opens the socket of a queue and gives the kernel the frames to
// receive into.
func newQueue(b binding, sends bool) (*queue, error) {
	s, err := openSocket(b)
	if err != nil {
		return nil, err
	}
	q := &queue{
		number: b.queue, sends: sends, sock: s, fd: s.fd, umem: s.umem,
		shift: bits.TrailingZeros(uint(b.shape.frameSize)), frames: newLedger(b.frames),
	}
	q.fill = producer[uint64]{words: wordsOf(s.maps[fillRing], &s.layout[fillRing]), entries: entriesOf[uint64](s.maps[fillRing], &s.layout[fillRing], s.entries[fillRing])}
	q.completion = consumer[uint64]{words: wordsOf(s.maps[completionRing], &s.layout[completionRing]), entries: entriesOf[uint64](s.maps[completionRing], &s.layout[completionRing], s.entries[completionRing])}
	q.rx = consumer[unix.XDPDesc]{words: wordsOf(s.maps[rxRing], &s.layout[rxRing]), entries: entriesOf[unix.XDPDesc](s.maps[rxRing], &s.layout[rxRing], s.entries[rxRing])}
	q.tx = producer[unix.XDPDesc]{words: wordsOf(s.maps[txRing], &s.layout[txRing]), entries: entriesOf[unix.XDPDesc](s.maps[txRing], &s.layout[txRing], s.entries[txRing])}
	for range q.fill.room(uint32(b.frames)) {
		if f, ok := q.frames.Get(frame.Fill); ok {
			q.fill.set(q.addr(f))
		}
	}
	q.fill.publish()
	q.publish()
	return q, nil
}

// addr returns where frame f starts in the UMEM.
func (q *queue) addr(f uint32) uint64 { return uint64(f) << q.shift }

// frameAt returns the frame that an address lies in, and whether there is one.
func (q *queue) frameAt(addr uint64) (uint32, bool) {
	return uint32(addr >> q.shift), addr < uint64(len(q.umem))
}

// room returns frame f's memory.
func (q *queue) room(f uint32) []byte {
	a := q.addr(f)
	return q.umem[a : a+1<<q.shift]
}

// reserve takes a frame to send, if need be one that the kernel is done with
// just now.
func (q *queue) reserve() (uint32, bool) {
	if f, ok := q.frames.Get(frame.Reserved); ok {
		return f, true
	}
	q.reap()
	if f, ok := q.frames.Get(frame.Reserved); ok {
		return f, true
	}
	// Not yet shown to the kernel, perhaps.
	q.send()
	return q.frames.Get(frame.Reserved)
}

// reap takes back the frames that the kernel has sent.
func (q *queue) reap() {
	n := q.completion.peek()
	for i := range n {
		if f, ok := q.frameAt(q.completion.get(i)); ok {
			q.frames.Put(f, frame.Tx)
		} else {
			q.drive.strange++
		}
	}
	q.completion.release(n)
}

// wakeRx asks the driver to go on receiving if it waits for frames.
func (q *queue) wakeRx() bool {
	if !q.fill.needsWakeup() {
		return false
	}
	q.drive.wakeups++
	_ = wake(q.fd) // the next one tries again; ENETDOWN is seen when sending
	return true
}

// close closes the socket. The frames are gone with the UMEM.
func (q *queue) close() error {
	q.fd = -1
	if err := q.sock.close(); err != nil {
		return fmt.Errorf("close xsk of queue %d: %w", q.number, err)
	}
	return nil
}
