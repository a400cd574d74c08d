// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// recorder is a testing.TB that records how a helper ends its test.
type recorder struct {
	testing.TB
	fatal, skip string
	cleanups    []func()
}

// ended is what a recorder panics with, to stop the helper.
type ended struct{}

func (r *recorder) Helper()             {}
func (r *recorder) Failed() bool        { return r.fatal != "" }
func (r *recorder) Logf(string, ...any) {}
func (r *recorder) Cleanup(f func())    { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Fatal(a ...any)      { r.fatal = fmt.Sprint(a...); panic(ended{}) }
func (r *recorder) Fatalf(f string, a ...any) {
	r.fatal = fmt.Sprintf(f, a...)
	panic(ended{})
}

func (r *recorder) Skipf(f string, a ...any) {
	r.skip = fmt.Sprintf(f, a...)
	panic(ended{})
}

// record runs f as a test of its own, cleanup included.
func record(f func(t testing.TB)) *recorder {
	r := &recorder{}
	guard := func(f func()) {
		defer func() {
			if v := recover(); v != nil && v != (ended{}) {
				panic(v)
			}
		}()
		f()
	}
	guard(func() { f(r) })
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		guard(r.cleanups[i])
	}
	return r
}

func TestWaitFor(t *testing.T) {
	asked := 0
	WaitFor(t, time.Minute, func() bool { asked++; return asked == 3 })
	r := record(func(t testing.TB) {
		WaitFor(t, 5*time.Millisecond, func() bool { return false }, "the %s", "moon")
	})
	if r.fatal != "waited 5ms in vain for the moon" {
		t.Errorf("got %q", r.fatal)
	}
}

func TestNeedNamesWhatIsMissing(t *testing.T) {
	if effective(t)&(1<<24) == 0 {
		if r := record(func(t testing.TB) { Need(t, "CAP_SYS_RESOURCE") }); r.skip != "missing capability: CAP_SYS_RESOURCE" {
			t.Errorf("got %q", r.skip)
		}
	}
	if r := record(func(t testing.TB) { NeedTools(t, "sh", "no-such-tool") }); r.skip != "missing capability: program no-such-tool" {
		t.Errorf("got %q", r.skip)
	}
	if r := record(func(t testing.TB) { Need(t, "CAP_MAGIC") }); !strings.Contains(r.fatal, "CAP_MAGIC") {
		t.Errorf("got %q", r.fatal)
	}
}

func TestTry(t *testing.T) {
	if out := Run(t, nil, "echo", "hello"); out != "hello\n" {
		t.Errorf("got %q", out)
	}
	_, err := Try(nil, time.Minute, "sh", "-c", "echo why >&2; exit 3")
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "why") {
		t.Errorf("error %v", err)
	}
	start := time.Now()
	// The child of the shell must die too, or its pipe would keep us waiting.
	_, err = Try(nil, 50*time.Millisecond, "sh", "-c", "sleep 60; true")
	if err == nil || !strings.Contains(err.Error(), "timed out after 50ms") || time.Since(start) > 10*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}

func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

func TestStartKillsTheGroup(t *testing.T) {
	var leader, child int
	r := record(func(t testing.TB) {
		p := Start(t, nil, "sh", "-c", "sleep 60 & echo child $!; wait")
		p.WaitOutput(t, 10*time.Second, "\n")
		if _, err := fmt.Sscanf(p.Stdout(), "child %d", &child); err != nil {
			t.Fatal(err)
		}
		leader = p.Pid()
		if !p.Running() || !alive(leader) || !alive(child) {
			t.Fatal("not running")
		}
		p.WaitOutput(t, 10*time.Millisecond, "never written")
	})
	if !strings.Contains(r.fatal, `did not write "never written"`) {
		t.Errorf("fatal: %q", r.fatal)
	}
	WaitFor(t, 10*time.Second, func() bool { return !alive(leader) && !alive(child) }, "the end of %d and %d", leader, child)
}

func TestProcessEnds(t *testing.T) {
	p := Start(t, nil, "sh", "-c", "sleep 60 & echo $!; exit 7")
	if err := p.Wait(t, 10*time.Second); err == nil || err.Error() != "exit status 7" {
		t.Errorf("Wait = %v", err)
	}
	var child int
	fmt.Sscan(p.Stdout(), &child)
	if child == 0 {
		t.Fatalf("output %q", p.Stdout())
	}
	WaitFor(t, 5*time.Second, func() bool { return !alive(child) }, "the end of child %d, far from its 60 s", child)
	p = Start(t, nil, "sleep", "60")
	if err := p.Stop(); err == nil || !strings.Contains(err.Error(), "terminated") {
		t.Errorf("Stop = %v", err)
	}
}

