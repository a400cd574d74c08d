// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"context"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/fib"
	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/internal/testenv"
)

func TestDo(t *testing.T) {
	w := newWorld(t, 2)
	stop := run(t, w)
	x := w.workers[1]
	ran := 0
	for range 100 {
		if !x.Do(func() { ran++ }) {
			t.Fatal("not run")
		}
	}
	if ran != 100 {
		t.Errorf("%d of 100 ran", ran)
	}
	if x.Do(func() { panic("for the test") }) {
		t.Error("a task that panicked is said to have run")
	}
	if !x.Do(func() { ran++ }) {
		t.Error("a panic in a task ended the worker")
	}
	// Those that were taken before the end run, the others do not.
	var tasks sync.WaitGroup
	var mu sync.Mutex
	did, said := 0, 0
	for range 50 {
		tasks.Go(func() {
			for range 20 {
				ok := x.Do(func() { did++ })
				mu.Lock()
				if ok {
					said++
				}
				mu.Unlock()
			}
		})
	}
	stop()
	tasks.Wait()
	if did != said {
		t.Errorf("%d tasks ran, %d are said to have", did, said)
	}
	if x.Do(func() { t.Error("ran after the end") }) {
		t.Error("Do after the end reports true")
	}
	x.Wake() // nothing to wake, and no fd to write to
}

// TestWakeAfterEnd: a worker that ended in the moment it fell asleep leaves a
// doorbell that somebody may still ring: its fd may be another's by then.
func TestWakeAfterEnd(t *testing.T) {
	w := newWorld(t, 1)
	m := w.add(0, 1)
	x := w.workers[0]
	bell := x.doorbell
	x.prepareSleep(t.Context())
	w.group.Close()
	p := make([]int, 2)
	if err := unix.Pipe2(p, unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = unix.Close(p[0]), unix.Close(p[1]) }()
	if p[1] != bell { // most likely one of the fds is the bell's
		if err := unix.Dup3(p[1], bell, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		if bell != p[0] {
			defer func() { _ = unix.Close(bell) }()
		}
	}
	m.eng().ring()
	x.Wake()
	if n, err := unix.Read(p[0], make([]byte, 16)); n > 0 || err == nil {
		t.Errorf("a wake-up wrote %d bytes to somebody else's file", n)
	}
}

// settle waits until goroutines and fds are as few as they were.
func settle(t *testing.T, what string, goroutines, fds int) {
	t.Helper()
	testenv.WaitFor(t, 5*time.Second, func() bool {
		return runtime.NumGoroutine() <= goroutines && testenv.FDs(t, os.Getpid()) <= fds
	}, "%s to leave nothing behind: %d goroutines, %d fds, had %d and %d", what,
		runtime.NumGoroutine(), testenv.FDs(t, os.Getpid()), goroutines, fds)
}

// TestNoLeaks: groups that run, that never run, and that cannot be made.
func TestNoLeaks(t *testing.T) {
	goroutines, fds := runtime.NumGoroutine(), testenv.FDs(t, os.Getpid())
	var table fib.Table
	for i := range 20 {
		var cfg Config
		for range 2 {
			u := newFakeUnderlay(t)
			cfg.Underlays, cfg.Stats = append(cfg.Underlays, u), append(cfg.Stats, &stat.Block{})
		}
		cfg.FIB, cfg.RingBytes, cfg.Log = &table, 1<<20, slog.New(slog.DiscardHandler)
		broken := i%4 == 3
		if broken {
			_ = cfg.Underlays[1].Close()
			cfg.Underlays[1] = &fakeUnderlay{fd: -1}
		}
		g, err := New(cfg)
		if (err != nil) != broken {
			t.Fatalf("cycle %d: %v", i, err)
		}
		switch {
		case broken:
			if !strings.Contains(err.Error(), "watch fd") {
				t.Errorf("error %q", err)
			}
		case i%2 == 0:
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Millisecond, cancel)
			if err := g.Run(ctx); err != nil {
				t.Error(err)
			}
			g.Close() // does nothing
		default:
			if g.Workers()[0].Buffers().Get() == nil {
				t.Fatal("no buffer")
			}
			g.Close()
		}
		for _, u := range cfg.Underlays {
			_ = u.Close()
		}
	}
	settle(t, "20 groups", goroutines, fds)
}

// TestPinFails: a group with a core that does not exist says so and ends.
func TestPinFails(t *testing.T) {
	w := newWorld(t, 2, func(c *Config) { c.CPUs = []int{0, 1000} })
	m := w.add(0, 1)
	if w.workers[1].CPU() != 1000 {
		t.Errorf("cpu %d", w.workers[1].CPU())
	}
	err := w.group.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "cpu 1000") {
		t.Errorf("got %v, want an error that names cpu 1000", err)
	}
	if m.eng().stops.Load() != 1 {
		t.Error("the container was not ended")
	}
}

// TestAccessors: what others read of a shard and a worker.
func TestAccessors(t *testing.T) {
	w := newWorld(t, 2)
	m := w.add(1, 4)
	if m.Name() != "c4" || m.Worker() != w.workers[1] || m.Index() != 0 || m.Worker().Index() != 1 || m.Worker().CPU() != -1 ||
		m.Engine() != stream.Engine(m.eng()) || len(m.Neighbours()) != 0 || m.Set().Len() != 0 {
		t.Error("a shard does not know itself")
	}
	if a := w.group.Now(); a > w.group.Now() {
		t.Error("time runs backwards")
	}
}
