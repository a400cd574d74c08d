// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"netcon/internal/testenv"
)

func TestEnviron(t *testing.T) {
	a := &Attachment{FD: 7, Cookie: 4711, Socket: "/run/netcon/attach.sock", Container: "web"}
	const shim = "/usr/lib/netcon/libnetcon.so"
	launcher, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ours := []string{"NETCON_LAUNCHER=" + launcher, "NETCON_ATTACH=7:4711", "NETCON_SOCKET=/run/netcon/attach.sock", "NETCON_CONTAINER=web", "NETCON_MISSING=fail"}
	for _, c := range []struct {
		name    string
		env     []string
		keeps   []string
		preload string
	}{
		{"empty", nil, nil, shim},
		{"others stay", []string{"A=1", "PATH=/bin", "A=1"}, []string{"A=1", "PATH=/bin", "A=1"}, shim},
		{"no value", []string{"ODD", "=C:=x", ""}, []string{"ODD", "=C:=x", ""}, shim},
		{"empty preload", []string{"LD_PRELOAD="}, nil, shim},
		{"one library", []string{"LD_PRELOAD=libjemalloc.so.2"}, nil, "libjemalloc.so.2:" + shim},
		{"with colons and spaces", []string{"LD_PRELOAD=a.so:b.so c.so  d.so:"}, nil, "a.so:b.so:c.so:d.so:" + shim},
		{"ours already", []string{"LD_PRELOAD=" + shim}, nil, shim},
		{"ours of elsewhere", []string{"LD_PRELOAD=a.so:/opt/libnetcon.so:b.so"}, nil, "a.so:b.so:" + shim},
		{"two of them", []string{"LD_PRELOAD=a.so", "LD_PRELOAD=b.so"}, nil, "b.so:" + shim}, // the loader takes the last one
		{
			"from outside", append([]string{"NETCON_MISSING=kernel", "NETCON_ATTACH=3:1", "NETCON_CONTAINER=other", "NETCON_SOCKET=/tmp/x"}, ours...),
			nil, shim,
		},
		{
			"the launcher's",
			[]string{"NETCON_RUN=/tmp/run", "NETCON_SHIM=/tmp/libnetcon.so", "NETCONX=1"},
			[]string{"NETCON_RUN=/tmp/run", "NETCON_SHIM=/tmp/libnetcon.so", "NETCONX=1"},
			shim,
		},
	} {
		before := slices.Clone(c.env)
		got := a.Environ(c.env, shim, MissingFail)
		want := slices.Concat(c.keeps, []string{"LD_PRELOAD=" + c.preload}, ours)
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, want)
		}
		if !slices.Equal(c.env, before) {
			t.Errorf("%s: the caller's environment was changed", c.name)
		}
	}
	if env := a.Environ(nil, shim, MissingKernel); !slices.Contains(env, "NETCON_MISSING=kernel") {
		t.Errorf("%q", env)
	}
}

func TestShim(t *testing.T) {
	dir := testenv.OpenDir(t)
	lib := filepath.Join(dir, "libnetcon.so")
	compile(t, dir, "libnetcon.so", "-shared", "-fPIC")
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o644)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	code, err := os.ReadFile(lib)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, want string }{
		{lib, ""},
		{filepath.Join(dir, "nothing.so"), "no such file"},
		{dir, "not a shared library of this host"},
		{write("text.so", []byte("text")), "not a shared library of this host"},
		{write("half.so", code[:70]), "not a shared library of this host"},
		{write("b32.so", header(elf.ELFCLASS32, elf.EM_386)), "not a shared library of this host"},
		{compile(t, dir, "static", "-static"), "not a shared library of this host"},
		{write("with space/libnetcon.so", code), "a space or colon"},
		{write("with:colon/libnetcon.so", code), "a space or colon"},
	} {
		t.Setenv("NETCON_SHIM", c.path)
		got, err := Shim()
		if c.want == "" && (err != nil || got != c.path) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %q %v, want %q", c.path, got, err, c.want)
		}
	}
	t.Setenv("NETCON_SHIM", "libnetcon.so")
	t.Chdir(dir)
	if got, err := Shim(); err != nil || got != lib {
		t.Errorf("a relative path gives %q %v", got, err)
	}
	// Beside this program there is none.
	t.Setenv("NETCON_SHIM", "")
	if got, err := Shim(); err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("without a library: %q %v", got, err)
	}
}

// TestExec: nothing stands between the caller and the program. A child does it.
func TestExec(t *testing.T) {
	if mode := os.Getenv("LAUNCH_TEST_EXEC"); mode != "" {
		a, err := Attach(os.Getenv("LAUNCH_TEST_SOCKET"), "web")
		if err != nil {
			fmt.Println(err)
			os.Exit(99)
		}
		path, argv := "/bin/sh", []string{"argv0", "-c", `echo "$1 $NETCON_CONTAINER $NETCON_ATTACH $PPID"; test -S /proc/self/fd/${NETCON_ATTACH%%:*} || exit 98; exit 42`, "x", "arg with space"}
		if mode == "fails" {
			path = "/nonexistent"
		}
		err = Exec(path, argv, a.Environ(os.Environ(), "/nonexistent.so", MissingFail))
		fmt.Println(err)
		os.Exit(97)
	}
	f := newFake(t, answerAll)
	run := func(mode string) (string, int, int) {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestExec$")
		cmd.Env = append(os.Environ(), "LAUNCH_TEST_EXEC="+mode, "LAUNCH_TEST_SOCKET="+f.path)
		out, err := cmd.Output()
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
			t.Fatalf("%s: %v\n%s", mode, err, out)
		}
		return strings.TrimSpace(string(out)), cmd.ProcessState.ExitCode(), cmd.Process.Pid
	}
	out, status, _ := run("runs")
	var fd int
	var cookie uint64
	var parent int
	if n, err := fmt.Sscanf(out, "arg with space web %d:%d %d", &fd, &cookie, &parent); n != 3 || err != nil || status != 42 {
		t.Fatalf("status %d, said %q", status, out)
	}
	if parent != os.Getpid() || cookie == 0 || fd < 3 {
		t.Errorf("said %q; our process is %d", out, os.Getpid())
	}
	if out, status, _ = run("fails"); status != 97 || out != "exec /nonexistent: "+unix.ENOENT.Error() {
		t.Errorf("status %d, said %q", status, out)
	}
}
