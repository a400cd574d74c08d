// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"netcon/dataplane"
	"netcon/dataplane/socket"
	"netcon/dataplane/stat"
	"netcon/internal/testenv"
)

// try runs a command line.
func try(args ...string) (status int, stdout, stderr string) {
	var out, err bytes.Buffer
	status = run(args, &out, &err)
	return status, out.String(), err.String()
}

// conf returns a configuration with one container.
func conf(dir, address string) string {
	return fmt.Sprintf(`
[daemon]
runtime_dir = %q
workers = 1

[underlay]
address = %q

[[network]]
name = "net"
vni = 42
subnets = ["10.42.0.0/24"]

[[container]]
name = "web"
network = "net"
addresses = ["10.42.0.10"]
`, dir, address)
}

func write(t testing.TB, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestArguments(t *testing.T) {
	dir := testenv.OpenDir(t)
	t.Setenv("NETCON_RUN", filepath.Join(dir, "run"))
	good := write(t, filepath.Join(dir, "good.toml"), conf("/tmp/x", "127.0.0.1"), 0o644)
	bad := write(t, filepath.Join(dir, "bad.toml"), strings.Replace(conf("/tmp/x", "127.0.0.1"), "vni", "vmi", 1), 0o644)
	script := write(t, filepath.Join(dir, "script"), "#!/bin/sh\n", 0o755)
	data := write(t, filepath.Join(dir, "data"), "text", 0o644)
	c := write(t, filepath.Join(dir, "main.c"), "int main(void) { return 0; }\n", 0o644)
	static, lib := filepath.Join(dir, "static"), filepath.Join(dir, "libnetcon.so")
	testenv.Run(t, nil, "gcc", "-static", "-o", static, c)
	testenv.Run(t, nil, "gcc", "-shared", "-fPIC", "-o", lib, c)
	secure := filepath.Join(dir, "secure")
	testenv.Run(t, nil, "install", "-o", "65534", "-m", "4755", static, secure)
	t.Setenv("NETCON_SHIM", lib)
	for _, c := range []struct {
		args   string // split at spaces
		status int
		stderr string // a part of it; "": nothing at all
	}{
		{"", 2, "usage: netcon COMMAND"},
		{"help", 0, ""},
		{"-h", 0, ""},
		{"--help", 0, ""},
		{"nonsense", 2, `netcon: unknown command "nonsense" (see netcon --help)`},
		{"--nonsense", 2, `unknown command "--nonsense"`},
		{"Status", 2, "unknown command"},

		{"up extra", 2, `netcon up: unexpected argument "extra" (see netcon up --help)`},
		{"up -x", 2, "netcon up: flag provided but not defined: -x (see netcon up --help)"},
		{"up -c", 2, "flag needs an argument: -c"},
		{"up -c /nonexistent.toml", 2, "/nonexistent.toml: open: no such file"},
		{"up -c " + bad, 2, bad + ":"},

		{"check", 2, "netcon check: missing argument: FILE"},
		{"check " + good, 0, ""},
		{"check -json " + good, 0, ""},
		{"check " + bad, 2, "bad.toml:11: network \"net\": key \"vmi\": unknown"},
		{"check " + good + " " + good, 2, "unexpected argument"},
		{"check /nonexistent.toml", 2, "no such file"},
		{"check " + dir, 2, "is a directory"},

		{"exec", 2, "netcon exec: missing argument: [-n CONTAINER]"},
		{"exec --", 2, "missing argument"},
		{"exec -n", 2, "flag needs an argument: -n"},
		{"exec -missing maybe true", 2, `-missing "maybe" (want fail or kernel)`},
		{"exec /nonexistent/program", 127, "netcon: exec /nonexistent/program: "},
		{"exec nonexistent-program", 127, "netcon: exec nonexistent-program: executable file not found in $PATH"},
		{"exec " + data, 126, "permission denied"},
		{"exec " + dir, 126, "is a directory"},
		{"exec " + static, 1, "no daemon"},
		{"exec " + secure, 126, "refused: set-user-ID"},
		{"exec " + script, 1, "no daemon (start one with: netcon up)"},
		{"exec -n web " + script, 1, "no daemon"},
		{"exec -run /nonexistent -- " + script, 1, "/nonexistent/attach.sock: no daemon"},
		{"exec -n " + strings.Repeat("n", 64) + " " + script, 1, "name of 64 bytes"},

		{"status", 1, "no daemon at " + filepath.Join(dir, "run", "control.sock") + " (start one with: netcon up)"},
		{"status -json", 1, "no daemon"},
		{"status extra", 2, "unexpected argument"},
		{"sockets", 1, "no daemon"},
		{"stats -run /nonexistent", 1, "no daemon at /nonexistent/control.sock"},
		{"stats -json=maybe", 2, "invalid boolean value"},
		{"demo extra", 2, "unexpected argument"},

		{"bench extra", 2, "unexpected argument"},
		{"bench -list", 0, ""},
		{"bench -quick -all", 2, "-quick and -all exclude each other"},
		{"bench -systems token-ring", 2, `netcon bench: system "token-ring": unknown (one of alone, kernel-bridge, `},
		{"bench -systems netcon+engine=steam", 2, `engine="steam": unknown (one of gvisor, native)`},
		{"bench -workloads chess", 2, `workload "chess": unknown (one of pingpong-1, `},
		{"bench -rounds 0", 2, "0 rounds: out of range (1 to 1000)"},
		{"bench compare", 2, "missing argument"},
		{"bench compare /nonexistent/a /nonexistent/b", 2, "/nonexistent/a: no such file"},
		{"bench report", 2, "missing argument"},
		{"bench report " + data, 2, "not a results file"},
		{"bench-reap everything", 2, `"everything" is no site`},
		{"version", 0, ""},
		{"version -json", 0, ""},
		{"version extra", 2, "unexpected argument"},
	} {
		status, stdout, stderr := try(strings.Fields(c.args)...)
		if status != c.status || !strings.Contains(stderr, c.stderr) || c.stderr == "" && stderr != "" {
			t.Errorf("netcon %s: status %d, want %d; stderr %q, want %q", c.args, status, c.status, stderr, c.stderr)
		}
		// Answers are on stdout, and nothing else is.
		if (stdout != "") != (c.status == 0) {
			t.Errorf("netcon %s: stdout %q", c.args, stdout)
		}
		if status != 0 && c.args != "" && !strings.Contains(stderr, bad) && (strings.Count(stderr, "\n") != 1 || strings.Contains(stderr, "usage:")) {
			t.Errorf("netcon %s: not one line: %q", c.args, stderr)
		}
	}
}

// TestShimMissing: without the preload library nothing is started.
func TestShimMissing(t *testing.T) {
	t.Setenv("NETCON_SHIM", "/nonexistent/libnetcon.so")
	if status, _, stderr := try("exec", "true"); status != 1 || !strings.Contains(stderr, "find preload library") {
		t.Errorf("status %d: %s", status, stderr)
	}
}

// TestHelp: every command's help says how it is called, shows an example, and
// names all its flags.
func TestHelp(t *testing.T) {
	status, all, _ := try("--help")
	if status != 0 {
		t.Fatal(status)
	}
	for _, cmd := range commands() {
		if !regexp.MustCompile(`(?m)^  ` + cmd.name + ` +` + regexp.QuoteMeta(cmd.short) + `$`).MatchString(all) {
			t.Errorf("netcon --help does not list %s", cmd.name)
		}
		for _, flag := range []string{"--help", "-h", "-help"} {
			status, help, stderr := try(cmd.name, flag)
			if status != 0 || stderr != "" {
				t.Errorf("netcon %s %s: status %d: %s", cmd.name, flag, status, stderr)
			}
			lines := strings.Split(help, "\n")
			if want := strings.TrimSpace("usage: netcon " + cmd.name + " " + cmd.args); strings.TrimSpace(lines[0]) != want || lines[1] != "" {
				t.Errorf("netcon %s: first line %q, want %q", cmd.name, lines[0], want)
			}
			if !strings.Contains(help, "\n  netcon "+cmd.name) {
				t.Errorf("netcon %s: no example:\n%s", cmd.name, help)
			}
			for _, line := range lines {
				if len(line) > 160 || strings.HasSuffix(line, " ") && line != lines[0] || strings.Contains(line, "\t") {
					t.Errorf("netcon %s: line %q", cmd.name, line)
				}
			}
		}
		// What the usage line shows in brackets is a flag, and is explained.
		_, help, _ := try(cmd.name, "--help")
		for _, m := range regexp.MustCompile(`\[-(\w+)`).FindAllStringSubmatch(cmd.args, -1) {
			if !regexp.MustCompile(`(?m)^  -` + m[1] + `\b.*  *\S`).MatchString(help) {
				t.Errorf("netcon %s: flag -%s is not explained:\n%s", cmd.name, m[1], help)
			}
		}
	}
}

const checkHelp = `usage: netcon check FILE

Validates FILE without privileges and without touching anything. Prints one line
per error, with file and line number, and ends with status 2 if there is any.

  netcon check netcon.toml

Flags:
  -json              print the configuration with its defaults as JSON
`

func TestHelpText(t *testing.T) {
	if _, help, _ := try("check", "--help"); help != checkHelp {
		t.Errorf("got\n%s\nwant\n%s", help, checkHelp)
	}
}

func TestVersion(t *testing.T) {
	_, out, _ := try("version")
	if want := fmt.Sprintf("netcon %s (%s, %s/%s)\n", dataplane.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH); out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	_, out, _ = try("version", "-json")
	var v map[string]string
	if err := json.Unmarshal([]byte(out), &v); err != nil || len(v) != 3 || v["version"] != dataplane.Version() || v["go"] == "" || v["platform"] == "" {
		t.Errorf("%s: %v", out, err)
	}
}

// output is what a command that runs writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// TestUp runs a daemon as a service manager would, asks it everything, and ends
// it.
func TestUp(t *testing.T) {
	dir := testenv.OpenDir(t)
	runtimeDir := filepath.Join(dir, "run")
	t.Setenv("NETCON_RUN", runtimeDir)
	file := write(t, filepath.Join(dir, "netcon.toml"), conf(runtimeDir, "127.88.1.1"), 0o644)
	var stderr output
	done := make(chan int, 1)
	go func() { done <- run([]string{"up", "-c", file}, &bytes.Buffer{}, &stderr) }()
	testenv.WaitFor(t, 5*time.Second, func() bool {
		select {
		case status := <-done:
			t.Fatalf("ended with status %d: %s", status, stderr.String())
		default:
		}
		status, _, _ := try("status")
		return status == 0
	}, "the daemon to run")
	testenv.WaitFor(t, 5*time.Second, func() bool { return strings.Contains(stderr.String(), "msg=up") }, "its first line")

	for cmd, want := range map[string]string{"status": "web", "stats": "container web\n", "sockets": "CONTAINER"} {
		status, out, complaint := try(cmd)
		if status != 0 || complaint != "" || !strings.Contains(out, want) {
			t.Errorf("netcon %s: status %d\n%s%s", cmd, status, out, complaint)
		}
		status, out, complaint = try(cmd, "-json")
		if status != 0 || complaint != "" || !json.Valid([]byte(out)) || strings.Contains(out, "null") {
			t.Errorf("netcon %s -json: status %d\n%s%s", cmd, status, out, complaint)
		}
		if _, other, _ := try(cmd, "--json", "-run", runtimeDir); cmd == "sockets" && other != out {
			t.Errorf("netcon %s --json: %s, want %s", cmd, other, out)
		}
	}

	hup := func(text, want string) {
		t.Helper()
		write(t, file, text, 0o644)
		before := strings.Count(stderr.String(), want)
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		testenv.WaitFor(t, 5*time.Second, func() bool { return strings.Count(stderr.String(), want) > before }, "%q in the log", want)
	}
	more := conf(runtimeDir, "127.88.1.1") + "[[container]]\nname = \"db\"\nnetwork = \"net\"\naddresses = [\"10.42.0.11\"]\n"
	hup(more, `container \"db\": added`)
	if _, out, _ := try("status"); !strings.Contains(out, "\ndb ") {
		t.Errorf("after the reload:\n%s", out)
	}
	hup("nonsense", "configuration not reloaded")
	hup(more, "change=none")

	// A second one in the same place.
	if status, _, complaint := try("up", "-c", file); status != 1 || !strings.Contains(complaint, "another daemon answers there") {
		t.Errorf("a second daemon: status %d: %s", status, complaint)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case status := <-done:
		if status != 0 || !strings.Contains(stderr.String(), "msg=down") {
			t.Errorf("ended with status %d: %s", status, stderr.String())
		}
	case <-time.After(5 * time.Second):
		t.Fatal("SIGTERM did not end it")
	}
}

func TestPrintStatus(t *testing.T) {
	var b bytes.Buffer
	printStatus(&b, dataplane.Status{
		Version: "v1", PID: 7, UptimeSec: 3661.9, RuntimeDir: "/run/netcon",
		Underlay: dataplane.UnderlayStatus{Kind: "udp", Address: "192.0.2.1:4789", MTU: 1500, Features: "gso"},
		Workers:  []dataplane.WorkerStatus{{CPU: -1, Containers: 2, RxFrames: 3, TxFrames: 4}, {Index: 1, CPU: 5}},
		Networks: []dataplane.NetworkStatus{
			{Name: "net", VNI: 42, MTU: 1450, Subnets: []string{"10.42.0.0/24", "fd42::/64"}, Members: 1},
			{Name: "open", Learn: true, Learned: 9},
		},
		Containers: []dataplane.ContainerStatus{{
			Name: "web", Network: "net", Addresses: []string{"10.42.0.10"}, Engine: "gvisor", Mode: "pump",
			Policy: "host", Sockets: 3, BytesIn: 1023, BytesOut: 5 << 30, Restarts: 1,
			Published: []dataplane.Published{{Host: "0.0.0.0:8080", Port: 80, Proto: "tcp"}, {Host: "[::1]:81", Port: 81, Proto: "tcp", PID: 12}},
		}},
	})
	const want = `netcon v1, pid 7, up 1h1m1s, /run/netcon
underlay udp 192.0.2.1:4789, mtu 1500, gso
worker 0 (not pinned): 2 containers, 3 frames in, 4 out
worker 1 (cpu 5): 0 containers, 0 frames in, 0 out

NETWORK  VNI  MTU   SUBNETS                 VTEPS  MEMBERS  LEARNED
net      42   1450  10.42.0.0/24,fd42::/64  -      1        0
open     0    0     -                       any    0        9

CONTAINER  NETWORK  ADDRESSES   POLICY  WORKER  ENGINE  MODE  SOCKETS  IN     OUT     RESTARTS
web        net      10.42.0.10  host    0       gvisor  pump  3        1023B  5.0GiB  1

PUBLISHED     PROTOCOL  CONTAINER  PORT  PID
0.0.0.0:8080  tcp       web        80    -
[::1]:81      tcp       web        81    12
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestPrintSockets(t *testing.T) {
	var b bytes.Buffer
	printSockets(&b, []dataplane.Socket{
		{Container: "web", Info: socket.Info{Protocol: "tcp", State: "LISTEN", Local: netip.MustParseAddrPort("[::]:80"), SendQueue: 511, PID: 9, Mode: "pump"}},
		{Container: "web", Info: socket.Info{
			Protocol: "udp", State: "ESTAB", Local: netip.MustParseAddrPort("10.42.0.10:80"), Drops: 7,
			Remote: netip.MustParseAddrPort("10.42.0.20:4000"), RecvQueue: 5, BytesIn: 2048, Mode: "pump",
		}},
	})
	for _, want := range []string{"CONTAINER  PROTO  STATE", "web        tcp    LISTEN", "web        udp    ESTAB", "[::]:80", "10.42.0.20:4000", "2.0KiB"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if n := strings.Count(b.String(), "\n"); n != 3 {
		t.Errorf("%d lines", n)
	}
}

func TestPrintStats(t *testing.T) {
	one := stat.Snapshot{Counters: map[string]uint64{"tx_frames": 2, "rx_frames": 1}, Drops: map[string]uint64{"no_route": 3}}
	var b bytes.Buffer
	printStats(&b, dataplane.Stats{Total: one, Workers: []stat.Snapshot{one}, Containers: map[string]stat.Snapshot{"b": one, "a": {}}})
	block := "  rx_frames              1\n  tx_frames              2\n  drop no_route          3\n"
	if want := "total\n" + block + "worker 0\n" + block + "container a\ncontainer b\n" + block + "control\n"; b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0B", 1023: "1023B", 1024: "1.0KiB", 1536: "1.5KiB", 1<<20 - 1: "1024.0KiB", 1 << 20: "1.0MiB", 1 << 40: "1.0TiB",
		1<<64 - 1: "16.0EiB",
	} {
		if got := size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

// TestCheckWayOut: check says what leads out of a network, and into it.
func TestCheckWayOut(t *testing.T) {
	file := filepath.Join(t.TempDir(), "netcon.toml")
	text := "[underlay]\naddress = \"127.0.0.1\"\n[[network]]\nname = \"blue\"\nvni = 1\nsubnets = [\"10.0.0.0/24\"]\n" +
		"[[container]]\nname = \"in\"\nnetwork = \"blue\"\naddresses = [\"10.0.0.1\"]\n" +
		"[[container]]\nname = \"out\"\nnetwork = \"blue\"\naddresses = [\"10.0.0.2\"]\npolicy = \"host\"\npublish = [\"[::]:8080:80\", \"5353:53/udp\"]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if status := run([]string{"check", file}, &out, &errs); status != exitOK {
		t.Fatalf("status %d: %s", status, errs.String())
	}
	want := file + ": ok: 1 networks, 2 containers, underlay udp 127.0.0.1\n" +
		"  container \"out\": policy host\n  container \"out\": publishes [::]:8080:80/tcp\n  container \"out\": publishes 0.0.0.0:5353:53/udp\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
