// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"netcon/dataplane/stream"
	"netcon/dataplane/trace"
	"netcon/dataplane/wire"
)

// tappedUnderlay is a fake underlay with outer frames of its own to show.
type tappedUnderlay struct {
	*fakeUnderlay
	tap  stream.Tap
	sets int
}

func (u *tappedUnderlay) SetTap(t stream.Tap) { u.tap = t; u.sets++ }

// tracing is a trace of a world.
type tracing struct {
	*trace.Trace
	w   *world
	out bytes.Buffer
}

// trace begins a trace; the test, not Run, turns the workers.
func (w *world) trace(change ...func(*trace.Config)) *tracing {
	w.t.Helper()
	cfg := trace.Config{
		Layers: trace.Inner, Direction: trace.InOut, Snaplen: trace.MaxSnaplen, Workers: len(w.workers),
		VTEP: netip.AddrPortFrom(ownVTEP, wire.VXLANPort), Now: w.group.Now, Ring: 1 << 20,
	}
	for _, f := range change {
		f(&cfg)
	}
	t, err := trace.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(t.Close)
	for i, x := range w.workers {
		x.startTrace(t.Tap(i))
	}
	return &tracing{Trace: t, w: w}
}

// seen is what a trace shows of a frame.
type seen struct {
	who  string // the interface
	out  bool
	data []byte
}

