// SPDX-License-Identifier: Apache-2.0

package litmus

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"netcon/dataplane"
	"netcon/internal/testenv"
)

const (
	v4, v6 = "10.42.0.1", "fd42::1"
	silent = "10.42.0.99" // answers nothing
	limit  = 60 * time.Second
)

// known is where a pair's end cannot be what a TCP socket is: the lines that may
// differ, by their beginnings. Each is in docs/limits.md.
var known = map[string][]string{
	"poll_states":            {"fresh:", "listener:", "acceptable:"},
	"errno_refused":          {"poll:"},
	"dgram_refused_blocking": {"poll:"},
	"dgram_refused_waiting":  {"says:"},
	"io_unconnected":         {""},
}

// knownStatic is the same of static programs: nobody sees their reads and writes,
// so a reset may look like an end, and a signal may interrupt any control call.
// Which of them shows is a matter of time, in some.
var knownStatic = map[string][]string{
	"connect_interrupted":         {"connect:", "poll:"}, // before the supervisor has seen it
	"listener_close":              {"0:", "1:", "2:"},
	"listener_pause":              {"waiting connection:"},
	"connect_unspec":              {"peer:"},
	"errno_listening":             {"listener recv oob:"},
	"connect_again_epoll":         {""},
	"connect_nonblocking_refused": {"read:"},
	"last_close_by_kill":          {"read:"},
	"eintr_storm":                 {""},
	"eintr_refused":               {""},
	"read_unconnected":            {""},
	"reset_in_blocking_read":      {"read:"},
	"reset_and_write":             {"0:", "1:", "2:", "3:", "4:", "5:", "6:", "7:"},
	"reset_while_writing":         {"send:", "read:"},
	"reset_unread":                {"read:"},
	"reset_by_call":               {""},
	"linger_reset":                {"read:", "SO_ERROR:"},
	"fork_beside_sockets":         {"reset:"},

	// Datagrams: errors of reads and writes that are not seen.
	"dgram_raw":              {"no destination:"},
	"dgram_ping":             {"no destination:"},
	"dgram_fork":             {"gone:"},
	"dgram_shutdown":         {"send:", "recv, not waiting:"},
	"dgram_error_poll":       {"refused, ", "IPv6, no peer, "},
	"dgram_error_queue6":     {"recv:"},
	"dgram_error_queue":      {"recv:"},
	"dgram_refused_blocking": {"recv:", "poll:"},
	"dgram_refused":          {"recv:", "send:", "read:"},
	"dgram_refused_waiting":  {"epoll:", "read:"},
	"dgram_send_errors":      {"no destination", "IPv6, no destination:"},
}

// pinnedStatic is what static programs see where that is worse than the kernel's and
// does not depend on time. What changes here changes in docs/limits.md.
var pinnedStatic = map[string][]string{
	"dgram_refused_waiting": {"epoll: 0", "says: -", "read: EAGAIN", "SO_ERROR: ECONNREFUSED"},
}

// compilers build the program; flags follow what each needs.
var compilers = []struct {
	name   string
	argv   []string
	static bool
	below  []string       // builds a static program that becomes this one
	only   *regexp.Regexp // nil: all
}{
	{name: "glibc", argv: []string{"gcc"}},
	{name: "static", argv: []string{"gcc", "-static"}, static: true},
	{name: "musl", argv: musl},
	// A dynamic program below a static one: the library's own messages pass the
	// supervisor's filter, and what the program does on streams.
	{name: "below", argv: []string{"gcc"}, below: []string{"gcc", "-static"}, only: regexp.MustCompile("^dgram|^foreign_|^errno_refused$|^getifaddrs$")},
	// What musl does in another way than glibc's static library.
	{name: "musl-static", argv: append(musl[:len(musl):len(musl)], "-static"), static: true, only: regexp.MustCompile("^(getifaddrs|if_names|ifreq|netlink)$")},
}

var musl = []string{"musl-gcc", "-idirafter", "/usr/include", "-idirafter", "/usr/include/" + triplet()}

// triplet is where Debian keeps the kernel's headers of this machine.
func triplet() string {
	out, _ := exec.Command("gcc", "-dumpmachine").Output()
	return strings.TrimSpace(string(out))
}

func build(t *testing.T, name string, cc []string) string {
	t.Helper()
	testenv.NeedTools(t, cc[0])
	sources, err := filepath.Glob("testdata/*.c")
	if err != nil || len(sources) == 0 {
		t.Fatalf("no sources: %v", err)
	}
	exe := filepath.Join(testenv.OpenDir(t), name)
	argv := slices.Concat(cc, []string{
		"-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-sequence-point",
		"-Wno-stringop-overflow", "-pthread", "-o", exe,
	}, sources)
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
	return exe
}

// kernelHost is a namespace with its loopback up and a network on which the
// silent address takes everything.
func kernelHost(t *testing.T) []string {
	t.Helper()
	a, b := testenv.NewNetNS(t, "kernel"), testenv.NewNetNS(t, "silent")
	testenv.Run(t, a, "sysctl", "-q", "-w", "net.ipv4.ping_group_range=0 0")
	testenv.Veth(t, a, "eth0", v4+"/24,"+v6+"/64", b, "eth0", "10.42.0.2/24", 1500)
	testenv.Run(t, a, "ip", "neigh", "add", silent, "lladdr", "02:00:00:00:00:99", "nud", "permanent", "dev", "eth0")
	return a.Prefix()
}

