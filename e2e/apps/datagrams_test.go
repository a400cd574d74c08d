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
	does := "datagrams of 0 to 60,000 bytes echoed to %d clients, connected and not, IPv4 and IPv6, every byte and address compared"
	add(scenario{
		name: "python-datagrams", packages: []string{"python3"}, does: "asyncio: " + fmt.Sprintf(does, 16) + "; a refusal", bytes: 2 * 2 * 2 * 16 * 50 * 1000,
		run: func(t *testing.T, e *env) { datagrams(t, e, 16, 50, python, "testdata/datagrams.py") },
	})
	add(scenario{
		name: "python-datagrams-short", packages: []string{"python3"}, does: "the same with 4 clients and 10 datagrams each", bytes: 2 * 2 * 2 * 4 * 10 * 100, short: true,
		run: func(t *testing.T, e *env) { datagrams(t, e, 4, 10, python, "testdata/datagrams.py") },
	})
	add(scenario{
		name: "node-datagrams", packages: []string{"nodejs"}, does: "dgram: " + fmt.Sprintf(does, 16) + "; a refusal", bytes: 2 * 2 * 2 * 16 * 49 * 1500,
		run: func(t *testing.T, e *env) { datagrams(t, e, 16, 49, "node", "testdata/datagrams.js") },
	})
	add(scenario{
		name: "go-datagrams", version: []string{"go", "version"}, does: "net of CGO_ENABLED=0: " + fmt.Sprintf(does, 16) + "; ReadMsgUDP and WriteMsgUDP", bytes: 2 * 2 * 2 * 16 * 49 * 1500,
		remark: "a refusal is not part of it: reads of a supervised program are the kernel's own and show no ICMP error",
		run:    func(t *testing.T, e *env) { datagrams(t, e, 16, 49, buildGo(t, "./testdata/godatagrams")) },
	})
	add(scenario{
		name: "go-datagrams-short", version: []string{"go", "version"}, does: "the same with 4 clients and 7 datagrams each", bytes: 2 * 2 * 2 * 4 * 7 * 1000, short: true,
		run: func(t *testing.T, e *env) { datagrams(t, e, 4, 7, buildGo(t, "./testdata/godatagrams")) },
	})
}

// datagrams runs a program's server on host a, and its clients on host b.
func datagrams(t *testing.T, e *env, clients, count int, words ...string) {
	t.Helper()
	if len(words) > 1 {
		script, err := filepath.Abs(words[1])
		if err != nil {
			t.Fatal(err)
		}
		words[1] = script
	}
	words = words[:len(words):len(words)]
	server := e.a.start(t, append(words, "serve", "7000")...)
	server.WaitOutput(t, time.Minute, "ready")
	for _, to := range []string{a4, a6} {
		if got := e.b.do(t, time.Minute, append(words, "client", to, "7000", fmt.Sprint(clients), fmt.Sprint(count))...); got != "ok\n" {
			t.Errorf("the clients of %s printed %q", to, got)
		}
		if len(words) == 1 {
			continue // Go's
		}
		if got := e.b.do(t, time.Minute, append(words, "refused", to, "7999")...); got != "ok\n" {
			t.Errorf("nobody there: %q", got)
		}
	}
}

// buildGo builds a Go program that makes its system calls itself.
func buildGo(t *testing.T, path string) string {
	t.Helper()
	exe := filepath.Join(testenv.OpenDir(t), filepath.Base(path))
	testenv.Run(t, nil, "env", "CGO_ENABLED=0", "go", "build", "-o", exe, path)
	return exe
}
