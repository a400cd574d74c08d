// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"netcon/internal/testenv"
)

func init() {
	packages := []string{"apache2", "apache2-utils", "curl", "wrk"}
	for _, mpm := range []string{"prefork", "worker", "event"} {
		add(scenario{
			name: "apache-" + mpm, packages: packages,
			does: "MPM " + mpm + " as www-data: 8 MiB by IPv4 and IPv6 (hash compared), CGI GET and POST, ab with and without keep-alive, `graceful-stop`", bytes: 2*8<<20 + 1<<20,
			run: func(t *testing.T, e *env) {
				a := startApache(t, e.a, mpm, "", "-k", "start")
				a.files(t, e)
				a.cgi(t, e)
				ab(t, e.b, "-n", "2000", "-c", "32", "-k")
				ab(t, e.b, "-n", "1000", "-c", "16")
				a.end(t, syscall.SIGWINCH)
			},
		})
		add(scenario{
			name: "apache-" + mpm + "-graceful", packages: packages,
			does: "MPM " + mpm + ": `graceful` every 2 s for 10 s under wrk -c 32 and a CGI that is running; no error", bytes: 1 << 20,
			run: func(t *testing.T, e *env) { apacheGraceful(t, e, mpm) },
		})
	}
	add(scenario{
		name: "apache-X", packages: packages,
		does: "`-X`: one process in the foreground, 8 MiB, CGI, ab -c 4", bytes: 2*8<<20 + 1<<20,
		run: func(t *testing.T, e *env) {
			a := startApache(t, e.a, "event", "", "-X")
			a.files(t, e)
			a.cgi(t, e)
			ab(t, e.b, "-n", "500", "-c", "4", "-k")
			a.end(t, syscall.SIGTERM)
		},
	})
	add(scenario{
		name: "apache-proxy", packages: packages,
		does: "mod_proxy to a backend on 127.0.0.1 and on ::1 with pooled connections, ab -c 16", bytes: 1 << 20,
		run: func(t *testing.T, e *env) {
			a := startApache(t, e.a, "event", `
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
Listen 127.0.0.1:8080
Listen [::1]:8081
ProxyPass /four/ http://127.0.0.1:8080/
ProxyPass /six/ http://[::1]:8081/
`, "-k", "start")
			for _, path := range []string{"four", "six"} {
				fetch(t, e.b, a.sum, "http://"+a4+"/"+path+"/8MiB")
			}
			ab(t, e.b, "-n", "2000", "-c", "16", "-k", "http://"+a4+"/four/hello")
			a.end(t, syscall.SIGTERM)
		},
	})
}

// apache is a running Apache httpd.
type apache struct {
	*daemon
	h    *host
	conf string
	sum  string // of /8MiB
}

// startApache starts httpd with an MPM and additional directives.
func startApache(t *testing.T, h *host, mpm, directives string, args ...string) *apache {
	t.Helper()
	dir := worldDir(t)
	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, root, "hello", "hello from httpd\n")
	_, sum := noise(t, root, "8MiB", 8<<20)
	script := put(t, dir, "cgi", `#!/bin/bash
printf 'Content-Type: text/plain\r\n\r\n'
echo "$REQUEST_METHOD from $REMOTE_ADDR to $SERVER_ADDR"
[ "$QUERY_STRING" = slow ] && sleep 3
sha256sum
`)
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	cgi := "cgid"
	if mpm == "prefork" {
		cgi = "cgi"
	} else {
		directives += "ScriptSock " + dir + "/cgisock\n"
	}
	modules := ""
	for _, m := range []string{"mpm_" + mpm, "authz_core", "alias", cgi} {
		modules += "LoadModule " + m + "_module /usr/lib/apache2/modules/mod_" + m + ".so\n"
	}
	if mpm == "event" {
		// A child whose threads are all busy closes connections that are kept
		// alive, and ab takes some of that for failures, on the kernel as well.
		directives += "ThreadsPerChild 64\n"
	}
	conf := put(t, dir, "apache.conf", fmt.Sprintf(`%[2]s
ServerRoot %[1]s
DefaultRuntimeDir %[1]s
ServerName app
PidFile %[1]s/pid
ErrorLog %[1]s/err
User www-data
Group www-data
DocumentRoot %[1]s/root
EnableSendfile on
ScriptAlias /cgi %[1]s/cgi
Listen 80
<Directory %[1]s>
  Require all granted
</Directory>
%[3]s
`, dir, modules, directives))
	a := &apache{daemon: newDaemon(t, dir+"/pid"), h: h, conf: conf, sum: sum}
	argv := append([]string{"/usr/sbin/apache2", "-f", conf}, args...)
	if args[0] == "-X" {
		h.start(t, argv...)
	} else {
		background(t, h, argv...)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("error log:\n%s", mustRead(t, dir+"/err"))
		}
	})
	h.listens(t, 80)
	return a
}

