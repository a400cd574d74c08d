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
	exe := filepath.Join(testenv.OpenDir(t), "names")
	if out, err := exec.Command("gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", exe, "testdata/names.c").CombinedOutput(); err != nil {
		t.Fatalf("compile names.c: %v\n%s", err, out)
	}
	netcon := func(flags ...string) []string {
		return append(append(s.h.Prefix(), filepath.Join(buildDir(), "netcon"), "exec", "-run", filepath.Join(s.d.dir, "run"), "-n", "web"), flags...)
	}
	for _, flags := range [][]string{{"--"}, {"-enforce", "--"}} {
		out, err := testenv.Try(nil, time.Minute, append(netcon(flags...), exe, "in", client4, client6)...)
		if err != nil || !strings.Contains(out, "every name found") {
			t.Errorf("%v: %v\n%s", flags, err, out)
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
