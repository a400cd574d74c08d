// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"netcon/dataplane/container"
	"netcon/internal/testenv"
)

// nameserver answers for one name, in a namespace.
func nameserver(t *testing.T, ns *testenv.NetNS, addr, name, ip string) {
	t.Helper()
	var c net.PacketConn
	ns.Do(t, func() {
		var err error
		if c, err = net.ListenPacket("udp", addr); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			m := new(dnsmessage.Message)
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.Additionals = true, nil
			switch {
			case q.Name.String() != name+".":
				m.RCode = dnsmessage.RCodeNameError
			case q.Type == dnsmessage.TypeA:
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 60},
					Body:   &dnsmessage.AResource{A: netip.MustParseAddr(ip).As4()},
				}}
			}
			if out, err := m.Pack(); err == nil {
				_, _ = c.WriteTo(out, from)
			}
		}
	}()
}

// TestNames: containers find each other by name, and names outside where their
// policy lets them; a refusal is quick.
func TestNames(t *testing.T) {
	s := newStreet(t, `policy = "host"`, "", fmt.Sprintf("resolvers = [%q]", there4))
	nameserver(t, s.p, there4+":53", "shop.example", there4)
	dir := testenv.OpenDir(t)
	compilers := map[string][]string{"gcc": {"gcc"}, "musl": {"musl-gcc"}, "static-musl": {"musl-gcc", "-static"}}
	for name, cc := range compilers {
		argv := append(cc, "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", filepath.Join(dir, name), "testdata/names.c")
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s names.c: %v\n%s", name, err, out)
		}
	}
	netcon := func(flags ...string) []string {
		return append(append(s.h.Prefix(), filepath.Join(buildDir(), "netcon"), "exec", "-run", filepath.Join(s.d.dir, "run"), "-n", "web"), flags...)
	}
	for _, flags := range [][]string{{"--"}, {"-enforce", "--"}} {
		for cc := range compilers {
			out, err := testenv.Try(nil, time.Minute, append(netcon(flags...), filepath.Join(dir, cc), "in", client4, client6)...)
			if err != nil || !strings.Contains(out, "every name found") {
				t.Errorf("%s %v: %v\n%s", cc, flags, err, out)
			}
		}
		if out, err := testenv.Try(nil, time.Minute, append(netcon(flags...), "getent", "ahostsv4", "shop.example")...); err != nil || !strings.Contains(out, there4) {
			t.Errorf("%v: getent shop.example: %v\n%s", flags, err, out)
		}
		// Resolves and fetches, both ways out of the container.
		argv := append(netcon(flags...), "curl", "-sS", "--fail", "--max-time", "30", "http://shop.example/file")
		if sum, err := hashOutput(time.Minute, argv...); err != nil || sum != s.sum {
			t.Errorf("%v: curl http://shop.example: %v", flags, err)
		}
	}
	testenv.Nginx(t, s.d.exec("in"), testenv.Options{Addrs: []string{"0.0.0.0:80", "[::]:80"}, Root: s.root})
	for _, url := range []string{"http://in/file", "http://in.blue/file"} {
		if got := s.d.curl(t, "web", url, time.Minute); got != s.sum {
			t.Errorf("%s: SHA-256 %s, want %s", url, got, s.sum)
		}
	}
	if out := s.d.run(t, "in", time.Minute, "getent", "hosts", web6); !strings.Contains(out, "web.blue") {
		t.Errorf("getent hosts %s: %s", web6, out)
	}

	// A Go program of its own.
	for _, tt := range []struct{ container, name, want string }{
		{"web", "shop.example", there4}, {"in", "shop.example", ""}, {"in", "web.blue", web4},
	} {
		c, err := container.Attach(filepath.Join(s.d.dir, "run"), tt.container)
		if err != nil {
			t.Fatal(err)
		}
		ips, err := c.LookupNetIP(t.Context(), "ip4", tt.name)
		if got := strings.Trim(fmt.Sprint(ips), "[]"); got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s, as a client: %s is %s, %v, want %q", tt.container, tt.name, got, err, tt.want)
		}
		_ = c.Close()
	}

	// An isolated container is refused, not left waiting.
	began := time.Now()
	if out, err := s.d.try("in", time.Minute, "getent", "ahosts", "shop.example"); err == nil {
		t.Errorf("an isolated container found %s", out)
	}
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("it took %v", d)
	}
}

// TestNameserver: a program's own resolver is answered in the place of the
// nameservers of resolv.conf.
func TestNameserver(t *testing.T) {
	s := newStreet(t, `policy = "host"`, "", fmt.Sprintf("resolvers = [%q]", there4))
	nameserver(t, s.p, there4+":53", "shop.example", there4)
	for _, tt := range []struct{ container, name, want string }{
		{"web", "in", "NOERROR " + client4},
		{"in", "web.blue", "NOERROR " + web4},
		{"web", "shop.example", "NOERROR " + there4},
		{"in", "shop.example", "REFUSED"},
		{"web", "nobody.blue", "NXDOMAIN"},
		{"in", "nobody.blue", "NXDOMAIN"},
		{"web", "nobody.example", "NXDOMAIN"},
	} {
		for _, how := range []string{"connected", "unconnected", "tcp"} {
			out, err := s.d.try(tt.container, time.Minute, "python3", "testdata/dns.py", how, tt.name)
			if err != nil || strings.TrimSpace(out) != tt.want {
				t.Errorf("%s asks for %s, %s: %v %q, want %q", tt.container, tt.name, how, err, out, tt.want)
			}
		}
	}
	if n := s.d.stats(t).Containers["in"].Counters["host_connects"]; n != 0 {
		t.Errorf("path: an isolated container connected %d times over the host's stack", n)
	}
}

