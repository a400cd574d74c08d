// SPDX-License-Identifier: Apache-2.0

package tcpsim

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"syscall"
	"time"

	"netcon/dataplane/stream"
)

// user is the owner of a socket: one end of a connection, or a listener.
type user struct {
	w    *world
	host host
	at   int // host number
	plan userPlan
	peer userPlan
	name string
	rnd  *rand.Rand
	sock *sock
	conn *connPlan

	wake      time.Duration // when it acts next by itself
	connectAt time.Duration
	began     time.Duration
	out, in   int // streams
	sent, got int // bytes
	attached  bool
	attachAt  time.Duration
	readAt    time.Duration // it does not read before
	writeAt   time.Duration
	stopped   bool // the long stop is over
	opened    bool // connected
	shut      bool
	eof       bool
	done      bool
	lied      bool
	refused   bool
	failed    syscall.Errno
	listener  bool
	closing   bool // a listener that is to be closed
	client    bool
	served    bool // the other end was accepted
}

// sock is a socket of a host.
type sock struct {
	u *user

	h    stream.Handle // of a stream.Clocked
	pair *stream.Pair
	gv   *gvSock // of gVisor

	words *[2]stream.Cursors // of the rings of an owner that lies
	stale *stream.Ring       // their Tx as it was at first

	established, acceptable, readable, writable bool
	failed                                      syscall.Errno
	dead                                        bool // closed
}

// options sets what the plan asks for.
func (u *user) options() {
	h, s := u.host, u.sock
	if u.plan.nodelay {
		h.setOption(s, stream.OptNoDelay, 1)
	}
	if u.plan.lowat > 0 {
		h.setOption(s, stream.OptNotSentLowat, u.plan.lowat)
	}
	if u.plan.maxSeg > 0 {
		h.setOption(s, stream.OptMaxSeg, u.plan.maxSeg)
	}
	if u.plan.keepidle > 0 {
		h.setOption(s, stream.OptKeepAlive, 1)
		h.setOption(s, stream.OptKeepIdle, u.plan.keepidle)
		h.setOption(s, stream.OptKeepInterval, 10)
		h.setOption(s, stream.OptKeepCount, 20)
	}
}

// connect opens a client's socket.
func (u *user) connect() error {
	u.connectAt, u.began = never, u.w.now
	var errno syscall.Errno
	if u.sock, errno = u.host.open(u); errno != 0 {
		return fmt.Errorf("open: %v", errno)
	}
	u.options()
	if c := u.conn; c.simul != 0 {
		local := c.simul
		if !u.client {
			local = c.port
		}
		if errno = u.host.bind(u.sock, netip.AddrPortFrom(u.w.plan.addr(u.at), local)); errno != 0 {
			return fmt.Errorf("bind to %d: %v", local, errno)
		}
	}
	remote := u.conn.port
	if !u.client {
		remote = u.conn.simul
	}
	to := 1 - u.at
	if u.conn.own {
		to = u.at
	}
	errno = u.host.connect(u.sock, netip.AddrPortFrom(u.w.plan.addr(to), remote))
	u.w.tracef("%s: connect to port %d: %v", u.name, remote, errno)
	if errno != syscall.EINPROGRESS {
		return fmt.Errorf("connect: %v", errno)
	}
	local := u.host.local(u.sock).Port()
	u.streams(local, remote)
	u.w.clients[key(u.at, local, remote)] = u
	u.attachAt = u.w.now + u.plan.late
	u.wake = u.attachAt
	return nil
}

func (u *user) streams(local, remote uint16) {
	u.out, u.in = streamOf(local, remote), streamOf(remote, local)
	u.name = fmt.Sprintf("%s:%d", []string{"A", "B"}[u.at], local)
}