// stop ends the trace and returns what it showed, in order.
func (t *tracing) stop() (list []seen) {
	t.w.t.Helper()
	for i, x := range t.w.workers {
		x.stopTrace(t.Tap(i))
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	flush := func() error { return nil }
	if err := t.Copy(ended, &t.out, flush); err != nil {
		t.w.t.Fatal(err)
	}
	if _, err := t.Finish(&t.out, flush); err != nil {
		t.w.t.Fatal(err)
	}
	// The blocks of a pcapng stream: type, length, body, length.
	le := binary.LittleEndian
	var names []string
	for b := t.out.Bytes(); len(b) > 0; b = b[le.Uint32(b[4:]):] {
		switch le.Uint32(b) {
		case 1: // interface: its name is the first option
			names = append(names, string(b[20:][:le.Uint16(b[18:])]))
		case 6: // packet: the first option is its flags
			n := le.Uint32(b[20:])
			list = append(list, seen{names[le.Uint32(b[8:])], le.Uint32(b[28+(n+3)&^3+4:]) == 2, b[28 : 28+n]})
		}
	}
	return list
}

// text shortens what was seen to names and directions.
func text(list []seen) string {
	var words []string
	for _, s := range list {
		words = append(words, s.who+map[bool]string{false: "<", true: ">"}[s.out])
	}
	return strings.Join(words, " ")
}

func layers(l trace.Layer) func(*trace.Config) {
	return func(c *trace.Config) { c.Layers = l }
}

// inVXLAN returns the inner frame of an outer one with rebuilt IPv4 headers.
func inVXLAN(t testing.TB, frame []byte, src, dst netip.Addr) []byte {
	t.Helper()
	p, ok := wire.ParseIPv4(frame[wire.EthernetLen:])
	if !ok || p.Src() != src || p.Dst() != dst {
		t.Fatalf("outer frame % x, want one from %v to %v", frame, src, dst)
	}
	u, ok := wire.ParseUDP(p.Payload())
	if !ok || u.DstPort() != wire.VXLANPort || wire.VXLAN(u.Payload()).VNI() != testVNI {
		t.Fatalf("outer datagram % x", u)
	}
	return u.Payload()[wire.VXLANLen:]
}

// TestTraceWire: what comes from the wire and goes there, in both layers.
func TestTraceWire(t *testing.T) {
	w := newWorld(t, 1)
	m := w.add(0, 1)
	w.turn(1)
	tr := w.trace(layers(trace.Both))
	in := packet4(ip4(200), ip4(1), "ping")
	w.wires[0].push(peer1, encap(testVNI, mac(1), farMAC, wire.EtherTypeIPv4, in))
	w.wires[0].push(peer1, encap(noNetwork, mac(1), farMAC, wire.EtherTypeIPv4, in)) // dropped, and so on the wire only
	w.turn(1)
	reply := packet4(ip4(1), ip4(200), "pong")
	m.eng().send(outgoing{ip4(200), reply})
	w.workers[0].schedule(m.Shard)
	w.turn(1)

	list := tr.stop()
	if got, want := text(list), "underlay< c1< underlay< c1> underlay>"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	inner := encap(testVNI, mac(1), farMAC, wire.EtherTypeIPv4, in)[wire.VXLANLen:]
	if got := inVXLAN(t, list[0].data, peer1, ownVTEP); !bytes.Equal(got, inner) || !bytes.Equal(list[1].data, inner) {
		t.Errorf("in: outer % x, inner % x, want % x", got, list[1].data, inner)
	}
	inner = encap(testVNI, farMAC, mac(1), wire.EtherTypeIPv4, reply)[wire.VXLANLen:]
	if got := inVXLAN(t, list[4].data, ownVTEP, peer1); !bytes.Equal(got, inner) || !bytes.Equal(list[3].data, inner) {
		t.Errorf("out: outer % x, inner % x, want % x", got, list[3].data, inner)
	}
	if got := w.wires[0].taken(); len(got) != 1 || !bytes.Equal(got[0].payload[wire.VXLANLen:], inner) {
		t.Errorf("sent %+v", got)
	}
}

// TestTraceLocal: between containers of one daemon, on one worker and on two.
func TestTraceLocal(t *testing.T) {
	for _, workers := range []int{1, 2} {
		w := newWorld(t, workers)
		a, b := w.add(0, 1), w.add(workers-1, 2)
		w.turn(1)
		meet(w, a, b)
		tr, only := w.trace(layers(trace.Both)), w.trace(func(c *trace.Config) { c.Container = "c2" })
		p := packet4(ip4(1), ip4(2), "hello")
		a.eng().send(outgoing{ip4(2), p})
		w.workers[0].schedule(a.Shard)
		w.turn(2)
		list := tr.stop()
		if got, want := text(list), "c1> c2<"; got != want {
			t.Errorf("%d workers: %s, want %s", workers, got, want)
		}
		eth := encap(0, mac(2), mac(1), wire.EtherTypeIPv4, p)[wire.VXLANLen:]
		for _, s := range list {
			if !bytes.Equal(s.data, eth) {
				t.Errorf("%d workers: % x, want % x", workers, s.data, eth)
			}
		}
		if got, want := text(only.stop()), "c2<"; got != want {
			t.Errorf("%d workers: only c2: %s, want %s", workers, got, want)
		}
	}
}

// TestTraceHeld: a packet that waits for its next hop is shown once, when it is
// really sent, behind what it waited for.
func TestTraceHeld(t *testing.T) {
	w := newWorld(t, 1)
	m := w.add(0, 1)
	w.turn(1)
	tr := w.trace()
	p := packet4(ip4(1), ip4(50), "held")
	m.eng().send(outgoing{ip4(50), p})
	w.workers[0].schedule(m.Shard)
	w.turn(1)
	host := wire.MAC{2, 0, 0, 0, 1, 50}
	w.wires[0].push(peer2, encap(testVNI, mac(1), host, wire.EtherTypeARP, arp(wire.ARPReply, host, ip4(50), mac(1), ip4(1))))
	w.turn(2)
	list := tr.stop()
	if got, want := text(list), "c1> c1< c1>"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	if e := wire.Ethernet(list[0].data); e.Type() != wire.EtherTypeARP || !e.Dst().IsGroup() {
		t.Errorf("first % x, want a question", e)
	}
	if e := wire.Ethernet(list[2].data); e.Dst() != host || !bytes.Equal(e.Payload(), p) {
		t.Errorf("last % x, want the packet", e)
	}
}

// TestTraceFlood: what is replicated leaves its container once and the host
// several times.
func TestTraceFlood(t *testing.T) {
	w := newWorld(t, 1)
	m := w.add(0, 1)
	w.add(0, 2)
	w.turn(1)
	w.wires[0].taken()
	tr, only := w.trace(layers(trace.Both)), w.trace(func(c *trace.Config) { c.Layers, c.Container = trace.Outer, "c2" })
	m.Announce()
	w.turn(2)
	list := tr.stop()
	copies := len(w.wires[0].taken())
	count := map[string]int{}
	for _, s := range list {
		count[text([]seen{s})]++
		if s.who != "underlay" && wire.Ethernet(s.data).Src() != mac(1) {
			t.Errorf("% x", s.data)
		}
	}
	n := count["c1>"]
	if n == 0 || copies != 2*n || count["underlay>"] != copies || count["c2<"] != n {
		t.Errorf("%v of %d copies", count, copies)
	}
	if got := text(only.stop()); got != "" {
		t.Errorf("outer frames of a container that sent none: %s", got)
	}
}

// TestTraceTapped: an underlay that shows whole frames is asked to while
// somebody wants them, and nothing is rebuilt.
func TestTraceTapped(t *testing.T) {
	var u *tappedUnderlay
	w := newWorld(t, 1, func(c *Config) {
		u = &tappedUnderlay{fakeUnderlay: c.Underlays[0].(*fakeUnderlay)}
		c.Underlays[0] = u
	})
	w.add(0, 1)
	if !w.group.Tapped() {
		t.Error("not known to be tapped")
	}
	inner := w.trace()
	if u.tap != nil {
		t.Error("tapped for inner frames")
	}
	one, two := w.trace(layers(trace.Outer)), w.trace(layers(trace.Both))
	if u.tap == nil || u.sets != 1 {
		t.Fatalf("tap %v, set %d times", u.tap, u.sets)
	}
	w.wires[0].push(peer1, encap(testVNI, mac(1), farMAC, wire.EtherTypeIPv4, packet4(ip4(200), ip4(1), "x")))
	u.tap.Outer(false, []byte("a whole frame"))
	w.turn(1)
	if got := one.stop(); len(got) != 1 || string(got[0].data) != "a whole frame" {
		t.Errorf("shown: %v", got)
	}
	if u.tap == nil {
		t.Error("no longer tapped, although one wants it")
	}
	if got := text(two.stop()); got != "underlay< c1<" {
		t.Error(got)
	}
	if u.tap != nil || u.sets != 2 {
		t.Errorf("tap %v, set %d times", u.tap, u.sets)
	}
	if got := text(inner.stop()); got != "c1<" {
		t.Error(got)
	}
}

// TestTraceChange: a container that comes while a trace runs is in it.
func TestTraceChange(t *testing.T) {
	w := newWorld(t, 1)
	m := w.add(0, 1)
	tr := w.trace()
	w.add(0, 2).Announce()
	m.Remove()
	w.turn(1)
	if got := text(tr.stop()); !strings.Contains(got, "c2>") || strings.Contains(got, "c1>") {
		t.Error(got)
	}
	if w.workers[0].tracer != nil {
		t.Error("a worker without traces has a tracer")
	}
}

// TestTraceRun: workers that run take traces up and let go of them, also when
// they end before a trace does; what they send at the very end is in it.
func TestTraceRun(t *testing.T) {
	var u *tappedUnderlay
	w := newWorld(t, 2, func(c *Config) {
		u = &tappedUnderlay{fakeUnderlay: c.Underlays[0].(*fakeUnderlay)}
		c.Underlays[0] = u
	})
	m := w.add(0, 1)
	m.eng().onStop = func() { m.Send(wire.Broadcast, wire.EtherTypeARP, []byte("bye")) }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.group.Run(ctx) }()
	short, long := w.made(trace.Both), w.made(trace.Both)
	stopShort, stopLong := w.group.Trace(short.Trace), w.group.Trace(long.Trace)
	stopShort()
	short.Close()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	stopLong()
	if u.tap != nil {
		t.Error("the underlay is still tapped")
	}
	if got := text(long.stop()); !strings.Contains(got, "c1>") {
		t.Errorf("shown: %s", got)
	}
	late := w.made(trace.Inner)
	w.group.Trace(late.Trace)()
}

