// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"netcon/bpf"
	"netcon/dataplane/stat"
)

// rawSide drives the rings of a queue as testdata/xskref.c does: nothing but
// rings, no ledger.
type rawSide struct {
	q           *queue
	work        string
	length      uint32 // of a sent frame
	next        uint64
	count       uint64
	outstanding uint32
}

func (r *rig) raw(b *testing.B, work string, size int) side {
	program := r.attach(b)
	bind := binding{ifname: r.a.dev, ifindex: r.a.index(b), shape: shapeFor(1500), frames: defaultFrames, zeroCopy: Off}
	var q *queue
	var err error
	r.a.ns.Do(b, func() { q, err = newQueue(bind, true) })
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := q.close(); err != nil {
			b.Error(err)
		}
	})
	frame, err := os.ReadFile(r.out[size])
	if err != nil {
		b.Fatal(err)
	}
	if work == "txonly" {
		for f := range uint32(defaultFrames) {
			copy(q.room(f), frame)
		}
	}
	if err := program.Register(0, q.fd); err != nil {
		b.Fatal(err)
	}
	return &rawSide{q: q, work: work, length: uint32(len(frame))}
}

func (s *rawSide) queue() *queue  { return s.q }
func (s *rawSide) frames() uint64 { return s.count }

func (s *rawSide) step() int {
	switch s.work {
	case "txonly":
		return s.txonly()
	case "l2fwd", "l2drain":
		return s.l2fwd()
	}
	return s.rxdrop()
}

func (s *rawSide) rxdrop() int {
	q := s.q
	n := min(q.rx.peek(), referenceBurst)
	if n == 0 {
		q.wakeRx()
		return 0
	}
	for q.fill.room(n) < n {
		q.wakeRx()
	}
	for i := range n {
		q.fill.set(q.rx.get(i).Addr)
	}
	q.fill.publish()
	q.rx.release(n)
	s.count += uint64(n)
	return int(n)
}

func (s *rawSide) txonly() int {
	q := s.q
	if q.tx.room(referenceBurst) >= referenceBurst {
		for range referenceBurst {
			q.tx.set(unix.XDPDesc{Addr: s.next << q.shift, Len: s.length})
			s.next = (s.next + 1) % defaultFrames
		}
	}
	s.kick()
	n := q.completion.peek()
	q.completion.release(n)
	s.count += uint64(n)
	return 0
}

func (s *rawSide) l2fwd() int {
	q := s.q
	n := min(q.rx.peek(), referenceBurst)
	if n == 0 {
		q.wakeRx()
		if s.outstanding > 0 {
			s.kick()
			s.recycle()
		}
		return 0
	}
	for q.tx.room(n) < n {
		s.kick()
		s.recycle()
	}
	for i := range n {
		d := q.rx.get(i)
		swapMACs(q.umem[d.Addr:])
		q.tx.set(d)
	}
	q.rx.release(n)
	s.outstanding += n
	s.kick()
	s.recycle()
	return int(n)
}

func (s *rawSide) kick() {
	s.q.tx.publish()
	if s.q.tx.needsWakeup() {
		s.q.kick()
	}
}

// recycle receives again into buffers that were sent.
func (s *rawSide) recycle() {
	q := s.q
	n := q.completion.peek()
	if n == 0 {
		return
	}
	for q.fill.room(n) < n {
		q.wakeRx()
	}
	for i := range n {
		q.fill.set(q.completion.get(i))
	}
	q.fill.publish()
	q.completion.release(n)
	s.count += uint64(n)
	s.outstanding -= n
}

func swapMACs(frame []byte) {
	frame = frame[:12]
	dst := [6]byte(frame)
	copy(frame, frame[6:])
	copy(frame[6:], dst[:])
}

// linkSide is a Link with what stands for a worker.
type linkSide struct {
	*Link
	work    string
	peer    netip.Addr
	payload []byte
	sink    tally
	echo    echo
}

func (r *rig) link(b *testing.B, work string, size int) side {
	l := r.a.open(b, Config{Mode: bpf.Native}).Links()[0]
	resolved(b, l, r.b.a4)
	s := &linkSide{Link: l, work: work, peer: r.b.a4, payload: benchPayload(size - headers4)}
	s.echo.l = l
	return s
}

func (s *linkSide) queue() *queue { return s.queues[0] }

func (s *linkSide) frames() uint64 {
	switch s.work {
	case "txonly":
		s.stats.Publish()
		return s.stats.Get(stat.TxFrames)
	case "l2fwd", "l2drain":
		return uint64(s.echo.count)
	}
	return uint64(s.sink.frames)
}

func (s *linkSide) step() (n int) {
	switch s.work {
	case "txonly":
		for range referenceBurst {
			put(s.Link, s.peer, 1, s.payload)
		}
	case "l2fwd", "l2drain":
		n = s.Recv(&s.echo, referenceBurst)
	default:
		n = s.Recv(&s.sink, referenceBurst)
	}
	s.Flush()
	return n
}
