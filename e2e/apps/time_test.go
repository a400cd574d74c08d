// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func init() {
	add(scenario{
		name: "chrony", packages: []string{"chrony"},
		does:  "a server with the local clock at stratum 7, and chronyd -Q of IPv4 and IPv6 that measures the offset of 4 exchanges",
		bytes: 2 * 2 * 2 * 3 * 48,
		run:   chrony,
	})
	add(scenario{
		name: "traceroute", packages: []string{"traceroute", "busybox-static"},
		does:  "echo requests (-I) of 60 and 1,400 bytes that may not be cut (-F), IPv4 and IPv6: one hop, by the host's own address, three times; static busybox's probes of UDP",
		bytes: 2 * 2 * 3 * 1400,
		run:   traceroute,
	})
	add(scenario{
		name: "traceroute-udp", packages: []string{"traceroute"},
		does:  "probes of UDP, which wait for POLLERR and look into the error queue, IPv4 and IPv6: one hop, by the host's own address, three times",
		bytes: 2 * 3 * 60,
		run:   tracerouteUDP,
	})
}

func chrony(t *testing.T, e *env) {
	dir := worldDir(t)
	conf := put(t, dir, "chrony.conf", "local stratum 7\nallow all\ncmdport 0\nbindcmdaddress /\nuser root\npidfile "+dir+"/pid\ndriftfile "+dir+"/drift\n")
	e.a.start(t, "chronyd", "-x", "-d", "-f", conf)
	e.a.bound(t, 123)
	for _, to := range []string{a4, a6} {
		out := e.b.sh(t, time.Minute, fmt.Sprintf("chronyd -Q -t 40 -x -u root 'server %s iburst maxsamples 4' 'cmdport 0' 'pidfile %s/client' 2>&1", to, dir))
		if !strings.Contains(out, "System clock wrong by") {
			t.Errorf("chronyd -Q of %s printed\n%s", to, out)
		}
	}
}

// oneHop wants a line of one hop, which answered three times, below the heading.
func oneHop(t *testing.T, e *env, to string, options ...string) {
	out := e.b.do(t, time.Minute, append([]string{"traceroute", "-n", "-w", "5", "-m", "4"}, options...)...)
	hops := strings.Split(strings.TrimSpace(out), "\n")
	if f := strings.Fields(hops[len(hops)-1]); len(hops) != 2 || len(f) != 8 || f[0] != "1" || f[1] != to {
		t.Errorf("traceroute %q printed\n%s", options, out)
	}
}

func tracerouteUDP(t *testing.T, e *env) {
	for _, to := range []string{a4, a6} {
		oneHop(t, e, to, to)
	}
}

func traceroute(t *testing.T, e *env) {
	for _, to := range []string{a4, a6} {
		for _, size := range []string{"60", "1400"} {
			oneHop(t, e, to, "-I", "-F", to, size)
		}
	}
	out := e.b.do(t, time.Minute, "busybox", "traceroute", "-n", "-w", "5", "-m", "4", a4)
	hops := strings.Split(strings.TrimSpace(out), "\n")
	if f := strings.Fields(hops[len(hops)-1]); len(f) < 2 || f[1] != a4 {
		t.Errorf("busybox traceroute printed\n%s", out)
	}
}
