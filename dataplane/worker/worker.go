// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/fib"
	"netcon/dataplane/socket"
	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/tuning"
)

// Idle says what a worker does when it has nothing to do.
type Idle struct {
	Busy bool          // never sleep: for latency-critical hosts
	Spin time.Duration // how long to poll before sleeping
}

// Config describes a group of workers.
type Config struct {
	Underlays []stream.Underlay // one per worker
	Stats     []*stat.Block     // one per worker, shared with its underlay
	CPUs      []int             // one per worker; empty: not pinned
	VTEP      netip.Addr        // our own, which nobody else may use as a source
	FIB       *fib.Table
	// Unfinished says that the underlay is a software device, through which
	// inner checksums arrive unfinished from kernels of this host.
	Unfinished bool
	Idle       Idle
	RingBytes  int // bound of pump ring memory per worker
	Log        *slog.Logger
}

// Group is the workers of one daemon.
type Group struct {
	workers []*Worker
	epoch   time.Time
}

// Worker is one polling loop. See the package comment.
type Worker struct {
	index    int
	cpu      int // -1: not pinned
	group    *Group
	underlay stream.Underlay
	fib      *fib.Table
	vtep     netip.Addr
	partial  bool // inner checksums may be unfinished
	idle     Idle
	log      *slog.Logger
	stat     *stat.Block
	poller   *poller
	buffers  *socket.Pool
	epoch    time.Time

	now       time.Duration // since epoch, read once per turn
	nextTick  time.Duration // when neighbours and restarts are looked at
	nextTrim  time.Duration // when unused ring memory is given back
	rxReady   bool          // the underlay may have frames
	shards    []*Shard      // by index; nil where removed
	runs      []*Shard      // shards that have work, in turn
	rungSpare []*Shard      // recycled by takeGiven
	bursts    []*Shard      // shards that were given packets since the last EndBurst
	freed     []freed       // indices of shards that are gone
	tracer    *tracer       // nil while nobody looks
	scratch   []byte        // a packet on its way to a shard of this worker

	in  []atomic.Pointer[handover] // by producing worker
	out []*handover                // by consuming worker, made on first use

	// written by any goroutine
	sleeping atomic.Bool
	mu       sync.Mutex
	doorbell int // eventfd; others write to it with mu held; -1: closed
	tasks    []func()
	rung     []*Shard // shards whose doorbell was rung
	given    atomic.Bool
	stopped  bool // guarded by mu: no further tasks are taken

	ended chan struct{} // closed when the worker's thread is done with everything
}

// New makes the workers. Run starts them, or Close takes them back.
func New(cfg Config) (_ *Group, err error) {
	g := &Group{epoch: time.Now()}
	defer func() {
		if err != nil {
			g.Close()
		}
	}()
	n := len(cfg.Underlays)
	for i, u := range cfg.Underlays {
		p, err := newPoller()
		if err != nil {
			return nil, err
		}
		bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			_ = unix.Close(p.epfd)
			return nil, fmt.Errorf("create doorbell of worker %d: %w", i, err)
		}
		w := &Worker{
			index: i, cpu: -1, group: g, underlay: u, fib: cfg.FIB, vtep: cfg.VTEP, partial: cfg.Unfinished, idle: cfg.Idle,
			log: cfg.Log, poller: p, buffers: socket.NewPool(cfg.RingBytes),
			epoch: g.epoch, rxReady: true, scratch: make([]byte, scratchSize),
			in: make([]atomic.Pointer[handover], n), out: make([]*handover, n),
			doorbell: bell, stat: cfg.Stats[i], ended: make(chan struct{}),
		}
		if len(cfg.CPUs) != 0 {
			w.cpu = cfg.CPUs[i]
		}
		g.workers = append(g.workers, w)
		if err := errors.Join(p.addFixed(u.FD(), slotUnderlay), p.addFixed(bell, slotDoorbell)); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// Close ends workers that Run was never called for, with their shards.
func (g *Group) Close() {
	for _, w := range g.workers {
		w.end()
	}
}

// Workers returns the workers in order.
func (g *Group) Workers() []*Worker { return g.workers }

// Now returns the time that all workers of the group go by.
func (g *Group) Now() time.Duration { return time.Since(g.epoch) }

// Run runs all workers until ctx ends, and then lets each one end its shards in
// order. It returns the first error that kept a worker from running.
func (g *Group) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var done sync.WaitGroup
	for _, w := range g.workers {
		done.Go(func() {
			runtime.LockOSThread()
			if w.cpu >= 0 {
				if err := tuning.PinThread(w.cpu); err != nil {
					cancel(err)
				}
			}
			stop := context.AfterFunc(ctx, w.Wake)
			defer stop()
			w.run(ctx)
		})
	}
	done.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Index returns the worker's place in its group.
func (w *Worker) Index() int { return w.index }

// CPU returns the core the worker is pinned to, -1 if it is not.
func (w *Worker) CPU() int { return w.cpu }

// Stat returns the worker's counters.
func (w *Worker) Stat() *stat.Block { return w.stat }

// Buffers returns the worker's ring memory.
func (w *Worker) Buffers() *socket.Pool { return w.buffers }

// Do runs f on the worker's thread and returns when it has run. It reports
// false if f did not run, because the worker has ended, or panicked. It must
// not be called on the worker's own thread.
func (w *Worker) Do(f func()) (ok bool) {
	done := make(chan struct{})
	w.mu.Lock()
	if w.stopped {
		w.mu.Unlock()
		return false
	}
	w.tasks = append(w.tasks, func() {
		defer close(done)
		defer w.contain()
		f()
		ok = true
	})
	w.given.Store(true)
	w.mu.Unlock()
	w.Wake()
	<-done
	return ok
}

// contain is deferred around a task: what goes wrong in one must not end the
// worker.
func (w *Worker) contain() {
	if r := recover(); r != nil {
		w.log.Error("task of a worker panicked", "worker", w.index, "reason", r, "stack", string(debug.Stack()))
	}
}

// Wake makes a sleeping worker look around. Any goroutine.
func (w *Worker) Wake() {
	if w.sleeping.Load() && w.sleeping.CompareAndSwap(true, false) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.doorbell >= 0 {
			one := [8]byte{1}
			// A full counter (EAGAIN) is as awake as it gets.
			_, _ = unix.Write(w.doorbell, one[:])
		}
	}
}

// ring makes shard s run on the worker's next turn. Any goroutine.
func (w *Worker) ring(s *Shard) {
	if s.rung.Swap(true) {
		return
	}
	w.mu.Lock()
	w.rung = append(w.rung, s)
	w.given.Store(true)
	w.mu.Unlock()
	w.Wake()
}
