// SPDX-License-Identifier: Apache-2.0

// Package e2e holds the end-to-end tests: stock programs, started by netcon
// exec, talking through real daemons to each other and to stock kernels.
//
// # Theory of operation
//
// A test starts daemons, each a process of its own: build/netcon up, or, where
// a fault injector stands in the path, this test program running the same
// dataplane with its underlay wrapped. It then runs nginx, curl, redis, iperf3,
// wrk and small socket programs (testdata/peer.c) in their containers.
//
// No test counts without the proof of its path: the containers' counters moved
// by what the programs say they moved.
//
// # Limits
//
// The tests need the programs that make deps installs and what make build
// built. Those that make network namespaces need root.
package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"netcon/dataplane"
	"netcon/dataplane/config"
	"netcon/dataplane/stream"
	"netcon/internal/testenv"
	"netcon/internal/testenv/faults"
)

// Environment of this program when it runs as a daemon.
const (
	envConfig = "NETCON_E2E_CONFIG"
	envFaults = "NETCON_E2E_FAULTS"
)

func TestMain(m *testing.M) {
	if conf := os.Getenv(envConfig); conf != "" {
		if err := faultyDaemon(conf, os.Getenv(envFaults)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	status := m.Run()
	if peerBuilt != "" {
		_ = os.RemoveAll(filepath.Dir(peerBuilt))
	}
	os.Exit(status)
}

// faultyDaemon is netcon up with faults on the underlay, in both directions. It
// prints their report when it ends.
func faultyDaemon(conf, spec string) error {
	cfg, err := config.Load(conf)
	if err != nil {
		return err
	}
	fc, err := faults.ParseConfig(spec)
	if err != nil {
		return err
	}
	var wrapped []*faults.Underlay
	d, err := dataplane.New(cfg, dataplane.Options{
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		WrapUnderlay: func(worker int, u stream.Underlay) stream.Underlay {
			tx, rx := fc, fc
			tx.Seed += uint64(2 * worker)
			rx.Seed += uint64(2*worker + 1)
			w := faults.Wrap(u, tx, rx)
			wrapped = append(wrapped, w)
			return w
		},
	})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	err = d.Run(ctx)
	for _, w := range wrapped {
		tx, rx := w.Report()
		fmt.Printf("faults tx %+v rx %+v\n", tx, rx)
	}
	return err
}

// buildDir is where make build puts its results.
func buildDir() string {
	if dir := os.Getenv("NETCON_BUILD"); dir != "" {
		return dir
	}
	dir, _ := filepath.Abs("../build")
	return dir
}

func netcon(t testing.TB) string {
	t.Helper()
	for _, f := range []string{"netcon", "libnetcon.so"} {
		if _, err := os.Stat(filepath.Join(buildDir(), f)); err != nil {
			t.Fatalf("%v (run make build first)", err)
		}
	}
	return filepath.Join(buildDir(), "netcon")
}

// peerBuilt is what peerOnce made, for TestMain to remove.
var peerBuilt string

var peerOnce = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "netcon-peer-")
	if err != nil {
		return "", err
	}
	exe := filepath.Join(dir, "peer")
	peerBuilt = exe
	out, err := exec.Command("gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", exe, "testdata/peer.c").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("compile peer.c: %w\n%s", err, out)
	}
	return exe, os.Chmod(dir, 0o755)
})

// peer returns the compiled testdata/peer.c.
func peer(t testing.TB) string {
	t.Helper()
	exe, err := peerOnce()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// daemon is a running daemon.
type daemon struct {
	*testenv.Process
	*dataplane.Client
	ns  *testenv.NetNS
	dir string // its files, and its runtime directory below
}

// daemonOptions say how a daemon is started.
type daemonOptions struct {
	NS     *testenv.NetNS
	Faults string // a specification for faults.ParseConfig; empty: none
	Dir    string // of an earlier daemon that is to be replaced
}

// start starts a daemon on a configuration without [daemon] runtime_dir, and
// waits until it answers. daemonLines go into its [daemon] table.
func start(t testing.TB, o daemonOptions, daemonLines, conf string) *daemon {
	t.Helper()
	exe := netcon(t)
	dir := o.Dir
	if dir == "" {
		dir = testenv.OpenDir(t)
	}
	d := &daemon{ns: o.NS, dir: dir, Client: dataplane.NewClient(filepath.Join(dir, "run"))}
	file := filepath.Join(dir, "netcon.toml")
	text := fmt.Sprintf("[daemon]\nruntime_dir = %q\n%s\n%s", filepath.Join(dir, "run"), daemonLines, conf)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	argv := append(o.NS.Prefix(), exe, "up", "-c", file)
	if o.Faults != "" {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		argv = append(o.NS.Prefix(), self)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), envFaults+"="+o.Faults)
	if o.Faults != "" {
		cmd.Env = append(cmd.Env, envConfig+"="+file)
	}
	d.Process = testenv.StartCmd(t, cmd)
	testenv.WaitFor(t, 15*time.Second, func() bool {
		_, err := d.Status()
		return err == nil || !d.Running()
	}, "daemon answers")
	if !d.Running() {
		t.Fatalf("daemon ended:\n%s", d.Output())
	}
	return d
}

// exec returns the command prefix that runs a program in a container.
func (d *daemon) exec(container string) []string {
	return append(d.ns.Prefix(), filepath.Join(buildDir(), "netcon"), "exec", "-run", filepath.Join(d.dir, "run"), "-n", container, "--")
}

