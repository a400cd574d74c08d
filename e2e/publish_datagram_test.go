// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netcon/internal/testenv"
)

// udpClient is a kernel socket in a namespace that talks to one address.
func udpClient(t *testing.T, ns *testenv.NetNS, addr string) net.Conn {
	t.Helper()
	var c net.Conn
	ns.Do(t, func() {
		var err error
		if c, err = net.Dial("udp", addr); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

// asks sends a datagram and returns the answer, of a connected socket: it came from
// where the question went.
func asks(t *testing.T, c net.Conn, question []byte) string {
	t.Helper()
	b := make([]byte, 1<<16)
	if _, err := c.Write(question); err != nil {
		t.Fatal(err)
	}
	n, err := c.Read(b)
	if err != nil {
		t.Fatalf("%v to %v: %v", c.LocalAddr(), c.RemoteAddr(), err)
	}
	return string(b[:n])
}

// TestPublishDatagrams: a UDP port that a container publishes is reached from the
// host's own stack and from beyond; its program sees who asks, and answers come from
// the address that was asked.
func TestPublishDatagrams(t *testing.T) {
	s := newStreet(t, `publish = ["5353:53/udp", "[::]:5353:53/udp", "5353:53"]`, "")
	const second = "198.51.100.9"
	testenv.Run(t, nil, append(s.h.Prefix(), "ip", "addr", "add", second+"/24", "dev", "eth0")...)
	server := s.d.begin(t, "web", "ready", "python3", "testdata/udpserver.py", "53")
	before := s.d.stats(t).Containers["web"]
	large := bytes.Repeat([]byte("netcon"), 5000)
	for _, tt := range []struct {
		ns             *testenv.NetNS
		to, peer, mine string
	}{
		{s.h, "127.0.0.1", "::ffff:127.0.0.1", "::ffff:" + web4},
		{s.h, "[::1]", "::1", web6},
		{s.h, here4, "::ffff:" + here4, "::ffff:" + web4},
		{s.p, here4, "::ffff:" + there4, "::ffff:" + web4},
		{s.p, second, "::ffff:" + there4, "::ffff:" + web4},
		{s.p, "[" + here6 + "]", there6, web6},
	} {
		c := udpClient(t, tt.ns, tt.to+":5353")
		_, port, _ := net.SplitHostPort(c.LocalAddr().String())
		want := fmt.Sprintf("%s %s %s\n", tt.peer, port, tt.mine)
		for _, question := range [][]byte{nil, []byte("hello"), large} {
			if got := asks(t, c, question); got != want+string(question) {
				t.Errorf("%s: %d bytes, %q, want %q", tt.to, len(got), got[:min(len(got), 80)], want)
			}
		}
		if got := asks(t, c, []byte("connect")); got != want {
			t.Errorf("%s, connected: %q, want %q", tt.to, got, want)
		}
		if got := asks(t, c, nil); got != "again" {
			t.Errorf("%s, connected: %q", tt.to, got)
		}
	}
	after := s.d.stats(t).Containers["web"]
	for _, name := range []string{"host_rx_bytes", "host_tx_bytes"} {
		if got := after.Counters[name] - before.Counters[name]; got < uint64(6*len(large)) {
			t.Errorf("path: %s rose by %d", name, got)
		}
	}
	if n := after.Counters["packets_out"] - before.Counters["packets_out"]; n > 20 {
		t.Errorf("path: %d packets on the network", n)
	}
	published := fmt.Sprint(s.d.container(t, "web").Published)
	for _, want := range []string{"{0.0.0.0:5353 53 udp 0}", "{[::]:5353 53 udp 0}", "{0.0.0.0:5353 53 tcp 0}"} {
		if !strings.Contains(published, want) {
			t.Errorf("published %s, without %s", published, want)
		}
	}
	// It lets nothing out.
	out, err := s.d.try("web", time.Minute, "python3", "testdata/udp.py", there4, "7")
	if err != nil || strings.TrimSpace(out) != "ENETUNREACH" {
		t.Errorf("an isolated container that publishes: %v %q", err, out)
	}

	// What nobody takes is counted.
	_ = server.Stop()
	lost := func() uint64 { return s.d.stats(t).Containers["web"].Drops["no_socket"] }
	had := lost()
	c := udpClient(t, s.h, "127.0.0.1:5353")
	if _, err := c.Write([]byte("is anybody there?")); err != nil {
		t.Fatal(err)
	}
	testenv.WaitFor(t, 15*time.Second, func() bool { return lost() > had }, "a datagram that nobody takes is counted")

	// A stock server, and a reload that moves its port.
	s.d.begin(t, "web", "started", "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--pid-file=", "--host-record=shop.apps,192.0.2.80")
	dig := func(ns *testenv.NetNS, to, port string) {
		t.Helper()
		out, err := testenv.Try(ns, time.Minute, "dig", "+short", "+tries=1", "+time=10", "-p", port, "@"+to, "shop.apps", "A")
		if err != nil || out != "192.0.2.80\n" {
			t.Errorf("dig @%s: %v %q", to, err, out)
		}
	}
	dig(s.h, "127.0.0.1", "5353")
	dig(s.p, here4, "5353")
	dig(s.p, here6, "5353")
	s.reload(t, streetConf(`publish = ["5353:53/udp", "5354:53/udp"]`, ""), "publish [0.0.0.0:5353:53/udp 0.0.0.0:5354:53/udp]")
	dig(s.p, here4, "5353")
	dig(s.p, here4, "5354")
	s.reload(t, streetConf(`publish = ["5353:54/udp"]`, `publish = ["5354:53/udp"]`), "publish [0.0.0.0:5354:53/udp], was []")
	had = lost()
	if _, err := c.Write([]byte("another port")); err != nil {
		t.Fatal(err)
	}
	testenv.WaitFor(t, 15*time.Second, func() bool { return lost() > had }, "the port leads elsewhere")
}

// TestPublishDatagramsExec: netcon exec -p publishes a UDP port for as long as its
// program runs.
func TestPublishDatagramsExec(t *testing.T) {
	s := newStreet(t, "", "")
	netcon := append(s.h.Prefix(), filepath.Join(buildDir(), "netcon"), "exec", "-run", filepath.Join(s.d.dir, "run"), "-n", "web")
	server := testenv.Start(t, nil, append(netcon, "-p", here4+":5353:53/udp", "-enforce", "--", "python3", "testdata/udpserver.py", "53")...)
	server.WaitOutput(t, 15*time.Second, "ready")
	c := udpClient(t, s.p, here4+":5353")
	if got := asks(t, c, []byte("hello")); !strings.HasPrefix(got, "::ffff:"+there4+" ") {
		t.Errorf("%q", got)
	}
	if p := s.d.container(t, "web").Published; len(p) != 1 || p[0].Host != here4+":5353" || p[0].Proto != "udp" || p[0].PID == 0 {
		t.Errorf("published: %+v", p)
	}
	for _, tt := range []struct{ flag, want string }{
		{here4 + ":5353:53/udp", "ss -lunp"},
		{"5353:53/sctp", "not supported (tcp, udp)"},
	} {
		out, err := testenv.Try(nil, time.Minute, append(netcon, "-p", tt.flag, "--", "true")...)
		if err == nil || !strings.Contains(out+err.Error(), tt.want) {
			t.Errorf("-p %s: %v %s, want %q", tt.flag, err, out, tt.want)
		}
	}
	_ = server.Stop()
	testenv.WaitFor(t, 15*time.Second, func() bool { return len(s.d.container(t, "web").Published) == 0 }, "the port went with its program")

	// A static program, behind a supervisor.
	exe := filepath.Join(testenv.OpenDir(t), "udpserver")
	testenv.Run(t, nil, "env", "CGO_ENABLED=0", "go", "build", "-o", exe, "testdata/udpserver.go")
	server = testenv.Start(t, nil, append(netcon, "-p", "5353:53/udp", "--", exe, "53")...)
	server.WaitOutput(t, 15*time.Second, "ready")
	c = udpClient(t, s.p, here4+":5353")
	for _, text := range []string{"", "hello", strings.Repeat("netcon", 5000)} {
		if got := asks(t, c, []byte(text)); got != c.LocalAddr().String()+"\n"+text {
			t.Errorf("%d bytes: %q", len(got), got[:min(len(got), 80)])
		}
	}
	_ = server.Stop()
}
