// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/internal/testenv"
)

// TestProcesses: what has the preload library in it, and why the others do not.
func TestProcesses(t *testing.T) {
	dir := testenv.OpenDir(t)
	compile(t, dir, shimName, "-shared", "-fPIC")
	sleeper := filepath.Join(dir, "sleeper.c")
	if err := os.WriteFile(sleeper, []byte("#include <unistd.h>\nint main(void) { return pause(); }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, kind := range [][]string{{"dynamic"}, {"static", "-static"}} {
		argv := append([]string{"-o", filepath.Join(dir, kind[0]), sleeper}, kind[1:]...)
		if out, err := exec.Command("gcc", argv...).CombinedOutput(); err != nil {
			t.Fatalf("gcc %q: %v\n%s", argv, err, out)
		}
	}
	socket := filepath.Join(dir, "attach.sock")
	a := &Attachment{FD: 99, Cookie: 1, Socket: socket, Container: "web"}
	with := a.Environ(nil, filepath.Join(dir, shimName), MissingFail)
	without := []string{"NETCON_SOCKET=" + socket, "NETCON_CONTAINER=web", "LD_PRELOAD="}
	want := map[int32]string{}
	for _, c := range []struct {
		program string
		env     []string
		why     string
	}{
		{"dynamic", with, ""},
		{"dynamic", without, "started without LD_PRELOAD"},
		{"static", with, "need a supervisor"},
		{"dynamic", nil, "?"}, // not in a container
	} {
		cmd := exec.Command(filepath.Join(dir, c.program))
		cmd.Env = append([]string{"PATH=/bin"}, c.env...)
		p := testenv.StartCmd(t, cmd)
		want[int32(p.Pid())] = c.why
	}
	var got map[int32]Running
	settled := func() bool {
		got = map[int32]Running{}
		for _, r := range Processes(socket, nil) {
			got[r.PID] = r
		}
		for pid, why := range want {
			if r, ok := got[pid]; ok == (why == "?") || (r.Why == "") != (why == "") && ok {
				return false
			}
		}
		return true
	}
	testenv.WaitFor(t, 10*time.Second, settled, "the programs to be loaded")
	if len(got) != 3 {
		t.Errorf("%d processes, want 3: %+v", len(got), got)
	}
	for pid, r := range got {
		if r.Container != "web" || r.UID != uint32(os.Getuid()) || !strings.Contains("dynamic static", r.Command) {
			t.Errorf("%+v", r)
		}
		if !strings.Contains(r.Why, want[pid]) {
			t.Errorf("process %d: %q, want %q", pid, r.Why, want[pid])
		}
	}
	if list := Processes(socket+"x", nil); len(list) != 0 {
		t.Errorf("another daemon's: %+v", list)
	}
}

// TestProcessesAttached: a program that wrote over its environment is known by
// the attach socket it holds.
func TestProcessesAttached(t *testing.T) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(p[1]), "attach")
	defer f.Close()
	defer unix.Close(p[0])
	var status unix.Stat_t
	if err := unix.Fstat(p[1], &status); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "100")
	cmd.Env, cmd.ExtraFiles = []string{}, []*os.File{f}
	pid := int32(testenv.StartCmd(t, cmd).Pid())
	attached := map[uint32]string{uint32(status.Ino): "web", uint32(status.Ino) + 1000000: "db"}
	testenv.WaitFor(t, 10*time.Second, func() bool {
		list := Processes("/nowhere", attached)
		return len(list) == 1 && list[0].PID == pid && list[0].Container == "web" && list[0].Command == "sleep" &&
			strings.Contains(list[0].Why, "without LD_PRELOAD")
	}, "the program to be listed")
	if list := Processes("/nowhere", nil); len(list) != 0 {
		t.Errorf("without the inode: %+v", list)
	}
	if !Holds(pid, uint32(status.Ino)) || Holds(pid, uint32(status.Ino)+1000000) || Holds(1<<30, uint32(status.Ino)) {
		t.Error("who holds the socket is not told")
	}
}
