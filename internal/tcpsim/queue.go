// SPDX-License-Identifier: Apache-2.0

package tcpsim

import "time"

// arrival is a packet on its way.
type arrival struct {
	at     time.Duration
	seq    uint64 // arrivals at the same time keep their order
	to     int    // host
	packet []byte
}

func (a *arrival) before(b *arrival) bool {
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

// queue is a binary heap of arrivals.
type queue struct {
	a   []arrival
	seq uint64
}

// push adds an arrival.
func (q *queue) push(at time.Duration, to int, packet []byte) {
	q.seq++
	q.a = append(q.a, arrival{at, q.seq, to, packet})
	for i := len(q.a) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.a[i].before(&q.a[up]) {
			break
		}
		q.a[i], q.a[up] = q.a[up], q.a[i]
		i = up
	}
}

// next returns when the first packet arrives.
func (q *queue) next() time.Duration {
	if len(q.a) == 0 {
		return never
	}
	return q.a[0].at
}

// pop takes the first arrival.
func (q *queue) pop() arrival {
	first := q.a[0]
	last := len(q.a) - 1
	q.a[0] = q.a[last]
	q.a[last] = arrival{}
	q.a = q.a[:last]
	for i := 0; ; {
		down := 2*i + 1
		if down >= last {
			break
		}
		if down+1 < last && q.a[down+1].before(&q.a[down]) {
			down++
		}
		if !q.a[down].before(&q.a[i]) {
			break
		}
		q.a[i], q.a[down] = q.a[down], q.a[i]
		i = down
	}
	return first
}
