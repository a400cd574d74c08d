// SPDX-License-Identifier: Apache-2.0

package neigh

import (
	"net/netip"
	"testing"
	"time"

	"netcon/dataplane/wire"
)

// check fails if the table broke one of its own invariants.
func (b *bench) check() {
	b.tb.Helper()
	if len(b.entries) > b.max || len(b.timers) != len(b.entries) || len(b.entries)+len(b.free) > b.max {
		b.tb.Fatalf("%d entries, %d timers, %d free, max %d", len(b.entries), len(b.timers), len(b.free), b.max)
	}
	listed, held := 0, 0
	for _, l := range []*list{&b.unused, &b.failed, &b.stale} {
		var p *entry
		for e := l.head; e != nil; p, e = e, e.next {
			if e.in != l || e.prev != p || p != nil && p.used > e.used || e.state != stale && e.state != failed {
				b.tb.Fatalf("list broken at %s", e.ip)
			}
			listed++
		}
		if l.tail != p {
			b.tb.Fatal("list has the wrong tail")
		}
	}
	for i, e := range b.timers {
		if b.entries[e.ip] != e || e.pos != i || i > 0 && b.timers[(i-1)/2].deadline > e.deadline {
			b.tb.Fatalf("%s misplaced", e.ip)
		}
		if e.state == stale || e.state == failed {
			listed--
		}
		if e.resolved() && (e.mac.IsZero() || e.mac.IsGroup() || e.mac == b.mac) {
			b.tb.Fatalf("%s learned at %s", e.ip, e.mac)
		}
		if b.own(e.ip) != nil || !b.onLink(e.ip) || len(e.held) > 0 && e.state != incomplete {
			b.tb.Fatalf("%s is no neighbour, or holds packets as %s", e.ip, stateNames[e.state])
		}
		sum := 0
		for _, p := range e.held {
			sum, held = sum+len(p), held+cap(p)
		}
		if sum != e.heldBytes || sum > maxHeldBytes || len(e.held) > maxHeldPackets {
			b.tb.Fatalf("%s holds %d packets, %d bytes, said %d", e.ip, len(e.held), sum, e.heldBytes)
		}
	}
	if listed != 0 || held != b.held {
		b.tb.Fatalf("%d too many in lists, %d bytes held, said %d", listed, held, b.held)
	}
}

// populated is a small table with a neighbour in every state.
func populated(tb testing.TB) *bench {
	b := newBench(tb, func(c *Config) { c.MaxEntries = 8 })
	b.bring4("PROBE")
	b.bring6("STALE")
	b.lookup(ip("10.1.0.7"), Pending)
	b.hold(ip("fd00::7"), 1, 100)
	b.lookup(ip("192.0.2.1"), Pending)
	b.take()
	return b
}

// answered fails on an answer to anything but an own address.
func (b *bench) answered() {
	for _, f := range b.take() {
		switch {
		case f.etherType == wire.EtherTypeARP:
			if a, ok := wire.ParseARP(f.payload); !ok || a.SenderMAC() != usMAC || a.SenderIP() != us4 {
				b.tb.Fatalf("sent %x", f.payload)
			}
		case f.payload[0]>>4 == 6 && f.payload[6] == wire.ProtoICMPv6:
			if p, ok := wire.ParseIPv6(f.payload); !ok || p.Src() != us6 || p.HopLimit() != 255 {
				b.tb.Fatalf("sent %x", f.payload)
			}
		}
	}
}

func FuzzARP(f *testing.F) {
	for _, p := range [][]byte{
		arpRequestToUs, arpReplyToUs, arpAnnouncement, arpReplyToPeer,
		with(arpRequestToUs, offSPA, 0, 0, 0, 0), with(arpReplyToUs, offSPA, 10, 1, 0, 7), arpRequestToUs[:20],
	} {
		f.Add(peerMAC[:], p, uint16(100))
	}
	f.Fuzz(func(t *testing.T, src, p []byte, ms uint16) {
		if len(src) != 6 {
			return
		}
		b := populated(t)
		for range 2 {
			b.ARP(wire.MAC(src), p, b.now)
			// The same from the MAC it claims, as a sender that lies well.
			if len(p) >= 14 {
				b.ARP(wire.MAC(p[8:14]), p, b.now)
			}
			b.check()
			b.answered()
			b.advance(time.Duration(ms) * time.Millisecond)
			b.take()
		}
		b.check()
	})
}

