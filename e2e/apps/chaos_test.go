// SPDX-License-Identifier: Apache-2.0

package apps

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"netcon/internal/testenv"
)

func init() {
	add(scenario{
		name: "chaos-echo", packages: []string{"gcc"}, bytes: 8 << 20, short: true, version: []string{"gcc", "--version"},
		does: "a forking and a threaded echo server, clients of one and of four threads, at random killed, stopped and continued for three times 20 s (10 s on the kernel); every byte of the survivors compared, memory and descriptors of the daemons back where they were after each, no socket left",
		run:  chaosEcho,
	})
	add(scenario{
		name: "chaos-nginx", packages: []string{"nginx-light", "wrk", "curl"}, bytes: 8 << 20,
		does: "4 workers at random killed, stopped and continued for a minute (10 s on the kernel) under wrk -c 32 and downloads of 8 MiB; hashes of what arrived compared, nothing left behind",
		run:  chaosNginx,
	})
	add(scenario{
		name: "chaos-redis", packages: []string{"redis-server", "redis-tools"}, bytes: 8 << 20,
		does: "redis-benchmark at random killed, stopped and continued for a minute (10 s on the kernel); values of 4 MiB written and read meanwhile, hashes compared, nothing left behind",
		run:  chaosRedis,
	})
	add(scenario{
		name: "chaos-neighbour", packages: []string{"nginx-light", "wrk", "curl"}, bytes: 4 << 20, short: true,
		does: "nginx reloaded every 200 ms under wrk for a minute (10 s on the kernel) in one container; in another container of the same daemons a slow download and a request stream go on: no error, no gap",
		run:  chaosNeighbour,
	})
}

// chaosTime is how long chaos goes on.
func chaosTime() time.Duration {
	if os.Getenv("NETCON_APPS") == "long" {
		return time.Minute
	}
	return 3 * time.Second
}

// chaosTime is how long a scenario goes on: on the kernel as long as it takes to
// see that the scenario itself is right.
func (e *env) chaosTime() time.Duration {
	if e.netcon {
		return chaosTime()
	}
	return min(chaosTime(), 10*time.Second)
}

// children returns the processes that a process started and that have not ended.
func children(pid int) (pids []int) {
	names, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range names {
		b, _ := os.ReadFile(name)
		// PID (NAME) STATE PPID ...
		if f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])); len(f) > 1 && f[0] != "Z" && f[1] == strconv.Itoa(pid) {
			n, _ := strconv.Atoi(strings.Split(name, "/")[2])
			pids = append(pids, n)
		}
	}
	return pids
}

// pause stops a process for a moment. Who waits for it stops with it.
func pause(pid int) {
	if syscall.Kill(pid, syscall.SIGSTOP) != nil {
		return
	}
	time.Sleep(time.Duration(20+rand.IntN(80)) * time.Millisecond) // how long it is stopped
	_ = syscall.Kill(pid, syscall.SIGCONT)
}

func pick[T any](from []T) T { return from[rand.IntN(len(from))] }

// holdings is what the two daemons hold.
type holdings [2]struct {
	rss int64
	fds int
}

// hold waits until the containers have no sockets but listeners, and returns
// what the daemons hold then.
func (e *env) hold(t *testing.T, listeners int) (now holdings) {
	t.Helper()
	if !e.netcon {
		return now
	}
	for i, h := range []*host{e.a, e.b} {
		left := ""
		testenv.WaitFor(t, 2*time.Minute, func() bool {
			sockets, err := h.client.Sockets()
			n := 0
			left = ""
			for _, s := range sockets {
				if s.State != "LISTEN" {
					left += fmt.Sprintf("\n%s %s %v %v pid %d", s.Container, s.State, s.Local, s.Remote, s.PID)
				} else {
					n++
				}
			}
			return err == nil && left == "" && (n <= listeners)
		}, "the sockets of container %d to end", i)
	}
	return e.holds(t)
}

// holds returns what the daemons hold now.
func (e *env) holds(t *testing.T) (now holdings) {
	t.Helper()
	for i, h := range []*host{e.a, e.b} {
		now[i].rss, now[i].fds = testenv.RSS(t, h.daemon.Pid()), testenv.FDs(t, h.daemon.Pid())
	}
	return now
}

// grown is what a daemon may hold more than before once it has given back what
// chaos left behind.
const grown = 32 << 20

