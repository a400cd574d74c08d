// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"syscall"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"

	"golang.org/x/sys/unix"
)

// smallSpan is what the first span of a ring must hold to be read into alone,
// which is the cheaper call.
const smallSpan = 4 << 10

// fromApp reads from the pair straight into the Tx ring, up to visitBytes, and
// reports whether more is to be read now.
func (t *Set) fromApp(s *sock) (more bool) {
	if s.has(fHold) {
		if s.has(fHup) {
			t.abort(s) // killed in connect
		}
		return false
	}
	tx := &s.pair.Tx
	moved, fresh := 0, 0 // this visit; not announced yet
	for s.has(fCanRead) {
		if moved >= visitBytes {
			more = true
			break
		}
		if s.has(fTxEnd) {
			t.afterEnd(s)
			return false
		}
		if s.skip > 0 && s.skipAt == 0 {
			t.skipFiller(s)
			continue
		}
		if !tx.Attached() {
			b := t.buffer()
			if b == nil {
				t.pause(s)
				break
			}
			tx.Attach(b)
		}
		first, second := tx.Reserve()
		if len(first) == 0 {
			if fresh == 0 {
				if s.has(fHup) && t.resets(s) {
					t.abort(s)
					return false
				}
				break // until Writable
			}
			t.of(s).TxReady(s.handle)
			fresh = 0
			continue
		}
		if s.skip > 0 && s.skipAt < len(first)+len(second) {
			first, second = first[:min(s.skipAt, len(first))], nil
		}
		n, asked, e := t.read(s.fd, first, second)
		switch {
		case e == unix.EINTR:
		case e == unix.EAGAIN:
			s.flags &^= fCanRead | fUrgent
		case e != 0: // ECONNRESET: closed with bytes it had not read
			if fresh > 0 {
				t.of(s).TxReady(s.handle)
			}
			t.abort(s)
			return false
		case n == 0:
			t.endOfApp(s)
			if s.state != stConnected {
				return false
			}
			fresh = 0
		default:
			tx.Publish(n)
			moved += n
			fresh += n
			s.tx += uint64(n)
			t.stat.Add(stat.AppTx, uint64(n))
			if s.skip > 0 {
				s.skipAt -= n
			}
			if n < asked && !s.has(fRdHup|fUrgent) {
				s.flags &^= fCanRead // what comes now is a new edge
			}
		}
	}
	if fresh > 0 {
		t.of(s).TxReady(s.handle)
	}
	if !more && tx.Attached() {
		t.giveBack(tx.Detach()) // if the engine has pulled everything
	}
	return more
}

// read reads into the first span alone where that holds enough.
func (t *Set) read(fd int32, first, second []byte) (n, asked int, e syscall.Errno) {
	if len(second) == 0 || len(first) >= smallSpan {
		n, e = recv(fd, first)
		return n, len(first), e
	}
	n, e = t.msg.recv(fd, first, second)
	return n, len(first) + len(second), e
}

// endOfApp handles the end of what the application sends: its last close, or a
// shutdown of its sending direction.
func (t *Set) endOfApp(s *sock) {
	s.flags |= fTxEnd
	s.flags &^= fCanRead
	s.pair.TxEOF.Store(true)
	t.of(s).TxReady(s.handle)
	if s.has(fHup) {
		t.lastClose(s)
		return
	}
	t.of(s).Shutdown(s.handle, stream.ShutWrite)
}

// afterEnd handles what the kernel says after the application's last byte: a
// close that follows a shutdown, in order or with bytes it had not read.
func (t *Set) afterEnd(s *sock) {
	s.flags &^= fCanRead
	if !s.has(fHup) {
		return
	}
	if _, e := recv(s.fd, t.scratch[:1]); e != 0 && e != unix.EAGAIN && e != unix.EINTR {
		t.abort(s)
		return
	}
	t.lastClose(s)
}

// skipFiller discards filler that is next in the pair.
func (t *Set) skipFiller(s *sock) {
	n, e := recv(s.fd, t.scratch[:min(s.skip, len(t.scratch))])
	switch {
	case e == unix.EINTR:
	case e == unix.EAGAIN:
		s.flags &^= fCanRead // the debt stays
	case e != 0 || n == 0:
		s.skip = 0 // the next read tells
	default:
		s.skip -= n
	}
}
