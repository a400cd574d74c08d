// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"netcon/internal/testenv"
)

// sizes of the files that are fetched.
var sizes = map[string]int{"1B": 1, "1MiB": 1 << 20, "32MiB": 32 << 20, "1GiB": 1 << 30}

// TestTwoDaemons is the first whole: stock servers in a container of one
// daemon, stock clients in a container of another, joined by VXLAN over
// loopback.
func TestTwoDaemons(t *testing.T) {
	h := startPair(t, pair{Workers: 2})
	root, sums := www(t, sizes)
	testenv.Nginx(t, h.a.exec("web"), testenv.Options{
		Addrs: []string{web4 + ":80", "[" + web6 + "]:80"}, Workers: 2, Root: root,
	})

	for _, host := range []string{web4, "[" + web6 + "]"} {
		for _, file := range []string{"1B", "1MiB", "1GiB"} {
			t.Run("curl "+file+" from "+host, func(t *testing.T) {
				before := h.b.container(t, "client")
				if got := h.b.curl(t, "client", "http://"+host+"/"+file, 2*time.Minute); got != sums[file] {
					t.Errorf("SHA-256 %s, want %s", got, sums[file])
				}
				h.b.moved(t, before, uint64(sizes[file]), 50)
			})
		}
	}
	t.Run("200 parallel curls", func(t *testing.T) { parallelCurls(t, h, 200, "1MiB", sums["1MiB"], time.Minute) })
	t.Run("wrk", func(t *testing.T) { wrk(t, h) })
	t.Run("redis-benchmark", func(t *testing.T) {
		testenv.Redis(t, h.a.exec("web"), testenv.Options{Addrs: []string{web4 + ":6379", "[" + web6 + "]:6379"}})
		for _, host := range []string{web4, web6} {
			redisBenchmark(t, h.b, "client", host, "-n", "100000", "-t", "ping,set,get,lrange_100")
		}
	})
	for _, host := range []string{web4, web6} {
		t.Run("iperf3 "+host, func(t *testing.T) { iperf3(t, h, host, 3*time.Second, 3*time.Second) })
	}
	noSurprises(t, h)
}

// TestTwoDaemonsOuterIPv6 runs over an IPv6 underlay with a common MTU.
func TestTwoDaemonsOuterIPv6(t *testing.T) {
	testenv.NeedRoot(t)
	h := startPair(t, pair{Outer6: true})
	root, sums := www(t, sizes)
	testenv.Nginx(t, h.a.exec("web"), testenv.Options{
		Addrs: []string{web4 + ":80", "[" + web6 + "]:80"}, Root: root,
	})
	if mtu := h.a.container(t, "web").MTU; mtu != 1430 {
		t.Errorf("inner MTU %d, want 1500 less 70", mtu)
	}
	for _, host := range []string{web4, "[" + web6 + "]"} {
		for _, file := range []string{"1B", "1MiB", "32MiB"} {
			if got := h.b.curl(t, "client", "http://"+host+"/"+file, time.Minute); got != sums[file] {
				t.Errorf("%s from %s: SHA-256 %s, want %s", file, host, got, sums[file])
			}
		}
	}
	noSurprises(t, h)
}

// TestSameDaemon joins two containers of one daemon, on one and on two workers:
// nothing of it touches the underlay.
func TestSameDaemon(t *testing.T) {
	for _, workers := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d workers", workers), func(t *testing.T) {
			d := start(t, daemonOptions{}, fmt.Sprintf("workers = %d", workers), fmt.Sprintf(`
[underlay]
address = %q
[[network]]
name = "blue"
vni = 42
subnets = ["10.42.0.0/24", "fd42::/64"]
[[container]]
name = "web"
network = "blue"
addresses = [%q, %q]
[[container]]
name = "client"
network = "blue"
addresses = [%q, %q]
`, nextLoopback(), web4, web6, client4, client6))
			root, sums := www(t, map[string]int{"32MiB": 32 << 20})
			testenv.Nginx(t, d.exec("web"), testenv.Options{Addrs: []string{web4 + ":80", "[" + web6 + "]:80"}, Root: root})
			for _, host := range []string{web4, "[" + web6 + "]"} {
				if got := d.curl(t, "client", "http://"+host+"/32MiB", time.Minute); got != sums["32MiB"] {
					t.Errorf("%s: SHA-256 %s, want %s", host, got, sums["32MiB"])
				}
			}
			s := d.stats(t).Total
			if s.Counters["tx_frames"] != 0 || s.Counters["local_bytes"] < 64<<20 {
				t.Errorf("%d frames left through the underlay and %d bytes stayed, want 0 and at least %d",
					s.Counters["tx_frames"], s.Counters["local_bytes"], 64<<20)
			}
			if handed := s.Counters["handovers"]; (handed > 0) != (workers > 1) {
				t.Errorf("%d frames handed over between %d workers", handed, workers)
			}
		})
	}
}

