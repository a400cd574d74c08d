// SPDX-License-Identifier: Apache-2.0

package faults

// queue is a first-in, first-out queue of entries in a growing ring.
type queue struct {
	ring     []entry // len is a power of two, or 0
	first, n int
}

func (q *queue) len() int { return q.n }

// head returns the oldest entry, or nil. It is valid until the next push or
// pop.
func (q *queue) head() *entry {
	if q.n == 0 {
		return nil
	}
	return &q.ring[q.first]
}

// push appends e and returns where it lies until the next push or pop.
func (q *queue) push(e entry) *entry {
	if q.n == len(q.ring) {
		grown := make([]entry, max(64, 2*len(q.ring)))
		k := copy(grown, q.ring[q.first:])
		copy(grown[k:], q.ring[:q.first])
		q.ring, q.first = grown, 0
	}
	slot := &q.ring[(q.first+q.n)&(len(q.ring)-1)]
	*slot = e
	q.n++
	return slot
}

// pop removes the oldest entry of a queue that is not empty.
func (q *queue) pop() entry {
	e := q.ring[q.first]
	q.ring[q.first] = entry{}
	q.first = (q.first + 1) & (len(q.ring) - 1)
	q.n--
	return e
}

// pool keeps frame buffers for reuse, by two sizes: a wire frame's and a
// super-frame's.
type pool struct{ small, large [][]byte }

const (
	smallFrame = 2 << 10
	largeFrame = 80 << 10

	maxSmall = 8192 // 16 MiB
	maxLarge = 256  // 20 MiB
)

// get returns a buffer of n bytes with undefined content.
func (p *pool) get(n int) []byte {
	switch {
	case n <= smallFrame:
		return take(&p.small, smallFrame)[:n]
	case n <= largeFrame:
		return take(&p.large, largeFrame)[:n]
	}
	return make([]byte, n)
}

func take(list *[][]byte, size int) []byte {
	l := *list
	if len(l) == 0 {
		return make([]byte, size)
	}
	b := l[len(l)-1]
	*list = l[:len(l)-1]
	return b
}

func (p *pool) put(b []byte) {
	switch cap(b) {
	case smallFrame:
		if len(p.small) < maxSmall {
			p.small = append(p.small, b)
		}
	case largeFrame:
		if len(p.large) < maxLarge {
			p.large = append(p.large, b)
		}
	}
}
