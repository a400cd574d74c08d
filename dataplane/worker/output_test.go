// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"bytes"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"netcon/dataplane/fib"
	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
)

func TestWayWire(t *testing.T) {
	for _, c := range []struct {
		name   string
		packet []byte
		dst    netip.Addr
		typ    uint16
	}{
		{"IPv4", packet4(ip4(1), ip4(200), "hello"), ip4(200), wire.EtherTypeIPv4},
		{"IPv6", packet6(ip6(1), ip6(200), "hello"), ip6(200), wire.EtherTypeIPv6},
	} {
		w := newWorld(t, 1)
		w.hosts = append(w.hosts, fib.Host{IP: ip6(200), MAC: farMAC, VTEP: peer1})
		m := w.add(0, 1)
		m.eng().send(outgoing{c.dst, c.packet})
		m.eng().ring()
		w.turn(1)
		out := w.wires[0].taken()
		want := encap(testVNI, farMAC, mac(1), c.typ, c.packet)
		if len(out) != 1 || out[0].vtep != peer1 || !bytes.Equal(out[0].payload, want) {
			t.Errorf("%s: sent %+v, want %x to %s", c.name, out, want, peer1)
		}
		if p := m.eng().lastPath(); p != (stream.Path{Max: testMTU, Checksums: true}) {
			t.Errorf("%s: path %+v", c.name, p)
		}
	}
}

// TestWayFlood: an address that is resolved but learned nowhere, and a group,
// go to every VTEP and to every other member.
func TestWayFlood(t *testing.T) {
	peer3 := netip.MustParseAddr("192.0.2.13")
	for _, c := range []struct {
		name string
		mac  wire.MAC
		dst  netip.Addr
	}{
		{"unknown place", wire.MAC{2, 0, 0, 0, 5, 5}, ip4(201)},
		{"broadcast", wire.Broadcast, ip4(255)},
		{"multicast", wire.MulticastMAC(netip.MustParseAddr("224.0.0.9")), netip.MustParseAddr("224.0.0.9")},
	} {
		w := newWorld(t, 2)
		w.vteps = append(w.vteps, peer3)
		w.hosts = append(w.hosts, fib.Host{IP: ip4(201), MAC: wire.MAC{2, 0, 0, 0, 5, 5}})
		m := w.add(0, 1)
		w.add(0, 2)
		w.add(1, 3)
		p := packet4(ip4(1), c.dst, c.name)
		m.eng().send(outgoing{c.dst, p})
		m.eng().ring()
		w.turn(2)
		want := encap(testVNI, c.mac, mac(1), wire.EtherTypeIPv4, p)
		out := w.wires[0].taken()
		var to []netip.Addr
		for _, f := range out {
			to = append(to, f.vtep)
			if !bytes.Equal(f.payload, want) {
				t.Errorf("%s: sent %x, want %x", c.name, f.payload, want)
			}
		}
		if !slices.Equal(to, []netip.Addr{peer1, peer2, peer3}) {
			t.Errorf("%s: sent to %v", c.name, to)
		}
		if n := w.counts().Counters["replicated"]; n != 3 {
			t.Errorf("%s: %d replicated", c.name, n)
		}
		// Members take groups; a frame to one strange address is not theirs.
		group := c.mac.IsGroup()
		for _, x := range w.members {
			n := len(x.eng().taken())
			if want := group && x != m; (n == 1) != want || n > 1 {
				t.Errorf("%s: container %d got %d packets", c.name, x.n, n)
			}
		}
		wantDrops := map[string]uint64{}
		if !group {
			wantDrops["not_for_us"] = 2
		}
		if d := w.counts().Drops; !maps.Equal(d, wantDrops) {
			t.Errorf("%s: drops %v", c.name, d)
		}
	}
}

// meet makes two containers know each other.
func meet(w *world, a, b *member) {
	for _, p := range [][2]*member{{a, b}, {b, a}} {
		p[0].eng().send(outgoing{ip4(p[1].n), packet4(ip4(p[0].n), ip4(p[1].n), "first")})
		p[0].eng().send(outgoing{ip6(p[1].n), packet6(ip6(p[0].n), ip6(p[1].n), "first")})
		p[0].eng().ring()
	}
	w.turn(6)
	for _, m := range []*member{a, b} {
		m.eng().taken()
	}
	for _, u := range w.wires {
		u.taken()
	}
}

