// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netcon/internal/testenv"
)

// The groups of TestDatagramsKernelPeer, and the broadcast addresses.
const (
	group4, group6 = "239.42.0.1", "ff05::42"
	broadcast      = "10.42.0.255"
)

// datagrams returns the command line of testdata/datagrams.py.
func datagrams(t *testing.T, args ...string) []string {
	t.Helper()
	script, err := filepath.Abs("testdata/datagrams.py")
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{"/usr/bin/python3", script}, args...)
}

// TestDatagramsKernelPeer has a container and a stock host send each other
// datagrams: to addresses, to groups and to everybody, up to the largest, whole
// and in fragments; and ping each other. With underlay xdp what the kernel sends
// comes with checksums that it left to the device.
func TestDatagramsKernelPeer(t *testing.T) {
	for name, o := range map[string]kernelOptions{
		"udp": {},
		"xdp": {Queues: 2, Underlay: xdp("native")},
	} {
		t.Run(name, func(t *testing.T) { startKernelPeer(t, o).datagrams(t) })
	}
}

// datagrams is what TestDatagramsKernelPeer does with one daemon.
func (h *kernelHost) datagrams(t *testing.T) {
	testenv.NeedTools(t, "/usr/bin/python3", "ping")
	for _, a := range []string{"224.0.0.0/4", "255.255.255.255"} {
		testenv.Run(t, h.ns, "ip", "route", "add", a, "dev", "vx0")
	}
	kernel := func(args ...string) (string, error) {
		return testenv.Try(nil, time.Minute, append(h.ns.Prefix(), datagrams(t, args...)...)...)
	}
	container := func(args ...string) (string, error) {
		return h.d.try("web", time.Minute, datagrams(t, args...)...)
	}
	testenv.Start(t, nil, append(h.ns.Prefix(), datagrams(t, "serve", "8", client4, client6, group4, group6)...)...).
		WaitOutput(t, 15*time.Second, "ready")
	h.d.begin(t, "web", "ready", datagrams(t, "serve", "7", web4, web6, group4, group6)...)

	sizes := []string{"0", "1", "1422", "1423", "9000", "65000"}
	small := []string{"0", "1000"}
	for _, c := range []struct {
		from, to, port string
		sizes          []string
		echo           string
		run            func(...string) (string, error)
	}{
		{web4, client4, "8", sizes, client4, container},
		{web6, client6, "8", sizes, client6, container},
		{client4, web4, "7", sizes, web4, kernel},
		{client6, web6, "7", sizes, web6, kernel},
		{web4, group4, "8", small, client4, container},
		{web6, group6, "8", small, client6, container},
		{client4, group4, "7", small, web4, kernel},
		{client6, group6, "7", small, web6, kernel},
		{web4, broadcast, "8", small, client4, container},
		{web4, "255.255.255.255", "8", small, client4, container},
		{client4, broadcast, "7", small, web4, kernel},
		{client4, "255.255.255.255", "7", small, web4, kernel},
	} {
		out, err := c.run(append([]string{"ask", c.from, c.to, c.port}, c.sizes...)...)
		if err != nil || strings.Count(out, "from "+c.echo) != len(c.sizes) {
			t.Errorf("%s to %s: %v\n%s", c.from, c.to, err, out)
		}
	}
	for to, run := range map[string]func(...string) (string, error){client4: container, client6: container, web4: kernel, web6: kernel} {
		if out, err := run("refused", to, "9"); err != nil {
			t.Errorf("closed port of %s: %v\n%s", to, err, out)
		}
	}
	for _, to := range []string{client4, client6} {
		for _, size := range []string{"56", "9000"} {
			out, err := h.d.try("web", time.Minute, "ping", "-c", "3", "-i", "0.2", "-W", "5", "-s", size, to)
			if err != nil || !strings.Contains(out, " 3 received") {
				t.Errorf("ping -s %s %s: %v\n%s", size, to, err, out)
			}
		}
	}
	web := h.d.stats(t).Containers["web"]
	if n := web.Counters["packets_out"]; n < 250 {
		t.Errorf("path: the container sent %d packets", n)
	}
	drops := web.Drops
	for _, r := range []string{"socket_queue", "l4_checksum", "icmp_forged", "stack_panic"} {
		if drops[r] != 0 {
			t.Errorf("drops: %v", drops)
		}
	}
}

