// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"path/filepath"
	"testing"
	"time"
)

func init() {
	packages := []string{"ruby", "ruby-webrick"}
	version := []string{"ruby", "--version"}
	const echo = "60 connections of 256 KiB each way, IPv4 and IPv6, every byte compared"
	add(scenario{
		name: "ruby-threads", packages: packages, version: version, does: "Socket.accept_loop, a thread for each connection: " + echo, bytes: 2 * 2 * 2 * 60 * 256 << 10,
		run: func(t *testing.T, e *env) { echoServer(t, e, "ruby", "ruby.rb", "threads") },
	})
	add(scenario{
		name: "ruby-fork", packages: packages, version: version, does: "TCPServer, a process for each connection: " + echo, bytes: 2 * 2 * 2 * 60 * 256 << 10,
		run: func(t *testing.T, e *env) { echoServer(t, e, "ruby", "ruby.rb", "fork") },
	})
	add(scenario{
		name: "ruby-webrick", packages: packages, version: version, does: "WEBrick, and Net::HTTP in 4 threads with a kept connection each: 400 bodies of up to 64 KiB, IPv4 and IPv6", bytes: 2 * 2 * 2 * 400 * 30 << 10,
		run: func(t *testing.T, e *env) { echoHTTP(t, e, "ruby", "ruby.rb", "webrick") },
	})
}

// echoServer runs a script's server on host a, and on host b its client with 60
// connections of 256 KiB.
func echoServer(t *testing.T, e *env, interpreter, script, mode string) {
	t.Helper()
	echoScript(t, e, interpreter, script, mode, func(to string) []string { return []string{"client", to, "8000", "60", "262144"} })
}

// echoHTTP runs a script's HTTP server on host a, and on host b its client with
// 100 requests.
func echoHTTP(t *testing.T, e *env, interpreter, script, mode string) {
	t.Helper()
	echoScript(t, e, interpreter, script, mode, func(to string) []string {
		if to == a6 {
			to = "[" + to + "]"
		}
		return []string{"get", "http://" + to + ":8000/", "100"}
	})
}

func echoScript(t *testing.T, e *env, interpreter, script, mode string, client func(to string) []string) {
	t.Helper()
	path, err := filepath.Abs("testdata/" + script)
	if err != nil {
		t.Fatal(err)
	}
	server := e.a.start(t, interpreter, path, mode, "8000")
	server.WaitOutput(t, time.Minute, "ready")
	for _, to := range []string{a4, a6} {
		got := e.b.do(t, 3*time.Minute, append([]string{interpreter, path}, client(to)...)...)
		if got != "ok\n" {
			t.Errorf("the client of %s printed %q", to, got)
		}
	}
	if !server.Running() {
		t.Error("the server ended")
	}
}
