// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"context"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stat"
)

// Budgets of one turn.
const (
	rxBudget       = 256 // frames from the underlay
	handoverBudget = 256 // frames from each other worker
	shardBudget    = 64  // events, sockets, and packets of one shard
)

// tick is how often neighbours and restarts are looked at while there is work.
const tick = 10 * time.Millisecond

// trimEvery is how often an idle worker gives unused ring memory back.
const trimEvery = 10 * time.Second

// run is the worker's life.
func (w *Worker) run(ctx context.Context) {
	spinUntil := time.Duration(0)
	timeout := 0
	for ctx.Err() == nil {
		worked := w.turn(timeout)
		timeout = 0
		switch {
		case worked:
			spinUntil = w.now + w.idle.Spin
		case w.idle.Busy || w.now < spinUntil:
		default:
			timeout = w.prepareSleep(ctx)
		}
	}
	w.end()
}

// turn does one round of everything and reports whether there was anything to
// do. timeout is how long epoll may sleep, in milliseconds.
func (w *Worker) turn(timeout int) (worked bool) {
	events := w.poller.wait(timeout)
	w.sleeping.Store(false)
	w.now = time.Since(w.epoch)
	w.stat.Count(stat.Turns)

	for i := range events {
		worked = true
		w.dispatch(&events[i])
	}
	if w.given.Load() {
		worked = true
		w.takeGiven()
	}
	if w.rxReady {
		n := w.underlay.Recv(w, rxBudget)
		w.rxReady = n >= rxBudget
		worked = worked || n > 0
	}
	if w.takeHandovers() {
		worked = true
	}
	w.endBursts()
	if len(w.runs) > 0 {
		worked = true
		w.runShards()
		w.endBursts()
	}
	// A sleep has put it off until the first timer of that time.
	w.nextTick = min(w.nextTick, w.now+tick)
	if w.now >= w.nextTick {
		w.tickShards()
	}
	if w.underlay.Flush() {
		worked = true
	}
	w.publishHandovers()
	w.publishStats()
	return worked
}

func (w *Worker) dispatch(ev *unix.EpollEvent) {
	switch ev.Fd {
	case slotUnderlay:
		w.rxReady = true
	case slotDoorbell:
		var b [8]byte
		_, _ = unix.Read(w.doorbell, b[:])
		w.stat.Count(stat.Wakes)
	default:
		if x := &w.poller.watches[ev.Fd]; x.gen == ev.Pad && x.handler != nil {
			s := x.shard
			s.guard(func() { x.handler.Ready(ev.Events) })
			w.schedule(s)
		}
	}
}

// takeGiven takes what other goroutines left: tasks and rung doorbells.
func (w *Worker) takeGiven() {
	w.mu.Lock()
	w.given.Store(false)
	tasks, rung := w.tasks, w.rung
	w.tasks, w.rung = nil, w.rungSpare[:0]
	w.mu.Unlock()
	for _, s := range rung {
		s.rung.Store(false)
		w.schedule(s)
	}
	w.rungSpare = rung
	for _, f := range tasks {
		f()
	}
}

// schedule puts s among the shards that have work.
func (w *Worker) schedule(s *Shard) {
	if !s.queued && !s.removed {
		s.queued = true
		w.runs = append(w.runs, s)
	}
}

// runShards gives every shard that has work one turn.
func (w *Worker) runShards() {
	n := len(w.runs)
	for i := range n {
		s := w.runs[i]
		s.queued = false
		if s.removed {
			continue
		}
		if s.run(shardBudget) {
			w.schedule(s)
		}
	}
	// What was scheduled meanwhile moves to the front.
	m := copy(w.runs, w.runs[n:])
	clear(w.runs[m:])
	w.runs = w.runs[:m]
}

// endBursts tells engines that were given packets that no further one follows.
func (w *Worker) endBursts() {
	for i := 0; i < len(w.bursts); i++ {
		s := w.bursts[i]
		s.inBurst = false
		if !s.dead {
			s.guard(s.engine.EndBurst)
			w.schedule(s)
		}
	}
	clear(w.bursts)
	w.bursts = w.bursts[:0]
}

// tickShards runs what waits for time to pass.
func (w *Worker) tickShards() {
	w.nextTick = w.now + tick
	for _, s := range w.shards {
		if s != nil {
			s.tick()
		}
	}
}

func (w *Worker) publishStats() {
	w.stat.Publish()
	for _, s := range w.shards {
		if s != nil {
			s.stat.Publish()
		}
	}
}

// prepareSleep returns how long epoll may sleep in milliseconds: 0 if somebody
// gave us something meanwhile. See Concurrency in the package comment.
func (w *Worker) prepareSleep(ctx context.Context) int {
	if len(w.runs) > 0 {
		return 0 // the last thing a turn does is look at timers
	}
	next := time.Duration(math.MaxInt64)
	for _, s := range w.shards {
		if s != nil {
			next = min(next, s.next())
		}
	}
	w.nextTick = next
	if w.now >= w.nextTrim {
		w.nextTrim = w.now + trimEvery
		w.buffers.Trim()
	}

	w.sleeping.Store(true)
	if w.given.Load() || w.anyHandover() || ctx.Err() != nil {
		w.sleeping.Store(false)
		return 0
	}
	w.stat.Count(stat.Sleeps)
	w.stat.Publish()
	if next == math.MaxInt64 {
		return -1
	}
	// Round up: waking a fraction too early would cost a second sleep.
	d := next - time.Since(w.epoch)
	return int(max(0, min(d, time.Hour)+time.Millisecond-1) / time.Millisecond)
}

// end ends the shards in order and releases what the worker holds. A second
// call does nothing.
func (w *Worker) end() {
	w.mu.Lock()
	ended := w.stopped
	w.stopped = true
	tasks := w.tasks
	w.tasks = nil
	w.mu.Unlock()
	if ended {
		return
	}
	for _, f := range tasks {
		f()
	}
	for _, s := range w.shards {
		if s != nil {
			s.Remove() // what others still send it is dropped
		}
	}
	w.underlay.Flush()
	if w.tracer != nil {
		w.tracer.taps = nil
		w.tracer.update()
		w.tracer = nil
	}
	w.stat.Publish()
	_ = unix.Close(w.poller.epfd)
	w.buffers.Close()
	w.mu.Lock()
	_ = unix.Close(w.doorbell)
	w.doorbell = -1
	w.mu.Unlock()
	close(w.ended)
}
