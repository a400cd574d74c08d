// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"os"
	"regexp"
	"testing"
	"time"

	"netcon/internal/testenv"
)

func init() {
	for _, s := range []struct {
		name, does string
		bytes      uint64
		args       []string
	}{
		{"sock", "2 workers over IPv4, with send, sendmsg, sendmmsg in turn", 1 << 20, []string{"--sock", "2", "--sock-domain", "ipv4"}},
		{"sock6", "2 workers over IPv6, no delay", 1 << 20, []string{"--sock", "2", "--sock-domain", "ipv6", "--sock-nodelay"}},
		{"sock-mmsg", "sendmmsg and recvmmsg", 1 << 20, []string{"--sock", "1", "--sock-opts", "sendmmsg"}},
		{"sock-zerocopy", "MSG_ZEROCOPY (refused: plain sends)", 1 << 20, []string{"--sock", "1", "--sock-zerocopy"}},
		{"sockmany", "many connections at once", 1 << 14, []string{"--sockmany", "1"}},
		{"sockabuse", "wrong calls on sockets that are in use", 1 << 16, []string{"--sockabuse", "1"}},
		{"epoll", "2 workers with epoll sets of TCP connections", 1 << 16, []string{"--epoll", "2", "--epoll-domain", "ipv4"}},
		{"sockfd", "descriptors over AF_UNIX, next to connections of a shell", 1 << 20, []string{"--sockfd", "1", "--sock", "1"}},
	} {
		add(scenario{
			name: "stress-ng-" + s.name, packages: []string{"stress-ng"},
			does: s.does + "; 5 s over 127.0.0.1 or ::1, verified", bytes: s.bytes,
			run: func(t *testing.T, e *env) { stressNG(t, e, s.args) },
		})
	}
}

var stressMetrics = regexp.MustCompile(`metrc: .*\] (\w[\w-]*) +(\d+) +[\d.]+ `)

// stressNG runs stressors on host a, whose loopback they use.
func stressNG(t *testing.T, e *env, args []string) {
	t.Helper()
	dir := testenv.OpenDir(t)
	argv := append([]string{"stress-ng", "--temp-path", dir, "--timeout", "5", "--verify", "--metrics-brief", "--no-rand-seed", "--oomable"}, args...)
	log := dir + "/log"
	out, err := e.a.try(time.Minute, append(argv, "--log-file", log)...)
	text, _ := os.ReadFile(log)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	all := out + string(text)
	found := stressMetrics.FindAllStringSubmatch(all, -1)
	for _, m := range found {
		if m[2] == "0" {
			t.Errorf("stressor %s did nothing:\n%s", m[1], all)
		}
	}
	if len(found) == 0 || regexp.MustCompile(`stress-ng: (fail|error)`).MatchString(all) {
		t.Errorf("stress-ng %q printed:\n%s", args, all)
	}
}
