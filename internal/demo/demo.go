// SPDX-License-Identifier: Apache-2.0

// Package demo is the two-minute tour: it builds hosts, runs stock programs in
// them and shows where their traffic went.
//
// # Theory of operation
//
// Part (a) is two daemons on loopback addresses, without any privilege:
//
//	 127.x.y.1                               127.x.y.2
//	┌──────────────────────────┐            ┌──────────────────────────┐
//	│ nginx: master, 2 workers │            │ curl                     │
//	│ container "web"          │            │ container "client"       │
//	│ 10.77.0.1, fd77::1       │            │ 10.77.0.2, fd77::2       │
//	│ daemon A ────────────────┼── VXLAN ───┼──────────────── daemon B │
//	└──────────────────────────┘  in UDP    └──────────────────────────┘
//
// Everything runs as an ordinary user. Started as root, the demo copies the
// program and the preload library to a directory that the ordinary user can
// read, because a clone under a private home is not, and starts itself again as
// that user.
//
// The proof of the path has three parts: the containers' counters moved by the
// file's size; the kernel carried UDP between the two VTEPs and no TCP to speak
// of; neither nginx nor curl had a kernel TCP socket.
//
// Part (b) is for root: two namespaces joined by a veth, AF_XDP on the one side
// and nothing but a stock kernel on the other:
//
//	 namespace host                          namespace stock
//	┌──────────────────────────┐            ┌──────────────────────────┐
//	│ nginx, redis-server      │    veth    │ ping, curl,              │
//	│ container "web"          │            │ redis-benchmark          │
//	│ 10.77.0.1, fd77::1       │            │ 10.77.0.2, fd77::2       │
//	│ netcon up, AF_XDP ───────┼── VXLAN ───┼─── kernel vxlan device   │
//	└──────────────────────────┘            └──────────────────────────┘
//
// Its proof: the container's counters moved, and the TCP and UDP counters of the
// kernel in namespace host did not.
//
// # Concurrency
//
// A part is one goroutine; whatever it started ends, and what it made is
// removed, before it returns, also when its context ends.
package demo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"netcon/dataplane"
)

// The demo's world. The hosts' loopback addresses follow from the process id, so
// that several demos may run at once.
const (
	fileSize = 100 << 20
	webAddr  = "10.77.0.1"
	web6Addr = "fd77::1"
	startup  = 10 * time.Second
)

// urls is the file over both kinds of IP.
var urls = []string{"http://" + webAddr + "/100MB", "http://[" + web6Addr + "]/100MB"}

// Options says where the demo finds and tells things.
type Options struct {
	Exe  string // the netcon program
	Shim string // the preload library
	Out  io.Writer
	Err  io.Writer
}

// tour is one run of a part.
type tour struct {
	Options
	dir   string
	hosts [2]string // VTEP addresses of hosts A and B
	on    []string  // the words before a program that runs on host A
	procs []*exec.Cmd
	nginx string
	curl  string
}

// Run shows part (a). It must not run as root: see Drop.
func Run(ctx context.Context, o Options) (err error) {
	t := &tour{Options: o}
	for i := range t.hosts {
		t.hosts[i] = fmt.Sprintf("127.%d.%d.%d", 64+os.Getpid()/250%128, os.Getpid()%250, i+1)
	}
	return t.begin(func() error { return t.run(ctx) }, func() error { return nil })
}

// begin runs a part in a directory of its own, and cleans up after it.
func (t *tour) begin(run, undo func() error) (err error) {
	if t.nginx, err = find("nginx"); err != nil {
		return err
	}
	if t.curl, err = find("curl"); err != nil {
		return err
	}
	if t.dir, err = os.MkdirTemp("", "netcon-demo-"); err != nil {
		return err
	}
	defer func() {
		cleanup := errors.Join(t.stop(), undo(), os.RemoveAll(t.dir))
		if err == nil {
			err = cleanup
		}
		if err == nil {
			t.say("cleaned up: daemons and servers ended, %s removed", t.dir)
		}
	}()
	return run()
}

func (t *tour) run(ctx context.Context) error {
	t.say("this is user %d, no privileges; hosts A and B are two daemons on loopback", os.Getuid())
	sum, err := t.prepare()
	if err != nil {
		return err
	}
	for _, h := range []string{"a", "b"} {
		if err := t.startDaemon(ctx, h); err != nil {
			return err
		}
	}
	t.say("host A: netcon up on %s, container web    (%s, %s)", t.hosts[0], webAddr, web6Addr)
	t.say("host B: netcon up on %s, container client (10.77.0.2, fd77::2)", t.hosts[1])
	if err := t.startNginx(ctx); err != nil {
		return err
	}
	t.say("host A: stock nginx, master and 2 workers, listens on port 80 in container web")

	before, err := t.look()
	if err != nil {
		return err
	}
	for _, url := range urls {
		t.say("host B: netcon exec -n client -- curl %s", url)
		d, err := t.fetch(ctx, url, sum)
		if err != nil {
			return err
		}
		t.sayRate(d)
	}
	after, err := t.look()
	if err != nil {
		return err
	}
	return t.prove(before, after)
}

func (t *tour) say(format string, args ...any) {
	fmt.Fprintf(t.Out, "  "+format+"\n", args...)
}

