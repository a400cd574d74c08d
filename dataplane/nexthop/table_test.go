// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"netcon/internal/testenv"
)

func TestRefused(t *testing.T) {
	l := newLab(t)
	l.ip("tuntap add tun0 mode tun")
	ul0 := l.index("ul0")
	for _, c := range []struct {
		index  int
		local  string
		reason string
	}{
		{l.index("lo"), "192.0.2.1", "loopback"},
		{l.index("tun0"), "192.0.2.1", "not an Ethernet device"},
		{0, "192.0.2.1", "no such interface"},
		{-1, "192.0.2.1", "no such interface"},
		{9999, "192.0.2.1", "no such device"},
		{ul0, "0.0.0.0", "not a unicast address"},
		{ul0, "224.0.0.1", "not a unicast address"},
		{ul0, "::ffff:192.0.2.1", "not a unicast address"},
		{ul0, "::1", "not a unicast address"},
		{ul0, "fe80::1%other0", "zone"},
	} {
		table, err := l.try(Config{Ifindex: c.index, Local: netip.MustParseAddr(c.local)})
		if err == nil {
			_ = table.Close()
			t.Errorf("interface %d, %s: taken", c.index, c.local)
		} else if !strings.Contains(err.Error(), c.reason) {
			t.Errorf("interface %d, %s: %v, want %q", c.index, c.local, err, c.reason)
		}
	}
	if table, err := l.try(Config{Ifindex: ul0}); err == nil {
		_ = table.Close()
		t.Error("taken without an address")
	}
}

// Every snapshot is told of, after it is in force.
func TestChanged(t *testing.T) {
	l := newLab(t)
	var table atomic.Pointer[Table]
	var calls, last atomic.Uint64
	x, err := l.try(Config{Ifindex: l.index("ul0"), Local: local4, Changed: func() {
		if t := table.Load(); t != nil {
			last.Store(t.Generation())
		}
		calls.Add(1)
	}})
	if err != nil {
		t.Fatal(err)
	}
	table.Store(x)
	l.closeLater(x)
	if calls.Load() != 0 || x.Generation() != 1 {
		t.Errorf("%d calls, generation %d", calls.Load(), x.Generation())
	}
	await(t, x, peer4, l.direct(), Resolved)
	l.ip("link set ul0 mtu 1400")
	testenv.WaitFor(t, patient, func() bool { return x.MTU() == 1400 }, "the MTU")
	testenv.WaitFor(t, patient, func() bool {
		n := x.Generation()
		return last.Load() == n && calls.Load() == n-1
	}, "%d calls, the last in generation %d", calls.Load(), last.Load())
}

func TestEntriesJSON(t *testing.T) {
	l := newLab(t)
	table := l.open(local4)
	await(t, table, peer4, l.direct(), Resolved)
	awaitReason(t, table, far4, "no route")
	b, err := json.Marshal(table.Entries())
	if err != nil {
		t.Fatal(err)
	}
	e := entry(t, table, peer4)
	want := fmt.Sprintf(`[{"vtep":"192.0.2.2","via":"192.0.2.2","mac":%q,"state":"resolved","kernel_state":%q,"mtu":1500},`+
		`{"vtep":"198.51.100.7","state":"unreachable","reason":"no route"}]`, e.MAC, e.Kernel)
	if string(b) != want {
		t.Errorf("%s\nwant %s", b, want)
	}
	var back []Entry
	if err := json.Unmarshal(b, &back); err != nil || len(back) != 2 || back[0] != e || back[1].State != Unreachable {
		t.Errorf("read back as %+v: %v", back, err)
	}
	if err := json.Unmarshal([]byte(`[{"state":"odd"}]`), &back); err == nil {
		t.Error("an unknown state is taken")
	}
}

