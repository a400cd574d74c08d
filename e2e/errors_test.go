// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"netcon/internal/testenv"
)

// TestConnectErrors checks that a failing connect fails as on the kernel.
func TestConnectErrors(t *testing.T) {
	// A static host behind a VTEP where nobody is: it resolves and is silent.
	self, remote := nextLoopback(), nextLoopback()
	d := start(t, daemonOptions{}, "", strings.Replace(
		hostConf(self, remote, pair{Container: "syn_retries = 2"}, "client", client4, client6),
		"[[container]]", fmt.Sprintf(`
[[network.host]]
ip = "10.42.0.66"
mac = "02:00:00:00:00:66"
vtep = %q

[[container]]
name = "web"
network = "blue"
addresses = [%q, %q]

[[container]]`, remote, web4, web6), 1))
	for _, c := range []struct {
		name, host string
		want       string
		min, max   time.Duration
	}{
		{"closed port", web4, "ECONNREFUSED", 0, time.Second},
		{"closed port, IPv6", web6, "ECONNREFUSED", 0, time.Second},
		{"our own closed port", client4, "ECONNREFUSED", 0, time.Second},
		{"silent host", "10.42.0.66", "ETIMEDOUT", 2 * time.Second, 20 * time.Second},
		{"host that does not answer ARP", "10.42.0.99", "EHOSTUNREACH", 2 * time.Second, 10 * time.Second},
		{"host that does not answer ND", "fd42::99", "EHOSTUNREACH", 2 * time.Second, 10 * time.Second},
		{"unknown network", "10.99.0.1", "ENETUNREACH", 0, time.Second},
		{"unknown network, IPv6", "fd99::1", "ENETUNREACH", 0, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out := d.run(t, "client", 40*time.Second, peer(t), "connect", c.host, "9")
			var errno string
			var ms float64
			if _, err := fmt.Sscanf(out, "%s %f", &errno, &ms); err != nil {
				t.Fatalf("peer printed %q", out)
			}
			took := time.Duration(ms * float64(time.Millisecond))
			if errno != c.want || took < c.min || took > c.max {
				t.Errorf("%s after %v, want %s within %v to %v", errno, took, c.want, c.min, c.max)
			}
		})
	}
}

// TestMissingDaemon checks what sockets do when the daemon goes.
func TestMissingDaemon(t *testing.T) {
	h := startPair(t, pair{})
	exec := h.b.exec("client")
	// A shell that outlives the daemon and then starts a program.
	shell := func(args ...string) *testenv.Process {
		prefix := append(append(exec[:len(exec)-1:len(exec)-1], args...), "--")
		return testenv.Start(t, nil, append(prefix, "sh", "-c",
			fmt.Sprintf("echo ready; while [ -e %s/go ]; do sleep 0.05; done; %s connect 127.0.0.1 9", h.b.dir, peer(t)))...)
	}
	testenv.Run(t, nil, "touch", h.b.dir+"/go")
	fail, kernel := shell(), shell("-missing", "kernel")
	fail.WaitOutput(t, 10*time.Second, "ready")
	kernel.WaitOutput(t, 10*time.Second, "ready")
	if err := h.b.Stop(); err != nil {
		t.Errorf("daemon ended with %v", err)
	}
	testenv.Run(t, nil, "rm", h.b.dir+"/go")
	_ = fail.Wait(t, 10*time.Second)
	_ = kernel.Wait(t, 10*time.Second)
	if out := fail.Output(); !strings.Contains(out, "socket: ENETDOWN") {
		t.Errorf("with policy fail the program printed %q, want ENETDOWN", out)
	}
	if out := kernel.Output(); !strings.Contains(out, "ECONNREFUSED") {
		t.Errorf("with policy kernel the program printed %q, want ECONNREFUSED from the kernel", out)
	}
	if _, err := h.b.try("client", 10*time.Second, "true"); err == nil || !strings.Contains(err.Error(), "no daemon") {
		t.Errorf("exec without a daemon: %v", err)
	}
}
