// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
	"netcon/internal/testenv/faults"
)

// lan joins stacks by a fake wire, with a worker loop on the test's goroutine:
//
//	host a ── Output ──► queue of b ──► Deliver
type lan struct {
	t     testing.TB
	hosts []*host
	path  stream.Path
	bell  chan struct{}
	// mangle, if set, says what arrives of a packet sent.
	mangle func(from *host, p []byte) [][]byte
	// verified says that the wire vouches for transport checksums.
	verified bool
	// start is when the clock of the hosts' faults began.
	start time.Time
}

// host is one stack and the application on it.
type host struct {
	l      *lan
	s      *Stack
	stat   *stat.Block
	in     [][]byte
	dst    *host
	group  bool // the packet goes to every other host
	frame  []byte
	user   uint64
	socks  map[uint64]*sock
	silent bool // sent packets vanish
	sent   [][]byte
	keep   bool // remember sent packets
	free   [][]byte
	faults *faults.Injector // what packets to this host meet, if not nil
}

// sock is a socket of the application.
type sock struct {
	h           stream.Handle
	p           *stream.Pair
	established bool
	failed      syscall.Errno
	acceptable  int
	readable    int
	writable    int
	onReadable  func()
	onWritable  func()
}

func addr4(n byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, n}) }
func addr6(n byte) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfd, 15: n})
}

func newLAN(t testing.TB, n int, edit func(*Config)) *lan {
	l := &lan{t: t, path: stream.Path{Max: 1450, Checksums: true}, bell: make(chan struct{}, 1), start: time.Now()}
	for i := range n {
		cfg := Config{
			Name: fmt.Sprintf("h%d", i+1), MTU: 1450, TimeWait: 50 * time.Millisecond,
			Addrs: []netip.Prefix{netip.PrefixFrom(addr4(byte(i+1)), 24), netip.PrefixFrom(addr6(byte(i+1)), 64)},
			Doorbell: func() {
				select {
				case l.bell <- struct{}{}:
				default:
				}
			},
			Stat: new(stat.Block),
		}
		if edit != nil {
			edit(&cfg)
		}
		s, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		h := &host{l: l, s: s, stat: cfg.Stat, socks: map[uint64]*sock{}}
		l.hosts = append(l.hosts, h)
		t.Cleanup(func() { s.Stop(nil) })
	}
	return l
}

// Open implements stream.Output.
func (h *host) Open(dst netip.Addr, _ uint32) stream.Path {
	h.dst = nil
	h.group = dst.IsMulticast() || dst == addr4(255) || dst == netip.AddrFrom4([4]byte{255, 255, 255, 255})
	for _, o := range h.l.hosts {
		for _, p := range o.s.cfg.Addrs {
			if p.Addr() == dst {
				h.dst = o
			}
		}
	}
	return h.l.path
}

// Frame implements stream.Output.
func (h *host) Frame(n int) []byte {
	if d := h.dst; d != nil && len(d.free) > 0 && cap(d.free[len(d.free)-1]) >= n {
		h.frame = d.free[len(d.free)-1][:n]
		d.free = d.free[:len(d.free)-1]
		return h.frame
	}
	h.frame = make([]byte, n, max(n, 2048))
	return h.frame
}

// Commit implements stream.Output.
func (h *host) Commit() {
	if h.keep {
		h.sent = append(h.sent, bytes.Clone(h.frame))
	}
	if h.group && !h.silent {
		for _, o := range h.l.hosts {
			if o != h {
				o.in = append(o.in, bytes.Clone(h.frame))
			}
		}
	}
	if h.silent || h.dst == nil {
		return
	}
	if h.dst.faults != nil {
		h.dst.faults.Push(ethernet(h.frame), time.Since(h.l.start))
		return
	}
	if h.l.mangle != nil {
		h.dst.in = append(h.dst.in, h.l.mangle(h, h.frame)...)
		return
	}
	h.dst.in = append(h.dst.in, h.frame)
}

// The following implement stream.Events.

func (h *host) Established(u uint64) { h.socks[u].established = true }

