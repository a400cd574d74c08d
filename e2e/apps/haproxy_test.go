// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"netcon/internal/testenv"
)

func init() {
	packages := []string{"haproxy", "nginx-light", "wrk", "curl", "socat"}
	add(scenario{
		name: "haproxy-reload", packages: packages,
		does: "master-worker, 2 threads, user dropped; reloaded every 2 s for 10 s under wrk -c 32, listeners passed as descriptors (`expose-fd listeners`); no request lost", bytes: 1 << 20,
		run: haproxyReload,
	})
	add(scenario{
		name: "haproxy-http", packages: packages,
		does: "HTTP mode, `defer-accept`, `tfo`, IPv4 and IPv6; 8 MiB from backends on 127.0.0.1 and, by IPv4 and IPv6, on the other host; health checks", bytes: 4 * 6 * 8 << 20,
		run: func(t *testing.T, e *env) {
			root := testenv.OpenDir(t)
			_, want := noise(t, root, "8MiB", 8<<20)
			testenv.Nginx(t, e.a.prefix, testenv.Options{Addrs: []string{"127.0.0.1:8080"}, Workers: 2, Root: root})
			testenv.Nginx(t, e.b.prefix, testenv.Options{Addrs: []string{b4 + ":8080", "[" + b6 + "]:8080"}, Workers: 2, Root: root})
			startHaproxy(t, e.a, "", `
frontend in
  mode http
  bind :80 defer-accept tfo
  bind :::80 v6only defer-accept
  default_backend out
backend out
  mode http
  balance roundrobin
  option httpchk GET /8MiB
  http-check send meth HEAD uri /8MiB
  server near 127.0.0.1:8080 check inter 500ms
  server far4 `+b4+`:8080 check inter 500ms
  server far6 [`+b6+`]:8080 check inter 500ms source ipv6@[`+a6+`]
`)
			testenv.WaitFor(t, 20*time.Second, func() bool {
				stat := e.a.do(t, 10*time.Second, "curl", "-sS", "--fail", "http://127.0.0.1:8404/;csv")
				return strings.Count(stat, ",UP,") == 4 // three servers and the backend
			}, "all servers to be up")
			for _, url := range []string{"http://" + a4 + "/8MiB", "http://[" + a6 + "]/8MiB"} {
				for range 3 {
					fetch(t, e.b, want, url)
				}
			}
		},
	})
	for _, splice := range []string{"on", "off"} {
		option, args := "", []string{"-dS"}
		if splice == "on" {
			option, args = "option splice-request\n  option splice-response", nil
		}
		add(scenario{
			name: "haproxy-splice-" + splice, packages: packages,
			does: "TCP mode with splicing " + splice + ": 64 MiB down and 32 MiB up, hashes compared", bytes: 2*64<<20 + 2*32<<20,
			run: func(t *testing.T, e *env) { haproxySplice(t, e, option, args) },
		})
	}
}

// startHaproxy starts haproxy as a daemon with a master, and waits until it
// listens on port 80.
func startHaproxy(t *testing.T, h *host, global, sections string, args ...string) (master *daemon) {
	t.Helper()
	dir := worldDir(t)
	conf := put(t, dir, "haproxy.cfg", fmt.Sprintf(`global
  user haproxy
  group haproxy
  nbthread 2
  hard-stop-after 15s
  stats socket %[1]s/sock mode 600 level admin expose-fd listeners
  %[2]s
defaults
  timeout connect 5s
  timeout client 20s
  timeout server 20s
frontend stats
  mode http
  bind 127.0.0.1:8404
  stats enable
  stats uri /
%[3]s
`, dir, global, sections))
	master = newDaemon(t, dir+"/pid")
	background(t, h, append([]string{"/usr/sbin/haproxy", "-W", "-D", "-f", conf, "-p", dir + "/pid", "-S", dir + "/master"}, args...)...)
	h.listens(t, 80)
	return master
}

