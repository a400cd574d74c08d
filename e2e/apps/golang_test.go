// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netcon/internal/testenv"
)

func init() {
	version := []string{"go", "version"}
	add(scenario{
		name: "go-http", version: version,
		does:  "net/http of CGO_ENABLED=0: 16 clients post 100 bodies of 64 KiB each on connections that are kept, then one more that is closed; IPv4 and IPv6; bodies and addresses compared",
		bytes: 2 * 2 * 2 * 16 * 101 * 64 << 10,
		run:   func(t *testing.T, e *env) { goHTTP(t, e, 16, 100, 64<<10) },
	})
	add(scenario{
		name: "go-http-short", version: version,
		does:  "the same with 4 clients and 10 bodies of 16 KiB",
		bytes: 2 * 2 * 2 * 4 * 11 * 16 << 10, short: true,
		run: func(t *testing.T, e *env) { goHTTP(t, e, 4, 10, 16<<10) },
	})
	add(scenario{
		name: "go-mixed", version: version, packages: []string{"curl", "busybox-static"},
		does:  "a Go program starts a shell, which starts curl and busybox-static's wget; a shell starts both, and the Go client; all reach a Go server of the other container",
		bytes: 2 * 4 * 300,
		run:   goMixed,
	})
	add(scenario{
		name: "busybox", packages: []string{"busybox-static"},
		does:  "static busybox: httpd and wget of 8 MiB in both directions, nc -e sha256sum with 1 MiB; every byte compared",
		bytes: 2 * 17 << 20,
		run:   busybox,
	})
	add(scenario{
		name: "static", packages: []string{"gcc", "musl-tools"}, version: []string{"gcc", "--version"},
		does:  "a static C program of glibc and one of musl: echo with fork, threads, and EPOLLET in 3 processes; clients as many, 4 threads of 8 connections of 64 KiB, every byte compared",
		bytes: 2 * 3 * 2 * 2 * 4 * 8 * 64 << 10,
		run:   staticEcho,
	})
}

// goProgram builds the program in testdata without cgo: it makes its system calls
// itself.
func goProgram(t testing.TB) string {
	t.Helper()
	exe := filepath.Join(testenv.OpenDir(t), "gohttp")
	c := exec.Command("go", "build", "-o", exe, "./testdata/gohttp")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build gohttp: %v\n%s", err, out)
	}
	return exe
}

func goHTTP(t *testing.T, e *env, clients, requests, size int) {
	exe := goProgram(t)
	e.a.start(t, exe, "serve", "", "8080")
	e.a.listens(t, 8080)
	for _, to := range []string{a4, a6} {
		got := e.b.do(t, time.Minute, exe, "client", to, "8080", fmt.Sprint(clients), fmt.Sprint(requests), fmt.Sprint(size))
		if got != "ok\n" {
			t.Errorf("client of %s printed %q", to, got)
		}
	}
}

func goMixed(t *testing.T, e *env) {
	exe := goProgram(t)
	e.a.start(t, exe, "serve", "0.0.0.0", "8080")
	e.a.listens(t, 8080)
	dir := testenv.OpenDir(t)
	path := put(t, dir, "body", strings.Repeat("a line of text\n", 20)) // wget posts up to a NUL
	want := sum(t, path)
	commands := strings.Join([]string{
		"curl -sS --fail -o " + dir + "/curl --data-binary @" + path + " http://" + a4 + ":8080/",
		"busybox wget -q -O " + dir + "/wget --post-file " + path + " http://" + a4 + ":8080/",
	}, " && ")
	check := func(from string) {
		t.Helper()
		for _, name := range []string{"curl", "wget"} {
			if got := sum(t, filepath.Join(dir, name)); got != want {
				t.Errorf("%s below %s: another body", name, from)
			}
			_ = os.Remove(filepath.Join(dir, name))
		}
	}
	e.b.do(t, 30*time.Second, exe, "shell", commands)
	check("Go")
	if got := e.b.sh(t, 30*time.Second, commands+" && "+exe+" client "+a4+" 8080 1 1 300"); got != "ok\n" {
		t.Errorf("client below a shell printed %q", got)
	}
	check("a shell")
}

func busybox(t *testing.T, e *env) {
	root := testenv.OpenDir(t)
	_, want := noise(t, root, "8MiB", 8<<20)
	e.a.start(t, "busybox", "httpd", "-f", "-p", "80", "-h", root)
	e.a.listens(t, 80)
	e.b.start(t, "busybox", "httpd", "-f", "-p", "80", "-h", root)
	e.b.listens(t, 80)
	dir := testenv.OpenDir(t)
	for i, pair := range [][2]*host{{e.a, e.b}, {e.b, e.a}} {
		to := filepath.Join(dir, fmt.Sprint(i))
		pair[1].do(t, time.Minute, "busybox", "wget", "-q", "-O", to, "http://"+pair[0].v4+"/8MiB")
		if got := sum(t, to); got != want {
			t.Errorf("wget %d: SHA-256 %s, want %s", i, got, want)
		}
	}
	path, want := noise(t, dir, "1MiB", 1<<20)
	e.a.start(t, "busybox", "nc", "-l", "-p", "9", "-e", "sha256sum")
	e.a.listens(t, 9)
	got := e.b.do(t, 30*time.Second, "busybox", "sh", "-c", "busybox nc "+a4+" 9 < "+path)
	if !strings.HasPrefix(got, want) {
		t.Errorf("nc: printed %q, want %s", got, want)
	}
}

func staticEcho(t *testing.T, e *env) {
	dir := testenv.OpenDir(t)
	for i, cc := range []string{"gcc", "musl-gcc"} {
		exe := filepath.Join(dir, cc)
		testenv.Run(t, nil, cc, "-static", "-O2", "-pthread", "-o", exe, "testdata/echo.c")
		for j, mode := range []string{"fork", "threads", "epoll"} {
			port := 7000 + 10*i + j
			e.a.start(t, exe, mode, "::", fmt.Sprint(port))
			e.a.listens(t, port)
			for _, to := range []string{a4, a6} {
				if got := e.b.do(t, time.Minute, exe, "client", to, fmt.Sprint(port), "4", fmt.Sprint(64<<10)); got != "ok\n" {
					t.Errorf("%s, %s to %s: %q", cc, mode, to, got)
				}
			}
		}
	}
}
