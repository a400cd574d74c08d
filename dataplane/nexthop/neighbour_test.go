// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"netcon/dataplane/wire"
	"netcon/internal/testenv"
)

func TestDirect(t *testing.T) {
	l := newLab(t)
	for local, peer := range map[netip.Addr]netip.Addr{local4: peer4, local6: peer6} {
		table := l.open(local)
		if !table.Up() || table.MTU() != 1500 {
			t.Errorf("up %v, MTU %d", table.Up(), table.MTU())
		}
		before := table.Generation()
		if hop, state := table.Lookup(peer); state != Pending || hop != (Hop{}) {
			t.Errorf("the first answer for %s is %s %+v", peer, state, hop)
		}
		await(t, table, peer, l.direct(), Resolved)
		if table.Generation() <= before {
			t.Error("the generation has not grown")
		}
		e := entry(t, table, peer)
		if e.Via != peer || e.MAC != l.direct().Dst || e.MTU != 1500 || e.Reason != "" || e.State != Resolved || e.Kernel == "" {
			t.Errorf("%+v", e)
		}
	}
}

// A neighbour says itself that its address has changed.
func TestAnnouncedMAC(t *testing.T) {
	l := newLab(t)
	l.peer.Sysctl(t, "net.ipv4.conf.ul1.arp_notify", "1")
	l.peer.Sysctl(t, "net.ipv6.conf.ul1.ndisc_notify", "1")
	t4, t6 := l.open(local4), l.open(local6)
	await(t, t4, peer4, l.direct(), Resolved)
	await(t, t6, peer6, l.direct(), Resolved)
	l.ipPeer("link set ul1 address 02:00:00:00:00:77")
	hop := l.direct()
	if hop.Dst != (wire.MAC{2, 0, 0, 0, 0, 0x77}) {
		t.Fatalf("the peer is at %s", hop.Dst)
	}
	await(t, t4, peer4, hop, Resolved)
	await(t, t6, peer6, hop, Resolved)
}

// hurry has the host's kernel doubt its neighbours soon.
func (l *lab) hurry() {
	for _, f := range []string{"ipv4", "ipv6"} {
		l.host.Sysctl(l.t, "net."+f+".neigh.ul0.base_reachable_time_ms", "500")
		l.host.Sysctl(l.t, "net."+f+".neigh.ul0.delay_first_probe_time", "1")
		l.host.Sysctl(l.t, "net."+f+".neigh.ul0.retrans_time_ms", "100")
		l.host.Sysctl(l.t, "net."+f+".neigh.ul0.interval_probe_time_ms", "500")
	}
}

// A neighbour whose address changes without a word is found by the kernel's
// probes, though the kernel itself sends nothing to it.
func TestProbedMAC(t *testing.T) {
	t.Parallel() // mostly waits for the kernel
	l := newLab(t)
	l.hurry()
	t4, t6 := l.open(local4), l.open(local6)
	await(t, t4, peer4, l.direct(), Resolved)
	await(t, t6, peer6, l.direct(), Resolved)
	l.ipPeer("link set ul1 address 02:00:00:00:00:78")
	await(t, t4, peer4, l.direct(), Resolved)
	await(t, t6, peer6, l.direct(), Resolved)
}

// The same without the kernel's help.
func TestProbedMACWithoutManaged(t *testing.T) {
	t.Parallel() // mostly waits for the kernel
	l := newLab(t)
	l.hurry()
	table := l.prepare(local4)
	table.managed = false
	table.start()
	l.closeLater(table)
	await(t, table, peer4, l.direct(), Resolved)
	if out := l.ip("neigh show 192.0.2.2 dev ul0"); strings.Contains(out, "managed") {
		t.Errorf("%q", out)
	}
	l.ipPeer("link set ul1 address 02:00:00:00:00:79")
	await(t, table, peer4, l.direct(), Resolved)
	l.ip("neigh flush dev ul0")
	await(t, table, peer4, l.direct(), Resolved)
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	if out := l.ip("neigh show dev ul0 192.0.2.2"); out != "" {
		t.Errorf("left behind: %q", out)
	}
}

// Nobody answers, then somebody does.
func TestSilentNeighbour(t *testing.T) {
	t.Parallel() // mostly waits for the kernel
	l := newLab(t)
	silent4, silent6 := netip.MustParseAddr("192.0.2.66"), netip.MustParseAddr("2001:db8::66")
	t4, t6 := l.open(local4), l.open(local6)
	t4.Lookup(silent4)
	t6.Lookup(silent6)
	awaitReason(t, t4, silent4, "192.0.2.66 does not answer")
	awaitReason(t, t6, silent6, "2001:db8::66 does not answer")
	l.hurry()
	l.ipPeer("addr add 192.0.2.66/24 dev ul1")
	l.ipPeer("addr add 2001:db8::66/64 dev ul1 nodad")
	await(t, t4, silent4, l.direct(), Resolved)
	await(t, t6, silent6, l.direct(), Resolved)
	l.ipPeer("addr del 192.0.2.66/24 dev ul1")
	awaitReason(t, t4, silent4, "192.0.2.66 does not answer")
}