// Nothing is left behind: no goroutine, no descriptor.
func TestNoLeaks(t *testing.T) {
	l := newLab(t)
	cycle := func() {
		table, err := l.try(Config{Ifindex: l.index("ul0"), Local: local4})
		if err != nil {
			t.Fatal(err)
		}
		table.Lookup(peer4)
		table.Lookup(far4)
		for range 2 {
			if err := table.Close(); err != nil {
				t.Error(err)
			}
		}
		if e := table.Entries(); e != nil {
			t.Errorf("%+v after Close", e)
		}
		table.Lookup(peer6)
		table.Lookup(other4)
	}
	cycle()
	fds, goroutines := testenv.FDs(t, os.Getpid()), runtime.NumGoroutine()
	for range 20 {
		cycle()
	}
	testenv.WaitFor(t, patient, func() bool { return runtime.NumGoroutine() <= goroutines },
		"%d goroutines to become %d", runtime.NumGoroutine(), goroutines)
	if n := testenv.FDs(t, os.Getpid()); n > fds {
		t.Errorf("%d descriptors, were %d", n, fds)
	}
	for _, index := range []string{"lo", "ul0"} { // refused: the second by its address
		if _, err := l.try(Config{Ifindex: l.index(index), Local: netip.MustParseAddr("fe80::1%x")}); err == nil {
			t.Fatal("taken")
		}
	}
	if n := testenv.FDs(t, os.Getpid()); n > fds {
		t.Errorf("%d descriptors after refusals, were %d", n, fds)
	}
}

// The kernel's messages did not fit into the socket: everything is read again.
func TestLostMessages(t *testing.T) {
	l := newLab(t)
	l.ip("neigh add 192.0.2.9 dev ul0 nud permanent lladdr " + strange.String())
	l.ip("route add 198.51.100.0/24 via 192.0.2.2")
	table := l.prepare(local4)
	if err := table.feed.setReceiveBuffer(1); err != nil { // the kernel makes it its least
		t.Fatal(err)
	}
	table.start()
	l.closeLater(table)
	hop := l.direct()
	await(t, table, far4, hop, Resolved)
	await(t, table, netip.MustParseAddr("192.0.2.9"), Hop{Dst: strange, Src: hop.Src, MTU: 1500}, Resolved)

	table.inbox.mu.Lock() // follow is deaf
	var batch strings.Builder
	for i := range 200 {
		fmt.Fprintf(&batch, "route add 10.0.%d.0/24 via 192.0.2.2\n", i)
	}
	batch.WriteString("route replace 198.51.100.0/24 via 192.0.2.9\n")
	batch.WriteString("neigh replace 192.0.2.9 dev ul0 nud permanent lladdr 02:00:00:00:00:0a\n")
	batch.WriteString("link set ul0 mtu 1444\n")
	file := t.TempDir() + "/batch"
	err := os.WriteFile(file, []byte(batch.String()), 0o600)
	if err == nil {
		_, err = testenv.Try(nil, patient, "ip", "-n", l.host.Name(), "-batch", file)
	}
	table.inbox.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	hop.Dst, hop.MTU = mac(t, "02:00:00:00:00:0a"), 1444
	await(t, table, far4, hop, Resolved)
	if !strings.Contains(l.log.String(), "netlink messages were lost") {
		t.Error("no message was lost: nothing was tested")
	}
}

// However often it is asked for, a VTEP is wished for once, and the wishes are
// bounded.
func TestWishes(t *testing.T) {
	l := newLab(t)
	table := l.still(local4)
	for range 1000 {
		table.Lookup(peer4)
	}
	if table.wanted.n != 1 {
		t.Errorf("%d wishes for one VTEP", table.wanted.n)
	}
	ip := peer4
	for range 2 * maxWishes {
		if _, state := table.Lookup(ip); state != Pending {
			t.Errorf("%s is %s", ip, state)
		}
		ip = ip.Next()
	}
	if table.wanted.n != maxWishes {
		t.Errorf("%d wishes, want %d", table.wanted.n, maxWishes)
	}
	// Somebody holds the list: Lookup does not wait.
	table.wanted.mu.Lock()
	table.Lookup(peer4)
	table.wanted.mu.Unlock()
	table.step(time.Now())
	if len(table.vteps) != maxWishes || table.wanted.n != 0 {
		t.Errorf("%d VTEPs, %d wishes", len(table.vteps), table.wanted.n)
	}
}

