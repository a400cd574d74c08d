// SPDX-License-Identifier: Apache-2.0

package neigh

import (
	"net/netip"
	"testing"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

func TestLookupVerdicts(t *testing.T) {
	v4only := func(c *Config) { c.Addrs = c.Addrs[:1] }
	v6only := func(c *Config) { c.Addrs = c.Addrs[1:] }
	noGateway := func(c *Config) { c.Gateway4, c.Gateway6 = netip.Addr{}, netip.Addr{} }
	ptp := func(c *Config) {
		c.Addrs = []netip.Prefix{netip.MustParsePrefix("10.1.0.1/32"), netip.MustParsePrefix("10.2.0.0/31")}
		c.Gateway4 = ip("169.254.1.1")
	}
	none := func(*Config) {}
	for _, c := range []struct {
		name string
		cfg  func(*Config)
		dst  string
		want Verdict
		mac  wire.MAC
		hop  string // who is asked for
	}{
		{"on-link", none, "10.1.0.2", Pending, wire.MAC{}, "10.1.0.2"},
		{"on-link", none, "fd00::2", Pending, wire.MAC{}, "fd00::2"},
		{"off-link", none, "192.0.2.1", Pending, wire.MAC{}, "10.1.0.254"},
		{"off-link", none, "2001:db8::1", Pending, wire.MAC{}, "fe80::fe"},
		{"off-link without gateway", noGateway, "192.0.2.1", NoRoute, wire.MAC{}, ""},
		{"off-link without gateway", noGateway, "2001:db8::1", NoRoute, wire.MAC{}, ""},
		{"link-local", noGateway, "fe80::9", Pending, wire.MAC{}, "fe80::9"},
		{"link-local with a zone", none, "fe80::9%eth0", Pending, wire.MAC{}, "fe80::9"},
		{"link-local without IPv6", v4only, "fe80::9", NoRoute, wire.MAC{}, ""},
		{"IPv6 without IPv6", v4only, "2001:db8::1", NoRoute, wire.MAC{}, ""},
		{"IPv4 without IPv4", v6only, "10.1.0.2", NoRoute, wire.MAC{}, ""},
		{"broadcast without IPv4", v6only, "255.255.255.255", NoRoute, wire.MAC{}, ""},
		{"multicast without IPv6", v4only, "ff02::1", NoRoute, wire.MAC{}, ""},
		{"gateway outside every subnet", ptp, "192.0.2.1", Pending, wire.MAC{}, "169.254.1.1"},
		{"/31 has no broadcast", ptp, "10.2.0.1", Pending, wire.MAC{}, "10.2.0.1"},
		{"mapped", none, "::ffff:10.1.0.2", NoRoute, wire.MAC{}, ""},
		{"unspecified", none, "0.0.0.0", NoRoute, wire.MAC{}, ""},
		{"unspecified", none, "::", NoRoute, wire.MAC{}, ""},
		{"loopback", none, "127.0.0.1", NoRoute, wire.MAC{}, ""},
		{"loopback", none, "::1", NoRoute, wire.MAC{}, ""},
		{"ours", none, "10.1.0.1", Found, usMAC, ""},
		{"ours", none, "fd00::1", Found, usMAC, ""},
		{"subnet broadcast", none, "10.1.0.255", Found, wire.Broadcast, ""},
		{"broadcast", none, "255.255.255.255", Found, wire.Broadcast, ""},
		{"multicast", none, "239.129.2.3", Found, wire.MAC{0x01, 0, 0x5e, 0x01, 2, 3}, ""},
		{"multicast", none, "ff02::1:3", Found, wire.MAC{0x33, 0x33, 0, 1, 0, 3}, ""},
	} {
		t.Run(c.name+" "+c.dst, func(t *testing.T) {
			b := newBench(t, c.cfg)
			if mac := b.lookup(ip(c.dst), c.want); mac != c.mac {
				t.Errorf("at %s, want %s", mac, c.mac)
			}
			es := b.Entries()
			switch {
			case c.hop == "" && (len(es) != 0 || len(b.sent) != 0):
				t.Errorf("entries %v, sent %v, want nothing", es, b.sent)
			case c.hop != "" && (len(es) != 1 || es[0].IP != ip(c.hop) || len(b.sent) != 1):
				t.Errorf("entries %v, sent %v, want %s asked for", es, b.sent, c.hop)
			}
		})
	}
	if _, v := newBench(t).Lookup(netip.Addr{}, 0); v != NoRoute {
		t.Errorf("zero address: verdict %d", v)
	}
}

// TestLookupThroughGateway: destinations behind one gateway share its entry.
func TestLookupThroughGateway(t *testing.T) {
	b := newBench(t)
	for _, a := range []string{"192.0.2.1", "192.0.2.2", "10.1.0.254", "198.51.100.7"} {
		b.hold(ip(a), 1, 100)
	}
	if n := len(b.take()); n != 1 {
		t.Fatalf("%d requests, want 1", n)
	}
	b.arp(with(arpReplyToUs, offSPA, 10, 1, 0, 254), stat.Accepted)
	if n := len(b.take()); n != 4 {
		t.Fatalf("%d packets sent, want 4", n)
	}
	b.lookup(ip("192.0.2.2"), Found)
}

// TestStatic: a static answer counts from the moment it exists, also for a
// destination in the cache, and goes with it.
func TestStatic(t *testing.T) {
	known := map[netip.Addr]wire.MAC{}
	b := newBench(t, func(c *Config) {
		c.Static = func(a netip.Addr) (wire.MAC, bool) { m, ok := known[a]; return m, ok }
	})
	known[peer4] = otherMAC
	if mac := b.lookup(peer4, Found); mac != otherMAC || len(b.sent) != 0 {
		t.Fatalf("at %s, sent %v", mac, b.sent)
	}
	delete(known, peer4)
	b.lookup(peer4, Pending)
	b.arp(arpReplyToUs, stat.Accepted)
	if mac := b.lookup(peer4, Found); mac != peerMAC {
		t.Fatalf("at %s, want %s", mac, peerMAC)
	}
	known[peer4] = otherMAC
	if mac := b.lookup(peer4, Found); mac != otherMAC {
		t.Fatalf("at %s, want %s", mac, otherMAC)
	}
	known[ip("10.1.0.254")] = otherMAC
	if mac := b.lookup(ip("192.0.2.1"), Found); mac != otherMAC {
		t.Fatalf("gateway at %s, want %s", mac, otherMAC)
	}
}

// TestStaticResolvesHeld: a neighbour that becomes static while packets wait
// gets them at the next request.
func TestStaticResolvesHeld(t *testing.T) {
	known := false
	b := newBench(t, func(c *Config) {
		c.Static = func(netip.Addr) (wire.MAC, bool) { return otherMAC, known }
	})
	b.hold(peer4, 7, 60)
	known = true
	b.take()
	b.advance(retransTimer)
	s := b.take()
	if len(s) != 1 || s[0].dst != otherMAC || s[0].etherType != wire.EtherTypeIPv4 || len(s[0].payload) != 60 {
		t.Fatalf("sent %v", s)
	}
}

// TestCacheCollisions: more destinations than the cache has slots, all right.
func TestCacheCollisions(t *testing.T) {
	b := newBench(t)
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}) }
	for range 3 {
		for i := 2; i < 250; i++ {
			p := with(with(arpRequestToUs, offSPA+3, byte(i)), offSHA+5, byte(i))
			b.arp(p, stat.Accepted)
			if mac := b.lookup(addr(i), Found); mac[5] != byte(i) {
				t.Fatalf("%s at %s", addr(i), mac)
			}
		}
		for i := 2; i < 250; i++ {
			if mac := b.lookup(addr(i), Found); mac[5] != byte(i) {
				t.Fatalf("%s at %s", addr(i), mac)
			}
		}
	}
}

