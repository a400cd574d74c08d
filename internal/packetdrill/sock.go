// SPDX-License-Identifier: Apache-2.0

package packetdrill

import (
	"math/bits"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stream"
)

// file is what a descriptor names.
type file interface {
	// mask returns the poll events that are true now.
	mask(r *runner) uint32
}

type sockState uint8

const (
	sockIdle sockState = iota
	sockListening
	sockConnecting
	sockConnected
	sockDead // failed, or closed by both sides
)

// sock is a socket as Linux shows it to a program, above one socket of the
// machine. Names in brackets are fields of struct sock.
type sock struct {
	fd       int
	h        stream.Handle
	user     uint64
	state    sockState
	nonblock bool
	local    netip.AddrPort // as bound
	remote   netip.AddrPort // on the wire
	flow     *flow

	pair   stream.Pair
	sndbuf int // bytes that may wait in Tx
	rcvbuf int

	err      syscall.Errno // [sk_err] the next call reports it
	rdShut   bool          // [RCV_SHUTDOWN] by the program
	wrShut   bool          // [SEND_SHUTDOWN]
	answered bool          // connect has reported success
	tried    bool          // connect was called

	wrote, read   uint64 // bytes so far
	sndTimeo      time.Duration
	rcvTimeo      time.Duration
	rcvLowat      int
	notSentLowat  int
	cork, more    bool         // TCP_CORK; MSG_MORE held bytes back
	inq           bool         // TCP_INQ
	linger        int          // seconds, -1: off
	noSpace       bool         // [SOCK_NOSPACE] somebody waits for room
	acceptable    bool         // Accept may have something
	held          *sock        // fetched, and not accepted yet
	items         []*epollItem // that watch this socket
	closedByOwner bool
}

// The sizes of buffers that nobody set, unless tcp_wmem and tcp_rmem do.
const (
	defaultSendBuffer = 256 << 10
	defaultRecvBuffer = 64 << 10
)

// newSock makes a socket. Its number in r.socks comes back in events.
func (r *runner) newSock() *sock {
	s := &sock{fd: -1, user: uint64(len(r.socks)), sndbuf: r.sndbuf, rcvbuf: r.rcvbuf, rcvLowat: 1, linger: -1}
	s.pair.Init()
	r.socks = append(r.socks, s)
	return s
}

// attach gives a connection its rings.
func (r *runner) attach(s *sock) {
	s.pair.Tx.Attach(make([]byte, ringSize(s.sndbuf)))
	s.pair.Rx.Attach(make([]byte, ringSize(s.rcvbuf)))
	r.m.Attach(s.h, &s.pair)
}

// ringSize returns the power of two that holds n bytes.
func ringSize(n int) int {
	n = min(max(n, 2048), stream.MaxRing)
	return 1 << bits.Len(uint(n-1))
}

func (s *sock) eof() bool { return s.pair.RxEOF.Load() }

// takeError returns the pending error and clears it, as sock_error does.
func (s *sock) takeError() syscall.Errno {
	e := s.err
	s.err = 0
	return e
}

// room returns how many bytes may be written now.
func (s *sock) room() int {
	return max(0, min(s.pair.Tx.Room(), s.sndbuf-s.queued()))
}

// queued returns the bytes that were written and not acknowledged.
func (s *sock) queued() int { return s.pair.Tx.Cap() - s.pair.Tx.Room() }

// notSent returns the bytes that were written and never sent.
func (s *sock) notSent() int {
	if s.flow == nil || s.flow.sent == 0 {
		return int(s.wrote)
	}
	return int(int32(uint32(s.wrote) + 1 - s.flow.sent))
}

// writable is sk_stream_is_writeable: a third of the buffer is free, and little
// enough waits to be sent.
func (s *sock) writable() bool {
	return s.sndbuf-s.queued() >= s.queued()/2 && (s.notSentLowat <= 0 || s.notSent() < s.notSentLowat)
}

// readable is tcp_stream_is_readable.
func (s *sock) readable() bool { return s.pair.Rx.Len() >= max(1, s.rcvLowat) }

// mask is tcp_poll.
func (s *sock) mask(r *runner) (m uint32) {
	switch s.state {
	case sockListening:
		// The machine says when there is something to accept, not whether
		// there still is: fetching tells.
		if s.held == nil && s.acceptable {
			s.held, _ = r.fetch(s)
		}
		if s.held != nil {
			return unix.EPOLLIN | unix.EPOLLRDNORM
		}
		return 0
	case sockIdle:
		return unix.EPOLLOUT | unix.EPOLLWRNORM | unix.EPOLLHUP
	case sockConnecting:
		return 0
	}
	eof, wr := s.eof() || s.rdShut || s.state == sockDead, s.wrShut || s.state == sockDead
	if eof && wr {
		m |= unix.EPOLLHUP
	}
	if eof {
		m |= unix.EPOLLIN | unix.EPOLLRDNORM | unix.EPOLLRDHUP
	}
	if s.readable() {
		m |= unix.EPOLLIN | unix.EPOLLRDNORM
	}
	if wr || s.writable() {
		m |= unix.EPOLLOUT | unix.EPOLLWRNORM
	} else {
		s.noSpace = true
	}
	if s.err != 0 {
		m |= unix.EPOLLERR
	}
	return m
}

// wake says to those who watch s that the given events may have become true.
func (s *sock) wake(events uint32) {
	for _, i := range s.items {
		if i.events&(events|unix.EPOLLERR|unix.EPOLLHUP) != 0 && !i.disabled {
			i.ready = true
		}
	}
}

// events is what the machine reports to.
type events runner

func (e *events) sock(user uint64) *sock {
	if user < uint64(len(e.socks)) && !e.socks[user].closedByOwner {
		return e.socks[user]
	}
	return nil
}

// Established implements stream.Events.
func (e *events) Established(user uint64) {
	if s := e.sock(user); s != nil {
		s.state = sockConnected
		s.wake(unix.EPOLLOUT)
	}
}

// Failed implements stream.Events.
func (e *events) Failed(user uint64, err syscall.Errno) {
	s := e.sock(user)
	if s == nil {
		return
	}
	if err == syscall.ECONNRESET && s.eof() && !s.wrShut {
		err = syscall.EPIPE // tcp_reset in CLOSE-WAIT
	}
	s.state, s.err = sockDead, err
	s.wake(unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLERR | unix.EPOLLHUP)
}

// Acceptable implements stream.Events.
func (e *events) Acceptable(user uint64) {
	if s := e.sock(user); s != nil {
		s.acceptable = true
		s.wake(unix.EPOLLIN)
	}
}

// Readable implements stream.Events.
func (e *events) Readable(user uint64) {
	if s := e.sock(user); s != nil && (s.readable() || s.eof()) {
		s.wake(unix.EPOLLIN | unix.EPOLLRDHUP)
	}
}

// Writable implements stream.Events.
func (e *events) Writable(user uint64) {
	if s := e.sock(user); s != nil && s.noSpace && s.writable() {
		s.noSpace = false
		s.wake(unix.EPOLLOUT)
	}
}
