// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"syscall"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
)

var _ stream.Events = (*Set)(nil)

// Established completes a connect: who waits is answered, and the visit that
// follows takes the filler, which makes the application's end writable.
func (t *Set) Established(user uint64) {
	s := t.slab.lookup(user)
	if s == nil || s.state != stConnecting {
		return
	}
	s.state = stConnected
	t.stat.Count(stat.Connects)
	if t.wakeWaiters(s, 0) {
		s.flags |= fClaimed
	}
	s.flags |= fCanRead | fCanWrite
	t.enqueue(s)
}

// Failed ends a socket whose active open or connection failed.
func (t *Set) Failed(user uint64, err syscall.Errno) {
	s := t.slab.lookup(user)
	if s == nil {
		return
	}
	switch s.state {
	case stConnecting:
		t.stat.Count(stat.ConnectFails)
		t.connectFailed(s, err)
	case stConnected:
		t.stat.Count(stat.Resets)
		t.failed(s, err)
	case stOpen, stListening:
		t.stat.Count(stat.Resets)
		s.errno = err
		t.dropPending(s)
		t.closeEngine(s)
		t.bury(s)
	case stClosing:
		t.stat.Count(stat.Resets)
		t.closeEngine(s)
		t.bury(s)
	}
}

// Acceptable makes a listener ready.
func (t *Set) Acceptable(user uint64) {
	if user <= publicationBits {
		t.arrive(Publication(user))
		return
	}
	if s := t.slab.lookup(user); s != nil && s.state == stListening {
		s.flags |= fAccept
		t.enqueue(s)
	}
}

// Readable makes a connection or a datagram socket ready.
func (t *Set) Readable(user uint64) {
	if user <= publicationBits {
		t.arrive(Publication(user))
		return
	}
	s := t.slab.lookup(user)
	if s != nil && s.state == stDatagram {
		s.flags |= fReceive
		t.enqueue(s)
	}
	if s != nil && s.state == stConnected {
		if !s.pair.Rx.Attached() {
			s.flags |= fRxMemory
		}
		t.enqueue(s)
	}
}

// Writable makes a connection or a datagram socket ready.
func (t *Set) Writable(user uint64) {
	if user <= publicationBits {
		if p := t.find(Publication(user)); p != nil {
			t.roomOnHost(p)
		}
		return
	}
	s := t.slab.lookup(user)
	if s == nil {
		return
	}
	switch s.state {
	case stDatagram:
		s.dgram.full = false
		t.enqueue(s)
	case stConnected, stClosing:
		t.enqueue(s)
	}
}
