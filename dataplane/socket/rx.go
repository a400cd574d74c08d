// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"syscall"

	"netcon/dataplane/stat"

	"golang.org/x/sys/unix"
)

// toApp writes the Rx ring to the pair, up to visitBytes, and reports whether
// more is to be written now.
func (t *Set) toApp(s *sock) (more bool) {
	rx := &s.pair.Rx
	moved, owed := 0, 0 // this visit; room the engine was not told of
	for {
		if rx.Len() == 0 {
			if !t.refill(s, owed) {
				break
			}
			owed = 0
			if rx.Len() == 0 {
				break
			}
		}
		if moved >= visitBytes {
			more = true
			break
		}
		n, ok := t.writeRx(s)
		if n == 0 && !ok {
			break
		}
		moved += n
		owed += n
	}
	if owed > 0 {
		t.of(s).RxRoom(s.handle)
	}
	if rx.Len() > 0 {
		return more
	}
	eof := s.pair.RxEOF.Load()
	if eof && !s.has(fRxEnd) {
		s.flags |= fRxEnd
		shutdown(s.fd, unix.SHUT_WR)
	}
	if rx.Attached() {
		if moved >= keepMemory && !eof {
			return true // one more visit, to see whether more comes
		}
		t.giveBack(rx.Detach())
	}
	return more
}

// refill gives an empty Rx ring a chance to be filled: memory when the engine
// waits for it, and word of the room that was made. It reports whether the
// engine was called.
func (t *Set) refill(s *sock, owed int) bool {
	if !s.pair.Rx.Attached() {
		if !s.has(fRxMemory) || s.pair.RxEOF.Load() {
			return false
		}
		b := t.buffer()
		if b == nil {
			t.pause(s)
			return false
		}
		s.flags &^= fRxMemory
		s.pair.Rx.Attach(b)
	} else if owed == 0 {
		return false
	}
	t.of(s).RxRoom(s.handle)
	return true
}

// writeRx writes what is in the Rx ring, once, and returns how much went; ok
// false: nothing goes now.
func (t *Set) writeRx(s *sock) (n int, ok bool) {
	rx := &s.pair.Rx
	if s.has(fRxDrop) {
		n = rx.Len()
		rx.Release(n)
		return n, true
	}
	if !s.has(fCanWrite) {
		return 0, false
	}
	first, second := rx.Peek()
	var e syscall.Errno
	if len(second) == 0 {
		n, e = send(s.fd, first)
	} else {
		n, e = t.msg.send(s.fd, first, second)
	}
	switch e {
	case 0:
		rx.Release(n)
		s.rx += uint64(n)
		t.stat.Add(stat.AppRx, uint64(n))
		if n < len(first)+len(second) {
			s.flags &^= fCanWrite
		}
		return n, true
	case unix.EINTR:
		return 0, true
	case unix.EAGAIN:
		s.flags &^= fCanWrite
	case unix.ENOBUFS, unix.ENOMEM:
		t.pause(s)
	default: // EPIPE
		t.notReading(s)
	}
	return 0, false
}

// notReading handles an application's end that takes no more bytes: it was
// closed, or shut for reading.
func (t *Set) notReading(s *sock) {
	if hungUp(s.fd) {
		s.flags = s.flags&^fCanWrite | fHup | fRdHup | fCanRead
	} else {
		s.flags |= fRxDrop
	}
	t.enqueue(s)
}
