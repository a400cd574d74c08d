// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"netcon/dataplane"
	"netcon/internal/testenv"
)

// The hosts' addresses, in every kind of env.
const (
	a4, a6 = "10.42.0.1", "fd42::1"
	b4, b6 = "10.42.0.2", "fd42::2"
)

// env is two hosts on which a scenario runs: on the kernel, or under netcon.
type env struct {
	netcon bool
	a, b   *host
}

// host is where programs of a scenario run.
type host struct {
	v4, v6 string
	ns     *testenv.NetNS
	prefix []string // the words before a program

	// under netcon
	client *dataplane.Client
	daemon *testenv.Process
	up     []string // what starts it
	run    string   // the daemon's runtime directory
	before testenv.Counters
}

// newKernelEnv joins two namespaces by a veth.
func newKernelEnv(t testing.TB) *env {
	t.Helper()
	a, b := testenv.NewNetNS(t, "a"), testenv.NewNetNS(t, "b")
	testenv.Veth(t, a, "eth0", a4+"/24,"+a6+"/64", b, "eth0", b4+"/24,"+b6+"/64", 1500)
	return &env{a: &host{v4: a4, v6: a6, ns: a, prefix: a.Prefix()}, b: &host{v4: b4, v6: b6, ns: b, prefix: b.Prefix()}}
}

// newNetconEnv starts two daemons, and makes two namespaces with nothing in
// them.
func newNetconEnv(t testing.TB) *env {
	t.Helper()
	va, vb := nextVTEP(), nextVTEP()
	return &env{
		netcon: true,
		a:      newNetconHost(t, "a", a4, a6, va, vb),
		b:      newNetconHost(t, "b", b4, b6, vb, va),
	}
}

func newNetconHost(t testing.TB, name, v4, v6, self, peer string) *host {
	t.Helper()
	exe := netconProgram(t)
	dir := testenv.OpenDir(t)
	h := &host{v4: v4, v6: v6, run: filepath.Join(dir, "run"), ns: testenv.NewNetNS(t, name)}
	testenv.Run(t, h.ns, "ip", "link", "set", "lo", "down")
	h.before = testenv.SNMP(t, h.ns)
	conf := fmt.Sprintf(`[daemon]
runtime_dir = %q
workers = 1
[underlay]
address = %q
[[network]]
name = "apps"
vni = 42
subnets = ["10.42.0.0/24", "fd42::/64"]
vteps = [%q]
[[container]]
name = "app"
network = "apps"
addresses = [%q, %q]
uids = [%d]
`, h.run, self, peer, v4, v6, nobody)
	file := filepath.Join(dir, "netcon.toml")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	h.client = dataplane.NewClient(h.run)
	h.up = []string{exe, "up", "-c", file}
	h.startDaemon(t)
	h.prefix = append(h.ns.Prefix(), exe, "exec", "-run", h.run, "-n", "app", "--")
	return h
}

// nobody is the user that may use the containers beside root.
const nobody = 65534

// unprivileged returns the host for programs that start as an ordinary user; under
// netcon that user starts them, in an empty namespace.
func (h *host) unprivileged(t testing.TB) *host {
	t.Helper()
	u := *h
	u.prefix = append(h.ns.Prefix(), "setpriv", fmt.Sprintf("--reuid=%d", nobody), fmt.Sprintf("--regid=%d", nobody), "--clear-groups", "--reset-env", "--")
	if h.client == nil {
		return &u
	}
	// Where that user can read it.
	dir := testenv.OpenDir(t)
	for _, name := range []string{"netcon", "libnetcon.so"} {
		testenv.Run(t, nil, "cp", "-p", filepath.Join(filepath.Dir(netconProgram(t)), name), dir)
	}
	u.prefix = append(u.prefix, filepath.Join(dir, "netcon"), "exec", "-enforce", "-run", h.run, "-n", "app", "--")
	return &u
}

// startDaemon starts the host's daemon and waits until it answers.
func (h *host) startDaemon(t testing.TB) {
	t.Helper()
	h.daemon = testenv.Start(t, nil, h.up...)
	testenv.WaitFor(t, 15*time.Second, func() bool {
		_, err := h.client.Status()
		return err == nil || !h.daemon.Running()
	}, "daemon answers")
	if !h.daemon.Running() {
		t.Fatalf("daemon ended:\n%s", h.daemon.Output())
	}
}

// nextVTEP hands out loopback addresses that differ between test programs.
var nextVTEP = func() func() string {
	var mu sync.Mutex
	n := 0
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		n++
		return fmt.Sprintf("127.%d.%d.%d", 64+os.Getpid()/250%128, os.Getpid()%250, n%250+1)
	}
}()

