// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/config"
	"netcon/dataplane/launch"
	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
	"netcon/internal/testenv"
)

// TestTwoDaemons: two daemons of one process, twenty times: each hears the
// other, and nothing stays behind.
func TestTwoDaemons(t *testing.T) {
	var was traces
	for i := range 20 {
		dirs := []string{runDir(t), runDir(t)}
		var ds []*daemon
		for n, dir := range dirs {
			ds = append(ds, start(t, parse(t, text(dir, n+1))))
		}
		// The second one announced its containers to the first.
		testenv.WaitFor(t, 5*time.Second, func() bool {
			s := ds[0].Status()
			return s.Networks[0].Learned == 2
		}, "host 1 to learn where the containers of host 2 are")
		if i == 19 {
			check(t, ds[0])
		}
		for n, d := range ds {
			if err := d.stop(); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{config.AttachSocket, config.ControlSocket} {
				if has(filepath.Join(d.dir, name)) {
					t.Errorf("%s was left behind", name)
				}
			}
			// Whoever asks now gets an answer, not a hang.
			_, _, _ = d.Status(), d.Sockets(), d.Stats()
			if d.Reload(parse(t, text(d.dir, n+1))) == nil {
				t.Error("a daemon that has ended was reloaded")
			}
		}
		if i == 0 { // what Go and gVisor start once
			was = look(t)
		}
	}
	was.settle(t, "19 pairs of daemons")
}

// check looks at what a running daemon says of itself.
func check(t *testing.T, d *daemon) {
	t.Helper()
	s := d.Status()
	if s.Version == "" || s.PID != os.Getpid() || s.RuntimeDir != d.dir || s.UptimeSec <= 0 {
		t.Errorf("status %+v", s)
	}
	if u := s.Underlay; u.Kind != "udp" || u.Address != "127.88.0.1:4789" || u.MTU < 1500 || u.Features == "" {
		t.Errorf("underlay %+v", u)
	}
	if len(s.Workers) != 2 || s.Workers[0].Containers != 1 || s.Workers[1].Containers != 1 ||
		s.Workers[0].RxFrames+s.Workers[1].RxFrames == 0 || s.Workers[0].Turns == 0 {
		t.Errorf("workers %+v", s.Workers)
	}
	if len(s.Containers) != 2 || s.Containers[0].Name != "one" || s.Containers[0].Addresses[1] != "fd42::11" ||
		s.Containers[1].Worker != 1 || s.Containers[0].MTU != s.Networks[0].MTU || s.Containers[0].Restarts != 0 {
		t.Errorf("containers %+v", s.Containers)
	}
	if n := s.Networks[0]; n.VNI != 42 || n.Members != 2 || len(n.VTEPs) != 1 || n.MTU != s.Underlay.MTU-wire.OverheadIPv4 {
		t.Errorf("network %+v", n)
	}
	if x := d.Stats(); x.Total.Counters["rx_frames"] == 0 || len(x.Workers) != 2 || len(x.Containers) != 2 || x.Containers["one"].Counters["arp_tx"] == 0 {
		t.Errorf("stats %+v", x)
	}
}

// TestSecondDaemon: a second daemon on the same address, or in the same
// directory, is told so, leaves nothing, and the first one goes on.
func TestSecondDaemon(t *testing.T) {
	dir, dir2 := runDir(t), runDir(t)
	first := start(t, parse(t, text(dir, 1)))
	was := look(t)
	for _, c := range []struct{ name, text, want string }{
		{"same address", text(dir2, 1), "127.88.0.1:4789"},
		{"same directory", text(dir, 2), "another daemon answers there"},
		{"same file", text(dir, 1), "another daemon answers there"},
	} {
		d, err := New(parse(t, c.text), Options{})
		if d != nil || err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("%s: got %v, want an error that says %q", c.name, err, c.want)
		}
		was.settle(t, c.name)
	}
	if entries, err := os.ReadDir(dir2); err != nil || len(entries) != 0 {
		t.Errorf("left in the second directory: %v %v", entries, err)
	}
	for _, name := range []string{config.AttachSocket, config.ControlSocket} {
		if !has(filepath.Join(dir, name)) {
			t.Errorf("the first daemon lost its %s", name)
		}
	}
	if s, err := first.client().Status(); err != nil || len(s.Containers) != 2 {
		t.Errorf("the first daemon: %v", err)
	}
}

