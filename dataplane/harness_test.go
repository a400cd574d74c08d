// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/config"
	"netcon/internal/testenv"
)

// stranger is a user who owns nothing here.
const stranger = 65534

// logged is a log that a test reads while it is written.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// take returns what was logged and forgets it.
func (l *logged) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.b.String()
	l.b.Reset()
	return s
}

// daemon is one daemon of a test.
type daemon struct {
	*Dataplane
	t    testing.TB
	dir  string
	log  *logged
	stop func() error // ends Run and returns what it returned
}

// base is a configuration: two containers on two workers.
const base = `
[daemon]
runtime_dir = %q
workers = 2

[underlay]
address = %q

[[network]]
name = "net"
vni = 42
subnets = ["10.42.0.0/24", "fd42::/64"]
vteps = [%q]

[[container]]
name = "one"
network = "net"
addresses = ["10.42.0.%d", "fd42::%d"]
worker = 0

[[container]]
name = "two"
network = "net"
addresses = ["10.42.0.%d"]
worker = 1
`

// text returns the configuration of host n; its VTEP is 127.88.0.n.
func text(dir string, n int) string {
	return fmt.Sprintf(base, dir, fmt.Sprintf("127.88.0.%d", n), fmt.Sprintf("127.88.0.%d", 3-n), 10*n+1, 10*n+1, 10*n+2)
}

func parse(t testing.TB, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("test.toml", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return cfg
}

// runDir is a runtime directory that is not there yet, below one that everybody
// may enter.
func runDir(t testing.TB) string {
	return filepath.Join(testenv.OpenDir(t), "run")
}

// start runs a daemon until the test ends or stop is called.
func start(t testing.TB, cfg *config.Config) *daemon {
	t.Helper()
	d := &daemon{t: t, dir: cfg.Daemon.RuntimeDir, log: &logged{}}
	var err error
	d.Dataplane, err = New(cfg, Options{Log: slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	d.stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(10 * time.Second):
			t.Error("the daemon does not end")
			return context.DeadlineExceeded
		}
	})
	t.Cleanup(func() {
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
	// It answers once it runs.
	if _, err := d.client().Status(); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *daemon) client() *Client { return NewClient(d.dir) }

// traces is what a daemon could leave behind.
type traces struct{ goroutines, fds int }

func look(t testing.TB) traces {
	return traces{runtime.NumGoroutine(), testenv.FDs(t, os.Getpid())}
}

// settle waits until there is no more than there was.
func (was traces) settle(t testing.TB, what string) {
	t.Helper()
	now := was
	deadline := time.Now().Add(5 * time.Second)
	for {
		if now = look(t); now.goroutines <= was.goroutines && now.fds <= was.fds {
			return
		}
		if time.Now().After(deadline) {
			b := make([]byte, 1<<16)
			t.Fatalf("%s left something behind: %+v, had %+v\n%s", what, now, was, b[:runtime.Stack(b, true)])
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// as runs f on a thread of another user. The thread does not outlive f.
func as(t testing.TB, uid int, f func()) {
	t.Helper()
	testenv.Need(t, "CAP_SETUID")
	done := make(chan unix.Errno)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		defer close(done)
		// Only this thread: that is what a raw call is for.
		_, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid))
		if e != 0 {
			done <- e
			return
		}
		f()
	}()
	if e := <-done; e != 0 {
		t.Fatalf("become user %d: %v", uid, e)
	}
}

// has reports whether a file is there.
func has(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