// TestDatagramsBetweenContainers has three containers of one daemon, on two
// workers: what goes to a group or to everybody reaches each of the others once,
// and never a container of another network.
func TestDatagramsBetweenContainers(t *testing.T) {
	testenv.NeedTools(t, "/usr/bin/python3")
	self := nextLoopback()
	d := start(t, daemonOptions{}, "workers = 2", `
[underlay]
address = "`+self+`"
[[network]]
name = "blue"
vni = 42
subnets = ["10.42.0.0/24", "fd42::/64"]
[[network]]
name = "red"
vni = 43
subnets = ["10.42.0.0/24", "fd42::/64"]
[[container]]
name = "a"
network = "blue"
addresses = ["10.42.0.1", "fd42::1"]
worker = 0
[[container]]
name = "b"
network = "blue"
addresses = ["10.42.0.2", "fd42::2"]
worker = 0
[[container]]
name = "c"
network = "blue"
addresses = ["10.42.0.3", "fd42::3"]
worker = 1
[[container]]
name = "other"
network = "red"
addresses = ["10.42.0.4", "fd42::4"]
worker = 1
`)
	for i, name := range []string{"b", "c", "other"} {
		n := string(rune('2' + i))
		d.begin(t, name, "ready", datagrams(t, "serve", "7", "10.42.0."+n, "fd42::"+n, group4, group6)...)
	}
	for _, c := range []struct{ from, to, net string }{
		{"10.42.0.1", group4, "10.42.0."}, {"fd42::1", group6, "fd42::"}, {"10.42.0.1", broadcast, "10.42.0."},
	} {
		out, err := d.try("a", time.Minute, datagrams(t, "poll", c.from, c.to, "7", "1000")...)
		if err != nil || strings.TrimSpace(out) != c.net+"2 "+c.net+"3" {
			t.Errorf("%s: %v\n%s", c.to, err, out)
		}
	}
	for _, size := range []string{"65507"} { // between containers of one daemon: in one piece
		if out, err := d.try("a", time.Minute, datagrams(t, "ask", "10.42.0.1", "10.42.0.3", "7", size)...); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

// TestDatagramFlood has a stock host flood a socket that nobody reads: what it
// holds is bounded, the rest is counted, and other sockets do not notice.
func TestDatagramFlood(t *testing.T) {
	testenv.NeedTools(t, "/usr/bin/python3")
	h := startKernelPeer(t, kernelOptions{})
	h.d.begin(t, "web", "ready", datagrams(t, "deaf", "9")...)
	h.d.begin(t, "web", "ready", datagrams(t, "serve", "7", web4, web6)...)
	rss := testenv.RSS(t, h.d.Pid())
	const count, size = 40000, 1000
	for _, s := range []string{"0", fmt.Sprint(size)} {
		argv := append(h.ns.Prefix(), datagrams(t, "flood", web4, "9", fmt.Sprint(count), s)...)
		if out, err := testenv.Try(nil, time.Minute, argv...); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	out, err := testenv.Try(nil, time.Minute, append(h.ns.Prefix(), datagrams(t, "ask", client4, web4, "7", "1000", "9000")...)...)
	if err != nil {
		t.Errorf("another socket: %v\n%s", err, out)
	}
	if grown := testenv.RSS(t, h.d.Pid()) - rss; grown > 64<<20 {
		t.Errorf("the daemon grew by %d bytes", grown)
	}
	sockets, err := h.d.Sockets()
	if err != nil {
		t.Fatal(err)
	}
	var lost uint64
	for _, x := range sockets {
		if x.Local.Port() == 9 {
			lost += uint64(x.Drops)
		}
	}
	if lost < count/4 {
		t.Errorf("netcon sockets tells of %d datagrams that the socket lost", lost)
	}
	// What the kernel's own queues lost on the way is not counted here.
	if n := h.d.stats(t).Containers["web"].Drops["socket_queue"]; n < count/4 {
		t.Errorf("%d datagrams counted as socket_queue", n)
	}
}
