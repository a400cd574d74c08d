// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"netcon/internal/testenv"
)

// xdp is the lines of [underlay] of a daemon on AF_XDP.
func xdp(attach string) string { return fmt.Sprintf("kind = \"xdp\"\nattach = %q", attach) }

// TestXDPKernelPeer is TestKernelPeer through AF_XDP: every kind of attachment,
// outer address, number of queues and MTU at least once with every other's kind
// that it could get in the way of.
func TestXDPKernelPeer(t *testing.T) {
	for _, tt := range []struct {
		attach      string
		outer6      bool
		queues, mtu int
	}{
		{"native", false, 1, 1500},
		{"native", true, 2, 1500},
		{"native", false, 4, 3000},
		{"native", true, 1, 9000},
		{"generic", false, 2, 9000},
		{"generic", true, 4, 1500},
		{"generic", false, 1, 3000},
	} {
		outer := map[bool]string{false: "IPv4", true: "IPv6"}[tt.outer6]
		t.Run(fmt.Sprintf("%s, outer %s, %d queues, mtu %d", tt.attach, outer, tt.queues, tt.mtu), func(t *testing.T) {
			h := startKernelPeer(t, kernelOptions{
				Outer6: tt.outer6, Queues: tt.queues, MTU: tt.mtu, Workers: min(tt.queues, 2), Underlay: xdp(tt.attach),
			})
			if tt.attach == "generic" {
				// Generic XDP sees what the peer's kernel left to hardware.
				testenv.Run(t, h.ns, "ethtool", "-K", "eth0", "tso", "off", "gso", "off", "gro", "off", "tx-udp-segmentation", "off")
				testenv.Run(t, h.ns, "ethtool", "-K", "vx0", "tso", "off", "gso", "off", "gro", "off")
			}
			before := testenv.SNMP(t, h.d.ns)
			h.talk(t, 5000)
			h.aside(t, before)
			h.conserved(t)
			u := h.d.stats(t).Underlay
			if u.Mode != tt.attach || len(u.Queues) != tt.queues {
				t.Errorf("attached %s to %d queues, want %s and %d", u.Mode, len(u.Queues), tt.attach, tt.queues)
			}
		})
	}
}

// aside fails the test if the kernel of the daemon's namespace carried TCP or
// UDP since before.
func (h *kernelHost) aside(t *testing.T, before testenv.Counters) {
	t.Helper()
	since := testenv.SNMP(t, h.d.ns).Since(before)
	for _, name := range []string{"TcpInSegs", "TcpOutSegs", "UdpInDatagrams", "UdpOutDatagrams", "UdpNoPorts", "Udp6InDatagrams", "Udp6OutDatagrams"} {
		if since[name] != 0 {
			t.Errorf("the kernel counted %s %d", name, since[name])
		}
	}
}

// conserved waits until no frame is on its way, and checks that every frame has
// one owner.
func (h *kernelHost) conserved(t *testing.T) {
	t.Helper()
	for _, q := range h.d.stats(t).Underlay.Queues {
		f := q.Frames
		if sum := f.Free + f.Fill + f.Rx + f.Reserved + f.Held + f.Tx + f.Completion; sum != 4096 || f.Total != sum || q.Strange != 0 {
			t.Errorf("queue %d: %+v, %d in all, want 4096; %d strange entries", q.Queue, f, sum, q.Strange)
		}
	}
}

