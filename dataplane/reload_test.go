// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"
	"netcon/internal/testenv"
)

// places returns name, network, address and worker of every container.
func places(d *daemon) map[string]string {
	m := map[string]string{}
	for _, c := range d.Status().Containers {
		m[c.Name] = fmt.Sprintf("%s %s %d", c.Network, c.Addresses[0], c.Worker)
	}
	return m
}

func TestReload(t *testing.T) {
	const third = `
[[container]]
name = "three"
network = "net"
addresses = ["10.42.0.13"]
`
	other := `
[[network]]
name = "other"
vni = 43
subnets = ["10.43.0.0/24"]
`
	start0 := map[string]string{"one": "net 10.42.0.11 0", "two": "net 10.42.0.12 1"}
	with := func(more map[string]string) map[string]string {
		m := maps.Clone(start0)
		maps.Copy(m, more)
		return m
	}
	cut := func(s, from string) string { before, _, _ := strings.Cut(s, from); return before }
	for _, c := range []struct {
		name  string
		edit  func(conf string) string
		want  map[string]string
		log   []string // each is logged
		error string   // the reload says this
		check func(t *testing.T, d *daemon)
	}{
		{name: "nothing", edit: func(s string) string { return s + "# a comment\n" }, want: start0, log: []string{"change=none"}},
		{
			name: "a container comes", edit: func(s string) string { return s + third },
			want: with(map[string]string{"three": "net 10.42.0.13 0"}), log: []string{`container \"three\": added`},
		},
		{
			name: "a container goes", edit: func(s string) string { return cut(s, "[[container]]\nname = \"two\"") },
			want: map[string]string{"one": "net 10.42.0.11 0"}, log: []string{`container \"two\": removed`},
		},
		{
			name: "one takes the place of another", edit: func(s string) string { return strings.Replace(s, `"two"`, `"again"`, 1) },
			want: map[string]string{"one": "net 10.42.0.11 0", "again": "net 10.42.0.12 1"}, log: []string{"added", "removed"},
		},
		{name: "all go", edit: func(s string) string { return cut(s, "[[container]]") }, want: map[string]string{}},
		{
			name: "uids", edit: func(s string) string { return s + "uids = [65534]\n" }, want: start0,
			log: []string{`container \"two\": uids [65534]`},
			check: func(t *testing.T, d *daemon) {
				as(t, stranger, func() {
					if a, err := launch.Attach(AttachPath(d.dir), "two"); err != nil {
						t.Error(err)
					} else {
						_ = unix.Close(a.FD)
					}
					if _, err := launch.Attach(AttachPath(d.dir), "one"); !errors.Is(err, unix.EPERM) {
						t.Errorf("container one: %v", err)
					}
				})
			},
		},
		{
			name: "missing", edit: func(s string) string { return s + "missing = \"kernel\"\n" }, want: start0,
			check: func(t *testing.T, d *daemon) {
				a, err := launch.Attach(AttachPath(d.dir), "two")
				if err != nil || a.Missing != launch.MissingKernel {
					t.Errorf("%+v %v", a, err)
				} else {
					_ = unix.Close(a.FD)
				}
			},
		},
		{
			name: "vteps", edit: func(s string) string { return strings.Replace(s, `["127.88.0.2"]`, `["127.88.0.2", "127.88.0.3"]`, 1) },
			want: start0, log: []string{"vteps"},
			check: func(t *testing.T, d *daemon) {
				if v := d.Status().Networks[0].VTEPs; !slices.Equal(v, []string{"127.88.0.2", "127.88.0.3"}) {
					t.Errorf("vteps %v", v)
				}
				if n := d.fib.Load().Network(42); len(n.Replicate()) != 2 {
					t.Errorf("frames are flooded to %v", n.Replicate())
				}
			},
		},
		{
			name: "learn", edit: func(s string) string { return strings.Replace(s, "vni = 42", "vni = 42\nlearn = true", 1) }, want: start0,
			check: func(t *testing.T, d *daemon) {
				if !d.Status().Networks[0].Learn {
					t.Error("it does not learn")
				}
			},
		},
		{name: "a static host", edit: func(s string) string {
			return strings.Replace(s, "[[container]]", "[[network.host]]\nip = \"10.42.0.99\"\nmac = \"02:00:00:00:00:99\"\nvtep = \"127.88.0.2\"\n\n[[container]]", 1)
		}, want: start0, log: []string{"1 static hosts, was 0"}},
		{
			name: "a network comes, with a container", want: with(map[string]string{"three": "other 10.43.0.13 1"}),
			edit: func(s string) string {
				more := strings.Replace(strings.Replace(third, `"net"`, `"other"`, 1), "10.42", "10.43", 1) + "worker = 1\n"
				return strings.Replace(s, "[[container]]", other+"\n[[container]]", 1) + more
			},
			check: func(t *testing.T, d *daemon) {
				if n := d.Status().Networks; len(n) != 2 || n[1].Members != 1 {
					t.Errorf("networks %+v", n)
				}
			},
		},
		{
			name: "what waits for a restart", want: start0,
			edit: func(s string) string {
				s = strings.Replace(s, "workers = 2", "workers = 2\nspin = \"1ms\"", 1)
				s = strings.Replace(s, "127.88.0.1\"\n", "127.88.0.1\"\nport = 4790\n", 1)
				s = strings.Replace(s, `addresses = ["10.42.0.12"]`, `addresses = ["10.42.0.77"]`, 1)
				return strings.Replace(s, "worker = 1", "worker = 0", 1)
			},
			log: []string{
				"restart of the daemon: spin", "restart of the daemon: underlay port 4790, was 4789",
				`container \"two\": addresses [10.42.0.77], was [10.42.0.12]`, `container \"two\": worker 0, was 1`,
			},
			check: func(t *testing.T, d *daemon) {
				if a := d.Status().Underlay.Address; a != "127.88.0.1:4789" {
					t.Errorf("underlay %s", a)
				}
			},
		},
		{
			name: "a segment that has containers keeps what they were made from", want: start0,
			edit: func(s string) string { return strings.Replace(s, "vni = 42", "vni = 44", 1) },
			log:  []string{"vni 44, was 42"},
			check: func(t *testing.T, d *daemon) {
				if n := d.Status().Networks[0]; n.VNI != 42 || d.fib.Load().Network(42) == nil || d.fib.Load().Network(44) != nil {
					t.Errorf("network %+v", n)
				}
			},
		},
		{
			name: "a container that changes its network waits, the network too", want: start0,
			edit: func(s string) string {
				s = strings.Replace(s, `name = "net"`, `name = "new"`, 1)
				s = strings.Replace(s, "vni = 42", "vni = 44", 1)
				return strings.ReplaceAll(s, `network = "net"`, `network = "new"`)
			},
			log: []string{"network new, was net"},
			check: func(t *testing.T, d *daemon) {
				if d.fib.Load().Network(42) == nil || d.fib.Load().Network(44) == nil {
					t.Error("a network is missing")
				}
			},
		},
		// A network gets another name while its containers keep the old one:
		// two networks with one VNI. Nothing changes, the container that was
		// removed in the same file included.
		{
			name: "a contradiction", want: start0, error: "duplicate vni 42",
			edit: func(s string) string {
				s = strings.Replace(cut(s, "[[container]]\nname = \"two\""), `name = "net"`, `name = "new"`, 1)
				return strings.ReplaceAll(s, `network = "net"`, `network = "new"`)
			},
			check: func(t *testing.T, d *daemon) {
				if n := d.Status().Networks; len(n) != 1 || n[0].Name != "net" || n[0].Members != 2 {
					t.Errorf("networks %+v", n)
				}
				if len(d.fib.Load().Network(42).Members()) != 2 {
					t.Error("a member is missing")
				}
			},
		},
		// Two's address changes, which waits; the newcomer wants the old one.
		{
			name: "an address that is still taken", error: `container "three": network "net": duplicate member mac`,
			want: with(map[string]string{"four": "net 10.42.0.14 1"}),
			edit: func(s string) string {
				s = strings.Replace(s, `"10.42.0.12"`, `"10.42.0.77"`, 1)
				three := strings.Replace(third, ".13", ".12", 1)
				four := strings.Replace(strings.Replace(third, "three", "four", 1), ".13", ".14", 1) + "worker = 1\n"
				return s + three + four
			},
			check: func(t *testing.T, d *daemon) {
				if n := len(d.fib.Load().Network(42).Members()); n != 3 {
					t.Errorf("%d members, want 3", n)
				}
				if _, err := launch.Attach(AttachPath(d.dir), "three"); err == nil {
					t.Error("attached to a container that was refused")
				}
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := runDir(t)
			conf := text(dir, 1)
			d := start(t, parse(t, conf))
			d.log.take()
			err := d.Reload(parse(t, c.edit(conf)))
			switch {
			case c.error == "" && err != nil:
				t.Errorf("reload: %v", err)
			case c.error != "" && (err == nil || !strings.Contains(err.Error(), c.error)):
				t.Errorf("reload: %v, want %q", err, c.error)
			}
			if got := places(d); !maps.Equal(got, c.want) {
				t.Errorf("containers %v, want %v", got, c.want)
			}
			log := d.log.take()
			for _, s := range c.log {
				if !strings.Contains(log, s) {
					t.Errorf("log does not say %q:\n%s", s, log)
				}
			}
			if c.check != nil {
				c.check(t, d)
			}
			// And back to what it was.
			if err := d.Reload(parse(t, conf)); err != nil {
				t.Errorf("reload of the first configuration: %v", err)
			}
			if got := slices.Sorted(maps.Keys(places(d))); !slices.Equal(got, []string{"one", "two"}) {
				t.Errorf("containers %v", got)
			}
			if n := d.fib.Load().Network(42); n == nil || len(n.Members()) != 2 {
				t.Error("a member is missing")
			}
		})
	}
}

