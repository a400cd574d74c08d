// SPDX-License-Identifier: Apache-2.0

package tcphost

import (
	"io"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"netcon/dataplane/stream"
	"netcon/dataplane/tcp"
)

// socket is what Conn and Listener have in common.
type socket struct {
	host   *Host
	user   uint64
	handle stream.Handle
	cond   *sync.Cond // on the host's lock

	established bool
	err         syscall.Errno
	closed      bool
	late        bool // waited longer than the host's patience
}

// newSocket makes a socket without an engine's. Called under the lock.
func (h *Host) newSocket() *socket {
	h.last++
	s := &socket{host: h, user: h.last, cond: sync.NewCond(&h.mu)}
	h.sockets[s.user] = s
	return s
}

// wait waits until ready, which is asked under the lock. It gives the engine
// the turn that a caller who goes to sleep owes it.
func (s *socket) wait(ready func() bool) error {
	var timer *time.Timer
	for !ready() {
		switch {
		case s.host.closed || s.closed:
			return os.ErrClosed
		case s.err != 0:
			return s.err
		case s.late:
			s.late = false
			return os.ErrDeadlineExceeded
		}
		if timer == nil {
			timer = time.AfterFunc(s.host.cfg.Patience, func() {
				s.host.mu.Lock()
				defer s.host.mu.Unlock()
				s.late = true
				s.cond.Broadcast()
			})
			defer timer.Stop()
		}
		s.host.turn()
		if ready() {
			break
		}
		s.cond.Wait()
	}
	s.late = false
	return nil
}

// SetOption sets an option of the engine's socket.
func (s *socket) SetOption(opt stream.Option, value int) error {
	s.host.enter()
	defer s.host.leave()
	if s.closed || s.host.closed {
		return os.ErrClosed
	}
	return errno(s.host.engine.SetOption(s.handle, opt, value))
}

// LocalAddr returns the socket's own address.
func (s *socket) LocalAddr() netip.AddrPort {
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	return s.host.engine.Local(s.handle)
}

// forget ends the socket's entry with the host.
func (s *socket) forget() {
	s.closed = true
	delete(s.host.sockets, s.user)
	s.cond.Broadcast()
}

func errno(e syscall.Errno) error {
	if e != 0 {
		return e
	}
	return nil
}

func family(a netip.Addr) stream.Family {
	if a.Is4() {
		return stream.IPv4
	}
	return stream.IPv6
}

// Conn is a connection.
type Conn struct {
	*socket
	pair   stream.Pair
	unsent int // bytes that Write leaves unsent at most, 0: as many as the ring takes
}

// Dial opens a connection. Options are set before the SYN leaves.
func (h *Host) Dial(to netip.AddrPort, options map[stream.Option]int) (*Conn, error) {
	return h.DialFrom(netip.AddrPort{}, to, options)
}

// DialFrom is Dial from a given local address and port.
func (h *Host) DialFrom(from, to netip.AddrPort, options map[stream.Option]int) (*Conn, error) {
	h.enter()
	defer h.leave()
	if h.closed {
		return nil, os.ErrClosed
	}
	c := &Conn{socket: h.newSocket()}
	var e syscall.Errno
	if c.handle, e = h.engine.Open(family(to.Addr()), c.user); e != 0 {
		c.forget()
		return nil, e
	}
	for o, v := range options {
		if e := h.engine.SetOption(c.handle, o, v); e != 0 {
			c.end(h.engine.Abort)
			return nil, e
		}
	}
	if from.IsValid() {
		if e := h.engine.Bind(c.handle, from); e != 0 {
			c.end(h.engine.Abort)
			return nil, e
		}
	}
	c.attach()
	if e := h.engine.Connect(c.handle, to); e != syscall.EINPROGRESS {
		c.end(h.engine.Abort)
		return nil, e
	}
	if err := c.wait(func() bool { return c.established }); err != nil {
		c.end(h.engine.Abort)
		return nil, err
	}
	return c, nil
}

// attach gives the connection its rings.
func (c *Conn) attach() {
	c.pair.Init()
	c.pair.Rx.Attach(c.host.takeRing())
	c.pair.Tx.Attach(c.host.takeRing())
	c.host.engine.Attach(c.handle, &c.pair)
}

func (h *Host) takeRing() []byte {
	if n := len(h.rings); n > 0 {
		b := h.rings[n-1]
		h.rings = h.rings[:n-1]
		return b
	}
	return make([]byte, h.cfg.Ring)
}

// Read implements io.Reader.
func (c *Conn) Read(b []byte) (n int, err error) {
	c.host.enter()
	defer c.host.leave()
	r := &c.pair.Rx
	if c.closed {
		return 0, os.ErrClosed
	}
	err = c.wait(func() bool { return r.Len() > 0 || c.pair.RxEOF.Load() })
	if err != nil {
		return 0, err
	}
	first, second := r.Peek()
	n = copy(b, first)
	n += copy(b[n:], second)
	if n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	r.Release(n)
	c.host.engine.RxRoom(c.handle)
	return n, nil
}

