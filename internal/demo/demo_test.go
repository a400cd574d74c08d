// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"netcon/dataplane"
	"netcon/internal/testenv"
)

// The tour itself runs in e2e, with the program as it is built.

func TestOrdinaryUser(t *testing.T) {
	for _, c := range []struct {
		uid, gid string
		u, g     uint32
	}{
		{"", "", nobody, nobody},
		{"1000", "1001", 1000, 1001},
		{"0", "0", nobody, nobody}, // sudo from root
		{"1000", "", nobody, nobody},
		{"x", "1", nobody, nobody},
		{"-1", "1", nobody, nobody},
		{"4294967296", "1", nobody, nobody},
	} {
		t.Setenv("SUDO_UID", c.uid)
		t.Setenv("SUDO_GID", c.gid)
		if u, g := ordinaryUser(); u != c.u || g != c.g {
			t.Errorf("SUDO_UID=%s SUDO_GID=%s: %d %d, want %d %d", c.uid, c.gid, u, g, c.u, c.g)
		}
	}
}

func TestCopyFile(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := os.WriteFile(from, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := copyFile(to, from); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(to)
	if b, _ := os.ReadFile(to); err != nil || string(b) != "content" || st.Mode().Perm() != 0o755 {
		t.Errorf("%q, mode %v: %v", b, st.Mode(), err)
	}
	// Not over what somebody put there, a symbolic link least of all.
	link := filepath.Join(dir, "link")
	if err := os.Symlink(from, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{to, link} {
		if err := copyFile(path, from); !errors.Is(err, os.ErrExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestFind(t *testing.T) {
	if p, err := find("sh"); err != nil || !filepath.IsAbs(p) {
		t.Errorf("sh: %q %v", p, err)
	}
	if _, err := find("no-such-program"); err == nil || !strings.Contains(err.Error(), "make deps") {
		t.Errorf("what is missing: %v", err)
	}
}

func TestNoise(t *testing.T) {
	h, path := sha256.New(), filepath.Join(t.TempDir(), "www", "noise")
	if err := writeNoise(path, h, 100_001); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if sum := sha256.Sum256(b); err != nil || len(b) != 100_001 || !bytes.Equal(sum[:], h.Sum(nil)) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func TestKernelCounters(t *testing.T) {
	before, err := kernelCounters()
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("udp", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = c.Write([]byte("x"))
	after, err := kernelCounters()
	if err != nil || after["Udp.OutDatagrams"] <= before["Udp.OutDatagrams"] {
		t.Errorf("from %d to %d datagrams: %v", before["Udp.OutDatagrams"], after["Udp.OutDatagrams"], err)
	}
	for _, name := range []string{"Tcp.InSegs", "Tcp.OutSegs", "Udp.InDatagrams"} {
		if _, ok := after[name]; !ok {
			t.Errorf("no %s", name)
		}
	}
}

func TestProcessGroup(t *testing.T) {
	if got := processGroup("/proc/self/stat"); got != syscall.Getpgrp() {
		t.Errorf("own group %d, want %d", got, syscall.Getpgrp())
	}
	odd := filepath.Join(t.TempDir(), "stat")
	for text, want := range map[string]int{"12 (a) b ) ) S 1 77 5\n": 77, "12 (x) S 1\n": 0, "": 0} {
		if err := os.WriteFile(odd, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := processGroup(odd); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	if processGroup("/nonexistent") != 0 {
		t.Error("a process that is gone has a group")
	}
}

// newTour is a tour in a directory of its own that has shown nothing yet.
func newTour(t *testing.T) *tour {
	return &tour{Options: Options{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}, dir: testenv.OpenDir(t)}
}

// TestKernelTCPSockets: the proof sees a program that uses the kernel's TCP.
func TestKernelTCPSockets(t *testing.T) {
	testenv.NeedTools(t, "python3")
	tr := newTour(t)
	ready := tr.path("ready")
	code := `import os, socket, sys, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen() if sys.argv[1] == "tcp" else s.close()
for _ in range(2):
    if os.fork() == 0: time.sleep(60); sys.exit()
open(sys.argv[2], "w").close(); time.sleep(60)`
	for kind, want := range map[string]int{"tcp": 3, "none": 0} { // 3 processes share the socket
		log, err := tr.start(t.Context(), kind, "python3", "-c", code, kind, ready)
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.wait(t.Context(), kind, log, func() error { _, err := os.Stat(ready); return err }); err != nil {
			t.Fatal(err)
		}
		if n, err := tr.kernelTCPSockets(); n != want || err != nil {
			t.Errorf("%s: %d sockets, want %d: %v", kind, n, want, err)
		}
		_ = syscall.Kill(-tr.procs[0].Process.Pid, syscall.SIGTERM) // the children, too
		if err := tr.stop(); err != nil {
			t.Error(err)
		}
		if _, err := tr.kernelTCPSockets(); err == nil {
			t.Error("a program that has ended has processes")
		}
		tr.procs = nil
		_ = os.Remove(ready)
	}
}

func TestProve(t *testing.T) {
	seen := func(change func(*sight)) sight {
		s := sight{web: dataplane.ContainerStatus{BytesOut: 2*fileSize + 500}, client: dataplane.ContainerStatus{BytesIn: 2*fileSize + 500}, frames: 9}
		if change != nil {
			change(&s)
		}
		return s
	}
	for _, c := range []struct {
		name  string
		after sight
		want  string
	}{
		{"all is well", seen(nil), ""},
		{"nothing left web", seen(func(s *sight) { s.web.BytesOut = 2*fileSize - 1 }), "counters did not carry"},
		{"nothing came to client", seen(func(s *sight) { s.client.BytesIn = 0 }), "counters did not carry"},
		{"no frames", seen(func(s *sight) { s.frames = 0 }), "no frame crossed"},
		{"kernel sockets", seen(func(s *sight) { s.tcpSockets = 1 }), "kernel's TCP"},
	} {
		err := newTour(t).prove(sight{}, c.after)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// TestProcesses: what was started ends, last first, by force where it must.
func TestProcesses(t *testing.T) {
	tr := newTour(t)
	for _, script := range []string{"sleep 60", "exit 3", `trap "exit 0" TERM; echo up; while :; do sleep 0.05; done`} {
		log, err := tr.start(t.Context(), "sh", "sh", "-c", script)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(script, "trap") {
			if err := tr.wait(t.Context(), "sh", log, func() error {
				if b, _ := os.ReadFile(log); !bytes.Contains(b, []byte("up")) {
					return errors.New("not up")
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The one that ended by itself is the one to complain about; if it was
	// reached before it ended, there is nothing to complain about.
	testenv.WaitFor(t, 5*time.Second, func() bool {
		b, _ := os.ReadFile("/proc/" + strconv.Itoa(tr.procs[1].Process.Pid) + "/stat")
		return bytes.Contains(b, []byte(") Z "))
	}, "a process to end")
	if err := tr.stop(); err == nil || !strings.Contains(err.Error(), "end sh -c: exit status 3") || strings.Contains(err.Error(), "\n") {
		t.Errorf("stop: %v", err)
	}
	for _, cmd := range tr.procs {
		if cmd.ProcessState == nil {
			t.Error("a process was not waited for")
		}
	}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tr.start(ended, "late", "sh"); !errors.Is(err, context.Canceled) {
		t.Errorf("started after the end: %v", err)
	}
	if err := tr.wait(ended, "x", "", func() error { return errors.New("never") }); !errors.Is(err, context.Canceled) {
		t.Errorf("waited after the end: %v", err)
	}
	if _, err := tr.start(t.Context(), "gone", "/nonexistent"); err == nil || !strings.Contains(err.Error(), "start gone") {
		t.Errorf("started what is not there: %v", err)
	}
}

// TestStubborn: who does not listen to SIGTERM is killed with its children.
func TestStubborn(t *testing.T) {
	t.Parallel()
	tr := newTour(t)
	log, err := tr.start(t.Context(), "sh", "sh", "-c", `trap "" TERM; echo up; sleep 60; sleep 60`)
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.wait(t.Context(), "sh", log, func() error {
		if b, _ := os.ReadFile(log); len(b) == 0 {
			return errors.New("not up")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := tr.stop(); err == nil || !strings.Contains(err.Error(), "had to be killed") {
		t.Errorf("stop: %v", err)
	}
}
