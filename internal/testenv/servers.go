// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	// readyTimeout is how long a server may take until it listens.
	readyTimeout = 15 * time.Second

	// nobody is the user and group of servers that run without privileges.
	nobody = 65534
)

// Options are what a server is to do.
type Options struct {
	// Addrs are where it listens, "192.0.2.1:80" or "[2001:db8::1]:80".
	// Iperf3Server takes one; Redis several with one port.
	Addrs []string

	// Workers is how many worker processes (nginx) or I/O threads (redis)
	// it has; 0 is 1.
	Workers int

	// Root is the directory nginx serves. Without one it answers every
	// request with 200 and "netcon\n".
	Root string

	// User runs the server, the master process too, as an unprivileged
	// user. A test that is not root itself gets that anyway.
	User bool

	// Extra are further lines: of nginx's server block, of redis's
	// configuration, arguments of iperf3.
	Extra []string

	// Env is added to the environment.
	Env []string
}

// Server is a running server.
type Server struct {
	*Process
	Dir string // its configuration and scratch files
}

// OpenDir makes a directory that any user may enter, gone when the test ends.
// t.TempDir would be the test user's alone.
func OpenDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "netcon-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// scratch makes a server's directory, its own if it runs as a user.
func scratch(t testing.TB, o Options) string {
	t.Helper()
	dir := OpenDir(t)
	if o.User && os.Geteuid() == 0 {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// serve starts a server behind prefix and waits until ready, which is asked
// with the output so far.
func serve(t testing.TB, prefix []string, o Options, dir string, ready func(output string) bool, cmd ...string) *Server {
	t.Helper()
	argv := append([]string{}, prefix...)
	if o.User && os.Geteuid() == 0 {
		NeedTools(t, "setpriv")
		id := strconv.Itoa(nobody)
		argv = append(argv, "setpriv", "--reuid="+id, "--regid="+id, "--clear-groups", "--")
	}
	argv = append(argv, cmd...)
	c := exec.Command(argv[0], argv[1:]...)
	c.Dir = dir
	c.Env = append(os.Environ(), o.Env...)
	s := &Server{Process: StartCmd(t, c), Dir: dir}
	poll(readyTimeout, func() bool { return !s.Running() || ready(s.Output()) })
	if !s.Running() || !ready(s.Output()) {
		t.Fatalf("%q is not ready after %v (running: %v)", s.name, readyTimeout, s.Running())
	}
	return s
}

func hostPort(t testing.TB, addr string) (host, port string) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatalf("address %q: %v", addr, err)
	}
	return host, port
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Nginx starts nginx behind a command prefix, such as NetNS.Prefix, and waits
// until it listens.
func Nginx(t testing.TB, prefix []string, o Options) *Server {
	t.Helper()
	NeedTools(t, "nginx")
	dir := scratch(t, o)
	var listen strings.Builder
	for _, a := range o.Addrs {
		hostPort(t, a)
		fmt.Fprintf(&listen, "    listen %s;\n", a)
	}
	content := `location / { default_type text/plain; return 200 "netcon\n"; }`
	if o.Root != "" {
		content = fmt.Sprintf("root %q; default_type application/octet-stream; sendfile on;", o.Root)
	}
	conf := fmt.Sprintf(`daemon off;
worker_processes %d;
pid %[2]s/pid;
error_log stderr notice;
events { worker_connections 8192; }
http {
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path %[2]s/body;
  proxy_temp_path %[2]s/proxy;
  fastcgi_temp_path %[2]s/fastcgi;
  uwsgi_temp_path %[2]s/uwsgi;
  scgi_temp_path %[2]s/scgi;
  server {
%[3]s    %[4]s
    %[5]s
  }
}
`, max(o.Workers, 1), dir, listen.String(), content, strings.Join(o.Extra, "\n    "))
	write(t, filepath.Join(dir, "nginx.conf"), conf)
	// The pid file is written after the sockets listen.
	listening := func(string) bool {
		b, err := os.ReadFile(filepath.Join(dir, "pid"))
		return err == nil && len(b) > 0
	}
	return serve(t, prefix, o, dir, listening, "nginx", "-e", "stderr", "-p", dir, "-c", filepath.Join(dir, "nginx.conf"))
}

// Redis starts redis-server behind a command prefix and waits until it listens.
func Redis(t testing.TB, prefix []string, o Options) *Server {
	t.Helper()
	NeedTools(t, "redis-server")
	dir := scratch(t, o)
	var hosts []string
	port := ""
	for _, a := range o.Addrs {
		h, p := hostPort(t, a)
		if port != "" && p != port {
			t.Fatalf("redis listens on one port, not %s and %s", port, p)
		}
		hosts, port = append(hosts, h), p
	}
	conf := fmt.Sprintf("bind %s\nport %s\ndir %s\ndaemonize no\nprotected-mode no\nsave \"\"\nappendonly no\n",
		strings.Join(hosts, " "), port, dir)
	if o.Workers > 1 {
		conf += fmt.Sprintf("io-threads %d\n", o.Workers)
	}
	conf += strings.Join(o.Extra, "\n") + "\n"
	write(t, filepath.Join(dir, "redis.conf"), conf)
	return serve(t, prefix, o, dir, contains("Ready to accept connections"), "redis-server", filepath.Join(dir, "redis.conf"))
}

// Iperf3Server starts iperf3 as a server behind a command prefix and waits
// until it listens.
func Iperf3Server(t testing.TB, prefix []string, o Options) *Server {
	t.Helper()
	NeedTools(t, "iperf3")
	if len(o.Addrs) != 1 {
		t.Fatalf("iperf3 listens on one address, not %q", o.Addrs)
	}
	host, port := hostPort(t, o.Addrs[0])
	cmd := append([]string{"iperf3", "-s", "-B", host, "-p", port, "--forceflush"}, o.Extra...)
	return serve(t, prefix, o, scratch(t, o), contains("Server listening on"), cmd...)
}

func contains(text string) func(string) bool {
	return func(output string) bool { return strings.Contains(output, text) }
}

// Iperf3Result is what an iperf3 client measured.
type Iperf3Result struct {
	BitsPerSecond float64 // as received
	Bytes         int64   // as received
	Retransmits   int64   // by the sender's TCP
	// Stall is the longest time without a byte, in steps of a second.
	Stall time.Duration
}

// Iperf3 runs an iperf3 client behind a command prefix against a server's
// address for d, in whole seconds.
func Iperf3(t testing.TB, prefix []string, addr string, d time.Duration, args ...string) Iperf3Result {
	t.Helper()
	host, port := hostPort(t, addr)
	cmd := append([]string{}, prefix...)
	cmd = append(cmd, "iperf3", "-J", "-c", host, "-p", port, "-t", strconv.Itoa(int(d.Seconds())))
	out, err := Try(nil, d+RunTimeout, append(cmd, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Intervals []struct {
			Sum struct {
				Bytes   int64   `json:"bytes"`
				Seconds float64 `json:"seconds"`
			} `json:"sum"`
		} `json:"intervals"`
		End struct {
			Sent struct {
				Retransmits int64 `json:"retransmits"`
			} `json:"sum_sent"`
			Received struct {
				BitsPerSecond float64 `json:"bits_per_second"`
				Bytes         int64   `json:"bytes"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("iperf3 output %q: %v", out, err)
	}
	res := Iperf3Result{
		BitsPerSecond: r.End.Received.BitsPerSecond, Bytes: r.End.Received.Bytes, Retransmits: r.End.Sent.Retransmits,
	}
	silent := 0.0
	for _, i := range r.Intervals {
		if silent += i.Sum.Seconds; i.Sum.Bytes > 0 {
			silent = 0
		}
		res.Stall = max(res.Stall, time.Duration(silent*float64(time.Second)))
	}
	return res
}
