// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"netcon/dataplane/wire"
	"netcon/internal/testenv"
)

// strange is the address of a neighbour that only the kernel's tables know.
var strange = wire.MAC{2, 0, 0, 0, 0, 9}

// At first, after its gateway was replaced, without a route and with one
// again, a VTEP has the next hop that the kernel would take.
func TestGateway(t *testing.T) {
	for _, c := range []struct {
		name               string
		local, far         netip.Addr
		gateway, second    string
		secondNeigh, route string
	}{
		{"IPv4", local4, far4, "192.0.2.2", "192.0.2.9", "192.0.2.9", "198.51.100.0/24"},
		{"IPv6", local6, far6, "2001:db8::2", "2001:db8::9", "2001:db8::9", "2001:db8:f::/64"},
		{"default", local6, far6, "2001:db8::2", "2001:db8::9", "2001:db8::9", "::/0"},
		{"link-local", local6, far6, "2001:db8::2", "fe80::9", "fe80::9", "2001:db8:f::/64"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			l.ip("neigh add " + c.secondNeigh + " dev ul0 nud permanent lladdr " + strange.String())
			table := l.open(c.local)
			first := l.direct()
			second := first
			second.Dst = strange

			l.ip("route add " + c.route + " via " + c.gateway + " dev ul0")
			await(t, table, c.far, first, Resolved)
			if via := entry(t, table, c.far).Via; via != netip.MustParseAddr(c.gateway) {
				t.Errorf("via %s", via)
			}
			l.ip("route replace " + c.route + " via " + c.second + " dev ul0")
			await(t, table, c.far, second, Resolved)
			l.ip("route del " + c.route)
			awaitReason(t, table, c.far, "no route")
			l.ip("route add " + c.route + " via " + c.gateway + " dev ul0")
			await(t, table, c.far, first, Resolved)
			if n := strings.Count(l.log.String(), "vtep is unreachable"); n != 1 {
				t.Errorf("the log tells %d times that the VTEP is unreachable", n)
			}
		})
	}
}

func TestIPv4OverIPv6NextHop(t *testing.T) {
	l := newLab(t)
	table := l.open(local4)
	l.ip("route add 198.51.100.0/24 via inet6 2001:db8::2 dev ul0")
	await(t, table, far4, l.direct(), Resolved)
	if via := entry(t, table, far4).Via; via != peer6 {
		t.Errorf("via %s", via)
	}
}

// Routes that lead to no neighbour on our interface, and the reasons.
func TestNoWay(t *testing.T) {
	l := newLab(t)
	testenv.Veth(t, l.host, "other0", "203.0.113.1/24,2001:db8:e::1/64", l.peer, "other1", "203.0.113.2/24,2001:db8:e::2/64", 0)
	// A source that is the host's, but on another interface.
	l.ip("addr add 192.0.2.100/32 dev lo")
	tables := map[bool]*Table{true: l.open(local4), false: l.open(local6)}
	for _, c := range []struct{ vtep, route, reason string }{
		{"198.51.100.1", "", "no route"},
		{"2001:db8:f::1", "", "no route"},
		{"198.51.100.2", "blackhole 198.51.100.2", "a blackhole route"},
		{"2001:db8:f::2", "blackhole 2001:db8:f::2", "a blackhole route"},
		{"198.51.100.3", "prohibit 198.51.100.3", "a prohibit route"},
		{"2001:db8:f::3", "prohibit 2001:db8:f::3", "a prohibit route"},
		{"198.51.100.4", "unreachable 198.51.100.4", "an unreachable route"},
		{"2001:db8:f::4", "unreachable 2001:db8:f::4", "an unreachable route"},
		{"192.0.2.100", "", "an address of this host"},
		{"192.0.2.1", "", "an address of this host"},
		{"2001:db8::1", "", "an address of this host"},
		{"192.0.2.255", "", "a broadcast address"},
		{"203.0.113.2", "", "the route leaves by other0, not by ul0"},
		{"2001:db8:e::2", "", "the route leaves by other0, not by ul0"},
		{"198.51.100.5", "198.51.100.5 via 203.0.113.2", "the route leaves by other0, not by ul0"},
		{"2001:db8:f::5", "2001:db8:f::5 via 2001:db8:e::2", "the route leaves by other0, not by ul0"},
		{"198.51.100.6", "198.51.100.6 encap ip id 5 dst 192.0.2.2 via 192.0.2.2 dev ul0", "an encapsulation of its own"},
		{"2001:db8:f::6", "2001:db8:f::6 encap seg6 mode encap segs 2001:db8::2 via 2001:db8::2 dev ul0", "an encapsulation of its own"},
		{"fe80::2%other0", "", "zone other0 is not ul0"},
	} {
		if c.route != "" {
			l.ip("route add " + c.route)
		}
		vtep := netip.MustParseAddr(c.vtep)
		awaitReason(t, tables[vtep.Is4()], vtep, c.reason)
	}
	if log := l.log.String(); !strings.Contains(log, "the route leaves by other0, not by ul0") {
		t.Errorf("the log does not name the other interface: %s", log)
	}
	// The way out, for all of them at once.
	l.ip("route replace 198.51.100.5 via 192.0.2.2")
	await(t, tables[true], netip.MustParseAddr("198.51.100.5"), l.direct(), Resolved)
}

