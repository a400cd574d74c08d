// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/internal/testenv"
)

// stranger is a user who owns nothing here.
const stranger = 65534

// as runs f on a thread of another user and group. The thread does not outlive
// f.
func as(t testing.TB, id int, f func()) {
	t.Helper()
	testenv.Need(t, "CAP_SETUID")
	done := make(chan unix.Errno)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		defer close(done)
		// Only this thread: that is what a raw call is for.
		for _, call := range []uintptr{unix.SYS_SETRESGID, unix.SYS_SETRESUID} {
			if _, _, e := unix.RawSyscall(call, uintptr(id), uintptr(id), uintptr(id)); e != 0 {
				done <- e
				return
			}
		}
		f()
	}()
	if e := <-done; e != 0 {
		t.Fatalf("become user %d: %v", id, e)
	}
}

// compile builds a C program.
func compile(t testing.TB, dir, name string, flags ...string) string {
	t.Helper()
	src := filepath.Join(dir, "main.c")
	if err := os.WriteFile(src, []byte("int main(void) { return 7; }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, name)
	testenv.Run(t, nil, append([]string{"gcc", "-o", out, src}, flags...)...)
	return out
}

// compileGo builds a Go program.
func compileGo(t testing.TB, dir, name, cgo, more string) string {
	t.Helper()
	src := filepath.Join(dir, name+".go")
	if err := os.WriteFile(src, []byte("package main\n\n"+more+"\nfunc main() {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-o", out, src)
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	return out
}

// header returns an ELF header without a program, of a class and machine.
func header(class elf.Class, m elf.Machine) []byte {
	b := make([]byte, 64)
	copy(b, elf.ELFMAG)
	b[elf.EI_CLASS], b[elf.EI_DATA], b[elf.EI_VERSION] = byte(class), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	binary.LittleEndian.PutUint16(b[16:], uint16(elf.ET_EXEC))
	binary.LittleEndian.PutUint16(b[18:], uint16(m))
	binary.LittleEndian.PutUint32(b[20:], uint32(elf.EV_CURRENT))
	size := 54 // where e_phentsize lies
	if class == elf.ELFCLASS32 {
		size = 42
	}
	binary.LittleEndian.PutUint16(b[size:], 56)
	return b
}

func TestInspect(t *testing.T) {
	dir := testenv.OpenDir(t)
	write := func(name string, content []byte, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, content, 0o644), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	script := func(name, line string) string { return write(name, []byte("#!"+line+"\n"), 0o755) }

	dynamic := compile(t, dir, "dynamic")
	static := compile(t, dir, "static", "-static")
	program, err := os.ReadFile(dynamic)
	if err != nil {
		t.Fatal(err)
	}
	chain := dynamic
	for _, name := range []string{"s1", "s2", "s3", "s4", "s5", "s6"} {
		chain = script(name, chain)
	}
	loop := filepath.Join(dir, "loop")
	script("loop", loop)
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o755); err != nil {
		t.Fatal(err)
	}
	otherMachine := elf.EM_AARCH64
	if machine == elf.EM_AARCH64 {
		otherMachine = elf.EM_X86_64
	}
	for _, c := range []struct {
		name, path string
		want       string // part of the error, or the mechanism
		refused    bool
	}{
		{"dynamic", dynamic, "preload", false},
		{"dynamic, not PIE", compile(t, dir, "nopie", "-no-pie"), "preload", false},
		{"static", static, "seccomp", false},
		{"static PIE", compile(t, dir, "staticpie", "-static-pie"), "seccomp", false},
		{"Go", compileGo(t, dir, "go", "0", ""), "seccomp", false},
		{"Go with cgo", compileGo(t, dir, "cgo", "1", "import \"C\"\n"), "seccomp", false},
		{"script", script("script", " "+dynamic+" -x"), "preload", false},
		{"script with a tab", script("tab", "\t"+dynamic), "preload", false},
		{"script of a static program", script("scriptstatic", static), "seccomp", false},
		{"five scripts", filepath.Join(dir, "s5"), "preload", false},
		{"six scripts", chain, "more than 5 interpreters", false},
		{"script of itself", loop, "more than 5 interpreters", false},
		{"script without interpreter", script("none", ""), "empty interpreter line", false},
		{"script of what is not there", script("gone", "/nonexistent/sh"), "/nonexistent/sh: no such file", false},
		{"missing", filepath.Join(dir, "nothing"), "no such file", false},
		{"directory", dir, "not a regular file", false},
		{"FIFO", fifo, "not a regular file", false},
		{"device", "/dev/null", "not a regular file", false},
		{"empty", write("empty", nil, 0o755), "preload", false}, // the kernel will say
		{"text", write("text", []byte("echo hello\n"), 0o755), "preload", false},
		{"magic only", write("magic", []byte(elf.ELFMAG), 0o755), "read ELF file", false},
		{"truncated", write("truncated", program[:100], 0o755), "read ELF file", false},
		{"without program", write("bare", header(elf.ELFCLASS64, machine), 0o755), "seccomp", false},
		{"32 bit", write("b32", header(elf.ELFCLASS32, elf.EM_386), 0o755), "ELFCLASS32 EM_386 programs", true},
		{"x32", write("x32", header(elf.ELFCLASS32, elf.EM_X86_64), 0o755), "ELFCLASS32", true},
		{"another machine", write("other", header(elf.ELFCLASS64, otherMachine), 0o755), otherMachine.String(), true},
		// Root's own: the user does not change.
		{"set-user-ID to ourselves", write("suidroot", program, 0o755|os.ModeSetuid), "preload", false},
	} {
		begin := time.Now()
		how, err := Inspect(c.path)
		switch {
		case err == nil && string(how) != c.want, err != nil && !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: got %q, %v, want %q", c.name, how, err, c.want)
		case errors.Is(err, ErrRefused) != c.refused:
			t.Errorf("%s: refused %v: %v", c.name, !c.refused, err)
		case err != nil && (!strings.HasPrefix(err.Error(), "exec ") || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: %q is not one line about exec", c.name, err)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("%s: it took %v", c.name, took)
		}
	}
}

// TestInspectSecure: programs that change the user do not load the library,
// whether they can be read or not.
func TestInspectSecure(t *testing.T) {
	dir := testenv.OpenDir(t)
	dynamic := compile(t, dir, "dynamic")
	program, err := os.ReadFile(dynamic)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, owner int, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, program, 0o644), os.Chown(path, owner, owner), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		name     string
		owner    int
		mode     os.FileMode
		user     bool // what a stranger is told
		root     bool // what root is told; true: refused
		readable bool
	}{
		{"plain", 0, 0o755, false, false, true},
		{"unreadable", 0, 0o711, false, false, false},
		{"suid root", 0, 0o755 | os.ModeSetuid, true, false, true},
		{"suid root, unreadable", 0, 0o711 | os.ModeSetuid, true, false, false},
		{"suid stranger", stranger, 0o755 | os.ModeSetuid, false, true, true},
		{"sgid root", 0, 0o755 | os.ModeSetgid, true, false, true},
		{"sgid root, unreadable", 0, 0o711 | os.ModeSetgid, true, false, false},
		{"sgid stranger", stranger, 0o755 | os.ModeSetgid, false, true, true},
		{"mandatory locking", 0, 0o745 | os.ModeSetgid, false, false, true},
	} {
		path := file(strings.ReplaceAll(c.name, " ", "-"), c.owner, c.mode)
		if _, err := Inspect(path); errors.Is(err, ErrRefused) != c.root || err != nil != c.root {
			t.Errorf("%s, root: %v", c.name, err)
		}
		as(t, stranger, func() {
			if _, err := Inspect(path); errors.Is(err, ErrRefused) != c.user || err != nil != c.user {
				t.Errorf("%s, stranger: %v", c.name, err)
			}
			if f, err := os.Open(path); (err == nil) != c.readable {
				t.Errorf("%s: readable %v", c.name, err == nil)
			} else if err == nil {
				_ = f.Close()
			}
		})
	}
	// File capabilities count for ordinary users only.
	caps := file("caps", 0, 0o755)
	// VFS_CAP_REVISION_2, effective, CAP_NET_RAW permitted.
	value := []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if err := unix.Setxattr(caps, "security.capability", value, 0); err != nil {
		t.Fatalf("give a program capabilities: %v", err)
	}
	if _, err := Inspect(caps); err != nil {
		t.Errorf("capabilities, root: %v", err)
	}
	as(t, stranger, func() {
		if _, err := Inspect(caps); !errors.Is(err, ErrRefused) {
			t.Errorf("capabilities, stranger: %v", err)
		}
	})
}

// FuzzInspect: no file ends the launcher.
func FuzzInspect(f *testing.F) {
	f.Add(header(elf.ELFCLASS64, machine))
	f.Add(header(elf.ELFCLASS32, elf.EM_386))
	f.Add([]byte("#!/bin/sh\n"))
	f.Add([]byte("#! \t\n"))
	if self, err := os.ReadFile("/bin/true"); err == nil {
		f.Add(self[:min(len(self), 4096)])
	}
	path := filepath.Join(f.TempDir(), "program")
	f.Fuzz(func(t *testing.T, content []byte) {
		if bytes.Contains(content, []byte("/dev/")) {
			return // somebody's terminal
		}
		if err := os.WriteFile(path, content, 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := Inspect(path); err != nil && !strings.HasPrefix(err.Error(), "exec ") {
			t.Errorf("%q", err)
		}
	})
}

func TestFind(t *testing.T) {
	dir := testenv.OpenDir(t)
	for name, mode := range map[string]os.FileMode{"runs": 0o755, "reads": 0o644} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	t.Chdir(dir)
	for _, c := range []struct {
		name, want string
		err        error
	}{
		{"runs", filepath.Join(dir, "runs"), nil},
		{"./runs", "./runs", nil},
		{filepath.Join(dir, "runs"), filepath.Join(dir, "runs"), nil},
		{"reads", "", exec.ErrNotFound},
		{"nothing", "", exec.ErrNotFound},
		{"", "", exec.ErrNotFound},
		{"./nothing", "", os.ErrNotExist},
		{"./reads", "", os.ErrPermission},
		{dir, "", unix.EISDIR},
	} {
		got, err := Find(c.name)
		if got != c.want || !errors.Is(err, c.err) || err != nil && !strings.HasPrefix(err.Error(), "exec "+c.name+": ") {
			t.Errorf("%q: %q %v, want %q %v", c.name, got, err, c.want, c.err)
		}
	}
	// execvp takes what an empty element of PATH finds.
	t.Setenv("PATH", ":/nonexistent")
	if got, err := Find("runs"); err != nil || filepath.Base(got) != "runs" {
		t.Errorf("in the working directory: %q %v", got, err)
	}
}
