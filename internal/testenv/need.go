// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// capabilities are the bits of capabilities(7) that tests may ask for.
var capabilities = map[string]uint{
	"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7,
	"CAP_NET_BIND_SERVICE": 10, "CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_IPC_LOCK": 14,
	"CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21, "CAP_SYS_NICE": 23, "CAP_SYS_RESOURCE": 24,
	"CAP_PERFMON": 38, "CAP_BPF": 39,
}

// NeedRoot skips the test unless it runs as root with the capabilities that
// namespaces need.
func NeedRoot(t testing.TB) {
	t.Helper()
	if uid := os.Geteuid(); uid != 0 {
		t.Skipf("missing capability: root (uid is %d)", uid)
	}
	Need(t, "CAP_SYS_ADMIN")
	Need(t, "CAP_NET_ADMIN")
	NeedTools(t, "ip")
}

// Need skips the test unless the process has an effective capability, such as
// "CAP_NET_ADMIN".
func Need(t testing.TB, capability string) {
	t.Helper()
	bit, ok := capabilities[capability]
	if !ok {
		t.Fatalf("capability %q is not known", capability)
	}
	if effective(t)&(1<<bit) == 0 {
		t.Skipf("missing capability: %s", capability)
	}
}

func effective(t testing.TB) uint64 {
	t.Helper()
	b, err := os.ReadFile("/proc/thread-self/status") // a test may have changed another thread
	if err != nil {
		t.Fatalf("read own status: %v", err)
	}
	for line := range strings.Lines(string(b)) {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok {
			v, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			if err != nil {
				t.Fatalf("parse %q: %v", line, err)
			}
			return v
		}
	}
	t.Fatal("own status has no CapEff line")
	return 0
}

// NeedTools skips the test unless every program is installed.
func NeedTools(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("missing capability: program %s", p)
		}
	}
}
