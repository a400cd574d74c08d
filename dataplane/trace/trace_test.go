// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"netcon/dataplane/wire"
	"netcon/internal/testenv"
)

var (
	own  = netip.MustParseAddrPort("192.0.2.1:4789")
	peer = netip.MustParseAddr("192.0.2.2")
)

// Two containers of one network; inner is from one to two.
var (
	one = Container{Name: "one", VNI: 42, MAC: wire.MAC{2, 0, 0, 0, 0, 1}, Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}}
	two = Container{Name: "two", VNI: 42, MAC: wire.MAC{2, 0, 0, 0, 0, 2}}
)

// test is a trace with a clock of its own.
type test struct {
	*Trace
	t   testing.TB
	now time.Duration
	out bytes.Buffer
}

// newTest makes a trace of everything, of one worker that has both containers.
func newTest(t testing.TB, change ...func(*Config)) *test {
	t.Helper()
	x := &test{t: t, now: time.Hour}
	cfg := Config{
		Layers: Inner, Direction: InOut, Snaplen: MaxSnaplen, Workers: 1, VTEP: own, Ring: 64 << 10,
		Containers: []Container{one, two}, Now: func() time.Duration { return x.now }, Application: "test",
	}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if x.Trace, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	for i := range cfg.Workers {
		for j, c := range cfg.Containers {
			x.Tap(i).Know(int32(j), c)
		}
	}
	return x
}

func noFlush() error { return nil }

// finish ends the trace and reads it all.
func (x *test) finish() stream {
	x.t.Helper()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if x.written == 0 {
		if err := x.Copy(ended, &x.out, noFlush); err != nil {
			x.t.Fatal(err)
		}
	}
	sum, err := x.Finish(&x.out, noFlush)
	if err != nil {
		x.t.Fatal(err)
	}
	s, rest := readStream(x.t, x.out.Bytes())
	if len(rest) != 0 || len(s.stats) != len(s.ifaces) {
		x.t.Fatalf("%d bytes left, %d interfaces and %d statistics", len(rest), len(s.ifaces), len(s.stats))
	}
	dropped := uint64(0)
	for _, st := range s.stats {
		dropped += st.dropped
	}
	if sum.Packets != uint64(len(s.packets)) || sum.Dropped != dropped {
		x.t.Fatalf("summary %+v of %d packets and %d dropped", sum, len(s.packets), dropped)
	}
	return s
}

func TestInner(t *testing.T) {
	x := newTest(t)
	began := time.Now()
	x.Tap(0).Inner(time.Hour+time.Second, 0, true, []byte("from one"))
	x.Tap(0).Inner(time.Hour+2*time.Second, 1, false, []byte("to two"))
	x.Tap(0).Inner(time.Hour, 2, false, []byte("to nobody"))
	x.Tap(0).Outer(time.Hour, false, []byte("outer"))
	x.Tap(0).Datagram(time.Hour, false, peer, []byte("outer"))
	s := x.finish()
	if s.application != "test" || len(s.ifaces) != 2 || len(s.packets) != 2 {
		t.Fatalf("%+v", s)
	}
	if got, want := s.ifaces[0], (described{"one", "container, VNI 42, 02:00:00:00:00:01, 10.0.0.1/24", MaxSnaplen}); got != want {
		t.Errorf("interface %+v, want %+v", got, want)
	}
	for i, want := range []packet{
		{iface: 0, flags: flagOutbound, data: []byte("from one")},
		{iface: 1, flags: flagInbound, data: []byte("to two")},
	} {
		got := s.packets[i]
		// The wall clock of now is that of the workers' now.
		if d := time.Unix(0, got.time).Sub(began) - time.Duration(i+1)*time.Second; d.Abs() > time.Minute {
			t.Errorf("packet %d is off by %v", i, d)
		}
		if got.iface != want.iface || got.flags != want.flags || !bytes.Equal(got.data, want.data) || got.whole != len(want.data) {
			t.Errorf("packet %+v, want %+v", got, want)
		}
	}
	if d := s.packets[1].time - s.packets[0].time; d != int64(time.Second) {
		t.Errorf("%d ns apart, want a second", d)
	}
	if st := s.stats[1]; st.received != 1 || st.dropped != 0 || st.start > st.stop {
		t.Errorf("statistics %+v", st)
	}
}

