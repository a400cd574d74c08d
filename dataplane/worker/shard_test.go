// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"errors"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
)

// boom is a hook that panics once.
func boom(e **fakeEngine, hook func(*fakeEngine) *func()) func() {
	return func() {
		*hook(*e) = nil
		(*e).over = true
		panic("for the test")
	}
}

// TestPanic: wherever an engine panics, its own shard ends, and nothing else.
func TestPanic(t *testing.T) {
	unicast := func(w *world) {
		w.wires[0].push(peer1, encap(testVNI, mac(1), farMAC, wire.EtherTypeIPv4, packet4(ip4(200), ip4(1), "x")))
	}
	for _, c := range []struct {
		name string
		hook func(*fakeEngine) *func()
		do   func(w *world)
	}{
		{"Deliver", func(e *fakeEngine) *func() { return &e.onDeliver }, unicast},
		{"Deliver of a group frame", func(e *fakeEngine) *func() { return &e.onDeliver }, func(w *world) {
			w.wires[0].push(peer1, encap(testVNI, wire.Broadcast, farMAC, wire.EtherTypeIPv4, packet4(ip4(200), ip4(255), "x")))
		}},
		{"Deliver from another container", func(e *fakeEngine) *func() { return &e.onDeliver }, func(w *world) {
			w.members[1].eng().send(outgoing{ip4(1), packet4(ip4(2), ip4(1), "x")})
			w.members[1].eng().ring()
		}},
		{"Deliver from another worker", func(e *fakeEngine) *func() { return &e.onDeliver }, func(w *world) {
			w.wires[1].push(peer1, encap(testVNI, mac(1), farMAC, wire.EtherTypeIPv4, packet4(ip4(200), ip4(1), "x")))
		}},
		{"EndBurst", func(e *fakeEngine) *func() { return &e.onEndBurst }, unicast},
		{"Poll", func(e *fakeEngine) *func() { return &e.onPoll }, unicast},
		{"Transmit", func(e *fakeEngine) *func() { return &e.onTransmit }, unicast},
		{"Undeliverable", func(e *fakeEngine) *func() { return &e.onUndeliverable }, func(w *world) {
			w.members[0].eng().send(outgoing{ip4(9), packet4(ip4(1), ip4(9), "x")})
			w.members[0].eng().ring()
			for w.turn(1); !w.members[0].dead; w.turn(1) {
				w.later(1100 * time.Millisecond)
			}
		}},
		{"in a socket's request", func(e *fakeEngine) *func() { return &e.onOpen }, func(w *world) {
			attachTo(w.t, w.members[0]).ask()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 2)
			a, b, d := w.add(0, 1), w.add(0, 2), w.add(1, 3)
			meet(w, a, b)
			app := attachTo(t, a)
			sock, reply := app.ask()
			w.turn(2)
			if e, ok := app.answer(reply); !ok || e != 0 || a.Set().Len() != 1 {
				t.Fatalf("no socket: %v %v", e, ok)
			}
			old := a.eng()
			*c.hook(old) = boom(&old, c.hook)
			c.do(w)
			w.turn(2)
			if !a.dead {
				t.Fatal("the shard lives")
			}
			if !app.gone(sock) {
				t.Error("its socket lives on")
			}
			w.wait(func() bool { return old.stops.Load() == 1 }, "the engine to be stopped")

			// Nobody else noticed.
			for _, m := range []*member{b, d} {
				m.eng().taken()
				w.wires[0].push(peer1, encap(testVNI, m.mac, farMAC, wire.EtherTypeIPv4, packet4(ip4(200), ip4(m.n), "x")))
				w.turn(2)
				if len(m.eng().taken()) != 1 || m.dead || len(m.engines) != 1 {
					t.Errorf("container %d noticed", m.n)
				}
			}
			old.ring()
			unicast(w)
			_ = a.Set().Sockets()
			w.turn(2)
			// Its locks may be held for ever.
			if old.late != 0 {
				t.Errorf("the dead engine was called %d times", old.late)
			}

			neighbours := a.neigh
			w.later(restartMin)
			w.turn(2)
			if a.dead || len(a.engines) != 2 {
				t.Fatal("no restart")
			}
			if a.neigh == neighbours {
				t.Error("the old neighbour table, which may be what panicked")
			}
			unicast(w)
			w.turn(1)
			if len(a.eng().taken()) != 1 {
				t.Error("no packet after the restart")
			}
			if _, reply = app.ask(); a.eng().onOpen != nil {
				t.Fatal("hook")
			}
			w.turn(2)
			if e, ok := app.answer(reply); !ok || e != 0 {
				t.Errorf("no socket after the restart: %v %v", e, ok)
			}
			w.counts()
			if n := a.stat.Get(stat.Restarts); n != 1 {
				t.Errorf("%d restarts counted", n)
			}
		})
	}
}