// TestWayLocal: containers of one daemon, on one worker and on two.
func TestWayLocal(t *testing.T) {
	for worker := range 2 {
		w := newWorld(t, 2)
		a, b := w.add(0, 1), w.add(worker, 2)
		meet(w, a, b)
		before := w.counts()
		big := packet4(ip4(1), ip4(2), string(make([]byte, maxLocal-wire.IPv4Len)))
		six := packet6(ip6(1), ip6(2), "six")
		a.eng().send(outgoing{ip4(2), big})
		a.eng().send(outgoing{ip6(2), six})
		a.eng().ring()
		w.turn(1)
		got := b.eng().taken()
		if len(got) != 2 || !bytes.Equal(got[0].packet, big) || !bytes.Equal(got[1].packet, six) || !got[0].verified || !got[1].verified {
			t.Fatalf("worker %d: %d packets", worker, len(got))
		}
		if p := a.eng().lastPath(); p != (stream.Path{Max: maxLocal}) {
			t.Errorf("worker %d: path %+v, want 64 KiB without checksums", worker, p)
		}
		if len(w.wires[0].taken())+len(w.wires[1].taken()) != 0 {
			t.Errorf("worker %d: it touched the underlay", worker)
		}
		now := w.counts()
		for name, want := range map[string]uint64{
			"local_packets": 2, "local_bytes": uint64(len(big) + len(six)), "handovers": uint64(2 * worker),
		} {
			if n := now.Counters[name] - before.Counters[name]; n != want {
				t.Errorf("worker %d: %s %d, want %d", worker, name, n, want)
			}
		}
		if d := w.drops(before); len(d) != 0 {
			t.Errorf("worker %d: drops %v", worker, d)
		}
	}
}

// TestResolve: two containers that do not know each other yet. The question is
// a broadcast, the packet waits, and no neighbour table is entered from inside
// another one: an answer takes at least a turn.
func TestResolve(t *testing.T) {
	for worker := range 2 {
		for _, six := range []bool{false, true} {
			w := newWorld(t, 2)
			a, b := w.add(0, 1), w.add(worker, 2)
			o, rx := outgoing{ip4(2), packet4(ip4(1), ip4(2), "four")}, "arp_rx"
			if six {
				o, rx = outgoing{ip6(2), packet6(ip6(1), ip6(2), "six")}, "nd_rx"
			}
			a.eng().send(o)
			a.eng().ring()
			w.workers[0].turn(0)
			if p := a.eng().lastPath(); p != (stream.Path{Max: testMTU, Checksums: true}) {
				t.Errorf("path while resolving: %+v", p)
			}
			if n := w.counts().Counters[rx]; n != 0 {
				t.Errorf("worker %d, IPv6 %v: a neighbour table was entered while another one was at work", worker, six)
			}
			// The network is asked, too.
			if out := w.wires[0].taken(); len(out) != 2 {
				t.Errorf("worker %d: the question went to %d VTEPs, want 2", worker, len(out))
			}
			turns := 1
			for len(b.eng().got) == 0 && turns < 20 {
				for _, x := range w.workers {
					before := w.counts().Counters[rx]
					x.turn(0)
					if n := w.counts().Counters[rx] - before; n > 1 {
						t.Errorf("worker %d, IPv6 %v: question and answer in one turn", worker, six)
					}
				}
				turns++
			}
			if got := b.eng().taken(); len(got) != 1 || !bytes.Equal(got[0].packet, o.packet) {
				t.Fatalf("worker %d, IPv6 %v: got %+v after %d turns", worker, six, got, turns)
			}
			if d := w.counts().Drops; len(d) != 0 {
				t.Errorf("worker %d, IPv6 %v: drops %v", worker, six, d)
			}
		}
	}
}

// TestResolveAnswer: the answer to a question comes from the wire, and what was
// held goes out.
func TestResolveAnswer(t *testing.T) {
	w := newWorld(t, 1)
	m := w.add(0, 1)
	p := packet4(ip4(1), ip4(9), "held")
	m.eng().send(outgoing{ip4(9), p})
	m.eng().ring()
	w.turn(1)
	question := encap(testVNI, wire.Broadcast, mac(1), wire.EtherTypeARP, arp(wire.ARPRequest, mac(1), ip4(1), wire.MAC{}, ip4(9)))
	for _, f := range w.wires[0].taken() {
		if !bytes.Equal(f.payload, question) {
			t.Fatalf("asked %x, want %x", f.payload, question)
		}
	}
	nine := wire.MAC{2, 0, 0, 0, 9, 9}
	w.wires[0].push(peer2, encap(testVNI, mac(1), nine, wire.EtherTypeARP, arp(wire.ARPReply, nine, ip4(9), mac(1), ip4(1))))
	w.turn(1)
	out := w.wires[0].taken()
	// peer2 was learned from the frame of the answer.
	if len(out) != 1 || out[0].vtep != peer2 || !bytes.Equal(out[0].payload, encap(testVNI, nine, mac(1), wire.EtherTypeIPv4, p)) {
		t.Errorf("sent %+v", out)
	}
}

