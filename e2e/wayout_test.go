// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netcon/dataplane"
	"netcon/internal/testenv"
)

// street is a host with a daemon and another one beside it, which knows nothing
// of containers.
//
//	namespace p                        namespace h
//	┌──────────────────────┐          ┌──────────────────────────────────┐
//	│ nginx 198.51.100.2   │   veth   │ netcon up  containers web, in    │
//	│       2001:db8::2    ├──────────┤            nginx 198.51.100.1:81 │
//	└──────────────────────┘          └──────────────────────────────────┘
type street struct {
	h, p *testenv.NetNS
	d    *daemon
	conf string // lines of [daemon]
	sum  string // of the file that every server has
	root string
}

const (
	here4, here6   = "198.51.100.1", "2001:db8::1"
	there4, there6 = "198.51.100.2", "2001:db8::2"
	streetFile     = 8 << 20
)

// streetConf is a configuration: web has the lines of the first argument, in
// those of the second.
func streetConf(web, in string) string {
	return fmt.Sprintf(`
[underlay]
address = %q

[[network]]
name = "blue"
vni = 42
subnets = ["10.42.0.0/24", "fd42::/64"]

[[container]]
name = "web"
network = "blue"
addresses = [%q, %q]
%s

[[container]]
name = "in"
network = "blue"
addresses = [%q, %q]
%s
`, here4, web4, web6, web, client4, client6, in)
}

func newStreet(t *testing.T, web, in string, daemonLines ...string) *street {
	t.Helper()
	testenv.NeedRoot(t)
	s := &street{conf: strings.Join(append(daemonLines, "workers = 2"), "\n"), h: testenv.NewNetNS(t, "h"), p: testenv.NewNetNS(t, "p")}
	testenv.Veth(t, s.h, "eth0", here4+"/24,"+here6+"/64", s.p, "eth0", there4+"/24,"+there6+"/64", 1500)
	root, sums := www(t, map[string]int{"file": streetFile})
	s.root, s.sum = root, sums["file"]
	testenv.Nginx(t, s.p.Prefix(), testenv.Options{Addrs: []string{there4 + ":80", "[" + there6 + "]:80"}, Root: root})
	testenv.Nginx(t, s.h.Prefix(), testenv.Options{Addrs: []string{here4 + ":81", "127.0.0.1:81"}, Root: root})
	s.d = start(t, daemonOptions{NS: s.h}, s.conf, streetConf(web, in))
	return s
}

// reload puts another configuration in force.
func (s *street) reload(t *testing.T, conf, logged string) {
	t.Helper()
	file := filepath.Join(s.d.dir, "netcon.toml")
	text := fmt.Sprintf("[daemon]\nruntime_dir = %q\n%s\n%s", filepath.Join(s.d.dir, "run"), s.conf, conf)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s.d.Signal(t, syscall.SIGHUP)
	s.d.WaitOutput(t, 15*time.Second, logged)
}

// outside are places that are not on the containers' network.
func outside() []string {
	return []string{"http://" + there4 + "/file", "http://[" + there6 + "]/file", "http://" + here4 + ":81/file"}
}

// reaches fails unless a program in a container gets everything from outside,
// over the host's stack and nothing else.
func (s *street) reaches(t *testing.T, container string, flags ...string) {
	t.Helper()
	before := s.d.stats(t).Containers[container]
	for _, url := range outside() {
		argv := append(s.d.ns.Prefix(), filepath.Join(buildDir(), "netcon"), "exec", "-run", filepath.Join(s.d.dir, "run"), "-n", container)
		argv = append(append(argv, flags...), "--", "curl", "-sS", "--fail", "--max-time", "30", url)
		if sum, err := hashOutput(time.Minute, argv...); err != nil || sum != s.sum {
			t.Errorf("%s does not reach %s: %v", container, url, err)
		}
	}
	after := s.d.stats(t).Containers[container]
	for name, least := range map[string]uint64{"host_connects": 3, "host_rx_bytes": 3 * streetFile, "app_rx_bytes": 3 * streetFile} {
		if got := after.Counters[name] - before.Counters[name]; got < least {
			t.Errorf("path: %s of container %s rose by %d, want %d", name, container, got, least)
		}
	}
	if n := after.Counters["packets_out"] - before.Counters["packets_out"]; n > 100 {
		t.Errorf("path: container %s sent %d packets on its network", container, n)
	}
}

