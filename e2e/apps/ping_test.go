// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netcon/internal/testenv"
)

func init() {
	add(scenario{
		name: "ping", packages: []string{"iputils-ping"}, short: true,
		does:  "20 echo requests each of 56, 1,400 and 8,000 bytes (fragments), IPv4 and IPv6, every reply with its TTL; 200 as fast as they are answered; the host itself; nobody there; a copy without file capabilities",
		bytes: 2 * 2 * (20*(56+1400+8000) + 200*56),
		run: func(t *testing.T, e *env) {
			ping(t, e, 20)
			pingAdaptive(t, e)
		},
	})
	add(scenario{
		name: "ping-unprivileged", packages: []string{"iputils-ping"}, short: true,
		does:  "5 echo requests each of the same sizes and to the same hosts, by an ordinary user through a ping socket",
		bytes: 2 * 2 * 5 * (56 + 1400 + 8000),
		run: func(t *testing.T, e *env) {
			for _, h := range []*host{e.a, e.b} {
				if !e.netcon {
					h.ns.Sysctl(t, "net.ipv4.ping_group_range", "0 2147483647")
				}
			}
			ping(t, &env{netcon: e.netcon, a: e.a.unprivileged(t), b: e.b.unprivileged(t)}, 5)
		},
	})
	add(scenario{
		name: "ping-busybox", packages: []string{"busybox-static"},
		does:  "3 echo requests of 56 and 1,400 bytes and 8 as fast as they come back, IPv4 and IPv6, of the static busybox; every reply with its TTL",
		bytes: 2 * 2 * (3*(56+1400) + 8*56),
		run: func(t *testing.T, e *env) {
			for _, to := range []string{a4, a6, b4} {
				for _, size := range []string{"56", "1400"} {
					got := e.b.do(t, time.Minute, "busybox", "ping", "-c", "3", "-i", "0.2", "-s", size, to)
					if !strings.Contains(got, "3 packets transmitted, 3 packets received, 0% packet loss") || strings.Count(got, "ttl=64") != 3 {
						t.Errorf("busybox ping %s of %s bytes printed\n%s", to, size, got)
					}
				}
				if got := e.b.do(t, time.Minute, "busybox", "ping", "-c", "8", "-A", to); !strings.Contains(got, "8 packets received") {
					t.Errorf("busybox ping -A %s printed\n%s", to, got)
				}
			}
		},
	})
}

// pingProgram copies ping: what has file capabilities is refused under netcon
// exec, and a copy has none.
func pingProgram(t *testing.T) string {
	t.Helper()
	exe, err := exec.LookPath("ping")
	if err != nil {
		t.Fatal(err)
	}
	dir := testenv.OpenDir(t)
	testenv.Run(t, nil, "cp", "--preserve=mode", exe, dir)
	return filepath.Join(dir, "ping")
}

func ping(t *testing.T, e *env, count int) {
	exe := pingProgram(t)
	for _, to := range []string{a4, a6, b4, b6} {
		for _, size := range []string{"56", "1400", "8000"} {
			got := e.b.do(t, time.Minute, exe, "-n", "-c", fmt.Sprint(count), "-i", "0.01", "-W", "5", "-s", size, to)
			if !strings.Contains(got, fmt.Sprintf("%d packets transmitted, %[1]d received, 0%% packet loss", count)) || strings.Count(got, "ttl=64") != count {
				t.Errorf("ping %s of %s bytes printed\n%s", to, size, got)
			}
		}
	}
	_, err := e.b.try(time.Minute, exe, "-n", "-c", "1", "-W", "10", "10.42.0.99")
	if err == nil || !strings.Contains(err.Error(), "From "+b4+" icmp_seq=1 Destination Host Unreachable") ||
		!strings.Contains(err.Error(), "1 packets transmitted, 0 received, +1 errors, 100% packet loss") {
		t.Errorf("ping of nobody: %v", err)
	}
}

func pingAdaptive(t *testing.T, e *env) {
	exe := pingProgram(t)
	for _, to := range []string{b4, b6} {
		got := e.a.do(t, time.Minute, exe, "-q", "-n", "-A", "-c", "200", "-W", "5", to)
		if !strings.Contains(got, "200 packets transmitted, 200 received, 0% packet loss") {
			t.Errorf("200 to %s printed\n%s", to, got)
		}
	}
}
