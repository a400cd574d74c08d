// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"bytes"
	"maps"
	"net/netip"
	"testing"

	"netcon/dataplane/fib"
	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// TestFrameReachesShard sends frames into worker 0 and looks who gets them.
func TestFrameReachesShard(t *testing.T) {
	all4 := netip.MustParseAddr("224.0.0.1")
	all6 := netip.MustParseAddr("ff02::1")
	for _, c := range []struct {
		name string
		dst  wire.MAC
		typ  uint16
		ip   []byte
		want []byte // the containers that get it
	}{
		{"IPv4", mac(1), wire.EtherTypeIPv4, packet4(ip4(200), ip4(1), "hello"), []byte{1}},
		{"IPv6", mac(2), wire.EtherTypeIPv6, packet6(ip6(200), ip6(2), "hello"), []byte{2}},
		{"IPv4 to the other worker", mac(3), wire.EtherTypeIPv4, packet4(ip4(200), ip4(3), "hello"), []byte{3}},
		{"IPv6 to the other worker", mac(3), wire.EtherTypeIPv6, packet6(ip6(200), ip6(3), "hello"), []byte{3}},
		{"broadcast", wire.Broadcast, wire.EtherTypeIPv4, packet4(ip4(200), ip4(255), "all"), []byte{1, 2, 3}},
		{"IPv4 multicast", wire.MulticastMAC(all4), wire.EtherTypeIPv4, packet4(ip4(200), all4, "all"), []byte{1, 2, 3}},
		{"IPv6 multicast", wire.MulticastMAC(all6), wire.EtherTypeIPv6, packet6(ip6(200), all6, "all"), []byte{1, 2, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 2)
			w.add(0, 1)
			w.add(0, 2)
			w.add(1, 3)
			w.wires[0].push(peer1, encap(testVNI, c.dst, farMAC, c.typ, c.ip))
			w.turn(1)
			for _, m := range w.members {
				got := m.eng().taken()
				if !bytes.Contains(c.want, []byte{m.n}) {
					if len(got) != 0 {
						t.Errorf("container %d got %d packets, want none", m.n, len(got))
					}
					continue
				}
				if len(got) != 1 || !bytes.Equal(got[0].packet, c.ip) || got[0].verified {
					t.Errorf("container %d got %+v", m.n, got)
				}
				if m.eng().bursts != 1 {
					t.Errorf("container %d: %d bursts ended, want 1", m.n, m.eng().bursts)
				}
			}
			if d := w.counts().Drops; len(d) != 0 {
				t.Errorf("drops: %v", d)
			}
		})
	}
}