// wait turns the workers until cond holds.
func (w *world) wait(cond func() bool, what string) {
	w.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !cond(); w.turn(1) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestDead: an engine that says so is discarded.
func TestDead(t *testing.T) {
	w := newWorld(t, 1)
	m := w.add(0, 1)
	old := m.eng()
	old.dead = true
	old.ring()
	w.turn(1)
	if !m.dead {
		t.Fatal("the shard lives")
	}
	w.later(restartMin)
	w.turn(1)
	if m.dead || m.eng() == old {
		t.Error("no restart")
	}
}

// TestBackoff: the pause between deaths grows up to a bound, and a long life
// forgets it.
func TestBackoff(t *testing.T) {
	w := newWorld(t, 1)
	m := w.add(0, 1)
	want := restartMin
	for range 10 {
		m.die("for the test", nil)
		w.later(want - restartMin/2)
		w.turn(1)
		if !m.dead {
			t.Fatalf("restart before %v", want)
		}
		w.later(restartMin / 2)
		w.turn(1)
		if m.dead {
			t.Fatalf("no restart after %v", want)
		}
		want = min(2*want, restartMax)
	}
	if want != restartMax {
		t.Fatalf("bound not reached: %v", want)
	}
	w.later(restartOld + time.Second)
	w.turn(1)
	m.die("for the test", nil)
	if m.restartPause != restartMin {
		t.Errorf("pause %v after a long life, want %v", m.restartPause, restartMin)
	}
}

// TestRestartFails: an engine that cannot be made is tried again later.
func TestRestartFails(t *testing.T) {
	for name, refuse := range map[string]func() error{
		"error": func() error { return errors.New("for the test") },
		"panic": func() error { panic("for the test") },
	} {
		w := newWorld(t, 1)
		m, other := w.add(0, 1), w.add(0, 2)
		m.refuse = refuse
		m.die("for the test", nil)
		w.later(restartMin)
		w.turn(1)
		m.refuse = nil
		w.later(restartMax - restartMin)
		w.turn(1)
		if !m.dead {
			t.Errorf("%s: tried again too early", name)
		}
		w.later(restartMin)
		w.turn(1)
		if m.dead {
			t.Errorf("%s: not tried again", name)
		}
		if other.dead || len(other.engines) != 1 {
			t.Errorf("%s: the other container noticed", name)
		}
	}
}

// TestAddShardFails: nothing is left of a container whose engine cannot be
// made, though its doorbell was rung.
func TestAddShardFails(t *testing.T) {
	for name, refuse := range map[string]func() error{
		"error": func() error { return errors.New("for the test") },
		"panic": func() error { panic("for the test") },
	} {
		var log strings.Builder
		w := newWorld(t, 1, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		w.add(0, 1)
		m := &member{n: 2, setup: func(*fakeEngine) {}}
		cfg := w.shardConfig(m)
		made := cfg.NewEngine
		cfg.NewEngine = func(b *stat.Block, doorbell func()) (_ stream.Engine, err error) {
			doorbell()
			m.refuse = refuse
			return made(b, doorbell)
		}
		if _, err := w.workers[0].AddShard(cfg); err == nil {
			t.Errorf("%s: it was added", name)
		}
		w.turn(3)
		if n := len(w.workers[0].shards); n != 1 || log.Len() > 0 {
			t.Errorf("%s: %d shards, log: %s", name, n, log.String())
		}
	}
}

// TestEndOfDead: a shard whose engine is dead ends without calling it.
func TestEndOfDead(t *testing.T) {
	w := newWorld(t, 1)
	m := w.add(0, 1)
	app := attachTo(t, m)
	sock, _ := app.ask()
	w.turn(2)
	old := m.eng()
	m.die("for the test", nil)
	w.wait(func() bool { return old.stops.Load() == 1 }, "the engine to be stopped")
	m.Remove()
	if old.stops.Load() != 1 {
		t.Error("stopped twice")
	}
	if !app.gone(sock) {
		t.Error("its socket lives on")
	}
	w.wait(func() bool { return app.gone(app.attach) }, "the attach socket to be closed")
	w.later(time.Hour)
	w.turn(2)
	if len(m.engines) != 1 {
		t.Error("a removed shard was restarted")
	}
}

// TestStopPanics: an engine that panics in the end does not keep the others
// from ending.
func TestStopPanics(t *testing.T) {
	w := newWorld(t, 1)
	a, ended, b := w.add(0, 1), w.add(0, 2), w.add(0, 3)
	a.eng().onStop = func() { panic("for the test") }
	// Its last packets go to a container that is gone by then, or still there.
	b.eng().onStop = func() {
		out := b.Shard
		for _, dst := range []byte{1, 2, 3} {
			out.out.etherType = wire.EtherTypeIPv4
			if out.openMAC(mac(dst)).Max > 0 {
				out.Frame(20)
				out.Commit()
			}
		}
	}
	w.group.Close()
	if b.eng().stops.Load() != 1 {
		t.Error("the second container was not ended")
	}
	if a.eng().delivered != 0 || ended.eng().delivered != 0 {
		t.Error("a packet for a container that had ended")
	}
}

// TestSockets: a ready socket makes its shard run, and one of a removed shard
// does nothing.
func TestSockets(t *testing.T) {
	w := newWorld(t, 1)
	m := w.add(0, 1)
	apps := []*app{attachTo(t, m), attachTo(t, m)}
	var socks []int
	for i := range 40 { // more than a container may have
		s, reply := apps[i%2].ask()
		w.turn(2)
		e, ok := apps[i%2].answer(reply)
		if want := i >= 16; !ok || (e == unix.EMFILE) != want || e != 0 && e != unix.EMFILE {
			t.Fatalf("socket %d: %v %v", i, e, ok)
		}
		if e == 0 {
			socks = append(socks, s)
		}
	}
	if n := m.Set().Len(); n != 16 || len(w.workers[0].poller.slots) != 18 {
		t.Errorf("%d sockets, %d watched", n, len(w.workers[0].poller.slots))
	}
	events := w.workers[0].poller.wait(0)
	m.Remove()
	for i := range events { // fetched before, dispatched after
		w.workers[0].dispatch(&events[i])
	}
	w.turn(1)
	for _, s := range socks {
		if !apps[0].gone(s) {
			t.Fatal("a socket outlived its container")
		}
	}
	if n := len(w.workers[0].poller.slots); n != 0 {
		t.Errorf("%d fds are watched", n)
	}
	if d := w.counts().Drops; !maps.Equal(d, map[string]uint64{}) {
		t.Errorf("drops %v", d)
	}
}
