// SPDX-License-Identifier: Apache-2.0

package fib

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

const second = time.Second

// vtep returns one of many VTEPs that are not configured.
func vtep(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}) }

// learner is a learning network with the given limit and nothing else.
func learner(t testing.TB, limit int) *Net {
	return build(t, nil, Network{VNI: 7, Learn: true, LearnMax: limit, VTEPs: []netip.Addr{vtepA}}).Network(7)
}

// check verifies what must always hold; nobody else may use n.
func check(t *testing.T, n *Net) {
	t.Helper()
	l := n.learned
	seen, refs := map[uint64]bool{}, map[netip.Addr]int{}
	for i := range l.buckets {
		for e := l.buckets[i].Load(); e != nil; e = e.next.Load() {
			if seen[e.key] {
				t.Errorf("%x is in the table twice", e.key)
			}
			if l.bucket(e.key) != &l.buckets[i] {
				t.Errorf("%x is in the wrong bucket", e.key)
			}
			seen[e.key] = true
			if e.peer {
				refs[e.vtep]++
			}
		}
	}
	if len(seen) != n.Learned() || len(seen) > l.max {
		t.Errorf("%d entries, %d counted, at most %d", len(seen), n.Learned(), l.max)
	}
	list := slices.Clone(l.vteps)
	for _, p := range l.peers {
		if refs[p.vtep] != p.refs {
			t.Errorf("vtep %s: %d entries, %d counted", p.vtep, refs[p.vtep], p.refs)
		}
		delete(refs, p.vtep)
		list = append(list, p.vtep)
	}
	if len(refs) != 0 || len(l.peers) > LearnedVTEPs {
		t.Errorf("%d vteps, uncounted %v", len(l.peers), refs)
	}
	if !slices.Equal(n.Replicate(), list) {
		t.Errorf("replicates to %v, want %v", n.Replicate(), list)
	}
}

func TestLearnAndMove(t *testing.T) {
	n := learner(t, 0)
	if r := n.Learn(other, vtepB, 0); r != stat.Accepted {
		t.Fatal(r)
	}
	if d := n.Lookup(other, 0); d != (Dest{Kind: Remote, VTEP: vtepB}) {
		t.Errorf("learned: %+v", d)
	}
	if got := n.Replicate(); !slices.Equal(got, []netip.Addr{vtepA, vtepB}) {
		t.Errorf("replicates to %v", got)
	}
	if r := n.Learn(other, vtepC, 1*second); r != stat.Accepted {
		t.Fatal(r)
	}
	if d := n.Lookup(other, 1*second); d.VTEP != vtepC || n.Learned() != 1 {
		t.Errorf("moved: %+v, %d learned", d, n.Learned())
	}
	// Learned from a configured VTEP: that is not listed twice.
	n.Learn(other, vtepA, 2*second)
	if d := n.Lookup(other, 2*second); d.VTEP != vtepA {
		t.Errorf("moved back: %+v", d)
	}
	check(t, n)
	build(t, nil) // an empty snapshot is one
}

func TestLearnNothing(t *testing.T) {
	closed := build(t, nil, blue(false)).Network(7)
	if r := closed.Learn(other, vtep(1), 0); r != stat.Accepted || closed.Learned() != 0 || closed.Lookup(other, 0).Kind != Flood {
		t.Error("learned from a VTEP that is not configured")
	}
	before := slices.Clone(closed.Replicate())
	if closed.Learn(other, vtepA, 0); closed.Lookup(other, 0).VTEP != vtepA || !slices.Equal(closed.Replicate(), before) {
		t.Errorf("from a configured VTEP: %+v, replicates to %v", closed.Lookup(other, 0), closed.Replicate())
	}
	n := build(t, nil, blue(true)).Network(7)
	for name, m := range map[string]wire.MAC{
		"local": local, "static": remote, "static without a place": nomad,
		"group": group, "broadcast": wire.Broadcast, "zero": {},
	} {
		before := n.Lookup(m, 0)
		if r := n.Learn(m, vtep(1), 0); r != stat.Accepted || n.Learned() != 0 || n.Lookup(m, 0) != before {
			t.Errorf("%s: %v, %d learned", name, r, n.Learned())
		}
	}
	for _, v := range []netip.Addr{{}, netip.IPv4Unspecified(), netip.MustParseAddr("224.0.0.1")} {
		if n.Learn(other, v, 0); n.Learned() != 0 {
			t.Errorf("learned from %s", v)
		}
	}
	check(t, n)
}

