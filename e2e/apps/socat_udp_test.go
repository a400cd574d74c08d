// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"netcon/dataplane"
	"netcon/internal/testenv"
)

func init() {
	packages := []string{"socat"}
	does := "RECVFROM with a child for each datagram, LISTEN with one for each peer, IPv4, IPv6 and dual stack, clients connected (bash's /dev/udp) and not"
	add(scenario{
		name: "socat-udp", packages: packages,
		does:  does + "; 60 datagrams of 1,000 bytes in order; multicast, broadcast, the address that was sent to (PKTINFO); a port where nobody listens",
		bytes: 2 * (60*1000 + 5*2*3*100),
		run: func(t *testing.T, e *env) {
			socatUDP(t, e, 100)
			socatOneWay(t, e)
		},
	})
	add(scenario{
		name: "socat-udp-short", packages: packages, does: does, bytes: 2 * 5 * 2 * 10, short: true,
		run: func(t *testing.T, e *env) { socatUDP(t, e, 10) },
	})
}

// bound waits until somebody on the host has a UDP socket on a port.
func (h *host) bound(t testing.TB, port int) {
	t.Helper()
	testenv.WaitFor(t, 30*time.Second, func() bool {
		if h.client == nil {
			out, err := testenv.Try(h.ns, 5*time.Second, "ss", "-Hlun", fmt.Sprintf("sport = :%d", port))
			return err == nil && strings.TrimSpace(out) != ""
		}
		sockets, err := h.client.Sockets()
		if err != nil {
			return false
		}
		return slices.ContainsFunc(sockets, func(s dataplane.Socket) bool {
			return s.Protocol == "udp" && s.State == "UNCONN" && int(s.Local.Port()) == port
		})
	}, "somebody to have UDP port %d", port)
}

// udpEchoes sends lines over one connected socket, and wants each back before it
// sends the next. The shell's own read takes a byte, and loses the datagram.
func udpEchoes(t testing.TB, from *host, to string, port, lines int) {
	t.Helper()
	got := from.sh(t, time.Minute, fmt.Sprintf(`exec 3<>/dev/udp/%s/%d
for i in {1..%d}; do echo "line $i" >&3; line=$(timeout 20 head -n 1 <&3); [ "$line" = "line $i" ] || exit 1; done
echo all`, to, port, lines))
	if got != "all\n" {
		t.Errorf("lines to %s, port %d: %q", to, port, got)
	}
}

func socatUDP(t *testing.T, e *env, lines int) {
	for i, c := range []struct {
		address string
		to      []string
	}{
		{"UDP4-RECVFROM:%d,fork", []string{a4}},
		{"UDP6-RECVFROM:%d,fork,ipv6only=1", []string{a6}},
		{"UDP6-RECVFROM:%d,fork,ipv6only=0", []string{a4, a6}},
		{"UDP4-LISTEN:%d,fork,reuseaddr", []string{a4}},
		{"UDP6-LISTEN:%d,fork,reuseaddr,ipv6only=1", []string{a6}},
	} {
		port := 7000 + i
		e.a.start(t, "socat", "-t", "2", fmt.Sprintf(c.address, port), "EXEC:cat")
		e.a.bound(t, port)
		for _, to := range c.to {
			udpEchoes(t, e.b, to, port, lines)
		}
	}
	// Not connected: the address comes from the datagram.
	got := e.b.sh(t, 20*time.Second, "echo hello | socat -t 1 STDIO UDP4-SENDTO:"+a4+":7000")
	if got != "hello\n" {
		t.Errorf("UDP4-SENDTO: %q", got)
	}
	_, err := e.b.try(20*time.Second, "bash", "-c", "(echo; sleep 1; echo) | socat -t 1 STDIO UDP4:"+a4+":7999")
	if err == nil || !strings.Contains(err.Error(), "Connection refused") {
		t.Errorf("a port where nobody listens: %v", err)
	}
}

// socatOneWay sends files to receivers that write what comes.
func socatOneWay(t *testing.T, e *env) {
	dir := testenv.OpenDir(t)
	path, _ := noise(t, dir, "sent", 60*1000)
	for i, c := range []struct{ receive, send string }{
		{"UDP4-RECV:%d", "UDP4-SENDTO:" + a4 + ":%d"},
		{"UDP6-RECV:%d", "UDP6:[" + a6 + "]:%d"},
		{"UDP4-RECV:%d,ip-add-membership=239.1.1.1:" + a4, "UDP4-DATAGRAM:239.1.1.1:%d,ip-multicast-if=" + b4},
		{"UDP6-RECV:%d,ipv6-join-group=[ff15::7]:eth0", "UDP6-DATAGRAM:[ff15::7]:%d"},
		{"UDP4-RECV:%d", "UDP4-DATAGRAM:10.42.0.255:%d,broadcast"},
	} {
		port := 7100 + i
		got := filepath.Join(dir, fmt.Sprint(i))
		e.a.start(t, "socat", "-u", fmt.Sprintf(c.receive, port), "CREATE:"+got)
		e.a.bound(t, port)
		e.b.do(t, 20*time.Second, "socat", "-u", "-b", "1000", "FILE:"+path, fmt.Sprintf(c.send, port))
		testenv.WaitFor(t, 20*time.Second, func() bool {
			i, err := os.Stat(got)
			return err == nil && i.Size() >= 60*1000
		}, "60 datagrams by %s", c.send)
		if sum(t, got) != sum(t, path) {
			t.Errorf("%s to %s: other bytes or another order", c.send, c.receive)
		}
	}
	e.a.start(t, "socat", "UDP4-RECVFROM:7200,fork,ip-pktinfo", `SYSTEM:echo $SOCAT_PEERADDR $SOCAT_IP_DSTADDR $SOCAT_IP_IF`)
	e.a.bound(t, 7200)
	got := e.b.sh(t, 20*time.Second, "exec 3<>/dev/udp/"+a4+"/7200; echo >&3; timeout 20 head -n 1 <&3")
	if want := b4 + " " + a4 + " eth0\n"; got != want {
		t.Errorf("PKTINFO: %q, want %q", got, want)
	}
}