// act does what the user can do now, and says when it wants to be called again
// in any case.
func (u *user) act() error {
	if u.done {
		return nil
	}
	w := u.w
	u.wake = never
	if u.connectAt != never {
		if w.now < u.connectAt {
			u.wake = u.connectAt
			return nil
		}
		if err := u.connect(); err != nil {
			return err
		}
	}
	if u.listener {
		return u.accept()
	}
	s := u.sock
	if s.failed != 0 && u.failed == 0 {
		u.failed = s.failed
		w.tracef("%s: failed: %v", u.name, u.failed)
		// What had arrived may be read still; it is read at once.
		u.readAt, u.stopped = w.now, true
	}
	if s.established && !u.opened {
		u.opened = true
		w.tracef("%s: established", u.name)
	}
	if !u.attached {
		if w.now < u.attachAt {
			u.wake = u.attachAt
		} else {
			u.attached = true
			u.host.attach(s, u.plan.txRing, u.plan.rxRing, u.plan.lazy)
			s.readable, s.writable = true, true
		}
	}
	if u.attached {
		if err := u.read(); err != nil {
			return err
		}
	}
	if u.failed != 0 {
		if u.attached && s.readable && !u.eof {
			u.later(u.readAt)
			return nil // the rest is read later
		}
		u.close()
		return u.mayFail()
	}
	if !u.opened || !u.attached {
		return nil
	}
	if u.rnd.IntN(16) == 0 {
		u.host.ask(s, stream.Option(u.rnd.IntN(int(stream.NumStreamOptions))))
	}
	u.write()
	u.end()
	lonely := u.client && !u.served && w.fragile(u.conn)
	if !u.done && (!u.plan.end.orderly() || !u.peer.end.orderly() || u.conn.broken || lonely) {
		// The RST of a peer that is gone may have been lost; a server that
		// speaks first may not know the connection.
		at := max(w.plan.calm, u.began) + patience
		if u.later(at); w.now >= at {
			if u.close(); lonely && !u.conn.broken {
				u.again()
			}
		}
	}
	return nil
}

// again opens a connection anew that broke as it may, once the network behaves.
func (u *user) again() {
	u.conn.broken = true
	for _, v := range u.w.users {
		if v.conn == u.conn {
			v.wake = u.w.now
		}
	}
	c := *u.conn
	if c.tries++; c.tries > maxTries {
		return
	}
	c.broken = false
	if c.simul != 0 {
		c.simul, c.port = 0, listenPort // one end alone, to the other's listener
	}
	c.at = max(u.w.now, u.w.plan.calm) + time.Duration(u.rnd.Int64N(int64(second)))
	u.w.client(&c, u.at, 0)
}

// maxTries is how often a connection is opened anew.
const maxTries = 8

// patience is how long after the end of all faults a user waits for a peer that
// may have vanished.
const patience = 60 * second

// later makes the user act again at a time.
func (u *user) later(at time.Duration) {
	if at > u.w.now {
		u.wake = min(u.wake, at)
	}
}

// read takes what has come.
func (u *user) read() error {
	w, s := u.w, u.sock
	if u.lied {
		s.readable = false // who lied about its ring cannot tell what is in it
	}
	if u.eof || !s.readable {
		return nil
	}
	for range 1 << 18 {
		if w.now < u.readAt {
			u.later(u.readAt)
			return nil
		}
		n := u.plan.gulp
		if u.plan.stopAt >= u.got && !u.stopped {
			n = min(n, u.plan.stopAt-u.got)
			if n == 0 {
				u.stopped = true
				u.readAt = w.now + u.plan.stop
				w.met(ZeroWindow)
				w.tracef("%s: stops reading for %v at byte %d", u.name, u.plan.stop, u.got)
				continue
			}
		}
		n, eof := u.host.read(s, w.scratch[:min(n, len(w.scratch))])
		if want := bytesAt(u.in, u.got, n); !bytes.Equal(w.scratch[:n], want) {
			return fmt.Errorf("reads wrong bytes at %d: %s", u.got, differ(w.scratch[:n], want))
		}
		u.got += n
		w.res.Bytes += n
		if u.got > u.peer.bytes {
			return fmt.Errorf("reads %d bytes, %d were written", u.got, u.peer.bytes)
		}
		if eof && u.failed != 0 {
			s.readable = false // gVisor's end of a connection that died
			return nil
		}
		if eof {
			u.eof = true
			w.tracef("%s: reads the end at byte %d", u.name, u.got)
			if u.got != u.peer.bytes && u.peer.end.orderly() && !u.conn.broken {
				return fmt.Errorf("reads the end after %d of %d bytes", u.got, u.peer.bytes)
			}
			return nil
		}
		if n == 0 {
			s.readable = false
			return nil
		}
		w.tracef("%s: reads %d bytes to %d", u.name, n, u.got)
		if u.rnd.Float64() < u.plan.pauses {
			u.readAt = w.now + time.Duration(u.rnd.Int64N(int64(u.plan.pause)+1))
		}
		if u.tired() && u.failed == 0 {
			return nil
		}
	}
	return fmt.Errorf("reads without end")
}

