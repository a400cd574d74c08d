// SPDX-License-Identifier: Apache-2.0

package fib

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

var (
	vtepA  = netip.MustParseAddr("192.0.2.1")
	vtepB  = netip.MustParseAddr("192.0.2.2")
	vtepC  = netip.MustParseAddr("2001:db8::3")
	ip1    = netip.MustParseAddr("10.0.0.1")
	ip2    = netip.MustParseAddr("10.0.0.2")
	ip6    = netip.MustParseAddr("fd00::2")
	local  = wire.MAC{2, 0, 0, 0, 0, 1}
	remote = wire.MAC{2, 0, 0, 0, 0, 2}
	nomad  = wire.MAC{2, 0, 0, 0, 0, 3}
	other  = wire.MAC{2, 0, 0, 0, 0, 4}
	group  = wire.MAC{0x33, 0x33, 0, 0, 0, 1}
)

// mac returns a unicast MAC that is none of those above.
func mac(i int) wire.MAC {
	return wire.MAC{2, 1, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}
}

// blue is a network with one of everything.
func blue(learn bool) Network {
	return Network{
		VNI: 7, Name: "blue",
		VTEPs: []netip.Addr{vtepA, vtepC},
		Learn: learn,
		Hosts: []Host{
			{IP: ip1, MAC: local, VTEP: vtepA}, // the same list on every host: local wins
			{IP: ip2, MAC: remote, VTEP: vtepB},
			{IP: ip6, MAC: remote},
			{IP: netip.MustParseAddr("10.0.0.3"), MAC: nomad},
		},
		Members: []Member{{MAC: local, Port: Port{Worker: 1, Index: 2}}},
	}
}