// What cannot have a next hop gets no place in the table.
func TestNoVTEP(t *testing.T) {
	l := newLab(t)
	table := l.open(local4)
	for _, ip := range []netip.Addr{
		{},
		netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("224.0.0.1"), netip.MustParseAddr("255.255.255.255"),
		netip.MustParseAddr("127.0.0.1"), peer6, netip.MustParseAddr("::ffff:192.0.2.2"), netip.MustParseAddr("ff02::1%ul0"),
	} {
		if hop, state := table.Lookup(ip); state != Unreachable || hop != (Hop{}) {
			t.Errorf("%s is %s %+v", ip, state, hop)
		}
	}
	if e := table.Entries(); len(e) != 0 {
		t.Errorf("%+v", e)
	}
}

func TestSourceIsNotOurs(t *testing.T) {
	l := newLab(t)
	table := l.open(netip.MustParseAddr("192.0.2.50"))
	awaitReason(t, table, peer4, "192.0.2.50 is not an address of this host")
	l.ip("addr add 192.0.2.50/24 dev ul0")
	await(t, table, peer4, l.direct(), Resolved)
	l.ip("addr del 192.0.2.50/24 dev ul0")
	awaitReason(t, table, peer4, "192.0.2.50 is not an address of this host")
}

// Rules choose the table of the route by our source address and port.
func TestPolicyRouting(t *testing.T) {
	l := newLab(t)
	l.ip("neigh add 192.0.2.9 dev ul0 nud permanent lladdr " + strange.String())
	l.ip("route add 198.51.100.0/24 via 192.0.2.2")
	l.ip("route add 198.51.100.0/24 via 192.0.2.9 table 7")
	l.ip("addr add 192.0.2.51/24 dev ul0")
	plain := l.direct()
	ruled := plain
	ruled.Dst = strange
	table := l.open(local4)
	withPort, err := l.try(Config{Ifindex: l.index("ul0"), Local: local4, Port: 4789})
	if err != nil {
		t.Fatal(err)
	}
	l.closeLater(withPort)

	await(t, table, far4, plain, Resolved)
	l.ip("rule add from 192.0.2.1 lookup 7")
	await(t, table, far4, ruled, Resolved)
	await(t, l.open(netip.MustParseAddr("192.0.2.51")), far4, plain, Resolved)
	l.ip("rule del from 192.0.2.1 lookup 7")
	await(t, table, far4, plain, Resolved)
	l.ip("rule add ipproto udp dport 4789 lookup 7")
	await(t, withPort, far4, ruled, Resolved)
	await(t, table, far4, plain, Resolved)
}

// A multipath route is used by its leg that leaves by our interface, whichever
// the kernel picks for the VTEP.
func TestMultipath(t *testing.T) {
	l := newLab(t)
	testenv.Veth(t, l.host, "other0", "203.0.113.1/24,2001:db8:e::1/64", l.peer, "other1", "203.0.113.2/24", 0)
	l.ip("route add 198.51.100.0/24 nexthop via 192.0.2.2 nexthop via 203.0.113.2")
	l.ip("route add 2001:db8:f::/64 nexthop via 2001:db8::2 nexthop via 2001:db8:e::2")
	t4, t6 := l.open(local4), l.open(local6)
	a4, a6 := far4, far6
	for range 16 {
		await(t, t4, a4, l.direct(), Resolved)
		await(t, t6, a6, l.direct(), Resolved)
		a4, a6 = a4.Next(), a6.Next()
	}
	l.ip("route replace 198.51.100.0/24 nexthop via 203.0.113.2 nexthop via 203.0.113.2")
	awaitReason(t, t4, far4, "the route leaves by other0")
}

