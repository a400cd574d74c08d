// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	// maxKicks bounds the system calls of one send.
	maxKicks = 16
	// maxFruitless is how many sends in a row may get nowhere before the
	// queue is left alone until somebody rings.
	maxFruitless = 10000
)

// trouble says why a queue does not send.
type trouble uint32

const (
	untroubled trouble = iota
	stuck              // the device takes nothing, and says to try again
	down               // the device is down
	failed             // the device was removed, or is being set up anew
)

// drive is how the kernel is driven to send, and what came of it. The worker
// writes; trouble and errno are read by anyone.
type drive struct {
	kicks     uint64 // system calls to send
	again     uint64 // of them, those after which something was left
	wakeups   uint64 // system calls to receive
	lost      uint64 // packets that the device dropped, its carrier being lost
	strange   uint64 // entries of the kernel's that made no sense
	fruitless int    // sends in a row that got nowhere
	seen      uint32 // the kernel's cursor in the transmit ring after the last send

	trouble atomic.Uint32
	errno   atomic.Uint32 // with failed
}

// send shows the kernel what was queued, has it send as much as it takes, and
// takes back what it is done with. It reports whether something is left that
// wants another call soon. A queue in trouble is left alone: what lies in its
// ring waits there.
func (q *queue) send() (more bool) {
	q.tx.publish()
	if q.drive.trouble.Load() == uint32(untroubled) && q.tx.pending() > 0 {
		if q.tx.needsWakeup() {
			more = q.kick()
		} else {
			more = q.left() // the driver is at it
		}
	}
	q.reap()
	return more
}

// kick calls the kernel until it has taken what lies in the transmit ring. In
// copy mode the packets are on their way when it returns; with zero copy the
// driver is told to look.
func (q *queue) kick() (more bool) {
	d := &q.drive
	for range maxKicks {
		d.kicks++
		switch errno := kick(q.fd); errno {
		case 0:
			return q.left()
		case unix.EINTR:
		case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM:
			// More than the budget of one call, or no room: in the
			// completion ring, in the send buffer, in the device.
			d.again++
			q.reap()
			if !q.progress() {
				return q.fruitless()
			}
		case unix.EBUSY:
			// One packet was taken and dropped: no carrier.
			d.lost++
			d.fruitless = 0
		case unix.ENETDOWN:
			d.trouble.Store(uint32(down))
			return false
		default:
			d.errno.Store(uint32(errno))
			d.trouble.Store(uint32(failed))
			return false
		}
	}
	return q.tx.pending() > 0
}

// left reports whether the kernel has left something in the transmit ring that
// is worth another call soon.
func (q *queue) left() bool {
	if q.progress() || q.tx.pending() == 0 {
		return q.tx.pending() > 0
	}
	return q.fruitless()
}

// progress reports whether the kernel has taken anything since the last time.
func (q *queue) progress() bool {
	d := &q.drive
	at := q.tx.consumer.Load()
	if at == d.seen {
		return false
	}
	d.seen, d.fruitless = at, 0
	return true
}

// fruitless notes that the kernel took nothing, and reports whether it is worth
// another call soon.
func (q *queue) fruitless() bool {
	d := &q.drive
	if d.fruitless++; d.fruitless < maxFruitless {
		return true
	}
	d.fruitless = 0
	d.trouble.Store(uint32(stuck))
	return false
}

// retry lets a queue in trouble try again.
func (q *queue) retry() {
	if q.drive.trouble.Load() != uint32(untroubled) {
		q.drive.trouble.Store(uint32(untroubled))
	}
}