func FuzzND(f *testing.F) {
	for _, p := range [][]byte{
		nsToUs, naToUs, nsProbe, naToAll, nsUnicast, nsToUs[:offOpts],
		fix(with(naToUs, offTarget+15, 7), offICMP), fix(with(nsToUs, offICMP, 134), offICMP),
		fix(cat(with(nsToUs[:40], 6, 60), []byte{58, 0, 1, 4, 0, 0, 0, 0}, nsToUs[40:]), 48),
		fix(cat(with(nsToUs[:40], 6, 44), []byte{58, 0, 0, 1, 0, 0, 0, 1}, nsToUs[40:]), 48),
	} {
		f.Add(peerMAC[:], p, uint16(100))
	}
	f.Fuzz(func(t *testing.T, src, p []byte, ms uint16) {
		if len(src) != 6 {
			return
		}
		b := populated(t)
		feed := func(p []byte) {
			if v, ok := wire.ParseIPv6(p); ok {
				b.ND(wire.MAC(src), v, b.now)
				b.check()
				b.answered()
			}
		}
		feed(p)
		// The same with a right checksum, which a fuzzer does not find.
		if len(p) >= offICMP+4 && len(p) < 2000 && p[6] == wire.ProtoICMPv6 {
			feed(fix(p, offICMP))
		}
		b.advance(time.Duration(ms) * time.Millisecond)
		b.check()
	})
}

// FuzzTable is any order of calls.
func FuzzTable(f *testing.F) {
	f.Add([]byte{0, 2, 1, 40, 6, 3, 0, 9, 6, 200, 5, 2})
	f.Add([]byte{4, 2, 0, 2, 6, 255, 6, 255, 5, 2, 0, 12, 1, 255, 6, 99})
	// A FAILED neighbour that was looked up lost its place in the list.
	f.Add([]byte("001$1010120 100"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		b := newBench(t, func(c *Config) { c.MaxEntries = 4 })
		addr := func(v byte) netip.Addr {
			if v&16 != 0 {
				return netip.AddrFrom16([16]byte{0: 0xfd, 15: v & 15})
			}
			return netip.AddrFrom4([4]byte{10, 1, 0, v & 15})
		}
		b.onUndeliverable = func() {
			if _, verdict := b.Lookup(addr(3), b.now); verdict == Pending {
				b.Hold(50)
			}
		}
		for i := 0; i+1 < len(ops) && i < 400; i += 2 {
			v := ops[i+1]
			switch ops[i] % 7 {
			case 0, 1:
				if _, verdict := b.Lookup(addr(v), b.now); verdict == Pending {
					b.Hold(1 + int(v)*257)
				}
			case 2:
				b.ARP(peerMAC, with(arpReplyToUs, offSPA+3, v&15), b.now)
			case 3:
				b.ND(peerMAC, fix(with(with(naToUs, offTarget+15, v&15), offFlags, v&0xe0), offICMP), b.now)
			case 4:
				b.ARP(peerMAC, with(arpRequestToUs, offSPA+3, v&15), b.now)
				b.ND(peerMAC, fix(with(nsToUs, offSrc+15, v&15), offICMP), b.now)
			case 5:
				b.Confirm(addr(v), b.now)
			case 6:
				b.advance(time.Duration(v) * 100 * time.Millisecond)
			}
			b.check()
		}
		b.advance(time.Hour)
		b.check()
		if len(b.entries) != 0 || b.held != 0 || b.Next() != Never {
			t.Fatalf("%v left after an hour", b.Entries())
		}
	})
}
