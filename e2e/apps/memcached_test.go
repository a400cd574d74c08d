// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"netcon/internal/testenv"
)

func init() {
	packages := []string{"memcached", "libmemcached-tools", "perl"}
	add(scenario{
		name: "memcached", packages: packages,
		does: "4 threads, user dropped; 8 perl clients set, get, delete and count up 2,000 values of up to 60 KiB each, over IPv4 and IPv6, pipelined gets of 50; every byte compared; 900 connections at once", bytes: 1 << 30,
		run: memcached,
	})
	add(scenario{
		name: "memcached-tools", packages: packages,
		does: "libmemcached: memccp and memccat of 512 KiB in the text and the binary protocol, memcaslap for 3 s in 2 threads", bytes: 8 << 20,
		run: func(t *testing.T, e *env) {
			startMemcached(t, e.a)
			dir := testenv.OpenDir(t)
			path, want := noise(t, dir, "value", 512<<10)
			for _, mode := range []string{"", "--binary"} {
				got := e.b.sh(t, 20*time.Second, fmt.Sprintf("memccp --servers=%[1]s %[2]s %[3]s && memccat --servers=%[1]s %[2]s value | head -c %[4]d | sha256sum", a4, mode, path, 512<<10))
				if !strings.HasPrefix(got, want) {
					t.Errorf("memccat %s: %q, want %s", mode, got, want)
				}
			}
			out := e.b.do(t, 30*time.Second, "memcaslap", "-s", a4+":11211", "-T", "2", "-c", "32", "-t", "3s", "-v", "0.5")
			for _, counter := range []string{"get_misses: 0", "verify_misses: 0", "verify_failed: 0"} {
				if !strings.Contains(out, counter) {
					t.Errorf("memcaslap printed no %q:\n%s", counter, out)
				}
			}
		},
	})
}

// startMemcached starts memcached with 4 threads on a host.
func startMemcached(t *testing.T, h *host) *daemon {
	t.Helper()
	dir := worldDir(t)
	d := newDaemon(t, dir+"/pid")
	background(t, h, "memcached", "-d", "-u", "nobody", "-t", "4", "-m", "256", "-c", "1024", "-l", "0.0.0.0,::", "-P", dir+"/pid")
	h.listens(t, 11211)
	return d
}

func memcached(t *testing.T, e *env) {
	d := startMemcached(t, e.a)
	script, err := filepath.Abs("testdata/memcached.pl")
	if err != nil {
		t.Fatal(err)
	}
	var clients []*testenv.Process
	for i := range 8 {
		to := []string{a4, a6}[i%2]
		clients = append(clients, e.b.start(t, "perl", script, to, fmt.Sprint(i), "2000"))
	}
	for i, c := range clients {
		if err := c.Wait(t, time.Minute); err != nil || c.Stdout() != "ok\n" {
			t.Errorf("client %d: %v\n%s", i, err, c.Output())
		}
	}
	if got := e.b.do(t, 30*time.Second, "perl", script, a4, "connections", "900"); got != "ok\n" {
		t.Errorf("900 connections: %q", got)
	}
	d.end(t, syscall.SIGTERM)
}
