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
	add(scenario{
		name: "rust-static", packages: []string{"rustc"}, version: []string{"rustc", "--version"},
		does:  "Rust's std::net in a static program of glibc (crt-static): an echo server with a thread for each connection, 16 clients of 256 KiB with half close, and datagrams of 0 to 60,000 bytes, connected and not; IPv4 and IPv6, every byte compared",
		bytes: 2 * 2 * (16*256<<10 + 2*70_501),
		run:   rustStatic,
	})
}

func rustStatic(t *testing.T, e *env) {
	exe := filepath.Join(testenv.OpenDir(t), "echo")
	testenv.Run(t, nil, "rustc", "-O", "-C", "target-feature=+crt-static", "-o", exe, "testdata/echo.rs")
	for i, to := range []string{a4, a6} {
		port := 7000 + i
		e.a.start(t, exe, "serve", to, fmt.Sprint(port))
		e.a.listens(t, port)
		if got := e.b.do(t, time.Minute, exe, "client", to, fmt.Sprint(port), "16", "262144"); got != "ok\n" {
			t.Errorf("client of %s printed %q", to, got)
		}
	}
}
