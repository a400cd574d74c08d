// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"netcon/internal/testenv"
)

func init() {
	nginx := []string{"nginx-light", "wrk", "curl"}
	add(scenario{
		name: "nginx-foreground", packages: nginx, does: "`daemon off`, 4 workers, wrk -c 64 for 3 s", bytes: 1 << 20, short: true,
		run: func(t *testing.T, e *env) {
			n := startNginx(t, e.a, "daemon off; worker_processes 4;", "", serveRoot)
			n.wrk(t, e.b, 64, 3*time.Second)
		},
	})
	add(scenario{
		name: "nginx-daemon", packages: nginx, does: "`daemon on`, 4 workers, wrk -c 64 for 3 s, quit by signal", bytes: 1 << 20,
		run: func(t *testing.T, e *env) {
			n := startNginx(t, e.a, "daemon on; worker_processes 4;", "", serveRoot)
			n.wrk(t, e.b, 64, 3*time.Second)
			e.a.shows(t, "nginx", 5)
			n.quit(t)
		},
	})
	add(scenario{
		name: "nginx-reuseport", packages: nginx, does: "4 workers with a listener each (reuseport), wrk -c 64 for 3 s", bytes: 1 << 20,
		run: func(t *testing.T, e *env) {
			n := startNginx(t, e.a, "daemon off; worker_processes 4;", "", strings.ReplaceAll(serveRoot, ";listen", " reuseport;listen"))
			n.wrk(t, e.b, 64, 3*time.Second)
		},
	})
	add(scenario{
		name: "nginx-reload", packages: nginx, does: "reloaded every 2 s for a minute under wrk -c 64; no error, no request lost", bytes: 1 << 20,
		run: nginxReload,
	})
	add(scenario{
		name: "nginx-upgrade", packages: nginx, does: "binary upgrade under load: USR2, WINCH, QUIT; listeners cross exec", bytes: 1 << 20, short: true,
		run: nginxUpgrade,
	})
	add(scenario{
		name: "nginx-proxy", packages: nginx, does: "proxy_pass with keep-alive upstreams on 127.0.0.1, wrk -c 32", bytes: 1 << 20,
		run: func(t *testing.T, e *env) {
			n := startNginx(t, e.a, "daemon off; worker_processes 2;", `
upstream up { server 127.0.0.1:8080; keepalive 16; }
server { listen 127.0.0.1:8080; location / { return 200 "upstream\n"; } }
`, `server { listen 80;listen [::]:80; location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; } }`)
			if got := e.b.do(t, 10*time.Second, "curl", "-sS", "--fail", "http://"+a4+"/"); got != "upstream\n" {
				t.Errorf("the proxy answered %q", got)
			}
			n.wrk(t, e.b, 32, 3*time.Second)
		},
	})
	add(scenario{
		name: "nginx-tls", packages: append(nginx, "openssl"), does: "TLS 1.2 and 1.3, 8 MiB with sendfile on, hash compared (kernel TLS falls back)", bytes: 2 * 8 << 20,
		run: nginxTLS,
	})
	add(scenario{
		name: "nginx-stream", packages: append(nginx, "libnginx-mod-stream"), does: "stream proxy of 8 MiB, hash compared", bytes: 8 << 20,
		run: func(t *testing.T, e *env) {
			dir := testenv.OpenDir(t)
			path, want := noise(t, dir, "8MiB", 8<<20)
			n := newNginx(t, e.a)
			n.conf(t, `load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off; worker_processes 2; pid `+n.dir+`/pid; error_log `+n.dir+`/err; events { }
stream { server { listen 80; proxy_pass 127.0.0.1:9000; } }
http { access_log off; client_body_temp_path `+n.dir+`/tmp; proxy_temp_path `+n.dir+`/tmp; fastcgi_temp_path `+n.dir+`/tmp; uwsgi_temp_path `+n.dir+`/tmp; scgi_temp_path `+n.dir+`/tmp;
  server { listen 127.0.0.1:9000; root `+dir+`; } }`)
			n.start(t)
			e.b.do(t, time.Minute, "curl", "-sS", "--fail", "-o", path+".got", "http://"+a4+"/8MiB")
			if got := sum(t, path+".got"); got != want {
				t.Errorf("SHA-256 %s, want %s", got, want)
			}
		},
	})
}