// sayRate tells that the file came whole in d.
func (t *tour) sayRate(d time.Duration) {
	t.say("        %d bytes in %.2f s: %.2f Gbit/s, SHA-256 equal", fileSize, d.Seconds(), float64(fileSize)*8/d.Seconds()/1e9)
}

// prepare writes the file, the configurations and nginx's, and returns the
// file's SHA-256.
func (t *tour) prepare() (sum string, err error) {
	for _, h := range []struct{ name, self, peer, container, a4, a6 string }{
		{"a", t.hosts[0], t.hosts[1], "web", webAddr, web6Addr},
		{"b", t.hosts[1], t.hosts[0], "client", "10.77.0.2", "fd77::2"},
	} {
		conf := t.configuration(h.name, fmt.Sprintf("address = %q", h.self), h.peer, h.container, h.a4, h.a6)
		if err := os.WriteFile(t.path(h.name+".toml"), []byte(conf), 0o600); err != nil {
			return "", err
		}
	}
	return t.prepareNginx()
}

// configuration returns a daemon's: one worker, one network, one container.
func (t *tour) configuration(host, underlay, peer, container, a4, a6 string) string {
	return fmt.Sprintf(`[daemon]
runtime_dir = %q
workers = 1

[underlay]
%s

[[network]]
name = "demo"
vni = 77
subnets = ["10.77.0.0/24", "fd77::/64"]
vteps = [%q]

[[container]]
name = %q
network = "demo"
addresses = [%q, %q]
`, t.runtimeDir(host), underlay, peer, container, a4, a6)
}

// prepareNginx writes nginx's configuration and the file it serves, and returns
// the file's SHA-256.
func (t *tour) prepareNginx() (sum string, err error) {
	h := sha256.New()
	if err := writeNoise(filepath.Join(t.dir, "www", "100MB"), h, fileSize); err != nil {
		return "", err
	}
	conf := fmt.Sprintf(`daemon off;
master_process on;
worker_processes 2;
pid %[1]s/nginx.pid;
error_log %[1]s/nginx.err;
events { worker_connections 256; }
http {
  access_log off;
  sendfile on;
  client_body_temp_path %[1]s/tmp;
  proxy_temp_path %[1]s/tmp;
  fastcgi_temp_path %[1]s/tmp;
  uwsgi_temp_path %[1]s/tmp;
  scgi_temp_path %[1]s/tmp;
  server { listen 80; listen [::]:80; root %[1]s/www; }
}
`, t.dir)
	return hex.EncodeToString(h.Sum(nil)), os.WriteFile(t.path("nginx.conf"), []byte(conf), 0o600)
}

func (t *tour) path(name string) string { return filepath.Join(t.dir, name) }

func (t *tour) runtimeDir(host string) string { return t.path("run-" + host) }

func (t *tour) client(host string) *dataplane.Client {
	return dataplane.NewClient(t.runtimeDir(host))
}

// startDaemon starts a host's daemon and waits until it answers.
func (t *tour) startDaemon(ctx context.Context, host string) error {
	log, err := t.start(ctx, "daemon-"+host, append(slices.Clone(t.on), t.Exe, "up", "-c", t.path(host+".toml"))...)
	if err != nil {
		return err
	}
	return t.wait(ctx, "daemon "+host, log, func() error {
		_, err := t.client(host).Status()
		return err
	})
}

// startNginx starts nginx in container web.
func (t *tour) startNginx(ctx context.Context) error {
	return t.serve(ctx, 80, t.nginx, "-p", t.dir, "-e", t.path("nginx.err"), "-c", t.path("nginx.conf"))
}

// serve starts a program in container web of host A and waits until it listens
// on port.
func (t *tour) serve(ctx context.Context, port uint16, argv ...string) error {
	name := filepath.Base(argv[0])
	log, err := t.start(ctx, name, slices.Concat(t.on, []string{t.Exe, "exec", "-run", t.runtimeDir("a"), "-n", "web", "--"}, argv)...)
	if err != nil {
		return err
	}
	return t.wait(ctx, name, log, func() error {
		sockets, err := t.client("a").Sockets()
		if err != nil {
			return err
		}
		for _, s := range sockets {
			if s.State == "LISTEN" && s.Local.Port() == port {
				return nil
			}
		}
		return fmt.Errorf("nobody listens on port %d", port)
	})
}

// fetch gets url with curl in container client and checks what came.
func (t *tour) fetch(ctx context.Context, url, sum string) (time.Duration, error) {
	return t.fetchWith(ctx, url, sum, t.Exe, "exec", "-run", t.runtimeDir("b"), "-n", "client", "--")
}

// fetchWith gets url with curl behind the words of prefix.
func (t *tour) fetchWith(ctx context.Context, url, sum string, prefix ...string) (time.Duration, error) {
	argv := append(prefix, t.curl, "-sS", "--fail", "--max-time", "60", "--noproxy", "*", url)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var complaint strings.Builder
	h := sha256.New()
	cmd.Stdout, cmd.Stderr = h, &complaint
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("curl %s: %w: %s", url, err, strings.TrimSpace(complaint.String()))
	}
	d := time.Since(start)
	if got := hex.EncodeToString(h.Sum(nil)); got != sum {
		return 0, fmt.Errorf("curl %s: SHA-256 %s, want %s", url, got, sum)
	}
	return d, nil
}
