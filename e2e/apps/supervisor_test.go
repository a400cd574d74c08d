// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netcon/internal/testenv"
)

// TestSupervisor: a supervisor is there for its programs when the daemon was
// killed and started again, is told of by the readers, and ends with the last of
// its programs, however that ends.
func TestSupervisor(t *testing.T) {
	e := newNetconEnv(t)
	exe := goProgram(t)
	e.a.start(t, exe, "serve", "", "8080")
	e.a.listens(t, 8080)

	// A Go program, a shell below it, and another Go program below that, once
	// every time a line comes.
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	log := filepath.Join(testenv.OpenDir(t), "log")
	script := fmt.Sprintf(`echo $NETCON_SUPERVISOR >>%[1]s; while read line; do %[2]s client %[3]s 8080 1 1 1000 >>%[1]s 2>&1; echo done >>%[1]s; done`, log, exe, a4)
	argv := e.b.argv(exe, "shell", script)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = in
	p := testenv.StartCmd(t, cmd)
	turn := func(n int) string {
		t.Helper()
		if _, err := out.WriteString("go\n"); err != nil {
			t.Fatal(err)
		}
		testenv.WaitFor(t, 20*time.Second, func() bool {
			b, _ := os.ReadFile(log)
			return strings.Count(string(b), "done\n") == n
		}, "turn %d", n)
		b := mustRead(t, log)
		return b[strings.LastIndex(strings.TrimSuffix(b, "done\n"), "done\n")+1:]
	}
	if got := turn(1); !strings.Contains(got, "ok\n") {
		t.Fatalf("before: %q", got)
	}
	var supervisor int
	if _, err := fmt.Sscan(mustRead(t, log), &supervisor); err != nil || syscall.Kill(supervisor, 0) != nil {
		t.Fatalf("no supervisor: %v in %q", err, mustRead(t, log))
	}
	status, err := e.b.client.Status()
	if err != nil {
		t.Fatal(err)
	}
	mechanisms := map[string]string{}
	for _, x := range status.Processes {
		mechanisms[x.Command] = x.Mechanism
	}
	if mechanisms["gohttp"] != "seccomp" || mechanisms["sh"] != "preload" {
		t.Errorf("netcon status tells %v", mechanisms)
	}

	end(t, e.b.daemon)
	if got := turn(2); !strings.Contains(got, "network is down") {
		t.Errorf("without a daemon: %q", got)
	}
	e.b.startDaemon(t)
	if got := turn(3); !strings.Contains(got, "ok\n") {
		t.Errorf("with a daemon again: %q", got)
	}

	end(t, p)
	_ = out.Close()
	testenv.WaitFor(t, 10*time.Second, func() bool { return syscall.Kill(supervisor, 0) != nil }, "the supervisor to end")
}

// end kills a process, and whatever is in its group.
func end(t *testing.T, p *testenv.Process) {
	t.Helper()
	p.Signal(t, syscall.SIGKILL)
	_ = p.Wait(t, 10*time.Second)
}