// flat waits until the daemons hold what they held before, but for little: they
// give memory back when traffic has stopped.
func (e *env) flat(t *testing.T, before holdings) {
	t.Helper()
	if !e.netcon {
		return
	}
	for i, h := range []*host{e.a, e.b} {
		first, rss, fds := testenv.RSS(t, h.daemon.Pid()), int64(0), 0
		start := time.Now()
		testenv.WaitFor(t, 2*time.Minute, func() bool {
			rss, fds = testenv.RSS(t, h.daemon.Pid()), testenv.FDs(t, h.daemon.Pid())
			return rss <= before[i].rss+grown && fds <= before[i].fds+2
		}, "daemon %d to hold about %d bytes in memory and %d descriptors again", i, before[i].rss, before[i].fds)
		t.Logf("daemon %d held %d bytes before, %d at the end, %d after %.1f s; %d descriptors before, %d after",
			i, before[i].rss, first, rss, time.Since(start).Seconds(), before[i].fds, fds)
	}
}

// flock is a number of clients that are started again when they have ended.
type flock struct {
	t      *testing.T
	begin  func(i int) *testenv.Process
	alive  []*testenv.Process
	killed map[*testenv.Process]bool
	done   int // ended as they should
	broken int // did not, and we did not kill them
	judge  func(p *testenv.Process, err error) bool
}

func newFlock(t *testing.T, n int, begin func(i int) *testenv.Process, judge func(p *testenv.Process, err error) bool) *flock {
	f := &flock{t: t, begin: begin, judge: judge, killed: map[*testenv.Process]bool{}}
	for i := range n {
		f.alive = append(f.alive, begin(i))
	}
	return f
}

// tend looks at those that have ended; again says whether others take their
// place.
func (f *flock) tend(again bool) {
	for i, p := range f.alive {
		if p == nil || p.Running() {
			continue
		}
		err := p.Wait(f.t, time.Minute)
		switch {
		case f.killed[p]:
		case f.judge(p, err):
			f.done++
		default:
			f.broken++
		}
		f.alive[i] = nil
		if again {
			f.alive[i] = f.begin(i)
		}
	}
}

func (f *flock) kill() {
	p := pick(f.alive)
	if p == nil || !p.Running() {
		return
	}
	f.killed[p] = true
	_ = syscall.Kill(p.Pid(), syscall.SIGKILL)
}

func (f *flock) pause() {
	if p := pick(f.alive); p != nil && p.Running() {
		pause(p.Pid())
	}
}

// finish waits until all have ended.
func (f *flock) finish() {
	f.t.Helper()
	testenv.WaitFor(f.t, 2*time.Minute, func() bool {
		f.tend(false)
		for _, p := range f.alive {
			if p != nil {
				return false
			}
		}
		return true
	}, "the clients to end")
}

func chaosEcho(t *testing.T, e *env) {
	dir := testenv.OpenDir(t)
	program := filepath.Join(dir, "echo")
	testenv.Run(t, nil, "gcc", "-O2", "-pthread", "-o", program, "testdata/echo.c")
	forking := e.a.start(t, program, "fork", "::", "7000")
	threaded := e.a.start(t, program, "threads", "::", "7001")
	e.a.listens(t, 7000)
	e.a.listens(t, 7001)
	client := func(i int, size int) *testenv.Process {
		to, port, threads := []string{a4, a6}[i%2], 7000+i/2%2, 1+i/4%2*3
		return e.b.start(t, program, "client", to, fmt.Sprint(port), fmt.Sprint(threads), fmt.Sprint(size))
	}
	whole := func(p *testenv.Process, err error) bool {
		if strings.Contains(p.Output(), "differs") {
			t.Errorf("a client saw wrong bytes: %s", p.Output())
		}
		if err == nil && p.Stdout() != "ok\n" {
			t.Errorf("a client printed %q", p.Output())
		}
		return err == nil
	}
	round := func() {
		f := newFlock(t, 8, func(i int) *testenv.Process { return client(i, 64<<10) }, whole)
		f.finish()
		if f.broken > 0 {
			t.Errorf("%d of 8 clients failed while nobody was killed", f.broken)
		}
	}
	round()
	before := e.hold(t, 2)
	done, killed, broken, kills := 0, 0, 0, 0
	turns := 1
	if e.chaosTime() >= time.Minute {
		turns = 3
	}
	for range turns {
		f := newFlock(t, 8, func(i int) *testenv.Process { return client(i, 512<<10) }, whole)
		for end := time.Now().Add(e.chaosTime() / time.Duration(turns)); time.Now().Before(end); {
			time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond) // between blows
			servers := children(forking.Pid())
			switch rand.IntN(6) {
			case 0:
				f.kill()
			case 1, 2:
				f.pause()
			case 3:
				pause(threaded.Pid())
			case 4:
				if len(servers) > 0 {
					pause(pick(servers))
				}
			case 5:
				if len(servers) > 0 && syscall.Kill(pick(servers), syscall.SIGKILL) == nil {
					kills++
				}
			}
			f.tend(true)
		}
		f.finish()
		done, killed, broken = done+f.done, killed+len(f.killed), broken+f.broken
		if broken > kills {
			t.Errorf("%d clients failed, and only %d children of the server were killed", broken, kills)
		}
		round()
		e.hold(t, 2)
		e.flat(t, before)
	}
	t.Logf("%d clients done, %d killed, %d broken by %d killed servers", done, killed, broken, kills)
}