// neighs returns what the host's kernel knows of an address.
func (l *lab) neigh(ip netip.Addr) string {
	l.t.Helper()
	return strings.TrimSpace(l.ip("-d neigh show dev ul0 " + ip.String()))
}

// Entries that were there before are used, and are there afterwards.
func TestForeignEntries(t *testing.T) {
	l := newLab(t)
	static := netip.MustParseAddr("192.0.2.9")
	l.ip("neigh add 192.0.2.9 dev ul0 nud permanent lladdr " + strange.String())
	l.ip("neigh add 192.0.2.3 dev ul0 managed")
	testenv.Run(t, l.host, "ping", "-c1", "-W5", "192.0.2.2")
	table := l.open(local4)
	hop := l.direct()
	await(t, table, peer4, hop, Resolved)
	await(t, table, other4, hop, Resolved)
	hop.Dst = strange
	await(t, table, static, hop, Resolved)
	if got := l.neigh(peer4); !strings.Contains(got, "managed") {
		t.Errorf("an ordinary entry is not kept resolved: %q", got)
	}
	if got := l.neigh(static); !strings.Contains(got, "PERMANENT") {
		t.Errorf("a permanent entry has become %q", got)
	}
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	if got := l.neigh(peer4); got == "" || strings.Contains(got, "managed") {
		t.Errorf("an ordinary entry has become %q", got)
	}
	if got := l.neigh(static); !strings.Contains(got, "PERMANENT") {
		t.Errorf("a permanent entry has become %q", got)
	}
	if got := l.neigh(other4); !strings.Contains(got, "managed") {
		t.Errorf("a managed entry has become %q", got)
	}
}

// Entries of ours end with the table, also those of a table that was killed.
func TestOwnEntries(t *testing.T) {
	l := newLab(t)
	killed := l.still(local4)
	killed.Lookup(peer4)
	l.untilAsked(killed)
	if got := l.neigh(peer4); !strings.Contains(got, "managed") {
		t.Fatalf("not kept resolved: %q", got)
	}
	clear(killed.neighbours) // it gives nothing back

	table := l.open(local4)
	await(t, table, peer4, l.direct(), Resolved)
	await(t, table, other4, l.direct(), Resolved)
	// Made permanent meanwhile: no longer ours.
	l.ip("neigh replace 192.0.2.3 dev ul0 nud permanent lladdr " + strange.String())
	hop := l.direct()
	hop.Dst = strange
	await(t, table, other4, hop, Resolved)
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	if got := l.neigh(peer4); got != "" {
		t.Errorf("left behind: %q", got)
	}
	if got := l.neigh(other4); !strings.Contains(got, "PERMANENT") {
		t.Errorf("a permanent entry has become %q", got)
	}
}

// What others do to our entries does not last: a flush, and a change that ends
// the kernel's care.
func TestEntryTakenAway(t *testing.T) {
	t.Parallel() // mostly waits for the kernel
	l := newLab(t)
	table := l.open(local4)
	second := l.open(local4)
	for _, x := range []*Table{table, second} {
		await(t, x, peer4, l.direct(), Resolved)
	}
	managed := func() bool { return strings.Contains(l.neigh(peer4), "managed") }
	l.ip("neigh del 192.0.2.2 dev ul0")
	testenv.WaitFor(t, patient, managed, "the entry")
	l.ip("neigh replace 192.0.2.2 dev ul0 nud stale lladdr " + l.direct().Dst.String())
	testenv.WaitFor(t, patient, managed, "the entry")
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	testenv.WaitFor(t, patient, managed, "the entry")
	await(t, table, peer4, l.direct(), Resolved)
	if n := strings.Count(l.log.String(), "vtep is unreachable"); n != 0 {
		t.Errorf("unreachable %d times", n)
	}
}

// On an interface without ARP the kernel's word is taken.
func TestNoARP(t *testing.T) {
	l := newLab(t)
	l.ip("link set ul0 arp off")
	l.ip("neigh add 192.0.2.9 dev ul0 nud permanent lladdr " + strange.String())
	table := l.open(local4)
	hop := l.direct()
	hop.Dst = strange
	await(t, table, netip.MustParseAddr("192.0.2.9"), hop, Resolved)
	hop.Dst = hop.Src // what Linux puts into such entries
	await(t, table, peer4, hop, Resolved)
	if e := entry(t, table, peer4); e.Kernel != "NOARP" {
		t.Errorf("%+v", e)
	}
}

