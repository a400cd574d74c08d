// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
)

// Poller watches kernel sockets, edge-triggered: IN, PRI, OUT, RDHUP, HUP, ERR.
// After Remove no Ready comes any more.
type Poller interface {
	Add(fd int, h Handler) error
	Remove(fd int, h Handler)
}

// Handler is told what became of a kernel socket.
type Handler interface {
	Ready(events uint32)
}

// Engine is the kernel sockets of one container on one worker.
type Engine struct {
	poller Poller
	stat   *stat.Block

	conns []*conn
	free  []uint32

	raw datagramCall

	head, tail *conn // what is ready, first come first served
}

var _ stream.Host = (*Engine)(nil)

// New makes an Engine without sockets. counts is the container's.
func New(p Poller, counts *stat.Block) *Engine { return &Engine{poller: p, stat: counts} }

// state is where a conn is in its life.
type state uint8

const (
	stFree state = iota
	stOpen
	stConnecting
	stConnected
	stListening
	stDatagram
	stDead // failed, until its owner closes it
)

// conn is one kernel socket.
type conn struct {
	engine *Engine
	index  uint32
	gen    uint32
	user   uint64
	next   *conn // ready queue
	pair   *stream.Pair

	fd     int
	state  state
	family stream.Family

	// Of a pair (join.go): the addresses it is said to have.
	joined        bool
	local, remote netip.AddrPort

	queued   bool
	watched  bool
	canRead  bool // the kernel may have bytes, an end or an error
	drain    bool // read on until the kernel has nothing: an edge may have merged
	canWrite bool
	eof      bool // read gave 0
	fin      bool // Shutdown: the sending half closes once Tx is sent
	finSent  bool
	blocked  bool  // a datagram was not taken
	linger   int32 // OptLinger as set, -1: off
	errno    syscall.Errno
}

func (c *conn) handle() stream.Handle { return stream.Handle(uint64(c.gen)<<32 | uint64(c.index)) }

// lookup finds the conn of a handle, nil if it is gone.
func (e *Engine) lookup(h stream.Handle) *conn {
	i, gen := uint32(h), uint32(h>>32)
	if int(i) >= len(e.conns) {
		return nil
	}
	if c := e.conns[i]; c.gen == gen && c.state != stFree {
		return c
	}
	return nil
}

// alloc makes a conn of a kernel socket.
func (e *Engine) alloc(fd int, f stream.Family, user uint64) *conn {
	if len(e.free) == 0 {
		e.free = append(e.free, uint32(len(e.conns)))
		e.conns = append(e.conns, &conn{engine: e})
	}
	i := e.free[len(e.free)-1]
	e.free = e.free[:len(e.free)-1]
	c := e.conns[i]
	*c = conn{engine: e, index: i, gen: c.gen + 1, fd: fd, family: f, user: user, state: stOpen, linger: -1}
	return c
}

// release frees a conn whose kernel socket is closed. A queued one stays in the
// queue, which skips it; so it is only reused once it has left the queue.
func (e *Engine) release(c *conn) {
	c.state, c.pair = stFree, nil
	if !c.queued {
		e.free = append(e.free, c.index)
	}
}

func (e *Engine) enqueue(c *conn) {
	if c.queued {
		return
	}
	c.queued, c.next = true, nil
	if e.tail == nil {
		e.head = c
	} else {
		e.tail.next = c
	}
	e.tail = c
}

func (e *Engine) pop() *conn {
	c := e.head
	if e.head = c.next; e.head == nil {
		e.tail = nil
	}
	c.next, c.queued = nil, false
	return c
}

// watch has the poller tell about a conn.
func (c *conn) watch() bool {
	if !c.watched {
		c.watched = c.engine.poller.Add(c.fd, c) == nil
	}
	return c.watched
}

// Ready implements Handler.
func (c *conn) Ready(events uint32) {
	if c.state == stFree || c.state == stDead {
		return
	}
	if events&unix.EPOLLIN != 0 {
		c.canRead = true
	}
	if events&(unix.EPOLLPRI|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		c.canRead, c.drain = true, true
	}
	if events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		c.canWrite = true
	}
	c.engine.enqueue(c)
}

// Busy implements stream.Sockets.
func (e *Engine) Busy() bool { return e.head != nil }

// Poll implements stream.Sockets.
func (e *Engine) Poll(ev stream.Events, budget int) (more bool) {
	// What becomes ready meanwhile waits for the next turn.
	last := e.tail
	for ; budget > 0 && e.head != nil; budget-- {
		c := e.pop()
		if c.state == stFree {
			e.free = append(e.free, c.index)
		} else {
			e.visit(c, ev)
		}
		if c == last {
			break
		}
	}
	return e.Busy()
}

// visit reports what happened to a conn. Every report may end it.
func (e *Engine) visit(c *conn, ev stream.Events) {
	gen := c.gen
	gone := func() bool { return c.gen != gen || c.state == stFree }
	switch c.state {
	case stListening:
		ev.Acceptable(c.user)
		return
	case stDatagram:
		c.visitDatagrams(ev)
		return
	case stConnecting:
		c.opened(ev)
	}
	if gone() || c.state != stConnected || c.pair == nil {
		return
	}
	if c.canWrite && c.pair.Tx.Len() > 0 && c.push() {
		ev.Writable(c.user)
		if gone() {
			return
		}
	}
	if c.canRead && c.errno == 0 && c.receive() {
		ev.Readable(c.user)
		if gone() {
			return
		}
	}
	if c.errno != 0 && c.state == stConnected {
		c.state = stDead
		ev.Failed(c.user, c.errno)
	}
}

// opened looks what became of an active open.
func (c *conn) opened(ev stream.Events) {
	if !c.canRead && !c.canWrite {
		return
	}
	v, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && v == 0 {
		if _, err = unix.Getpeername(c.fd); err == unix.ENOTCONN {
			return // not decided yet
		}
	}
	if err != nil || v != 0 {
		c.state = stDead
		if v == 0 {
			v = int(unix.ECONNABORTED)
		}
		ev.Failed(c.user, syscall.Errno(v))
		return
	}
	c.state = stConnected
	c.count(stat.HostConnects, 1)
	ev.Established(c.user)
}

// fail ends a connection whose kernel socket said why; Poll reports it.
func (c *conn) fail(errno syscall.Errno) {
	if c.errno == 0 {
		c.errno = errno
		c.engine.enqueue(c)
	}
}