func TestOuter(t *testing.T) {
	x := newTest(t, func(c *Config) { c.Layers, c.Rebuilt = Outer, true })
	frame := eth(wire.EtherTypeIPv4, ipv4(17, 0, 0, udp(inner)))
	x.Tap(0).Outer(time.Hour, true, frame)
	x.Tap(0).Datagram(time.Hour, true, peer, inner)
	x.Tap(0).Datagram(time.Hour, false, peer, inner)
	x.Tap(0).Inner(time.Hour, 0, true, []byte("inner"))
	x.Tap(0).Datagram(time.Hour, false, netip.IPv6Loopback(), inner) // cannot be: there is one family
	s := x.finish()
	if len(s.ifaces) != 1 || s.ifaces[0].name != "underlay" || !strings.Contains(s.ifaces[0].description, "192.0.2.1:4789; outer headers are rebuilt") {
		t.Fatalf("interfaces %+v", s.ifaces)
	}
	if len(s.packets) != 3 || !bytes.Equal(s.packets[0].data, frame) {
		t.Fatalf("packets %+v", s.packets)
	}
	for i, p := range s.packets[1:] {
		src, dst := own.Addr(), peer
		if i == 1 {
			src, dst = dst, src
		}
		ip, ok := wire.ParseIPv4(p.data[wire.EthernetLen:])
		if payload, has := payloadOf(p.data); !ok || !has || ip.Src() != src || ip.Dst() != dst || !bytes.Equal(payload, inner) {
			t.Errorf("packet % x, want %v to %v", p.data, src, dst)
		}
		if p.whole != len(p.data) {
			t.Errorf("%d bytes of %d", len(p.data), p.whole)
		}
	}
}

func TestFilters(t *testing.T) {
	reply := bytes.Clone(inner) // from two to one
	reply[13], reply[19] = 1, 2
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"all", func(*Config) {}, "o> o< i0> i0< i1> i1<"},
		{"inner", func(c *Config) { c.Layers = Inner }, "i0> i0< i1> i1<"},
		{"outer", func(c *Config) { c.Layers = Outer }, "o> o<"},
		{"in", func(c *Config) { c.Direction = In }, "o< i0< i1<"},
		{"out", func(c *Config) { c.Direction = Out }, "o> i0> i1>"},
		{"one", func(c *Config) { c.Container = "one" }, "o> o< i0> i0<"},
		{"two", func(c *Config) { c.Container = "two" }, "i1> i1<"},
		{"two, inner, in", func(c *Config) { c.Container, c.Layers, c.Direction = "two", Inner, In }, "i1<"},
		{"not yet there", func(c *Config) { c.Container = "three" }, ""},
	} {
		x := newTest(t, func(cfg *Config) { cfg.Layers = Both; c.change(cfg) })
		tap := x.Tap(0)
		tap.Datagram(x.now, true, peer, inner)  // by one
		tap.Datagram(x.now, false, peer, reply) // to one
		for i := range int32(2) {
			tap.Inner(x.now, i, true, inner[8:])
			tap.Inner(x.now, i, false, inner[8:])
		}
		s := x.finish()
		var got []string
		for _, p := range s.packets {
			name := map[string]string{"underlay": "o", "one": "i0", "two": "i1"}[s.ifaces[p.iface].name]
			got = append(got, name+map[uint32]string{flagInbound: "<", flagOutbound: ">"}[p.flags])
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("%s: %s, want %s", c.name, g, c.want)
		}
	}
}

