// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"netcon/internal/testenv"
)

func TestConfigErrors(t *testing.T) {
	port := []uint16{4789}
	for _, tt := range []struct {
		cfg  Config
		says string
	}{
		{Config{Ports: port, Queues: 1}, "no VTEP"},
		{Config{VTEP: netip.MustParseAddr("0.0.0.0"), Ports: port, Queues: 1}, "wildcard"},
		{Config{VTEP: netip.MustParseAddr("::"), Ports: port, Queues: 1}, "wildcard"},
		{Config{VTEP: netip.MustParseAddr("224.0.0.1"), Ports: port, Queues: 1}, "multicast"},
		{Config{VTEP: netip.MustParseAddr("ff02::1"), Ports: port, Queues: 1}, "multicast"},
		{Config{VTEP: vtep4, Queues: 1}, "0 UDP ports (1 to 8)"},
		{Config{VTEP: vtep4, Ports: []uint16{1, 2, 3, 4, 5, 6, 7, 8, 9}, Queues: 1}, "9 UDP ports (1 to 8)"},
		{Config{VTEP: vtep4, Ports: []uint16{4789, 0}, Queues: 1}, "port 0"},
		{Config{VTEP: vtep4, Ports: port}, "0 receive queues"},
		{Config{VTEP: vtep4, Ports: port, Queues: -1}, "-1 receive queues"},
		{Config{VTEP: vtep4, Ports: port, Queues: maxQueues + 1}, "65537 receive queues (1 to 65536)"},
	} {
		p, err := Load(tt.cfg)
		if p != nil {
			t.Errorf("%+v: loaded", tt.cfg)
		}
		contains(t, err, "load xdp program", tt.says)
	}
}

// Load takes addresses as they come and leaves what it was given alone.
func TestConfigForms(t *testing.T) {
	ports := []uint16{8472, 4789, 4789}
	p := withSocket(t, load(t, Config{VTEP: netip.MustParseAddr("::ffff:192.0.2.1"), Ports: ports, Queues: maxQueues}), 0)
	if got := filter(t, p, frame4); got != Redirect {
		t.Errorf("IPv4-mapped VTEP: %s", got)
	}
	if ports[0] != 8472 || ports[2] != 4789 {
		t.Errorf("ports became %d", ports)
	}
	p = withSocket(t, load(t, Config{VTEP: netip.MustParseAddr("2001:db8::1%eth0"), Ports: ports}), 0)
	if got := filter(t, p, frame6); got != Redirect {
		t.Errorf("VTEP with a zone: %s", got)
	}
}

func TestRegisterErrors(t *testing.T) {
	p := load(t, Config{VTEP: vtep4, Ports: []uint16{4789}, Queues: 4})
	for _, queue := range []int{-1, 4, 1 << 40} {
		contains(t, p.Register(queue, 0), "queue", "(0 to 3)")
		contains(t, p.Unregister(queue), "queue", "(0 to 3)")
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	contains(t, p.Register(3, int(null.Fd())), "queue 3")
	contains(t, p.Register(3, -1), "queue 3", "fd -1")
	if err := p.Unregister(3); err != nil {
		t.Errorf("no socket there: %v", err)
	}
}

// The kernel empties the slot of a socket that is closed.
func TestSocketClosed(t *testing.T) {
	testenv.Need(t, "CAP_NET_RAW")
	p := load(t, Config{VTEP: vtep4, Ports: []uint16{4789}})
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Register(0, fd); err != nil {
		t.Fatal(err)
	}
	if got := filter(t, p, frame4); got != Redirect {
		t.Errorf("%s", got)
	}
	if err := unix.Close(fd); err != nil {
		t.Fatal(err)
	}
	if got := filter(t, p, frame4); got != PassNoSocket {
		t.Errorf("after the socket's end: %s", got)
	}
}

func TestNoLeaks(t *testing.T) {
	p := load(t, Config{VTEP: vtep4, Ports: []uint16{4789}})
	if err := p.Close(); err != nil { // what the libraries keep open is open now
		t.Error(err)
	}
	runtime.GC()
	before := testenv.FDs(t, os.Getpid())
	for range 10 {
		p := load(t, Config{VTEP: vtep4, Ports: []uint16{4789}})
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	if after := testenv.FDs(t, os.Getpid()); after > before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for v := range Verdict(NumVerdicts) {
		if s := v.String(); s == "" || s == "unknown" || seen[s] || strings.ToLower(s) != s {
			t.Errorf("verdict %d is called %q", v, s)
		}
		seen[v.String()] = true
	}
	if s := Verdict(NumVerdicts).String(); s != "unknown" {
		t.Error(s)
	}
	for m, want := range map[Mode]string{Auto: "auto", Native: "native", Generic: "generic", 3: "unknown"} {
		if m.String() != want {
			t.Errorf("mode %d is called %q", m, m)
		}
	}
}