func TestInputDrops(t *testing.T) {
	good := packet4(ip4(200), ip4(1), "hello")
	ns := func(hopLimit uint8) []byte { // a solicitation for container 1
		dst := wire.SolicitedNode(ip6(1))
		b := make([]byte, 128)
		n := wire.PutND(b[wire.IPv6Len:], wire.ICMPv6NeighSolicit, 0, ip6(1), wire.NDOptSourceLL, farMAC, ip6(200), dst)
		wire.PutIPv6(b, ip6(200), dst, wire.ProtoICMPv6, hopLimit, n)
		return b[:wire.IPv6Len+n]
	}
	for _, c := range []struct {
		name   string
		src    netip.Addr
		frame  []byte
		before func(w *world)
		reason stat.Reason
	}{
		{
			name: "from ourselves", src: ownVTEP, frame: encap(testVNI, mac(1), farMAC, wire.EtherTypeIPv4, good),
			before: func(w *world) { w.learn = true; w.store() }, reason: stat.DropUnknownVTEP,
		},
		{name: "from a stranger", src: strange, frame: encap(testVNI, mac(1), farMAC, wire.EtherTypeIPv4, good), reason: stat.DropUnknownVTEP},
		{name: "empty", src: peer1, frame: nil, reason: stat.DropVXLANShort},
		{name: "half a header", src: peer1, frame: make([]byte, 7), reason: stat.DropVXLANShort},
		{name: "no I flag", src: peer1, frame: make([]byte, 64), reason: stat.DropVXLANFlags},
		{name: "no such network", src: peer1, frame: encap(noNetwork, mac(1), farMAC, wire.EtherTypeIPv4, good), reason: stat.DropUnknownVNI},
		{name: "no inner frame", src: peer1, frame: encap(testVNI, mac(1), farMAC, wire.EtherTypeIPv4, nil)[:21], reason: stat.DropInnerShort},
		{name: "from a group", src: peer1, frame: encap(testVNI, mac(1), wire.Broadcast, wire.EtherTypeIPv4, good), reason: stat.DropInnerMAC},
		{name: "from a zero MAC", src: peer1, frame: encap(testVNI, mac(1), wire.MAC{}, wire.EtherTypeIPv4, good), reason: stat.DropInnerMAC},
		{name: "from a container of ours", src: peer1, frame: encap(testVNI, mac(1), mac(2), wire.EtherTypeIPv4, good), reason: stat.DropInnerMAC},
		{name: "LLDP", src: peer1, frame: encap(testVNI, mac(1), farMAC, 0x88cc, good), reason: stat.DropEtherType},
		{name: "VLAN tag", src: peer1, frame: encap(testVNI, mac(1), farMAC, 0x8100, good), reason: stat.DropEtherType},
		{name: "to nobody", src: peer1, frame: encap(testVNI, mac(77), farMAC, wire.EtherTypeIPv4, good), reason: stat.DropNotForUs},
		{
			name: "to a host that is not here", src: peer2, frame: encap(testVNI, farMAC, wire.MAC{2, 0, 0, 0, 9, 9}, wire.EtherTypeIPv4, good),
			reason: stat.DropNotForUs,
		},
		{name: "to the zero MAC", src: peer1, frame: encap(testVNI, wire.MAC{}, farMAC, wire.EtherTypeIPv4, good), reason: stat.DropNotForUs},
		{name: "no ARP", src: peer1, frame: encap(testVNI, mac(1), farMAC, wire.EtherTypeARP, make([]byte, 28)), reason: stat.DropARPInvalid},
		{
			name: "forged ARP", src: peer1, reason: stat.DropARPInvalid,
			frame: encap(testVNI, mac(1), farMAC, wire.EtherTypeARP, arp(wire.ARPReply, mac(9), ip4(9), mac(1), ip4(1))),
		},
		{
			name: "neighbour discovery from far away", src: peer1, frame: encap(testVNI, mac(1), farMAC, wire.EtherTypeIPv6, ns(254)),
			reason: stat.DropNDInvalid,
		},
		{
			name: "container gone", src: peer1, frame: encap(testVNI, mac(1), farMAC, wire.EtherTypeIPv4, good),
			before: func(w *world) { w.members[0].Remove() }, reason: stat.DropContainerGone,
		},
		{
			name: "container gone from the other worker", src: peer1, frame: encap(testVNI, mac(3), farMAC, wire.EtherTypeIPv4, good),
			before: func(w *world) { w.members[2].Remove() }, reason: stat.DropContainerGone,
		},
		{
			name: "container restarting", src: peer1, frame: encap(testVNI, mac(1), farMAC, wire.EtherTypeIPv4, good),
			before: func(w *world) { w.members[0].die("for the test", nil) }, reason: stat.DropContainerGone,
		},
		{
			name: "another container has the place", src: peer1, frame: encap(testVNI, mac(1), farMAC, wire.EtherTypeIPv4, good),
			before: func(w *world) { w.members[0].mac = mac(78) }, reason: stat.DropNotForUs,
		},
		{
			name: "hand-over full", src: peer1, frame: encap(testVNI, mac(3), farMAC, wire.EtherTypeIPv4, good),
			before: fillHandover, reason: stat.DropHandoverFull,
		},
		{
			name: "learning too fast", src: peer1, frame: encap(testVNI, mac(77), wire.MAC{2, 7}, wire.EtherTypeIPv4, good),
			before: learnTooMuch, reason: stat.DropLearnLimit,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 2)
			w.add(0, 1)
			w.add(0, 2)
			w.add(1, 3)
			w.turn(1)
			if c.before != nil {
				c.before(w)
			}
			for _, m := range w.members {
				m.eng().delivered = 0
			}
			since := w.counts()
			w.wires[0].push(c.src, c.frame)
			w.workers[0].turn(0)
			if c.reason != stat.DropHandoverFull { // there the records are not fit to be taken
				w.turn(1)
			}
			want := map[string]uint64{c.reason.String(): 1}
			if c.reason == stat.DropLearnLimit {
				want[stat.DropNotForUs.String()] = 1 // learning is no verdict on the frame
			}
			if got := w.drops(since); !maps.Equal(got, want) {
				t.Errorf("drops %v, want %v", got, want)
			}
			for _, m := range w.members {
				if m.eng().delivered != 0 {
					t.Errorf("container %d got the packet", m.n)
				}
			}
		})
	}
}

// fillHandover fills the ring from worker 0 to worker 1 up to the last byte.
func fillHandover(w *world) {
	for _, n := range []int{scratchSize, 1} {
		for w.workers[0].handoverTo(1).reserve(n) != nil {
			w.workers[0].commitHandover(fib.Port{Worker: 1}, n, false)
		}
	}
}

// learnTooMuch uses the tokens for learning up.
func learnTooMuch(w *world) {
	n := w.fib.Load().Network(testVNI)
	for i := 0; n.Learn(wire.MAC{2, 9, 9, byte(i >> 16), byte(i >> 8), byte(i)}, peer1, w.workers[0].now+1e9) == stat.Accepted; i++ {
	}
}

