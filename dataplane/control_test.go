// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/config"
	"netcon/dataplane/socket"
	"netcon/dataplane/stat"
	"netcon/internal/testenv"
)

// talk sends bytes to the administration socket and returns the first line of
// the answer, which is empty if there is none.
func talk(t testing.TB, d *daemon, send string) string {
	t.Helper()
	c, err := net.Dial("unix", AdminPath(d.dir))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = c.Write([]byte(send))
	_ = c.(*net.UnixConn).CloseWrite()
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil && err != io.EOF {
		t.Errorf("%.40q: %v", send, err)
	}
	return strings.TrimSpace(line)
}

func TestControl(t *testing.T) {
	d := start(t, parse(t, text(runDir(t), 1)))
	get := func(method, path, more string) string {
		return method + " " + path + " HTTP/1.1\r\nHost: netcon\r\nConnection: close\r\n" + more + "\r\n"
	}
	for _, c := range []struct {
		name, send, want string
		malformed        uint64
	}{
		{"status", get("GET", "/v1/status", ""), "HTTP/1.1 200 OK", 0},
		{"HTTP/1.0", "GET /v1/stats HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK", 0},
		{"nothing", "", "", 0},
		{"garbage", "\x00\xff\x16\x03\x01 garbage\r\n\r\n", "HTTP/1.1 400 Bad Request", 1},
		{"half a line", "GET /v1/st", "HTTP/1.1 400 Bad Request", 1},
		{"no host", "GET /v1/status HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request: missing required Host header", 1},
		{"wrong path", get("GET", "/v1/nothing", ""), "HTTP/1.1 404 Not Found", 1},
		{"no path", get("GET", "/", ""), "HTTP/1.1 404 Not Found", 1},
		{"path that climbs", get("GET", "/v1/../../etc/passwd", ""), "HTTP/1.1 307 Temporary Redirect", 0},
		{"wrong method", "POST /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.1 404 Not Found", 1},
		{"another wrong method", get("DELETE", "/v1/status", ""), "HTTP/1.1 404 Not Found", 1},
		{
			"huge header", get("GET", "/v1/status", "X: "+strings.Repeat("x", 64<<10)+"\r\n"),
			"HTTP/1.1 431 Request Header Fields Too Large", 1,
		},
		{"huge line", "GET /" + strings.Repeat("x", 64<<10) + " HTTP/1.1\r\n\r\n", "HTTP/1.1 431 Request Header Fields Too Large", 1},
	} {
		before := d.Stats().Control.Drops["control_malformed"]
		if got := talk(t, d, c.send); got != c.want {
			t.Errorf("%s: answer %q, want %q", c.name, got, c.want)
		}
		testenv.WaitFor(t, 5*time.Second, func() bool {
			return d.Stats().Control.Drops["control_malformed"] == before+c.malformed
		}, "%s to be counted %d times", c.name, c.malformed)
	}
	if s, err := d.client().Status(); err != nil || len(s.Containers) != 2 {
		t.Errorf("after all that: %v", err)
	}
}

// TestControlSilent: a peer that says nothing does not keep the daemon from
// ending.
func TestControlSilent(t *testing.T) {
	d := start(t, parse(t, text(runDir(t), 1)))
	for _, send := range []string{"", "GET /v1/status HTTP/1.1\r\n"} {
		c, err := net.Dial("unix", AdminPath(d.dir))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		_, _ = c.Write([]byte(send))
	}
	if _, err := d.client().Status(); err != nil { // the others were accepted before
		t.Fatal(err)
	}
	begin := time.Now()
	if err := d.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("the end took %v", took)
	}
}

// TestControlUsers: the socket's mode keeps others out, and so does the daemon
// where the mode does not.
func TestControlUsers(t *testing.T) {
	d := start(t, parse(t, text(runDir(t), 1)))
	path := AdminPath(d.dir)
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, want 600: %v", st.Mode(), err)
	}
	as(t, stranger, func() {
		if c, err := net.Dial("unix", path); err == nil {
			_ = c.Close()
			t.Error("a stranger connected")
		} else if !errors.Is(err, unix.EACCES) {
			t.Error(err)
		}
	})
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	before := d.Stats().Control.Drops["control_refused"]
	as(t, stranger, func() {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(c, "GET /v1/status HTTP/1.0\r\n\r\n")
		if b, err := io.ReadAll(c); len(b) != 0 {
			t.Errorf("a stranger was told %q (%v)", b, err)
		}
	})
	if n := d.Stats().Control.Drops["control_refused"]; n != before+1 {
		t.Errorf("%d refused, want %d", n, before+1)
	}
	if _, err := d.client().Status(); err != nil {
		t.Errorf("root: %v", err)
	}
}

// fieldsOf returns the paths of all JSON fields of a type.
func fieldsOf(prefix string, typ reflect.Type, into *[]string) {
	switch typ.Kind() {
	case reflect.Slice, reflect.Map:
		fieldsOf(prefix+"[]", typ.Elem(), into)
		return
	case reflect.Struct:
		if typ.PkgPath() == "net/netip" {
			break
		}
		for i := range typ.NumField() {
			f := typ.Field(i)
			name := f.Tag.Get("json")
			switch {
			case f.Anonymous && name == "":
				fieldsOf(prefix, f.Type, into)
			default:
				fieldsOf(prefix+"."+name, f.Type, into)
			}
		}
		return
	}
	*into = append(*into, prefix+" "+typ.String())
}

