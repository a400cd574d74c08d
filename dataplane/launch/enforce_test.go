// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"netcon/internal/testenv"
)

const enforceVar = "NETCON_TEST_ENFORCE"

// TestMain is the launcher where a test asks for one: it becomes, or runs, the
// shell script in enforceVar.
func TestMain(m *testing.M) {
	script, ok := os.LookupEnv(enforceVar)
	if !ok {
		os.Exit(m.Run())
	}
	status, err := ExecEnforced("/bin/sh", []string{"sh", "-c", script}, os.Environ())
	if errors.Is(err, ErrNoEnforce) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
	if err != nil {
		panic(err)
	}
	os.Exit(status)
}

// enforced runs a script in a fresh launcher, as a user, behind the words of
// prefix.
func enforced(t *testing.T, uid uint32, script string, prefix ...string) (out string, status int) {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(testenv.OpenDir(t), "launcher")
	if err := os.WriteFile(exe, self, 0o755); err != nil {
		t.Fatal(err)
	}
	argv := append(prefix, exe)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), enforceVar+"="+script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit):
		status = exit.ExitCode()
	default:
		t.Fatal(err)
	}
	return string(b), status
}

func TestEnforce(t *testing.T) {
	testenv.NeedRoot(t)
	for _, user := range []struct {
		name string
		uid  uint32
		kill int // status of a program that was killed by SIGTERM
	}{
		{"root", 0, -1}, // the launcher became the program
		{"nobody", 65534, 128 + int(unix.SIGTERM)},
	} {
		t.Run(user.name, func(t *testing.T) {
			out, status := enforced(t, user.uid, "id -u; cat /proc/net/dev; exit 7")
			if status == 99 && user.uid != 0 {
				t.Skipf("missing capability: user namespaces for all: %s", out)
			}
			if status != 7 {
				t.Fatalf("status %d, want 7\n%s", status, out)
			}
			lines := strings.Split(strings.TrimSpace(out), "\n")
			if lines[0] != fmt.Sprint(user.uid) {
				t.Errorf("uid %s, want %d", lines[0], user.uid)
			}
			// Two lines of heading, and a loopback that is down.
			if len(lines) != 4 || !strings.HasPrefix(strings.TrimSpace(lines[3]), "lo:") {
				t.Errorf("devices other than lo:\n%s", out)
			}
			if out, status := enforced(t, user.uid, "true"); status != 0 {
				t.Errorf("true: status %d\n%s", status, out)
			}
			if _, status := enforced(t, user.uid, "kill -TERM $$"); status != user.kill {
				t.Errorf("killed: status %d, want %d", status, user.kill)
			}
			// What the launcher does with signals is not the program's.
			ours := ignoredHere(t)
			if ignored := ignored(t, user.uid); ignored != ours {
				t.Errorf("the program ignores signals %#x, we %#x", ignored, ours)
			}
			ours |= 1 << (unix.SIGHUP - 1)
			if ignored := ignored(t, user.uid, "sh", "-c", `trap "" HUP; exec "$0"`); ignored != ours {
				t.Errorf("under nohup the program ignores signals %#x, want %#x", ignored, ours)
			}
		})
	}
}

// TestEnforcePassesSignals: what is sent to a launcher that waits for its child,
// and not by a terminal, reaches the child.
func TestEnforcePassesSignals(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedTools(t, "setsid", "env")
	for _, name := range []string{"TERM", "HUP", "INT", "QUIT", "USR1", "USR2", "WINCH", "CONT"} {
		script := fmt.Sprintf(`trap "exit 9" %[1]s; kill -%[1]s $PPID; n=0; while [ $n -lt 300 ]; do sleep 0.1; n=$((n+1)); done`, name)
		// Whatever the tests themselves ignore, under nohup for example.
		out, status := enforced(t, 65534, script, "env", "--default-signal", "setsid")
		if status == 99 {
			t.Skipf("missing capability: user namespaces for all: %s", out)
		}
		if status != 9 {
			t.Errorf("SIG%s: status %d, want 9\n%s", name, status, out)
		}
	}
}

// ignored returns the signals that a program under the launcher ignores.
func ignored(t *testing.T, uid uint32, prefix ...string) (mask uint64) {
	t.Helper()
	out, status := enforced(t, uid, "grep SigIgn /proc/self/status", prefix...)
	if _, err := fmt.Sscanf(out, "SigIgn: %x", &mask); err != nil || status != 0 {
		t.Fatalf("status %d, %v: %s", status, err, out)
	}
	return mask
}

// ignoredHere returns the signals that any program started from here ignores.
func ignoredHere(t *testing.T) (mask uint64) {
	t.Helper()
	out := testenv.Run(t, nil, "grep", "SigIgn", "/proc/self/status")
	if _, err := fmt.Sscanf(out, "SigIgn: %x", &mask); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return mask
}

// TestEnforceRefused: a kernel without user namespaces is told as such.
func TestEnforceRefused(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedTools(t, "unshare")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// In a user namespace that may have no others in it.
	script := fmt.Sprintf("echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-all --inh-caps=-all %s", self)
	cmd := exec.Command("unshare", "--user", "--map-root-user", "sh", "-c", script)
	cmd.Env = append(os.Environ(), enforceVar+"=true")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "no empty network namespace") || !strings.Contains(string(out), "max_user_namespaces") {
		t.Errorf("%v: %s", err, out)
	}
}
