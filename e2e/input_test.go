// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"netcon/internal/testenv"
)

// TestBadConfiguration runs netcon check and netcon up on bad files.
func TestBadConfiguration(t *testing.T) {
	good := hostConf("127.0.0.1", "127.0.0.2", pair{}, "web", web4, web6)
	for _, c := range []struct {
		name, old, new string
		want           string // after FILE:
	}{
		{"unknown key", "vni = 42", "vni = 42\nvtep = [\"127.0.0.9\"]", `\d+: .*vtep`},
		{"bad value", "vni = 42", "vni = 16777216", `\d+: .*16777216.*0 to 16777215`},
		{"bad address", web4, "10.42.0.256", `\d+: .*10\.42\.0\.256`},
		{"duplicate VNI", "[[container]]", "[[network]]\nname = \"red\"\nvni = 42\nsubnets = [\"10.1.0.0/16\"]\n[[container]]", `\d+: .*42`},
		{"not TOML", "[underlay]", "[underlay", `\d+: `},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "netcon.toml")
			if err := os.WriteFile(file, []byte(strings.Replace(good, c.old, c.new, 1)), 0o644); err != nil {
				t.Fatal(err)
			}
			for _, argv := range [][]string{{"check", file}, {"up", "-c", file}} {
				status, stderr := refusedBy(t, exec.Command(netcon(t), argv...))
				if status != 2 {
					t.Errorf("netcon %v: exit status %d, want 2", argv, status)
				}
				line := strings.TrimSpace(stderr)
				if strings.Contains(line, "\n") || !regexp.MustCompile("^"+regexp.QuoteMeta(file)+":"+c.want).MatchString(line) {
					t.Errorf("netcon %v printed:\n%s\nwant one line %s:%s", argv, stderr, file, c.want)
				}
			}
		})
	}
	t.Run("unreadable file", func(t *testing.T) {
		status, stderr := refusedBy(t, exec.Command(netcon(t), "check", "/nonexistent/netcon.toml"))
		if status != 2 || !strings.Contains(stderr, "/nonexistent/netcon.toml") {
			t.Errorf("exit status %d: %s", status, stderr)
		}
	})
}

// refusedBy runs a command that is to fail.
func refusedBy(t *testing.T, cmd *exec.Cmd) (status int, stderr string) {
	t.Helper()
	var b strings.Builder
	cmd.Stderr = &b
	timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	if err := cmd.Run(); err == nil {
		t.Errorf("%v succeeded", cmd.Args)
	}
	return cmd.ProcessState.ExitCode(), b.String()
}

// TestRefusedPrograms checks that what nobody could answer the calls of is refused
// in one line.
func TestRefusedPrograms(t *testing.T) {
	h := startPair(t, pair{})
	dir := testenv.OpenDir(t)
	for name, kind := range map[string]string{"static": "-static", "dynamic": "-pie"} {
		plain, file := filepath.Join(dir, name), filepath.Join(dir, "secure-"+name)
		testenv.Run(t, nil, "gcc", kind, "-o", plain, "testdata/peer.c")
		testenv.Run(t, nil, "install", "-o", "65534", "-m", "4755", plain, file)
		argv := append(h.a.exec("web"), file)
		status, stderr := refusedBy(t, exec.Command(argv[0], argv[1:]...))
		if status != 126 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "refused: set-user-ID") {
			t.Errorf("%s program: exit status %d: %q", name, status, stderr)
		}
	}
	argv := append(h.a.exec("web"), "/nonexistent/program")
	if status, stderr := refusedBy(t, exec.Command(argv[0], argv[1:]...)); status != 127 {
		t.Errorf("missing program: exit status %d: %q", status, stderr)
	}
	out, err := h.a.try("web", 10*time.Second, "sh", "-c", "exit 42")
	if err == nil || !strings.Contains(err.Error(), "exit status 42") {
		t.Errorf("exit status is not the program's: %v %s", err, out)
	}
}