// TestTapped: with a container given, whole outer frames are looked into.
func TestTapped(t *testing.T) {
	x := newTest(t, func(c *Config) { c.Layers, c.Container = Outer, "two" })
	frame := eth(wire.EtherTypeIPv4, ipv4(17, 0, 0, udp(inner)))
	x.Tap(0).Outer(x.now, false, frame)                           // to two
	x.Tap(0).Outer(x.now, true, frame)                            // by one
	x.Tap(0).Outer(x.now, false, eth(wire.EtherTypeARP, inner))   // not encapsulated
	x.Tap(0).Outer(x.now, false, frame[:len(frame)-len(inner)-1]) // no payload
	if s := x.finish(); len(s.packets) != 1 || s.packets[0].flags != flagInbound {
		t.Errorf("%+v", s.packets)
	}
}

// TestReplacedContainer: a container that comes while the trace runs, in a place
// that another one had.
func TestReplacedContainer(t *testing.T) {
	for only, want := range map[string]string{"": "one three one", "one": "one one", "three": "three"} {
		x := newTest(t, func(c *Config) { c.Layers, c.Container = Both, only })
		tap := x.Tap(0)
		three := Container{Name: "three", VNI: 42, MAC: wire.MAC{2, 0, 0, 0, 0, 3}}
		tap.Inner(x.now, 0, true, []byte("x"))
		tap.Know(0, three)
		tap.Inner(x.now, 0, true, []byte("x"))
		again := one
		again.MAC[5] = 9
		tap.Know(5, again)
		tap.Inner(x.now, 5, true, []byte("x"))
		moved := bytes.Clone(inner)
		moved[13] = 9
		tap.Datagram(x.now, false, peer, moved)
		s := x.finish()
		var got []string
		outer := 0
		for _, p := range s.packets {
			if name := s.ifaces[p.iface].name; name != "underlay" {
				got = append(got, name)
			} else {
				outer++
			}
		}
		if g := strings.Join(got, " "); g != want {
			t.Errorf("only %q: %s, want %s", only, g, want)
		}
		// It goes to the new address of one.
		if wantOuter := map[string]int{"": 1, "one": 1, "three": 0}[only]; outer != wantOuter {
			t.Errorf("only %q: %d outer frames, want %d", only, outer, wantOuter)
		}
		names := map[string]bool{}
		for _, f := range s.ifaces {
			if names[f.name] {
				t.Errorf("interface %s twice", f.name)
			}
			names[f.name] = true
		}
	}
}

func TestSnaplen(t *testing.T) {
	x := newTest(t, func(c *Config) { c.Layers, c.Snaplen = Both, MinSnaplen })
	long := append(bytes.Clone(inner), bytes.Repeat([]byte{7}, 1000)...)
	x.Tap(0).Inner(x.now, 0, true, long)
	x.Tap(0).Datagram(x.now, true, peer, long)
	x.Tap(0).Outer(x.now, true, long)
	x.Tap(0).Inner(x.now, 0, true, long[:MinSnaplen])
	s := x.finish()
	if len(s.packets) != 4 {
		t.Fatalf("%d packets", len(s.packets))
	}
	for i, whole := range []int{len(long), rebuilt4 + len(long), len(long), MinSnaplen} {
		p := s.packets[i]
		if len(p.data) != MinSnaplen || p.whole != whole {
			t.Errorf("packet %d: %d bytes of %d, want %d of %d", i, len(p.data), p.whole, MinSnaplen, whole)
		}
	}
	if got := s.packets[1].data[rebuilt4:]; !bytes.Equal(got, long[:MinSnaplen-rebuilt4]) {
		t.Errorf("behind rebuilt headers % x", got)
	}
	for _, n := range []int{0, MinSnaplen - 1, MaxSnaplen + 1} {
		if _, err := New(Config{Snaplen: n, Now: func() time.Duration { return 0 }}); err == nil {
			t.Errorf("snaplen %d was taken", n)
		}
	}
}

