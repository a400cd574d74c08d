// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netcon/internal/testenv"
)

func init() {
	add(scenario{
		name: "curl", packages: []string{"curl", "nginx-light"}, does: "HTTP/1.1 from nginx, IPv4 and IPv6, 8 MiB, hash compared",
		bytes: 4 * 8 << 20, short: true, run: curlHTTP,
	})
	add(scenario{
		name: "curl-h2", packages: []string{"curl", "apache2", "openssl"},
		does:  "HTTP/2 from httpd: prior knowledge, upgrade, and ALPN over TLS; 8 MiB down, 1 MiB up, 20 streams of 1 MiB at once on a TLS connection, hashes compared",
		bytes: 2 * (2*9 + 20) << 20, run: curlHTTP2,
	})
}

func curlHTTP(t *testing.T, e *env) {
	root := testenv.OpenDir(t)
	_, want := noise(t, root, "8MiB", 8<<20)
	testenv.Nginx(t, e.a.prefix, testenv.Options{Addrs: []string{a4 + ":80", "[" + a6 + "]:80"}, Workers: 2, Root: root})
	for _, host := range []string{a4, "[" + a6 + "]"} {
		e.b.do(t, time.Minute, "curl", "-sS", "--fail", "-o", root+"/got", "http://"+host+"/8MiB")
		if got := sum(t, root+"/got"); got != want {
			t.Errorf("from %s: SHA-256 %s, want %s", host, got, want)
		}
	}
}

func curlHTTP2(t *testing.T, e *env) {
	dir := testenv.OpenDir(t)
	certificate(t, dir)
	a := startApache(t, e.a, "event", `
LoadModule http2_module /usr/lib/apache2/modules/mod_http2.so
LoadModule socache_shmcb_module /usr/lib/apache2/modules/mod_socache_shmcb.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
Protocols h2 h2c http/1.1
Listen 443
<VirtualHost *:443>
  SSLEngine on
  SSLCertificateFile `+dir+`/cert.pem
  SSLCertificateKeyFile `+dir+`/key.pem
</VirtualHost>
`, "-k", "start")
	root := filepath.Join(filepath.Dir(a.conf), "root")
	part, partSum := noise(t, root, "1MiB", 1<<20)
	// This curl fails when much follows the answer to an upgrade, and with many
	// streams in the clear, on the kernel as well.
	if got := e.b.do(t, 20*time.Second, "curl", "-sS", "--fail", "--http2", "-w", "%{http_version}", "http://"+a4+"/hello"); got != "hello from httpd\n2" {
		t.Errorf("an upgrade answered %q", got)
	}
	for _, how := range []string{"--http2-prior-knowledge http://" + a4, "--http2 --cacert " + dir + "/cert.pem https://" + a4} {
		i := strings.LastIndexByte(how, ' ')
		args, url := how[:i], how[i+1:]
		fetch(t, e.b, a.sum, append(strings.Fields(args), url+"/8MiB")...)
		if out := e.b.sh(t, time.Minute, fmt.Sprintf("curl -sS --fail %s --data-binary @%s %s/cgi", args, part, url)); !strings.Contains(out, partSum) {
			t.Errorf("%s: a POST answered %q, want %s", how, out, partSum)
		}
		if !strings.HasPrefix(url, "https") {
			continue
		}
		got := testenv.OpenDir(t)
		out := e.b.sh(t, time.Minute, fmt.Sprintf(`curl -sS --fail -Z --parallel-max 20 %s -w '%%{http_version} %%{num_connects}\n' -o '%s/#1' '%s/1MiB?[1-20]'`, args, got, url))
		if n := strings.Count(out, "2 "); n != 20 || strings.Count(out, "2 1") > 2 {
			t.Errorf("%s: %d of 20 by HTTP/2:\n%s", how, n, out)
		}
		files, err := os.ReadDir(got)
		if err != nil || len(files) != 20 {
			t.Errorf("%s: %d files, %v", how, len(files), err)
		}
		for _, f := range files {
			if s := sum(t, filepath.Join(got, f.Name())); s != partSum {
				t.Errorf("%s: stream %s: SHA-256 %s, want %s", how, f.Name(), s, partSum)
			}
		}
	}
	a.end(t, syscall.SIGTERM)
}
