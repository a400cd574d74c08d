// SPDX-License-Identifier: Apache-2.0

package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/nettest"
	"golang.org/x/sys/unix"

	"netcon/dataplane"
	"netcon/dataplane/config"
	"netcon/internal/testenv"
)

// pod is a daemon with two containers, and this program in both.
func pod(t *testing.T) (one, two *Container) {
	t.Helper()
	dir := filepath.Join(testenv.OpenDir(t), "run")
	self := fmt.Sprintf("127.%d.%d.1", 200+os.Getpid()/250%50, os.Getpid()%250)
	cfg, err := config.Parse("test.toml", fmt.Appendf(nil, `
[daemon]
runtime_dir = %q
workers = 2
[underlay]
address = %q
[[network]]
name = "net"
vni = 7
subnets = ["10.42.0.0/24", "fd42::/64"]
vteps = ["127.0.0.9"]
[[container]]
name = "one"
network = "net"
addresses = ["10.42.0.1", "fd42::1"]
[[container]]
name = "two"
network = "net"
addresses = ["10.42.0.2", "fd42::2"]
`, dir, self))
	if err != nil {
		t.Fatal(err)
	}
	d, err := dataplane.New(cfg, dataplane.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	attach := func(name string) *Container {
		c, err := Attach(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	return attach("one"), attach("two")
}

// pipe returns the two ends of a connection.
func pipe(t testing.TB, l net.Listener, from *Container) (a, b net.Conn) {
	t.Helper()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	a, err := from.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return a, <-accepted
}

// TestConformance: what golang.org/x/net asks of a net.Conn.
func TestConformance(t *testing.T) {
	one, two := pod(t)
	for _, address := range []string{"10.42.0.1:0", "[fd42::1]:0"} {
		l, err := one.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		t.Run(address, func(t *testing.T) {
			nettest.TestConn(t, func() (a, b net.Conn, stop func(), err error) {
				a, b = pipe(t, l, two)
				return a, b, func() { _, _ = a.Close(), b.Close() }, nil
			})
		})
	}
}

// TestHTTP: net/http on both ends, over the network and inside the container.
func TestHTTP(t *testing.T) {
	one, two := pod(t)
	l, err := one.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	})}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	body := bytes.Repeat([]byte("0123456789"), 100_000)
	for _, from := range []struct {
		c    *Container
		host string
	}{{two, "10.42.0.1"}, {two, "[fd42::1]"}, {one, "127.0.0.1"}, {one, "[::1]"}} {
		client := http.Client{Transport: &http.Transport{DialContext: from.c.DialContext}, Timeout: 20 * time.Second}
		for range 3 {
			resp, err := client.Post("http://"+from.host+"/", "text/plain", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || !bytes.Equal(got, body) {
				t.Fatalf("%s: %d bytes, %v", from.host, len(got), err)
			}
		}
		client.CloseIdleConnections()
	}
}

// TestHalfClose: a FIN each way, with what was written before it.
func TestHalfClose(t *testing.T) {
	one, two := pod(t)
	l, err := one.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b, _ := io.ReadAll(c)
		_, _ = c.Write(bytes.ToUpper(b))
	}()
	c, err := two.Dial("tcp", fmt.Sprintf("10.42.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.LocalAddr().(*net.TCPAddr).IP.String(); got != "10.42.0.2" {
		t.Errorf("local address %s", got)
	}
	if _, err := c.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	if err := c.(*Conn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "HALF" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestErrors: the errors of package net, with the kernel's numbers in them.
func TestErrors(t *testing.T) {
	one, two := pod(t)
	l, err := one.Listen("tcp", "10.42.0.1:700")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	dial := func(ctx context.Context, address string) error {
		_, err := two.DialContext(ctx, "tcp", address)
		return err
	}
	_, again := one.Listen("tcp", "10.42.0.1:700")
	_, elsewhere := one.Listen("tcp", "10.42.0.2:700")
	_, udp := one.Listen("udp", "10.42.0.1:700")
	for _, c := range []struct {
		name string
		got  error
		want error
	}{
		{"nobody listens", dial(t.Context(), "10.42.0.1:701"), unix.ECONNREFUSED},
		{"no answer", dial(short, "10.42.0.99:700"), context.DeadlineExceeded},
		{"canceled", dial(gone, "10.42.0.99:700"), context.Canceled},
		{"no route", dial(t.Context(), "192.0.2.1:700"), unix.ENETUNREACH},
		{"in use", again, unix.EADDRINUSE},
		{"somebody else's", elsewhere, unix.EADDRNOTAVAIL},
		{"UDP", udp, net.UnknownNetworkError("udp")},
	} {
		var op *net.OpError
		if !errors.Is(c.got, c.want) || !errors.As(c.got, &op) {
			t.Errorf("%s: %v (%T), want %v", c.name, c.got, c.got, c.want)
		}
	}

	a, b := pipe(t, l, two)
	if err := a.(*Conn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = a.Close()
	if n, err := b.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("read of a connection that was reset: %d, %v", n, err)
	}
	_ = b.Close()

	accepted := make(chan error, 1)
	go func() { _, err := l.Accept(); accepted <- err }()
	_ = l.Close()
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept of a closed listener: %v", err)
	}
	if _, err := Attach(t.TempDir(), "x"); err == nil || !strings.Contains(err.Error(), "netcon up") {
		t.Errorf("attach without a daemon: %v", err)
	}
}

// TestDescriptors: nothing is left open.
func TestDescriptors(t *testing.T) {
	one, two := pod(t)
	l, err := one.Listen("tcp", "10.42.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	turn := func() {
		a, b := pipe(t, l, two)
		_, _ = a.Close(), b.Close()
		if c, err := two.Dial("tcp", "10.42.0.1:1"); err == nil {
			_ = c.Close()
		}
	}
	turn()
	counts := []int{open()}
	for range 20 {
		turn()
	}
	testenv.WaitFor(t, 10*time.Second, func() bool {
		counts = append(counts, open())
		return counts[len(counts)-1] <= slices.Min(counts[:1])
	}, "the descriptors of 20 connections to be closed")
}