// Routes that name a next hop object change with it.
func TestNexthopObject(t *testing.T) {
	l := newLab(t)
	l.host.Sysctl(t, "net.ipv4.nexthop_compat_mode", "0") // no messages about the routes themselves
	l.ip("neigh add 192.0.2.9 dev ul0 nud permanent lladdr " + strange.String())
	l.ip("nexthop add id 1 via 192.0.2.2 dev ul0")
	l.ip("route add 198.51.100.0/24 nhid 1")
	table := l.open(local4)
	hop := l.direct()
	await(t, table, far4, hop, Resolved)
	l.ip("nexthop replace id 1 via 192.0.2.9 dev ul0")
	hop.Dst = strange
	await(t, table, far4, hop, Resolved)
}

// Link-local VTEPs are our interface's, with or without its zone.
func TestLinkLocal(t *testing.T) {
	l := newLab(t)
	testenv.Veth(t, l.host, "other0", "", l.peer, "other1", "", 0) // has a route to fe80::/64 as well
	l.ip("addr add fe80::1:1/64 dev ul0 nodad")
	l.ipPeer("addr add fe80::1:2/64 dev ul1 nodad")
	table, err := l.try(Config{Ifindex: l.index("ul0"), Local: netip.MustParseAddr("fe80::1:1%ul0")})
	if err != nil {
		t.Fatal(err)
	}
	l.closeLater(table)
	vtep := netip.MustParseAddr("fe80::1:2")
	await(t, table, vtep, l.direct(), Resolved)
	await(t, table, vtep.WithZone("ul0"), l.direct(), Resolved)
}

// Another interface takes its routes with it, of IPv4 without a message.
func TestOtherInterfaceGoesDown(t *testing.T) {
	l := newLab(t)
	testenv.Veth(t, l.host, "other0", "203.0.113.1/24", l.peer, "other1", "203.0.113.2/24", 0)
	l.ip("route add 198.51.100.0/24 via 192.0.2.2")
	l.ip("route add 198.51.100.0/25 via 203.0.113.2")
	table := l.open(local4)
	awaitReason(t, table, far4, "the route leaves by other0")
	l.ip("link set other0 down")
	await(t, table, far4, l.direct(), Resolved)
}

// Thousands of changes of routes that are not ours stall nothing, and ours is
// seen among them.
func TestRouteStorm(t *testing.T) {
	l := newLab(t)
	l.ip("neigh add 192.0.2.9 dev ul0 nud permanent lladdr " + strange.String())
	l.ip("route add 198.51.100.0/24 via 192.0.2.2")
	table := l.open(local4)
	before := l.direct()
	after := before
	after.Dst = strange
	await(t, table, far4, before, Resolved)

	var batch strings.Builder
	for i := range 10000 {
		verb := "add"
		if i%2 == 1 {
			verb = "del"
		}
		route := netip.AddrFrom4([4]byte{10, byte(i / 2 >> 8), byte(i / 2), 0}).String()
		batch.WriteString("route " + verb + " " + route + "/24 via 192.0.2.2\n")
		if i == 5000 {
			batch.WriteString("route replace 198.51.100.0/24 via 192.0.2.9\n")
		}
	}
	cmd := exec.Command("ip", "-n", l.host.Name(), "-batch", "-")
	cmd.Stdin = strings.NewReader(batch.String())
	p := testenv.StartCmd(t, cmd)
	lookups, changed := 0, false
	for p.Running() {
		for range 1000 {
			hop, state := table.Lookup(far4)
			if state != Resolved || hop != before && hop != after {
				t.Fatalf("%s %+v in the storm", state, hop)
			}
			changed = changed || hop == after
			lookups++
		}
	}
	if err := p.Wait(t, patient); err != nil {
		t.Fatalf("%v: %s", err, p.Output())
	}
	await(t, table, far4, after, Resolved)
	t.Logf("%d lookups in the storm, changed in it: %v", lookups, changed)
}