func TestNetNSCleansUp(t *testing.T) {
	NeedRoot(t)
	var name string
	daemon := 0
	if r := record(func(t testing.TB) {
		ns := NewNetNS(t, "gone")
		name = ns.Name()
		// A daemon that left its group and its parent.
		out := Run(t, ns, "sh", "-c", "setsid sleep 60 >/dev/null 2>&1 & echo $!")
		fmt.Sscan(out, &daemon)
		WaitFor(t, 10*time.Second, func() bool { p, _ := ns.pids(); return len(p) > 0 }, "the daemon")
	}); r.fatal != "" {
		t.Fatal(r.fatal)
	}
	if _, err := os.Stat("/run/netns/" + name); !os.IsNotExist(err) {
		t.Errorf("namespace %s: %v", name, err)
	}
	if daemon == 0 || alive(daemon) {
		t.Errorf("process %d lives on", daemon)
	}
}

func TestDoEntersAndLeaves(t *testing.T) {
	ns := NewNetNS(t)
	where := func() string {
		s, err := os.Readlink("/proc/thread-self/ns/net")
		if err != nil {
			t.Error(err)
		}
		return s
	}
	var inside string
	home := where()
	ns.Do(t, func() { inside = where() })
	if inside == home || where() != home {
		t.Errorf("home %s, inside %s, after %s", home, inside, where())
	}
	var l net.Listener
	ns.Do(t, func() {
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Error(err)
		}
	})
	defer l.Close()
	before := SNMP(t, ns)
	Run(t, ns, "sh", "-c", "exec 3<>/dev/null; ping -c1 -W1 127.0.0.1 >/dev/null")
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("the listener is in the test's own namespace")
	}
	ns.Do(t, func() {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		c.Close()
	})
	d := SNMP(t, ns).Since(before)
	if d["TcpActiveOpens"] != 1 || d["TcpPassiveOpens"] != 1 || d["TcpInSegs"] < 3 || d["IcmpInEchos"] != 1 {
		t.Errorf("counters %v", d)
	}
}

// a: vx0 10.9.0.1 ── 192.0.2.1 ◄─ veth ─► 192.0.2.2 ── vx0 10.9.0.2 :b
func TestKernelVXLANPeers(t *testing.T) {
	for _, tc := range []struct{ name, la, lb, net string }{
		{"outer4", "192.0.2.1", "192.0.2.2", "/24"},
		{"outer6", "2001:db8::1", "2001:db8::2", "/64"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, b := NewNetNS(t, "a"), NewNetNS(t, "b")
			Veth(t, a, "e0", tc.la+tc.net, b, "e0", tc.lb+tc.net, 1600)
			KernelVXLAN(t, a, VXLAN{VNI: 42, Local: tc.la, Remotes: []string{tc.lb}, Addrs: "10.9.0.1/24,fd09::1/64", MTU: 1500})
			KernelVXLAN(t, b, VXLAN{VNI: 42, Local: tc.lb, Remotes: []string{tc.la}, Addrs: "10.9.0.2/24,fd09::2/64", MTU: 1500})
			before := SNMP(t, a)
			Run(t, a, "ping", "-c3", "-i0.01", "-W5", "-s1400", "10.9.0.2")
			Run(t, a, "ping", "-c3", "-i0.01", "-W5", "-s1400", "fd09::2")
			d := SNMP(t, a).Since(before)
			if d["IcmpInEchoReps"] != 3 || d["Icmp6InEchoReplies"] != 3 {
				t.Errorf("counters %v", d)
			}
			if fdb := Run(t, a, "bridge", "fdb", "show", "dev", "vx0"); !strings.Contains(fdb, b.MAC(t, "vx0")) {
				t.Errorf("b's MAC was not learned:\n%s", fdb)
			}
		})
	}
}

// TestKernelVXLANReplicates: without learning, with a default destination for
// each of two peers and one FDB entry.
func TestKernelVXLANReplicates(t *testing.T) {
	hub := NewNetNS(t, "hub")
	Run(t, hub, "ip", "link", "add", "br0", "type", "bridge")
	hub.SetUp(t, "br0", "")
	hosts := make([]*NetNS, 3)
	ip := func(i int) string { return fmt.Sprintf("192.0.2.%d", i+1) }
	for i := range hosts {
		hosts[i] = NewNetNS(t, fmt.Sprint("h", i))
		port := fmt.Sprint("p", i)
		Veth(t, hosts[i], "e0", ip(i)+"/24", hub, port, "", 1600)
		Run(t, hub, "ip", "link", "set", port, "master", "br0")
	}
	for i, h := range hosts {
		v := VXLAN{VNI: 7, Local: ip(i), NoLearning: true, Addrs: fmt.Sprintf("10.9.0.%d/24", i+1)}
		v.MAC = fmt.Sprintf("02:00:00:00:00:0%d", i+1)
		v.FDB = map[string]string{}
		for k := range hosts {
			if k != i {
				v.Remotes = append(v.Remotes, ip(k))
				v.FDB[fmt.Sprintf("02:00:00:00:00:0%d", k+1)] = ip(k)
			}
		}
		KernelVXLAN(t, h, v)
	}
	Run(t, hosts[0], "ping", "-c1", "-W5", "10.9.0.2")
	Run(t, hosts[0], "ping", "-c1", "-W5", "10.9.0.3")
}

