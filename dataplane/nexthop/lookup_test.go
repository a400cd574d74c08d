// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"testing"

	"netcon/dataplane/wire"
)

// filled returns a table with n resolved VTEPs and nobody to run it.
func filled(n int) (*Table, []netip.Addr) {
	t := &Table{local: local4, bell: make(chan struct{}, 1)}
	s := newSnapshot(n, [2]uint64{rand.Uint64(), rand.Uint64()})
	var list []netip.Addr
	ip := netip.MustParseAddr("10.0.0.1")
	for i := range n {
		hop := Hop{Dst: wire.MAC{2, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)}, MTU: 1500}
		s.add(answer{vtep: ip, hop: hop, state: Resolved, used: new(atomic.Bool)})
		list = append(list, ip)
		ip = ip.Next()
	}
	t.now.Store(s)
	return t, list
}

func TestLookupAllocs(t *testing.T) {
	table, list := filled(100)
	unknown := netip.MustParseAddr("192.0.2.77")
	for what, f := range map[string]func(){
		"known": func() {
			if _, state := table.Lookup(list[7]); state != Resolved {
				t.Error(state)
			}
		},
		"unknown": func() {
			if _, state := table.Lookup(unknown); state != Pending {
				t.Error(state)
			}
		},
		"new": func() {
			if _, state := table.Lookup(unknown); state != Pending {
				t.Error(state)
			}
			unknown = unknown.Next()
		},
		"never": func() {
			if _, state := table.Lookup(peer6); state != Unreachable {
				t.Error(state)
			}
		},
		"status": func() { _, _, _ = table.Up(), table.MTU(), table.Generation() },
	} {
		if n := testing.AllocsPerRun(1000, f); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
	if got := table.now.Load().find(list[7]); !got.used.Load() {
		t.Error("Lookup leaves no mark")
	}
}

// A snapshot has what was put in, and nothing else.
func TestSnapshot(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 4, 7, 8, 1000} {
		s := newSnapshot(n, [2]uint64{rand.Uint64(), rand.Uint64()})
		var list []netip.Addr
		for i := range n {
			ip := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
			switch i % 3 { // the same 16 bytes
			case 1:
				ip = netip.AddrFrom16(ip.As16())
			case 2:
				ip = netip.AddrFrom16(ip.As16()).WithZone("ul0")
			}
			list = append(list, ip)
			s.add(answer{vtep: ip, hop: Hop{MTU: i}, used: new(atomic.Bool)})
		}
		for i, ip := range list {
			if a := s.find(ip); a == nil || a.hop.MTU != i || a.vtep != ip {
				t.Errorf("%d: %s: %+v", n, ip, a)
			}
			if a := s.find(ip.WithZone("other")); ip.Is6() && a != nil {
				t.Errorf("%d: %s: %+v", n, ip, a)
			}
		}
		for _, ip := range []netip.Addr{{}, netip.IPv6Unspecified(), peer4, peer6} {
			if a := s.find(ip); a != nil {
				t.Errorf("%d: %s: %+v", n, ip, a)
			}
		}
	}
}

func TestStateText(t *testing.T) {
	for s, want := range map[State]string{Pending: "pending", Resolved: "resolved", Unreachable: "unreachable", 3: "unknown"} {
		if got := s.String(); got != want {
			t.Errorf("%d is %q, want %q", s, got, want)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{1, 100, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			table, list := filled(n)
			b.ReportAllocs()
			for i := 0; b.Loop(); {
				if _, state := table.Lookup(list[i]); state != Resolved {
					b.Fatal(state)
				}
				if i++; i == len(list) {
					i = 0
				}
			}
		})
	}
	// What a flood of frames to a VTEP costs while the table is full.
	b.Run("unknown", func(b *testing.B) {
		table, _ := filled(100)
		ip := netip.MustParseAddr("192.0.2.77")
		b.ReportAllocs()
		for b.Loop() {
			table.Lookup(ip)
			ip = ip.Next()
		}
	})
}