// TestXDPBulk moves a gigabyte each way.
func TestXDPBulk(t *testing.T) {
	h := startKernelPeer(t, kernelOptions{Queues: 2, Underlay: xdp("native")})
	root, sums := www(t, map[string]int{"1GiB": 1 << 30})
	testenv.Nginx(t, h.d.exec("web"), testenv.Options{Addrs: []string{web4 + ":80"}, Workers: 2, Root: root})
	testenv.Nginx(t, h.ns.Prefix(), testenv.Options{Addrs: []string{client4 + ":80"}, Root: root})
	start := time.Now()
	h.fetch(t, "http://"+web4+"/1GiB", sums["1GiB"], 1<<30, 2*time.Minute)
	out := time.Since(start)
	start = time.Now()
	if got := h.d.curl(t, "web", "http://"+client4+"/1GiB", 2*time.Minute); got != sums["1GiB"] {
		t.Errorf("1 GiB from the kernel's nginx: SHA-256 %s, want %s", got, sums["1GiB"])
	}
	s := h.d.stats(t).Total.Counters
	t.Logf("1 GiB out in %v, in in %v; %d frames in with %d calls, %d out with %d kicks, %d sleeps", out.Round(time.Millisecond),
		time.Since(start).Round(time.Millisecond), s["rx_frames"], s["rx_calls"], s["tx_frames"], s["tx_calls"], s["sleeps"])
	// A worker that is busy sends many frames with a kick. 32 go with one in
	// the kernel's own bound; acknowledgements go in small bursts.
	if s["tx_calls"] > s["tx_frames"] {
		t.Errorf("%d kicks for %d frames", s["tx_calls"], s["tx_frames"])
	}
	h.conserved(t)
}

// TestXDPFaults moves real traffic through a bad network.
func TestXDPFaults(t *testing.T) {
	for _, f := range faultKinds {
		t.Run(f.name, func(t *testing.T) {
			h := startKernelPeer(t, kernelOptions{Faults: f.spec, Queues: 2, Underlay: xdp("native")})
			root, sums := www(t, map[string]int{"1B": 1, "8MiB": 8 << 20})
			testenv.Nginx(t, h.d.exec("web"), testenv.Options{Addrs: []string{web4 + ":80", "[" + web6 + "]:80"}, Workers: 2, Root: root})
			testenv.Nginx(t, h.ns.Prefix(), testenv.Options{Addrs: []string{client4 + ":80"}, Root: root})
			for file, n := range map[string]uint64{"1B": 1, "8MiB": 8 << 20} {
				h.fetch(t, "http://"+web4+"/"+file, sums[file], n, 2*time.Minute)
				h.fetch(t, "http://["+web6+"]/"+file, sums[file], n, 2*time.Minute)
				if got := h.d.curl(t, "web", "http://"+client4+"/"+file, 2*time.Minute); got != sums[file] {
					t.Errorf("%s from the kernel's nginx: SHA-256 %s, want %s", file, got, sums[file])
				}
			}
			h.conserved(t)
		})
	}
}

// TestXDPKeepsNIC runs the kernel's own TCP over the device while daemons come,
// work, are killed and go.
func TestXDPKeepsNIC(t *testing.T) {
	h := startKernelPeer(t, kernelOptions{Queues: 2, Underlay: xdp("native")})
	ka, da, _, _ := h.options.vteps()
	_ = ka
	server := testenv.Start(t, h.d.ns, peer(t), "serve", da, "2200")
	server.WaitOutput(t, 5*time.Second, "listening")
	const seconds = 12
	client := testenv.Start(t, h.ns, peer(t), "echo", da, "2200", "4", fmt.Sprint(seconds))
	root, sums := www(t, map[string]int{"32MiB": 32 << 20})
	for round := range 3 {
		nginx := testenv.Start(t, nil, append(h.d.exec("web"), peer(t), "serve", web4, "700")...)
		nginx.WaitOutput(t, 5*time.Second, "listening")
		testenv.Run(t, h.ns, peer(t), "churn", web4, "700", "200")
		_ = nginx.Stop()
		if round == 1 {
			_ = h.d.Process.Stop()
		} else {
			h.d.Signal(t, syscall.SIGKILL)
			_ = h.d.Wait(t, 5*time.Second)
		}
		h.start(t, daemonOptions{NS: h.d.ns, Dir: h.d.dir})
	}
	testenv.Nginx(t, h.d.exec("web"), testenv.Options{Addrs: []string{web4 + ":80"}, Root: root})
	h.fetch(t, "http://"+web4+"/32MiB", sums["32MiB"], 32<<20, time.Minute)
	if err := client.Wait(t, (seconds+10)*time.Second); err != nil {
		t.Errorf("the kernel's own TCP: %v: %s", err, client.Output())
	}
	t.Logf("the kernel's own TCP meanwhile: %s", strings.TrimSpace(client.Stdout()))
}

