// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"netcon/internal/testenv"
)

// opensshTests are the regression tests of OpenSSH that connect; the others test
// keys and configuration, or ssh and sshd over pipes. Those in one line use the
// same ports. What takes longest comes first.
var opensshTests = []string{
	"forward-control", "cfgmatch cfgmatchlisten forwarding multiplex", "connection-timeout", "channel-timeout", "exit-status", "dynamic-forward", "login-timeout", "stderr-data",
	"key-options", "brokenkeys", "connect", "connect-privsep", "connect-uri", "proxy-connect",
	"proto-version", "proto-mismatch", "exit-status-signal", "envpass", "banner", "stderr-after-eof", "broken-pipe", "yes-head",
	"keyscan", "transfer", "scp", "scp3", "scp-uri", "sftp", "sftp-cmds", "sftp-badcmds", "sftp-batch", "sftp-chroot", "sftp-uri",
	"reconfigure", "reexec", "localcommand", "forcecommand", "portnum", "hostkey-rotate",
}

// opensshLanes is how many tests run at once, each with ports of its own.
const opensshLanes = 4

func init() {
	addSuite(suite{
		name: "suite-openssh", packages: []string{"openssh-tests", "openssh-server", "openssh-client", "make", "telnet"}, bytes: 10 << 20,
		does: "regression tests of OpenSSH that connect, as root: logins, transfers, forwarding, multiplexing, time limits",
		run: func(t *testing.T, h *host, only []string) outcomes {
			if only == nil {
				only = opensshTests
			}
			got := outcomes{}
			if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
				t.Fatal(err)
			}
			dir := testenv.OpenDir(t)
			var mu sync.Mutex
			inLanes(opensshLanes, only, func(lane int, names string) {
				for _, name := range strings.Fields(names) {
					what := opensshTest(t, h, lane, dir, name)
					mu.Lock()
					got[name] = what
					mu.Unlock()
				}
			})
			return got
		},
	})
}

var opensshLine = regexp.MustCompile(`(?m)^(ok|failed|skip|SKIPPED:?) .*$`)

// opensshTest runs a test in a directory of its own below parent.
func opensshTest(t *testing.T, h *host, lane int, parent, name string) string {
	t.Helper()
	dir := filepath.Join(parent, name)
	if _, err := testenv.Try(nil, time.Minute, "cp", "-a", "/usr/lib/openssh/regress", dir); err != nil {
		return err.Error()
	}
	// A test may leave somebody behind who would hold a pipe open.
	log := dir + ".log"
	argv := []string{"sh", "-c", `log=$1; shift; exec "$@" </dev/zero >"$log" 2>&1`, "sh", log, "make", "-C", dir}
	for _, set := range []string{".OBJDIR=", ".CURDIR=", "BUILDDIR=", "OBJ="} {
		argv = append(argv, set+dir)
	}
	// The tests run as root: sudo, which would clean the environment, has
	// nothing to do.
	argv = append(argv, "SUDO=env", "TEST_SHELL=sh", "TEST_SSH_SSH=ssh", "TEST_SSH_SFTPSERVER=/usr/lib/openssh/sftp-server",
		fmt.Sprintf("TEST_SSH_PORT=%d", 4242+20*lane), "TEST_SSH_IPV6=yes", "TEST_SSH_ECC=yes", "TEST_SSH_UNSAFE_PERMISSIONS=1",
		"TEST_SSH_PLINK=/nonexistent", "TEST_SSH_PUTTYGEN=/nonexistent", "TEST_SSH_CONCH=/nonexistent", "t-exec", "LTESTS="+name)
	_, err := h.try(6*time.Minute, argv...)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !strings.Contains(err.Error(), "timed out") {
		return err.Error()
	}
	m := opensshLine.FindStringSubmatch(mustRead(t, log))
	switch {
	case err == nil && m != nil && m[1] == "ok":
		return passed
	case err == nil:
		return skipped
	case m != nil:
		return m[0]
	default:
		return err.Error()
	}
}