func TestProcfs(t *testing.T) {
	p := Start(t, nil, "sh", "-c", "exec 7</dev/null 8</dev/null; echo up; while :; do :; done")
	p.WaitOutput(t, 10*time.Second, "up")
	if n := FDs(t, p.Pid()); n < 5 || n > 20 {
		t.Errorf("%d fds", n)
	}
	if n := RSS(t, p.Pid()); n < 100<<10 || n > 100<<20 {
		t.Errorf("%d bytes resident", n)
	}
	WaitFor(t, 10*time.Second, func() bool { return CPU(t, p.Pid()) >= 50*time.Millisecond }, "a busy loop to use processor time")
	before := FDs(t, os.Getpid())
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n := FDs(t, os.Getpid()); n != before+1 {
		t.Errorf("own fds: %d, want %d", n, before+1)
	}
}

func TestHash(t *testing.T) {
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	if got := HashBytes(nil); got != empty {
		t.Errorf("hash of nothing: %s", got)
	}
	path := filepath.Join(t.TempDir(), "f")
	sum := RandomFile(t, path, 100_000, 3)
	again, n := HashReader(t, bytes.NewReader(RandomBytes(100_000, 3)))
	if HashFile(t, path) != sum || again != sum || n != 100_000 || HashBytes(RandomBytes(100_000, 4)) == sum {
		t.Error("hashes disagree")
	}
}

func TestServers(t *testing.T) {
	ns := NewNetNS(t)
	ns.SetUp(t, "lo", "192.0.2.1/32,2001:db8::1/128")
	for _, user := range []bool{false, true} {
		t.Run(fmt.Sprintf("user=%v", user), func(t *testing.T) {
			root := OpenDir(t)
			sum := RandomFile(t, filepath.Join(root, "blob"), 1<<20, 1)
			web := Nginx(t, ns.Prefix(), Options{Addrs: []string{"192.0.2.1:8080", "[2001:db8::1]:8080"}, Workers: 2, Root: root, User: user})
			for _, host := range []string{"192.0.2.1", "[2001:db8::1]"} {
				if body := Run(t, ns, "curl", "-sg", "http://"+host+":8080/blob"); HashBytes([]byte(body)) != sum {
					t.Errorf("nginx on %s: %d bytes with another hash", host, len(body))
				}
			}
			redis := Redis(t, ns.Prefix(), Options{Addrs: []string{"192.0.2.1:6379"}, User: user})
			if out := Run(t, ns, "redis-cli", "-h", "192.0.2.1", "ping"); out != "PONG\n" {
				t.Errorf("redis says %q", out)
			}
			iperf := Iperf3Server(t, ns.Prefix(), Options{Addrs: []string{"[2001:db8::1]:5201"}, User: user})
			if r := Iperf3(t, ns.Prefix(), "[2001:db8::1]:5201", time.Second); r.BitsPerSecond < 1e6 || r.Bytes < 1e5 {
				t.Errorf("iperf3: %+v", r)
			}
			for _, s := range []*Server{web, redis, iperf} {
				uid := uint32(0)
				if user {
					uid = nobody
				}
				st, err := os.Stat(fmt.Sprintf("/proc/%d", s.Pid()))
				if err != nil {
					t.Fatal(err)
				}
				if got := st.Sys().(*syscall.Stat_t).Uid; got != uid {
					t.Errorf("%s runs as %d, want %d", s.name, got, uid)
				}
			}
			if err := web.Stop(); err != nil {
				t.Errorf("nginx: %v", err)
			}
		})
	}
}

func TestNginxWithoutRoot(t *testing.T) {
	ns := NewNetNS(t)
	Nginx(t, ns.Prefix(), Options{Addrs: []string{"127.0.0.1:80"}, Extra: []string{"add_header X-Test yes;"}})
	if out := Run(t, ns, "curl", "-si", "http://127.0.0.1/any"); !strings.Contains(out, "200 OK") ||
		!strings.Contains(out, "X-Test: yes") || !strings.HasSuffix(out, "netcon\n") {
		t.Errorf("got %q", out)
	}
}

func TestServerThatCannotListen(t *testing.T) {
	ns := NewNetNS(t)
	r := record(func(t testing.TB) { Nginx(t, ns.Prefix(), Options{Addrs: []string{"203.0.113.9:80"}}) })
	if !strings.Contains(r.fatal, "is not ready") || !strings.Contains(r.fatal, "running: false") {
		t.Errorf("got %q", r.fatal)
	}
}

func TestBuild(t *testing.T) {
	bin := Build(t, "netcon/internal/testenv/faultwire")
	out, err := exec.Command(bin, "-faults", "x").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "want -a IFACE -b IFACE") {
		t.Errorf("%v: %s", err, out)
	}
	if r := record(func(t testing.TB) { Build(t, "netcon/no/such") }); !strings.Contains(r.fatal, "build netcon/no/such") {
		t.Errorf("got %q", r.fatal)
	}
}
