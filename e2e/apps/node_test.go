// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

func init() {
	for _, s := range []struct{ name, does, mode, env string }{
		{"node-http", "an http server, and a client of 32 kept connections that posts 60 bodies of up to 64 KiB on each; hashes equal; IPv4 and IPv6", "http", ""},
		{"node-uring", "the same with libuv's io_uring switched on", "http", "UV_USE_IO_URING=1"},
		{"node-cluster", "the same of 4 workers that get connections from their master (SCM_RIGHTS); one of them dies and another follows", "cluster", "NODE_CLUSTER_SCHED_POLICY=rr"},
		{"node-cluster-shared", "the same of 4 workers that get the master's listener", "cluster", "NODE_CLUSTER_SCHED_POLICY=none"},
		{"node-child-socket", "the same of 4 child processes that get each connection from their parent", "handover", ""},
		{"node-child-server", "the same of 4 child processes that get the listener, which the parent closes", "share", ""},
	} {
		add(scenario{
			name: s.name, packages: []string{"nodejs", "coreutils", "curl"}, does: s.does, bytes: 2 * 2 * 2 * 32 * 60 * 16 << 10,
			run: func(t *testing.T, e *env) { node(t, e, s.mode, s.env) },
		})
	}
}

func node(t *testing.T, e *env, mode, environ string) {
	script, err := filepath.Abs("testdata/node.js")
	if err != nil {
		t.Fatal(err)
	}
	argv := []string{"node", script, mode, "8000", "4"}
	if environ != "" {
		argv = append([]string{"env", environ}, argv...)
	}
	server := e.a.start(t, argv...)
	server.WaitOutput(t, time.Minute, "ready")
	if mode == "cluster" {
		// No answer: the worker that got the request is gone.
		if _, err := e.b.try(20*time.Second, "curl", "-sS", "http://"+a4+":8000/die"); err == nil {
			t.Error("a worker answered that should have died")
		}
		server.WaitOutput(t, 30*time.Second, "a worker ended with 3")
		server.WaitOutput(t, 30*time.Second, "a worker follows")
	}
	for _, to := range []string{a4, a6} {
		got := e.b.do(t, 3*time.Minute, "node", script, "get", to, "8000", "32", "60")
		// Which of the processes with a listener accepts is the kernel's choice.
		least := 1
		if mode == "handover" || environ == "NODE_CLUSTER_SCHED_POLICY=rr" {
			least = 4
		}
		processes := 0
		if _, err := fmt.Sscanf(got, "%d processes\n", &processes); err != nil || processes < least {
			t.Errorf("the client of %s printed %q, want at least %d processes", to, got, least)
		}
	}
	if !server.Running() {
		t.Error("the server ended")
	}
}