// TestNewFails: an error late in New leaves nothing either.
func TestNewFails(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*config.Config)
		before func(dir string) error
		want   string
	}{
		{"MTU too small", func(c *config.Config) { c.Underlay.MTU = 700 }, nil, `container "one": the underlay leaves an MTU of 650 bytes`},
		{"same MAC twice", func(c *config.Config) { c.Containers[1].MAC = c.Containers[0].MAC }, nil, "duplicate member mac"},
		{"not our address", func(c *config.Config) { c.Underlay.Address = c.Containers[0].Addresses[0] }, nil, "10.42.0.11"},
		{"a directory for a socket", nil, func(dir string) error {
			return os.MkdirAll(filepath.Join(dir, config.ControlSocket, "x"), 0o755)
		}, "administration socket"},
		{"a file for a socket", nil, func(dir string) error {
			return errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, config.AttachSocket), nil, 0o600))
		}, "it is no socket"},
		{"no directory", func(c *config.Config) { c.Daemon.RuntimeDir = "/proc/netcon" }, nil, "/proc/netcon"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := parse(t, text(runDir(t), 1))
			if c.change != nil {
				c.change(cfg)
			}
			if c.before != nil {
				if err := c.before(cfg.Daemon.RuntimeDir); err != nil {
					t.Fatal(err)
				}
			}
			was := look(t)
			d, err := New(cfg, Options{})
			if d != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want an error that says %q", err, c.want)
			}
			was.settle(t, "it")
			if st, err := os.Lstat(cfg.Daemon.AttachPath()); err == nil && st.Mode().Type() == os.ModeSocket {
				t.Error("the attach socket was left behind")
			}
		})
	}
}

// TestStaleSockets: the sockets of a daemon that was killed are no obstacle.
func TestStaleSockets(t *testing.T) {
	dir := runDir(t)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, network := range map[string]string{config.AttachSocket: "unixpacket", config.ControlSocket: "unix"} {
		l, err := net.ListenUnix(network, &net.UnixAddr{Name: filepath.Join(dir, name), Net: network})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		_ = l.Close()
	}
	start(t, parse(t, text(dir, 1)))
}

func TestRunFails(t *testing.T) {
	cfg := parse(t, text(runDir(t), 1))
	cfg.Daemon.CPUs = []int{0, 1000}
	was := look(t)
	d, err := New(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "cpu 1000") {
		t.Errorf("got %v, want an error that names cpu 1000", err)
	}
	was.settle(t, "the daemon")
	if has(AttachPath(cfg.Daemon.RuntimeDir)) || has(AdminPath(cfg.Daemon.RuntimeDir)) {
		t.Error("a socket was left behind")
	}
}