// TestGarbage throws bytes at every socket of a daemon.
func TestGarbage(t *testing.T) {
	h := startPair(t, pair{})
	s, err := h.a.Status()
	if err != nil {
		t.Fatal(err)
	}
	// The underlay: from a VTEP nobody knows, and from the known one.
	before := h.a.stats(t).Total.Drops
	for _, from := range []string{"127.0.0.1", vtepOf(t, h.b)} {
		c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(from)}, net.UDPAddrFromAddrPort(mustAddrPort(t, s.Underlay.Address)))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{1, 7, 8, 21, 22, 60, 1400, 65000} {
			b := testenv.RandomBytes(n, byte(n))
			_, _ = c.Write(b)
			if n > 8 {
				copy(b, []byte{8, 0, 0, 0, 0, 0, 42, 0}) // VXLAN, VNI 42
				_, _ = c.Write(b)
			}
		}
		_ = c.Close()
	}
	// 2 x (8 + 5) datagrams, each counted once.
	testenv.WaitFor(t, 5*time.Second, func() bool {
		n := uint64(0)
		for reason, v := range h.a.stats(t).Total.Drops {
			n += v - before[reason]
		}
		return n == 2*(8+5)
	}, "26 frames to be counted: %v", h.a.stats(t).Total.Drops)

	// The administration socket.
	c, err := net.Dial("unix", filepath.Join(h.a.dir, "run", "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = c.Write([]byte("\x00\x01\x02 garbage\r\n\r\n"))
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, _ = c.Read(make([]byte, 4096))
	_ = c.Close()
	// The attach socket: not a handshake, and nothing at all.
	for _, b := range [][]byte{{}, []byte("hello"), testenv.RandomBytes(72, 1), testenv.RandomBytes(4096, 2)} {
		c, err := net.Dial("unixpacket", filepath.Join(h.a.dir, "run", "attach.sock"))
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 0 {
			_, _ = c.Write(b)
		}
		_ = c.Close()
	}
	testenv.WaitFor(t, 5*time.Second, func() bool {
		d := h.a.stats(t).Control.Drops
		return d["control_malformed"] >= 1 && d["control_garbage"] >= 3
	}, "garbage to be counted")
	h.a.run(t, "web", 10*time.Second, "true") // it still serves
}

// TestOtherUser checks that another user can neither attach nor administer.
func TestOtherUser(t *testing.T) {
	testenv.NeedRoot(t)
	h := startPair(t, pair{})
	bin := testenv.OpenDir(t)
	for _, f := range []string{"netcon", "libnetcon.so"} {
		testenv.Run(t, nil, "install", "-m", "755", filepath.Join(buildDir(), f), bin)
	}
	run := filepath.Join(h.a.dir, "run")
	stranger := []string{"setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", "--", filepath.Join(bin, "netcon")}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"exec", "-run", run, "-n", "web", "--", "true"}, "operation not permitted"},
		{[]string{"status", "-run", run}, "permission denied"},
	} {
		argv := append(stranger[:len(stranger):len(stranger)], c.args...)
		status, stderr := refusedBy(t, exec.Command(argv[0], argv[1:]...))
		if status != 1 || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: exit status %d: %q, want %q", c.args, status, stderr, c.want)
		}
	}
	if n := h.a.stats(t).Control.Drops["control_refused"]; n == 0 {
		t.Error("the refusal was not counted")
	}
}