// A network that shows us ever more VTEPs gets those forgotten that have not
// been used for the longest time, and none that are in use.
func TestFlood(t *testing.T) {
	l := newLab(t)
	l.ip("route add default via 192.0.2.2")
	table := l.still(local4)
	table.max = 2048
	now := time.Now()
	table.Lookup(peer4)
	table.step(now)
	testenv.WaitFor(t, patient, func() bool {
		now = now.Add(time.Millisecond)
		table.rereadNeighbours(now)
		table.step(now)
		_, state := table.Lookup(peer4)
		return state == Resolved
	}, "the gateway")

	var all []netip.Addr
	ip := netip.MustParseAddr("10.0.0.1")
	for range 4 * table.max / maxWishes {
		for range maxWishes {
			table.Lookup(ip)
			all = append(all, ip)
			ip = ip.Next()
		}
		now = now.Add(200 * time.Millisecond)
		table.step(now)
		if _, state := table.Lookup(peer4); state != Resolved {
			t.Fatalf("the VTEP in use is %s", state)
		}
		if len(table.vteps) > table.max {
			t.Fatalf("%d VTEPs", len(table.vteps))
		}
	}
	if n := len(table.vteps); n < table.max*7/8 {
		t.Errorf("%d VTEPs are left of %d", n, table.max)
	}
	first := -1 // of those that came at a time
	for i, ip := range all {
		if _, ok := table.vteps[ip]; ok {
			if first < 0 {
				first = i / maxWishes
			}
		} else if first >= 0 && first < i/maxWishes {
			t.Fatalf("VTEP %d was forgotten before an older one", i)
		}
	}
	// With all of them in use, new ones have to wait.
	for range table.max/maxWishes + 1 {
		for ip := range table.vteps {
			table.Lookup(ip)
		}
		before := len(table.vteps)
		for range maxWishes {
			table.Lookup(ip)
			ip = ip.Next()
		}
		now = now.Add(200 * time.Millisecond)
		table.step(now)
		if len(table.vteps) == before {
			break
		}
	}
	n := len(table.vteps)
	for range 10 {
		for ip := range table.vteps {
			table.Lookup(ip)
		}
		now = now.Add(retryAfter)
		table.step(now)
	}
	if len(table.vteps) != n || table.wanted.n != maxWishes {
		t.Errorf("%d VTEPs and %d wishes, want %d and %d", len(table.vteps), table.wanted.n, n, maxWishes)
	}
	// Nobody asks any more.
	for range forgetAfter/sweepEvery + 2 {
		now = now.Add(sweepEvery)
		table.step(now)
	}
	if len(table.vteps)+len(table.neighbours) != 0 {
		t.Errorf("%d VTEPs and %d neighbours are left", len(table.vteps), len(table.neighbours))
	}
}

// Everything at once, for the race detector.
func TestConcurrent(t *testing.T) {
	l := newLab(t)
	l.ip("route add default via 192.0.2.2")
	table := l.open(local4)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			ip := netip.AddrFrom4([4]byte{10, byte(i), 0, 1})
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if hop, state := table.Lookup(peer4); state == Resolved && hop.MTU == 0 {
					t.Error("a hop without an MTU")
				}
				if n%100 == 0 {
					table.Lookup(ip)
					ip = ip.Next()
				}
				table.Up()
				table.Generation()
			}
		})
	}
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				table.Entries()
			}
		}
	})
	for i := range 20 {
		l.ip(fmt.Sprintf("link set ul0 mtu %d", 1400+i))
		_, _ = testenv.Try(l.host, patient, "ip", "neigh", "del", "192.0.2.2", "dev", "ul0") // it may have gone
	}
	if err := table.Close(); err != nil {
		t.Error(err)
	}
	close(stop)
	wg.Wait()
}