// TestEndAtOnce: a daemon whose context has ended before Run.
func TestEndAtOnce(t *testing.T) {
	was := look(t)
	d, err := New(parse(t, text(runDir(t), 1)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Run(ctx); err != nil {
		t.Error(err)
	}
	was.settle(t, "the daemon")
}

func TestRuntimeDir(t *testing.T) {
	top := testenv.OpenDir(t)
	mkdir := func(name string, mode os.FileMode) string {
		dir := filepath.Join(top, name)
		if err := errors.Join(os.Mkdir(dir, 0o755), os.Chmod(dir, mode)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	owned := mkdir("foreign", 0o755)
	if err := os.Chown(owned, stranger, stranger); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(top, "link")
	file := filepath.Join(top, "file")
	if err := errors.Join(os.Symlink(mkdir("target", 0o755), link), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ dir, want string }{
		{filepath.Join(top, "new", "deep"), ""},
		{mkdir("there", 0o755), ""},
		{mkdir("private", 0o700), ""},
		{filepath.Join(mkdir("sticky", 0o777|os.ModeSticky), "run"), ""},
		{owned, "belongs to user 65534, not to us"},
		{mkdir("group", 0o775), "writable by others (mode 775"},
		{mkdir("world", 0o757), "writable by others (mode 757"},
		{filepath.Join(mkdir("open", 0o777), "run"), "everybody may replace it (mode 777"},
		{link, "not a directory"},
		{file, "not a directory"},
		{filepath.Join(file, "below"), "not a directory"},
	} {
		err := makeRuntimeDir(c.dir)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.dir, err, c.want)
		}
		if st, e := os.Stat(c.dir); c.want == "" && (e != nil || st.Mode().Perm()&0o022 != 0) {
			t.Errorf("%s: %v", c.dir, e)
		}
	}
	// A daemon refuses in the same way, before it takes anything.
	was := look(t)
	if _, err := New(parse(t, text(link, 1)), Options{}); err == nil || has(filepath.Join(top, "target", config.AttachSocket)) {
		t.Errorf("New: %v", err)
	}
	was.settle(t, "New")
}

// TestDefaultRuntimeDir: where commands look for a daemon.
func TestDefaultRuntimeDir(t *testing.T) {
	t.Setenv("NETCON_RUN", "/somewhere")
	if dir := DefaultRuntimeDir(); dir != "/somewhere" {
		t.Errorf("with NETCON_RUN: %s", dir)
	}
	t.Setenv("NETCON_RUN", "")
	xdg := testenv.OpenDir(t)
	if err := os.Chmod(xdg, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_RUNTIME_DIR", xdg)
	own := filepath.Join(xdg, "netcon")
	as(t, stranger, func() {
		// No directory, the user's, and one that somebody made for the user.
		if dir := DefaultRuntimeDir(); dir != own && dir != config.SystemRuntimeDir {
			t.Errorf("without a directory: %s", dir)
		}
		if err := os.Mkdir(own, 0o700); err != nil {
			t.Error(err)
		}
		if dir := DefaultRuntimeDir(); dir != own {
			t.Errorf("with the user's own: %s", dir)
		}
	})
	if err := os.Chown(own, 1234, 1234); err != nil {
		t.Fatal(err)
	}
	as(t, stranger, func() {
		if dir := DefaultRuntimeDir(); dir != config.SystemRuntimeDir {
			t.Errorf("with somebody else's: %s", dir)
		}
	})
}

// TestAttach: who may.
func TestAttach(t *testing.T) {
	dir := runDir(t)
	conf := text(dir, 1) + "uids = [65534]\nmissing = \"kernel\"\n"
	d := start(t, parse(t, conf))
	attach := func(name string) (a *launch.Attachment, err error) {
		if a, err = launch.Attach(AttachPath(dir), name); err == nil {
			_ = unix.Close(a.FD)
		}
		return a, err
	}
	if a, err := attach("one"); err != nil || a.Container != "one" || a.Missing != launch.MissingFail {
		t.Errorf("root to one: %+v %v", a, err)
	}
	if a, err := attach("two"); err != nil || a.Missing != launch.MissingKernel {
		t.Errorf("root to two: %+v %v", a, err)
	}
	for _, name := range []string{"", "three", strings.Repeat("x", 63)} {
		if _, err := attach(name); err == nil {
			t.Errorf("attached to %q", name)
		}
	}
	as(t, stranger, func() {
		if _, err := attach("one"); !errors.Is(err, unix.EPERM) {
			t.Errorf("a stranger to one: %v", err)
		}
		if _, err := attach("two"); err != nil {
			t.Errorf("a stranger to two, whose uids name it: %v", err)
		}
	})
	if log := d.log.take(); !strings.Contains(log, `msg="attach refused" container=one uid=65534`) {
		t.Errorf("log: %s", log)
	}
	if n := d.Stats().Control.Drops["control_refused"]; n != 4 {
		t.Errorf("%d refusals counted, want 4", n)
	}
	// The only container needs no name.
	cfg := parse(t, conf)
	cfg.Containers = cfg.Containers[:1]
	if err := d.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	if a, err := attach(""); err != nil || a.Container != "one" {
		t.Errorf("to the only one: %+v %v", a, err)
	}
	if _, err := attach("two"); err == nil {
		t.Error("attached to a container that is gone")
	}
}

// TestWrapUnderlay: whatever wraps the underlay sees every worker's frames.
func TestWrapUnderlay(t *testing.T) {
	var mu sync.Mutex
	seen := map[int]bool{}
	d, err := New(parse(t, text(runDir(t), 1)), Options{
		Log: slog.New(slog.DiscardHandler),
		WrapUnderlay: func(i int, u stream.Underlay) stream.Underlay {
			return wrapped{u, func() {
				mu.Lock()
				defer mu.Unlock()
				seen[i] = true
			}}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- d.Run(ctx) }()
	testenv.WaitFor(t, 5*time.Second, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return seen[0] && seen[1]
	}, "both workers to announce their containers")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

type wrapped struct {
	stream.Underlay
	saw func()
}

func (w wrapped) Commit() {
	w.saw()
	w.Underlay.Commit()
}

// TestConcurrentReaders: everything that other goroutines may ask for, while
// the configuration changes and the daemon ends.
func TestConcurrentReaders(t *testing.T) {
	dir := runDir(t)
	d := start(t, parse(t, text(dir, 1)))
	var done sync.WaitGroup
	until := time.Now().Add(500 * time.Millisecond)
	again := func(f func(i int)) {
		done.Go(func() {
			for i := 0; time.Now().Before(until); i++ {
				f(i)
			}
		})
	}
	again(func(int) { _ = d.Status() })
	again(func(int) { _ = d.Sockets() })
	again(func(int) { _ = d.Stats() })
	again(func(int) {
		if a, err := launch.Attach(AttachPath(dir), "one"); err == nil {
			_ = unix.Close(a.FD)
		}
	})
	again(func(i int) {
		cfg := parse(t, text(dir, 1))
		cfg.Containers[0].UIDs = make([]uint32, i%7)
		if i%2 == 0 {
			cfg.Containers = cfg.Containers[:1]
		}
		if err := d.Reload(cfg); err != nil && time.Now().Before(until) {
			t.Error(err)
		}
	})
	done.Wait()
	// And once more while it ends.
	until = time.Now().Add(200 * time.Millisecond)
	again(func(int) { _ = d.Status() })
	again(func(int) { _ = d.Reload(parse(t, text(dir, 1))) })
	if err := d.stop(); err != nil {
		t.Error(err)
	}
	done.Wait()
}