// TestReload changes a configuration under a running daemon.
func TestReload(t *testing.T) {
	h := startPair(t, pair{})
	text := readConfig(t, h.a)
	extra := "\n[[container]]\nname = \"late\"\nnetwork = \"blue\"\naddresses = [\"10.42.0.3\"]\n"
	file := filepath.Join(h.a.dir, "netcon.toml")
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
		h.a.Signal(t, syscall.SIGHUP)
	}
	write(text + extra)
	testenv.WaitFor(t, 5*time.Second, func() bool {
		s, err := h.a.Status()
		return err == nil && len(s.Containers) == 2
	}, "the new container")
	h.a.begin(t, "late", "listening", peer(t), "serve", "10.42.0.3", "700")
	h.b.run(t, "client", 10*time.Second, peer(t), "churn", "10.42.0.3", "700", "3")

	write(strings.Replace(text, "workers = 1", "workers = 2", 1))
	h.a.WaitOutput(t, 5*time.Second, "not reloaded")
	testenv.WaitFor(t, 5*time.Second, func() bool {
		s, err := h.a.Status()
		return err == nil && len(s.Containers) == 1
	}, "the container to go")

	write("[daemon")
	h.a.WaitOutput(t, 5*time.Second, "configuration not reloaded")
	h.a.run(t, "web", 10*time.Second, "true")
	if err := h.a.Stop(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	for _, f := range []string{"attach.sock", "control.sock"} {
		if _, err := os.Stat(filepath.Join(h.a.dir, "run", f)); err == nil {
			t.Errorf("%s is left behind", f)
		}
	}
}

// TestDemo runs the demo without any capability.
func TestDemo(t *testing.T) {
	bin := testenv.OpenDir(t)
	for _, f := range []string{"netcon", "libnetcon.so"} {
		testenv.Run(t, nil, "install", "-m", "755", filepath.Join(buildDir(), f), bin)
	}
	argv := []string{filepath.Join(bin, "netcon"), "demo"}
	if os.Geteuid() == 0 {
		argv = append([]string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "-all", "--"}, argv...)
	}
	out, err := testenv.Try(nil, time.Minute, argv...)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(out)
	for _, want := range []string{"SHA-256 equal", "0 kernel TCP sockets", "cleaned up"} {
		if !strings.Contains(out, want) {
			t.Errorf("the demo did not say %q", want)
		}
	}
}

// TestDemoOnNIC runs the demo as root, which has a second part.
func TestDemoOnNIC(t *testing.T) {
	testenv.NeedRoot(t)
	out, err := testenv.Try(nil, time.Minute, netcon(t), "demo")
	if err != nil {
		t.Fatal(err)
	}
	_, nic, _ := strings.Cut(out, "(b)")
	t.Log(nic)
	for _, want := range []string{
		"AF_XDP on eth0, native", "ping fd77::1: 20 packets transmitted", "SHA-256 equal", "requests per second",
		"0 TCP segments and 0 UDP datagrams", "cleaned up",
	} {
		if !strings.Contains(nic, want) {
			t.Errorf("the demo did not say %q", want)
		}
	}
}

// TestDemoInterrupted ends the demo in the middle of each part, as Ctrl-C does,
// and looks for what it left behind.
func TestDemoInterrupted(t *testing.T) {
	parts := map[string]string{"a": "stock nginx, master and 2 workers"}
	if os.Geteuid() == 0 {
		parts["b"] = "stock: the kernel's own vxlan device"
	}
	for part, middle := range parts {
		t.Run(part, func(t *testing.T) { interruptDemo(t, middle) })
	}
}

func interruptDemo(t *testing.T, middle string) {
	tmp := testenv.OpenDir(t)
	if err := os.Chmod(tmp, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(netcon(t), "demo")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	p := testenv.StartCmd(t, cmd)
	p.WaitOutput(t, 30*time.Second, middle)
	began := time.Now()
	p.Signal(t, syscall.SIGINT)
	if err := p.Wait(t, 20*time.Second); err == nil {
		t.Error("an interrupted demo ended with status 0")
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v to end", took)
	}
	left, err := os.ReadDir(tmp)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
	if left := glob(t, fmt.Sprintf("/run/netns/netcon-demo-%d-*", p.Pid())); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	for _, proc := range glob(t, "/proc/[0-9]*/cmdline") {
		if b, err := os.ReadFile(proc); err == nil && strings.Contains(string(b), tmp) {
			t.Errorf("still runs: %q", b)
		}
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func vtepOf(t *testing.T, d *daemon) string {
	t.Helper()
	s, err := d.Status()
	if err != nil {
		t.Fatal(err)
	}
	return mustAddrPort(t, s.Underlay.Address).Addr().String()
}

func mustAddrPort(t *testing.T, s string) netip.AddrPort {
	t.Helper()
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
