// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"netcon/internal/testenv"
)

func init() {
	packages := []string{"musl-tools", "gcc"}
	version := []string{"dpkg-query", "-W", "-f", "musl ${Version}", "musl"}
	add(scenario{
		name: "musl", packages: packages, version: version,
		does:  "a C program of musl-gcc: echo with fork, threads, and EPOLLET in 3 processes, IPv4 and IPv6; clients of musl and of glibc, 8 threads of 8 non-blocking connections of 256 KiB, every byte compared",
		bytes: 3 * 2 * 2 * 4 * 64 * 256 << 10,
		run:   func(t *testing.T, e *env) { muslEcho(t, e, []string{"musl-gcc", "gcc"}, 8, 256<<10) },
	})
	add(scenario{
		name: "musl-short", packages: packages, version: version,
		does:  "the same with clients of musl, in 2 threads",
		bytes: 3 * 2 * 4 * 16 * 32 << 10, short: true,
		run: func(t *testing.T, e *env) { muslEcho(t, e, []string{"musl-gcc"}, 2, 32<<10) },
	})
	add(scenario{
		name: "musl-shell", packages: append(packages, "curl", "nginx-light"), version: version,
		does: "system() in a musl program starts a shell and curl of glibc, which share the container", bytes: 2 << 20,
		run: func(t *testing.T, e *env) {
			root := testenv.OpenDir(t)
			_, want := noise(t, root, "1MiB", 1<<20)
			testenv.Nginx(t, e.a.prefix, testenv.Options{Addrs: []string{a4 + ":80"}, Root: root})
			dir := testenv.OpenDir(t)
			source := put(t, dir, "shell.c", "#include <stdlib.h>\nint main(int argc, char **argv) { return argc < 2 || system(argv[1]) != 0; }\n")
			program := filepath.Join(dir, "shell")
			testenv.Run(t, nil, "musl-gcc", "-o", program, source)
			e.b.do(t, 20*time.Second, program, "curl -sS --fail -o "+dir+"/got http://"+a4+"/1MiB")
			if got := sum(t, dir+"/got"); got != want {
				t.Errorf("SHA-256 %s, want %s", got, want)
			}
		},
	})
}

func muslEcho(t *testing.T, e *env, compilers []string, threads, size int) {
	dir := testenv.OpenDir(t)
	for _, cc := range compilers {
		testenv.Run(t, nil, cc, "-O2", "-Wall", "-Wextra", "-pthread", "-o", filepath.Join(dir, cc), "testdata/echo.c")
	}
	server := filepath.Join(dir, "musl-gcc")
	for i, mode := range []string{"fork", "threads", "epoll"} {
		port := 7000 + i
		e.a.start(t, server, mode, "::", fmt.Sprint(port))
		e.a.listens(t, port)
		for _, cc := range compilers {
			for _, to := range []string{a4, a6} {
				got := e.b.do(t, time.Minute, filepath.Join(dir, cc), "client", to, fmt.Sprint(port), fmt.Sprint(threads), fmt.Sprint(size))
				if got != "ok\n" {
					t.Errorf("%s: client of %s to %s printed %q", mode, cc, to, got)
				}
			}
		}
	}
}
