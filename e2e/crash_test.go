// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"netcon/internal/testenv"
)

// TestKillApplication checks that peers of a killed program learn of it as they
// would from a kernel: FIN, or RST if it had not read everything.
func TestKillApplication(t *testing.T) {
	h := startPair(t, pair{})
	for _, c := range []struct {
		name, server, client string
		want                 []string
	}{
		{"idle", "accept", "watch", []string{"EOF"}},
		{"being written to", "accept", "flood", []string{"ECONNRESET", "EPIPE", "EOF"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := h.a.begin(t, "web", "listening", peer(t), c.server, web4, "700")
			client := h.b.begin(t, "client", "connected", peer(t), c.client, web4, "700")
			server.WaitOutput(t, 5*time.Second, "accepted")
			server.Signal(t, syscall.SIGKILL)
			client.WaitOutput(t, 5*time.Second, "end: ")
			_, end, _ := strings.Cut(strings.TrimSpace(client.Output()), "end: ")
			ok := false
			for _, w := range c.want {
				ok = ok || end == w
			}
			if !ok {
				t.Errorf("the peer saw %s, want one of %v", end, c.want)
			}
			_ = server.Wait(t, 5*time.Second)
		})
	}
	t.Run("port is free at once", func(t *testing.T) {
		for range 3 {
			p := h.a.begin(t, "web", "listening", peer(t), "serve", web4, "700")
			h.b.run(t, "client", 10*time.Second, peer(t), "churn", web4, "700", "3")
			p.Signal(t, syscall.SIGKILL)
			_ = p.Wait(t, 5*time.Second)
			testenv.WaitFor(t, 5*time.Second, func() bool {
				sockets, err := h.a.Sockets()
				return err == nil && len(sockets) == 0
			}, "no sockets left: %v")
		}
	})
}

// TestKillDaemon checks that programs get errors instead of hanging, and that a
// new daemon serves new programs at once.
func TestKillDaemon(t *testing.T) {
	h := startPair(t, pair{})
	server := h.a.begin(t, "web", "listening", peer(t), "accept", web4, "700")
	client := h.b.begin(t, "client", "connected", peer(t), "watch", web4, "700")
	server.WaitOutput(t, 5*time.Second, "accepted")
	text := readConfig(t, h.a)

	h.a.Signal(t, syscall.SIGKILL)
	server.WaitOutput(t, 5*time.Second, "end: ")
	_ = h.a.Wait(t, 5*time.Second)

	began := time.Now()
	a := startAgain(t, h.a, text)
	again := a.begin(t, "web", "listening", peer(t), "serve", web4, "700")
	out := h.b.run(t, "client", 10*time.Second, peer(t), "churn", web4, "700", "1")
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("a new daemon served a new program after %v", took)
	}
	if !strings.Contains(out, "churned 1") {
		t.Errorf("client printed %q", out)
	}
	// The old connection's peer learns of it when it asks; a silent reader
	// waits, as it would for a kernel that was switched off.
	if !client.Running() && !strings.Contains(client.Output(), "end: ") {
		t.Errorf("client printed %q", client.Output())
	}
	_ = again.Stop()
}