// run runs a program in a container until it ends and returns its output.
func (d *daemon) run(t testing.TB, container string, timeout time.Duration, argv ...string) string {
	t.Helper()
	out, err := d.try(container, timeout, argv...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (d *daemon) try(container string, timeout time.Duration, argv ...string) (string, error) {
	return testenv.Try(nil, timeout, append(d.exec(container), argv...)...)
}

// begin starts a program in a container and waits until it printed ready.
func (d *daemon) begin(t testing.TB, container, ready string, argv ...string) *testenv.Process {
	t.Helper()
	p := testenv.Start(t, nil, append(d.exec(container), argv...)...)
	if ready != "" {
		p.WaitOutput(t, 15*time.Second, ready)
	}
	return p
}

// container returns the status of one container.
func (d *daemon) container(t testing.TB, name string) dataplane.ContainerStatus {
	t.Helper()
	s, err := d.Status()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range s.Containers {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no container %q", name)
	return dataplane.ContainerStatus{}
}

// stats returns the daemon's counters.
func (d *daemon) stats(t testing.TB) dataplane.Stats {
	t.Helper()
	s, err := d.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// moved fails the test unless a container's applications received and sent at
// least that many bytes since before.
func (d *daemon) moved(t testing.TB, before dataplane.ContainerStatus, in, out uint64) {
	t.Helper()
	now := d.container(t, before.Name)
	if now.BytesIn-before.BytesIn < in || now.BytesOut-before.BytesOut < out {
		t.Errorf("path: container %s carried %d bytes in and %d out, want at least %d and %d",
			before.Name, now.BytesIn-before.BytesIn, now.BytesOut-before.BytesOut, in, out)
	}
}

// twoHosts is the usual pair: container "web" on one daemon, "client" on the
// other, on loopback addresses of their own.
type twoHosts struct {
	a, b *daemon // web, client
}

const (
	web4, web6       = "10.42.0.1", "fd42::1"
	client4, client6 = "10.42.0.2", "fd42::2"
)

// pair describes twoHosts.
type pair struct {
	Workers          int
	MTU              int // of the network, 0: derived
	Outer6           bool
	FaultsA, FaultsB string
	Container        string // further lines of both containers
}

// nextLoopback hands out loopback addresses, two per test. They differ between
// test programs that run at once.
var nextLoopback = func() func() string {
	var mu sync.Mutex
	n := 0
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		n++
		return fmt.Sprintf("127.%d.%d.%d", 64+os.Getpid()/250%128, os.Getpid()%250, n%250+1)
	}
}()

func startPair(t testing.TB, p pair) twoHosts {
	t.Helper()
	va, vb := nextLoopback(), nextLoopback()
	var nsA, nsB *testenv.NetNS
	if p.Outer6 {
		// There is one loopback address only: two namespaces.
		nsA, nsB = testenv.NewNetNS(t, "a"), testenv.NewNetNS(t, "b")
		va, vb = "fd00::1", "fd00::2"
		testenv.Veth(t, nsA, "eth0", va+"/64", nsB, "eth0", vb+"/64", 1500)
	}
	daemonLines := fmt.Sprintf("workers = %d\n", max(p.Workers, 1))
	return twoHosts{
		a: start(t, daemonOptions{NS: nsA, Faults: p.FaultsA}, daemonLines, hostConf(va, vb, p, "web", web4, web6)),
		b: start(t, daemonOptions{NS: nsB, Faults: p.FaultsB}, daemonLines, hostConf(vb, va, p, "client", client4, client6)),
	}
}

func hostConf(self, remote string, p pair, container, a4, a6 string) string {
	mtu := ""
	if p.MTU != 0 {
		mtu = fmt.Sprintf("mtu = %d", p.MTU)
	}
	return fmt.Sprintf(`
[underlay]
address = %q

[[network]]
name = "blue"
vni = 42
subnets = ["10.42.0.0/24", "fd42::/64"]
vteps = [%q]
%s

[[container]]
name = %q
network = "blue"
addresses = [%q, %q]
%s
`, self, remote, mtu, container, a4, a6, p.Container)
}

// www makes a directory that nginx may serve, with files of the given sizes,
// and returns it with their hashes.
func www(t testing.TB, sizes map[string]int) (dir string, sums map[string]string) {
	t.Helper()
	dir, sums = testenv.OpenDir(t), map[string]string{}
	for name, n := range sizes {
		sums[name] = testenv.RandomFile(t, filepath.Join(dir, name), n, byte(n))
	}
	return dir, sums
}

// curl fetches a URL in a container and returns the SHA-256 of what came.
func (d *daemon) curl(t testing.TB, container, url string, timeout time.Duration, args ...string) string {
	t.Helper()
	sum, err := d.tryCurl(container, url, timeout, args...)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func (d *daemon) tryCurl(container, url string, timeout time.Duration, args ...string) (string, error) {
	argv := append(d.exec(container), "curl", "-sS", "--fail", "--noproxy", "*", "--max-time", fmt.Sprint(int(timeout.Seconds())))
	argv = append(append(argv, args...), url)
	return hashOutput(timeout+5*time.Second, argv...)
}

// hashOutput runs a command and returns the SHA-256 of its standard output.
func hashOutput(timeout time.Duration, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	h := sha256.New()
	var complaint strings.Builder
	cmd.Stdout, cmd.Stderr = h, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("run %q: %w\n%s", argv, errors.Join(err, ctx.Err()), complaint.String())
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
