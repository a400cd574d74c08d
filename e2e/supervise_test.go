// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/internal/testenv"
)

// TestSupervisorRefused: where the platform refuses what supervision needs, a static
// program is not started, and the launcher says what is refused and what helps.
// Programs that need no supervisor run.
func TestSupervisorRefused(t *testing.T) {
	testenv.NeedTools(t, "busybox", "gcc")
	s := newStreet(t, "", "")
	dir := testenv.OpenDir(t)
	deny := filepath.Join(dir, "deny")
	testenv.Run(t, nil, "gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", deny, "testdata/deny.c")
	for _, tt := range []struct {
		call   string
		errno  unix.Errno
		reason string
		remedy string
	}{
		{"listener", unix.EPERM, "install seccomp filter: operation not permitted", "seccomp profile"},
		{"listener", unix.ENOSYS, "install seccomp filter: function not implemented", "seccomp profile"},
		{"listener", unix.EINVAL, "install seccomp filter: invalid argument", "Linux 5.19"},
		{"pidfd_getfd", unix.EPERM, "pidfd_getfd", "CAP_SYS_PTRACE"},
		{"process_vm_readv", unix.EPERM, "read the program's memory (process_vm_readv)", "CAP_SYS_PTRACE"},
		{"process_vm_writev", unix.EPERM, "write the program's memory (process_vm_writev)", "CAP_SYS_PTRACE"},
		{"other", 0, "somebody else's seccomp supervisor", "the kernel allows one"},
	} {
		t.Run(fmt.Sprintf("%s/%d", tt.call, tt.errno), func(t *testing.T) {
			started := filepath.Join(testenv.OpenDir(t), "started")
			run := func(argv ...string) (string, error) {
				prefix := append(s.h.Prefix(), deny, tt.call, fmt.Sprint(int(tt.errno)))
				return testenv.Try(nil, time.Minute, append(append(prefix, filepath.Join(buildDir(), "netcon"),
					"exec", "-run", filepath.Join(s.d.dir, "run"), "-n", "web", "--"), argv...)...)
			}
			for _, argv := range [][]string{
				{"busybox", "touch", started},
				{"sh", "-c", "busybox touch " + started}, // found when it is started
			} {
				_, err := run(argv...)
				if err == nil || !strings.Contains(err.Error(), "exit status 126") {
					t.Errorf("%q: %v, want exit status 126", argv, err)
				}
				for _, want := range []string{"static and Go programs cannot be supervised here", tt.reason, tt.remedy} {
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("%q: %v\nwant %q", argv, err, want)
					}
				}
				if _, err := os.Stat(started); err == nil {
					t.Fatalf("%q was started", argv)
				}
			}
			if out, err := run("touch", started); err != nil {
				t.Errorf("a dynamic program: %v\n%s", err, out)
			}
			if _, err := os.Stat(started); err != nil {
				t.Errorf("a dynamic program: %v", err)
			}
			testenv.WaitFor(t, 15*time.Second, func() bool {
				status, err := s.d.Status()
				return err == nil && len(status.Processes) == 0
			}, "nothing to be left")
		})
	}
}

// TestSupervisorTree: a tree of programs has one filter and one supervisor, however
// many static and dynamic programs start each other.
func TestSupervisorTree(t *testing.T) {
	testenv.NeedTools(t, "busybox")
	s := newStreet(t, "", "")
	field := func(status, name string) string {
		_, rest, _ := strings.Cut(status, name+":")
		line, _, _ := strings.Cut(rest, "\n")
		return strings.TrimSpace(line)
	}
	had := field(testenv.Run(t, nil, "cat", "/proc/self/status"), "Seccomp_filters")
	dir := testenv.OpenDir(t)
	// Without a path busybox's shell is itself sh, env and grep.
	tell := "grep Seccomp_filters /proc/self/status; echo supervisor $NETCON_SUPERVISOR\n"
	for name, script := range map[string]string{
		"top":    tell + "/bin/sh " + dir + "/middle",
		"middle": tell + "busybox sh " + dir + "/leaf; /usr/bin/env -i PATH=$PATH busybox sh " + dir + "/leaf",
		"leaf":   tell + "/bin/sh " + dir + "/last",
		"last":   tell,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out := s.d.run(t, "web", time.Minute, "busybox", "sh", filepath.Join(dir, "top"))
	filters, supervisors := map[string]int{}, map[string]int{}
	for line := range strings.Lines(out) {
		switch f := strings.Fields(line); f[0] {
		case "Seccomp_filters:":
			filters[f[1]]++
		case "supervisor":
			supervisors[strings.Join(f[1:], " ")]++
		}
	}
	var n int
	_, _ = fmt.Sscan(had, &n)
	if len(filters) != 1 || filters[fmt.Sprint(n+1)] != 6 {
		t.Errorf("filters, and how many had them: %v, want 6 with %d\n%s", filters, n+1, out)
	}
	if len(supervisors) != 1 || supervisors[""] != 0 {
		t.Errorf("supervisors: %v\n%s", supervisors, out)
	}
}

// TestSupervisorEnforced: a static program in an empty network namespace has its
// container, started by root and by an ordinary user.
func TestSupervisorEnforced(t *testing.T) {
	testenv.NeedTools(t, "busybox", "setpriv")
	s := newStreet(t, "uids = [65534]", "")
	testenv.Nginx(t, s.d.exec("in"), testenv.Options{Addrs: []string{client4 + ":80"}, Root: s.root})
	dir := testenv.OpenDir(t)
	for _, name := range []string{"netcon", "libnetcon.so"} { // where that user can read it
		testenv.Run(t, nil, "cp", filepath.Join(buildDir(), name), dir)
	}
	for user, prefix := range map[string][]string{
		"root": nil, "nobody": {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--reset-env", "--"},
	} {
		netcon := append(append(s.h.Prefix(), prefix...), filepath.Join(dir, "netcon"), "exec", "-enforce", "-run", filepath.Join(s.d.dir, "run"), "-n", "web", "--")
		for _, argv := range [][]string{
			{"busybox", "wget", "-q", "-O", "-", "http://" + client4 + "/file"},
			{"sh", "-c", "busybox wget -q -O - http://" + client4 + "/file"},
			{"busybox", "sh", "-c", "/usr/bin/curl -sS http://" + client4 + "/file"},
		} {
			if sum, err := hashOutput(time.Minute, append(netcon, argv...)...); err != nil || sum != s.sum {
				t.Errorf("%s, %q: SHA-256 %s, want %s: %v", user, argv, sum, s.sum, err)
			}
		}
		// Of what the kernel has, there is nothing but lo.
		if out, err := testenv.Try(nil, time.Minute, append(netcon, "busybox", "cat", "/proc/net/dev")...); err != nil || strings.Contains(out, "eth0") {
			t.Errorf("%s: %v\n%s", user, err, out)
		}
	}
}