// reachesNothing fails if a program in a container, dynamic or static, gets anything
// from outside, or the host's kernel asked for something meanwhile.
func (s *street) reachesNothing(t *testing.T, container string) {
	t.Helper()
	before := testenv.SNMP(t, s.h)
	for _, url := range append(outside(), "http://127.0.0.1:81/file") {
		for _, argv := range [][]string{
			{"curl", "-sS", "--fail", "--max-time", "10", url},
			{"busybox", "wget", "-q", "-T", "10", "-O", "-", url},
		} {
			if out, err := s.d.try(container, time.Minute, argv...); err == nil {
				t.Errorf("%s reaches %s with %s: %d bytes", container, url, argv[0], len(out))
			}
		}
	}
	for _, to := range []string{there4, there6} {
		for _, argv := range [][]string{{"ping", "-n"}, {"busybox", "ping"}} {
			if out, err := s.d.try(container, time.Minute, append(argv, "-c", "1", "-W", "2", to)...); err == nil {
				t.Errorf("%s reaches %s with %q:\n%s", container, to, argv, out)
			}
		}
	}
	after := testenv.SNMP(t, s.h).Since(before)
	for _, name := range []string{"Tcp.ActiveOpens", "Icmp.OutEchos", "Icmp6.OutEchos"} {
		if n := after[name]; n != 0 {
			t.Errorf("path: the host's kernel counted %s %d", name, n)
		}
	}
}

// TestWayOut: a container of policy host reaches what the host reaches, whatever
// its program is; an isolated one reaches nothing; SIGHUP changes it.
func TestWayOut(t *testing.T) {
	s := newStreet(t, `policy = "host"`, "")
	s.reaches(t, "web")
	s.reaches(t, "web", "-enforce")
	s.reachesNothing(t, "in")

	// Its loopback is its own, and so is its network.
	if out, err := s.d.try("web", time.Minute, "curl", "-sS", "--fail", "--max-time", "10", "http://127.0.0.1:81/file"); err == nil {
		t.Errorf("the host's loopback is reached: %d bytes", len(out))
	}
	testenv.Nginx(t, s.d.exec("in"), testenv.Options{Addrs: []string{client4 + ":80", "[" + client6 + "]:80"}, Root: s.root})
	for _, host := range []string{client4, "[" + client6 + "]"} {
		before := s.d.stats(t).Containers["web"]
		if got := s.d.curl(t, "web", "http://"+host+"/file", time.Minute); got != s.sum {
			t.Errorf("container in at %s: SHA-256 %s, want %s", host, got, s.sum)
		}
		if n := s.d.stats(t).Containers["web"].Counters["host_connects"] - before.Counters["host_connects"]; n != 0 {
			t.Errorf("path: %d connections to the network went over the host", n)
		}
	}

	// A static program, behind a supervisor.
	if out, err := s.d.try("web", time.Minute, "busybox", "wget", "-q", "-O", "/dev/null", "http://"+there4+"/file"); err != nil {
		t.Errorf("busybox wget: %v\n%s", err, out)
	}

	// What is open stays, what is opened then goes by the new policy.
	echo(t, s.p, there4+":7", "["+there6+"]:7")
	var held []*testenv.Process
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	for _, to := range []string{there4, there6} {
		argv := append(s.d.exec("web"), "python3", "testdata/hold.py", to, "80", "7")
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Stdin = in
		p := testenv.StartCmd(t, cmd)
		p.WaitOutput(t, 15*time.Second, "ready")
		held = append(held, p)
	}
	s.reload(t, streetConf("", `policy = "host"`), "policy host, was isolated")
	_ = out.Close()
	for _, p := range held {
		if err := p.Wait(t, time.Minute); err != nil || p.Stdout() != "ready\n"+s.sum+"\nsecond\nENETUNREACH\nENETUNREACH\n" {
			t.Errorf("sockets over a change of policy: %v\n%s", err, p.Output())
		}
	}
	s.reachesNothing(t, "web")
	s.reaches(t, "in")
}

// echo answers datagrams at addresses of a namespace until the test ends.
func echo(t *testing.T, ns *testenv.NetNS, addrs ...string) {
	t.Helper()
	for _, addr := range addrs {
		var c net.PacketConn
		ns.Do(t, func() {
			var err error
			if c, err = net.ListenPacket("udp", addr); err != nil {
				t.Fatal(err)
			}
		})
		t.Cleanup(func() { _ = c.Close() })
		go func() {
			buf := make([]byte, 1<<16)
			for {
				n, from, err := c.ReadFrom(buf)
				if err != nil {
					return
				}
				_, _ = c.WriteTo(buf[:n], from)
			}
		}()
	}
}