func haproxyReload(t *testing.T, e *env) {
	testenv.Nginx(t, e.b.prefix, testenv.Options{Addrs: []string{b4 + ":8080"}, Workers: 2})
	master := startHaproxy(t, e.a, "", `
frontend in
  mode http
  bind :80
  default_backend out
backend out
  mode http
  http-reuse always
  server far `+b4+`:8080
`)
	pid := master.pid()
	load := e.b.start(t, "wrk", "-t2", "-c32", "-d12s", "--timeout", "10s", "http://"+a4+"/")
	before := listeners(t, e.a, 80)
	for range 5 {
		time.Sleep(2 * time.Second) // the scenario's rhythm
		old := strings.Fields(workers(t, pid))
		master.signal(t, syscall.SIGUSR2)
		testenv.WaitFor(t, 20*time.Second, func() bool {
			return slices.ContainsFunc(strings.Fields(workers(t, pid)), func(w string) bool { return !slices.Contains(old, w) })
		}, "a new worker")
	}
	if err := load.Wait(t, 40*time.Second); err != nil {
		t.Fatalf("wrk: %v\n%s", err, load.Output())
	}
	checkReloadedWrk(t, load.Stdout())
	if now := master.pid(); now != pid {
		t.Errorf("the master was %d and is %d", pid, now)
	}
	if now := listeners(t, e.a, 80); now != before {
		t.Errorf("the listener %q became %q: it was not passed", before, now)
	}
	e.b.do(t, 20*time.Second, "curl", "-sS", "--fail", "http://"+a4+"/")
	master.end(t, syscall.SIGTERM)
}

// workers returns the children of a process, as text.
func workers(t *testing.T, pid int) string {
	t.Helper()
	return strings.TrimSpace(mustRead(t, fmt.Sprintf("/proc/%d/task/%d/children", pid, pid)))
}

// listeners returns what tells the listeners on a port apart: the kernel's
// inodes, or the cookies under netcon.
func listeners(t *testing.T, h *host, port int) string {
	t.Helper()
	if h.client == nil {
		out := testenv.Run(t, h.ns, "ss", "-Hltne", fmt.Sprintf("sport = :%d", port))
		return strings.Join(regexp.MustCompile(`ino:\d+`).FindAllString(out, -1), " ")
	}
	sockets, err := h.client.Sockets()
	if err != nil {
		t.Fatal(err)
	}
	var cookies []string
	for _, s := range sockets {
		if s.State == "LISTEN" && int(s.Local.Port()) == port {
			cookies = append(cookies, fmt.Sprint(s.Cookie))
		}
	}
	return strings.Join(cookies, " ")
}

func haproxySplice(t *testing.T, e *env, option string, args []string) {
	dir := worldDir(t)
	down, downSum := noise(t, dir, "down", 64<<20)
	up, upSum := noise(t, dir, "up", 32<<20)
	testenv.Nginx(t, e.a.prefix, testenv.Options{Addrs: []string{"127.0.0.1:8080"}, Workers: 2, Root: dir})
	// The server of the other direction keeps what it gets.
	sink := e.a.start(t, "socat", "-u", "TCP-LISTEN:8081,bind=127.0.0.1", "CREATE:"+dir+"/sink")
	e.a.listens(t, 8081)
	startHaproxy(t, e.a, "", `
listen down
  bind :80
  mode tcp
  `+option+`
  server near 127.0.0.1:8080
listen up
  bind :81
  mode tcp
  `+option+`
  server near 127.0.0.1:8081
`, args...)
	fetch(t, e.b, downSum, "http://"+a4+"/"+down[len(dir)+1:])
	e.b.do(t, time.Minute, "socat", "-u", "OPEN:"+up, "TCP:"+a4+":81")
	if err := sink.Wait(t, 20*time.Second); err != nil {
		t.Fatalf("socat: %v\n%s", err, sink.Output())
	}
	if got := testenv.HashFile(t, dir+"/sink"); got != upSum {
		t.Errorf("SHA-256 of what was sent up %s, want %s", got, upSum)
	}
}
