// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"netcon/dataplane/fib"
	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
	"netcon/internal/testenv"
)

// TestBudgets: whatever there is too much of, everything else gets its turn.
func TestBudgets(t *testing.T) {
	w := newWorld(t, 2)
	busy, idle, other := w.add(0, 1), w.add(0, 2), w.add(1, 3)
	w.turn(1)
	x, wire0 := w.workers[0], w.wires[0]
	busy.eng().always = true
	busy.eng().ring()
	wire0.calls = nil
	const frames = 3*rxBudget + 10
	for range frames {
		wire0.push(peer1, encap(testVNI, mac(2), farMAC, wire.EtherTypeIPv4, packet4(ip4(200), ip4(2), "x")))
	}
	// As many from the other worker.
	for range 2 * handoverBudget {
		w.workers[1].forward(fib.Port{Worker: 0, Index: busy.Index()}, encap(testVNI, mac(1), farMAC,
			wire.EtherTypeIPv4, packet4(ip4(200), ip4(1), "x"))[wire.VXLANLen:], false)
	}
	w.workers[1].publishHandovers()
	for i := range 4 {
		before := idle.eng().turns
		idle.eng().ring()
		ran := make(chan bool)
		go func() { ran <- x.Do(func() {}) }()
		testenv.WaitFor(t, 5*time.Second, x.given.Load)
		for given := false; !given; {
			x.turn(0)
			select {
			case given = <-ran:
			default:
			}
		}
		if idle.eng().turns == before {
			t.Errorf("turn %d: a shard got no turn beside a busy one", i)
		}
	}
	for i := range wire0.calls {
		if wire0.calls[i] > rxBudget {
			t.Errorf("%d frames in one turn", wire0.calls[i])
		}
	}
	for range 4 {
		x.turn(0)
	}
	if n := idle.eng().delivered; n != frames {
		t.Errorf("%d frames arrived, want %d", n, frames)
	}
	if n := busy.eng().delivered; n != 2*handoverBudget {
		t.Errorf("%d frames were handed over, want %d", n, 2*handoverBudget)
	}
	if other.eng().delivered != 0 {
		t.Error("somebody else got something")
	}
}

// TestHandoverBudget: a turn takes no more than its budget from each worker.
func TestHandoverBudget(t *testing.T) {
	w := newWorld(t, 2)
	m := w.add(0, 1)
	for range handoverBudget + 1 {
		w.workers[1].forward(fib.Port{Index: m.Index()}, encap(testVNI, mac(1), farMAC,
			wire.EtherTypeIPv4, packet4(ip4(200), ip4(1), "x"))[wire.VXLANLen:], false)
	}
	w.workers[1].publishHandovers()
	w.workers[0].turn(0)
	if n := m.eng().delivered; n != handoverBudget {
		t.Errorf("%d frames in one turn, want %d", n, handoverBudget)
	}
	if !w.workers[0].anyHandover() {
		t.Error("it would sleep over the last one")
	}
}

// TestTimersUnderLoad: a worker that slept until some far timer looks at the
// timers that were set since, though it never sleeps again.
func TestTimersUnderLoad(t *testing.T) {
	w := newWorld(t, 1)
	m := w.add(0, 1)
	x := w.workers[0]
	w.turn(2)
	if timeout := x.prepareSleep(t.Context()); timeout != -1 || x.nextTick != math.MaxInt64 {
		t.Fatalf("timeout %d, next tick %v: want an unbounded sleep", timeout, x.nextTick)
	}
	m.eng().send(outgoing{ip4(9), packet4(ip4(1), ip4(9), "x")}) // asks, and arms a timer
	m.eng().always = true
	m.eng().ring()
	w.turn(1)
	m.eng().always = false
	w.turn(1)
	w.wires[0].taken()
	m.eng().always = true
	m.eng().ring()
	for range 5 {
		w.later(time.Second)
		w.turn(1)
	}
	if len(m.eng().back) != 1 {
		t.Errorf("%d packets given back, want the one whose neighbour does not answer", len(m.eng().back))
	}
}

// TestPrepareSleep: how long a worker may sleep, and when it may not.
func TestPrepareSleep(t *testing.T) {
	w := newWorld(t, 2)
	m := w.add(0, 1)
	x := w.workers[0]
	w.turn(2)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name     string
		ctx      context.Context
		do       func()
		min, max int
	}{
		{"nothing to do", t.Context(), func() {}, -1, -1},
		{"a doorbell", t.Context(), func() { m.eng().ring() }, 0, 0},
		{"a hand-over", t.Context(), func() {
			w.workers[1].forward(fib.Port{Index: m.Index()}, encap(testVNI, mac(1), farMAC, wire.EtherTypeIPv4,
				packet4(ip4(200), ip4(1), "x"))[wire.VXLANLen:], false)
			w.workers[1].publishHandovers()
		}, 0, 0},
		{"the end", ended, func() {}, 0, 0},
		{"a shard that has work", t.Context(), func() { x.schedule(m.Shard) }, 0, 0},
		{"a timer", t.Context(), func() { m.Announce() }, 900, 1001},
		{"a death", t.Context(), func() { m.die("for the test", nil) }, 90, 101},
	} {
		c.do()
		if got := x.prepareSleep(c.ctx); got < c.min || got > c.max {
			t.Errorf("%s: sleep of %d ms, want %d to %d", c.name, got, c.min, c.max)
		}
		if x.sleeping.Load() != (c.max != 0) {
			t.Errorf("%s: sleeping %v", c.name, x.sleeping.Load())
		}
		w.turn(3)
		if x.sleeping.Load() {
			t.Errorf("%s: it sleeps while it turns", c.name)
		}
		w.later(2 * time.Second) // the announcement is repeated, the death over
		w.turn(3)
	}
}

