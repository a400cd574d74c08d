// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

func init() {
	packages := []string{"default-jdk-headless"}
	version := []string{"java", "-version"}
	add(scenario{
		name: "java-nio", packages: packages, version: version,
		does: "a selector server and a selector client of 100 connections and 256 KiB each way on each, every byte compared; IPv4 and IPv6", bytes: 2 * 2 * 2 * 100 * 256 << 10,
		run: func(t *testing.T, e *env) {
			java(t, e, "Nio.java", func(to string) []string { return []string{to, "8000", "100", fmt.Sprint(256 << 10)} })
		},
	})
	add(scenario{
		name: "java-blocking", packages: packages, version: version,
		does: "blocking sockets: closed, interrupted and shut down under accept, read and write of another thread (dup2 and a signal wake it); SO_TIMEOUT; SO_LINGER 0; refused", bytes: 2 * 2 * 2 << 20,
		run: func(t *testing.T, e *env) {
			java(t, e, "Blocking.java", func(to string) []string { return []string{to, "8000", "9000"} })
		},
	})
	add(scenario{
		name: "java-http", packages: packages, version: version,
		does: "HttpServer and HttpClient, 16 threads post 1,000 bodies of up to 64 KiB; equal; IPv4 and IPv6", bytes: 2 * 2 * 2 * 1000 * 30 << 10,
		run: func(t *testing.T, e *env) {
			java(t, e, "Http.java", func(to string) []string {
				if to == a6 {
					to = "[" + to + "]"
				}
				return []string{"http://" + to + ":8000/", "1000"}
			})
		},
	})
}

// java runs a single-file program as server on host a, and as client on host b
// over IPv4 and IPv6, with the arguments that client returns for an address.
func java(t *testing.T, e *env, file string, client func(to string) []string) {
	path, err := filepath.Abs("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	// Compiled by the launcher, in memory.
	words := []string{"java", "-Xmx256m", "-XX:+UseSerialGC", path}
	server := e.a.start(t, append(words[:len(words):len(words)], "server", "8000")...)
	server.WaitOutput(t, time.Minute, "ready")
	for _, to := range []string{a4, a6} {
		got := e.b.do(t, 3*time.Minute, append(append(words[:len(words):len(words)], "client"), client(to)...)...)
		if got != "ok\n" {
			t.Errorf("the client of %s printed %q", to, got)
		}
	}
}