// More neighbours that do not answer than are tried at a time.
func TestTooManySilentNeighbours(t *testing.T) {
	l := newLab(t)
	l.ip("addr add 10.0.0.1/16 dev ul0")
	table := l.still(local4)
	now := table.published
	step := func(d time.Duration) {
		now = now.Add(d)
		table.step(now)
	}
	vtep := netip.MustParseAddr("10.0.1.0")
	for range maxTrying + 50 {
		table.Lookup(vtep)
		step(time.Millisecond)
		vtep = vtep.Next()
	}
	vtep = vtep.Prev()
	entries := func() int { return strings.Count(l.ip("neigh show dev ul0"), "10.0.") }
	if n := entries(); n != maxTrying || table.trying != n {
		t.Errorf("%d neighbour entries, %d noted, want %d", n, table.trying, maxTrying)
	}
	if v := table.vteps[vtep]; v.state != Pending || !strings.Contains(v.reason, "too many") {
		t.Errorf("one too many is %s: %s", v.state, v.reason)
	}
	step(patience)
	if _, state := table.Lookup(vtep); state != Unreachable {
		t.Errorf("one too many is %s", state)
	}
	// They are not used any more: forgotten, and the kernel's entries gone.
	for range 2 * idleAfter / sweepEvery {
		step(sweepEvery)
	}
	if len(table.vteps)+len(table.neighbours)+table.trying != 0 {
		t.Errorf("%d VTEPs, %d neighbours, %d are tried", len(table.vteps), len(table.neighbours), table.trying)
	}
	if n := entries(); n != 0 {
		t.Errorf("%d neighbour entries are left", n)
	}
}

// Those that are too many take turns: one that answers is found among them.
func TestTurns(t *testing.T) {
	t.Parallel() // mostly waits for the kernel
	l := newLab(t)
	l.ip("addr add 10.0.0.1/16 dev ul0")
	table := l.open(local4)
	var silent []netip.Addr
	for vtep := netip.MustParseAddr("10.0.1.0"); len(silent) < maxTrying+50; vtep = vtep.Next() {
		silent = append(silent, vtep)
	}
	waiting := 0
	testenv.WaitFor(t, patient, func() bool {
		for _, vtep := range silent {
			table.Lookup(vtep)
		}
		waiting = 0
		for _, e := range table.Entries() {
			if strings.Contains(e.Reason, "too many") {
				waiting++
			}
		}
		return waiting >= 50
	}, "all to be tried or to wait")
	await(t, table, peer4, l.direct(), Resolved)
	for _, vtep := range silent {
		awaitReason(t, table, vtep, "")
	}
}

// As many neighbours are found again after the interface was down.
func TestManyNeighbours(t *testing.T) {
	t.Parallel() // mostly waits for the kernel
	l := newLab(t)
	l.ip("addr add 10.0.0.1/16 dev ul0")
	var vteps []netip.Addr
	var batch strings.Builder
	for vtep := netip.MustParseAddr("10.0.1.0"); len(vteps) < maxTrying+50; vtep = vtep.Next() {
		vteps = append(vteps, vtep)
		batch.WriteString("addr add " + vtep.String() + "/16 dev ul1\n")
	}
	file := t.TempDir() + "/batch"
	if err := os.WriteFile(file, []byte(batch.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	l.ipPeer("-batch " + file)
	table := l.open(local4)
	hop := l.direct()
	all := func() bool {
		n := 0
		for _, vtep := range vteps {
			if got, state := table.Lookup(vtep); state == Resolved && got == hop {
				n++
			}
		}
		return n == len(vteps)
	}
	testenv.WaitFor(t, patient, all, "all")
	l.ipPeer("link set ul1 down")
	testenv.WaitFor(t, patient, func() bool { return !table.Up() }, "down")
	l.ipPeer("link set ul1 address 02:00:00:00:00:31")
	l.ipPeer("link set ul1 up")
	hop.Dst = mac(t, "02:00:00:00:00:31")
	testenv.WaitFor(t, patient, all, "all again")
	if n := strings.Count(l.log.String(), "vtep is unreachable"); n != 0 {
		t.Errorf("%d were unreachable", n)
	}
}

// An operator who turns the log on sees the reason.
func TestLogNamesReason(t *testing.T) {
	l := newLab(t)
	log := new(buffer)
	table, err := l.try(Config{Ifindex: l.index("ul0"), Local: local4, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	l.closeLater(table)
	awaitReason(t, table, far4, "no route")
	if got := log.String(); !strings.Contains(got, `vtep=198.51.100.7`) || !strings.Contains(got, `reason="no route"`) || !strings.Contains(got, "interface=ul0") {
		t.Errorf("%s", got)
	}
}
