// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"netcon/internal/testenv"
)

// put writes a file of a scenario, readable by anyone, and returns its path.
func put(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// worldDir makes a directory that any user may write.
func worldDir(t testing.TB) string {
	t.Helper()
	dir := testenv.OpenDir(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// daemon is a server that went into the background and left a pid file.
type daemon struct{ pidFile string }

// newDaemon returns the server that will write pidFile. It is killed when the
// test ends.
func newDaemon(t testing.TB, pidFile string) *daemon {
	t.Helper()
	d := &daemon{pidFile}
	t.Cleanup(func() {
		if pid := d.pid(); pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return d
}

// pid returns the server's process, 0 if there is none.
func (d *daemon) pid() int {
	b, err := os.ReadFile(d.pidFile)
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}

func (d *daemon) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	pid := d.pid()
	if pid == 0 {
		t.Fatalf("no process in %s", d.pidFile)
	}
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatalf("signal %v to %d of %s: %v", sig, pid, d.pidFile, err)
	}
}

// end ends the server with a signal that asks for it in order.
func (d *daemon) end(t testing.TB, sig syscall.Signal) {
	t.Helper()
	pid := d.pid()
	d.signal(t, sig)
	testenv.WaitFor(t, 20*time.Second, func() bool { return syscall.Kill(pid, 0) != nil }, "the server of "+d.pidFile+" to end")
}

// background runs a program that leaves a server behind, as from a shell, and
// returns the file with what both print. (Behind host.start such a server would
// be killed if it had not left the process group when the program ends.)
func background(t testing.TB, h *host, argv ...string) (log string) {
	t.Helper()
	log = filepath.Join(testenv.OpenDir(t), "log")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%q printed:\n%s", argv, mustRead(t, log))
		}
	})
	h.do(t, time.Minute, append([]string{"sh", "-c", `log=$1; shift; exec "$@" >"$log" 2>&1 </dev/null`, "sh", log}, argv...)...)
	return log
}

func mustRead(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// fetch gets an URL with curl and compares its hash.
func fetch(t testing.TB, from *host, want string, args ...string) {
	t.Helper()
	got := filepath.Join(testenv.OpenDir(t), "got")
	from.do(t, time.Minute, append([]string{"curl", "-sS", "--fail", "-o", got}, args...)...)
	if s := testenv.HashFile(t, got); s != want {
		size := int64(-1)
		if i, err := os.Stat(got); err == nil {
			size = i.Size()
		}
		t.Errorf("curl %q: %d bytes with SHA-256 %s, want %s", args, size, s, want)
	}
}
