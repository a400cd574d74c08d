// SPDX-License-Identifier: Apache-2.0

package tcp

// fifo is a queue of indices. It grows and never shrinks; its capacity is a
// power of two. That an index lies in it once at most is its user's business:
// a bit in the record says so.
type fifo struct {
	ring       []uint32
	head, tail uint32 // free-running
}

func (q *fifo) len() int { return int(q.tail - q.head) }

func (q *fifo) push(i uint32) {
	if int(q.tail-q.head) == len(q.ring) {
		q.grow()
	}
	q.ring[q.tail&uint32(len(q.ring)-1)] = i
	q.tail++
}

// pop takes the oldest index. The queue must not be empty.
func (q *fifo) pop() uint32 {
	i := q.ring[q.head&uint32(len(q.ring)-1)]
	q.head++
	return i
}

func (q *fifo) grow() {
	ring := make([]uint32, max(64, 2*len(q.ring)))
	n := 0
	for q.head != q.tail {
		ring[n] = q.pop()
		n++
	}
	q.ring, q.head, q.tail = ring, 0, uint32(n)
}