// TestUnflushed: a worker does not sleep on frames that the kernel did not take.
func TestUnflushed(t *testing.T) {
	w := newWorld(t, 1)
	w.turn(1)
	w.wires[0].flushes, w.wires[0].unflushed = 0, 3
	for i := range 5 {
		if worked := w.workers[0].turn(0); worked != (i < 3) {
			t.Errorf("turn %d: worked is %v", i, worked)
		}
	}
}

// TestRestartRuns: what happened to a shard while its engine was dead is looked
// at, though nobody wakes the worker after the restart.
func TestRestartRuns(t *testing.T) {
	w := newWorld(t, 1)
	m := w.add(0, 1)
	app := attachTo(t, m)
	w.turn(2)
	m.die("for the test", nil)
	_, reply := app.ask()
	w.turn(3) // the event is gone after this
	run(t, w)
	testenv.WaitFor(t, 5*time.Second, func() bool {
		e, ok := app.answer(reply)
		return ok && e == 0
	}, "the answer to a request that came while the engine was dead")
}

// run runs the group until the test ends or the returned function is called.
func run(t testing.TB, w *world) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.group.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the group does not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

// TestSleepProtocol: producers give something to workers that fall asleep all
// the time. A lost wake-up is a wait that does not end, for nothing else wakes
// these workers: first one kind of producer alone, then all together.
func TestSleepProtocol(t *testing.T) {
	const bound = 5 * time.Second
	w := newWorld(t, 2)
	quiet := func(e *fakeEngine) { e.keep = false }
	var hit [2]chan struct{}
	for i := range hit {
		hit[i] = make(chan struct{}, 1)
	}
	near := w.add(0, 1, quiet, func(e *fakeEngine) { e.onDeliver = func() { hit[0] <- struct{}{} } })
	far := w.add(1, 2, quiet, func(e *fakeEngine) { e.onDeliver = func() { hit[1] <- struct{}{} } })
	bell := w.add(0, 3, quiet).eng()
	bell.onPoll = func() {
		if n := bell.work.Swap(0); n > 0 {
			bell.rung <- struct{}{}
		}
	}
	bell.rung = make(chan struct{}, 1)
	run(t, w)

	served := func(c chan struct{}) bool {
		select {
		case <-c:
			return true
		case <-time.After(bound):
			return false
		}
	}
	frameTo := func(m *member, c chan struct{}) func() bool {
		f := encap(testVNI, m.mac, farMAC, wire.EtherTypeIPv4, packet4(ip4(200), ip4(m.n), "x"))
		return func() bool {
			w.wires[0].push(peer1, f)
			return served(c)
		}
	}
	taskFor := func(x *Worker) func() bool {
		c := make(chan struct{}, 1)
		return func() bool {
			go x.Do(func() { c <- struct{}{} })
			return served(c)
		}
	}
	kinds := []struct {
		name string
		give func() bool
	}{
		{"frame", frameTo(near, hit[0])},
		{"hand-over", frameTo(far, hit[1])},
		{"task", taskFor(w.workers[0])},
		{"task for the other worker", taskFor(w.workers[1])},
		{"doorbell", func() bool { bell.notify(); return served(bell.rung) }},
	}
	produce := func(t *testing.T, i, rounds int) {
		r := rand.New(rand.NewPCG(uint64(i), 1))
		for n := range rounds {
			if !kinds[i].give() {
				t.Errorf("%s %d was not served within %v", kinds[i].name, n, bound)
				return
			}
			// Often just when the worker falls asleep.
			for until := time.Now().Add(time.Duration(r.IntN(40)) * time.Microsecond); time.Now().Before(until); {
			}
		}
	}
	for i, k := range kinds {
		t.Run(k.name, func(t *testing.T) { produce(t, i, 2000) })
	}
	t.Run("all", func(t *testing.T) {
		var done sync.WaitGroup
		for i := range kinds {
			done.Go(func() { produce(t, i, 1000) })
		}
		done.Wait()
	})
	for i, x := range w.workers {
		if n := x.Stat().Get(stat.Sleeps); n < 100 {
			t.Errorf("worker %d slept %d times: the test proves nothing", i, n)
		}
	}
}

