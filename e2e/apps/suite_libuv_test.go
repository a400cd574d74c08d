// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"netcon/internal/testenv"
)

// libuvTCP are the tests of libuv that have to do with streams and readiness.
var libuvTCP = regexp.MustCompile(`^(callback_stack|close_|closed_fd|connect|delayed_accept|eintr|emfile|fork_socketpair|` +
	`getsockname_tcp|ipc_|multiple_listen|not_(read|writ)able|pipe_|poll_|readable_on_eof|shutdown_|socket_buffer_size|` +
	`spawn_tcp|stdio_over_pipes|tcp)`)

func init() {
	addSuite(suite{
		name: "suite-libuv", packages: []string{"libuv1", "dpkg-dev", "gcc", "libc6-dev"}, bytes: 1 << 20,
		does: "uv_run_tests of Debian's source package: TCP, pipes, poll, passed descriptors",
		run:  libuvTests, known: map[string]string{"emfile": "a full descriptor table", "poll_oob": "urgent data"},
	})
}

// source unpacks a Debian source package, and makes of it what script makes. A
// tree that is there stays.
func source(t *testing.T, name, script string) string {
	t.Helper()
	dir, err := filepath.Abs("../../build/sources/" + name)
	if err != nil {
		t.Fatal(err)
	}
	made := filepath.Join(dir, ".made")
	if _, err := os.Stat(made); err == nil {
		return dir
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := testenv.Try(nil, 5*time.Minute, "../../tools/debsource.sh", name, dir); err != nil {
		t.Fatal(err)
	}
	path, err := filepath.Abs(script)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := testenv.Try(nil, 20*time.Minute, "env", "-C", dir, path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(made, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

var (
	tapLine = regexp.MustCompile(`(?m)^(ok|not ok) \d+ - (\S+)(.*)$`)
	tapSkip = regexp.MustCompile(`(?i)# skip`)
)

// libuvTests runs each test in a process of its own, as libuv does.
func libuvTests(t *testing.T, h *host, only []string) outcomes {
	t.Helper()
	dir := source(t, "libuv1", "testdata/libuv.sh")
	env := []string{"env", "-C", dir, "UV_RUN_AS_ROOT=1", "UV_TEST_TIMEOUT_MULTIPLIER=4"}
	if only == nil {
		list, err := testenv.Try(nil, time.Minute, append(env, "./uv_run_tests", "--list")...)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(list, "\n") {
			if f := strings.Fields(line); len(f) > 0 && libuvTCP.MatchString(f[0]) {
				only = append(only, f[0])
			}
		}
	}
	out, err := h.try(15*time.Minute, append(append(env, "sh", "-c", `for test; do timeout 120 ./uv_run_tests "$test" 2>&1 || true; done`, "sh"), only...)...)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	got := outcomes{}
	for _, m := range tapLine.FindAllStringSubmatch(out, -1) {
		switch {
		case tapSkip.MatchString(m[3]):
			got[m[2]] = skipped
		case m[1] == "ok":
			got[m[2]] = passed
		default:
			got[m[2]] = m[0]
		}
	}
	return got
}
