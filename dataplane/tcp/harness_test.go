// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"bytes"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
)

// peerSock is the owner's end of a socket in tests.
type peerSock struct {
	h        stream.Handle
	pair     stream.Pair
	est      bool
	failed   syscall.Errno
	accept   bool
	got      []byte
	eof      bool
	keep     bool // leave what arrives in the ring
	noMemory bool // attach no Rx memory until asked
	readable int
	writable int
	pending  []byte // to be written
	closing  bool   // TxEOF after pending
}

// peer is one host of a test: an engine with an owner that reads everything.
type peer struct {
	t     testing.TB
	e     *Engine
	addr  netip.Addr
	socks map[uint64]*peerSock
	next  uint64
	out   [][]byte
	path  stream.Path
	buf   []byte
	ring  int
	st    stat.Block
}

func (p *peer) Open(netip.Addr, uint32) stream.Path { return p.path }
func (p *peer) Frame(n int) []byte {
	p.buf = make([]byte, n)
	return p.buf
}
func (p *peer) Commit() { p.out = append(p.out, p.buf) }

// two is two hosts on a link.
type two struct {
	t     testing.TB
	a, b  *peer
	now   time.Duration
	delay time.Duration
	// filter sees every packet; false drops it.
	filter   func(fromA bool, packet []byte) bool
	queue    []flying
	check    bool
	unsummed bool // packets are delivered as verified
}

type flying struct {
	at  time.Duration
	toA bool
	b   []byte
}

func newPeer(t testing.TB, addr string, tune func(*Config)) *peer {
	t.Helper()
	p := &peer{t: t, addr: netip.MustParsePrefix(addr).Addr(), socks: map[uint64]*peerSock{}, ring: 64 << 10}
	p.path = stream.Path{Max: 1500, Checksums: true}
	cfg := Config{Name: "test", MTU: 1500, Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}, Stat: &p.st, Seed: [32]byte{1}}
	if tune != nil {
		tune(&cfg)
	}
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.e = e
	t.Cleanup(func() { e.Stop(nil) })
	return p
}

func newTwo(t testing.TB, tune func(*Config)) *two {
	w := &two{t: t, now: time.Hour, delay: 5 * time.Millisecond, check: true}
	w.a, w.b = newPeer(t, "10.0.0.1/24", tune), newPeer(t, "10.0.0.2/24", tune)
	w.a.e.Advance(w.now)
	w.b.e.Advance(w.now)
	return w
}

func (p *peer) sock() (*peerSock, uint64) {
	p.next++
	s := &peerSock{}
	s.pair.Init()
	p.socks[p.next] = s
	return s, p.next
}

func (p *peer) attach(s *peerSock) {
	if !s.noMemory && !s.pair.Rx.Attached() {
		s.pair.Rx.Attach(make([]byte, p.ring))
	}
	if !s.pair.Tx.Attached() {
		s.pair.Tx.Attach(make([]byte, p.ring))
	}
	p.e.Attach(s.h, &s.pair)
}

func (p *peer) listen(port uint16, backlog int) *peerSock {
	p.t.Helper()
	s, u := p.sock()
	h, errno := p.e.Open(stream.IPv4, u)
	p.must(errno)
	s.h = h
	p.must(p.e.SetOption(h, stream.OptReuseAddr, 1))
	p.must(p.e.Bind(h, netip.AddrPortFrom(p.addr, port)))
	p.must(p.e.Listen(h, backlog))
	return s
}

func (p *peer) must(errno syscall.Errno) {
	p.t.Helper()
	if errno != 0 {
		p.t.Fatal(errno)
	}
}

func (p *peer) connect(to netip.Addr, port uint16) *peerSock {
	p.t.Helper()
	s, u := p.sock()
	h, errno := p.e.Open(stream.IPv4, u)
	p.must(errno)
	s.h = h
	p.attach(s)
	if errno := p.e.Connect(h, netip.AddrPortFrom(to, port)); errno != syscall.EINPROGRESS {
		p.t.Fatal(errno)
	}
	return s
}

// accepted takes one connection off a listener.
func (p *peer) accepted(l *peerSock) *peerSock {
	p.t.Helper()
	s, u := p.sock()
	h, errno := p.e.Accept(l.h, u)
	p.must(errno)
	s.h = h
	p.attach(s)
	return s
}

