// SPDX-License-Identifier: Apache-2.0

package udplink

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stat"
)

const (
	// maxTrain is the most frames of a train: UDP_MAX_SEGMENTS of kernels
	// before 6.9.
	maxTrain = 64
	// sendBatch is how many trains of a socket leave with one system call.
	sendBatch = 64
	// sendBuffer bounds what a socket queues between two Flush.
	sendBuffer = 256 << 10
)

// train is frames to one VTEP, back to back in the socket's buffer.
type train struct {
	dst   netip.Addr
	off   int // of the first byte
	bytes int
	size  int // of every frame but the last
	count int
	// closed says that the last frame is shorter than size.
	closed bool
}

// sendSocket is one outer source port and what is queued for it.
type sendSocket struct {
	fd   int
	buf  []byte
	used int // bytes of buf that hold committed frames

	// The first n are in use; message i describes train i. names[i] encodes
	// trains[i].dst even while i is not in use.
	n      int
	trains []train
	msgs   []unix.Mmsghdr
	iovs   []unix.Iovec
	names  []sockaddr
	ctls   []segmentSize
}

// pending is the frame between Reserve and Commit.
type pending struct {
	s      *sendSocket // nil if the frame is refused
	dst    netip.Addr
	n      int
	join   bool        // the last train of s takes it
	reason stat.Reason // why it is refused
	open   bool
}

// Reserve returns room for one frame of n bytes to dst. A frame that is empty,
// longer than Config.MTU or to an address of the other family is refused by
// Commit.
func (l *Link) Reserve(dst netip.Addr, flow uint32, n int) []byte {
	if dst.Is4In6() {
		dst = dst.Unmap()
	}
	if n > l.mtu {
		return l.refuse(n, stat.DropUnderlayMTU)
	}
	if n <= 0 || !dst.IsValid() || dst.Is4() != l.local.Addr().Is4() {
		return l.refuse(max(n, 0), stat.DropUnderlayError)
	}
	s := l.socket(flow)
	join := l.gso && s.joins(dst, n)
	if s.used+n > len(s.buf) || !join && s.n == len(s.trains) {
		l.flush(s)
		join = false
	}
	l.pend = pending{s: s, dst: dst, n: n, join: join, open: true}
	return s.buf[s.used:][:n:n]
}

// refuse returns room for a frame that Commit drops for reason. Asking for more
// than any datagram holds is the caller's mistake and costs an allocation.
func (l *Link) refuse(n int, reason stat.Reason) []byte {
	if n > len(l.scratch) {
		l.scratch = make([]byte, n)
	}
	l.pend = pending{reason: reason, open: true}
	return l.scratch[:n:n]
}

// socket picks the send socket of a flow. The multiplication makes hashes
// usable that differ in few bits only.
func (l *Link) socket(flow uint32) *sendSocket {
	return &l.send[uint64(flow*0x9e3779b1)*uint64(len(l.send))>>32]
}

// joins says whether the last train takes a frame of n bytes to dst.
func (s *sendSocket) joins(dst netip.Addr, n int) bool {
	if s.n == 0 {
		return false
	}
	t := &s.trains[s.n-1]
	return !t.closed && n <= t.size && t.count < maxTrain && t.bytes+n <= maxPayload && t.dst == dst
}

// Commit queues the frame of the last Reserve, or counts why it cannot.
func (l *Link) Commit() {
	p := &l.pend
	if !p.open {
		panic("udplink: commit without reserve")
	}
	p.open = false
	s := p.s
	if s == nil {
		l.stats.Drop(p.reason)
		return
	}
	if p.join {
		t := &s.trains[s.n-1]
		t.count++
		t.bytes += p.n
		t.closed = p.n < t.size
	} else {
		t := &s.trains[s.n]
		if t.dst != p.dst {
			s.msgs[s.n].Hdr.Namelen = s.names[s.n].put(p.dst, l.local.Port(), l.scope)
		}
		*t = train{dst: p.dst, off: s.used, bytes: p.n, size: p.n, count: 1}
		s.n++
	}
	s.used += p.n
}

// Flush hands what was queued to the kernel, and drops what the kernel does not
// take: nothing is left for later. It may not come between a Reserve and its
// Commit.
func (l *Link) Flush() (more bool) {
	for i := range l.send {
		if l.send[i].n > 0 {
			l.flush(&l.send[i])
		}
	}
	l.pend.open = false
	return false
}