func (h *host) Failed(u uint64, e syscall.Errno) {
	if e == 0 {
		h.l.t.Error("failed with no error")
	}
	h.socks[u].failed = e
}
func (h *host) Acceptable(u uint64) { h.socks[u].acceptable++ }
func (h *host) Readable(u uint64) {
	k := h.socks[u]
	k.readable++
	if k.onReadable != nil {
		k.onReadable()
	}
}

func (h *host) Writable(u uint64) {
	k := h.socks[u]
	k.writable++
	if k.onWritable != nil {
		k.onWritable()
	}
}

// ethernet puts an Ethernet header before an IP packet.
func ethernet(p []byte) []byte {
	f := make([]byte, wire.EthernetLen, wire.EthernetLen+len(p))
	f[12], f[13] = 0x08, 0x00
	if p[0]>>4 == 6 {
		f[12], f[13] = 0x86, 0xdd
	}
	return append(f, p...)
}

// due moves the packets that have met their faults to their hosts.
func (l *lan) due() {
	for _, h := range l.hosts {
		if h.faults == nil {
			continue
		}
		for {
			f, ok := h.faults.Pop(time.Since(l.start))
			if !ok {
				break
			}
			h.in = append(h.in, bytes.Clone(f[wire.EthernetLen:]))
		}
	}
}

// turn runs every host once and reports whether any did something.
func (l *lan) turn() bool {
	l.due()
	busy := false
	for _, h := range l.hosts {
		in := h.in
		h.in = nil
		for _, p := range in {
			h.s.Deliver(p, l.verified)
			if l.mangle == nil && h.faults == nil {
				h.free = append(h.free, p)
			}
		}
		if len(in) > 0 {
			h.s.EndBurst()
			busy = true
		}
		h.s.Poll(h, 256)
		if h.s.Transmit(h, 256) > 0 {
			busy = true
		}
		busy = busy || h.s.Busy()
	}
	return busy
}

// until runs the hosts until cond holds, at most d.
func (l *lan) until(what string, d time.Duration, cond func() bool) {
	l.t.Helper()
	end := time.Now().Add(d)
	for !cond() {
		if !l.turn() {
			if cond() {
				return
			}
			if time.Now().After(end) {
				l.t.Fatalf("%s: not within %v", what, d)
			}
			select {
			case <-l.bell:
			case <-time.After(2 * time.Millisecond):
			}
		}
		if time.Now().After(end) && !cond() {
			l.t.Fatalf("%s: not within %v", what, d)
		}
	}
}

// quiet runs the hosts until nothing happens for a moment.
func (l *lan) quiet() {
	for idle := 0; idle < 3; {
		if l.turn() {
			idle = 0
			continue
		}
		idle++
		select {
		case <-l.bell:
			idle = 0
		case <-time.After(3 * time.Millisecond):
		}
	}
	for _, h := range l.hosts {
		h.stat.Publish()
	}
}

func newPair(ring int) *stream.Pair {
	p := new(stream.Pair)
	p.Init()
	if ring > 0 {
		p.Tx.Attach(make([]byte, ring))
		p.Rx.Attach(make([]byte, ring))
	}
	return p
}

func (h *host) open(f stream.Family, ring int) *sock {
	h.l.t.Helper()
	h.user++
	k := &sock{p: newPair(ring)}
	h.socks[h.user] = k
	var e syscall.Errno
	if k.h, e = h.s.Open(f, h.user); e != 0 {
		h.l.t.Fatalf("open: %v", e)
	}
	return k
}

func (h *host) listen(f stream.Family, at netip.AddrPort, backlog int) *sock {
	h.l.t.Helper()
	k := h.open(f, 0)
	if e := h.s.Bind(k.h, at); e != 0 {
		h.l.t.Fatalf("bind %v: %v", at, e)
	}
	if e := h.s.Listen(k.h, backlog); e != 0 {
		h.l.t.Fatalf("listen: %v", e)
	}
	return k
}

func (h *host) connect(f stream.Family, to netip.AddrPort, ring int) *sock {
	h.l.t.Helper()
	k := h.open(f, ring)
	h.s.Attach(k.h, k.p)
	if e := h.s.Connect(k.h, to); e != syscall.EINPROGRESS {
		h.l.t.Fatalf("connect %v: %v", to, e)
	}
	return k
}

