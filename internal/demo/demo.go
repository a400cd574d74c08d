// SPDX-License-Identifier: Apache-2.0

// Package demo is the two-minute tour: it builds two hosts on loopback
// addresses, runs stock programs in them and shows where their traffic went.
//
// # Theory of operation
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
// # Concurrency
//
// Run is one goroutine; whatever it started ends, and what it wrote is removed,
// before it returns, also when its context ends.
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

// Options says where the demo finds and tells things.
type Options struct {
	Exe  string // the netcon program
	Shim string // the preload library
	Out  io.Writer
	Err  io.Writer
}

// tour is one run of the demo.
type tour struct {
	Options
	dir   string
	hosts [2]string // VTEP addresses of hosts A and B
	procs []*exec.Cmd
	nginx string
	curl  string
}

// Run shows the demo. It must not run as root: see Drop.
func Run(ctx context.Context, o Options) (err error) {
	t := &tour{Options: o}
	for i := range t.hosts {
		t.hosts[i] = fmt.Sprintf("127.%d.%d.%d", 64+os.Getpid()/250%128, os.Getpid()%250, i+1)
	}
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
		stopErr := t.stop()
		if rmErr := os.RemoveAll(t.dir); err == nil {
			err = errors.Join(stopErr, rmErr)
		}
		if err == nil {
			t.say("cleaned up: daemons and nginx ended, %s removed", t.dir)
		}
	}()
	return t.run(ctx)
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
	for _, url := range []string{"http://" + webAddr + "/100MB", "http://[" + web6Addr + "]/100MB"} {
		t.say("host B: netcon exec -n client -- curl %s", url)
		d, err := t.fetch(ctx, url, sum)
		if err != nil {
			return err
		}
		t.say("        %d bytes in %.2f s: %.2f Gbit/s, SHA-256 equal", fileSize, d.Seconds(),
			float64(fileSize)*8/d.Seconds()/1e9)
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

// prepare writes the file, the configurations and nginx's, and returns the
// file's SHA-256.
func (t *tour) prepare() (sum string, err error) {
	h := sha256.New()
	if err := writeNoise(filepath.Join(t.dir, "www", "100MB"), h, fileSize); err != nil {
		return "", err
	}
	for _, h := range []struct{ name, self, peer, container, a4, a6 string }{
		{"a", t.hosts[0], t.hosts[1], "web", webAddr, web6Addr},
		{"b", t.hosts[1], t.hosts[0], "client", "10.77.0.2", "fd77::2"},
	} {
		conf := fmt.Sprintf(`[daemon]
runtime_dir = %q
workers = 1

[underlay]
address = %q

[[network]]
name = "demo"
vni = 77
subnets = ["10.77.0.0/24", "fd77::/64"]
vteps = [%q]

[[container]]
name = %q
network = "demo"
addresses = [%q, %q]
`, t.runtimeDir(h.name), h.self, h.peer, h.container, h.a4, h.a6)
		if err := os.WriteFile(t.path(h.name+".toml"), []byte(conf), 0o600); err != nil {
			return "", err
		}
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
	log, err := t.start(ctx, "daemon-"+host, t.Exe, "up", "-c", t.path(host+".toml"))
	if err != nil {
		return err
	}
	return t.wait(ctx, "daemon "+host, log, func() error {
		_, err := t.client(host).Status()
		return err
	})
}

// startNginx starts nginx in container web and waits until it listens.
func (t *tour) startNginx(ctx context.Context) error {
	log, err := t.start(ctx, "nginx", t.Exe, "exec", "-run", t.runtimeDir("a"), "-n", "web", "--",
		t.nginx, "-p", t.dir, "-e", t.path("nginx.err"), "-c", t.path("nginx.conf"))
	if err != nil {
		return err
	}
	return t.wait(ctx, "nginx", log, func() error {
		sockets, err := t.client("a").Sockets()
		if err != nil {
			return err
		}
		for _, s := range sockets {
			if s.State == "LISTEN" && s.Local.Port() == 80 {
				return nil
			}
		}
		return errors.New("nobody listens on port 80")
	})
}

// fetch gets url with curl in container client and checks what came.
func (t *tour) fetch(ctx context.Context, url, sum string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, t.Exe, "exec", "-run", t.runtimeDir("b"), "-n", "client", "--",
		t.curl, "-sS", "--fail", "--max-time", "60", "--noproxy", "*", url)
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
