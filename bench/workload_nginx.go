// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// few are the systems that most workloads compare.
var few = []string{"kernel-veth", "netcon+underlay=udp", "netcon+peer=netcon"}

// overlays are all that stock servers can be served over.
var overlays = []string{"kernel-veth", "kernel-vxlan+tuned=no", "kernel-vxlan+offloads=off", "kernel-bridge", "userspace-tun", "pasta", "slirp4netns", "netcon+underlay=udp", "netcon+peer=netcon"}

// fewer are those of workloads that are others' variations.
var fewer = []string{"kernel-veth", "netcon+underlay=udp"}

var _ = registerWorkload(
	nginxKeepAlive("0", 0, Full), nginxKeepAlive("1k", 1<<10, Quick), nginxKeepAlive("64k", 64<<10, Full),
	&Workload{
		Name: "nginx-close", About: "nginx answers 1 KB and closes, wrk with 64 connections; held: in the middle of the sample", Rank: 30,
		Unit: "connections/s", Per: "connection", Calibrated: true, Takes: wholeSeconds(0), Programs: nginxPrograms, Systems: overlays,
		Serve: serveNginx,
		Run: func(ctx context.Context, b *Bed, m *Meter, d time.Duration) error {
			held := b.heldAfter(d / 2)
			if err := b.wrk(ctx, m, d, "/1024", "-H", "Connection: close"); err != nil {
				return errors.Join(err, held(m))
			}
			return held(m)
		},
	},
)

// mostFor is what a workload compares: those of the quick form stand for their
// kind and compare all.
func mostFor(form Form) []string {
	if form == Quick {
		return overlays
	}
	return fewer
}

var nginxPrograms = []string{"nginx", "wrk"}

// httpRate is the rate at which latencies over nginx are compared.
const httpRate = 2000

func nginxKeepAlive(name string, size int, form Form) *Workload {
	path := "/" + strconv.Itoa(size)
	return &Workload{
		Name: "nginx-" + name, About: fmt.Sprintf("nginx serves %d bytes, keep-alive, wrk with 64 connections", size), Rank: 20,
		Unit: "requests/s", Per: "request", Form: form, Calibrated: true, Takes: wholeSeconds(0.5), Programs: nginxPrograms, Systems: mostFor(form), More: overlays,
		Serve: serveNginx,
		Run: func(ctx context.Context, b *Bed, m *Meter, d time.Duration) error {
			if err := b.wrk(ctx, m, d, path); err != nil {
				return err
			}
			paced, err := b.load(ctx, m, d/2, httpPort, "-conns", "64", "-http", path, "-rate", strconv.Itoa(httpRate))
			if err != nil {
				return err
			}
			m.Paced, err = paced.distribution(fmt.Sprintf("at %d/s, from when each was due", httpRate))
			return err
		},
	}
}

// serveNginx starts nginx, a worker per processor, with files of the sizes that
// are asked for.
func serveNginx(ctx context.Context, b *Bed) (err error) {
	dir := filepath.Join(b.Dir, b.Server.NS+"-nginx")
	if err := os.MkdirAll(filepath.Join(dir, "www"), 0o755); err != nil {
		return err
	}
	for _, size := range []int{0, 1 << 10, 64 << 10} {
		if err := os.WriteFile(filepath.Join(dir, "www", strconv.Itoa(size)), make([]byte, size), 0o644); err != nil {
			return err
		}
	}
	pid := filepath.Join(dir, "pid")
	if err := os.Remove(pid); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	conf := fmt.Sprintf(`daemon off;
worker_processes auto;
pid %[1]s/pid;
error_log stderr;
events { worker_connections 8192; }
http {
  access_log off;
  sendfile on;
  keepalive_requests 1000000000;
  open_file_cache max=16;
  client_body_temp_path %[1]s/tmp;
  proxy_temp_path %[1]s/tmp;
  fastcgi_temp_path %[1]s/tmp;
  uwsgi_temp_path %[1]s/tmp;
  scgi_temp_path %[1]s/tmp;
  server { listen %[2]s:%[3]d backlog=4096; root %[1]s/www; }
}
`, dir, b.Server.Bind, httpPort)
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(conf), 0o644); err != nil {
		return err
	}
	if b.Serving, err = b.On(b.Server, "nginx", "nginx", "-e", "stderr", "-p", dir, "-c", filepath.Join(dir, "nginx.conf")); err != nil {
		return err
	}
	return until(ctx, "nginx", func() error { // it listens before it writes the file
		if !b.Serving.Running() {
			return fmt.Errorf("it ended: %s", lastLine(b.Serving.Text()))
		}
		text, err := os.ReadFile(pid)
		if err == nil && len(text) == 0 {
			err = errors.New("it does not listen yet")
		}
		return err
	})
}