// TestCacheForgets: a cached entry that was removed and reused for another
// neighbour is not found under the old one.
func TestCacheForgets(t *testing.T) {
	b := newBench(t, func(c *Config) { c.MaxEntries = 1 })
	b.bring4("PROBE")
	b.lookup(peer4, Found)
	b.advance(3 * time.Second)
	b.wantState(peer4, "-", wire.MAC{})
	b.arp(with(with(arpRequestToUs, offSPA+3, 7), offSHA+5, 7), stat.Accepted)
	b.lookup(ip("10.1.0.7"), Found)
	b.lookup(peer4, Unreachable) // full: DELAY is not evicted
	if n := b.drops(stat.DropNeighTableFull); n != 1 {
		t.Errorf("counted %d, want 1", n)
	}
}

func TestConfirm(t *testing.T) {
	for _, c := range []struct{ from, to string }{
		{"-", "-"},
		{"INCOMPLETE", "INCOMPLETE"},
		{"FAILED", "FAILED"},
		{"REACHABLE", "REACHABLE"},
		{"STALE", "REACHABLE"},
		{"DELAY", "REACHABLE"},
		{"PROBE", "REACHABLE"},
	} {
		t.Run(c.from, func(t *testing.T) {
			for _, a := range []netip.Addr{peer4, peer6} {
				b := newBench(t)
				if a == peer4 {
					b.bring4(c.from)
				} else {
					b.bring6(c.from)
				}
				// Twice: once past the cache, once through it.
				for range 2 {
					b.Confirm(a, b.now)
					if got := b.state(a); got != c.to {
						t.Fatalf("%s, want %s", got, c.to)
					}
				}
				b.wantSent()
			}
		})
	}
	b := newBench(t)
	b.Confirm(netip.Addr{}, b.now)
	b.lookup(peer4, Pending)
	b.Confirm(netip.Addr{}, b.now)
	b.Confirm(ip("::ffff:1.2.3.4"), b.now)
}