func build(t testing.TB, old *Snapshot, n ...Network) *Snapshot {
	t.Helper()
	s, err := New(n, old)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLookup(t *testing.T) {
	for _, learn := range []bool{false, true} {
		n := build(t, nil, blue(learn)).Network(7)
		for _, c := range []struct {
			name string
			mac  wire.MAC
			want Dest
		}{
			{"local before static", local, Dest{Kind: Local, Port: Port{1, 2}}},
			{"static", remote, Dest{Kind: Remote, VTEP: vtepB}},
			{"static without a place", nomad, Dest{Kind: Flood}},
			{"unknown", other, Dest{Kind: Flood}},
			{"group", group, Dest{Kind: Flood}},
			{"broadcast", wire.Broadcast, Dest{Kind: Flood}},
			{"zero", wire.MAC{}, Dest{Kind: Flood}},
		} {
			if got := n.Lookup(c.mac, 0); got != c.want {
				t.Errorf("learn %v: %s: %+v, want %+v", learn, c.name, got, c.want)
			}
		}
		if !n.IsLocal(local) || n.IsLocal(remote) || n.IsLocal(other) {
			t.Errorf("learn %v: IsLocal", learn)
		}
		if n.VNI() != 7 || n.Name() != "blue" || len(n.Members()) != 1 || n.Members()[0].MAC != local {
			t.Errorf("learn %v: %d %q %v", learn, n.VNI(), n.Name(), n.Members())
		}
		if got := n.Replicate(); !slices.Equal(got, []netip.Addr{vtepA, vtepC}) {
			t.Errorf("learn %v: replicates to %v", learn, got)
		}
		for ip, want := range map[netip.Addr]wire.MAC{ip1: local, ip2: remote, ip6: remote} {
			if m, ok := n.StaticMAC(ip); !ok || m != want {
				t.Errorf("learn %v: %s is at %s %v", learn, ip, m, ok)
			}
		}
		if _, ok := n.StaticMAC(netip.MustParseAddr("10.0.0.99")); ok {
			t.Errorf("learn %v: an unknown host is static", learn)
		}
	}
}

func TestAccepts(t *testing.T) {
	still, learns := build(t, nil, blue(false)).Network(7), build(t, nil, blue(true)).Network(7)
	for _, c := range []struct {
		vtep          string
		still, learns bool
	}{
		{"192.0.2.1", true, true},
		{"192.0.2.2", true, true}, // the VTEP of a static host
		{"2001:db8::3", true, true},
		{"192.0.2.99", false, true},
		{"::ffff:192.0.2.1", false, true}, // callers unmap
		{"0.0.0.0", false, false},
		{"::", false, false},
		{"224.0.0.1", false, false},
		{"ff02::1", false, false},
		{"255.255.255.255", false, false},
	} {
		a := netip.MustParseAddr(c.vtep)
		if still.Accepts(a) != c.still || learns.Accepts(a) != c.learns {
			t.Errorf("%s: %v, learning %v", a, still.Accepts(a), learns.Accepts(a))
		}
	}
	if still.Accepts(netip.Addr{}) || learns.Accepts(netip.Addr{}) {
		t.Error("the zero address is accepted")
	}
}

func TestSnapshot(t *testing.T) {
	var table Table
	if table.Load().Network(7) != nil || table.Load().Networks() != nil {
		t.Error("an empty table has networks")
	}
	table.Load().Expire(0)
	s := build(t, nil, Network{VNI: 9}, blue(false), Network{VNI: 0})
	table.Store(s)
	if table.Load() != s || s.Network(8) != nil || s.Network(9).VNI() != 9 {
		t.Error("networks")
	}
	var vnis []uint32
	for _, n := range s.Networks() {
		vnis = append(vnis, n.VNI())
	}
	if !slices.Equal(vnis, []uint32{0, 7, 9}) {
		t.Errorf("networks %v", vnis)
	}
}

func TestNewCopies(t *testing.T) {
	c := blue(false)
	n := build(t, nil, c).Network(7)
	c.VTEPs[0], c.Members[0].MAC = vtepB, other
	if n.Replicate()[0] != vtepA || n.Members()[0].MAC != local {
		t.Error("the snapshot shares the caller's slices")
	}
}

func TestNewErrors(t *testing.T) {
	mapped := netip.MustParseAddr("::ffff:192.0.2.1")
	for _, c := range []struct {
		name string
		nets []Network
		want string
	}{
		{"vni too big", []Network{{Name: "x", VNI: 1 << 24}}, `network "x": vni 16777216 (want 0 to 16777215)`},
		{"two vnis", []Network{{Name: "x", VNI: 5}, {Name: "y", VNI: 5}}, `network "y": duplicate vni 5 (network "x" has it)`},
		{"learn limit", []Network{{Name: "x", LearnMax: -1}}, `network "x": learn limit -1 (want 0 to 1048576)`},
		{"learn limit", []Network{{Name: "x", LearnMax: 1<<20 + 1}}, `network "x": learn limit 1048577 (want 0 to 1048576)`},
		{"zero vtep", []Network{{Name: "x", VTEPs: []netip.Addr{{}}}}, `network "x": vtep invalid IP: not an address`},
		{
			"mapped vtep",
			[]Network{{Name: "x", VTEPs: []netip.Addr{mapped}}},
			`network "x": vtep ::ffff:192.0.2.1: an IPv4-mapped address (want 192.0.2.1)`,
		},
		{
			"group vtep",
			[]Network{{Name: "x", VTEPs: []netip.Addr{netip.MustParseAddr("239.1.1.1")}}},
			`network "x": vtep 239.1.1.1: not a unicast address`,
		},
		{"two vteps", []Network{{Name: "x", VTEPs: []netip.Addr{vtepA, vtepB, vtepA}}}, `network "x": duplicate vtep 192.0.2.1`},
		{"zero member", []Network{{Name: "x", Members: []Member{{}}}}, `network "x": member 00:00:00:00:00:00: a zero mac`},
		{"group member", []Network{{Name: "x", Members: []Member{{MAC: group}}}}, `network "x": member 33:33:00:00:00:01: a group mac`},
		{
			"two members",
			[]Network{{Name: "x", Members: []Member{{MAC: local}, {MAC: local, Port: Port{1, 1}}}}},
			`network "x": duplicate member mac 02:00:00:00:00:01`,
		},
		{
			"port",
			[]Network{{Name: "x", Members: []Member{{MAC: local, Port: Port{0, -1}}}}},
			`network "x": member 02:00:00:00:00:01: negative port 0/-1`,
		},
		{"host ip", []Network{{Name: "x", Hosts: []Host{{MAC: local}}}}, `network "x": host invalid IP: not an address`},
		{"host mac", []Network{{Name: "x", Hosts: []Host{{IP: ip1}}}}, `network "x": host 10.0.0.1: mac 00:00:00:00:00:00: a zero mac`},
		{
			"host vtep",
			[]Network{{Name: "x", Hosts: []Host{{IP: ip1, MAC: local, VTEP: mapped}}}},
			`network "x": host 10.0.0.1: vtep ::ffff:192.0.2.1: an IPv4-mapped address (want 192.0.2.1)`,
		},
		{
			"two hosts",
			[]Network{{Name: "x", Hosts: []Host{{IP: ip1, MAC: local}, {IP: ip1, MAC: other}}}},
			`network "x": duplicate host 10.0.0.1`,
		},
		{
			"two places",
			[]Network{{Name: "x", Hosts: []Host{{ip1, remote, vtepA}, {ip6, remote, netip.Addr{}}, {ip2, remote, vtepB}}}},
			`network "x": host 10.0.0.2: duplicate mac 02:00:00:00:00:02 (behind vtep 192.0.2.1 and 192.0.2.2)`,
		},
	} {
		s, err := New(c.nets, nil)
		if err == nil || err.Error() != c.want || s != nil {
			t.Errorf("%s: %v\nwant %s", c.name, err, c.want)
		}
	}
	if _, err := New([]Network{blue(true)}, nil); err != nil {
		t.Errorf("good network: %v", err)
	}
}

func TestKindString(t *testing.T) {
	for k, want := range map[Kind]string{Flood: "flood", Local: "local", Remote: "remote", 99: "unknown"} {
		if k.String() != want {
			t.Errorf("kind %d: %q", k, k)
		}
	}
}

func TestAllocs(t *testing.T) {
	s := build(t, nil, blue(true))
	n := s.Network(7)
	n.Learn(other, vtepB, 0)
	now := time.Duration(0)
	var sink int
	for name, f := range map[string]func(){
		"Network":   func() { sink += int(s.Network(7).VNI()) },
		"Accepts":   func() { n.Accepts(vtepC) },
		"Lookup":    func() { sink += int(n.Lookup(local, 0).Kind + n.Lookup(remote, 0).Kind + n.Lookup(other, 0).Kind) },
		"StaticMAC": func() { n.StaticMAC(ip6) },
		"Replicate": func() { sink += len(n.Replicate()) + len(n.Members()) },
		"Learn":     func() { now += time.Minute; n.Learn(other, vtepB, now) },
		"IsLocal":   func() { n.IsLocal(local) },
	} {
		if a := testing.AllocsPerRun(100, f); a != 0 {
			t.Errorf("%s: %v allocations", name, a)
		}
	}
	if n.Learned() != 1 {
		t.Errorf("%d learned", n.Learned())
	}
}

func BenchmarkLookup(b *testing.B) {
	c := blue(true)
	for i := range 1000 {
		c.Hosts = append(c.Hosts, Host{IP: netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), MAC: mac(1e6 + i), VTEP: vtepA})
	}
	n := build(b, nil, c).Network(7)
	for i := range 1000 {
		if n.Learn(mac(i), vtepB, 0) != stat.Accepted {
			b.Fatal("not learned")
		}
	}
	var sink Kind
	for name, base := range map[string]int{"static": 1e6, "learned": 0, "unknown": 5e6} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				sink += n.Lookup(mac(base+i%1000), 0).Kind
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	// The default of LearnMax is part of the configuration's contract.
	n := build(t, nil, Network{VNI: 1, Learn: true}).Network(1)
	if n.learned.max != DefaultLearnMax || DefaultLearnMax != 4096 || Age != 300*time.Second {
		t.Errorf("max %d, age %s", n.learned.max, Age)
	}
}