func netconProgram(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("NETCON_BUILD")
	if dir == "" {
		dir, _ = filepath.Abs("../../build")
	}
	exe := filepath.Join(dir, "netcon")
	if _, err := os.Stat(exe); err != nil {
		t.Fatalf("%v (run make build first)", err)
	}
	return exe
}

// prove fails the test unless the containers carried the bytes, and the kernel
// nothing.
func (e *env) prove(t *testing.T, bytes uint64) {
	t.Helper()
	moved := uint64(0)
	for _, h := range []*host{e.a, e.b} {
		s, err := h.client.Status()
		if err != nil {
			t.Fatalf("proof: %v\n%s", err, h.daemon.Output())
		}
		moved += s.Containers[0].BytesIn + s.Containers[0].BytesOut
		for name, n := range testenv.SNMP(t, h.ns).Since(h.before) {
			if strings.HasPrefix(name, "Tcp") && !strings.HasPrefix(name, "TcpExt") || strings.HasPrefix(name, "Udp") || strings.HasPrefix(name, "Icmp") {
				t.Errorf("proof: the kernel of namespace %s counted %s %d", h.ns.Name(), name, n)
			}
		}
	}
	t.Logf("the containers carried %d bytes", moved)
	if moved < bytes {
		t.Errorf("proof: the containers carried %d bytes, the scenario moves %d", moved, bytes)
	}
}

// argv returns the command line that runs a program on the host.
func (h *host) argv(argv ...string) []string { return slices.Concat(h.prefix, argv) }

// start starts a program; it is killed when the test ends.
func (h *host) start(t testing.TB, argv ...string) *testenv.Process {
	t.Helper()
	return testenv.Start(t, nil, h.argv(argv...)...)
}

// launch starts a program that may go on as a daemon: the process that is started
// may end, and its children stay. Whoever launches it ends it.
func (h *host) launch(t testing.TB, argv ...string) {
	t.Helper()
	all := h.argv(argv...)
	cmd := exec.Command(all[0], all[1:]...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // at once: whoever waits for its end takes a zombie for alive
		close(ended)
	}()
	t.Cleanup(func() {
		// A namespace that ends kills what is left in it.
		_ = cmd.Process.Kill()
		<-ended
	})
}

// do runs a program to its end and returns its output. It fails the test if the
// program does.
func (h *host) do(t testing.TB, timeout time.Duration, argv ...string) string {
	t.Helper()
	out, err := h.try(timeout, argv...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// try is do without judgement. The error holds what the program printed.
func (h *host) try(timeout time.Duration, argv ...string) (string, error) {
	return testenv.Try(nil, timeout, h.argv(argv...)...)
}

// sh runs a shell script to its end and returns its output; it fails the test if
// the script does.
func (h *host) sh(t testing.TB, timeout time.Duration, script string) string {
	t.Helper()
	return h.do(t, timeout, "bash", "-euc", script)
}

// listens waits until somebody on the host listens on a TCP port.
func (h *host) listens(t testing.TB, port int) {
	t.Helper()
	testenv.WaitFor(t, 30*time.Second, func() bool {
		if h.client == nil {
			out, err := testenv.Try(h.ns, 5*time.Second, "ss", "-Hltn", fmt.Sprintf("sport = :%d", port))
			return err == nil && strings.TrimSpace(out) != ""
		}
		sockets, err := h.client.Sockets()
		if err != nil {
			return false
		}
		return slices.ContainsFunc(sockets, func(s dataplane.Socket) bool {
			return s.State == "LISTEN" && int(s.Local.Port()) == port
		})
	}, "somebody to listen on port %d", port)
}

// shows fails the test unless netcon status names so many processes of a
// program, with the preload library in each. On the kernel there is nothing to
// show.
func (h *host) shows(t testing.TB, command string, want int) {
	t.Helper()
	if h.client == nil {
		return
	}
	s, err := h.client.Status()
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	for _, p := range s.Processes {
		if p.Command == command && p.Mechanism == "preload" && p.Container == "app" {
			got++
		}
	}
	if got != want {
		t.Errorf("status shows %d processes of %s, want %d: %+v", got, command, want, s.Processes)
	}
}

// noise makes a file that does not compress, and returns its path and SHA-256.
func noise(t testing.TB, dir, name string, size int) (path, sum string) {
	t.Helper()
	path = filepath.Join(dir, name)
	return path, testenv.RandomFile(t, path, size, byte(size))
}

// sum returns the SHA-256 of a file.
func sum(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// certificate makes dir/key.pem and dir/cert.pem, which is for host a and signed
// by itself.
func certificate(t testing.TB, dir string) {
	t.Helper()
	testenv.Run(t, nil, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=app",
		"-addext", "subjectAltName=IP:"+a4+",IP:"+a6, "-keyout", dir+"/key.pem", "-out", dir+"/cert.pem")
}