// drained reports whether all that comes has been read.
func (u *user) drained() bool { return u.got == u.peer.bytes }

// tired reports whether a user that is not orderly has had enough.
func (u *user) tired() bool {
	return !u.plan.end.orderly() && u.got+u.sent >= u.plan.endAt
}

// write gives the engine bytes while there is room.
func (u *user) write() {
	w, s := u.w, u.sock
	for u.sent < u.plan.bytes && s.writable && !u.tired() {
		if w.now < u.writeAt {
			u.later(u.writeAt)
			return
		}
		if u.rnd.Float64() < u.plan.toggles {
			opt := stream.OptNoDelay
			if u.rnd.IntN(2) == 0 {
				opt = stream.OptCork
			}
			v := u.rnd.IntN(2)
			u.host.setOption(s, opt, v)
			w.met(Toggle)
			w.tracef("%s: option %d = %d", u.name, opt, v)
		}
		want := min(1+u.rnd.IntN(u.plan.chunk), u.plan.bytes-u.sent)
		n := u.host.write(s, bytesAt(u.out, u.sent, want))
		u.sent += n
		w.tracef("%s: writes %d of %d bytes to %d", u.name, n, want, u.sent)
		if n < want {
			s.writable = false
			return
		}
		if u.rnd.Float64() < u.plan.pauses {
			u.writeAt = w.now + time.Duration(u.rnd.Int64N(int64(u.plan.pause)+1))
		}
	}
	if u.sent == u.plan.bytes && u.plan.toggles > 0 {
		u.host.setOption(s, stream.OptCork, 0)
		u.plan.toggles = 0
	}
}

// end closes the socket when the plan says so.
func (u *user) end() {
	w, s := u.w, u.sock
	if u.tired() {
		switch u.plan.end {
		case endEarly:
			w.met(EarlyClose)
			u.close()
		case endLinger:
			w.met(LingerReset)
			u.host.setOption(s, stream.OptLinger, 0)
			u.close()
		case endAbort:
			w.met(Abort)
			w.tracef("%s: aborts", u.name)
			u.done = true
			u.host.abort(s)
		case endBreak:
			if !u.lied {
				u.lied = true
				w.met(BrokenRing)
				w.tracef("%s: lies about its rings", u.name)
				u.host.lie(s)
			}
		}
		return
	}
	if u.sent < u.plan.bytes || u.plan.toggles > 0 {
		return
	}
	if (w.plan.want[BlackHole] || w.plan.want[ClockJump]) && u.plan.end.orderly() && !u.host.acked(s) {
		// It takes many timeouts to find out what a black hole lets through.
		// Without an owner a connection gives up before, or after a leap of
		// the clock.
		u.later(w.now + second)
		return
	}
	switch u.plan.end {
	case endHalf:
		if !u.shut {
			u.shut = true
			w.tracef("%s: shuts down at byte %d", u.name, u.sent)
			u.host.shutdown(s, u.plan.viaEOF)
		}
		if u.eof {
			u.close()
		}
	case endGraceful:
		if u.drained() || u.eof {
			u.close()
		}
	default:
		if u.eof {
			u.close() // it never had enough
		}
	}
}

// close closes the socket.
func (u *user) close() {
	u.w.tracef("%s: closes, %d sent, %d read", u.name, u.sent, u.got)
	u.done = true
	u.host.close(u.sock)
}