// TestWayOutDatagrams: UDP takes the same way out, with errors and sizes kept,
// and cannot be used to forge the overlay's frames.
func TestWayOutDatagrams(t *testing.T) {
	s := newStreet(t, `policy = "host"`, "")
	echo(t, s.p, there4+":7", "["+there6+"]:7")
	before := s.d.stats(t).Containers["web"]
	for _, tt := range []struct{ container, host, want string }{
		{"web", there4, "hello mapped ECONNREFUSED EACCES"},
		{"web", there6, "hello ECONNREFUSED EACCES"},
		{"in", there4, "ENETUNREACH ENETUNREACH ENETUNREACH"},
		{"in", there6, "ENETUNREACH ENETUNREACH ENETUNREACH"},
	} {
		out, err := s.d.try(tt.container, time.Minute, "python3", "testdata/udp.py", tt.host, "7", "-9", "-4789")
		if err != nil || strings.Join(strings.Fields(out), " ") != tt.want {
			t.Errorf("%s to %s: %v %q, want %q", tt.container, tt.host, err, out, tt.want)
		}
	}
	after := s.d.stats(t).Containers["web"]
	for _, name := range []string{"host_rx_bytes", "host_tx_bytes"} {
		if got := after.Counters[name] - before.Counters[name]; got < 42000 {
			t.Errorf("path: %s rose by %d", name, got)
		}
	}
	if n := s.d.stats(t).Containers["in"].Counters["host_tx_bytes"]; n != 0 {
		t.Errorf("path: an isolated container sent %d bytes over the host", n)
	}
}

// TestPublish: what a container publishes is reached from the host's own stack
// and from beyond, over both kinds of IP, and its programs see who asks.
func TestPublish(t *testing.T) {
	s := newStreet(t, `publish = ["8080:80", "[::]:8080:80"]`, "")
	curl := func(ns *testenv.NetNS, url string) (string, error) {
		return testenv.Try(ns, time.Minute, "curl", "-sS", "--fail", "--max-time", "30", url)
	}
	if out, err := curl(s.h, "http://127.0.0.1:8080/peer"); err == nil {
		t.Errorf("without a server: %q", out)
	}
	web := testenv.Nginx(t, s.d.exec("web"), testenv.Options{
		Addrs: []string{"0.0.0.0:80", "[::]:80"}, Workers: 2, Root: s.root,
		Extra: []string{`location = /peer { return 200 "$remote_addr\n"; }`},
	})
	before := s.d.stats(t).Containers["web"]
	for _, tt := range []struct {
		ns        *testenv.NetNS
		url, peer string
	}{
		{s.h, "http://127.0.0.1:8080", "127.0.0.1"},
		{s.h, "http://[::1]:8080", "::1"},
		{s.h, "http://" + here4 + ":8080", here4},
		{s.p, "http://" + here4 + ":8080", there4},
		{s.p, "http://[" + here6 + "]:8080", there6},
	} {
		if out, err := curl(tt.ns, tt.url+"/peer"); err != nil || out != tt.peer+"\n" {
			t.Errorf("%s: the server saw %q, want %s: %v", tt.url, out, tt.peer, err)
		}
		argv := append(tt.ns.Prefix(), "curl", "-sS", "--fail", "--max-time", "30", tt.url+"/file")
		if sum, err := hashOutput(time.Minute, argv...); err != nil || sum != s.sum {
			t.Errorf("%s: SHA-256 %s, want %s: %v", tt.url, sum, s.sum, err)
		}
	}
	after := s.d.stats(t).Containers["web"]
	for name, least := range map[string]uint64{"host_accepts": 10, "host_tx_bytes": 5 * streetFile, "app_tx_bytes": 5 * streetFile} {
		if got := after.Counters[name] - before.Counters[name]; got < least {
			t.Errorf("path: %s rose by %d, want %d", name, got, least)
		}
	}
	// Publishing lets nothing out.
	s.reachesNothing(t, "web")

	// A reload that asks for a port that is taken changes nothing.
	s.reload(t, streetConf(`publish = ["`+here4+`:81:80"]`, ""), "ss -ltnp")
	if out, err := curl(s.p, "http://"+here4+":8080/peer"); err != nil || out != there4+"\n" {
		t.Errorf("after a reload that failed: %q %v", out, err)
	}
	// One that does not, moves what it says.
	s.reload(t, streetConf(`publish = ["8080:80", "8082:80"]`, ""), "publish [0.0.0.0:8080:80/tcp 0.0.0.0:8082:80/tcp]")
	for _, url := range []string{"http://" + here4 + ":8080/peer", "http://" + here4 + ":8082/peer"} {
		if out, err := curl(s.p, url); err != nil || out != there4+"\n" {
			t.Errorf("after a reload: %s: %q %v", url, out, err)
		}
	}
	if out, err := curl(s.p, "http://["+here6+"]:8080/peer"); err == nil {
		t.Errorf("a port that is not published any more answers %q", out)
	}
	if err := web.Stop(); err != nil {
		t.Log(err)
	}
}