func TestLearnAges(t *testing.T) {
	n := learner(t, 0)
	n.Learn(other, vtepB, 10*second)
	for _, c := range []struct {
		now  time.Duration
		want Kind
	}{{0, Remote}, {10*second + Age, Remote}, {10*second + Age + 1, Flood}} {
		if k := n.Lookup(other, c.now).Kind; k != c.want {
			t.Errorf("at %s: %s", c.now, k)
		}
	}
	// A frame keeps it, and brings back what has aged.
	n.Learn(other, vtepB, 11*second)
	if k := n.Lookup(other, 11*second+Age).Kind; k != Remote {
		t.Errorf("refreshed: %s", k)
	}
	n.Learn(other, vtepB, 1000*second)
	if k := n.Lookup(other, 1000*second).Kind; k != Remote || n.Learned() != 1 {
		t.Errorf("revived: %s", k)
	}
	// An older clock of another worker does not make it older.
	n.Learn(other, vtepB, 500*second)
	if k := n.Lookup(other, 1000*second+Age).Kind; k != Remote {
		t.Errorf("after an old frame: %s", k)
	}
}

func TestExpire(t *testing.T) {
	s := build(t, nil, Network{VNI: 7, Learn: true, LearnMax: 3000, VTEPs: []netip.Addr{vtepA}}, Network{VNI: 8})
	n := s.Network(7)
	for i := range 900 {
		n.Learn(mac(i), vtep(i%10), 0)
	}
	n.Learn(other, vtepB, 100*second)
	check(t, n)
	s.Expire(Age)
	if n.Learned() != 901 || len(n.Replicate()) != 12 {
		t.Errorf("before: %d learned, %d vteps", n.Learned(), len(n.Replicate()))
	}
	s.Expire(Age + 1)
	if n.Learned() != 1 || n.Lookup(other, Age+1).Kind != Remote {
		t.Errorf("after: %d learned", n.Learned())
	}
	if got := n.Replicate(); !slices.Equal(got, []netip.Addr{vtepA, vtepB}) {
		t.Errorf("after: replicates to %v", got)
	}
	check(t, n)
}

func TestLearnLimit(t *testing.T) {
	const limit = 100
	n := learner(t, limit)
	for i := range limit {
		if r := n.Learn(mac(i), vtep(0), time.Duration(i)*second); r != stat.Accepted {
			t.Fatalf("%d: %v", i, r)
		}
	}
	now := limit * second
	if r := n.Learn(mac(limit), vtep(0), now); r != stat.DropLearnLimit || n.Learned() != limit {
		t.Errorf("one too many: %v, %d learned", r, n.Learned())
	}
	if r := n.Learn(mac(0), vtep(1), now); r != stat.Accepted || n.Lookup(mac(0), now).VTEP != vtep(1) {
		t.Errorf("a move needs no room: %v", r)
	}
	// mac(1), last seen after 1 s, is the first to age and makes room for one.
	now = 1*second + Age + 1
	if r := n.Learn(mac(limit), vtep(0), now-1); r != stat.DropLearnLimit {
		t.Errorf("nothing has aged: %v", r)
	}
	if r := n.Learn(mac(limit), vtep(0), now); r != stat.Accepted {
		t.Errorf("one has aged: %v", r)
	}
	if r := n.Learn(mac(limit+1), vtep(0), now); r != stat.DropLearnLimit || n.Learned() != limit {
		t.Errorf("only one has aged: %v", r)
	}
	now = limit*second + Age
	if r := n.Learn(mac(limit+1), vtep(0), now); r != stat.Accepted || n.Learned() > 5 {
		t.Errorf("nearly all aged: %v, %d learned", r, n.Learned())
	}
	check(t, n)
}

