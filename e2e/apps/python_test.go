// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"netcon/internal/testenv"
)

func init() {
	packages := []string{"python3", "curl"}
	add(scenario{
		name: "python-http", packages: packages, does: "`python3 -m http.server`: 16 MiB fetched 8 times in parallel and over IPv6; hashes equal", bytes: 2 * 9 * 16 << 20,
		run: pythonHTTP,
	})
	for _, s := range []struct {
		mode, does string
		short      bool
	}{
		{"asyncio", "asyncio's streams", true},
		{"forking", "socketserver.ForkingTCPServer, a process for each connection", true},
		{"threading", "socketserver.ThreadingTCPServer, a thread for each connection", false},
	} {
		add(scenario{
			name: "python-" + s.mode, packages: packages, does: s.does + ": 100 asyncio connections of 256 KiB each way and 10 blocking ones one after another, IPv4 and IPv6, every byte compared", bytes: 2 * 2 * 2 * 110 * 256 << 10, short: s.short,
			run: func(t *testing.T, e *env) { pythonEcho(t, e, s.mode, "", false) },
		})
	}
	add(scenario{
		name: "python-uvloop", packages: append(packages, "python3-uvloop"), does: "the same of uvloop on both ends, in the clear and over TLS", bytes: 2 * 2 * 2 * 2 * 110 * 256 << 10,
		run: func(t *testing.T, e *env) {
			dir := testenv.OpenDir(t)
			certificate(t, dir)
			pythonEcho(t, e, "uvloop", "", true)
			pythonEcho(t, e, "uvloop", dir, true)
		},
	})
	add(scenario{
		name: "python-ssl", packages: append(packages, "openssl"), does: "the same over TLS, of asyncio, and of socketserver's threads and processes", bytes: 3 * 2 * 2 * 2 * 110 * 256 << 10,
		run: func(t *testing.T, e *env) {
			dir := testenv.OpenDir(t)
			certificate(t, dir)
			for _, mode := range []string{"asyncio", "threading", "forking"} {
				pythonEcho(t, e, mode, dir, false)
			}
		},
	})
}

// The one of the package, which has the package's modules.
const python = "/usr/bin/python3"

func pythonHTTP(t *testing.T, e *env) {
	dir := testenv.OpenDir(t)
	_, want := noise(t, dir, "16MiB", 16<<20)
	e.a.start(t, python, "-m", "http.server", "--bind", "::", "--directory", dir, "8000")
	e.a.listens(t, 8000)
	e.b.sh(t, time.Minute, fmt.Sprintf(`pids=
for i in 1 2 3 4 5 6 7 8; do
	(curl -sS --fail http://%s:8000/16MiB | sha256sum | grep -q %s) & pids="$pids $!"
done
for pid in $pids; do wait $pid; done`, a4, want))
	fetch(t, e.b, want, "http://["+a6+"]:8000/16MiB")
}

// pythonEcho runs a server on host a until it has served clients of every kind.
func pythonEcho(t *testing.T, e *env, mode, tls string, uvloop bool) {
	t.Helper()
	script, err := filepath.Abs("testdata/echo.py")
	if err != nil {
		t.Fatal(err)
	}
	const connections = 100
	words := []string{python, script}
	if tls != "" {
		words = append(words, "--tls", tls)
	}
	server := e.a.start(t, append(words[:len(words):len(words)], mode, "7000")...)
	server.WaitOutput(t, time.Minute, "ready")
	for _, to := range []string{a4, a6} {
		for kind, n := range map[string]int{"client": connections, "blocking": 10} {
			argv := words[:len(words):len(words)]
			if uvloop {
				argv = append(argv, "--uvloop")
			}
			got := e.b.do(t, 3*time.Minute, append(argv, kind, to, "7000", strconv.Itoa(n), strconv.Itoa(256<<10))...)
			want := "ok 1\n"
			if mode == "forking" {
				want = fmt.Sprintf("ok %d\n", n)
			}
			if got != want {
				t.Errorf("%s, TLS %q: %s to %s printed %q, want %q", mode, tls, kind, to, got, want)
			}
		}
	}
	server.Stop()
}
