// SPDX-License-Identifier: Apache-2.0

package udplink

import (
	"golang.org/x/sys/unix"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
)

const (
	// A train is at most 64 KiB; 16 of them bound the memory of a link to
	// 1 MiB.
	trainBatch  = 16
	trainBuffer = 64 << 10

	// Without UDP_GRO every message is one frame.
	frameBatch = 64
	// minFrameBuffer leaves room for peers with a larger MTU than ours, up to
	// that of an Ethernet without jumbo frames.
	minFrameBuffer = 2048

	// maxSoftErrors bounds how many pending errors one Recv clears.
	maxSoftErrors = 8
)

// receiver is the receive socket with the messages taken from it.
type receiver struct {
	fd int

	// msgs[i] writes to buffer i, names[i] and ctls[i]; set by init.
	msgs  []unix.Mmsghdr
	iovs  []unix.Iovec
	names []sockaddr
	ctls  []trainLength
	buf   []byte
	size  int // of one buffer

	// Messages [next, got) wait for the sink, the first of them from off on.
	got, next, off int
}

// buffer returns message i's buffer.
func (r *receiver) buffer(i int) []byte { return r.buf[i*r.size:][:r.size] }

// Recv gives the sink what has arrived: exactly budget frames if there are
// that many. A truncated datagram counts towards the budget though the sink
// does not see it.
func (l *Link) Recv(sink stream.Sink, budget int) int {
	r := &l.rx
	n := 0
	for n < budget {
		drained := false
		if r.next == r.got {
			if !l.fill() {
				break
			}
			drained = r.got < len(r.msgs)
		}
		for n < budget && r.next < r.got {
			n += l.deliver(sink, budget-n)
		}
		if drained {
			break
		}
	}
	return n
}

// fill takes messages from the socket, and says whether there were any.
func (l *Link) fill() bool {
	r := &l.rx
	r.rearm()
	r.next, r.off = 0, 0
	for range maxSoftErrors {
		l.stats.Count(stat.RxCalls)
		n, errno := recvmmsg(r.fd, r.msgs)
		if errno == 0 {
			r.got = n
			return n > 0
		}
		if errno == unix.EAGAIN {
			break
		}
		// Anything else is an error of an earlier send that ICMP brought
		// back; reading it cleared it.
	}
	r.got = 0
	return false
}

// deliver gives the sink up to budget frames of the next message.
func (l *Link) deliver(sink stream.Sink, budget int) int {
	r := &l.rx
	m := &r.msgs[r.next]
	if m.Hdr.Flags&unix.MSG_TRUNC != 0 {
		l.stats.Drop(stat.DropOuterTruncated)
		r.next++
		return 1
	}
	src := r.names[r.next].addr()
	train := r.buffer(r.next)[:m.Len]
	off, n := cut(sink, src, train, r.ctls[r.next].frame(m), r.off, budget)
	l.stats.Add(stat.RxFrames, uint64(n))
	l.stats.Add(stat.RxBytes, uint64(off-r.off))
	r.off = off
	if off == len(train) {
		r.next, r.off = r.next+1, 0
	}
	return n
}