// TestOverlappingNetworks gives two networks of one daemon the same addresses.
func TestOverlappingNetworks(t *testing.T) {
	conf := fmt.Sprintf("[underlay]\naddress = %q\n", nextLoopback())
	for vni, name := range []string{"red", "blue"} {
		conf += fmt.Sprintf(`
[[network]]
name = %[1]q
vni = %[2]d
subnets = ["10.42.0.0/24"]
[[container]]
name = "web-%[1]s"
network = %[1]q
addresses = ["10.42.0.1"]
[[container]]
name = "client-%[1]s"
network = %[1]q
addresses = ["10.42.0.2"]
`, name, vni+100)
	}
	d := start(t, daemonOptions{}, "workers = 2", conf)
	for _, name := range []string{"red", "blue"} {
		root, sums := www(t, map[string]int{"who": len(name) * 1000})
		testenv.Nginx(t, d.exec("web-"+name), testenv.Options{Addrs: []string{"10.42.0.1:80"}, Root: root})
		if got := d.curl(t, "client-"+name, "http://10.42.0.1/who", 10*time.Second); got != sums["who"] {
			t.Errorf("network %s: SHA-256 %s, want %s", name, got, sums["who"])
		}
	}
}

// parallelCurls runs n curls of one file at once, 32 at a time starting.
func parallelCurls(t *testing.T, h twoHosts, n int, file, sum string, timeout time.Duration) {
	t.Helper()
	before := h.b.container(t, "client")
	var wg sync.WaitGroup
	errs := make(chan error, n)
	for range n {
		wg.Go(func() {
			got, err := h.b.tryCurl("client", "http://"+web4+"/"+file, timeout)
			if err == nil && got != sum {
				err = fmt.Errorf("SHA-256 %s, want %s", got, sum)
			}
			if err != nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	failed := 0
	for err := range errs {
		if failed++; failed <= 3 {
			t.Error(err)
		}
	}
	if failed > 3 {
		t.Errorf("%d of %d curls failed", failed, n)
	}
	h.b.moved(t, before, uint64((n-failed)*sizes[file]), 0)
}

func wrk(t *testing.T, h twoHosts) {
	t.Helper()
	before := h.b.container(t, "client")
	out := h.b.run(t, "client", 30*time.Second, "wrk", "-t2", "-c128", "-d5", "http://"+web4+"/1B")
	t.Log(out)
	if strings.Contains(out, "Socket errors") || strings.Contains(out, "Non-2xx") {
		t.Error("wrk saw errors")
	}
	m := regexp.MustCompile(`(\d+) requests in`).FindStringSubmatch(out)
	if m == nil {
		t.Fatal("wrk did not report requests")
	}
	requests, _ := strconv.ParseUint(m[1], 10, 64)
	if requests < 1000 {
		t.Errorf("%d requests in 5 s", requests)
	}
	h.b.moved(t, before, requests*100, requests*30)
}

// redisBenchmark runs redis-benchmark -q and fails on anything but results.
func redisBenchmark(t *testing.T, d *daemon, container, host string, args ...string) {
	t.Helper()
	before := d.container(t, container)
	argv := append([]string{"redis-benchmark", "-h", host, "-q"}, args...)
	out := strings.ReplaceAll(d.run(t, container, 3*time.Minute, argv...), "\r", "\n")
	results := regexp.MustCompile(`(?m)^.*requests per second.*$`).FindAllString(out, -1)
	for _, r := range results {
		t.Log(r)
	}
	if len(results) < 2 || strings.Contains(out, "rror") {
		t.Errorf("redis-benchmark printed:\n%s", out)
	}
	d.moved(t, before, 10_000, 10_000)
}

// iperf3 runs it in both directions; a stall is an interval of longest without
// a byte.
func iperf3(t *testing.T, h twoHosts, host string, d, longest time.Duration) {
	t.Helper()
	addr := host + ":5201"
	if strings.Contains(host, ":") {
		addr = "[" + host + "]:5201"
	}
	server := testenv.Iperf3Server(t, h.a.exec("web"), testenv.Options{Addrs: []string{addr}})
	for i, dir := range [][]string{nil, {"-R"}} {
		// It closes its listener after each test and opens another one.
		testenv.WaitFor(t, 10*time.Second, func() bool {
			return strings.Count(server.Output(), "Server listening") > i
		}, "iperf3 to listen for test %d", i+1)
		before := h.b.container(t, "client")
		r := testenv.Iperf3(t, h.b.exec("client"), addr, d, dir...)
		t.Logf("%v %.2f Gbit/s, longest stall %v", dir, r.BitsPerSecond/1e9, r.Stall)
		if r.Bytes == 0 || r.Stall > longest {
			t.Errorf("%v: %d bytes, longest stall %v (at most %v)", dir, r.Bytes, r.Stall, longest)
		}
		in, out := uint64(0), uint64(r.Bytes)
		if dir != nil {
			in, out = out, in
		}
		h.b.moved(t, before, in, out)
	}
}

// noSurprises fails the test if anything was dropped that healthy traffic does
// not lose: queues overflow in bursts, a full backlog drops SYNs.
func noSurprises(t *testing.T, h twoHosts) {
	t.Helper()
	for _, d := range []*daemon{h.a, h.b} {
		for reason, n := range d.stats(t).Total.Drops {
			switch reason {
			case "neigh_queue", "tx_queue", "underlay_full", "handover_full", "half_open_limit":
				t.Logf("%d dropped: %s", n, reason)
			default:
				t.Errorf("%d dropped: %s", n, reason)
			}
		}
	}
}