// TestBusyIdle: a busy worker never sleeps and still looks at its timers.
func TestBusyIdle(t *testing.T) {
	w := newWorld(t, 1, func(c *Config) { c.Idle = Idle{Busy: true} })
	m := w.add(0, 1)
	m.die("for the test", nil)
	run(t, w)
	// Also that counts are published while it runs.
	testenv.WaitFor(t, 5*time.Second, func() bool {
		var dead bool
		return w.workers[0].Do(func() { dead = m.dead }) && !dead
	}, "the restart")
	if x := w.workers[0]; x.Stat().Get(stat.Sleeps) != 0 || x.Stat().Get(stat.Turns) == 0 {
		t.Errorf("%d sleeps, %d turns", x.Stat().Get(stat.Sleeps), x.Stat().Get(stat.Turns))
	}
	if m.Stat().Get(stat.Restarts) != 1 {
		t.Error("the container's counts were not published")
	}
}

// steady is an engine that sends the same packet every turn and keeps nothing:
// for the allocation test and the benchmark.
type steady struct {
	fakeEngine
	packet []byte
	dst    [4]byte
	burst  int
}

func (e *steady) Transmit(out stream.Output, budget int) int {
	out.Open(ip4(e.dst[3]), 1)
	for range e.burst {
		copy(out.Frame(len(e.packet)), e.packet)
		out.Commit()
	}
	return e.burst
}

func (e *steady) Busy() bool { return true }

// loop is an underlay that gives the same frame again and again.
type loop struct {
	*fakeUnderlay
	payload []byte
	burst   int
}

func (u *loop) Recv(sink stream.Sink, budget int) int {
	n := min(budget, u.burst)
	for range n {
		sink.Frame(peer1, u.payload)
	}
	return n
}

// newForwarder makes a worker that in one turn takes burst frames from the wire
// to an engine and burst packets of it to where dst says.
func newForwarder(t testing.TB, burst int, dst byte) *world {
	var u *loop
	w := newWorld(t, 2, func(c *Config) {
		u = &loop{fakeUnderlay: c.Underlays[0].(*fakeUnderlay), burst: burst}
		u.discard = true
		u.payload = encap(testVNI, mac(1), farMAC, wire.EtherTypeIPv4, packet4(ip4(200), ip4(1), string(make([]byte, 1000))))
		c.Underlays[0] = u
	})
	m := &member{n: 1, setup: func(*fakeEngine) {}}
	cfg := w.shardConfig(m)
	e := &steady{dst: [4]byte{3: dst}, packet: packet4(ip4(1), ip4(dst), string(make([]byte, 1000))), burst: burst}
	cfg.NewEngine = func(_ *stat.Block, doorbell func()) (stream.Engine, error) {
		e.ring = doorbell
		return e, nil
	}
	var err error
	if m.Shard, err = w.workers[0].AddShard(cfg); err != nil {
		t.Fatal(err)
	}
	m.engines = append(m.engines, &e.fakeEngine)
	w.members = append(w.members, m)
	for i, worker := range []int{0, 1} {
		x := w.add(worker, byte(2+i), func(x *fakeEngine) { x.keep = false })
		x.eng().keep = false
		meet(w, m, x)
	}
	e.ring()
	w.turn(20)
	return w
}

var ways = map[string]byte{"wire": 200, "local": 2, "handover": 3, "flood": 255}

// TestTurnAllocs: a turn that forwards allocates nothing, whichever way.
func TestTurnAllocs(t *testing.T) {
	for name, dst := range ways {
		w := newForwarder(t, 16, dst)
		in, sent := w.members[0].eng().delivered, w.wires[0].sent
		const turns = 200
		if n := testing.AllocsPerRun(turns, func() {
			for _, x := range w.workers {
				x.rxReady = x.index == 0
				x.turn(0)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations per turn", name, n)
		}
		if n := w.members[0].eng().delivered - in; n < 16*turns {
			t.Errorf("%s: %d frames in, want 16 per turn", name, n)
		}
		switch out := w.wires[0].sent - sent; name {
		case "wire":
			if out < 16*turns {
				t.Errorf("%s: %d frames out", name, out)
			}
		case "flood":
			if out < 2*16*turns {
				t.Errorf("%s: %d frames out", name, out)
			}
		default:
			if n := w.members[dst-1].eng().delivered; n < 16*turns || out != 0 {
				t.Errorf("%s: %d packets arrived, %d frames out", name, n, out)
			}
		}
	}
}

// BenchmarkTurn forwards bursts of 64 frames of 1,000 bytes from the wire to an
// engine, and as many packets from the engine; an operation is one frame and
// one packet.
func BenchmarkTurn(b *testing.B) {
	const burst = 64
	for _, name := range []string{"wire", "local", "handover", "flood"} {
		b.Run(name, func(b *testing.B) {
			w := newForwarder(b, burst, ways[name])
			b.ReportAllocs()
			b.SetBytes(2 * 1000)
			b.ResetTimer()
			for i := 0; i < b.N; i += burst {
				for _, x := range w.workers {
					x.rxReady = x.index == 0
					x.turn(0)
				}
			}
		})
	}
}

// BenchmarkIdleTurn is what a turn costs that finds nothing to do.
func BenchmarkIdleTurn(b *testing.B) {
	w := newWorld(b, 1)
	w.add(0, 1)
	b.ReportAllocs()
	for b.Loop() {
		w.workers[0].turn(0)
	}
}