// TestSlowReader: what does not fit is counted wherever it can be seen.
func TestSlowReader(t *testing.T) {
	x := newTest(t)
	frame := make([]byte, 1000)
	const sent = 1000
	for range sent {
		x.Tap(0).Inner(x.now, 0, true, frame)
	}
	if err := x.drain(io.Discard, math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	fit := x.written
	x.written, x.told = 0, 0              // and from the start again
	x.Tap(0).Inner(x.now, 1, true, frame) // another interface lost nothing
	x.Tap(0).Inner(x.now, 0, true, frame)
	x.Tap(0).Inner(x.now, 0, true, frame)
	s := x.finish()
	if fit == 0 || fit >= sent || len(s.packets) != 3 {
		t.Fatalf("%d fit, %d followed", fit, len(s.packets))
	}
	for i, want := range []uint64{0, sent - fit, 0} {
		if got := s.packets[i].lost; got != want {
			t.Errorf("packet %d: %d lost before it, want %d", i, got, want)
		}
	}
	if got, want := s.stats[0], sent-fit; got.dropped != want || got.received != sent+2 {
		t.Errorf("statistics %+v, want %d dropped", got, want)
	}
	if s.stats[1].dropped != 0 {
		t.Errorf("statistics of the other interface: %+v", s.stats[1])
	}
}

// TestOrder: frames of several workers come out by time.
func TestOrder(t *testing.T) {
	x := newTest(t, func(c *Config) { c.Workers = 3 })
	times := map[int][]int{0: {1, 4, 4, 9}, 1: {2, 3, 8}, 2: {5, 6, 7, 10}}
	for w, list := range times {
		for _, at := range list {
			x.Tap(w).Inner(x.now+time.Duration(at), 0, true, []byte{byte(w)})
		}
	}
	s := x.finish()
	if len(s.packets) != 11 {
		t.Fatalf("%d packets", len(s.packets))
	}
	for i := 1; i < len(s.packets); i++ {
		if s.packets[i].time < s.packets[i-1].time {
			t.Errorf("packet %d is %d ns early", i, s.packets[i-1].time-s.packets[i].time)
		}
	}
}

// TestHoldBack: a round leaves what another worker may still precede.
func TestHoldBack(t *testing.T) {
	x := newTest(t, func(c *Config) { c.Workers = 2 })
	x.Tap(0).Inner(10, 0, true, []byte("x"))
	x.Tap(1).Inner(20, 0, true, []byte("x"))
	for _, c := range []struct {
		before time.Duration
		want   uint64
	}{{9, 0}, {10, 1}, {19, 1}, {20, 2}} {
		if err := x.drain(io.Discard, c.before); err != nil || x.written != c.want {
			t.Errorf("before %d: %d packets, want %d (%v)", c.before, x.written, c.want, err)
		}
	}
}

// reader is somebody who reads while the trace runs.
type reader struct {
	mu      sync.Mutex
	b       bytes.Buffer
	flushed int // bytes
}

func (r *reader) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(b)
}

func (r *reader) flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flushed = r.b.Len()
	return nil
}

// seen returns what was flushed.
func (r *reader) seen() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.b.Bytes()[:r.flushed])
}

// await waits until n packets were flushed.
func (r *reader) await(t testing.TB, n int) (s stream) {
	t.Helper()
	testenv.WaitFor(t, 10*time.Second, func() bool {
		b := r.seen()
		if len(b) == 0 {
			return false
		}
		var rest []byte
		if s, rest = readStream(t, b); len(rest) != 0 {
			t.Fatalf("%d bytes of a block were flushed", len(rest))
		}
		return len(s.packets) >= n
	}, "%d packets", n)
	return s
}

