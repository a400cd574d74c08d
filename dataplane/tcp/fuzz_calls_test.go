// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"netcon/dataplane/stream"
)

// calls is two engines on a link, and owners that call what they like.
type calls struct {
	t     testing.TB
	side  [2]*lab
	now   time.Duration
	queue []letter
	stale [2][]stream.Handle
	loss  uint8 // of 256 packets
	r     *rand.Rand
}

// letter is a packet on its way.
type letter struct {
	at     time.Duration
	to     int
	packet []byte
}

func newCalls(t testing.TB, mode uint8) *calls {
	c := &calls{t: t, now: time.Hour, r: rand.New(rand.NewPCG(uint64(mode), 8))}
	for i := range c.side {
		l := newLab(t, byte(1+i), func(cfg *Config) {
			cfg.Tuning.ECN = int(mode >> i & 1)
			cfg.Tuning.Timestamps = mode&(4<<i) == 0
			cfg.Tuning.SynCookies = int(mode >> 4 & 3 % 3)
			cfg.Tuning.AbortOnOverflow = mode&64 != 0
			cfg.Limits.Connections = 12
		})
		l.wire = func(packet []byte) {
			if uint8(c.r.Uint32()) >= c.loss {
				delay := time.Millisecond + time.Duration(c.r.IntN(1000))*time.Microsecond
				c.queue = append(c.queue, letter{c.now + delay, 1 - i, packet})
			}
		}
		c.side[i] = l
	}
	return c
}

// pass lets d pass on both sides and the link.
func (c *calls) pass(d time.Duration) {
	end := c.now + d
	for n := 0; ; n++ {
		if n > 200000 {
			c.t.Fatalf("no rest: at %v, next %v %v\n%s%s", c.now, c.side[0].e.Next(), c.side[1].e.Next(), c.side[0].dump(), c.side[1].dump())
		}
		rest := c.queue[:0]
		due := []letter{}
		for _, m := range c.queue {
			if m.at <= c.now {
				due = append(due, m)
			} else {
				rest = append(rest, m)
			}
		}
		c.queue = rest
		for _, m := range due {
			c.side[m.to].e.Deliver(m.packet, false)
		}
		next := never
		for _, m := range c.queue {
			next = min(next, m.at)
		}
		busy := false
		for _, l := range c.side {
			l.now = c.now
			l.e.Advance(c.now)
			l.after()
			busy = busy || l.e.Busy()
			next = min(next, l.e.Next())
		}
		for _, m := range c.queue {
			next = min(next, m.at)
		}
		switch {
		case busy:
			continue
		case next > end:
			c.now = end
			for _, l := range c.side {
				l.now = end
				l.e.Advance(end)
				l.after()
			}
			return
		}
		c.now = max(c.now, next)
	}
}

// callAddrs are addresses that calls are made with.
var callAddrs = [16]netip.Addr{
	netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"),
	netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2"), netip.IPv4Unspecified(), netip.IPv6Unspecified(),
	netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1"), netip.MustParseAddr("::ffff:10.0.0.2"), netip.MustParseAddr("10.0.0.99"),
	netip.MustParseAddr("224.0.0.1"), netip.MustParseAddr("192.0.2.1"),
	{},
	netip.MustParseAddr("::ffff:0.0.0.0"),
}

func callAddr(p *program) netip.AddrPort {
	a := callAddrs[p.byte()&15]
	return netip.AddrPortFrom(a, [4]uint16{80, 81, 0, 4000}[p.below(4)])
}

// wrong makes every call with a handle that names no socket: nothing happens.
func (c *calls) wrong(l *lab, h stream.Handle, p *program) {
	e := l.e
	before := [3]int{e.conns.len(), e.table.len(), e.ports.buckets.len()}
	var pair stream.Pair
	pair.Init()
	var info stream.Info
	_, acceptErr := e.Accept(h, 99)
	_, remoteErr := e.Remote(h)
	_, optionErr := e.Option(h, stream.OptTTL)
	for k, errno := range []syscall.Errno{
		e.Bind(h, callAddr(p)), e.Listen(h, 1), acceptErr, e.Connect(h, callAddr(p)),
		e.Shutdown(h, stream.ShutWrite), remoteErr, e.SetOption(h, stream.OptTTL, 9), optionErr,
	} {
		if errno != syscall.EBADF {
			c.t.Fatalf("call %d of handle %#x, which is gone: %v", k, h, errno)
		}
	}
	e.Attach(h, &pair)
	e.TxReady(h)
	e.RxRoom(h)
	e.Info(h, &info)
	e.Close(h)
	e.Abort(h)
	if e.Local(h).IsValid() {
		c.t.Fatalf("handle %#x, which is gone, has an address", h)
	}
	if after := [3]int{e.conns.len(), e.table.len(), e.ports.buckets.len()}; after != before {
		c.t.Fatalf("calls of handle %#x, which is gone: %v, then %v", h, before, after)
	}
}