// TestJSONStable: programs read these. Fields may be added here, and none may
// change or go.
func TestJSONStable(t *testing.T) {
	want := map[string]string{
		"status": `.containers[].addresses[] string
.containers[].bytes_in uint64
.containers[].bytes_out uint64
.containers[].engine string
.containers[].mac string
.containers[].mode string
.containers[].mtu int
.containers[].name string
.containers[].neighbours[].age_seconds float64
.containers[].neighbours[].ip string
.containers[].neighbours[].mac string
.containers[].neighbours[].state string
.containers[].network string
.containers[].restarts uint64
.containers[].sockets int
.containers[].worker int
.networks[].learn bool
.networks[].learned int
.networks[].members int
.networks[].mtu int
.networks[].name string
.networks[].subnets[] string
.networks[].vni uint32
.networks[].vteps[] string
.pid int
.runtime_dir string
.underlay.address string
.underlay.features string
.underlay.kind string
.underlay.mtu int
.uptime_seconds float64
.version string
.workers[].containers int
.workers[].cpu int
.workers[].index int
.workers[].rx_frames uint64
.workers[].sleeps uint64
.workers[].turns uint64
.workers[].tx_frames uint64`,
		"sockets": `[].age_seconds float64
[].bytes_in uint64
[].bytes_out uint64
[].container string
[].cookie uint64
[].family uint8
[].local netip.AddrPort
[].mechanism string
[].mode string
[].pid int32
[].recv_queue int
[].remote netip.AddrPort
[].send_queue int
[].state string
[].uid uint32`,
		"stats": `.containers[].counters[] uint64
.containers[].drops[] uint64
.control.counters[] uint64
.control.drops[] uint64
.total.counters[] uint64
.total.drops[] uint64
.workers[].counters[] uint64
.workers[].drops[] uint64`,
	}
	for name, v := range map[string]any{"status": Status{}, "sockets": []Socket{}, "stats": Stats{}} {
		var fields []string
		fieldsOf("", reflect.TypeOf(v), &fields)
		for line := range strings.Lines(want[name]) {
			if line = strings.TrimSpace(line); !slices.Contains(fields, line) {
				t.Errorf("%s lost %q", name, line)
			}
		}
		slices.Sort(fields)
		for _, f := range fields {
			if strings.Contains(f, ". ") || strings.HasPrefix(f, " ") {
				t.Errorf("%s has a field without a name: %q", name, f)
			}
		}
	}
	// What is empty is a list, not null.
	d := &Dataplane{cfg: &config.Config{}}
	if b, _ := json.Marshal(d.Sockets()); string(b) != "[]" {
		t.Errorf("no sockets are %s", b)
	}
	b, err := json.Marshal(Socket{Container: "c", Info: socket.Info{State: "LISTEN"}})
	if err != nil || !strings.Contains(string(b), `{"container":"c","cookie":0`) || !strings.Contains(string(b), `"remote":""`) {
		t.Errorf("a socket is %s (%v)", b, err)
	}
}

// TestJSONEmpty: a daemon without sockets and neighbours has empty lists.
func TestJSONEmpty(t *testing.T) {
	cfg := parse(t, text(runDir(t), 1))
	cfg.Networks[0].VTEPs = nil
	d := start(t, cfg)
	for path, want := range map[string]string{
		"/v1/sockets": "[]\n", "/v1/status": `"neighbours":[]`, "/v1/stats": `"containers":{"one":{"counters":{`,
	} {
		c := d.client()
		resp, err := c.http.Get("http://netcon" + path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		c.http.CloseIdleConnections()
		if err != nil || !strings.Contains(string(b), want) || strings.Contains(string(b), "null") ||
			resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %s (%v)", path, b, err)
		}
	}
}

// refusal is the transport of a user who may not connect.
type refusal struct{}

func (refusal) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", unix.EACCES)}
}

// TestClientErrors: what a person is told.
func TestClientErrors(t *testing.T) {
	dir := testenv.OpenDir(t)
	c := NewClient(dir)
	tell := func(what, want string) {
		t.Helper()
		_, err := c.Status()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "http://") {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	tell("no daemon", fmt.Sprintf("no daemon at %s/control.sock (start one with: netcon up)", dir))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: AdminPath(dir), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	answer := func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusTeapot) }
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) { answer(w, r) })}}
	s.Start()
	tell("an error", "418")
	answer = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "no JSON") }
	tell("no JSON", "read the daemon's answer to /v1/status")
	answer = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	tell("silence", "is it running, and yours?")
	l.SetUnlinkOnClose(false)
	c.http.CloseIdleConnections()
	s.Close()
	tell("a socket without a daemon", "is it running, and yours?")
	c.http.Transport = refusal{}
	tell("another user's daemon", "permission denied (only its owner and root may)")
	if _, err := NewClient(filepath.Join(dir, strings.Repeat("x", 200))).Stats(); err == nil {
		t.Error("a path that no socket has")
	}
}

// TestNames: every counter and reason a program may look for is in the answer
// under its name.
func TestNames(t *testing.T) {
	d := start(t, parse(t, text(runDir(t), 1)))
	d.controlStat.DropShared(stat.DropControlGarbage)
	s, err := d.client().Stats()
	if err != nil || s.Control.Drops["control_garbage"] != 1 || s.Total.Drops["control_garbage"] != 1 {
		t.Errorf("%+v %v", s, err)
	}
}