func TestLearnRate(t *testing.T) {
	n := learner(t, 1<<20)
	now, i := 50*second, 0
	attempt := func(k int) (ok int) {
		for range k {
			if n.Learn(mac(i), vtep(0), now) == stat.Accepted {
				ok++
			}
			i++
		}
		return ok
	}
	if ok := attempt(LearnBurst + 500); ok != LearnBurst {
		t.Errorf("burst of %d, want %d", ok, LearnBurst)
	}
	if now += 10 * time.Millisecond; attempt(500) != 10 {
		t.Error("10 ms do not allow 10 more")
	}
	if now -= 5 * second; attempt(10) != 0 {
		t.Error("a clock that lags gives tokens")
	}
	if r := n.Learn(mac(0), vtep(0), now); r != stat.Accepted {
		t.Errorf("refresh while over the rate: %v", r)
	}
	if r := n.Learn(mac(0), vtep(1), now); r != stat.DropLearnLimit {
		t.Errorf("move while over the rate: %v", r)
	}
	if now += 100 * second; attempt(5000) != LearnBurst {
		t.Error("tokens pile up beyond the burst")
	}
	check(t, n)
}

func TestReplicateIsBounded(t *testing.T) {
	n := learner(t, 0)
	for i := range LearnedVTEPs + 10 {
		if r := n.Learn(mac(i), vtep(i), 0); r != stat.Accepted {
			t.Fatal(r)
		}
	}
	if got := len(n.Replicate()); got != 1+LearnedVTEPs {
		t.Errorf("replicates to %d", got)
	}
	// Reached all the same.
	if d := n.Lookup(mac(LearnedVTEPs+5), 0); d.VTEP != vtep(LearnedVTEPs+5) {
		t.Errorf("beyond the bound: %+v", d)
	}
	check(t, n)
	// vtep(3) loses its only address: its place goes to the next VTEP.
	n.Learn(mac(3), vtepA, second)
	n.Learn(mac(500), vtep(500), second)
	if got := n.Replicate(); slices.Contains(got, vtep(3)) || !slices.Contains(got, vtep(500)) || len(got) != 1+LearnedVTEPs {
		t.Errorf("replicates to %v", got)
	}
	check(t, n)
}

func TestCarryOver(t *testing.T) {
	old := build(t, nil, Network{VNI: 7, Learn: true, VTEPs: []netip.Addr{vtepA}}, Network{VNI: 8, Learn: true})
	n := old.Network(7)
	for i := range 20 {
		n.Learn(mac(i), vtep(i%2), time.Duration(i)*second)
	}
	n.Learn(local, vtep(0), 30*second)
	n.Learn(remote, vtep(0), 30*second)
	n.Learn(other, vtepC, 30*second)
	old.Network(8).Learn(mac(0), vtep(0), 0)

	c := blue(true) // local is a member now, remote a host, vtepC is configured
	c.LearnMax = 11
	s := build(t, old, c, Network{VNI: 8}, Network{VNI: 9, Learn: true})
	n = s.Network(7)
	if n.Learned() != 11 {
		t.Errorf("%d carried over", n.Learned())
	}
	// The freshest stay, with their age.
	for i := range 20 {
		want := Flood
		if i >= 10 {
			want = Remote
		}
		if k := n.Lookup(mac(i), 30*second).Kind; k != want {
			t.Errorf("%d: %s", i, k)
		}
		if k := n.Lookup(mac(i), time.Duration(i)*second+Age+1).Kind; k != Flood {
			t.Errorf("%d: made younger", i)
		}
	}
	if n.Lookup(local, 0).Kind != Local || n.Lookup(remote, 0).VTEP != vtepB || n.Lookup(other, 0).VTEP != vtepC {
		t.Error("a configured place gave way to a learned one")
	}
	if got := len(n.Replicate()); got != 4 { // vtepA, vtepC, two learned
		t.Errorf("replicates to %v", n.Replicate())
	}
	check(t, n)
	if s.Network(8).Learned() != 0 || s.Network(9).Learned() != 0 {
		t.Error("carried over to the wrong network")
	}
	// The rate limit is carried over too: reloading gives no new burst.
	for i := range 2 * LearnBurst {
		n.Learn(mac(1000+i%5), vtep(i%7), 30*second)
	}
	n = build(t, s, c).Network(7)
	if r := n.Learn(mac(5000), vtep(0), 30*second); r != stat.DropLearnLimit {
		t.Errorf("after a reload: %v", r)
	}
}