// serveRoot answers every request.
const serveRoot = `server { listen 80;listen [::]:80; location / { return 200 "hello from a stack of my own\n"; } }`

// nginx is a running nginx.
type nginx struct {
	h   *host
	dir string
}

func newNginx(t *testing.T, h *host) *nginx {
	t.Helper()
	dir := testenv.OpenDir(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return &nginx{h: h, dir: dir}
}

func (n *nginx) conf(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(n.dir, "nginx.conf"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// startNginx starts nginx with directives of the main and http contexts.
func startNginx(t *testing.T, h *host, main, http, server string) *nginx {
	t.Helper()
	n := newNginx(t, h)
	n.conf(t, fmt.Sprintf(`%[2]s pid %[1]s/pid; error_log %[1]s/err; events { worker_connections 1024; }
http { access_log off; client_body_temp_path %[1]s/tmp; proxy_temp_path %[1]s/tmp; fastcgi_temp_path %[1]s/tmp; uwsgi_temp_path %[1]s/tmp; scgi_temp_path %[1]s/tmp;
%[3]s
%[4]s }
`, n.dir, main, http, server))
	n.start(t)
	return n
}

func (n *nginx) start(t *testing.T) {
	t.Helper()
	n.h.launch(t, n.argv()...)
	t.Cleanup(func() {
		if pid := n.pid(); pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
	})
	n.h.listens(t, 80)
}

func (n *nginx) argv() []string {
	return []string{"/usr/sbin/nginx", "-p", n.dir, "-e", n.dir + "/err", "-c", n.dir + "/nginx.conf"}
}

// pid returns the master's process, 0 if there is none.
func (n *nginx) pid() int {
	b, err := os.ReadFile(filepath.Join(n.dir, "pid"))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}

func (n *nginx) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(n.pid(), sig); err != nil {
		t.Fatalf("signal %v to nginx: %v", sig, err)
	}
}

// quit ends nginx in order.
func (n *nginx) quit(t *testing.T) {
	t.Helper()
	pid := n.pid()
	n.signal(t, syscall.SIGQUIT)
	testenv.WaitFor(t, 10*time.Second, func() bool { return syscall.Kill(pid, 0) != nil }, "nginx to end")
}

// wrk asks nginx from another host, and fails the test if a request failed.
func (n *nginx) wrk(t *testing.T, from *host, connections int, length time.Duration) {
	t.Helper()
	out := from.do(t, length+20*time.Second, "wrk", "-t2", "-c", strconv.Itoa(connections), "-d", fmt.Sprintf("%.0fs", length.Seconds()), "http://"+a4+"/")
	checkWrk(t, out)
}

var wrkRequests = regexp.MustCompile(`(\d+) requests in`)

func checkWrk(t *testing.T, out string) {
	t.Helper()
	m := wrkRequests.FindStringSubmatch(out)
	if m == nil || m[1] == "0" || strings.Contains(out, "Non-2xx") || strings.Contains(out, "Socket errors") {
		t.Errorf("wrk printed:\n%s", out)
	}
}

func nginxReload(t *testing.T, e *env) {
	const length = time.Minute
	n := startNginx(t, e.a, "daemon off; worker_processes 4;", "", serveRoot)
	load := e.b.start(t, "wrk", "-t2", "-c64", "-d", fmt.Sprintf("%.0fs", length.Seconds()), "http://"+a4+"/")
	reloads := 0
	for end := time.Now().Add(length - 2*time.Second); time.Now().Before(end); reloads++ {
		time.Sleep(2 * time.Second) // the scenario's rhythm
		n.signal(t, syscall.SIGHUP)
	}
	if err := load.Wait(t, length+20*time.Second); err != nil {
		t.Fatalf("wrk: %v\n%s", err, load.Output())
	}
	// Keep-alive connections of an old worker end between two requests, which
	// wrk counts as read errors, on the kernel as well. Nothing else may fail.
	out := load.Stdout()
	if m := wrkRequests.FindStringSubmatch(out); m == nil || m[1] == "0" || strings.Contains(out, "Non-2xx") {
		t.Errorf("wrk printed:\n%s", out)
	}
	if m := regexp.MustCompile(`connect (\d+), read \d+, write \d+, timeout (\d+)`).FindStringSubmatch(out); m != nil && (m[1] != "0" || m[2] != "0") {
		t.Errorf("wrk printed:\n%s", out)
	}
	if reloads == 0 {
		t.Error("nothing was reloaded")
	}
	n.quit(t)
}

func nginxUpgrade(t *testing.T, e *env) {
	n := startNginx(t, e.a, "daemon on; worker_processes 2;", "", serveRoot)
	// A master that is only starting forgets signals.
	e.b.do(t, 10*time.Second, "curl", "-sS", "--fail", "http://"+a4+"/")
	load := e.b.start(t, "wrk", "-t1", "-c16", "-d6s", "http://"+a4+"/")
	old := n.pid()
	n.signal(t, syscall.SIGUSR2)
	testenv.WaitFor(t, 10*time.Second, func() bool {
		now := n.pid()
		return now != 0 && now != old
	}, "the new binary's pid file")
	for _, sig := range []syscall.Signal{syscall.SIGWINCH, syscall.SIGQUIT} {
		if err := syscall.Kill(old, sig); err != nil {
			t.Fatal(err)
		}
	}
	testenv.WaitFor(t, 15*time.Second, func() bool { return syscall.Kill(old, 0) != nil }, "the old master to end")
	if err := load.Wait(t, 30*time.Second); err != nil {
		t.Fatalf("wrk: %v\n%s", err, load.Output())
	}
	if out := load.Stdout(); strings.Contains(out, "Non-2xx") || !strings.Contains(out, "requests in") {
		t.Errorf("wrk printed:\n%s", out)
	}
	n.wrk(t, e.b, 16, time.Second)
	if t.Failed() {
		text, _ := os.ReadFile(n.dir + "/err")
		t.Logf("nginx's log:\n%s", text)
	}
	n.quit(t)
}

func nginxTLS(t *testing.T, e *env) {
	n := newNginx(t, e.a)
	path, want := noise(t, n.dir, "8MiB", 8<<20)
	certificate(t, n.dir)
	n.conf(t, fmt.Sprintf(`daemon off; worker_processes 2; pid %[1]s/pid; error_log %[1]s/err; events { }
http { access_log off; sendfile on; tcp_nopush on; client_body_temp_path %[1]s/tmp; proxy_temp_path %[1]s/tmp; fastcgi_temp_path %[1]s/tmp; uwsgi_temp_path %[1]s/tmp; scgi_temp_path %[1]s/tmp;
  server { listen 80; listen 443 ssl; ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate cert.pem; ssl_certificate_key key.pem; ssl_conf_command Options KTLS; root %[1]s; } }
`, n.dir))
	n.start(t)
	for _, version := range []string{"--tlsv1.2 --tls-max 1.2", "--tlsv1.3"} {
		e.b.sh(t, time.Minute, "curl -sS --fail --cacert "+n.dir+"/cert.pem "+version+" -o "+path+".got https://"+a4+"/8MiB")
		if got := sum(t, path+".got"); got != want {
			t.Errorf("%s: SHA-256 %s, want %s", version, got, want)
		}
	}
}