// TestXDPForeignProgram leaves a program alone that is there already.
func TestXDPForeignProgram(t *testing.T) {
	testenv.NeedRoot(t)
	k, ns := testenv.NewNetNS(t, "k"), testenv.NewNetNS(t, "d")
	testenv.Veth(t, k, "eth0", "192.0.2.2/24", ns, "eth0", "192.0.2.1/24", 1500)
	first := start(t, daemonOptions{NS: ns}, "", strings.Replace(hostConf("192.0.2.1", "192.0.2.2", pair{}, "web", web4, web6),
		"[underlay]\n", "[underlay]\n"+xdp("auto")+"\n", 1))
	dir := testenv.OpenDir(t)
	file := dir + "/second.toml"
	text := fmt.Sprintf("[daemon]\nruntime_dir = %q\n", dir+"/run") + strings.Replace(
		hostConf("192.0.2.1", "192.0.2.2", pair{}, "web", web4, web6), "[underlay]\n", "[underlay]\n"+xdp("auto")+"\nport = 4790\n", 1)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := testenv.Try(ns, 20*time.Second, netcon(t), "up", "-c", file)
	if err == nil || !strings.Contains(err.Error(), "another netcon's XDP program") || !strings.Contains(err.Error(), "eth0") {
		t.Errorf("a second daemon on the device: %v\n%s", err, out)
	}
	if _, err := first.Status(); err != nil {
		t.Errorf("the first daemon: %v", err)
	}
}

// TestXDPIdle measures an idle daemon on a NIC.
func TestXDPIdle(t *testing.T) {
	h := startKernelPeer(t, kernelOptions{Queues: 2, Underlay: xdp("native")})
	if got := ping(t, h.ns, web4, 3); got != 3 {
		t.Fatalf("%d of 3 pings answered", got)
	}
	const window, windows = 10 * time.Second, 3
	for range windows {
		before, counted := testenv.CPU(t, h.d.Pid()), h.d.stats(t).Total.Counters
		time.Sleep(window) // the measurement is over time itself
		used, now := testenv.CPU(t, h.d.Pid())-before, h.d.stats(t).Total.Counters
		t.Logf("%v of CPU in %v, %d turns, %d sleeps", used, window, now["turns"]-counted["turns"], now["sleeps"]-counted["sleeps"])
		if used <= window/100 {
			return
		}
		// The collector may have run in it, which it does every two minutes.
	}
	t.Errorf("idle daemon used more than 1%% of a core in %d windows of %v", windows, window)
}

// TestXDPFlaps has the link go down and up, change its MTU, and the daemon be
// killed and started again, under load, and looks for what is left behind.
func TestXDPFlaps(t *testing.T) {
	length := 20 * time.Second
	if s := os.Getenv("NETCON_SOAK"); s != "" {
		var err error
		if length, err = time.ParseDuration(s); err != nil {
			t.Fatalf("NETCON_SOAK: %v", err)
		}
	}
	h := startKernelPeer(t, kernelOptions{Queues: 2, Underlay: xdp("native")})
	root, sums := www(t, map[string]int{"8MiB": 8 << 20})
	nginx := func() *testenv.Server {
		return testenv.Nginx(t, h.d.exec("web"), testenv.Options{Addrs: []string{web4 + ":80"}, Root: root})
	}
	web := nginx()
	fetch := func() { h.fetch(t, "http://"+web4+"/8MiB", sums["8MiB"], 8<<20, time.Minute) }
	fetch()
	use := h.use(t)
	end, rounds, restarts := time.Now().Add(length), 0, 0
	for time.Now().Before(end) {
		rounds++
		switch rounds % 5 {
		case 0:
			testenv.Run(t, h.d.ns, "ip", "link", "set", "eth0", "down")
			testenv.Run(t, h.d.ns, "ip", "link", "set", "eth0", "up")
		case 1:
			testenv.Run(t, h.ns, "ip", "link", "set", "eth0", "down")
			testenv.Run(t, h.ns, "ip", "link", "set", "eth0", "up")
		case 2:
			for _, mtu := range []string{"1400", "1500"} {
				testenv.Run(t, h.d.ns, "ip", "link", "set", "eth0", "mtu", mtu)
			}
		case 3:
			restarts++
			_ = web.Stop()
			h.d.Signal(t, syscall.SIGKILL)
			_ = h.d.Wait(t, 5*time.Second)
			h.start(t, daemonOptions{NS: h.d.ns, Dir: h.d.dir})
			web = nginx()
			fetch()
			use = h.use(t)
		}
		fetch()
		h.conserved(t)
		if t.Failed() {
			t.Fatalf("in round %d", rounds)
		}
	}
	now := h.use(t)
	t.Logf("%d rounds, %d restarts: %+v, %+v after the last restart", rounds, restarts, now, use)
	if now.fds > use.fds+4 || now.maps > use.maps+8 || now.programs != use.programs || now.bpfMaps != use.bpfMaps {
		t.Errorf("%+v, was %+v", now, use)
	}
}

