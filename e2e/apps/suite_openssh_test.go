// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"netcon/internal/testenv"
)

// opensshTests are the regression tests of OpenSSH that connect.
var opensshTests = []string{
	"connect", "connect-privsep", "connect-uri", "proto-version", "proto-mismatch", "exit-status", "exit-status-signal", "envpass",
	"banner", "stderr-data", "stderr-after-eof", "broken-pipe", "yes-head", "login-timeout", "keyscan", "transfer",
	"scp", "scp3", "scp-uri", "sftp", "sftp-cmds", "sftp-badcmds", "sftp-batch", "reconfigure", "reexec", "forwarding",
	"dynamic-forward", "multiplex", "localcommand", "forcecommand", "portnum", "forward-control", "connection-timeout", "channel-timeout",
}

func init() {
	addSuite(suite{
		name: "suite-openssh", packages: []string{"openssh-tests", "openssh-server", "make"}, bytes: 10 << 20,
		does: "regression tests of OpenSSH that connect, as root: logins, transfers, forwarding, multiplexing, time limits",
		run: func(t *testing.T, h *host, only []string) outcomes {
			if only == nil {
				only = opensshTests
			}
			got := outcomes{}
			for _, name := range only {
				got[name] = opensshTest(t, h, name)
			}
			return got
		},
	})
}

var opensshLine = regexp.MustCompile(`(?m)^(ok|failed|skip|SKIPPED:?) .*$`)

func opensshTest(t *testing.T, h *host, name string) string {
	t.Helper()
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	dir := worldDir(t)
	testenv.Run(t, nil, "cp", "-a", "/usr/lib/openssh/regress/.", dir)
	argv := []string{"sh", "-c", `exec "$@" </dev/zero 2>&1`, "sh", "make", "-C", dir}
	for _, set := range []string{".OBJDIR=", ".CURDIR=", "BUILDDIR=", "OBJ="} {
		argv = append(argv, set+dir)
	}
	// The tests run as root: sudo, which would clean the environment, has
	// nothing to do.
	argv = append(argv, "SUDO=env", "TEST_SHELL=sh", "TEST_SSH_SSH=ssh", "TEST_SSH_SFTPSERVER=/usr/lib/openssh/sftp-server",
		"TEST_SSH_IPV6=yes", "TEST_SSH_ECC=yes", "TEST_SSH_UNSAFE_PERMISSIONS=1", "TEST_SSH_PLINK=/nonexistent",
		"TEST_SSH_PUTTYGEN=/nonexistent", "TEST_SSH_CONCH=/nonexistent", "t-exec", "LTESTS="+name)
	out, err := h.try(6*time.Minute, argv...)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !strings.Contains(err.Error(), "timed out") {
		t.Fatal(err)
	}
	m := opensshLine.FindStringSubmatch(out)
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