func (a *apache) files(t *testing.T, e *env) {
	t.Helper()
	fetch(t, e.b, a.sum, "http://"+a4+"/8MiB")
	fetch(t, e.b, a.sum, "http://["+a6+"]/8MiB")
}

// cgi has a script answer with what it was told and sent.
func (a *apache) cgi(t *testing.T, e *env) {
	t.Helper()
	body, want := noise(t, testenv.OpenDir(t), "body", 300<<10)
	for _, c := range []struct{ url, from, to string }{
		{"http://" + a4 + "/cgi", b4, a4},
		{"http://[" + a6 + "]/cgi", b6, a6},
	} {
		got := e.b.do(t, 20*time.Second, "curl", "-sS", "--fail", c.url)
		if prefix := fmt.Sprintf("GET from %s to %s\n", c.from, c.to); !strings.HasPrefix(got, prefix) {
			t.Errorf("GET %s: %q, want %q first", c.url, got, prefix)
		}
		got = e.b.do(t, 20*time.Second, "curl", "-sS", "--fail", "--data-binary", "@"+body, c.url)
		if wanted := fmt.Sprintf("POST from %s to %s\n%s  -\n", c.from, c.to, want); got != wanted {
			t.Errorf("POST %s: %q, want %q", c.url, got, wanted)
		}
	}
}

var abFailed = regexp.MustCompile(`Failed requests: +(\d+)`)

// ab asks /hello of host a, unless the arguments end in an URL, and fails the
// test if a request failed.
func ab(t *testing.T, from *host, args ...string) {
	t.Helper()
	if !strings.HasPrefix(args[len(args)-1], "http") {
		args = append(args, "http://"+a4+"/hello")
	}
	out := from.do(t, 40*time.Second, append([]string{"ab", "-q"}, args...)...)
	if m := abFailed.FindStringSubmatch(out); m == nil || m[1] != "0" || strings.Contains(out, "Non-2xx") {
		t.Errorf("ab %q printed:\n%s", args, out)
	}
}

func apacheGraceful(t *testing.T, e *env, mpm string) {
	// Of prefork, every connection that wrk keeps needs a process of its own.
	spare := map[string]string{"prefork": "StartServers 40\nMinSpareServers 8\n"}[mpm]
	a := startApache(t, e.a, mpm, spare, "-k", "start")
	load := e.b.start(t, "wrk", "-t2", "-c32", "-d12s", "--timeout", "10s", "http://"+a4+"/hello")
	for range 5 {
		slow := e.b.start(t, "curl", "-sS", "--fail", "-d", "body", "http://"+a4+"/cgi?slow")
		time.Sleep(2 * time.Second) // the scenario's rhythm
		// As a user does: another process of the same program reads the pid file.
		e.a.do(t, 20*time.Second, "/usr/sbin/apache2", "-f", a.conf, "-k", "graceful")
		if err := slow.Wait(t, 20*time.Second); err != nil {
			t.Errorf("a CGI request across graceful: %v\n%s", err, slow.Output())
		}
		if want := "POST from " + b4 + " to " + a4 + "\n"; !strings.HasPrefix(slow.Stdout(), want) {
			t.Errorf("a CGI request across graceful answered %q, want %q first", slow.Stdout(), want)
		}
	}
	if err := load.Wait(t, 40*time.Second); err != nil {
		t.Fatalf("wrk: %v\n%s", err, load.Output())
	}
	checkReloadedWrk(t, load.Stdout())
	ab(t, e.b, "-n", "200", "-c", "8")
	a.end(t, syscall.SIGTERM)
}

var wrkErrors = regexp.MustCompile(`connect (\d+), read \d+, write \d+, timeout (\d+)`)

// checkReloadedWrk judges wrk's output when the server replaced its processes.
// Connections of an old process end between two requests, which wrk counts as
// read errors, on the kernel as well. Nothing else may fail.
func checkReloadedWrk(t *testing.T, out string) {
	t.Helper()
	if m := wrkRequests.FindStringSubmatch(out); m == nil || m[1] == "0" || strings.Contains(out, "Non-2xx") {
		t.Errorf("wrk printed:\n%s", out)
	}
	if m := wrkErrors.FindStringSubmatch(out); m != nil && (m[1] != "0" || m[2] != "0") {
		t.Errorf("wrk printed:\n%s", out)
	}
}