// daemonUse is what a daemon holds.
type daemonUse struct {
	fds, maps         int // descriptors, mappings
	programs, bpfMaps int // in its descriptors
}

func (h *kernelHost) use(t *testing.T) (u daemonUse) {
	t.Helper()
	pid := h.d.Pid()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		u.fds++
		switch to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, e.Name())); to {
		case "anon_inode:bpf-prog":
			u.programs++
		case "anon_inode:bpf-map":
			u.bpfMaps++
		}
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	u.maps = strings.Count(string(text), "\n")
	return u
}

// TestXDPErrors starts daemons that cannot work, each of which has to say why.
func TestXDPErrors(t *testing.T) {
	testenv.NeedRoot(t)
	k, ns := testenv.NewNetNS(t, "k"), testenv.NewNetNS(t, "d")
	testenv.VethQueues(t, k, "eth0", "192.0.2.2/24", ns, "eth0", "192.0.2.1/24", 1500, 2)
	for _, tt := range []struct {
		name, address, underlay, daemon string
		want                            []string
	}{
		{"no such address", "192.0.2.9", xdp("auto"), "", []string{"192.0.2.9"}},
		{"no such device", "192.0.2.1", xdp("auto") + "\ninterface = \"eth7\"", "", []string{"eth7"}},
		{"too many workers", "192.0.2.1", xdp("auto"), "workers = 3", []string{"eth0", "2", "ethtool -L eth0", "workers"}},
		{"zero copy on a veth", "192.0.2.1", xdp("auto") + "\nzero_copy = \"on\"", "", []string{"eth0", "zero"}},
		{"loopback", "127.0.0.1", xdp("auto"), "", []string{"lo"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := testenv.OpenDir(t)
			text := fmt.Sprintf("[daemon]\nruntime_dir = %q\n%s\n", dir+"/run", tt.daemon) + strings.Replace(
				hostConf(tt.address, "192.0.2.2", pair{}, "web", web4, web6), "[underlay]\n", "[underlay]\n"+tt.underlay+"\n", 1)
			if err := os.WriteFile(dir+"/c.toml", []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := testenv.Try(ns, 20*time.Second, netcon(t), "up", "-c", dir+"/c.toml")
			if err == nil {
				t.Fatalf("it ran:\n%s", out)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in: %v", want, err)
				}
			}
		})
	}
}

// TestXDPTune looks at a device from its namespace.
func TestXDPTune(t *testing.T) {
	h := startKernelPeer(t, kernelOptions{Queues: 2, Underlay: xdp("native")})
	out := testenv.Run(t, h.d.ns, netcon(t), "tune", "show", "-json", "-c", h.d.dir+"/netcon.toml")
	var list []struct{ Name, Now, Verdict string }
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, s := range list {
		found[s.Name] = s.Now + " " + s.Verdict
	}
	if found["queues"] != "2 ok" || found["mtu"] != "1500 manual" {
		t.Errorf("%v", found)
	}
}
