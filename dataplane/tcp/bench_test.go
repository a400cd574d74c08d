// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"netcon/dataplane/stream"
)

// wire is an Output whose packets lie in memory that is used again and again.
type wireQueue struct {
	path   stream.Path
	frames [][]byte
	sizes  []int
	n      int
}

func (q *wireQueue) Open(netip.Addr, uint32) stream.Path { return q.path }

func (q *wireQueue) Frame(n int) []byte {
	if q.n == len(q.frames) {
		q.frames = append(q.frames, make([]byte, max(q.path.Max, 2048)))
		q.sizes = append(q.sizes, 0)
	}
	q.sizes[q.n] = n
	return q.frames[q.n]
}

func (q *wireQueue) Commit() { q.n++ }

// hand delivers what was sent.
func (q *wireQueue) hand(e *Engine) int {
	n := q.n
	for k := range n {
		e.Deliver(q.frames[k][:q.sizes[k]], !q.path.Checksums)
	}
	q.n = 0
	e.EndBurst()
	return n
}

// benchPair is many connections between two engines without delay.
type benchPair struct {
	a, b                    *Engine
	ab, ba                  wireQueue
	now                     time.Duration
	ca, cb                  []stream.Handle
	pa, pb                  []*stream.Pair
	established, acceptable int
	onRead                  func(user uint64)
	onWrite                 func(user uint64)
	shift                   uint16
}

func (p *benchPair) Established(uint64)               { p.established++ }
func (p *benchPair) Failed(u uint64, e syscall.Errno) { panic(fmt.Sprintf("%d: %v", u, e)) }
func (p *benchPair) Acceptable(uint64)                { p.acceptable++ }
func (p *benchPair) Readable(u uint64) {
	if p.onRead != nil {
		p.onRead(u)
	}
}

func (p *benchPair) Writable(u uint64) {
	if p.onWrite != nil {
		p.onWrite(u)
	}
}

func newBenchPair(tb testing.TB, path stream.Path, conns int) *benchPair {
	tb.Helper()
	p := &benchPair{now: time.Hour}
	p.ab.path, p.ba.path = path, path
	mk := func(addr string) *Engine {
		e, err := New(Config{
			Name: "bench", MTU: 1500, Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}, Seed: [32]byte{7},
			Limits: Limits{Connections: conns + 100, HalfOpen: 4096, TimeWait: 1024, Orphans: 1024},
		})
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { e.Stop(nil) })
		e.Advance(p.now)
		return e
	}
	p.a, p.b = mk("10.0.0.1/16"), mk("10.0.0.2/16")
	return p
}

// turn does one turn of both engines.
func (p *benchPair) turn() int {
	p.a.Poll(p, 1<<20)
	n := p.a.Transmit(&p.ab, 1<<20)
	p.ab.hand(p.b)
	p.b.Poll(p, 1<<20)
	n += p.b.Transmit(&p.ba, 1<<20)
	p.ba.hand(p.a)
	p.now += 10 * time.Microsecond
	p.a.Advance(p.now)
	p.b.Advance(p.now)
	return n
}

// open makes n connections; user values are their numbers.
func (p *benchPair) open(tb testing.TB, n int, attach bool, ring int) {
	tb.Helper()
	var ls []stream.Handle
	for port := range uint16(1 + n/25000) {
		l, errno := p.b.Open(stream.IPv4, 1<<40)
		if errno != 0 {
			tb.Fatal(errno)
		}
		if errno := p.b.Bind(l, netip.AddrPortFrom(netip.MustParseAddr("10.0.0.2"), 80+port+p.shift)); errno != 0 {
			tb.Fatal(errno)
		}
		if errno := p.b.Listen(l, 4096); errno != 0 {
			tb.Fatal(errno)
		}
		ls = append(ls, l)
	}
	for len(p.cb) < n {
		for k := 0; k < 256 && len(p.ca) < n; k++ {
			h, errno := p.a.Open(stream.IPv4, uint64(len(p.ca)))
			if errno != 0 {
				tb.Fatal(errno)
			}
			to := netip.AddrPortFrom(netip.MustParseAddr("10.0.0.2"), 80+p.shift+uint16(len(p.ca)/25000))
			if errno := p.a.Connect(h, to); errno != syscall.EINPROGRESS {
				tb.Fatal(errno, len(p.ca))
			}
			p.ca = append(p.ca, h)
		}
		for range 4 {
			p.turn()
		}
		before := len(p.cb)
		for _, l := range ls {
			for {
				h, errno := p.b.Accept(l, uint64(len(p.cb))|1<<32)
				if errno != 0 {
					break
				}
				p.cb = append(p.cb, h)
			}
		}
		if len(p.cb) == before {
			tb.Fatalf("%d of %d connections", len(p.cb), len(p.ca))
		}
	}
	if attach {
		mk := func(e *Engine, h stream.Handle) *stream.Pair {
			q := new(stream.Pair)
			q.Init()
			q.Tx.Attach(make([]byte, ring))
			q.Rx.Attach(make([]byte, ring))
			e.Attach(h, q)
			return q
		}
		for k := range p.ca {
			p.pa = append(p.pa, mk(p.a, p.ca[k]))
			p.pb = append(p.pb, mk(p.b, p.cb[k]))
		}
		for range 4 {
			p.turn()
		}
	}
}

