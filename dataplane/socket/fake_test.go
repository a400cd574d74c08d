// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"net/netip"
	"syscall"

	"netcon/dataplane/stream"

	"golang.org/x/sys/unix"
)

// Destinations that the fake engine treats specially; everything else reaches
// a listener of the same engine or is refused.
var (
	addrRefuse      = netip.MustParseAddr("10.9.0.1") // Failed(ECONNREFUSED) on the next Poll
	addrHang        = netip.MustParseAddr("10.9.0.2") // decided by decide
	addrUnreachable = netip.MustParseAddr("10.9.0.3") // ENETUNREACH at once
)

type fakeEvent struct {
	kind byte // E F A R W
	user uint64
	err  syscall.Errno
}

// fakeSock is a TCP socket without the network between its ends.
type fakeSock struct {
	h         stream.Handle
	user      uint64
	family    stream.Family
	local     netip.AddrPort
	remote    netip.AddrPort
	listening bool
	connected bool
	dying     bool // closed by its owner
	backlog   []*fakeSock
	max       int
	peer      *fakeSock
	pair      *stream.Pair
	finSent   bool
	shutWrite bool
	failed    bool
	opts      map[stream.Option]int
	wire      []byte // what the peer's ring had no room for
	fin       bool   // the peer's FIN follows wire
}

// fakeEngine loops connections back. It pulls from Tx into a bounded queue of
// the peer and from there into its Rx.
type fakeEngine struct {
	next    stream.Handle
	socks   map[stream.Handle]*fakeSock
	ports   map[netip.AddrPort]*fakeSock
	events  []fakeEvent
	port    uint16
	openErr syscall.Errno
	aborts  int
	closes  int
	hang    []*fakeSock
	window  int // bytes of wire
	calls   map[string]int

	datagrams fakeDatagrams
}

var _ stream.Datagrams = (*fakeEngine)(nil)

func newFake() *fakeEngine {
	return &fakeEngine{
		socks: map[stream.Handle]*fakeSock{}, ports: map[netip.AddrPort]*fakeSock{}, port: 30000,
		window: 64 << 10, calls: map[string]int{},
	}
}

func (e *fakeEngine) Deliver([]byte, bool)            {}
func (e *fakeEngine) EndBurst()                       {}
func (e *fakeEngine) Transmit(stream.Output, int) int { return 0 }
func (e *fakeEngine) Undeliverable([]byte)            {}
func (e *fakeEngine) Stop(stream.Output)              {}
func (e *fakeEngine) Busy() bool                      { return len(e.events) > 0 }
func (e *fakeEngine) event(k byte, s *fakeSock, er syscall.Errno) {
	e.events = append(e.events, fakeEvent{k, s.user, er})
}

func (e *fakeEngine) Poll(ev stream.Events, budget int) bool {
	n := min(budget, len(e.events))
	batch := append([]fakeEvent(nil), e.events[:n]...)
	e.events = append(e.events[:0], e.events[n:]...)
	for _, x := range batch {
		switch x.kind {
		case 'E':
			ev.Established(x.user)
		case 'F':
			ev.Failed(x.user, x.err)
		case 'A':
			ev.Acceptable(x.user)
		case 'R':
			ev.Readable(x.user)
		case 'W':
			ev.Writable(x.user)
		}
	}
	return len(e.events) > 0
}

func (e *fakeEngine) Open(f stream.Family, user uint64) (stream.Handle, syscall.Errno) {
	if e.openErr != 0 {
		return 0, e.openErr
	}
	e.next++
	e.socks[e.next] = &fakeSock{h: e.next, user: user, family: f, opts: map[stream.Option]int{}}
	return e.next, 0
}

func (e *fakeEngine) get(h stream.Handle) *fakeSock {
	s := e.socks[h]
	if s == nil {
		panic("fake engine: use of a dead handle")
	}
	return s
}

func (e *fakeEngine) Bind(h stream.Handle, l netip.AddrPort) syscall.Errno {
	if d := e.datagram(h); d != nil {
		return d.bind(e, l)
	}
	s := e.get(h)
	if l.Port() == 0 {
		e.port++
		l = netip.AddrPortFrom(l.Addr(), e.port)
	}
	if e.ports[l] != nil {
		return unix.EADDRINUSE
	}
	e.ports[l], s.local = s, l
	return 0
}