// TestLive: a reader sees what happens while it happens, however little or much
// it is.
func TestLive(t *testing.T) {
	epoch := time.Now()
	x := newTest(t, func(c *Config) {
		c.Workers = 2
		c.Now = func() time.Duration { return time.Since(epoch) }
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var r reader
	done := make(chan error)
	go func() { done <- x.Copy(ctx, &r, r.flush) }()
	if s := r.await(t, 0); len(s.ifaces) != 2 {
		t.Errorf("%d interfaces at the start", len(s.ifaces))
	}
	x.Tap(0).Inner(x.cfg.Now(), 0, true, []byte("first"))
	r.await(t, 1)
	x.Tap(1).Inner(x.cfg.Now(), 1, false, []byte("second"))
	r.await(t, 2)
	// Much more than the rings hold: the reader is told when they fill.
	sent, frame := 2, make([]byte, 1400)
	for range 2000 {
		x.Tap(0).Inner(x.cfg.Now(), 0, true, frame)
		sent++
		if sent%20 == 0 {
			r.await(t, sent-20)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	sum, err := x.Finish(&r, r.flush)
	if s := r.await(t, sent); err != nil || sum.Packets != uint64(sent) || sum.Dropped != 0 || len(s.stats) != 2 {
		t.Errorf("%+v, %v, %d statistics", sum, err, len(s.stats))
	}
}

func TestCount(t *testing.T) {
	x := newTest(t, func(c *Config) { c.Count = 3 })
	for range 10 {
		x.Tap(0).Inner(x.now, 0, true, []byte("x"))
	}
	if err := x.Copy(context.Background(), &x.out, noFlush); err != nil {
		t.Fatal(err)
	}
	if s := x.finish(); len(s.packets) != 3 || s.stats[0].received != 10 {
		t.Errorf("%d packets, statistics %+v", len(s.packets), s.stats[0])
	}
}

// broken fails from some write on. It calls before, if there is one, in the
// last one that succeeds.
type broken struct {
	left   int
	before func()
}

var errBroken = errors.New("broken")

func (w *broken) Write(b []byte) (int, error) {
	if w.left--; w.left < 0 {
		return 0, errBroken
	}
	if w.left == 0 && w.before != nil {
		w.before()
	}
	return len(b), nil
}

func TestBrokenWriter(t *testing.T) {
	for n := range 3 { // in the header, in the packets, in the statistics
		x := newTest(t)
		for range 40 {
			x.Tap(0).Inner(x.now, 0, true, make([]byte, 1500))
		}
		w, ctx := &broken{left: n}, context.Background()
		if n == 2 {
			ctx, w.before = context.WithCancel(ctx)
		}
		if err := x.Copy(ctx, w, noFlush); n < 2 && !errors.Is(err, errBroken) || n == 2 && err != nil {
			t.Errorf("after %d writes: %v", n, err)
		}
		if _, err := x.Finish(w, noFlush); !errors.Is(err, errBroken) {
			t.Errorf("after %d writes: the end: %v", n, err)
		}
	}
}

func TestTapAllocs(t *testing.T) {
	x := newTest(t, func(c *Config) { c.Layers, c.Container = Both, "two" })
	tap, frame := x.Tap(0), eth(wire.EtherTypeIPv4, ipv4(17, 0, 0, udp(inner)))
	show := func() {
		tap.Inner(x.now, 1, true, frame)
		tap.Outer(x.now, false, frame)
		tap.Datagram(x.now, false, peer, inner)
	}
	if n := testing.AllocsPerRun(1000, show); n != 0 {
		t.Errorf("%v allocations per frame", n)
	}
	if x.taps[0].outer.dropped.Load() == 0 {
		t.Error("the ring never was full")
	}
}

// TestCopyAllocs: the reader shares a collector with the workers.
func TestCopyAllocs(t *testing.T) {
	x := newTest(t, func(c *Config) { c.Layers = Both })
	frame := make([]byte, 1000)
	if n := testing.AllocsPerRun(100, func() {
		for range 10 {
			x.Tap(0).Inner(x.now, 0, true, frame)
			x.Tap(0).Datagram(x.now, true, peer, frame)
		}
		if err := errors.Join(x.drain(io.Discard, math.MaxInt64), x.push(io.Discard, noFlush)); err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("%v allocations per 20 frames", n)
	}
}

func BenchmarkTap(b *testing.B) {
	for _, size := range []int{64, 1500} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			x := newTest(b, func(c *Config) { c.Ring = DefaultRing })
			frame := make([]byte, size)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for i := 0; b.Loop(); i++ {
				x.Tap(0).Inner(x.now, 0, true, frame)
				if i%1024 == 0 {
					r := x.taps[0].ring
					r.next = r.limit()
					r.head.Store(r.next)
				}
			}
		})
	}
}