// TestSplitHorizon: what came from the underlay never goes back to it.
func TestSplitHorizon(t *testing.T) {
	w := newWorld(t, 1)
	w.add(0, 1)
	for _, dst := range []wire.MAC{farMAC, mac(77), wire.Broadcast, mac(1)} {
		w.wires[0].push(peer2, encap(testVNI, dst, wire.MAC{2, 0, 0, 0, 9, 9}, wire.EtherTypeIPv4, packet4(ip4(9), ip4(1), "x")))
	}
	w.turn(3)
	if out := w.wires[0].taken(); len(out) != 0 {
		t.Errorf("%d frames went back", len(out))
	}
	if n := len(w.members[0].eng().taken()); n != 2 {
		t.Errorf("container got %d packets, want the broadcast and its own", n)
	}
}

// TestVerified: only a software underlay's frames may have unfinished
// checksums, and only those.
func TestVerified(t *testing.T) {
	segment := func(sum func(wire.Sum) uint16) []byte {
		b := make([]byte, wire.IPv4Len+20)
		wire.PutIPv4(b, ip4(200), ip4(1), wire.ProtoTCP, 64, 20)
		b[wire.IPv4Len+12] = 5 << 4
		wire.TCP(b[wire.IPv4Len:]).SetChecksum(sum(wire.PseudoHeader(ip4(200), ip4(1), wire.ProtoTCP, 20)))
		return b
	}
	bare := segment(func(s wire.Sum) uint16 { return s.Fold() })
	wrong := segment(func(s wire.Sum) uint16 { return s.Fold() + 1 })
	for _, partial := range []bool{false, true} {
		for worker := range 2 {
			w := newWorld(t, 2)
			for _, x := range w.workers {
				x.partial = partial
			}
			m := w.add(worker, 1)
			for _, p := range [][]byte{bare, wrong} {
				w.wires[0].push(peer1, encap(testVNI, mac(1), farMAC, wire.EtherTypeIPv4, p))
			}
			w.turn(2)
			got := m.eng().taken()
			if len(got) != 2 || got[0].verified != partial || got[1].verified {
				t.Errorf("partial %v, worker %d: %+v", partial, worker, got)
			}
		}
	}
}

// TestRemovedIndex: a place is not given to another container while frames for
// the old one may be on their way.
func TestRemovedIndex(t *testing.T) {
	w := newWorld(t, 2)
	w.add(0, 1)
	old := w.add(1, 3)
	// A broadcast is handed over, and the container goes before it arrives.
	w.wires[0].push(peer1, encap(testVNI, wire.Broadcast, farMAC, wire.EtherTypeIPv4, packet4(ip4(200), ip4(255), "secret")))
	w.workers[0].turn(0)
	old.Remove()
	old.Remove() // does nothing
	w.members = w.members[:1]
	next := w.add(1, 4)
	since := w.counts()
	w.workers[1].turn(0)
	if got := next.eng().taken(); len(got) != 0 {
		t.Errorf("the next container got its predecessor's frame: %+v", got)
	}
	if got := w.drops(since); !maps.Equal(got, map[string]uint64{"container_gone": 1}) {
		t.Errorf("drops %v", got)
	}
	if next.Index() == old.Index() {
		t.Errorf("index %d was taken at once", next.Index())
	}
	w.later(reuseAfter)
	w.turn(1)
	if again := w.add(1, 5); again.Index() != old.Index() {
		t.Errorf("index %d after a while, want %d again", again.Index(), old.Index())
	}
}

// FuzzFrame throws bytes at a worker: they are dropped for one reason, or reach
// somebody, and nobody dies.
func FuzzFrame(f *testing.F) {
	f.Add(encap(testVNI, mac(1), farMAC, wire.EtherTypeIPv4, packet4(ip4(200), ip4(1), "hello")))
	f.Add(encap(testVNI, wire.Broadcast, farMAC, wire.EtherTypeARP, arp(wire.ARPRequest, farMAC, ip4(200), wire.MAC{}, ip4(1))))
	f.Add(encap(testVNI, mac(2), farMAC, wire.EtherTypeIPv6, packet6(ip6(200), ip6(2), "hello")))
	f.Add([]byte{8, 0, 0, 0, 0, 0, testVNI, 0})
	w := newWorld(f, 2)
	for n, worker := range []int{0, 0, 1} {
		w.add(worker, byte(n+1)).eng().keep = false
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		since := w.counts()
		delivered := 0
		for _, m := range w.members {
			delivered -= m.eng().delivered
		}
		w.wires[0].push(peer1, payload)
		w.turn(2)
		w.wires[0].taken()
		w.wires[1].taken()
		now := w.counts()
		events := uint64(0)
		for _, m := range w.members {
			delivered += m.eng().delivered
			if m.dead {
				t.Fatalf("container %d died", m.n)
			}
		}
		for _, name := range []string{"arp_rx", "nd_rx"} {
			events += now.Counters[name] - since.Counters[name]
		}
		for _, n := range w.drops(since) {
			events += n
		}
		if delivered == 0 && events == 0 {
			t.Fatal("a frame vanished")
		}
	})
}