// LimitUnsent bounds the bytes that Write leaves unsent, as TCP_NOTSENT_LOWAT
// does in the kernel.
func (c *Conn) LimitUnsent(n int) error {
	if err := c.SetOption(stream.OptNotSentLowat, n); err != nil {
		return err
	}
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	c.unsent = n
	return nil
}

// room returns how many bytes Write may put into the ring.
func (c *Conn) room() int {
	n := c.pair.Tx.Room()
	if c.unsent > 0 {
		var i tcp.Inspection
		c.host.engine.Inspect(c.handle, &i)
		n = min(n, c.unsent-int(i.NotSent))
	}
	return n
}

// Write implements io.Writer.
func (c *Conn) Write(b []byte) (n int, err error) {
	c.host.enter()
	defer c.host.leave()
	for len(b) > 0 {
		if c.closed {
			return n, os.ErrClosed
		}
		if c.pair.TxEOF.Load() {
			return n, syscall.EPIPE
		}
		if c.err != 0 {
			return n, c.err
		}
		if err := c.wait(func() bool { return c.room() > 0 }); err != nil {
			return n, err
		}
		first, second := c.pair.Tx.Reserve()
		room := c.room()
		k := copy(first[:min(len(first), room)], b)
		if room > len(first) {
			k += copy(second[:min(len(second), room-len(first))], b[k:])
		}
		c.pair.Tx.Publish(k)
		c.host.engine.TxReady(c.handle)
		b, n = b[k:], n+k
	}
	return n, nil
}

// CloseWrite ends the sending half: FIN follows what was written.
func (c *Conn) CloseWrite() error {
	c.host.enter()
	defer c.host.leave()
	if c.closed || c.host.closed {
		return os.ErrClosed
	}
	c.pair.TxEOF.Store(true)
	c.host.engine.TxReady(c.handle)
	return nil
}

// Close ends the connection in order.
func (c *Conn) Close() error { return c.finish(c.host.engine.Close) }

// Abort resets the connection.
func (c *Conn) Abort() error { return c.finish(c.host.engine.Abort) }

func (c *Conn) finish(how func(stream.Handle)) error {
	c.host.enter()
	defer c.host.leave()
	if c.closed || c.host.closed {
		return os.ErrClosed
	}
	c.end(how)
	return nil
}

// end gives the engine's socket and the rings back.
func (c *Conn) end(how func(stream.Handle)) {
	how(c.handle)
	c.forget()
	for _, r := range []*stream.Ring{&c.pair.Rx, &c.pair.Tx} {
		if r.Attached() {
			c.host.rings = append(c.host.rings, r.Discard())
		}
	}
}

// Info returns what the engine knows of the connection.
func (c *Conn) Info() (i stream.Info, d tcp.Inspection) {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	if !c.closed && !c.host.closed {
		c.host.engine.Info(c.handle, &i)
		c.host.engine.Inspect(c.handle, &d)
	}
	return i, d
}

// Listener takes connections.
type Listener struct{ *socket }

// Listen opens a listener.
func (h *Host) Listen(at netip.AddrPort, backlog int, options map[stream.Option]int) (*Listener, error) {
	h.enter()
	defer h.leave()
	if h.closed {
		return nil, os.ErrClosed
	}
	l := &Listener{h.newSocket()}
	var e syscall.Errno
	if l.handle, e = h.engine.Open(family(at.Addr()), l.user); e != 0 {
		l.forget()
		return nil, e
	}
	e = h.engine.SetOption(l.handle, stream.OptReuseAddr, 1)
	for o, v := range options {
		if e == 0 {
			e = h.engine.SetOption(l.handle, o, v)
		}
	}
	if e == 0 {
		e = h.engine.Bind(l.handle, at)
	}
	if e == 0 {
		e = h.engine.Listen(l.handle, backlog)
	}
	if e != 0 {
		h.engine.Abort(l.handle)
		l.forget()
		return nil, e
	}
	return l, nil
}

// Accept waits for a connection.
func (l *Listener) Accept() (*Conn, error) {
	h := l.host
	h.enter()
	defer h.leave()
	if h.closed || l.closed {
		return nil, os.ErrClosed
	}
	c := &Conn{socket: h.newSocket()}
	c.established = true
	e := syscall.EAGAIN
	err := l.wait(func() bool {
		if l.closed || h.closed {
			return false
		}
		c.handle, e = h.engine.Accept(l.handle, c.user)
		return e != syscall.EAGAIN
	})
	if err == nil {
		err = errno(e)
	}
	if err != nil {
		c.forget()
		return nil, err
	}
	c.attach()
	return c, nil
}

// Close ends the listener.
func (l *Listener) Close() error {
	l.host.enter()
	defer l.host.leave()
	if l.closed || l.host.closed {
		return os.ErrClosed
	}
	l.host.engine.Close(l.handle)
	l.forget()
	return nil
}