func take(r *stream.Ring) int {
	n := r.Len()
	r.Release(n)
	return n
}

func put(r *stream.Ring, n int) int {
	n = min(n, r.Room())
	if n > 0 {
		r.Reserve()
		r.Publish(n)
	}
	return n
}

// requests has every connection do one request of 64 bytes and get as much
// back.
func (p *benchPair) requests(first, n int) {
	for k := first; k < first+n; k++ {
		put(&p.pa[k].Tx, 64)
		p.a.TxReady(p.ca[k])
	}
	answered := 0
	p.onRead = func(u uint64) {
		k := int(uint32(u))
		if u>>32 != 0 {
			if take(&p.pb[k].Rx) > 0 {
				p.b.RxRoom(p.cb[k])
				put(&p.pb[k].Tx, 64)
				p.b.TxReady(p.cb[k])
			}
		} else if take(&p.pa[k].Rx) > 0 {
			p.a.RxRoom(p.ca[k])
			answered++
		}
	}
	for turns := 0; answered < n; turns++ {
		p.turn()
		if turns > 100000 {
			panic("requests are not answered")
		}
	}
}

func BenchmarkRequests(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := newBenchPair(b, stream.Path{Max: 1500, Checksums: true}, n)
			p.open(b, n, true, 4096)
			p.requests(0, n)
			b.ReportAllocs()
			b.ResetTimer()
			for done := 0; done < b.N; done += n {
				p.requests(0, n)
			}
		})
	}
}

func BenchmarkBulk(b *testing.B) {
	for _, path := range []stream.Path{{Max: 1500, Checksums: true}, {Max: 65535}} {
		b.Run(fmt.Sprint(path.Max), func(b *testing.B) {
			p := newBenchPair(b, path, 1)
			p.open(b, 1, true, 256<<10)
			got := 0
			p.onRead = func(u uint64) {
				if u>>32 != 0 {
					got += take(&p.pb[0].Rx)
					p.b.RxRoom(p.cb[0])
				}
			}
			p.onWrite = func(u uint64) {
				if u>>32 == 0 && put(&p.pa[0].Tx, 1<<20) > 0 {
					p.a.TxReady(p.ca[0])
				}
			}
			move := func(n int) {
				for n += got; got < n; {
					p.onWrite(0)
					p.turn()
				}
			}
			move(1 << 20)
			b.SetBytes(1 << 16)
			b.ReportAllocs()
			b.ResetTimer()
			move(b.N << 16)
		})
	}
}

func BenchmarkConnect(b *testing.B) {
	for range 1 {
		p := newBenchPair(b, stream.Path{Max: 1500, Checksums: true}, b.N)
		b.ReportAllocs()
		b.ResetTimer()
		p.open(b, b.N, false, 0)
	}
}

func TestNoAllocations(t *testing.T) {
	p := newBenchPair(t, stream.Path{Max: 1500, Checksums: true}, 16)
	p.open(t, 16, true, 64<<10)
	p.requests(0, 16)
	if n := testing.AllocsPerRun(100, func() { p.requests(0, 16) }); n > 2 { // the closure of requests
		t.Errorf("%v allocations for 16 requests", n)
	}
	got := 0
	p.onRead = func(u uint64) {
		if u>>32 != 0 {
			got += take(&p.pb[0].Rx)
			p.b.RxRoom(p.cb[0])
		}
	}
	bulk := func() {
		for n := got + 1<<20; got < n; {
			if put(&p.pa[0].Tx, 1<<20) > 0 {
				p.a.TxReady(p.ca[0])
			}
			p.turn()
		}
	}
	bulk()
	if n := testing.AllocsPerRun(20, bulk); n != 0 {
		t.Errorf("%v allocations for a mebibyte", n)
	}
}