// TestPublishExec: netcon exec -p publishes for as long as its program runs, and
// says what is wrong before it starts it.
func TestPublishExec(t *testing.T) {
	s := newStreet(t, "", "")
	netcon := append(s.h.Prefix(), filepath.Join(buildDir(), "netcon"), "exec", "-run", filepath.Join(s.d.dir, "run"), "-n", "web")
	argv := append(netcon, "-p", here4+":8080:80", "-enforce", "--", "python3", "-u", "-m", "http.server", "80", "--directory", s.root)
	server := testenv.Start(t, nil, argv...)
	server.WaitOutput(t, 15*time.Second, "Serving HTTP")
	get := append(s.p.Prefix(), "curl", "-sS", "--fail", "--max-time", "30", "http://"+here4+":8080/file")
	if sum, err := hashOutput(time.Minute, get...); err != nil || sum != s.sum {
		t.Errorf("SHA-256 %s, want %s: %v", sum, s.sum, err)
	}
	if p := s.d.container(t, "web").Published; len(p) != 1 || p[0].Host != here4+":8080" || p[0].Port != 80 || p[0].PID == 0 {
		t.Errorf("published: %+v", p)
	}
	for _, tt := range []struct{ flag, want string }{
		{here4 + ":8080:80", "another program listens there"},
		{here4 + ":81:80", "another program listens there"},
		{there4 + ":82:80", "this host has no such address"},
		{"nonsense", "not a published port"},
	} {
		argv := append(netcon, "-p", tt.flag, "--", "touch", filepath.Join(s.d.dir, "started"))
		if out, err := testenv.Try(nil, time.Minute, argv...); err == nil || !strings.Contains(out+err.Error(), tt.want) {
			t.Errorf("-p %s: %v %s, want %q", tt.flag, err, out, tt.want)
		}
	}
	if _, err := os.Stat(filepath.Join(s.d.dir, "started")); err == nil {
		t.Error("a program was started without its port")
	}
	// What is in an empty network namespace gets no port of the host.
	inner := append(netcon, "-enforce", "--", filepath.Join(buildDir(), "netcon"), "exec", "-run", filepath.Join(s.d.dir, "run"), "-n", "web", "-p", "8083:80", "--", "true")
	if out, err := testenv.Try(nil, time.Minute, inner...); err == nil || !strings.Contains(out+err.Error(), "network namespace") {
		t.Errorf("-p from an empty network namespace: %v %s", err, out)
	}

	_ = server.Stop()
	testenv.WaitFor(t, 15*time.Second, func() bool { return len(s.d.container(t, "web").Published) == 0 }, "the port went with its program")
}

// TestPublishTaken: a daemon does not start without its ports.
func TestPublishTaken(t *testing.T) {
	s := newStreet(t, "", "")
	dir := testenv.OpenDir(t)
	file := filepath.Join(dir, "netcon.toml")
	text := fmt.Sprintf("[daemon]\nruntime_dir = %q\n%s", filepath.Join(dir, "run"),
		strings.Replace(streetConf(`publish = ["`+here4+`:81:80"]`, ""), "[underlay]\n", "[underlay]\nport = 4790\n", 1))
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := testenv.Try(s.h, time.Minute, filepath.Join(buildDir(), "netcon"), "up", "-c", file)
	want := fmt.Sprintf("container \"web\": publish %s:81:80/tcp: listen on %s:81: address already in use (another program listens there", here4, here4)
	if err == nil || !strings.Contains(out+err.Error(), want) {
		t.Errorf("up: %v %s\nwant %s", err, out, want)
	}
	if _, err := dataplane.NewClient(filepath.Join(dir, "run")).Status(); err == nil {
		t.Error("it runs")
	}
}
