// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"netcon/internal/testenv"
)

func init() {
	packages := []string{"socat"}
	add(scenario{
		name: "socat-exec", packages: packages,
		does: "`fork` with EXEC over a socket pair, pipes, a terminal, and `nofork` (the program on the connection itself), SYSTEM; TCP4 and TCP6; user dropped", bytes: 16 << 20,
		run: socatExec,
	})
	add(scenario{
		name: "socat-relay", packages: packages,
		does: "a chain TCP4, TCP6, TCP4 of forking relays: 16 MiB echoed with half close, hash compared; 20 at once", bytes: 2 * 2 * 16 << 20,
		run: func(t *testing.T, e *env) {
			e.a.start(t, "socat", "TCP4-LISTEN:7000,fork,reuseaddr,bind="+a4, "EXEC:cat")
			e.a.listens(t, 7000)
			e.b.start(t, "socat", "-t", "20", "TCP6-LISTEN:7001,fork,reuseaddr,max-children=40", "TCP4:"+a4+":7000,keepalive,nodelay")
			e.b.listens(t, 7001)
			e.a.start(t, "socat", "-t", "20", "TCP-LISTEN:7002,fork,reuseaddr,backlog=64", "TCP6:["+b6+"]:7001")
			e.a.listens(t, 7002)
			echoes(t, e.b, 16<<20, "TCP:"+a4+":7002")
			socatMany(t, e.b, 20, "TCP:"+a4+":7002")
		},
	})
	add(scenario{
		name: "bash-dev-tcp", packages: []string{"bash", "nginx-light", "socat"},
		does: "`exec 3<>/dev/tcp/ADDRESS/PORT`: HTTP by hand over IPv4 and IPv6, 1 MiB echoed, a connection nobody takes", bytes: 4 << 20,
		run: bashDevTCP,
	})
}

// socatMany echoes over several connections at once.
func socatMany(t *testing.T, from *host, n int, to string) {
	t.Helper()
	var all []*testenv.Process
	for i := range n {
		all = append(all, from.start(t, "bash", "-c", fmt.Sprintf("head -c %d /dev/zero | socat -t 20 STDIO %s | wc -c", 200000+i, to)))
	}
	for i, p := range all {
		if err := p.Wait(t, time.Minute); err != nil || strings.TrimSpace(p.Stdout()) != fmt.Sprint(200000+i) {
			t.Errorf("connection %d of %d: %v, %q", i, n, err, p.Output())
		}
	}
}

func socatExec(t *testing.T, e *env) {
	port := 7000
	for _, c := range []struct {
		listen, program string
		to              string
	}{
		{"TCP4-LISTEN:%d,fork,reuseaddr", "EXEC:cat", a4},
		{"TCP4-LISTEN:%d,fork,reuseaddr", "EXEC:cat,pipes", a4},
		{"TCP4-LISTEN:%d,fork,reuseaddr", "EXEC:cat,nofork", a4},
		{"TCP4-LISTEN:%d,fork,reuseaddr,su=nobody", "EXEC:cat,nofork", a4},
		{"TCP6-LISTEN:%d,fork,reuseaddr,ipv6only=1", "EXEC:cat,nofork", "[" + a6 + "]"},
		{"TCP6-LISTEN:%d,fork,reuseaddr,ipv6only=0", "SYSTEM:cat", a4},
		{"TCP-LISTEN:%d,fork,reuseaddr", "SYSTEM:sed -u s/^//", a4},
	} {
		e.a.start(t, "socat", "-t", "6", fmt.Sprintf(c.listen, port), c.program)
		e.a.listens(t, port)
		to := fmt.Sprintf("TCP:%s:%d", c.to, port)
		if strings.HasPrefix(c.program, "SYSTEM:sed") {
			if got := e.b.sh(t, 20*time.Second, "seq 10000 | socat -t 20 STDIO "+to+" | md5sum; seq 10000 | md5sum"); len(strings.Fields(got)) != 4 || strings.Fields(got)[0] != strings.Fields(got)[2] {
				t.Errorf("%s %s: %q", c.listen, c.program, got)
			}
		} else {
			echoes(t, e.b, 1<<20, to)
			socatMany(t, e.b, 4, to)
		}
		port++
	}
	// A terminal: what is sent comes back as output of a shell.
	e.a.start(t, "socat", fmt.Sprintf("TCP-LISTEN:%d,fork,reuseaddr", port), "EXEC:sh,pty,stderr,setsid,ctty,echo=0")
	e.a.listens(t, port)
	got := e.b.sh(t, 20*time.Second, fmt.Sprintf("printf 'tty; echo $((6*7)) $SOCAT_PEERADDR; exit\\n' | socat -t 20 STDIO TCP:%s:%d", a4, port))
	if !strings.Contains(got, "/dev/pts/") || !strings.Contains(got, "42 "+b4) {
		t.Errorf("the shell on a terminal printed %q", got)
	}
}

func bashDevTCP(t *testing.T, e *env) {
	startNginx(t, e.a, "daemon off; worker_processes 1;", "", serveRoot)
	e.a.start(t, "socat", "TCP6-LISTEN:7000,fork,reuseaddr,ipv6only=0", "EXEC:cat")
	e.a.listens(t, 7000)
	for _, c := range []struct{ host, name string }{{a4, a4}, {a6, "[" + a6 + "]"}} {
		got := e.b.sh(t, 20*time.Second, fmt.Sprintf(`exec 3<>/dev/tcp/%s/80
printf 'GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' >&3
read -r status <&3
cat <&3 | tail -1
echo "$status"`, c.host, c.name))
		if !strings.HasPrefix(got, "hello from a stack of my own\n") || !strings.Contains(got, "200 OK") {
			t.Errorf("from %s: %q", c.host, got)
		}
	}
	path, want := noise(t, testenv.OpenDir(t), "1MiB", 1<<20)
	got := e.b.sh(t, 30*time.Second, fmt.Sprintf(`exec 3<>/dev/tcp/%s/7000
cat %s >&3 &
head -c %d <&3 | sha256sum
wait`, a4, path, 1<<20))
	if !strings.HasPrefix(got, want) {
		t.Errorf("1 MiB echoed: %q, want %s", got, want)
	}
	// Lines, by the shell's own read, a byte at a time.
	got = e.b.sh(t, 30*time.Second, fmt.Sprintf(`exec 3<>/dev/tcp/%s/7000
for i in {1..500}; do echo "line $i" >&3; read -r line <&3; [ "$line" = "line $i" ] || exit 1; done
echo all`, a4))
	if got != "all\n" {
		t.Errorf("lines: %q", got)
	}
	_, err := e.b.try(20*time.Second, "bash", "-c", "exec 3<>/dev/tcp/"+a4+"/7999")
	if err == nil || !strings.Contains(err.Error(), "Connection refused") {
		t.Errorf("a port where nobody listens: %v", err)
	}
}