// step is one call, or some time.
func (c *calls) step(p *program) {
	k := p.byte()
	side := int(k >> 7)
	l := c.side[side]
	switch k % 32 {
	case 0, 1, 2:
		c.open(l, p)
	case 3, 4:
		if u, s := c.pick(l, p); s != nil {
			errno := l.e.Bind(s.h, callAddr(p))
			if errno == 0 && l.e.Local(s.h).Port() == 0 {
				c.t.Fatalf("socket %d is bound to no port", u)
			}
		}
	case 5, 6:
		if _, s := c.pick(l, p); s != nil {
			if l.e.Listen(s.h, p.below(4)-1) == 0 {
				s.listener = true
			}
		}
	case 7, 8, 9:
		if _, s := c.pick(l, p); s != nil && !s.listener {
			if l.e.Connect(s.h, callAddr(p)) == syscall.EINPROGRESS && s.failed {
				s.failed, s.started, s.attached = false, false, false
				s.pair.Init()
			}
		}
	case 10, 11:
		c.open(l, p)
		u := l.order[len(l.order)-1]
		s := l.socks[u]
		l.e.Bind(s.h, netip.AddrPortFrom(netip.IPv4Unspecified(), 80))
		if l.e.Listen(s.h, p.below(3)) == 0 {
			s.listener = true
		}
	case 12, 13, 14:
		// Something established, most of the time.
		c.open(l, p)
		u := l.order[len(l.order)-1]
		s := l.socks[u]
		l.attach(s, 1024<<p.below(7), 1024<<p.below(7))
		l.e.Connect(s.h, netip.AddrPortFrom(callAddrs[1-side], 80))
	case 15:
		h := stream.Handle(p.byte())
		if list := c.stale[side]; len(list) > 0 && h < 200 {
			h = list[p.below(len(list))]
		}
		c.wrong(l, h, p)
	case 16, 17:
		c.pass(time.Duration(p.byte()) * 10 * time.Millisecond)
	case 18:
		c.pass(time.Duration(p.byte()) * time.Second)
	case 19:
		c.loss = p.byte() / 2
	case 20:
		l.path = [4]stream.Path{{Max: 1500, Checksums: true}, {Max: 1500, Checksums: true}, {Max: 0}, {Max: 700, Checksums: true}}[p.below(4)]
	default:
		before := maps.Clone(l.socks)
		l.user(p)
		for u, s := range before {
			if _, ok := l.socks[u]; !ok {
				c.stale[side] = append(c.stale[side], s.h)
			}
		}
	}
	for _, l := range c.side {
		l.after()
	}
}

// open opens a socket; when there is none left, another one is closed first.
func (c *calls) open(l *lab, p *program) {
	family := stream.IPv4
	if p.byte()&3 == 3 {
		family = stream.IPv6
	}
	s, u := l.add()
	h, errno := l.e.Open(family, u)
	if errno == syscall.EMFILE {
		victim := l.order[p.below(len(l.order)-1)]
		l.e.Close(l.socks[victim].h)
		l.drop(victim)
		h, errno = l.e.Open(family, u)
	}
	for n := len(l.order); errno == syscall.EMFILE && n > 1; n-- { // what waits for Accept counts too
		victim := l.order[0]
		l.e.Abort(l.socks[victim].h)
		l.drop(victim)
		h, errno = l.e.Open(family, u)
	}
	if errno != 0 {
		c.t.Fatalf("open: %v with %d sockets of ours", errno, len(l.order)-1)
	}
	s.h = h
}

func (c *calls) pick(l *lab, p *program) (uint64, *labSock) {
	if len(l.order) == 0 {
		return 0, nil
	}
	u := l.order[p.below(len(l.order))]
	return u, l.socks[u]
}

// end closes everything and waits: nothing is left on either side.
func (c *calls) end() {
	c.loss = 0
	for _, l := range c.side {
		l.path = stream.Path{Max: 1500, Checksums: true}
		for _, u := range slices.Sorted(maps.Keys(l.socks)) {
			l.e.Close(l.socks[u].h)
			l.drop(u)
		}
	}
	c.pass(3 * time.Hour)
	for _, l := range c.side {
		l.nothingLeft()
	}
}

// FuzzCalls: the owners of two engines make calls in any order, of any handle,
// with any value. The engines stay consistent, bytes arrive as they were
// written, and in the end nothing is left.
func FuzzCalls(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(callsProgram(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) { runCalls(t, b) })
}

// callsProgram returns a random program that begins with a connection.
func callsProgram(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 78))
	n := 20 + r.IntN(1000)
	zeros := r.Float64() * 0.5
	b := []byte{10, 0, 1, 140, 0, 3, 3, 16, 20, 27, 0, 11}
	for len(b) < n {
		x := byte(r.Uint32())
		if r.Float64() < zeros {
			x = 0
		}
		b = append(b, x)
	}
	return b
}

// Random programs get further than those a fuzzer makes.
func TestCallsPrograms(t *testing.T) {
	n := uint64(500)
	if testing.Short() {
		n = 100
	}
	for seed := range n {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { runCalls(t, callsProgram(seed)) }) {
			return
		}
	}
}

func runCalls(t testing.TB, b []byte) {
	p := &program{b: b}
	if len(p.b) > 4096 {
		p.b = p.b[:4096]
	}
	mode := uint8(0)
	if len(b) > 0 {
		mode = b[len(b)-1]
	}
	c := newCalls(t, mode)
	defer c.side[0].e.Stop(nil)
	defer c.side[1].e.Stop(nil)
	for n := 0; !p.done() && n < 500; n++ {
		c.step(p)
	}
	c.end()
}
