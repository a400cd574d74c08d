// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"netcon/internal/testenv"
)

// TestChaosSupervisors kills launchers before and after they became their
// program, programs, supervisors and the daemon, in any order. Whatever is killed,
// nobody else waits for ever, and nothing is left. NETCON_SEED repeats an order.
func TestChaosSupervisors(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("NETCON_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("NETCON_SEED: %v", err)
		}
	}
	t.Logf("NETCON_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	h := newNetconEnv(t).a
	dir := testenv.OpenDir(t)
	static := filepath.Join(dir, "static")
	testenv.Run(t, nil, "gcc", "-static", "-O2", "-pthread", "-o", static, "testdata/echo.c")
	golang, datagrams := goProgram(t), buildGo(t, "./testdata/godatagrams")

	// Servers at ports of their own, the last one of UDP; clients go to any of them.
	servers := [][]string{
		{static, "threads", "::", "7000"},
		{static, "epoll", "::", "7001"},
		{static, "fork", "::", "7002"},
		{golang, "serve", "", "7003"},
		{datagrams, "serve", "7004"},
	}
	client := func() []string {
		i := random.IntN(len(servers))
		to, port := []string{a4, a6}[random.IntN(2)], fmt.Sprint(7000+i)
		if servers[i][0] == golang {
			return []string{golang, "client", to, port, "2", "10", "4096"}
		}
		if servers[i][0] == datagrams {
			return []string{datagrams, "client", to, port, "2", "7"}
		}
		c := []string{static, "client", to, port, "2", fmt.Sprint(32 << 10)}
		if random.IntN(3) == 0 { // below a shell, with the preload library
			return []string{"sh", "-c", strings.Join(c, " ") + " && " + strings.Join(c, " ")}
		}
		return c
	}

	fresh := testenv.FDs(t, h.daemon.Pid())
	var serving, clients []*testenv.Process
	for _, argv := range servers {
		serving = append(serving, h.start(t, argv...))
	}
	for range 6 {
		clients = append(clients, h.start(t, client()...))
	}
	counts := map[string]int{}
	alive := func(list []*testenv.Process) *testenv.Process {
		if list = slices.DeleteFunc(slices.Clone(list), func(p *testenv.Process) bool { return !p.Running() }); len(list) > 0 {
			return list[random.IntN(len(list))]
		}
		return nil
	}
	strike := func(what string, pid int) {
		if pid > 0 && syscall.Kill(pid, syscall.SIGKILL) == nil {
			counts[what]++
		}
	}
	for end := time.Now().Add(chaosTime()); time.Now().Before(end); {
		time.Sleep(time.Duration(random.IntN(40)) * time.Millisecond) // between blows
		switch random.IntN(8) {
		case 0, 1:
			if p := alive(clients); p != nil {
				strike("clients", p.Pid())
			}
		case 2:
			if p := alive(serving); p != nil {
				strike("servers", p.Pid())
			}
		case 3, 4:
			if all := supervisors(h.run); len(all) > 0 {
				strike("supervisors", all[random.IntN(len(all))])
			}
		case 5, 6:
			// A launcher, on its way to a program.
			p := h.start(t, client()...)
			time.Sleep(time.Duration(random.IntN(30)) * time.Millisecond) // how far it got
			strike("launchers", p.Pid())
			_ = p.Wait(t, 20*time.Second)
		case 7:
			if random.IntN(4) == 0 {
				strike("daemons", h.daemon.Pid())
				_ = h.daemon.Wait(t, 20*time.Second)
				h.startDaemon(t)
			}
		}
		for i, p := range clients {
			if p.Running() {
				continue
			}
			_ = p.Wait(t, 20*time.Second)
			if strings.Contains(p.Output(), "differs") || strings.Contains(p.Output(), "another body") {
				t.Errorf("a client saw wrong bytes: %s", p.Output())
			}
			if strings.HasSuffix(p.Stdout(), "ok\n") {
				counts["whole"]++
			}
			clients[i] = h.start(t, client()...)
		}
		for i, p := range serving {
			if !p.Running() {
				_ = p.Wait(t, 20*time.Second)
				serving[i] = h.start(t, servers[i]...)
			}
		}
	}
	t.Log(counts)

	// A supervisor that was killed leaves its program without control calls, and
	// a daemon that was killed leaves it with errors: either way it gets on.
	testenv.WaitFor(t, time.Minute, func() bool { return alive(clients) == nil }, "the clients to end")
	// And who comes now is served as if nothing had been.
	for i, p := range serving {
		_ = p.Stop() // which may just have ended, without its supervisor
		serving[i] = h.start(t, servers[i]...)
		if servers[i][0] == datagrams {
			serving[i].WaitOutput(t, 20*time.Second, "ready")
		} else {
			h.listens(t, 7000+i)
		}
	}
	for _, to := range []string{a4, a6} {
		if got := h.do(t, time.Minute, static, "client", to, "7000", "2", "65536"); got != "ok\n" {
			t.Errorf("after all: static client printed %q", got)
		}
		if got := h.do(t, time.Minute, golang, "client", to, "7003", "2", "2", "1000"); got != "ok\n" {
			t.Errorf("after all: Go client printed %q", got)
		}
		if got := h.do(t, time.Minute, datagrams, "client", to, "7004", "2", "7"); got != "ok\n" {
			t.Errorf("after all: Go client of datagrams printed %q", got)
		}
	}
	for _, p := range serving {
		_ = p.Stop()
	}
	testenv.WaitFor(t, 20*time.Second, func() bool { return len(supervisors(h.run)) == 0 }, "the supervisors to end")
	testenv.WaitFor(t, 20*time.Second, func() bool {
		s, err := h.client.Sockets()
		return err == nil && len(s) == 0
	}, "no socket to be left")
	testenv.WaitFor(t, 20*time.Second, func() bool { return testenv.FDs(t, h.daemon.Pid()) <= fresh+4 },
		"the daemon to have %d descriptors, as in the beginning", fresh)
	if counts["whole"] == 0 {
		t.Error("no client got through")
	}
}

// supervisors returns the processes of the supervisors of a daemon's containers.
func supervisors(run string) (pids []int) {
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		line, _ := os.ReadFile(name)
		if !bytes.HasPrefix(line, []byte("netcon\x00supervise\x00")) {
			continue
		}
		environ, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "environ"))
		if bytes.Contains(environ, []byte("NETCON_SOCKET="+run+"/")) {
			pid, _ := strconv.Atoi(strings.Split(name, "/")[2])
			pids = append(pids, pid)
		}
	}
	return pids
}
