// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"math"
	"testing"
	"time"

	"netcon/internal/testenv"
)

// faultKinds are what traffic has to survive, each alone and together. The
// injector stands on one daemon's underlay, in both directions.
var faultKinds = []struct {
	name, spec string
}{
	{"drop", "drop=3%,seed=1"},
	{"reorder", "reorder=3%,seed=2"},
	{"corrupt", "corrupt=1%,seed=3"},
	{"all", "drop=3%,reorder=3%,corrupt=1%,seed=4"},
}

// TestFaults moves real traffic through a bad network.
func TestFaults(t *testing.T) {
	for _, f := range faultKinds {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			h := startPair(t, pair{MTU: 1450, FaultsB: f.spec})
			root, sums := www(t, map[string]int{"1B": 1, "1MiB": 1 << 20, "32MiB": 32 << 20})
			testenv.Nginx(t, h.a.exec("web"), testenv.Options{Addrs: []string{web4 + ":80", "[" + web6 + "]:80"}, Workers: 2, Root: root})
			testenv.Nginx(t, h.b.exec("client"), testenv.Options{Addrs: []string{client4 + ":80"}, Workers: 2, Root: root})
			for _, file := range []string{"1B", "32MiB"} {
				for _, host := range []string{web4, "[" + web6 + "]"} {
					if got := h.b.curl(t, "client", "http://"+host+"/"+file, 2*time.Minute); got != sums[file] {
						t.Errorf("%s from %s: SHA-256 %s, want %s", file, host, got, sums[file])
					}
				}
				if got := h.a.curl(t, "web", "http://"+client4+"/"+file, 2*time.Minute); got != sums[file] {
					t.Errorf("%s the other way: SHA-256 %s, want %s", file, got, sums[file])
				}
			}
			parallelCurls(t, h, 20, "1MiB", sums["1MiB"], time.Minute)
			testenv.Redis(t, h.a.exec("web"), testenv.Options{Addrs: []string{web4 + ":6379"}})
			redisBenchmark(t, h.b, "client", web4, "-n", "2000", "-t", "set,get")
			iperf3(t, h, web4, 5*time.Second, 10*time.Second)
		})
	}
}

// TestPingLoss compares what a stock kernel's ping loses with what the injector
// was told to drop.
func TestPingLoss(t *testing.T) {
	const n, p = 2000, 0.03
	h := startKernelPeer(t, kernelOptions{Faults: "drop=3%,seed=5"})
	if ping(t, h.ns, web4, 5) == 0 {
		t.Fatal("no ping was answered")
	}
	got := ping(t, h.ns, web4, n, "-i", "0.002")
	// A ping crosses the injector twice.
	answered := (1 - p) * (1 - p)
	want, sigma := n*answered, math.Sqrt(n*answered*(1-answered))
	if math.Abs(float64(got)-want) > 3*sigma {
		t.Errorf("%d of %d answered, want %.0f within 3 sigma (%.0f)", got, n, want, 3*sigma)
	}
}