// TestLearnConcurrent: several workers learn, move, look up and expire at once.
func TestLearnConcurrent(t *testing.T) {
	const limit, macs = 256, 400
	s := build(t, nil, Network{VNI: 7, Learn: true, LearnMax: limit, VTEPs: []netip.Addr{vtepA}})
	n := s.Network(7)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 1))
			var now time.Duration
			for i := range 20000 {
				now += time.Duration(rnd.IntN(50)) * time.Millisecond
				m := mac(rnd.IntN(macs))
				if r := n.Learn(m, vtep(rnd.IntN(3)), now); r != stat.Accepted && r != stat.DropLearnLimit {
					t.Error(r)
				}
				if d := n.Lookup(m, now); d.Kind == Local || d.Kind == Remote && !d.VTEP.IsValid() {
					t.Errorf("%+v", d)
				}
				if len(n.Replicate()) > 1+LearnedVTEPs || n.Learned() > limit {
					t.Error("bounds")
				}
				if i%5000 == 0 {
					s.Expire(now)
				}
			}
		})
	}
	// Meanwhile the configuration is reloaded.
	for range 20 {
		build(t, s, Network{VNI: 7, Learn: true})
	}
	wg.Wait()
	check(t, n)
	if n.Learned() == 0 {
		t.Error("nothing learned")
	}
}

// FuzzLearn compares learning with a plain map, and checks the invariants.
func FuzzLearn(f *testing.F) {
	f.Add([]byte{0, 1, 1, 0, 2, 2, 1, 1, 3, 0, 9, 1, 255, 1, 1, 255, 4, 1})
	f.Fuzz(func(t *testing.T, ops []byte) {
		type place struct {
			vtep netip.Addr
			seen time.Duration
		}
		const limit = 8
		s := build(t, nil, Network{VNI: 7, Learn: true, LearnMax: limit, VTEPs: []netip.Addr{vtep(0)}})
		n, now, model := s.Network(7), time.Duration(0), map[wire.MAC]place{}
		ops = ops[:min(len(ops), 3*LearnBurst)] // below the rate limit
		for ; len(ops) >= 3; ops = ops[3:] {
			now += time.Duration(ops[0]) * second
			m, v := mac(int(ops[1]%12)), vtep(int(ops[2]%4))
			if ops[2] == 255 {
				s.Expire(now)
			}
			p, known := model[m]
			fresh := 0
			for _, p := range model {
				if now-p.seen <= Age {
					fresh++
				}
			}
			switch r := n.Learn(m, v, now); {
			case r == stat.Accepted:
				if (!known || now-p.seen > Age) && fresh == limit {
					t.Fatal("learned beyond the limit")
				}
				if !known || p.vtep != v || now-p.seen >= refreshEvery {
					model[m] = place{v, now}
				}
			case fresh < limit || known && now-p.seen <= Age:
				t.Fatalf("refused with %d of %d held", fresh, limit)
			}
			for i := range 12 {
				want := Dest{}
				if p, ok := model[mac(i)]; ok && now-p.seen <= Age {
					want = Dest{Kind: Remote, VTEP: p.vtep}
				}
				if got := n.Lookup(mac(i), now); got != want {
					t.Fatalf("%d: %+v, want %+v", i, got, want)
				}
			}
			check(t, n)
		}
	})
}

func BenchmarkLearn(b *testing.B) {
	b.Run("refresh", func(b *testing.B) {
		n := learner(b, 0)
		for i := range 1000 {
			n.Learn(mac(i), vtepB, 0)
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			n.Learn(mac(i%1000), vtepB, time.Duration(i))
		}
	})
	// What a hostile network can make a worker spend: every frame a new
	// address, the table full, a million frames per second.
	b.Run("hostile", func(b *testing.B) {
		n := learner(b, 0)
		now := time.Duration(0)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			now += time.Microsecond
			n.Learn(mac(i), vtep(i%1000), now)
		}
	})
}