// mayFail reports a failure that nobody has caused.
func (u *user) mayFail() error {
	if u.conn.closed {
		u.w.met(Refused)
		if u.failed != syscall.ECONNREFUSED && u.failed != syscall.ETIMEDOUT && !u.unreachable() {
			return fmt.Errorf("connection to a closed port: %v, want ECONNREFUSED", u.failed)
		}
		u.refused = true
		return nil
	}
	if !u.plan.end.orderly() || !u.peer.end.orderly() {
		return nil
	}
	if u.conn.broken {
		return nil
	}
	if u.unreachable() {
		u.again()
		return nil
	}
	if u.client && u.got == 0 && u.wasReset() && u.w.fragile(u.conn) {
		u.again()
		return nil
	}
	if !u.client && u.wasReset() && u.w.fragile(u.conn) && u.peerGone() {
		u.conn.broken = true
		return nil
	}
	// The peer's end may be gone when ours still asks: all that matters has
	// arrived.
	if u.peerDone() && u.drained() && u.wasReset() {
		return nil
	}
	return fmt.Errorf("failed: %v, with %d of %d bytes sent and %d of %d read", u.failed, u.sent, u.plan.bytes, u.got, u.peer.bytes)
}

// wasReset reports whether the peer's RST ended the connection. In CLOSE-WAIT the
// kernel's error is EPIPE.
func (u *user) wasReset() bool { return u.failed == syscall.ECONNRESET || u.failed == syscall.EPIPE }

// unreachable reports whether the connection failed to open because a packet of it
// came back.
func (u *user) unreachable() bool {
	return u.failed == syscall.EHOSTUNREACH && !u.opened && u.w.plan.want[Unreachable]
}

// peerDone reports whether the other end has closed.
func (u *user) peerDone() bool {
	for _, v := range u.w.users {
		if v != u && v.conn == u.conn && v.conn != nil {
			return v.done && v.drained()
		}
	}
	return false
}

// peerGone reports whether the other end has closed its socket.
func (u *user) peerGone() bool {
	for _, v := range u.w.users {
		if v != u && v.conn == u.conn && v.done {
			return true
		}
	}
	return false
}

// accept takes what a listener has, now or after a while.
func (u *user) accept() error {
	w, s := u.w, u.sock
	if u.closing {
		u.close()
		return nil
	}
	for s.acceptable {
		if w.now < u.readAt {
			u.later(u.readAt)
			return nil
		}
		if d := w.plan.hosts[u.at].accept; d > 0 && u.readAt < w.now {
			// At or after readAt one is accepted; then it waits again.
			w.met(LateAccept)
		}
		n := w.newUser(u.at)
		var errno syscall.Errno
		n.sock, errno = u.host.accept(s, n)
		if errno == syscall.EAGAIN {
			w.users = w.users[:len(w.users)-1]
			s.acceptable = false
			return nil
		}
		if errno != 0 {
			return fmt.Errorf("accept: %v", errno)
		}
		w.res.Sockets++
		remote, errno := u.host.remote(n.sock)
		if errno != 0 {
			// It died in the queue.
			w.tracef("%s: accepts a connection without a peer: %v", u.name, errno)
			n.done = true
			u.host.close(n.sock)
			continue
		}
		from := 1 - u.at
		if remote.Addr() == w.plan.addr(u.at) {
			from = u.at
		}
		client := w.clients[key(from, remote.Port(), listenPort)]
		if client == nil {
			return fmt.Errorf("accepts a connection from %v that nobody opened", remote)
		}
		n.conn, n.plan, n.peer = client.conn, client.peer, client.plan
		if client.served && w.fragile(client.conn) {
			// An old segment that a cookie vouches for opens the connection
			// once more.
			c := *client.conn
			c.broken = true
			n.conn = &c
			w.tap.reopened(u.at, listenPort, remote.Port())
		}
		client.served = true
		n.opened, n.began = true, w.now
		n.streams(listenPort, remote.Port())
		n.name += "-" + fmt.Sprint(remote.Port())
		n.rnd = rand.New(rand.NewPCG(w.plan.seed, uint64(remote.Port())<<8|uint64(u.at)))
		n.options()
		n.attachAt = w.now + n.plan.late
		if n.plan.late > 0 || client.plan.late > 0 {
			w.met(LateAttach)
		}
		n.wake = w.now
		w.tracef("%s: accepts port %d", u.name, remote.Port())
		if d := w.plan.hosts[u.at].accept; d > 0 {
			u.readAt = w.now + time.Duration(u.rnd.Int64N(int64(d)))
		}
	}
	return nil
}
