// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"math/rand/v2"
	"testing"
	"time"
)

const tick = time.Duration(1) << wheelShift

func testWheel(tb testing.TB, limit int) *wheel {
	tb.Helper()
	w, err := newWheel(testMemory(tb), "test", limit)
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

// fired returns everything that is due.
func (w *wheel) fired() []uint32 {
	var list []uint32
	budget := 1 << 30
	for i := w.due(&budget); i != 0; i = w.due(&budget) {
		list = append(list, i)
	}
	return list
}

func TestWheelRounding(t *testing.T) {
	w := testWheel(t, 4)
	w.advance(10 * time.Second)
	at := 10*time.Second + time.Millisecond + 1
	w.arm(1, at)
	w.advance(at - 1)
	if got := w.fired(); len(got) != 0 {
		t.Errorf("%v fired early", got)
	}
	if n := w.next(); n <= at-1 || n > at+tick {
		t.Errorf("next %v, want within a tick of %v", n, at)
	}
	w.advance(at + tick)
	if got := w.fired(); len(got) != 1 || got[0] != 1 {
		t.Errorf("fired %v, want 1", got)
	}
	if w.armed(1) || w.next() != never {
		t.Error("armed after it fired")
	}
	w.arm(2, 0) // long past
	if n := w.next(); n > at+tick {
		t.Errorf("next %v for what is due", n)
	}
	if got := w.fired(); len(got) != 1 || got[0] != 2 {
		t.Errorf("fired %v, want 2", got)
	}
}

// What fires follows a model, over every distance, whatever the time does: it
// creeps, jumps by hours, stands still, and passes the end of the tick count.
func FuzzWheel(f *testing.F) {
	f.Add(uint64(1), uint64(0), uint16(10))
	f.Add(uint64(2), uint64(1<<50-1000)<<10, uint16(1))
	f.Add(uint64(3), uint64(1<<32-100)<<wheelShift, uint16(3))
	f.Add(uint64(4), uint64(5)<<30, uint16(1000))
	f.Fuzz(func(t *testing.T, seed, start uint64, step uint16) {
		const n = 60
		r := rand.New(rand.NewPCG(seed, 2))
		w := testWheel(t, n)
		now := time.Duration(start >> 2)
		w.advance(now)
		model := map[uint32]time.Duration{}
		drained := true
		for range 1000 {
			for range r.IntN(4) {
				i := 1 + uint32(r.IntN(n))
				if r.IntN(4) == 0 {
					w.disarm(i)
					delete(model, i)
				} else {
					at := now + time.Duration(r.Int64N(int64(tick)<<r.IntN(30)))
					w.arm(i, at)
					model[i] = at
				}
				if w.armed(i) != (model[i] != 0) {
					t.Fatalf("armed %d: %v", i, w.armed(i))
				}
			}
			switch r.IntN(10) {
			case 0:
				if drained { // days only on top of what is done
					now += time.Duration(r.Int64N(int64(tick) << r.IntN(31)))
				}
			case 1:
			case 2:
				if next := w.next(); next != never && next > now {
					now = next
				}
			default:
				now += time.Duration(r.Int64N(1 + int64(step)*int64(time.Microsecond)))
			}
			w.advance(now)
			budget := 1 << 20
			if r.IntN(3) == 0 {
				budget = r.IntN(5)
			}
			spent := budget
			for i := w.due(&budget); i != 0; i = w.due(&budget) {
				at, ok := model[i]
				if !ok || at > now {
					t.Fatalf("%d fired at %v, deadline %v (%v)", i, now, at, ok)
				}
				delete(model, i)
			}
			drained = budget > 0
			if budget < 0 || spent-budget > 4*n*4 {
				t.Fatalf("spent %d", spent-budget)
			}
			if len(model) == 0 && w.next() != never {
				t.Fatalf("next %v, nothing armed", w.next())
			}
			for i, at := range model {
				if at <= now-tick && budget > 0 {
					t.Fatalf("%d did not fire at %v, deadline %v", i, now, at)
				}
				if next := w.next(); next >= at+tick {
					t.Fatalf("next %v, deadline %v", next, at)
				}
			}
		}
	})
}

// Whoever does nothing but wait for next gets to every deadline, in a number of
// steps that is bounded by the levels.
func TestWheelFollowsNext(t *testing.T) {
	w := testWheel(t, 1)
	w.advance(123456789)
	for _, d := range []time.Duration{1, tick, time.Second, time.Hour, 24 * time.Hour, wheelHorizon << wheelShift} {
		now := time.Duration(w.now) << wheelShift
		at := now + d
		w.arm(1, at)
		steps := 0
		for ; w.armed(1); steps++ {
			if steps > wheelLevels {
				t.Fatalf("%v: %d steps", d, steps)
			}
			now = w.next()
			w.advance(now)
			w.fired()
		}
		if now < at || now > at+tick {
			t.Errorf("%v: fired %v late", d, now-at)
		}
	}
}

func TestWheelHorizon(t *testing.T) {
	w := testWheel(t, 1)
	w.advance(0)
	w.arm(1, 1000*time.Hour)
	w.advance(wheelHorizon<<wheelShift - 1)
	if got := w.fired(); len(got) != 0 {
		t.Error("fired before the horizon")
	}
	w.advance(wheelHorizon << wheelShift)
	if got := w.fired(); len(got) != 1 {
		t.Error("did not fire at the horizon")
	}
}

// A million timers due at once cost what the budget says at a time.
func TestWheelBudget(t *testing.T) {
	const n = 1 << 18
	w := testWheel(t, n)
	w.advance(0)
	for i := range uint32(n) {
		w.arm(i+1, 5*time.Hour)
	}
	w.advance(6 * time.Hour)
	got, calls := 0, 0
	for w.count > 0 {
		budget := 100
		for w.due(&budget) != 0 {
			got++
		}
		if calls++; calls > 5*n/100 {
			t.Fatalf("%d calls", calls)
		}
		if w.count > 0 && w.next() > 6*time.Hour {
			t.Fatal("next says there is time")
		}
	}
	if got != n {
		t.Errorf("%d fired", got)
	}
}

func TestWheelAllocs(t *testing.T) {
	w := testWheel(t, 1000)
	w.advance(0)
	now := time.Duration(0)
	if n := testing.AllocsPerRun(1000, func() {
		now += 10 * time.Millisecond
		w.advance(now)
		w.arm(uint32(now/(10*time.Millisecond))%1000+1, now+time.Second)
		budget := 10
		w.due(&budget)
		w.next()
		w.disarm(7)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestWheelLimits(t *testing.T) {
	for _, limit := range []int{0, maxRecords + 1} {
		if _, err := newWheel(testMemory(t), "w", limit); err == nil {
			t.Errorf("limit %d: no error", limit)
		}
	}
}

// A retransmission timer that every segment moves on, among others that wait.
func BenchmarkWheelRearm(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(size.name, func(b *testing.B) {
			w, order := benchWheel(b, size.n)
			now, k := time.Duration(0), 0
			b.ReportAllocs()
			for b.Loop() {
				w.arm(order[k], now+200*time.Millisecond)
				if k++; k == len(order) {
					k = 0
					now += time.Millisecond
				}
			}
		})
	}
}

// A timer that is armed and fires.
func BenchmarkWheelFire(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(size.name, func(b *testing.B) {
			w, order := benchWheel(b, size.n)
			now, k := time.Duration(0), 0
			b.ReportAllocs()
			for b.Loop() {
				w.arm(order[k], now+200*time.Millisecond)
				if k++; k == len(order) {
					k = 0
				}
				if k%64 == 0 {
					now += time.Duration(64 * int64(time.Second) / int64(size.n))
					w.advance(now)
					budget := 1000
					for w.due(&budget) != 0 {
					}
				}
			}
		})
	}
}

// benchWheel is a wheel with n timers in it that lie hours ahead, and the order
// in which to touch them.
func benchWheel(b *testing.B, n int) (*wheel, []uint32) {
	w := testWheel(b, n)
	w.advance(0)
	order := make([]uint32, n)
	for i, k := range rand.New(rand.NewPCG(1, 1)).Perm(n) {
		order[i] = uint32(k + 1)
		w.arm(uint32(k+1), 2*time.Hour+time.Duration(i)*time.Millisecond)
	}
	return w, order
}
