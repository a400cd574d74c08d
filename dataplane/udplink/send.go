// SPDX-License-Identifier: Apache-2.0

package udplink

import (
	"golang.org/x/sys/unix"

	"netcon/dataplane/stat"
)

// flush sends what s has queued. Every frame counts as sent or as one drop.
func (l *Link) flush(s *sendSocket) {
	for i := range s.n {
		t := &s.trains[i]
		size := t.size
		if t.count == 1 {
			size = 0
		}
		s.set(i, t.off, t.bytes, size)
	}
	retried := false
	for next := 0; next < s.n; {
		l.stats.Count(stat.TxCalls)
		n, errno := sendmmsg(s.fd, s.msgs[next:s.n])
		if errno == 0 && n > 0 {
			for _, t := range s.trains[next : next+n] {
				l.sent(t.count, t.bytes)
			}
			next += n
			retried = false
			continue
		}
		if errno == unix.ECONNREFUSED && !retried {
			// Not about this message: an ICMP error of an earlier one was
			// pending, and reading it cleared it.
			retried = true
			continue
		}
		switch t := &s.trains[next]; {
		case reason(errno) == stat.DropUnderlayFull:
			// The others would meet the same full buffer.
			for _, t := range s.trains[next:s.n] {
				l.stats.DropN(stat.DropUnderlayFull, uint64(t.count))
			}
			next = s.n
		case t.count > 1 && (errno == unix.EMSGSIZE || errno == unix.EINVAL || errno == unix.EIO):
			l.unbundle(s, next, errno)
			next++
		default:
			l.stats.DropN(reason(errno), uint64(t.count))
			next++
		}
		retried = false
	}
	s.n, s.used = 0, 0
}

// unbundle sends the frames of train i one by one, after the kernel refused the
// whole with cause. EMSGSIZE says that full-length frames exceed the path MTU.
// EINVAL may say that too (kernels before 6.14), or like EIO that segmentation
// is impossible: that is so if a full-length frame passes alone.
func (l *Link) unbundle(s *sendSocket, i int, cause unix.Errno) {
	t := &s.trains[i]
	tooBig := cause == unix.EMSGSIZE
	for off, end := t.off, t.off+t.bytes; off < end; {
		n := min(t.size, end-off)
		full := n == t.size
		if full && tooBig {
			l.stats.Drop(stat.DropUnderlayMTU)
			off += n
			continue
		}
		s.set(i, off, n, 0)
		l.stats.Count(stat.TxCalls)
		_, errno := sendmmsg(s.fd, s.msgs[i:i+1])
		switch {
		case errno == 0:
			l.sent(1, n)
			if full && l.gso {
				l.gso = false
				l.refused.Store(uint32(cause))
			}
		default:
			tooBig = tooBig || full && errno == unix.EMSGSIZE
			l.stats.Drop(reason(errno))
		}
		off += n
	}
}

// sent counts frames that the kernel took.
func (l *Link) sent(frames, bytes int) {
	l.stats.Add(stat.TxFrames, uint64(frames))
	l.stats.Add(stat.TxBytes, uint64(bytes))
}

// reason says what a send error means for the frame.
func reason(errno unix.Errno) stat.Reason {
	switch errno {
	case unix.EMSGSIZE:
		return stat.DropUnderlayMTU
	case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM:
		return stat.DropUnderlayFull
	}
	return stat.DropUnderlayError
}