// TestReloadLeaks: containers that come and go leave nothing.
func TestReloadLeaks(t *testing.T) {
	conf := text(runDir(t), 1)
	d := start(t, parse(t, conf))
	short, _, _ := strings.Cut(conf, "[[container]]")
	cycle := func() {
		for _, s := range []string{short, conf} {
			if err := d.Reload(parse(t, s)); err != nil {
				t.Fatal(err)
			}
		}
	}
	cycle()
	was := look(t)
	for range 10 {
		cycle()
	}
	was.settle(t, "20 reloads")
}

// serviceManager listens as systemd does, and returns the next messages.
func serviceManager(t *testing.T, name string) func(n int) []string {
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return func(n int) (messages []string) {
		t.Helper()
		b := make([]byte, 4096)
		_ = l.SetReadDeadline(time.Now().Add(5 * time.Second))
		for range n {
			k, err := l.Read(b)
			if err != nil {
				t.Fatalf("after %q: %v", messages, err)
			}
			messages = append(messages, string(b[:k]))
		}
		return messages
	}
}

// TestNotify: what a service manager is told, over a path and over an abstract
// name.
func TestNotify(t *testing.T) {
	for _, name := range []string{filepath.Join(testenv.OpenDir(t), "notify"), fmt.Sprintf("@netcon-test-%d", os.Getpid())} {
		told := serviceManager(t, name)
		conf := text(runDir(t), 1)
		d := start(t, parse(t, conf))
		if m := told(1); m[0] != "READY=1" {
			t.Errorf("told %q", m)
		}
		before := monotonic(t)
		if err := d.Reload(parse(t, conf)); err != nil {
			t.Fatal(err)
		}
		m := told(2)
		var at int64
		if n, err := fmt.Sscanf(m[0], "RELOADING=1\nMONOTONIC_USEC=%d", &at); n != 1 || err != nil || at < before || at > monotonic(t) || m[1] != "READY=1" {
			t.Errorf("told %q", m)
		}
		if err := d.stop(); err != nil {
			t.Fatal(err)
		}
		if m := told(1); m[0] != "STOPPING=1" {
			t.Errorf("told %q", m)
		}
	}
	// A manager that is gone is no reason to end.
	t.Setenv("NOTIFY_SOCKET", "/nonexistent/notify")
	d := start(t, parse(t, text(runDir(t), 1)))
	testenv.WaitFor(t, 5*time.Second, func() bool { return strings.Contains(d.log.take(), "tell the service manager") }, "a warning")
}

// monotonic returns the time of CLOCK_MONOTONIC in microseconds.
func monotonic(t *testing.T) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	return ts.Nano() / 1000
}