// netconHost starts a daemon and returns the words before a program that runs in
// its container, in a namespace with nothing in it.
func netconHost(t *testing.T) (prefix []string, ns *testenv.NetNS, client *dataplane.Client) {
	t.Helper()
	build := os.Getenv("NETCON_BUILD")
	if build == "" {
		build, _ = filepath.Abs("../../build")
	}
	exe := filepath.Join(build, "netcon")
	if _, err := os.Stat(exe); err != nil {
		t.Fatalf("%v (run make build first)", err)
	}
	dir := testenv.OpenDir(t)
	run, file := filepath.Join(dir, "run"), filepath.Join(dir, "netcon.toml")
	self := fmt.Sprintf("127.%d.%d.1", 32+os.Getpid()/250%32, os.Getpid()%250)
	conf := fmt.Sprintf(`[daemon]
runtime_dir = %q
workers = 1
[underlay]
address = %q
[[network]]
name = "litmus"
vni = 43
subnets = ["10.42.0.0/24", "fd42::/64"]
vteps = [%q]
[[container]]
name = "app"
network = "litmus"
addresses = [%q, %q]
`, run, self, self[:len(self)-1]+"2", v4, v6)
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	ns = testenv.NewNetNS(t, "netcon")
	testenv.Run(t, ns, "ip", "link", "set", "lo", "down")
	daemon := testenv.Start(t, nil, exe, "up", "-c", file)
	client = dataplane.NewClient(run)
	testenv.WaitFor(t, 15*time.Second, func() bool {
		_, err := client.Status()
		return err == nil || !daemon.Running()
	}, "daemon answers")
	if !daemon.Running() {
		t.Fatalf("daemon ended:\n%s", daemon.Output())
	}
	return append(ns.Prefix(), exe, "exec", "-run", run, "-n", "app", "--"), ns, client
}

// lines runs a litmus and returns what it said, or how it failed.
func lines(prefix []string, argv ...string) []string {
	out, err := testenv.Try(nil, limit, slices.Concat(prefix, argv)...)
	all := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		all = append(all, "FAILED"+first[strings.LastIndex(first, ": "):])
	}
	return all
}

// compare reports the lines that differ and are not known to.
func compare(t *testing.T, name string, static bool, kernel, netcon []string) {
	t.Helper()
	known := known[name]
	if static {
		known = append(slices.Clone(known), knownStatic[name]...)
		if pinned := pinnedStatic[name]; pinned != nil && !slices.Equal(netcon, pinned) {
			t.Errorf("says %q, and has said %q", netcon, pinned)
		}
	}
	may := func(a, b string) bool {
		return slices.ContainsFunc(known, func(p string) bool { return strings.HasPrefix(a, p) && strings.HasPrefix(b, p) })
	}
	differ := false
	for i := range max(len(kernel), len(netcon)) {
		k, n := "(nothing)", "(nothing)"
		if i < len(kernel) {
			k = kernel[i]
		}
		if i < len(netcon) {
			n = netcon[i]
		}
		if k == n {
			continue
		}
		differ = true
		if may(k, n) {
			t.Logf("line %d, as known: %q, on the kernel %q", i+1, n, k)
		} else {
			t.Errorf("line %d: %q, on the kernel %q", i+1, n, k)
		}
	}
	if !differ && known != nil && !static {
		t.Error("does as the kernel: take it out of known and docs/limits.md")
	}
}

func TestLitmus(t *testing.T) {
	only := regexp.MustCompile(os.Getenv("NETCON_ONLY"))
	kernel := kernelHost(t)
	netcon, ns, client := netconHost(t)
	before := testenv.SNMP(t, ns)
	for _, c := range compilers {
		t.Run(c.name, func(t *testing.T) {
			exe := build(t, c.name, c.argv)
			netcon := netcon
			if c.below != nil {
				netcon = append(slices.Clone(netcon), build(t, c.name, c.below), "_become")
			}
			for _, name := range strings.Fields(testenv.Run(t, nil, exe, "list")) {
				if !only.MatchString(name) || c.only != nil && !c.only.MatchString(name) {
					continue
				}
				t.Run(name, func(t *testing.T) {
					want := lines(kernel, exe, name)
					if last := want[len(want)-1]; strings.HasPrefix(last, "FAILED") || strings.HasPrefix(last, "gave up") {
						t.Fatalf("fails on the kernel: %q", want)
					}
					compare(t, name, c.static, want, lines(netcon, exe, name))
				})
			}
		})
	}
	for name, n := range testenv.SNMP(t, ns).Since(before) {
		if strings.HasPrefix(name, "Tcp") && !strings.HasPrefix(name, "TcpExt") || strings.HasPrefix(name, "Udp") {
			t.Errorf("the kernel of namespace %s counted %s %d", ns.Name(), name, n)
		}
	}
	// Everything was closed, whoever was killed.
	testenv.WaitFor(t, 10*time.Second, func() bool {
		sockets, err := client.Sockets()
		return err == nil && len(sockets) == 0
	}, "no socket to be left")
}
