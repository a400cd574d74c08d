// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"strings"
	"testing"
	"time"
)

func init() {
	add(scenario{
		name: "go-udp", version: []string{"go", "version"}, short: true,
		does:  "net.UDPConn of CGO_ENABLED=0, connected and not: datagrams of 0 to 60,000 bytes echoed by the other host, addresses of senders, ReadMsgUDP; IPv4 and IPv6",
		bytes: 2 * 2 * 4 * 60_000,
		run:   goUDP,
	})
	add(scenario{
		name: "busybox-ping", packages: []string{"busybox-static"},
		does: "static busybox: ping of 1,000 bytes, and 8 as fast as they come back, IPv4 and IPv6",
		run:  busyboxPing,
	})
}

func goUDP(t *testing.T, e *env) {
	exe := goProgram(t)
	for port, to := range map[string]string{"9004": a4, "9006": a6} {
		server := e.a.start(t, exe, "udp-serve", to, port)
		server.WaitOutput(t, 20*time.Second, "ready")
		if got := e.b.do(t, time.Minute, exe, "udp-client", to, port); got != "ok\n" {
			t.Errorf("client of %s printed %q", to, got)
		}
	}
}

func busyboxPing(t *testing.T, e *env) {
	for _, to := range []string{a4, a6} {
		if got := e.b.do(t, 30*time.Second, "busybox", "ping", "-c", "3", "-s", "1000", to); !strings.Contains(got, "3 packets received") {
			t.Errorf("ping printed:\n%s", got)
		}
		if got := e.b.do(t, 30*time.Second, "busybox", "ping", "-c", "8", "-A", to); !strings.Contains(got, "8 packets received") {
			t.Errorf("ping -A printed:\n%s", got)
		}
	}
}