// TestNoAnswer: what waited for a neighbour goes back to the engine, which gets
// a turn for it.
func TestNoAnswer(t *testing.T) {
	w := newWorld(t, 1)
	m := w.add(0, 1)
	p := packet4(ip4(1), ip4(9), "lost")
	m.eng().send(outgoing{ip4(9), p})
	m.eng().onUndeliverable = func() { m.eng().send(outgoing{ip4(200), packet4(ip4(1), ip4(200), "more")}) }
	m.eng().ring()
	w.turn(1)
	asked := len(w.wires[0].taken())
	for range 3 {
		w.later(1100 * time.Millisecond)
		w.turn(1)
	}
	if asked += len(w.wires[0].taken()); asked != 3*2 {
		t.Errorf("%d questions, want 3 to 2 VTEPs", asked)
	}
	if len(m.eng().back) != 1 || !bytes.Equal(m.eng().back[0], p) {
		t.Errorf("given back: %x", m.eng().back)
	}
	if len(w.workers[0].runs) == 0 {
		t.Error("an engine with packets to send gets no turn")
	}
	w.turn(1)
	if n := len(w.wires[0].taken()); n != 1 {
		t.Errorf("%d frames, want the one that followed", n)
	}
	if d := w.counts().Drops; !maps.Equal(d, map[string]uint64{"neigh_failed": 1}) {
		t.Errorf("drops %v", d)
	}
}

func TestOutputDrops(t *testing.T) {
	for _, c := range []struct {
		name   string
		dst    netip.Addr
		before func(w *world)
		want   map[string]uint64
	}{
		{"another subnet", netip.MustParseAddr("203.0.113.1"), nil, map[string]uint64{"no_route": 1}},
		{"unspecified", netip.IPv4Unspecified(), nil, map[string]uint64{"no_route": 1}},
		{"network gone", ip4(2), func(w *world) { w.fib.Store(nil) }, map[string]uint64{"container_gone": 1}},
		{"hand-over full", ip4(3), fillHandover, map[string]uint64{"handover_full": 1}},
		{"container gone", ip4(2), func(w *world) { w.members[1].Remove() }, map[string]uint64{"container_gone": 1}},
	} {
		w := newWorld(t, 2)
		m, b, d := w.add(0, 1), w.add(0, 2), w.add(1, 3)
		meet(w, m, b)
		meet(w, m, d)
		if c.before != nil {
			c.before(w)
		}
		since := w.counts()
		m.eng().send(outgoing{c.dst, packet4(ip4(1), c.dst, "x")})
		m.eng().ring()
		w.workers[0].turn(0)
		if got := w.drops(since); !maps.Equal(got, c.want) {
			t.Errorf("%s: drops %v, want %v", c.name, got, c.want)
		}
		if n := len(w.wires[0].taken()); n != 0 {
			t.Errorf("%s: %d frames on the wire", c.name, n)
		}
	}
}

// TestHandoverFullThenRoom: after a frame for which there was no room the next
// one is tried again, on the same path.
func TestHandoverFullThenRoom(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.add(0, 1), w.add(1, 2)
	meet(w, a, b)
	fillHandover(w)
	path := a.Open(ip4(2), 1)
	if path.Max != maxLocal {
		t.Fatalf("path %+v", path)
	}
	p := packet4(ip4(1), ip4(2), "no room")
	copy(a.Frame(len(p)), p)
	a.Commit()
	// Worker 1 takes it all; the records of the test are not frames.
	h := w.workers[0].out[1]
	h.publish()
	for f, _, _ := h.take(); f != nil; f, _, _ = h.take() {
		h.release(f)
	}
	p = packet4(ip4(1), ip4(2), "room")
	copy(a.Frame(len(p)), p)
	a.Commit()
	w.turn(1)
	if got := b.eng().taken(); len(got) != 1 || !bytes.Equal(got[0].packet, p) {
		t.Errorf("got %+v", got)
	}
}

// TestAnnounce: everyone learns the addresses, twice.
func TestAnnounce(t *testing.T) {
	w := newWorld(t, 2)
	m, same, other := w.add(0, 1), w.add(0, 2), w.add(1, 3)
	m.Announce()
	w.turn(1)
	gratuitous := encap(testVNI, wire.Broadcast, mac(1), wire.EtherTypeARP, arp(wire.ARPRequest, mac(1), ip4(1), wire.MAC{}, ip4(1)))
	count := func() (n int) {
		for _, f := range w.wires[0].taken() {
			if bytes.Equal(f.payload, gratuitous) {
				n++
			}
		}
		return n
	}
	if n := count(); n != 2 {
		t.Errorf("announced to %d VTEPs, want 2", n)
	}
	w.later(1100 * time.Millisecond)
	w.turn(1)
	if n := count(); n != 2 {
		t.Errorf("announced again to %d VTEPs, want 2", n)
	}
	w.turn(1)
	for _, x := range []*member{same, other} {
		w.counts()
		if n := x.stat.Get(stat.ARPRx); n == 0 {
			t.Errorf("container %d heard nothing", x.n)
		}
	}
	if d := w.counts().Drops; len(d) != 0 {
		t.Errorf("drops %v", d)
	}
}