func (e *fakeEngine) Listen(h stream.Handle, backlog int) syscall.Errno {
	s := e.get(h)
	if !s.local.IsValid() {
		if er := e.Bind(h, unspecified(s.family)); er != 0 {
			return er
		}
	}
	s.listening, s.max = true, backlog
	return 0
}

func (e *fakeEngine) Accept(h stream.Handle, user uint64) (stream.Handle, syscall.Errno) {
	s := e.get(h)
	if len(s.backlog) == 0 {
		return 0, unix.EAGAIN
	}
	c := s.backlog[0]
	s.backlog = s.backlog[1:]
	c.user = user
	return c.h, 0
}

func (e *fakeEngine) listener(a netip.AddrPort) *fakeSock {
	if l := e.ports[a]; l != nil && l.listening {
		return l
	}
	for _, any := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		if l := e.ports[netip.AddrPortFrom(any, a.Port())]; l != nil && l.listening {
			return l
		}
	}
	return nil
}

func (e *fakeEngine) Connect(h stream.Handle, r netip.AddrPort) syscall.Errno {
	if r.Addr() == addrUnreachable {
		return unix.ENETUNREACH
	}
	if d := e.datagram(h); d != nil {
		d.remote = r
		if d.local.Port() == 0 {
			return d.bind(e, d.local)
		}
		return 0
	}
	s := e.get(h)
	if !s.local.IsValid() {
		e.port++
		s.local = netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), e.port)
		if s.family == stream.IPv6 {
			s.local = netip.AddrPortFrom(netip.MustParseAddr("fd00::1"), e.port)
		}
	}
	s.remote = r
	switch l := e.listener(r); {
	case r.Addr() == addrRefuse:
		e.event('F', s, unix.ECONNREFUSED)
	case r.Addr() == addrHang:
		e.hang = append(e.hang, s)
	case l == nil || len(l.backlog) >= l.max+1:
		e.event('F', s, unix.ECONNREFUSED)
	default:
		e.next++
		c := &fakeSock{h: e.next, family: l.family, local: r, remote: s.local, connected: true, peer: s, opts: map[stream.Option]int{}}
		e.socks[c.h] = c
		l.backlog = append(l.backlog, c)
		s.peer, s.connected = c, true
		e.event('A', l, 0)
		e.event('E', s, 0)
	}
	return unix.EINPROGRESS
}

// decide ends a connect to addrHang.
func (e *fakeEngine) decide(err syscall.Errno) {
	for _, s := range e.hang {
		if s.dying {
			continue
		}
		if err != 0 {
			e.event('F', s, err)
			continue
		}
		s.connected = true
		e.event('E', s, 0)
	}
	e.hang = nil
}

func (e *fakeEngine) Attach(h stream.Handle, p *stream.Pair) {
	s := e.get(h)
	s.pair = p
	e.flow(s)
}

func (e *fakeEngine) TxReady(h stream.Handle) { e.calls["TxReady"]++; e.pull(e.get(h)) }
func (e *fakeEngine) RxRoom(h stream.Handle)  { e.calls["RxRoom"]++; e.flow(e.get(h)) }

// pull moves bytes from s's Tx towards its peer.
func (e *fakeEngine) pull(s *fakeSock) {
	if s.pair == nil || s.peer == nil || s.failed {
		if s.pair != nil && s.connected && s.peer == nil { // addrHang: a peer that swallows everything
			s.pair.Tx.Release(s.pair.Tx.Len())
		}
		return
	}
	p := s.peer
	moved := 0
	for {
		room := e.window - len(p.wire)
		first, _ := s.pair.Tx.Peek()
		n := min(room, len(first))
		if n <= 0 {
			break
		}
		p.wire = append(p.wire, first[:n]...)
		s.pair.Tx.Release(n)
		moved += n
	}
	if (s.shutWrite || s.dying) && !s.finSent && s.pair.Tx.Len() == 0 {
		s.finSent, p.fin = true, true
	}
	if moved > 0 {
		e.event('W', s, 0)
	}
	if moved > 0 || p.fin {
		e.flow(p)
	}
}