// TestResolverInside: a resolver on the containers' own network is asked over that,
// by isolated containers too, whichever way their programs ask.
func TestResolverInside(t *testing.T) {
	s := newStreet(t, "", "", fmt.Sprintf("resolvers = [%q]", client4))
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf("--host-record=many.inside,192.0.2.%d", i+1))
	}
	argv := append([]string{"dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--pid-file=", "--host-record=shop.inside,192.0.2.80"}, many...)
	server := s.d.begin(t, "in", "started", argv...)
	before := s.d.stats(t).Containers["web"]
	if out, err := s.d.try("web", time.Minute, "getent", "ahostsv4", "shop.inside"); err != nil || !strings.Contains(out, "192.0.2.80") {
		t.Errorf("getent: %v\n%s", err, out)
	}
	// More than goes into a datagram.
	if out, err := s.d.try("web", time.Minute, "getent", "ahostsv4", "many.inside"); err != nil || strings.Count(out, "STREAM") < 10 {
		t.Errorf("getent: %v\n%s", err, out)
	}
	if n := s.d.stats(t).Containers["web"].Counters["connects"] - before.Counters["connects"]; n == 0 {
		t.Error("path: nobody asked again over TCP")
	}
	for how, name := range map[string]string{"connected": "shop.inside", "tcp": "shop.inside", "unconnected": "shop.inside"} {
		out, err := s.d.try("web", time.Minute, "python3", "testdata/dns.py", how, name)
		if err != nil || strings.TrimSpace(out) != "NOERROR 192.0.2.80" {
			t.Errorf("%s: %v %q", how, err, out)
		}
	}
	if out, err := s.d.try("web", time.Minute, "getent", "ahostsv4", "in"); err != nil || !strings.Contains(out, client4) {
		t.Errorf("a container's name: %v\n%s", err, out)
	}
	// The server's container asks its own resolver, on its own address.
	if out, err := s.d.try("in", time.Minute, "getent", "ahostsv4", "shop.inside"); err != nil || !strings.Contains(out, "192.0.2.80") {
		t.Errorf("getent beside the server: %v\n%s", err, out)
	}
	after := s.d.stats(t).Containers["web"]
	if n := after.Counters["packets_out"] - before.Counters["packets_out"]; n < 10 {
		t.Errorf("path: %d packets on the network", n)
	}
	for _, name := range []string{"host_tx_bytes", "host_connects"} {
		if n := after.Counters[name]; n != 0 {
			t.Errorf("path: %s is %d", name, n)
		}
	}
	// Nothing of it is left.
	testenv.WaitFor(t, 15*time.Second, func() bool { return s.d.container(t, "web").Sockets == 0 }, "the daemon's own sockets are gone")

	// A resolver that is not there fails soon.
	_ = server.Stop()
	began := time.Now()
	if out, err := s.d.try("web", time.Minute, "getent", "ahostsv4", "shop.inside"); err == nil {
		t.Errorf("nobody answers: %s", out)
	}
	if d := time.Since(began); d > 20*time.Second {
		t.Errorf("it took %v", d)
	}
}

// TestNamesStatic: static programs, which no library reaches, find names too: Go's
// own resolver and that of a C library.
func TestNamesStatic(t *testing.T) {
	s := newStreet(t, `policy = "host"`, "", fmt.Sprintf("resolvers = [%q]", there4))
	nameserver(t, s.p, there4+":53", "shop.example", there4)
	testenv.Nginx(t, s.d.exec("in"), testenv.Options{Addrs: []string{"0.0.0.0:80", "[::]:80"}, Root: s.root})
	exe := filepath.Join(testenv.OpenDir(t), "names")
	testenv.Run(t, nil, "env", "CGO_ENABLED=0", "go", "build", "-o", exe, "testdata/names.go")
	netcon := func(container string, argv ...string) []string {
		return append(append(s.h.Prefix(), filepath.Join(buildDir(), "netcon"), "exec", "-run", filepath.Join(s.d.dir, "run"), "-n", container, "--"), argv...)
	}
	for what, argv := range map[string][]string{
		"Go":                    netcon("web", exe, "in", "blue", client4, "/file"),
		"Go, isolated":          netcon("in", exe, "in", "blue", client4, "/file"),
		"busybox":               netcon("web", "busybox", "wget", "-q", "-O", "-", "http://in.blue/file"),
		"busybox, the way out":  netcon("web", "busybox", "wget", "-q", "-O", "-", "http://shop.example/file"),
		"busybox under a shell": netcon("web", "sh", "-c", "busybox wget -q -O - http://in/file"),
	} {
		if sum, err := hashOutput(time.Minute, argv...); err != nil || sum != s.sum {
			t.Errorf("%s: SHA-256 %s, want %s: %v", what, sum, s.sum, err)
		}
	}
	for name, want := range map[string]string{"in": client4, "in.blue": client6, "shop.example": there4, client4: "in.blue"} {
		if out, err := s.d.try("web", time.Minute, "busybox", "nslookup", name); err != nil || !strings.Contains(out, want) {
			t.Errorf("busybox nslookup %s: %v\n%s", name, err, out)
		}
	}
	if out, err := s.d.try("in", time.Minute, "busybox", "nslookup", "shop.example"); err == nil {
		t.Errorf("an isolated container found %s", out)
	}
}
