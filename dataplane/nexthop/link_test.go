// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"netcon/internal/testenv"
)

// Lookups keep their answers while the interface is down, and are right again
// when it is up.
func TestDownAndUp(t *testing.T) {
	t.Parallel() // mostly waits for the kernel
	l := newLab(t)
	l.ip("route add 198.51.100.0/24 via 192.0.2.2")
	table, table6 := l.open(local4), l.open(local6)
	hop := l.direct()
	await(t, table, peer4, hop, Resolved)
	await(t, table, far4, hop, Resolved)
	await(t, table6, peer6, hop, Resolved)
	for _, c := range []struct {
		name, address string
		down, up      func()
	}{
		{"carrier", "02:00:00:00:00:21", func() { l.ipPeer("link set ul1 down") }, func() {
			l.ipPeer("link set ul1 up")
			l.ipPeer("addr add 2001:db8::2/64 dev ul1 nodad") // went with the interface
		}},
		{
			"administrator", "02:00:00:00:00:22", func() { l.ip("link set ul0 down") },
			func() {
				l.ip("link set ul0 up")
				// These went with the interface.
				l.ip("route add 198.51.100.0/24 via 192.0.2.2")
				l.ip("addr add 2001:db8::1/64 dev ul0 nodad")
			},
		},
	} {
		c.down()
		testenv.WaitFor(t, patient, func() bool { return !table.Up() && !table6.Up() }, "down by %s", c.name)
		for _, vtep := range []netip.Addr{peer4, far4} {
			if got, state := table.Lookup(vtep); got != hop || state != Resolved {
				t.Errorf("%s: %s is %s %+v while down", c.name, vtep, state, got)
			}
		}
		if got, state := table6.Lookup(peer6); got != hop || state != Resolved {
			t.Errorf("%s: %s is %s %+v while down", c.name, peer6, state, got)
		}
		l.ipPeer("link set ul1 address " + c.address)
		c.up()
		hop.Dst = mac(t, c.address)
		testenv.WaitFor(t, patient, table.Up, "up by %s", c.name)
		await(t, table, peer4, hop, Resolved)
		await(t, table, far4, hop, Resolved)
		await(t, table6, peer6, hop, Resolved)
	}
}

// A VTEP that is new while the interface is down does not wait for ever.
func TestNewWhileDown(t *testing.T) {
	t.Parallel() // mostly waits for the kernel
	l := newLab(t)
	table := l.open(local4)
	l.ip("link set ul0 down")
	testenv.WaitFor(t, patient, func() bool { return !table.Up() }, "down")
	awaitReason(t, table, peer4, "the interface is down")
	l.ip("link set ul0 up")
	await(t, table, peer4, l.direct(), Resolved)
}

func TestOwnMAC(t *testing.T) {
	l := newLab(t)
	table := l.open(local4)
	await(t, table, peer4, l.direct(), Resolved)
	l.ip("link set ul0 address 02:00:00:00:00:55")
	hop := l.direct()
	if hop.Src != mac(t, "02:00:00:00:00:55") {
		t.Fatalf("we are at %s", hop.Src)
	}
	await(t, table, peer4, hop, Resolved)
}

// The MTU of the interface, of IPv6 on it, and of routes.
func TestMTU(t *testing.T) {
	t.Parallel() // mostly waits for the kernel
	l := newLab(t)
	l.ip("route add 198.51.100.0/24 via 192.0.2.2 mtu 1300")
	l.ip("route add 2001:db8:f::/64 via 2001:db8::2 mtu lock 1290")
	t4, t6 := l.open(local4), l.open(local6)
	check := func(what string, table *Table, vtep netip.Addr, mtu int) {
		t.Helper()
		hop := l.direct()
		hop.MTU = mtu
		await(t, table, vtep, hop, Resolved)
		if e := entry(t, table, vtep); e.MTU != mtu {
			t.Errorf("%s: %+v", what, e)
		}
	}
	check("route", t4, far4, 1300)
	check("route", t6, far6, 1290)
	check("interface", t4, peer4, 1500)
	check("interface", t6, peer6, 1500)

	l.ip("link set ul0 mtu 1400")
	check("smaller interface", t4, peer4, 1400)
	check("smaller interface", t6, peer6, 1400)
	if t4.MTU() != 1400 || t6.MTU() != 1400 {
		t.Errorf("MTU %d and %d", t4.MTU(), t6.MTU())
	}
	l.host.Sysctl(t, "net.ipv6.conf.ul0.mtu", "1350")
	check("smaller IPv6", t6, peer6, 1350)
	check("smaller IPv6", t4, peer4, 1400)

	l.ip("link set ul0 mtu 1280")
	check("interface below the route", t4, far4, 1280)
	l.ip("link set ul0 mtu 1500")
	check("route again", t4, far4, 1300)
	l.ip("route replace 198.51.100.0/24 via 192.0.2.2 mtu 1310")
	check("other route", t4, far4, 1310)
}

// untilAsked steps a still table until nothing is queued.
func (l *lab) untilAsked(table *Table) {
	l.t.Helper()
	table.step(time.Now())
	if len(table.fresh)+len(table.stale) != 0 {
		l.t.Fatalf("%d and %d VTEPs are queued", len(table.fresh), len(table.stale))
	}
}

// The kernel learns of a smaller path MTU without a message to anybody:
//
//	host ul0 ═══ ul1 peer thin0 (MTU 1400) ═══ thin1
func TestLearnedPathMTU(t *testing.T) {
	l := newLab(t)
	beyond := testenv.NewNetNS(t, "beyond")
	testenv.Veth(t, l.peer, "thin0", "198.51.100.1/24,2001:db8:f::1/64", beyond, "thin1", "198.51.100.7/24,2001:db8:f::7/64", 1400)
	l.peer.Sysctl(t, "net.ipv4.ip_forward", "1")
	l.peer.Sysctl(t, "net.ipv6.conf.all.forwarding", "1")
	l.ip("route add 198.51.100.0/24 via 192.0.2.2")
	l.ip("route add 2001:db8:f::/64 via 2001:db8::2")
	for local, far := range map[netip.Addr]netip.Addr{local4: far4, local6: far6} {
		table := l.still(local)
		now := time.Now()
		table.Lookup(far)
		table.step(now)
		testenv.WaitFor(t, patient, func() bool {
			now = now.Add(time.Millisecond)
			table.rereadNeighbours(now)
			table.step(now)
			hop, state := table.Lookup(far)
			return hop == l.direct() && state == Resolved
		}, "%s", far)
		testenv.WaitFor(t, patient, func() bool {
			// It does not fit: no answer is wanted.
			_, _ = testenv.Try(l.host, patient, "ping", "-M", "do", "-s", "1440", "-c1", "-W1", far.String())
			return strings.Contains(l.ip("route get "+far.String()), "mtu 1400")
		}, "the kernel to learn")
		for range 4 {
			table.Lookup(far)
			now = now.Add(sweepEvery)
			table.step(now)
		}
		if hop, _ := table.Lookup(far); hop.MTU != 1400 {
			t.Errorf("%s: %+v", far, hop)
		}
	}
}

// The interface is removed under the table.
func TestInterfaceGone(t *testing.T) {
	l := newLab(t)
	table := l.open(local4)
	hop := l.direct()
	await(t, table, peer4, hop, Resolved)
	l.ip("link del ul0")
	testenv.WaitFor(t, patient, func() bool { return !table.Up() }, "down")
	if got, state := table.Lookup(peer4); got != hop || state != Resolved {
		t.Errorf("%s %+v", state, got)
	}
	if err := table.Close(); err != nil {
		t.Error(err)
	}
}
