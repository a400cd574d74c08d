// SPDX-License-Identifier: Apache-2.0

package neigh

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"netcon/dataplane/wire"
)

// learned returns a table that knows n IPv4 neighbours from 10.2.0.0 on, and
// their addresses.
func learned(tb testing.TB, n int) (*Table, []netip.Addr) {
	t := New(Config{
		MAC: usMAC, Addrs: []netip.Prefix{
			netip.MustParsePrefix("10.1.0.1/8"), netip.MustParsePrefix("fd00::1/64"),
		},
		Gateway4: ip("10.1.0.254"), Gateway6: ip("fe80::fe"), Sender: &quiet{},
	})
	var as []netip.Addr
	for i := range n {
		p := with(arpRequestToUs, offSPA, 10, 2, byte(i>>8), byte(i))
		t.ARP(peerMAC, p, 0)
		as = append(as, netip.AddrFrom4([4]byte(p[offSPA:])))
		t.Lookup(as[i], 0)
		t.Confirm(as[i], 0)
	}
	t.ND(peerMAC, nsToUs, 0)
	t.Lookup(peer6, 0)
	t.Confirm(peer6, 0)
	if len(t.entries) != n+1 {
		tb.Fatalf("%d entries, want %d", len(t.entries), n+1)
	}
	return t, as
}

func wantNoAllocs(t *testing.T, name string, f func()) {
	t.Helper()
	if n := testing.AllocsPerRun(1000, f); n != 0 {
		t.Errorf("%s: %v allocations", name, n)
	}
}

func TestLookupAllocs(t *testing.T) {
	table, as := learned(t, 200)
	i := 0
	wantNoAllocs(t, "cached", func() { table.Lookup(as[0], 1) })
	wantNoAllocs(t, "IPv6", func() { table.Lookup(peer6, 1) })
	wantNoAllocs(t, "beyond the cache", func() { table.Lookup(as[i%200], 1); i++ })
	wantNoAllocs(t, "STALE to DELAY", func() {
		e := table.entries[as[0]]
		table.enter(e, stale, 1)
		table.Lookup(as[0], 1)
	})
	for _, a := range []netip.Addr{ip("239.0.0.1"), ip("ff02::1"), ip("10.255.255.255"), ip("10.1.0.1"), ip("8000::1")} {
		wantNoAllocs(t, a.String(), func() { table.Lookup(a, 1) })
	}
}

func TestConfirmAllocs(t *testing.T) {
	table, as := learned(t, 200)
	i := 0
	wantNoAllocs(t, "REACHABLE", func() { table.Confirm(as[0], 1) })
	wantNoAllocs(t, "beyond the cache", func() { table.Confirm(as[i%200], 1); i++ })
	wantNoAllocs(t, "unknown", func() { table.Confirm(ip("10.9.9.9"), 1) })
	wantNoAllocs(t, "STALE", func() {
		table.enter(table.entries[as[0]], stale, 1)
		table.Confirm(as[0], 1)
	})
}

// TestAnswerAllocs: answering, refusing and evicting cost no memory either.
func TestAnswerAllocs(t *testing.T) {
	table, _ := learned(t, 1000)
	flood := with(arpRequestToUs, 0)
	i := uint32(0)
	next := func() {
		binary.BigEndian.PutUint32(flood[offSPA:], 10<<24+3<<16+i)
		table.ARP(peerMAC, flood, 1)
		i++
	}
	for range 5000 {
		next()
	}
	wantNoAllocs(t, "forged request", next)
	wantNoAllocs(t, "ARP request", func() { table.ARP(peerMAC, arpRequestToUs, 1) })
	wantNoAllocs(t, "ARP invalid", func() { table.ARP(otherMAC, arpRequestToUs, 1) })
	wantNoAllocs(t, "solicitation", func() { table.ND(peerMAC, nsToUs, 1) })
	wantNoAllocs(t, "not neighbour discovery", func() { table.ND(peerMAC, with6TCP, 1) })
	wantNoAllocs(t, "Tick and Next", func() { table.Tick(2); table.Next() })
}

var with6TCP = wire.IPv6(with(nsToUs, 6, wire.ProtoTCP))

func BenchmarkLookup(b *testing.B) {
	for _, c := range []struct {
		name string
		n    int
	}{{"1", 1}, {"32", 32}, {"1000", 1000}} {
		b.Run(c.name, func(b *testing.B) {
			table, as := learned(b, c.n)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				table.Lookup(as[i], 1)
				if i++; i == len(as) {
					i = 0
				}
			}
		})
	}
	b.Run("IPv6", func(b *testing.B) {
		table, _ := learned(b, 1)
		b.ReportAllocs()
		for b.Loop() {
			table.Lookup(peer6, 1)
		}
	})
}

func BenchmarkConfirm(b *testing.B) {
	table, as := learned(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		table.Confirm(as[0], 1)
	}
}

func BenchmarkConfirmUnknown(b *testing.B) {
	table, _ := learned(b, 1)
	a := ip("10.9.9.9")
	b.ReportAllocs()
	for b.Loop() {
		table.Confirm(a, 1)
	}
}

func BenchmarkForgedRequest(b *testing.B) {
	table, _ := learned(b, 1)
	p := with(arpRequestToUs, 0)
	i := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		binary.BigEndian.PutUint32(p[offSPA:], 10<<24+3<<16+i&0xffff)
		table.ARP(peerMAC, p, time.Duration(i))
		i++
	}
}