// flow moves bytes from the wire into s's Rx.
func (e *fakeEngine) flow(s *fakeSock) {
	if s.dying || s.failed || s.pair == nil {
		return
	}
	if !s.pair.Rx.Attached() && len(s.wire) > 0 {
		e.event('R', s, 0)
		return
	}
	moved := 0
	for len(s.wire) > 0 {
		first, _ := s.pair.Rx.Reserve()
		n := copy(first, s.wire)
		if n == 0 {
			break
		}
		s.pair.Rx.Publish(n)
		s.wire = append(s.wire[:0], s.wire[n:]...)
		moved += n
	}
	if s.fin && len(s.wire) == 0 && !s.pair.RxEOF.Load() {
		s.pair.RxEOF.Store(true)
		moved++
	}
	if moved > 0 {
		e.event('R', s, 0)
		if s.peer != nil && s.peer.pair != nil {
			e.pull(s.peer)
		}
	}
}

func (e *fakeEngine) Shutdown(h stream.Handle, how stream.How) syscall.Errno {
	if d := e.datagram(h); d != nil {
		if !d.remote.IsValid() {
			return unix.ENOTCONN
		}
		return 0
	}
	s := e.get(h)
	if !s.connected {
		return unix.ENOTCONN
	}
	if how&stream.ShutWrite != 0 {
		s.shutWrite = true
		e.pull(s)
	}
	return 0
}

func (e *fakeEngine) end(s *fakeSock) {
	s.dying = true
	delete(e.socks, s.h)
	if e.ports[s.local] == s {
		delete(e.ports, s.local)
	}
	for _, c := range s.backlog {
		e.reset(c)
		e.end(c)
	}
}

func (e *fakeEngine) reset(s *fakeSock) {
	if p := s.peer; p != nil && !p.dying && !p.failed {
		p.failed = true
		e.event('F', p, unix.ECONNRESET)
	}
}

func (e *fakeEngine) Close(h stream.Handle) {
	e.closes++
	if e.datagram(h) != nil {
		delete(e.datagrams.socks, h)
		return
	}
	s := e.get(h)
	s.dying = true
	if s.pair != nil && s.pair.Rx.Len() > 0 || len(s.wire) > 0 || s.opts[stream.OptLinger] == 0 && s.has(stream.OptLinger) {
		e.reset(s)
	} else {
		e.pull(s)
	}
	e.end(s)
}

func (s *fakeSock) has(o stream.Option) bool { _, ok := s.opts[o]; return ok }

func (e *fakeEngine) Abort(h stream.Handle) {
	e.aborts++
	if e.datagram(h) != nil {
		delete(e.datagrams.socks, h)
		return
	}
	s := e.get(h)
	e.reset(s)
	e.end(s)
}

func (e *fakeEngine) Local(h stream.Handle) netip.AddrPort {
	if d := e.datagram(h); d != nil {
		return d.local
	}
	if s := e.get(h); s.local.IsValid() {
		return s.local
	} else {
		return unspecified(s.family)
	}
}

func (e *fakeEngine) Remote(h stream.Handle) (netip.AddrPort, syscall.Errno) {
	if d := e.datagram(h); d != nil {
		if !d.remote.IsValid() {
			return netip.AddrPort{}, unix.ENOTCONN
		}
		return d.remote, 0
	}
	if s := e.get(h); s.connected {
		return s.remote, 0
	}
	return netip.AddrPort{}, unix.ENOTCONN
}

func (e *fakeEngine) SetOption(h stream.Handle, o stream.Option, v int) syscall.Errno {
	if o == stream.OptCork || o == stream.OptDeferAccept {
		return unix.ENOPROTOOPT
	}
	if d := e.datagram(h); d != nil {
		if o == stream.OptTTL {
			d.ttl = v
		}
		return 0
	}
	e.get(h).opts[o] = v
	return 0
}

func (e *fakeEngine) Option(h stream.Handle, o stream.Option) (int, syscall.Errno) {
	if e.datagram(h) != nil {
		if o == stream.OptMTU {
			return 0, unix.ENOTCONN
		}
		return 0, unix.ENOPROTOOPT
	}
	if v, ok := e.get(h).opts[o]; ok {
		return v, 0
	}
	return 0, unix.ENOPROTOOPT
}

func (e *fakeEngine) Info(h stream.Handle, i *stream.Info) {
	s := e.get(h)
	if s.connected {
		*i = stream.Info{State: 1, SendMSS: 1398, MTU: 1450, Cwnd: 10, SendScale: 7, RecvScale: 9, WindowScale: true, SACK: true}
	}
}
