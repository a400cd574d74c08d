// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netcon/internal/testenv"
)

func readConfig(t *testing.T, d *daemon) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(d.dir, "netcon.toml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// startAgain starts a daemon in the place of one that ended.
func startAgain(t *testing.T, old *daemon, text string) *daemon {
	t.Helper()
	_, rest, _ := strings.Cut(text, "\n\n") // what start put before
	head, _, _ := strings.Cut(text, "\n\n")
	lines := strings.SplitN(head, "\n", 3)
	daemonLines := ""
	if len(lines) > 2 {
		daemonLines = lines[2]
	}
	return start(t, daemonOptions{NS: old.ns, Dir: old.dir}, daemonLines, rest)
}

// TestLeaks opens and closes connections and compares what the daemons hold.
func TestLeaks(t *testing.T) {
	h := startPair(t, pair{Container: `time_wait = "1s"`})
	h.a.begin(t, "web", "listening", peer(t), "serve", web4, "700")
	type use struct {
		rss int64
		fds int
	}
	look := func() (u [2]use) {
		for i, d := range []*daemon{h.a, h.b} {
			container := []string{"web", "client"}[i]
			testenv.WaitFor(t, 20*time.Second, func() bool { return d.container(t, container).Sockets <= 1 }, "sockets to close")
			u[i] = use{testenv.RSS(t, d.Pid()), testenv.FDs(t, d.Pid())}
		}
		return u
	}
	var uses [][2]use
	for range 3 {
		out := h.b.run(t, "client", 2*time.Minute, peer(t), "churn", web4, "700", "10000")
		if !strings.Contains(out, "churned 10000") {
			t.Fatalf("peer printed %q", out)
		}
		uses = append(uses, look())
	}
	for i, d := range []*daemon{h.a, h.b} {
		second, third := uses[1][i], uses[2][i]
		t.Logf("daemon %d: RSS %d, %d, %d KiB; fds %d, %d, %d", i, uses[0][i].rss>>10, second.rss>>10, third.rss>>10,
			uses[0][i].fds, second.fds, third.fds)
		// The collector gives memory back in the background.
		testenv.WaitFor(t, time.Minute, func() bool { return float64(testenv.RSS(t, d.Pid())) <= 1.03*float64(second.rss) },
			"RSS of daemon %d, %d KiB after 20,000 connections, to come down from %d", i, second.rss>>10, third.rss>>10)
		if float64(third.fds) > 1.03*float64(second.fds) {
			t.Errorf("daemon %d: fds grew from %d to %d", i, second.fds, third.fds)
		}
	}
}

// TestHold holds 5,000 connections and lets them go.
func TestHold(t *testing.T) {
	const n = 5000
	h := startPair(t, pair{})
	h.a.begin(t, "web", "listening", peer(t), "serve", web4, "700")
	before := testenv.FDs(t, h.b.Pid())
	client := holdOpen(t, h.b, "client", web4, n)
	if got := h.a.container(t, "web").Sockets; got != n+1 {
		t.Errorf("container web has %d sockets, want %d", got, n+1)
	}
	client.Signal(t, syscall.SIGKILL)
	testenv.WaitFor(t, 30*time.Second, func() bool {
		return h.a.container(t, "web").Sockets == 1 && h.b.container(t, "client").Sockets == 0
	}, "connections to go")
	if after := testenv.FDs(t, h.b.Pid()); after > before+10 {
		t.Errorf("the daemon has %d fds, had %d", after, before)
	}
}

// holdOpen starts a program that holds n connections.
func holdOpen(t *testing.T, d *daemon, container, host string, n int) *testenv.Process {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	argv := append(d.exec(container), peer(t), "hold", host, "700", fmt.Sprint(n))
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = r
	p := testenv.StartCmd(t, cmd)
	p.WaitOutput(t, time.Minute, fmt.Sprintf("held %d", n))
	return p
}

// TestIdle measures an idle daemon with ten containers.
func TestIdle(t *testing.T) {
	d := start(t, daemonOptions{}, "workers = 2", manyContainers(10))
	// Announcements and start-up settle within two seconds.
	testenv.WaitFor(t, 5*time.Second, func() bool {
		s := d.stats(t).Total.Counters
		return s["arp_tx"]+s["nd_tx"] >= 2*20
	}, "announcements")
	const window = 10 * time.Second
	before := testenv.CPU(t, d.Pid())
	time.Sleep(window) // the measurement is over time itself
	used := testenv.CPU(t, d.Pid()) - before
	t.Logf("%v of CPU in %v", used, window)
	if used > window/100 {
		t.Errorf("idle daemon used %v of CPU in %v, at most 1%% of a core", used, window)
	}
}

// manyContainers is one network with containers c0, c1 and so on.
func manyContainers(n int) string {
	conf := fmt.Sprintf("[underlay]\naddress = %q\n[[network]]\nname = \"blue\"\nvni = 42\nsubnets = [\"10.42.0.0/16\", \"fd42::/64\"]\n", nextLoopback())
	for i := range n {
		conf += fmt.Sprintf("[[container]]\nname = \"c%d\"\nnetwork = \"blue\"\naddresses = [\"10.42.1.%d\", \"fd42::1:%d\"]\n", i, i+1, i+1)
	}
	return conf
}

// TestFairness keeps ten containers on two workers busy, each talking to
// itself, and compares what each got done.
func TestFairness(t *testing.T) {
	const n, seconds = 10, 6
	d := start(t, daemonOptions{}, "workers = 2", manyContainers(n))
	var clients []*testenv.Process
	for i := range n {
		d.begin(t, fmt.Sprintf("c%d", i), "listening", peer(t), "serve", fmt.Sprintf("10.42.1.%d", i+1), "700")
	}
	for i := range n {
		// The neighbour, so that packets cross between workers as well.
		to := fmt.Sprintf("10.42.1.%d", (i+1)%n+1)
		clients = append(clients, d.begin(t, fmt.Sprintf("c%d", i), "", peer(t), "echo", to, "700", "8", fmt.Sprint(seconds)))
	}
	total, least := 0, 1<<62
	for _, p := range clients {
		if err := p.Wait(t, (seconds+20)*time.Second); err != nil {
			t.Fatalf("%v: %s", err, p.Output())
		}
		var trips int
		if _, err := fmt.Sscanf(p.Stdout(), "trips %d", &trips); err != nil {
			t.Fatalf("peer printed %q", p.Stdout())
		}
		total, least = total+trips, min(least, trips)
	}
	t.Logf("%d round trips, the least of %d containers had %.0f%% of its fair share", total, n, 100*float64(least*n)/float64(total))
	if least*n*2 < total {
		t.Errorf("one container had %d of %d round trips, less than half of its share", least, total)
	}
}

// TestLimits drives one container to its limits and looks at its neighbours.
func TestLimits(t *testing.T) {
	conf := manyContainers(3)
	conf = strings.Replace(conf, "[[container]]\nname = \"c1\"", "[container.limits]\nconnections = 50\nhalf_open = 16\nbuffer_bytes = \"1MiB\"\n[[container]]\nname = \"c1\"", 1)
	d := start(t, daemonOptions{}, "workers = 2", conf)
	for i := range 2 {
		d.begin(t, fmt.Sprintf("c%d", i), "listening", peer(t), "serve", fmt.Sprintf("10.42.1.%d", i+1), "700")
	}
	// c0 may have 50 sockets; c2 asks for 200 connections to it and keeps
	// what it gets, and floods one that nobody reads from.
	greedy := testenv.Start(t, nil, append(d.exec("c2"), peer(t), "hold", "10.42.1.1", "700", "200")...)
	testenv.WaitFor(t, 20*time.Second, func() bool { return d.container(t, "c0").Sockets >= 50 }, "c0 to fill up")
	d.begin(t, "c1", "listening", peer(t), "accept", "10.42.1.2", "701")

	out := d.run(t, "c2", 30*time.Second, peer(t), "churn", "10.42.1.2", "700", "500")
	if !strings.Contains(out, "churned 500") {
		t.Errorf("a neighbour's client printed %q", out)
	}
	if got := d.container(t, "c0").Sockets; got > 50 {
		t.Errorf("container c0 has %d sockets, its limit is 50", got)
	}
	// And from inside: its own socket() fails with EMFILE, nobody else's.
	if out, _ := d.try("c0", 10*time.Second, peer(t), "connect", "10.42.1.2", "700"); !strings.Contains(out, "socket: EMFILE") &&
		!strings.Contains(out, "socket: ENOBUFS") {
		t.Errorf("socket() in the full container printed %q", out)
	}
	_ = greedy.Stop()
	testenv.WaitFor(t, 20*time.Second, func() bool { return d.container(t, "c0").Sockets < 10 }, "c0 to recover")
	d.run(t, "c2", 30*time.Second, peer(t), "churn", "10.42.1.1", "700", "10")
}
