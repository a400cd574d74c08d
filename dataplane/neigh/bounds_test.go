// SPDX-License-Identifier: Apache-2.0

package neigh

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// forged is request number i of a flood from 10.1/16, each with an address and
// a MAC of its own.
func forged(i int) []byte {
	p := with(arpRequestToUs, offSPA, 10, 1, 1+byte(i>>8), byte(i))
	binary.BigEndian.PutUint32(p[offSHA+2:], uint32(i)+0x100)
	return p
}

func wide(c *Config) {
	c.Addrs = []netip.Prefix{netip.MustParsePrefix("10.1.0.1/8"), netip.MustParsePrefix("fd00::1/64")}
}

func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// quiet counts frames and keeps none.
type quiet struct{ sent int }

func (q *quiet) Send(wire.MAC, uint16, []byte) { q.sent++ }
func (q *quiet) Undeliverable([]byte)          {}

// TestFlood: 100,000 forged requests from as many addresses are answered; the
// table stays bounded, memory stays flat, and neighbours in use stay.
func TestFlood(t *testing.T) {
	out := &quiet{}
	var s stat.Block
	table := New(Config{MAC: usMAC, Addrs: []netip.Prefix{
		netip.MustParsePrefix("10.1.0.1/8"), netip.MustParsePrefix("fd00::1/64"),
	}, Sender: out, Stat: &s})
	table.ARP(peerMAC, arpRequestToUs, 0)
	table.Lookup(peer4, 0)
	table.ARP(peerMAC, arpReplyToUs, 0)

	arp, ns := with(arpRequestToUs, 0), with(nsToUs, 0)
	flood := func(from, to int) {
		for i := from; i < to; i++ {
			now := time.Duration(i) * 100 * time.Microsecond
			binary.BigEndian.PutUint32(arp[offSHA+2:], uint32(i)+0x100)
			binary.BigEndian.PutUint32(arp[offSPA:], 10<<24+uint32(i)+1<<17)
			if r := table.ARP(wire.MAC(arp[offSHA:]), arp, now); r != stat.Accepted {
				t.Fatalf("request %d: %s", i, r)
			}
			binary.BigEndian.PutUint32(ns[offSrc+8:], uint32(i)+1)
			if _, r := table.ND(peerMAC, fix(ns, offICMP), now); r != stat.Accepted {
				t.Fatalf("solicitation %d: %s", i, r)
			}
			if n := len(table.entries); n > DefaultMaxEntries {
				t.Fatalf("%d entries", n)
			}
			table.Tick(now)
		}
	}
	flood(0, 10_000)
	before := heapInUse()
	flood(10_000, 100_000)
	after := heapInUse()
	runtime.KeepAlive(table)
	if after > before+64<<10 {
		t.Errorf("heap grew from %d to %d bytes", before, after)
	}
	if out.sent != 200_001 {
		t.Errorf("%d answers, want 200,001", out.sent)
	}
	if n := len(table.entries); n != DefaultMaxEntries {
		t.Errorf("%d entries, want %d", n, DefaultMaxEntries)
	}
	if mac, v := table.Lookup(peer4, 10*time.Second); v != Found || mac != peerMAC {
		t.Errorf("the neighbour in use is gone: %d", v)
	}
}

// TestScan: an application that looks up 100,000 addresses fills the table with
// unresolved neighbours and no more; the rest are refused and counted.
func TestScan(t *testing.T) {
	b := newBench(t, wide)
	for i := range 100_000 {
		_, v := b.Lookup(netip.AddrFrom4([4]byte{10, 2 + byte(i>>16), byte(i >> 8), byte(i)}), b.now)
		want := Pending
		if i >= DefaultMaxEntries {
			want = Unreachable
		}
		if v != want {
			t.Fatalf("lookup %d: verdict %d, want %d", i, v, want)
		}
	}
	if n := b.drops(stat.DropNeighTableFull); n != 100_000-DefaultMaxEntries {
		t.Errorf("counted %d refusals", n)
	}
	if n := len(b.take()); n != DefaultMaxEntries {
		t.Errorf("%d requests, want %d", n, DefaultMaxEntries)
	}
	// A request that cannot be learned from is answered all the same.
	b.arp(arpRequestToUs, stat.DropNeighTableFull)
	b.wantSent(frame{peerMAC, wire.EtherTypeARP, arpReplyToPeer})
	b.nd(nsToUs, stat.DropNeighTableFull)
	b.wantSent(frame{peerMAC, wire.EtherTypeIPv6, naToPeer})
	// What has failed makes room.
	b.advance(3 * time.Second)
	b.take()
	b.lookup(peer4, Pending)
	b.advance(time.Minute)
	if n := len(b.entries); n != 0 || b.Next() != Never {
		t.Errorf("%d entries left, Next %v", n, b.Next())
	}
}

// TestEvictionOrder: STALE entries never used go first, oldest first; then
// FAILED ones; then STALE ones in the order of their last use. Nothing else is
// evicted.
func TestEvictionOrder(t *testing.T) {
	b := newBench(t, wide, func(c *Config) { c.MaxEntries = 7 })
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte(forged(i)[offSPA:])) }
	use := func(i int) { // a STALE entry that was used now and confirmed
		b.arp(forged(i), stat.Accepted)
		b.lookup(addr(i), Found)
		b.Confirm(addr(i), b.now)
	}
	b.lookup(addr(200), Pending)
	use(1)
	use(2)
	use(3)
	b.advance(time.Second)
	b.lookup(addr(2), Found)
	b.advance(time.Second)
	b.lookup(addr(1), Found) // order of use: 3, 2, 1; all become STALE together
	b.advance(time.Second)   // 200 fails
	if got := b.state(addr(200)); got != "FAILED" {
		t.Fatalf("200 is %s", got)
	}
	b.advance(reachableTime)
	b.lookup(addr(200), Pending)
	b.advance(3 * time.Second)
	b.arp(forged(4), stat.Accepted)
	b.arp(forged(5), stat.Accepted)
	b.lookup(addr(201), Pending)
	if n := len(b.entries); n != 7 {
		t.Fatalf("%d entries, want 7", n)
	}
	for _, victim := range []int{4, 5, 200, 3, 2, 1} {
		if b.state(addr(victim)) == "-" {
			t.Fatalf("%d evicted early", victim)
		}
		b.lookup(addr(300+victim), Pending)
		if got := b.state(addr(victim)); got != "-" {
			t.Fatalf("%d is %s, want evicted", victim, got)
		}
	}
	b.lookup(addr(400), Unreachable)
	b.arp(forged(401), stat.DropNeighTableFull)
	if got := b.state(addr(201)); got != "INCOMPLETE" {
		t.Errorf("201 is %s", got)
	}
}