func chaosNginx(t *testing.T, e *env) {
	root := testenv.OpenDir(t)
	_, want := noise(t, root, "8MiB", 8<<20)
	n := startNginx(t, e.a, "daemon off; worker_processes 4;", "", "server { listen 80; listen [::]:80; root "+root+"; location = / { return 200 \"hello\\n\"; } }")
	fetch(t, e.b, want, "http://"+a4+"/8MiB")
	before := e.hold(t, 4)
	dir := testenv.OpenDir(t)
	length := e.chaosTime()
	load := e.b.start(t, "wrk", "-t2", "-c32", "-d", fmt.Sprintf("%.0fs", length.Seconds()), "http://"+a4+"/")
	place := map[*testenv.Process]string{}
	started := 0
	f := newFlock(t, 4, func(i int) *testenv.Process {
		started++
		path := filepath.Join(dir, fmt.Sprint(started))
		p := e.b.start(t, "curl", "-sS", "--fail", "-o", path, []string{"http://" + a4, "http://[" + a6 + "]"}[i%2]+"/8MiB")
		place[p] = path
		return p
	}, func(p *testenv.Process, err error) bool {
		if err == nil {
			if got := testenv.HashFile(t, place[p]); got != want {
				t.Errorf("curl got SHA-256 %s, want %s", got, want)
			}
		}
		_ = os.Remove(place[p])
		return err == nil
	})
	kills := 0
	for end := time.Now().Add(length); time.Now().Before(end); {
		time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond) // between blows
		workers := children(n.pid())
		switch rand.IntN(5) {
		case 0:
			f.kill()
		case 1:
			f.pause()
		case 2, 3:
			if len(workers) > 0 {
				pause(pick(workers))
			}
		case 4:
			if len(workers) > 0 && syscall.Kill(pick(workers), syscall.SIGKILL) == nil {
				kills++
			}
		}
		f.tend(true)
	}
	if err := load.Wait(t, time.Minute); err != nil {
		t.Errorf("wrk: %v\n%s", err, load.Output())
	}
	if m := wrkRequests.FindStringSubmatch(load.Stdout()); m == nil || m[1] == "0" {
		t.Errorf("wrk printed:\n%s", load.Output())
	}
	f.finish()
	// A worker that ends takes all its downloads along.
	if f.done == 0 || f.broken > len(f.alive)*kills {
		t.Errorf("%d downloads done, %d broken by %d killed workers", f.done, f.broken, kills)
	}
	fetch(t, e.b, want, "http://"+a4+"/8MiB")
	e.hold(t, 4)
	e.flat(t, before)
	t.Logf("%d downloads done, %d killed, %d broken by %d killed workers", f.done, len(f.killed), f.broken, kills)
}

func chaosRedis(t *testing.T, e *env) {
	server := e.a.start(t, "redis-server", "--bind", "0.0.0.0", "::", "--port", "6379", "--protected-mode", "no", "--save", "", "--dir", testenv.OpenDir(t))
	e.a.listens(t, 6379)
	path, want := noise(t, testenv.OpenDir(t), "4MiB", 4<<20)
	value := func(key string) {
		t.Helper()
		got := e.b.sh(t, 2*time.Minute, fmt.Sprintf("redis-cli -h %s -x set %s <%s >/dev/null && redis-cli -h %s get %[2]s | head -c %[5]d | sha256sum", a4, key, path, a6, 4<<20))
		if !strings.HasPrefix(got, want) {
			t.Errorf("value %s came back with SHA-256 %q, want %s", key, got, want)
		}
	}
	value("before")
	before := e.hold(t, 2)
	f := newFlock(t, 4, func(i int) *testenv.Process {
		return e.b.start(t, "redis-benchmark", "-h", []string{a4, a6}[i%2], "-q", "-t", "set,get", "-n", "2000", "-c", "20", "-d", "1000", "-P", fmt.Sprint(1+i))
	}, func(_ *testenv.Process, err error) bool { return err == nil })
	stop, stopped := make(chan struct{}), make(chan struct{})
	values := 0
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				out, err := e.b.try(2*time.Minute, "bash", "-euc", fmt.Sprintf("redis-cli -h %s -x set during <%s >/dev/null && redis-cli -h %[1]s get during | head -c %[3]d | sha256sum", a4, path, 4<<20))
				if err != nil || !strings.HasPrefix(out, want) {
					t.Errorf("value: %v, SHA-256 %q, want %s", err, out, want)
				}
				values++
			}
		}
	}()
	for end := time.Now().Add(e.chaosTime()); time.Now().Before(end); {
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond) // between blows
		switch rand.IntN(4) {
		case 0, 1:
			f.kill()
		case 2:
			f.pause()
		case 3:
			pause(server.Pid())
		}
		f.tend(true)
	}
	close(stop)
	<-stopped
	f.finish()
	if f.broken > 0 {
		t.Errorf("%d of redis-benchmark failed that nobody killed", f.broken)
	}
	value("after")
	e.hold(t, 2)
	e.flat(t, before)
	t.Logf("%d of redis-benchmark done, %d killed, %d values", f.done, len(f.killed), values)
}

