// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"netcon/internal/testenv"
)

// kernelHost is a stock host: nothing but the kernel's own vxlan device.
//
//	namespace k                         namespace d
//	┌──────────────────────┐           ┌────────────────────────────┐
//	│ vx0 10.42.0.2        │   veth    │ netcon up, underlay udp    │
//	│     fd42::2          ├───────────┤ container web 10.42.0.1    │
//	│ kernel's TCP         │           │               fd42::1      │
//	└──────────────────────┘           └────────────────────────────┘
type kernelHost struct {
	ns *testenv.NetNS
	d  *daemon
}

func startKernelPeer(t *testing.T, outer6 bool, faultSpec string) kernelHost {
	t.Helper()
	testenv.NeedRoot(t)
	k, d := testenv.NewNetNS(t, "k"), testenv.NewNetNS(t, "d")
	ka, da, bits, mtu := "192.0.2.2", "192.0.2.1", "/24", 1450
	if outer6 {
		ka, da, bits, mtu = "fd00::2", "fd00::1", "/64", 1430
	}
	testenv.Veth(t, k, "eth0", ka+bits, d, "eth0", da+bits, 1500)
	testenv.KernelVXLAN(t, k, testenv.VXLAN{
		VNI: 42, Local: ka, Remotes: []string{da}, MTU: mtu, Addrs: client4 + "/24," + client6 + "/64",
	})
	return kernelHost{k, start(t, daemonOptions{NS: d, Faults: faultSpec}, "workers = 2",
		hostConf(da, ka, pair{}, "web", web4, web6))}
}

// TestKernelPeer talks to a stock kernel over both kinds of outer IP.
func TestKernelPeer(t *testing.T) {
	for _, outer6 := range []bool{false, true} {
		t.Run(map[bool]string{false: "outer IPv4", true: "outer IPv6"}[outer6], func(t *testing.T) {
			h := startKernelPeer(t, outer6, "")
			for _, addr := range []string{web4, web6} {
				if got := ping(t, h.ns, addr, 100); got != 100 {
					t.Errorf("ping %s: %d of 100 answered", addr, got)
				}
			}
			root, sums := www(t, map[string]int{"1B": 1, "32MiB": 32 << 20})
			both := []string{web4, "[" + web6 + "]"}
			testenv.Nginx(t, h.d.exec("web"), testenv.Options{Addrs: []string{web4 + ":80", "[" + web6 + "]:80"}, Workers: 2, Root: root})
			for _, host := range both {
				for _, file := range []string{"1B", "32MiB"} {
					before := h.d.container(t, "web")
					got, err := hashOutput(time.Minute, append(h.ns.Prefix(), "curl", "-sS", "--fail", "--max-time", "50", "http://"+host+"/"+file)...)
					if err != nil || got != sums[file] {
						t.Errorf("kernel's curl of %s from %s: %v, SHA-256 %s, want %s", file, host, err, got, sums[file])
					}
					h.d.moved(t, before, 50, uint64(sizes[file]))
				}
			}
			testenv.Nginx(t, h.ns.Prefix(), testenv.Options{Addrs: []string{client4 + ":80", "[" + client6 + "]:80"}, Root: root})
			for _, host := range []string{client4, "[" + client6 + "]"} {
				for _, file := range []string{"1B", "32MiB"} {
					if got := h.d.curl(t, "web", "http://"+host+"/"+file, time.Minute); got != sums[file] {
						t.Errorf("curl of %s from the kernel's nginx at %s: SHA-256 %s, want %s", file, host, got, sums[file])
					}
				}
			}
			testenv.Redis(t, h.d.exec("web"), testenv.Options{Addrs: []string{web4 + ":6379", "[" + web6 + "]:6379"}})
			for _, host := range []string{web4, web6} {
				out := testenv.Run(t, h.ns, "redis-benchmark", "-h", host, "-q", "-n", "20000", "-t", "set,get")
				if strings.Count(out, "requests per second") < 2 {
					t.Errorf("redis-benchmark from the kernel printed:\n%s", out)
				}
			}
		})
	}
}

// TestLearning has a daemon that knows no VTEP: a network that learns takes a
// stranger's frames and finds the way back, one that does not counts them.
func TestLearning(t *testing.T) {
	for _, learn := range []bool{true, false} {
		t.Run(fmt.Sprintf("learn %t", learn), func(t *testing.T) {
			testenv.NeedRoot(t)
			k, ns := testenv.NewNetNS(t, "k"), testenv.NewNetNS(t, "d")
			testenv.Veth(t, k, "eth0", "192.0.2.2/24", ns, "eth0", "192.0.2.1/24", 1500)
			testenv.KernelVXLAN(t, k, testenv.VXLAN{VNI: 42, Local: "192.0.2.2", Remotes: []string{"192.0.2.1"}, MTU: 1450, Addrs: client4 + "/24"})
			d := start(t, daemonOptions{NS: ns}, "", fmt.Sprintf(`
[underlay]
address = "192.0.2.1"
[[network]]
name = "blue"
vni = 42
subnets = ["10.42.0.0/24"]
learn = %t
[[container]]
name = "web"
network = "blue"
addresses = [%q]
`, learn, web4))
			got := ping(t, k, web4, 3)
			drops := d.stats(t).Total.Drops["unknown_vtep"]
			if learn && (got != 3 || drops != 0) || !learn && (got != 0 || drops == 0) {
				t.Errorf("%d of 3 pings answered, %d frames of an unknown VTEP dropped", got, drops)
			}
			s, err := d.Status()
			if err != nil {
				t.Fatal(err)
			}
			if n := s.Networks[0].Learned; (n == 1) != learn {
				t.Errorf("%d addresses learned", n)
			}
		})
	}
}

// ping sends n echo requests from a namespace and returns how many were
// answered.
func ping(t *testing.T, ns *testenv.NetNS, addr string, n int, args ...string) int {
	t.Helper()
	argv := append([]string{"ping", "-q", "-c", fmt.Sprint(n), "-i", "0.01", "-W", "2"}, args...)
	out, _ := testenv.Try(ns, time.Minute, append(argv, addr)...) // status 1 says that some were lost
	m := regexp.MustCompile(`(\d+) received`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("ping printed %q", out)
	}
	got, _ := strconv.Atoi(m[1])
	return got
}