func (p *peer) Established(u uint64)             { p.socks[u].est = true }
func (p *peer) Failed(u uint64, e syscall.Errno) { p.socks[u].failed = e }
func (p *peer) Acceptable(u uint64)              { p.socks[u].accept = true }
func (p *peer) Writable(u uint64)                { s := p.socks[u]; s.writable++; p.push(s) }
func (p *peer) Readable(u uint64) {
	s := p.socks[u]
	s.readable++
	if !s.keep {
		p.read(s)
	}
}

// read takes what is in the ring.
func (p *peer) read(s *peerSock) {
	if !s.pair.Rx.Attached() {
		s.pair.Rx.Attach(make([]byte, p.ring))
		p.e.RxRoom(s.h)
	}
	for {
		a, b := s.pair.Rx.Peek()
		if len(a) == 0 {
			break
		}
		s.got = append(append(s.got, a...), b...)
		s.pair.Rx.Release(len(a) + len(b))
		p.e.RxRoom(s.h)
	}
	if s.pair.RxEOF.Load() {
		s.eof = true
	}
	if s.noMemory {
		s.pair.Rx.Detach()
	}
}

// write queues bytes to be sent.
func (p *peer) write(s *peerSock, b []byte) {
	s.pending = append(s.pending, b...)
	p.push(s)
}

func (p *peer) push(s *peerSock) {
	if s.failed != 0 {
		return
	}
	a, b := s.pair.Tx.Reserve()
	n := copy(a, s.pending)
	n += copy(b, s.pending[n:])
	if n > 0 {
		s.pending = s.pending[n:]
		s.pair.Tx.Publish(n)
		p.e.TxReady(s.h)
	}
	if len(s.pending) == 0 && s.closing && !s.pair.TxEOF.Load() {
		s.pair.TxEOF.Store(true)
		p.e.TxReady(s.h)
	}
}

// turn does one turn of a host.
func (w *two) turn(p *peer) bool {
	p.e.Advance(w.now)
	p.e.EndBurst()
	p.e.Poll(p, 1000)
	n := p.e.Transmit(p, 1000)
	for _, b := range p.out {
		if w.filter == nil || w.filter(p == w.a, b) {
			w.queue = append(w.queue, flying{w.now + w.delay, p == w.b, b})
		}
	}
	p.out = p.out[:0]
	if w.check {
		if err := p.e.check(); err != nil {
			w.t.Fatalf("at %v: %v", w.now, err)
		}
	}
	return n > 0 || p.e.Busy()
}

// run lets time pass until done, at most d.
func (w *two) run(d time.Duration, done func() bool) bool {
	w.t.Helper()
	end := w.now + d
	for step := 0; ; step++ {
		if step > 2_000_000 {
			w.t.Fatal("no end")
		}
		for len(w.queue) > 0 && w.queue[0].at <= w.now {
			f := w.queue[0]
			w.queue = w.queue[1:]
			if f.toA {
				w.a.e.Deliver(f.b, w.unsummed)
			} else {
				w.b.e.Deliver(f.b, w.unsummed)
			}
		}
		busy := w.turn(w.a)
		busy = w.turn(w.b) || busy
		if done != nil && done() {
			return true
		}
		if busy {
			continue
		}
		next := min(w.a.e.Next(), w.b.e.Next())
		if len(w.queue) > 0 {
			next = min(next, w.queue[0].at)
		}
		if next <= w.now {
			continue
		}
		if next > end {
			w.now = end
			w.a.e.Advance(end)
			w.b.e.Advance(end)
			return done == nil
		}
		w.now = next
	}
}

// connected makes a connection from a to b.
func (w *two) connected() (c, s *peerSock) {
	w.t.Helper()
	l := w.b.listen(80, 16)
	c = w.a.connect(w.b.addr, 80)
	if !w.run(10*time.Second, func() bool { return c.est && l.accept }) {
		w.t.Fatal("not established")
	}
	return c, w.b.accepted(l)
}

func pattern(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func (p *peer) state(s *peerSock) state {
	var i stream.Info
	p.e.Info(s.h, &i)
	return state(i.State)
}

func sameBytes(t testing.TB, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		k := 0
		for k < len(got) && k < len(want) && got[k] == want[k] {
			k++
		}
		t.Fatalf("%d bytes of %d, the first %d right", len(got), len(want), k)
	}
}
