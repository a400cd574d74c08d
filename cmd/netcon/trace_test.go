// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"netcon/dataplane"
	"netcon/dataplane/config"
	"netcon/internal/testenv"
)

// tracedDaemon runs a daemon with a container "web" where NETCON_RUN points.
func tracedDaemon(t *testing.T, address string) {
	t.Helper()
	dir := filepath.Join(testenv.OpenDir(t), "run")
	t.Setenv("NETCON_RUN", dir)
	cfg, err := config.Parse("test.toml", []byte(conf(dir, address)))
	if err != nil {
		t.Fatal(err)
	}
	d, err := dataplane.New(cfg, dataplane.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestTraceArguments(t *testing.T) {
	t.Setenv("NETCON_RUN", "/nonexistent")
	for _, c := range []struct {
		args   string
		status int
		stderr string
	}{
		{"trace extra", 2, `netcon trace: unexpected argument "extra" (see netcon trace --help)`},
		{"trace -layer middle", 2, `netcon trace: layer "middle" (want inner, outer or both) (see`},
		{"trace -Q up", 2, `direction "up" (want in, out or inout)`},
		{"trace -snaplen 10", 2, `snaplen "10" (want 64 to 262144 bytes)`},
		{"trace -snaplen x", 2, "invalid value"},
		{"trace -c -1", 2, "invalid value"},
		{"trace -d -1s", 2, `duration "-1s" (want one like 10s, above zero)`},
		{"trace -d 10", 2, "invalid value"},
		{"trace", 1, "netcon: no daemon at /nonexistent/control.sock (start one with: netcon up)"},
		{"trace -run /tmp/nowhere", 1, "no daemon at /tmp/nowhere"},
	} {
		status, stdout, stderr := try(strings.Fields(c.args)...)
		if status != c.status || !strings.Contains(stderr, c.stderr) || stdout != "" {
			t.Errorf("netcon %s: status %d, want %d; stdout %q\n%s", c.args, status, c.status, stdout, stderr)
		}
	}
	if _, help, _ := try("trace", "--help"); !strings.Contains(help, "netcon trace -n web | tshark -r -") ||
		!strings.Contains(help, "ssh host netcon trace | wireshark -k -i -") {
		t.Errorf("the help has no examples:\n%s", help)
	}
}

// section is how a pcapng stream starts on a little-endian machine.
var section = []byte{0x0a, 0x0d, 0x0d, 0x0a}

func TestTraceOutput(t *testing.T) {
	tracedDaemon(t, "127.88.4.1")
	summary := regexp.MustCompile(`^netcon: \d+ packets, 0 dropped\n$`)
	file := filepath.Join(t.TempDir(), "out.pcapng")
	for _, c := range []struct {
		args, file string
		quiet      bool
	}{
		{"-d 50ms", "", false},
		{"-d 50ms -q -w -", "", true},
		{"-d 50ms -w " + file, file, false},
		{"-n web -layer both -Q in -snaplen 100 -d 50ms --q", "", true},
	} {
		status, stdout, stderr := try(append([]string{"trace"}, strings.Fields(c.args)...)...)
		stream := []byte(stdout)
		if c.file != "" {
			var err error
			if stream, err = os.ReadFile(c.file); err != nil || stdout != "" {
				t.Errorf("%s: %v; stdout %q", c.args, err, stdout)
			}
			if st, err := os.Stat(c.file); err != nil || st.Mode().Perm() != 0o600 {
				t.Errorf("%s: mode %v, want 600", c.args, st.Mode())
			}
		}
		if status != 0 || !bytes.HasPrefix(stream, section) || !bytes.Contains(stream, []byte("web")) {
			t.Errorf("%s: status %d, stream %.80q", c.args, status, stream)
		}
		if c.quiet && stderr != "" || !c.quiet && !summary.MatchString(stderr) {
			t.Errorf("%s: stderr %q", c.args, stderr)
		}
	}

	missing := filepath.Join(t.TempDir(), "file")
	status, stdout, stderr := try("trace", "-n", "nobody", "-w", missing)
	if want := "netcon: trace: container \"nobody\": unknown (have web)\n"; status != 1 || stdout != "" || stderr != want {
		t.Errorf("unknown container: status %d: %s%s", status, stdout, stderr)
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("a trace that did not begin left a file")
	}
	status, _, stderr = try("trace", "-w", "/nonexistent/file")
	if status != 1 || !strings.Contains(stderr, "netcon: write the trace: open /nonexistent/file: no such file") {
		t.Errorf("no such directory: status %d: %s", status, stderr)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// TestTraceReaderGone: that is how a trace ends, not how it fails.
func TestTraceReaderGone(t *testing.T) {
	tracedDaemon(t, "127.88.4.2")
	for _, c := range []struct {
		err    error
		status int
		stderr string
	}{
		{fmt.Errorf("write: %w", syscall.EPIPE), 0, ""},
		{syscall.ENOSPC, 1, "netcon: write the trace: no space left on device\n"},
	} {
		var stderr bytes.Buffer
		if status := run([]string{"trace"}, failing{c.err}, &stderr); status != c.status || stderr.String() != c.stderr {
			t.Errorf("%v: status %d: %s", c.err, status, stderr.String())
		}
	}
}

// stoppedWriter takes nothing until it ends.
type stoppedWriter struct {
	begin func()
	end   chan struct{}
}

func (w *stoppedWriter) Write(b []byte) (int, error) {
	w.begin()
	<-w.end
	return len(b), nil
}

// TestTraceReaderStopped: a reader that has stopped does not keep the command
// from ending.
func TestTraceReaderStopped(t *testing.T) {
	tracedDaemon(t, "127.88.4.3")
	ctx, cancel := context.WithCancel(context.Background())
	stopped := &stoppedWriter{begin: cancel, end: make(chan struct{})}
	defer close(stopped.end)
	if _, err := trace(ctx, dataplane.NewClient(os.Getenv("NETCON_RUN")), dataplane.TraceOptions{}, stopped); err != errTraceCut {
		t.Errorf("got %v", err)
	}
}

// TestTraceTerminal: nobody wants binary on a screen.
func TestTraceTerminal(t *testing.T) {
	t.Setenv("NETCON_RUN", "/nonexistent")
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = master.Close() }()
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = terminal.Close() }()
	var stderr bytes.Buffer
	if status := run([]string{"trace"}, terminal, &stderr); status != 2 || !strings.Contains(stderr.String(), "tshark -r -") {
		t.Errorf("status %d: %s", status, stderr.String())
	}
	stderr.Reset()
	if status := run([]string{"trace", "-w", "/tmp/x"}, terminal, &stderr); status != 1 || !strings.Contains(stderr.String(), "no daemon") {
		t.Errorf("to a file: status %d: %s", status, stderr.String())
	}
}

func TestTraceSummary(t *testing.T) {
	for want, s := range map[string]dataplane.TraceSummary{
		"netcon: 3 packets, 0 dropped\n":                                                   {Packets: 3, End: dataplane.TraceEndReader},
		"netcon: 3 packets, 7 dropped (the reader was too slow)\n":                         {Packets: 3, Dropped: 7, End: dataplane.TraceEndCount},
		"netcon: 0 packets, 0 dropped, until the daemon ended\n":                           {End: dataplane.TraceEndDaemon},
		"netcon: 1 packets, 2 dropped (the reader was too slow), until the daemon ended\n": {Packets: 1, Dropped: 2, End: dataplane.TraceEndDaemon},
	} {
		var b bytes.Buffer
		if printTraceSummary(&b, s); b.String() != want {
			t.Errorf("%q, want %q", b.String(), want)
		}
	}
}