// wrkScript has wrk print what it knows, in microseconds.
const wrkScript = `done = function(s, l, r)
  io.write(string.format('\n{"requests":%d,"us":%d,"bytes":%d,"errors":%d,"p50":%f,"p90":%f,"p99":%f,"p999":%f,"max":%f,"mean":%f}\n',
    s.requests, s.duration, s.bytes, s.errors.connect + s.errors.read + s.errors.write + s.errors.status + s.errors.timeout,
    l:percentile(50), l:percentile(90), l:percentile(99), l:percentile(99.9), l.max, l.mean))
end
`

// wrk runs wrk as the measured client, for whole seconds: it knows no others.
func (b *Bed) wrk(ctx context.Context, m *Meter, d time.Duration, path string, args ...string) error {
	if b.Scratch["warm"] == 0 { // nginx listens before its workers run
		if _, err := b.load(ctx, &Meter{bed: b}, 100*time.Millisecond, httpPort, "-http", path); err != nil {
			return err
		}
		b.Scratch["warm"] = 1
	}
	script := filepath.Join(b.Dir, "wrk.lua")
	if err := os.WriteFile(script, []byte(wrkScript), 0o644); err != nil {
		return err
	}
	seconds := int(math.Ceil(d.Seconds()))
	ctx, cancel := context.WithTimeoutCause(ctx, d+loadGrace, errors.New("wrk does not end"))
	defer cancel()
	argv := append([]string{"wrk", "-t1", "-c64", "-d" + strconv.Itoa(seconds) + "s", "-s", script, "--latency"}, args...)
	p, err := b.On(b.Client, "wrk", append(argv, fmt.Sprintf("http://%s:%d%s", b.Server.Addr, httpPort, path))...)
	if err != nil {
		return err
	}
	defer b.forget(p)
	if err := m.Begin(p); err != nil {
		return err
	}
	if err := p.Wait(ctx); err != nil {
		return fmt.Errorf("wrk: %w: %s", err, lastLine(p.Text()))
	}
	if err := m.End(); err != nil {
		return err
	}
	var r struct {
		Requests, US, Bytes, Errors    uint64
		P50, P90, P99, P999, Max, Mean float64
	}
	text := p.Text()
	if err := json.Unmarshal([]byte(text[strings.LastIndex(text, "\n{")+1:]), &r); err != nil {
		return fmt.Errorf("wrk's report: %w: %s", err, lastLine(text))
	}
	if r.Requests == 0 {
		return fmt.Errorf("no request succeeded (%d errors)", r.Errors)
	}
	m.Requests, m.Bytes, m.Errors, m.Seconds = float64(r.Requests), r.Bytes, r.Errors, float64(r.US)/1e6
	m.Value = m.Requests / m.Seconds
	m.Latency = &Latency{How: "closed loop, by wrk", Count: int64(r.Requests), Mean: r.Mean, P50: r.P50, P90: r.P90, P99: r.P99, P999: r.P999, Max: r.Max}
	return nil
}

// heldAfter counts the connections that the server's side has in a while, and
// returns who waits for that and records it.
func (b *Bed) heldAfter(d time.Duration) func(*Meter) error {
	type answer struct {
		extra map[string]float64
		err   error
	}
	done := make(chan answer, 1)
	time.AfterFunc(d, func() {
		extra, err := b.countHeld()
		done <- answer{extra, err}
	})
	return func(m *Meter) error {
		a := <-done
		m.Extra = a.extra
		return a.err
	}
}

// countHeld counts the connections that the server's side has.
func (b *Bed) countHeld() (map[string]float64, error) {
	held := map[string]float64{}
	if b.Server.Daemon != nil {
		sockets, err := b.Server.Daemon.Client.Sockets()
		for _, s := range sockets {
			if s.State != "LISTEN" {
				held["held"]++
			}
		}
		return held, err
	}
	return held, inNamespace(b.Server.NS, func() error {
		text, err := os.ReadFile("/proc/thread-self/net/sockstat")
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 6 && f[0] == "TCP:" { // inuse N orphan N tw N
				held["held"], _ = strconv.ParseFloat(f[2], 64)
				held["time-wait"], _ = strconv.ParseFloat(f[6], 64)
			}
		}
		return err
	})
}
