// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"netcon/dataplane"
	"netcon/internal/testenv"
)

func init() {
	const does = "; for a minute (10 s on the kernel) processes are killed or stopped for a moment at random, servers and clients, while 6 clients " +
		"move 4 MiB each, over and over; every byte that arrives is right, every transfer that nobody was killed in completes, nothing is left in the daemons"
	add(scenario{
		name: "chaos-prefork", packages: []string{"apache2", "curl"},
		does: "httpd prefork, the listener shared by processes that are replaced" + does, bytes: 100 << 20,
		run: func(t *testing.T, e *env) {
			chaosTransfers(t, e, func(dir string) int {
				a := startApache(t, e.a, "prefork", "DocumentRoot "+dir+"\n<Directory "+dir+">\n  Require all granted\n</Directory>\n", "-k", "start")
				return a.pid()
			}, func(_, got string) []string {
				return []string{"curl", "-sS", "--fail", "-o", got, "http://" + a4 + "/sent"}
			})
		},
	})
	add(scenario{
		name: "chaos-fork", packages: []string{"socat"},
		does: "socat, a process per connection that echoes, with half close" + does, bytes: 100 << 20,
		run: func(t *testing.T, e *env) {
			chaosTransfers(t, e, func(string) int {
				p := e.a.start(t, "socat", "-t", "20", "TCP-LISTEN:80,fork,reuseaddr,backlog=64", "EXEC:cat")
				e.a.listens(t, 80)
				return p.Pid()
			}, func(sent, got string) []string {
				return []string{"socat", "-t", "20", "TCP:" + a4 + ":80", "OPEN:" + sent + ",rdonly!!CREATE:" + got}
			})
		},
	})
}

const chaosClients = 6

// victims is who may be killed, and when somebody was.
type victims struct {
	mu      sync.Mutex
	clients map[int]bool
	kills   []time.Time
}

func (v *victims) add(pid int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.clients[pid] = true
}

// ended forgets a client that is not reaped yet.
func (v *victims) ended(pid int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.clients, pid)
}

// killedSince reports whether anybody was killed since then.
func (v *victims) killedSince(start time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.kills) > 0 && v.kills[len(v.kills)-1].After(start)
}

// strike kills a client or a child of the server, or stops it for a moment.
func (v *victims) strike(random *rand.Rand, server string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var all []int
	for pid := range v.clients {
		all = append(all, pid)
	}
	for _, word := range strings.Fields(server) {
		if pid, err := strconv.Atoi(word); err == nil {
			all = append(all, pid)
		}
	}
	if len(all) == 0 {
		return
	}
	pid := all[random.IntN(len(all))]
	if random.IntN(3) == 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		v.kills = append(v.kills, time.Now())
		return
	}
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	time.AfterFunc(time.Duration(20+random.IntN(300))*time.Millisecond, func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
}

// chaosTransfers starts a server of the files in a directory, and clients of it that write
// what they get into a file, and kills and stops processes of both.
func chaosTransfers(t *testing.T, e *env, server func(dir string) (pid int), client func(sent, got string) []string) {
	const size = 4 << 20
	length := 10 * time.Second
	if e.netcon {
		length = time.Minute
	}
	dir := worldDir(t)
	sent, _ := noise(t, dir, "sent", size)
	want, err := os.ReadFile(sent)
	if err != nil {
		t.Fatal(err)
	}
	v := &victims{clients: map[int]bool{}}
	master := server(dir)
	forked := fmt.Sprintf("/proc/%d/task/%d/children", master, master)

	// transfer runs a client once and judges what it got.
	transfer := func(name string) (complete bool) {
		got := filepath.Join(dir, name)
		_ = os.Remove(got)
		argv := e.b.argv(client(sent, got)...)
		cmd := exec.Command(argv[0], argv[1:]...)
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		start := time.Now()
		if err := cmd.Start(); err != nil {
			t.Error(err)
			return false
		}
		pid := cmd.Process.Pid
		v.add(pid)
		lost := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		testenv.AwaitExit(pid) // its number stays taken
		v.ended(pid)
		err := cmd.Wait()
		lost.Stop()
		b, _ := os.ReadFile(got)
		switch {
		case !bytes.HasPrefix(want, b):
			t.Errorf("%s: %d bytes came, not those that were sent", name, len(b))
		case err == nil && len(b) == size:
			return true
		case !v.killedSince(start):
			t.Errorf("%s: %d of %d bytes although nobody was killed: %v\n%s", name, len(b), size, err, &said)
		}
		return false
	}
	if !transfer("first") {
		t.Fatal("the first transfer failed")
	}
	var before holdings
	old := map[uint64]bool{} // sockets that the server keeps
	if e.netcon {
		before = e.holds(t)
		for _, h := range []*host{e.a, e.b} {
			sockets, err := h.client.Sockets()
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range sockets {
				old[s.Cookie] = s.State == "LISTEN" || s.State == "UNCONN"
			}
		}
	}

	var clients sync.WaitGroup
	var mu sync.Mutex
	done, broken := 0, 0
	end := time.Now().Add(length)
	for i := range chaosClients {
		clients.Go(func() {
			for time.Now().Before(end) {
				ok := transfer(fmt.Sprint("client", i))
				mu.Lock()
				if ok {
					done++
				} else {
					broken++
				}
				mu.Unlock()
			}
		})
	}
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	for time.Now().Before(end) {
		time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond) // the chaos's rhythm
		b, _ := os.ReadFile(forked)
		v.strike(random, string(b))
	}
	clients.Wait()
	v.mu.Lock()
	kills := len(v.kills)
	v.mu.Unlock()
	t.Logf("%d transfers done, %d broken, %d processes killed, seed %d", done, broken, kills, seed)
	if done == 0 || kills == 0 {
		t.Error("nothing happened")
	}
	// Some that were stopped last may go on only now.
	for i := range 3 {
		if !transfer(fmt.Sprint("last", i)) {
			t.Error("a transfer afterwards failed")
		}
	}
	if !e.netcon {
		return
	}
	e.flat(t, before)
	for _, h := range []*host{e.a, e.b} {
		var left []dataplane.Socket
		none := func() bool {
			sockets, err := h.client.Sockets()
			left = slices.DeleteFunc(sockets, func(s dataplane.Socket) bool { return old[s.Cookie] })
			return err == nil && len(left) == 0
		}
		for end := time.Now().Add(30 * time.Second); !none() && time.Now().Before(end); {
			time.Sleep(50 * time.Millisecond)
		}
		if len(left) > 0 {
			t.Errorf("connections left in the daemon of %s: %+v", h.v4, left)
			if s, err := h.client.Status(); err == nil {
				t.Logf("programs there: %+v", s.Processes)
			}
		}
	}
}