func (h *host) accept(l *sock, ring int) *sock {
	h.user++
	k := &sock{p: newPair(ring)}
	n, e := h.s.Accept(l.h, h.user)
	if e != 0 {
		if e != syscall.EAGAIN && e != syscall.EMFILE {
			h.l.t.Fatalf("accept: %v", e)
		}
		return nil
	}
	k.h = n
	h.socks[h.user] = k
	h.s.Attach(n, k.p)
	return k
}

// join connects a socket of a to a listener of b.
func (l *lan) join(a, b *host, lis *sock, f stream.Family, to netip.AddrPort, ring int) (c, s *sock) {
	l.t.Helper()
	c = a.connect(f, to, ring)
	l.until("accept", 5*time.Second, func() bool {
		if s == nil {
			s = b.accept(lis, ring)
		}
		return s != nil && c.established
	})
	return c, s
}

// pairOf gives a connected pair over IPv4.
func (l *lan) pairOf(ring int) (a, b *host, c, s *sock) {
	l.t.Helper()
	a, b = l.hosts[0], l.hosts[1]
	to := netip.AddrPortFrom(addr4(2), 80)
	lis := b.listen(stream.IPv4, to, 16)
	c, s = l.join(a, b, lis, stream.IPv4, to, ring)
	return a, b, c, s
}

// put writes b into the Tx ring of k as far as there is room.
func (h *host) put(k *sock, b []byte) int {
	x, y := k.p.Tx.Reserve()
	n := copy(x, b)
	n += copy(y, b[n:])
	k.p.Tx.Publish(n)
	h.s.TxReady(k.h)
	return n
}

// get takes everything out of the Rx ring of k.
func (h *host) get(k *sock) []byte {
	x, y := k.p.Rx.Peek()
	b := append(bytes.Clone(x), y...)
	k.p.Rx.Release(len(b))
	h.s.RxRoom(k.h)
	return b
}

func (h *host) shut(k *sock) {
	h.l.t.Helper()
	if e := h.s.Shutdown(k.h, stream.ShutWrite); e != 0 {
		h.l.t.Fatalf("shutdown: %v", e)
	}
}

// bulk is a stream of n bytes from one socket to another.
type bulk struct {
	from, to   *host
	src, dst   *sock
	n          int
	rng        *rand.ChaCha8
	check      *rand.ChaCha8
	buf        []byte
	sent, recv int
	bad        bool
}

func newBulk(from *host, src *sock, to *host, dst *sock, n int, seed byte) *bulk {
	return &bulk{
		from: from, src: src, to: to, dst: dst, n: n,
		rng: rand.NewChaCha8([32]byte{seed}), check: rand.NewChaCha8([32]byte{seed}),
	}
}

// step moves what can be moved.
func (b *bulk) step() {
	for b.sent < b.n {
		x, _ := b.src.p.Tx.Reserve()
		// The generator makes whole words only while asked for them.
		m := min(len(x)&^7, b.n-b.sent)
		if m == 0 {
			break
		}
		b.rng.Read(x[:m])
		b.src.p.Tx.Publish(m)
		b.sent += m
		b.from.s.TxReady(b.src.h)
	}
	for {
		x, _ := b.dst.p.Rx.Peek()
		if len(x) == 0 {
			break
		}
		if cap(b.buf) < len(x) {
			b.buf = make([]byte, len(x))
		}
		w := b.buf[:len(x)]
		b.check.Read(w)
		b.bad = b.bad || !bytes.Equal(w, x)
		b.dst.p.Rx.Release(len(x))
		b.recv += len(x)
		b.to.s.RxRoom(b.dst.h)
	}
}

// carry runs the streams to their ends.
func (l *lan) carry(d time.Duration, bs ...*bulk) {
	l.t.Helper()
	l.until("bulk", d, func() bool {
		done := true
		for _, b := range bs {
			b.step()
			done = done && b.recv >= b.n
		}
		return done
	})
	for i, b := range bs {
		if b.bad || b.recv != b.n {
			l.t.Fatalf("stream %d: %d of %d bytes, equal %v", i, b.recv, b.n, !b.bad)
		}
	}
}
