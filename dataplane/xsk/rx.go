// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"golang.org/x/sys/unix"

	"netcon/dataplane/frame"
	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
)

// Recv gives the sink what has arrived on the link's queues. A frame that is
// dropped counts towards the budget though the sink does not see it.
func (l *Link) Recv(sink stream.Sink, budget int) int {
	n := 0
	for range l.queues {
		// The next Recv starts with another queue: none is starved.
		q := l.queues[l.first]
		if l.first++; l.first == len(l.queues) {
			l.first = 0
		}
		n += l.receive(q, sink, budget-n)
		if n >= budget {
			break
		}
	}
	l.alert.received += n
	return n
}

// receive gives the sink up to budget frames of a queue. Each buffer goes back
// to the kernel as soon as the sink has seen it; both rings are published once.
func (l *Link) receive(q *queue, sink stream.Sink, budget int) int {
	there := q.rx.peek()
	if there == 0 && q.sock.busyPoll && !l.closed {
		l.poll(q)
		there = q.rx.peek()
	}
	if there == 0 || budget <= 0 {
		return 0
	}
	var taken uint32
	var frames, bytes uint64
	n := 0
	for ; taken < there && n < budget; taken++ {
		d := q.rx.get(taken)
		f, ok := q.frameAt(d.Addr)
		if !ok || uint64(d.Len) > uint64(len(q.umem))-d.Addr {
			q.drive.strange++ // the kernel does not do that
			continue
		}
		q.frames.Move(f, frame.Fill, frame.Rx)
		b, whole := q.umem[d.Addr:][:d.Len:d.Len], true
		if more := d.Options&unix.XDP_PKT_CONTD != 0; more || q.gather.open {
			b, whole = q.gather.add(b, more)
		}
		if whole {
			n++
			if size, ok := l.input(sink, b); ok {
				frames++
				bytes += uint64(size)
			}
		}
		q.frames.Move(f, frame.Rx, frame.Fill)
		if q.fill.room(1) > 0 {
			q.fill.set(q.addr(f))
		}
	}
	q.rx.release(taken)
	q.fill.publish()
	if q.wakeRx() {
		l.stats.Count(stat.RxCalls)
	}
	l.stats.Add(stat.RxFrames, frames)
	l.stats.Add(stat.RxBytes, bytes)
	return n
}

// input gives the sink one frame, and returns how long its payload was.
func (l *Link) input(sink stream.Sink, b []byte) (int, bool) {
	if l.tap != nil {
		l.tap.Outer(false, b)
	}
	src, payload, r := l.outer.parse(b, l.rxMTU)
	if r != stat.Accepted {
		l.stats.Drop(r)
		if r == stat.DropOuterTooBig {
			l.dev.tooBig.Store(true)
		}
		return 0, false
	}
	sink.Frame(src, payload[:len(payload):len(payload)])
	return len(payload), true
}

// poll has the kernel poll the driver (SO_BUSY_POLL).
func (l *Link) poll(q *queue) {
	l.stats.Count(stat.RxCalls)
	q.drive.wakeups++
	_ = wake(q.fd)
}