// TestConfirmKeepsReachable: confirmations put the end of REACHABLE off, and
// its timer wakes the worker once per reachableTime only.
func TestConfirmKeepsReachable(t *testing.T) {
	b := newBench(t)
	b.bring4("REACHABLE")
	wakes, start := 0, b.now
	for b.now < start+10*time.Minute {
		b.now += 100 * time.Millisecond
		if b.Next() <= b.now {
			b.Tick(b.now)
			wakes++
		}
		b.Confirm(peer4, b.now)
	}
	b.wantState(peer4, "REACHABLE", peerMAC)
	if wakes > 22 {
		t.Errorf("%d wakes in 10 minutes, want about 20", wakes)
	}
	b.advance(reachableTime - 1)
	b.wantState(peer4, "REACHABLE", peerMAC)
	b.advance(1)
	b.wantState(peer4, "STALE", peerMAC)
	b.wantSent()
}

// TestGatewayOutsideSubnets: a gateway that no subnet covers resolves, and may
// ask for us.
func TestGatewayOutsideSubnets(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.Addrs = []netip.Prefix{netip.MustParsePrefix("10.1.0.1/32"), netip.MustParsePrefix("fd00::1/128")}
		c.Gateway4, c.Gateway6 = peer4, peer6
	})
	b.hold(ip("192.0.2.1"), 1, 60)
	b.hold(ip("2001:db8::1"), 2, 60)
	b.wantSent(frame{wire.Broadcast, wire.EtherTypeARP, arpRequestToPeer}, frame{peerNodeMAC, wire.EtherTypeIPv6, nsToPeer})
	b.arp(arpReplyToUs, stat.Accepted)
	b.nd(naToUs, stat.Accepted)
	if got := string(fills(b.take())); got != "\x01\x02" {
		t.Errorf("sent %x, want both held packets", got)
	}
	b.arp(arpRequestToUs, stat.Accepted)
	b.arp(with(arpRequestToUs, offSPA+3, 3), stat.DropARPInvalid)
	b.nd(nsToUs, stat.Accepted)
}
