// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"netcon/internal/testenv"
)

func init() {
	add(scenario{
		name: "ab", packages: []string{"apache2-utils", "nginx-light"},
		does: "of nginx: 5,000 requests each on 64 connections, kept (-k) and not, POST of 64 KiB, IPv6; none failed", bytes: 5000*2*64 + 2000*64<<10,
		run: func(t *testing.T, e *env) {
			startNginx(t, e.a, "daemon off; worker_processes 2;", "", serveRoot)
			body, _ := noise(t, testenv.OpenDir(t), "body", 64<<10)
			ab(t, e.b, "-n", "5000", "-c", "64", "-k", "http://"+a4+"/")
			ab(t, e.b, "-n", "5000", "-c", "64", "http://"+a4+"/")
			ab(t, e.b, "-n", "2000", "-c", "16", "-k", "-p", body, "-T", "application/octet-stream", "http://"+a4+"/")
			ab(t, e.b, "-n", "1000", "-c", "16", "-k", "http://["+a6+"]/")
		},
	})
	add(scenario{
		name: "wrk", packages: []string{"wrk", "nginx-light"},
		does: "of nginx, 3 s each: -c 1, -c 200 in 4 threads, connections not kept", bytes: 4 << 20,
		run: func(t *testing.T, e *env) {
			startNginx(t, e.a, "daemon off; worker_processes 2;", "", serveRoot)
			for _, args := range [][]string{{"-t1", "-c1"}, {"-t4", "-c200"}, {"-t2", "-c32", "-H", "Connection: close"}} {
				checkWrk(t, e.b.do(t, 30*time.Second, append(append([]string{"wrk", "-d3s", "--timeout", "10s"}, args...), "http://"+a4+"/")...))
			}
		},
	})
	add(scenario{
		name: "h2load", packages: []string{"nghttp2-client", "nghttp2-server", "openssl"},
		does: "of nghttpd in 2 threads: HTTP/2 in the clear and over TLS, 50 connections of 10 streams, 20,000 requests of 4 KiB; 100 of 1 MiB; all succeed", bytes: 2 * 2 * (20000*4<<10 + 100<<20),
		run: h2load,
	})
}

var h2loadDone = regexp.MustCompile(`requests: (\d+) total, \d+ started, \d+ done, (\d+) succeeded, 0 failed, 0 errored, 0 timeout`)

func h2load(t *testing.T, e *env) {
	dir := testenv.OpenDir(t)
	noise(t, dir, "4KiB", 4<<10)
	noise(t, dir, "1MiB", 1<<20)
	certificate(t, dir)
	e.a.start(t, "nghttpd", "--no-tls", "-n", "2", "-d", dir, "80")
	e.a.start(t, "nghttpd", "-n", "2", "-d", dir, "443", dir+"/key.pem", dir+"/cert.pem")
	e.a.listens(t, 80)
	e.a.listens(t, 443)
	for _, url := range []string{"http://" + a4, "https://" + a4} {
		for _, args := range []string{"-n 20000 -c 50 -m 10 -t 2 /4KiB", "-n 100 -c 10 -m 5 /1MiB"} {
			words := strings.Fields(args)
			words[len(words)-1] = url + words[len(words)-1]
			out := e.b.do(t, time.Minute, append([]string{"h2load"}, words...)...)
			if m := h2loadDone.FindStringSubmatch(out); m == nil || m[1] != m[2] {
				t.Errorf("h2load %q printed:\n%s", words, out)
			}
		}
	}
}