// neighbour gives both hosts a second address: on the kernel the same host's,
// under netcon that of another container of the same daemon.
func (e *env) neighbour(t *testing.T) (a, b *host) {
	t.Helper()
	var two [2]*host
	for i, h := range []*host{e.a, e.b} {
		address := fmt.Sprintf("10.42.0.%d", 11+i)
		n := *h
		n.v4, n.v6 = address, ""
		two[i] = &n
		if !e.netcon {
			testenv.Run(t, h.ns, "ip", "addr", "add", address+"/24", "dev", "eth0")
			continue
		}
		file := filepath.Join(filepath.Dir(h.run), "netcon.toml")
		text := mustRead(t, file) + fmt.Sprintf("[[container]]\nname = \"other\"\nnetwork = \"apps\"\naddresses = [%q]\n", address)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		h.daemon.Signal(t, syscall.SIGHUP)
		testenv.WaitFor(t, 20*time.Second, func() bool {
			s, err := h.client.Status()
			return err == nil && len(s.Containers) == 2
		}, "the second container")
		n.prefix = append(h.ns.Prefix(), netconProgram(t), "exec", "-run", h.run, "-n", "other", "--")
	}
	return two[0], two[1]
}

var wrkLatency = regexp.MustCompile(`Latency\s+\S+\s+\S+\s+([0-9.]+)(us|ms|s|m)\s`)

func chaosNeighbour(t *testing.T, e *env) {
	a, b := e.neighbour(t)
	length := e.chaosTime()
	rate := 1 << 20 // bytes a second
	dir := testenv.OpenDir(t)
	_, want := noise(t, dir, "file", int(length.Seconds())*rate)
	startNginx(t, a, "daemon off; worker_processes 1;", "", "server { listen "+a.v4+":80; root "+dir+"; location = / { return 200 \"hello\\n\"; } }")
	n := startNginx(t, e.a, "daemon off; worker_processes 4;", "", "server { listen "+a4+":80; location / { return 200 \"hello\\n\"; } }")
	fetch(t, b, want, "http://"+a.v4+"/file")
	e.b.do(t, 20*time.Second, "curl", "-sS", "--fail", "http://"+a4+"/")

	seconds := fmt.Sprintf("%.0fs", length.Seconds())
	load := e.b.start(t, "wrk", "-t2", "-c32", "-d", seconds, "http://"+a4+"/")
	stream := b.start(t, "wrk", "-t1", "-c1", "--timeout", "20s", "-d", seconds, "http://"+a.v4+"/")
	slow := b.start(t, "curl", "-sS", "--fail", "--limit-rate", fmt.Sprint(rate), "-o", dir+"/got", "http://"+a.v4+"/file")
	reloads := 0
	for end := time.Now().Add(length - time.Second); time.Now().Before(end); reloads++ {
		time.Sleep(200 * time.Millisecond) // the scenario's rhythm
		n.signal(t, syscall.SIGHUP)
	}
	for name, p := range map[string]*testenv.Process{"load": load, "request stream": stream, "download": slow} {
		if err := p.Wait(t, length+2*time.Minute); err != nil {
			t.Errorf("%s: %v\n%s", name, err, p.Output())
		}
	}
	if got := testenv.HashFile(t, dir+"/got"); got != want {
		t.Errorf("download beside the reloads: SHA-256 %s, want %s", got, want)
	}
	checkWrk(t, stream.Stdout())
	m := wrkLatency.FindStringSubmatch(stream.Stdout())
	if m == nil {
		t.Fatalf("wrk printed:\n%s", stream.Stdout())
	}
	longest, _ := strconv.ParseFloat(m[1], 64)
	if m[2] == "m" || m[2] == "s" && longest > 15 {
		t.Errorf("the longest request took %s%s", m[1], m[2])
	}
	t.Logf("%d reloads; the longest request beside them took %s%s", reloads, m[1], m[2])
	if reloads == 0 {
		t.Error("nothing was reloaded")
	}
}
