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
//	│ vx0 10.42.0.2        │   veth    │ netcon up                  │
//	│     fd42::2          ├───────────┤ container web 10.42.0.1    │
//	│ kernel's TCP         │           │               fd42::1      │
//	└──────────────────────┘           └────────────────────────────┘
type kernelHost struct {
	ns      *testenv.NetNS
	d       *daemon
	options kernelOptions
	conf    string // of the daemon
}

// kernelOptions say how a daemon meets a stock host.
type kernelOptions struct {
	Outer6   bool
	Faults   string
	MTU      int    // of the veth; 0: 1500
	Queues   int    // of the veth; 0: one
	Workers  int    // 0: 2
	Underlay string // further lines of [underlay]
}

func (o kernelOptions) vteps() (kernel, daemon, bits string, overhead int) {
	if o.Outer6 {
		return "fd00::2", "fd00::1", "/64", 70
	}
	return "192.0.2.2", "192.0.2.1", "/24", 50
}

func startKernelPeer(t *testing.T, o kernelOptions) *kernelHost {
	t.Helper()
	testenv.NeedRoot(t)
	k, d := testenv.NewNetNS(t, "k"), testenv.NewNetNS(t, "d")
	if o.MTU == 0 {
		o.MTU = 1500
	}
	if o.Workers == 0 {
		o.Workers = 2
	}
	ka, da, bits, overhead := o.vteps()
	testenv.VethQueues(t, k, "eth0", ka+bits, d, "eth0", da+bits, o.MTU, o.Queues)
	testenv.KernelVXLAN(t, k, testenv.VXLAN{
		VNI: 42, Local: ka, Remotes: []string{da}, MTU: o.MTU - overhead, Addrs: client4 + "/24," + client6 + "/64",
	})
	h := &kernelHost{ns: k, options: o}
	h.conf = strings.Replace(hostConf(da, ka, pair{}, "web", web4, web6), "[underlay]\n", "[underlay]\n"+o.Underlay+"\n", 1)
	h.start(t, daemonOptions{NS: d, Faults: o.Faults})
	return h
}

// start starts the daemon, or another one in its place.
func (h *kernelHost) start(t *testing.T, o daemonOptions) {
	t.Helper()
	h.d = start(t, o, fmt.Sprintf("workers = %d", h.options.Workers), h.conf)
}

// TestKernelPeer talks to a stock kernel over both kinds of outer IP.
func TestKernelPeer(t *testing.T) {
	for _, outer6 := range []bool{false, true} {
		t.Run(map[bool]string{false: "outer IPv4", true: "outer IPv6"}[outer6], func(t *testing.T) {
			startKernelPeer(t, kernelOptions{Outer6: outer6}).talk(t, 20000)
		})
	}
}

// talk has a daemon and a stock host be server and client to each other, over
// both kinds of inner IP.
func (h *kernelHost) talk(t *testing.T, redisRequests int) {
	t.Helper()
	for _, addr := range []string{web4, web6} {
		if got := ping(t, h.ns, addr, 100); got != 100 {
			t.Errorf("ping %s: %d of 100 answered", addr, got)
		}
	}
	root, sums := www(t, map[string]int{"1B": 1, "32MiB": 32 << 20})
	testenv.Nginx(t, h.d.exec("web"), testenv.Options{Addrs: []string{web4 + ":80", "[" + web6 + "]:80"}, Workers: 2, Root: root})
	testenv.Nginx(t, h.ns.Prefix(), testenv.Options{Addrs: []string{client4 + ":80", "[" + client6 + "]:80"}, Root: root})
	for _, file := range []string{"1B", "32MiB"} {
		for _, host := range []string{web4, "[" + web6 + "]"} {
			h.fetch(t, "http://"+host+"/"+file, sums[file], uint64(sizes[file]), time.Minute)
		}
		for _, host := range []string{client4, "[" + client6 + "]"} {
			if got := h.d.curl(t, "web", "http://"+host+"/"+file, time.Minute); got != sums[file] {
				t.Errorf("curl of %s from the kernel's nginx at %s: SHA-256 %s, want %s", file, host, got, sums[file])
			}
		}
	}
	testenv.Redis(t, h.d.exec("web"), testenv.Options{Addrs: []string{web4 + ":6379", "[" + web6 + "]:6379"}})
	for _, host := range []string{web4, web6} {
		out := testenv.Run(t, h.ns, "redis-benchmark", "-h", host, "-q", "-n", fmt.Sprint(redisRequests), "-t", "set,get")
		if strings.Count(out, "requests per second") < 2 {
			t.Errorf("redis-benchmark from the kernel printed:\n%s", out)
		}
	}
}

// fetch has the kernel's curl get a URL of container web.
func (h *kernelHost) fetch(t *testing.T, url, sum string, size uint64, timeout time.Duration) {
	t.Helper()
	before := h.d.container(t, "web")
	argv := append(h.ns.Prefix(), "curl", "-sS", "--fail", "--max-time", fmt.Sprint(int(timeout.Seconds())), url)
	if got, err := hashOutput(timeout+10*time.Second, argv...); err != nil || got != sum {
		t.Errorf("kernel's curl of %s: %v, SHA-256 %s, want %s", url, err, got, sum)
	}
	h.d.moved(t, before, 50, size)
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