// made returns a trace that no worker has.
func (w *world) made(l trace.Layer) *tracing {
	t, err := trace.New(trace.Config{
		Layers: l, Direction: trace.InOut, Snaplen: trace.MaxSnaplen, Workers: len(w.workers),
		VTEP: netip.AddrPortFrom(ownVTEP, wire.VXLANPort), Now: w.group.Now, Ring: 1 << 16,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(t.Close)
	return &tracing{Trace: t, w: w}
}

// TestTraceTimes: each frame has a time of its own, not its turn's.
func TestTraceTimes(t *testing.T) {
	w := newWorld(t, 1)
	w.add(0, 1)
	tr := w.trace()
	for range 3 {
		w.wires[0].push(peer1, encap(testVNI, mac(1), farMAC, wire.EtherTypeIPv4, packet4(ip4(200), ip4(1), "x")))
	}
	before := time.Now()
	w.turn(1)
	after := time.Now()
	tr.stop()
	var times []int64
	le := binary.LittleEndian
	for b := tr.out.Bytes(); len(b) > 0; b = b[le.Uint32(b[4:]):] {
		if le.Uint32(b) == 6 {
			times = append(times, int64(le.Uint32(b[12:]))<<32|int64(le.Uint32(b[16:])))
		}
	}
	if len(times) != 3 || !slices.IsSorted(times) || times[0] == times[2] {
		t.Errorf("times %v", times)
	}
	for _, ns := range times {
		if ns < before.Add(-time.Second).UnixNano() || ns > after.Add(time.Second).UnixNano() {
			t.Errorf("%v is not between %v and %v", time.Unix(0, ns), before, after)
		}
	}
}

// TestTraceAllocs: neither being traced nor not being traced costs memory.
func TestTraceAllocs(t *testing.T) {
	for _, traced := range []bool{false, true} {
		w := newWorld(t, 1)
		m := w.add(0, 1, func(e *fakeEngine) { e.keep = false })
		b := w.add(0, 2, func(e *fakeEngine) { e.keep = false })
		w.wires[0].discard = true
		w.turn(1)
		meet(w, m, b)
		if traced {
			w.trace(layers(trace.Both), func(c *trace.Config) { c.Container = "c1" })
		}
		in := encap(testVNI, mac(1), farMAC, wire.EtherTypeIPv4, packet4(ip4(200), ip4(1), "x"))
		out, local := packet4(ip4(1), ip4(200), "x"), packet4(ip4(1), ip4(2), "x")
		send := func(dst netip.Addr, p []byte) {
			if m.Open(dst, 1).Max > 0 {
				copy(m.Frame(len(p)), p)
				m.Commit()
			}
		}
		far, near := ip4(200), ip4(2)
		if n := testing.AllocsPerRun(1000, func() {
			w.workers[0].Frame(peer1, in)
			send(far, out)
			send(near, local)
		}); n != 0 {
			t.Errorf("traced %v: %v allocations per packet", traced, n)
		}
	}
}
