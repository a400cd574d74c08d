// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"net/netip"
	"syscall"
	"time"

	"netcon/dataplane/stream"
)

// state is where a virtual socket is in its life.
type state uint8

const (
	stFree       state = iota
	stOpen             // neither listening nor connected; may be bound
	stListening        // the engine listens
	stConnecting       // SYN sent
	stConnected        // established, in any state up to the last close
	stFailed           // the engine reported its death; bytes in Rx are still owed
	stClosing          // the application let go; bytes in Tx are still owed
	stDatagram         // a datagram socket, all its life (datagram.go)
)

// flag is what is known of a socket between two visits.
type flag uint32

const (
	fQueued     flag = 1 << iota // in the ready queue
	fCanRead                     // the pair may have bytes for us
	fCanWrite                    // the pair may take bytes
	fRdHup                       // EPOLLRDHUP, EPOLLHUP or EPOLLERR: read on until 0 or an error
	fHup                         // EPOLLHUP: the application's end is gone
	fClaimed                     // a connect call has reported success
	fBound                       // bound by a request
	fTxEnd                       // read gave 0: nothing follows from the application
	fRxEnd                       // the peer's FIN was passed on
	fRxDrop                      // the application reads no more: drop what is received
	fRxMemory                    // the engine waits for Rx memory
	fAccept                      // the listener may have something
	fPaused                      // in the paused list
	fWatched                     // the poller knows it
	fShut                        // NC_SHUTDOWN closed both directions
	fListened                    // was a listener until it was shut down
	fRebind                      // the handle is not bound to asked yet
	fDeferred                    // accepted, not to be handed over yet (deferral.go)
	fHold                        // filler is being written: read nothing (NC_F_HOLD)
	fSupervised                  // made by a supervisor (NC_F_SUPERVISED)
	fForked                      // of a pair that the application made: its children may hold our end
	fReceive                     // the engine may have a datagram
	fUrgent                      // EPOLLPRI: a read ends before and after urgent data, read on until EAGAIN
	fHost                        // the handle is Config.Host's: it goes by the host's stack
	fResolver                    // and with fHost: not by the stack, to Config.Resolver
)

// sock is one virtual socket. The engine holds pointers into pair: a sock never
// moves.
type sock struct {
	set   *Set
	index uint32
	gen   uint32 // survives reuse; part of the engine's user value
	next  *sock  // ready queue

	fd     int32 // our end of the pair, -1: closed already
	state  state
	family stream.Family
	flags  flag
	handle stream.Handle
	cookie uint64
	errno  syscall.Errno // SO_ERROR

	// A run of filler in the pair: skip bytes to discard behind skipAt
	// bytes of payload.
	skip, skipAt int

	pair  stream.Pair
	dgram *datagram // of datagram sockets

	waiters []int32        // reply sockets of connects that wait
	opts    []setting      // what was set; shared with accepted sockets, copied on write
	pending []undelivered  // listener: accepted, not yet on the pair
	local   netip.AddrPort // local address while there is no handle
	asked   netip.AddrPort // address of a bind request
	remote  netip.AddrPort // destination of the last connect

	pid     int32
	uid     uint32
	backlog int32
	born    time.Time
	refused []string
	rx, tx  uint64 // bytes towards and from the application
}

func (s *sock) has(f flag) bool { return s.flags&f != 0 }

// user is the value under which the engine knows the socket.
func (s *sock) user() uint64 { return uint64(s.gen)<<32 | uint64(s.index) }

const socksPerChunk = 64

// slab holds the socks of a Set. Chunks are never given back.
type slab struct {
	chunks []*[socksPerChunk]sock
	free   []uint32
	live   int
	max    int
}

// full reports whether alloc would return nil.
func (l *slab) full() bool { return l.live >= l.max }

// alloc returns a zeroed sock, nil when max of them are live.
func (l *slab) alloc() *sock {
	if l.full() {
		return nil
	}
	if len(l.free) == 0 {
		base := uint32(len(l.chunks) * socksPerChunk)
		l.chunks = append(l.chunks, new([socksPerChunk]sock))
		for i := uint32(socksPerChunk); i > 0; i-- {
			l.free = append(l.free, base+i-1)
		}
	}
	i := l.free[len(l.free)-1]
	l.free = l.free[:len(l.free)-1]
	s := &l.chunks[i/socksPerChunk][i%socksPerChunk]
	*s = sock{index: i, gen: s.gen + 1, fd: -1}
	s.pair.Init()
	l.live++
	return s
}

// release makes a sock free. A queued one stays in the ready queue, which skips
// it; so it is only reused once it has left the queue.
func (l *slab) release(s *sock) {
	s.state = stFree
	l.live--
	if !s.has(fQueued) {
		l.recycle(s)
	}
}

// recycle returns a free sock that left the ready queue.
func (l *slab) recycle(s *sock) { l.free = append(l.free, s.index) }

// lookup finds the sock of an engine's user value, nil if it is gone.
func (l *slab) lookup(user uint64) *sock {
	i, gen := uint32(user), uint32(user>>32)
	if int(i/socksPerChunk) >= len(l.chunks) {
		return nil
	}
	s := &l.chunks[i/socksPerChunk][i%socksPerChunk]
	if s.gen != gen || s.state == stFree {
		return nil
	}
	return s
}

// each visits every live sock.
func (l *slab) each(f func(*sock)) {
	for _, c := range l.chunks {
		for i := range c {
			if c[i].state != stFree {
				f(&c[i])
			}
		}
	}
}
