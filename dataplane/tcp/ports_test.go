// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// Local addresses of testPorts, beside the wildcards.
const (
	local4 = iota + 2
	other4
	local6
)

// testPorts is a registry over a set of tuples that are in use.
func testPorts(tb testing.TB, low, high uint16) (*ports, map[tuple]bool) {
	tb.Helper()
	l := new(locals)
	l.init([]netip.Prefix{
		netip.MustParsePrefix("10.0.0.1/24"), netip.MustParsePrefix("10.0.0.2/24"), netip.MustParsePrefix("fd00::1/64"),
	})
	used := map[tuple]bool{}
	p, err := newPorts(testMemory(tb), 1<<18, l, key{1, 2}, low, high, func(t *tuple) bool { return used[*t] })
	if err != nil {
		tb.Fatal(err)
	}
	return p, used
}

func bindingOf(local uint16, class uint8) binding {
	return binding{port: 80, local: local, dual: local == anyDual, class: class}.fixed()
}

// fixed says anyDual as sockets do.
func (b binding) fixed() binding {
	if b.local == anyDual {
		b.local = any6
	}
	return b
}

// What Linux permits (inet_csk_bind_conflict), for two sockets at addresses that
// overlap.
func TestPortsBindRules(t *testing.T) {
	const (
		none   = 0
		addr   = classReuseAddr
		port   = classReusePort
		both   = classReuseAddr | classReusePort
		listen = classListen
	)
	for _, c := range []struct {
		first, second uint8
		ok            bool
	}{
		{none, none, false},
		{addr, none, false},
		{none, addr, false},
		{addr, addr, true},
		{addr | listen, addr, false},
		{port, port, true},
		{port | listen, port, true},
		{port, none, false},
		{port, addr, false},
		{addr, port, false},
		{both, addr, true},
		{both, port, true},
		{both | listen, addr, false},
		{both | listen, port, true},
		{both | listen, both, true},
		{none | listen, both, false},
	} {
		p, _ := testPorts(t, 1000, 2000)
		p.hold(bindingOf(local4, c.first))
		if got := p.bind(bindingOf(local4, c.second)); got != c.ok {
			t.Errorf("class %#x, then %#x: %v", c.first, c.second, got)
		}
	}
}

// Which local addresses meet.
func TestPortsOverlap(t *testing.T) {
	all := []uint16{any4, any6, anyDual, local4, other4, local6}
	meet := map[[2]uint16]bool{
		{any4, anyDual}: true, {any6, anyDual}: true,
		{any4, local4}: true, {any4, other4}: true,
		{any6, local6}:    true,
		{anyDual, local4}: true, {anyDual, other4}: true, {anyDual, local6}: true,
	}
	for _, a := range all {
		for _, b := range all {
			p, _ := testPorts(t, 1000, 2000)
			if !p.bind(bindingOf(a, 0)) {
				t.Fatal("the first bind fails")
			}
			want := a == b || meet[[2]uint16{a, b}] || meet[[2]uint16{b, a}]
			if got := !p.bind(bindingOf(b, 0)); got != want {
				t.Errorf("%d and %d meet: %v", a, b, got)
			}
			other := bindingOf(b, 0)
			other.port = 81
			if !p.bind(other) {
				t.Errorf("%d: another port is in use", b)
			}
		}
	}
}

// A server that ends and starts again: connections and TIME-WAIT of the old
// listener are in the way of the new one unless SO_REUSEADDR was set on both.
func TestPortsRestart(t *testing.T) {
	for _, class := range []uint8{0, classReuseAddr} {
		p, _ := testPorts(t, 1000, 2000)
		l := bindingOf(any4, class)
		if !p.bind(l) || !p.listen(&l, 7) {
			t.Fatal("bind and listen")
		}
		child := bindingOf(local4, class)
		p.hold(child)
		if p.bind(bindingOf(any4, class)) {
			t.Errorf("class %#x: bound beside a listener", class)
		}
		p.unlisten(&l, 7)
		p.drop(l)
		again := bindingOf(any4, class)
		if got := p.bind(again); got != (class == classReuseAddr) {
			t.Errorf("class %#x: bound beside what was accepted: %v", class, got)
		} else if got && !p.listen(&again, 8) {
			t.Errorf("class %#x: no listen beside what was accepted", class)
		}
		p.drop(child)
		if class == 0 && !p.bind(again) {
			t.Error("the port is not free in the end")
		}
	}
}

// Two sockets with SO_REUSEADDR share a port until one listens.
func TestPortsListenConflict(t *testing.T) {
	p, _ := testPorts(t, 1000, 2000)
	a, b := bindingOf(any4, classReuseAddr), bindingOf(any4, classReuseAddr)
	if !p.bind(a) || !p.bind(b) {
		t.Fatal("bind")
	}
	if !p.listen(&a, 1) {
		t.Error("the first may not listen")
	}
	was := b
	if p.listen(&b, 2) {
		t.Error("the second may listen")
	}
	if b != was {
		t.Errorf("a failed listen left %+v", b)
	}
	p.unlisten(&a, 1)
	if a.class != classReuseAddr || !p.listen(&b, 2) {
		t.Error("the second may not listen after the first")
	}
}

func TestPortsReclass(t *testing.T) {
	p, _ := testPorts(t, 1000, 2000)
	b := bindingOf(local4, 0)
	p.bind(b)
	p.reclass(&b, classReuseAddr)
	if !p.bind(bindingOf(local4, classReuseAddr)) {
		t.Error("SO_REUSEADDR set after bind does not count")
	}
	p.reclass(&b, 0)
	if p.bind(bindingOf(local4, classReuseAddr)) {
		t.Error("SO_REUSEADDR taken away after bind still counts")
	}
}

// A socket bound to a wildcard that connects has one address from then on.
func TestPortsMove(t *testing.T) {
	p, _ := testPorts(t, 1000, 2000)
	b := bindingOf(anyDual, 0)
	p.bind(b)
	if p.bind(bindingOf(other4, 0)) {
		t.Error("bound beside a wildcard")
	}
	if !p.move(&b, local4) || b.local != local4 || b.dual {
		t.Errorf("move: %+v", b)
	}
	if !p.bind(bindingOf(other4, 0)) || p.bind(bindingOf(local4, 0)) {
		t.Error("the address it moved to is not the one in use")
	}
}

func TestPortsListener(t *testing.T) {
	p, _ := testPorts(t, 1000, 2000)
	listen := func(local uint16, class uint8, index uint32) *binding {
		b := bindingOf(local, class)
		if !p.bind(b) || !p.listen(&b, index) {
			t.Fatalf("listener %d", index)
		}
		return &b
	}
	at := func(local uint16, hash uint32) uint32 {
		return p.listener(&tuple{local: local, lport: 80}, hash)
	}
	if at(local4, 0) != 0 {
		t.Error("a listener where there is none")
	}
	dual := listen(anyDual, classReusePort, 1)
	if at(local4, 0) != 1 || at(local6, 0) != 1 {
		t.Error("a dual-stack listener is not found")
	}
	listen(any4, classReusePort, 2)
	if at(local4, 0) != 2 || at(local6, 0) != 1 {
		t.Error("the listener of the family does not come first")
	}
	only6 := listen(any6, classReusePort, 5)
	if at(local6, 0) != 5 || at(local4, 0) != 2 {
		t.Error("an IPv6-only listener takes IPv4, or does not come first")
	}
	p.unlisten(only6, 5)
	listen(local4, classReusePort, 3)
	if at(local4, 0) != 3 || at(other4, 0) != 2 {
		t.Error("the listener of the address does not come first")
	}
	if p.listener(&tuple{local: local4, lport: 81}, 0) != 0 {
		t.Error("a listener at another port")
	}
	p.unlisten(dual, 1)
	if at(local6, 0) != 0 || dual.class != classReusePort {
		t.Error("a listener that is gone is found")
	}
	// A group of its own is used again.
	dual = listen(anyDual, classReusePort, 4)
	if at(local6, 0) != 4 || len(p.groups) > 5 {
		t.Errorf("%d groups", len(p.groups))
	}
	p.unlisten(dual, 4)
}

// SO_REUSEPORT spreads flows evenly, and leaves none to a listener that went.
func TestPortsReusePort(t *testing.T) {
	p, _ := testPorts(t, 1000, 2000)
	const n = 4
	var b [n]binding
	for i := range b {
		b[i] = bindingOf(any4, classReusePort)
		if !p.bind(b[i]) || !p.listen(&b[i], uint32(i+1)) {
			t.Fatalf("listener %d", i+1)
		}
	}
	s := testSecrets(1)
	count := map[uint32]int{}
	u := tuple{remote: addr{lo: mapped4 | 5}, lport: 80, local: local4}
	for port := range uint16(20000) {
		u.rport = port
		count[p.listener(&u, s.flowHash(&u))]++
	}
	for i := range uint32(n) {
		if c := count[i+1]; c < 4500 || c > 5500 {
			t.Errorf("listener %d got %d of 20000", i+1, c)
		}
	}
	p.unlisten(&b[1], 2)
	for port := range uint16(1000) {
		u.rport = port
		if l := p.listener(&u, s.flowHash(&u)); l == 2 || l == 0 {
			t.Fatalf("listener %d after it went", l)
		}
	}
}

func TestPortsBindAny(t *testing.T) {
	p, _ := testPorts(t, 1000, 1099)
	seen := map[uint16]bool{}
	for range 100 {
		b := binding{local: any4, class: classReuseAddr | classReusePort}
		if !p.bindAny(&b) {
			t.Fatalf("no port after %d", len(seen))
		}
		if b.port < 1000 || b.port > 1099 || seen[b.port] {
			t.Fatalf("port %d", b.port)
		}
		seen[b.port] = true
	}
	b := binding{local: local4}
	if p.bindAny(&b) {
		t.Errorf("port %d when all are in use", b.port)
	}
	six := binding{local: local6}
	if !p.bindAny(&six) {
		t.Error("no port for IPv6 when all of IPv4 are in use")
	}
}

// pickAll picks until there is no port, and returns how many it got.
func pickAll(t *testing.T, p *ports, used map[tuple]bool, u tuple, now time.Duration) (got []tuple) {
	t.Helper()
	for p.pick(&u, now) {
		if uint32(u.lport) < p.low || uint32(u.lport) >= p.low+p.span {
			t.Fatalf("port %d", u.lport)
		}
		if used[u] {
			t.Fatalf("port %d is in use", u.lport)
		}
		used[u] = true
		got = append(got, u)
		u.lport = 0
	}
	if u.lport != 0 {
		t.Error("a port without a pick")
	}
	return got
}

// end is what happens when a connection whose port was picked is gone.
func end(p *ports, used map[tuple]bool, u tuple) {
	delete(used, u)
	p.drop(binding{port: u.lport, local: u.local, class: classPicked})
	p.freed(&u)
}

// Every port of the range is found, towards every destination, and found again
// when it is free again.
func TestPortsPick(t *testing.T) {
	p, used := testPorts(t, 30000, 31999)
	l := bindingOf(local4, classListen|classReuseAddr|classReusePort)
	l.port = 30500
	p.hold(l)
	a := tuple{remote: addr{lo: mapped4 | 9}, rport: 80, local: local4}
	b := tuple{remote: addr{lo: mapped4 | 9}, rport: 81, local: local4}
	c := tuple{remote: addr{lo: mapped4 | 9}, rport: 80, local: other4}
	got := pickAll(t, p, used, a, 0)
	if len(got) != 1999 {
		t.Fatalf("%d ports, want all 2000 but the one that is bound", len(got))
	}
	if n := len(pickAll(t, p, used, b, 0)); n != 1999 {
		t.Errorf("%d ports towards another destination", n)
	}
	if n := len(pickAll(t, p, used, c, 0)); n != 2000 {
		t.Errorf("%d ports from another address", n)
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		k := r.IntN(len(got))
		end(p, used, got[k])
		u := a
		if !p.pick(&u, 0) || u != got[k] {
			t.Fatalf("port %d was freed, got %d", got[k].lport, u.lport)
		}
		used[u] = true
	}
	// The bound port comes free.
	p.drop(l)
	u := a
	if !p.pick(&u, 0) || u.lport != 30500 {
		t.Errorf("port %d, want the one that was bound", u.lport)
	}
	used[u] = true
	// One is reusable without anybody having said so.
	delete(used, got[5])
	for range 2 {
		u.lport = 0
		if p.pick(&u, 10*time.Second) {
			break
		}
	}
	if u.lport != got[5].lport {
		t.Errorf("port %d, want %d", u.lport, got[5].lport)
	}
}

// Ports of one destination tell nothing about those of another, and follow each
// other (RFC 6056 section 3.3.4).
func TestPortsPickSequence(t *testing.T) {
	p, used := testPorts(t, 30000, 39999)
	var last uint16
	follow := 0
	firsts := map[uint16]bool{}
	for d := range 50 {
		u := tuple{remote: addr{lo: mapped4 | uint64(d)}, rport: 80, local: local4}
		for k := range 20 {
			u.lport = 0
			if !p.pick(&u, 0) {
				t.Fatal("no port")
			}
			used[u] = true
			if k == 0 {
				firsts[u.lport] = true
			} else if u.lport == last+1 {
				follow++
			}
			last = u.lport
		}
	}
	if len(firsts) < 45 {
		t.Errorf("%d different first ports of 50", len(firsts))
	}
	if follow < 50*19*9/10 {
		t.Errorf("%d of %d ports follow the one before", follow, 50*19)
	}
}

// More destinations are crowded than there are maps: it stays right.
func TestPortsPickManyCrowds(t *testing.T) {
	p, used := testPorts(t, 30000, 30019)
	for round := range 2 {
		var all []tuple
		for d := range 3 * crowdMost {
			u := tuple{remote: addr{lo: mapped4 | uint64(d)}, rport: 80, local: local4}
			got := pickAll(t, p, used, u, time.Duration(round)*time.Hour)
			if len(got) != 20 {
				t.Fatalf("round %d, destination %d: %d ports", round, d, len(got))
			}
			all = append(all, got...)
		}
		for _, u := range all {
			end(p, used, u)
		}
	}
	for i, h := range p.heads {
		if h != 0 {
			t.Fatalf("port %d is held in the end", i)
		}
	}
}

// Any sequence of calls agrees with a list of who holds what.
func FuzzPorts(f *testing.F) {
	f.Add(uint64(1))
	f.Add(uint64(2))
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 6))
		p, _ := testPorts(t, 80, 83)
		var held []binding
		listening := map[int]uint32{}
		next := uint32(1)
		locals := []uint16{any4, any6, anyDual, local4, other4, local6}
		conflict := func(b binding, except int) bool {
			for i, o := range held {
				if i == except || o.port != b.port || !p.overlap(o.where(), b.where()) {
					continue
				}
				reuse := o.class&b.class&classReuseAddr != 0 && o.class&classListen == 0
				if !reuse && o.class&b.class&classReusePort == 0 {
					return true
				}
			}
			return false
		}
		for range 300 {
			local := locals[r.IntN(len(locals))]
			b := binding{
				port: 80 + uint16(r.IntN(4)), local: local, dual: local == anyDual,
				class: uint8(r.IntN(4)),
			}.fixed()
			switch k := r.IntN(max(1, len(held))); r.IntN(6) {
			case 0, 1:
				if got, want := p.bind(b), !conflict(b, -1); got != want {
					t.Fatalf("bind %+v: %v, held %+v", b, got, held)
				} else if got {
					held = append(held, b)
				}
			case 2:
				p.hold(b)
				held = append(held, b)
			case 3:
				if len(held) > 0 && listening[k] == 0 {
					want := held[k]
					want.class |= classListen
					got := held[k]
					if ok := p.listen(&got, next); ok == conflict(want, k) {
						t.Fatalf("listen %+v: %v, held %+v", held[k], ok, held)
					} else if ok {
						listening[k] = next
						next++
					}
					held[k] = got
				}
			case 4:
				if listening[k] != 0 {
					p.unlisten(&held[k], listening[k])
					delete(listening, k)
				}
			case 5:
				if len(held) > 0 && listening[k] == 0 {
					p.drop(held[k])
					last := len(held) - 1
					held[k] = held[last]
					if l := listening[last]; l != 0 {
						listening[k] = l
						delete(listening, last)
					}
					held = held[:last]
				}
			}
			// Every listener is found by some flow, none that is not one.
			found := map[uint32]bool{}
			for port := range uint16(4) {
				for _, at := range []uint16{local4, other4, local6} {
					for h := range uint32(16) {
						if l := p.listener(&tuple{lport: 80 + port, local: at}, h<<28); l != 0 {
							found[l] = true
						}
					}
				}
			}
			for l := range found {
				ok := false
				for _, x := range listening {
					ok = ok || x == l
				}
				if !ok {
					t.Fatalf("listener %d is none", l)
				}
			}
		}
		for k := range held {
			if listening[k] != 0 {
				p.unlisten(&held[k], listening[k])
			}
			p.drop(held[k])
		}
		if p.buckets.len() != 0 || p.bound[1] != 0 {
			t.Fatalf("%d buckets in the end", p.buckets.len())
		}
	})
}

func TestPortsPanic(t *testing.T) {
	p, _ := testPorts(t, 1000, 2000)
	for name, f := range map[string]func(){
		"drop":     func() { p.drop(bindingOf(local4, 0)) },
		"unlisten": func() { b := bindingOf(local4, 0); p.unlisten(&b, 1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s of what is not held: no panic", name)
				}
			}()
			f()
		}()
	}
}

// A registry without a bucket left refuses, and forgets nothing.
func TestPortsFull(t *testing.T) {
	l := new(locals)
	l.init([]netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")})
	p, err := newPorts(testMemory(t), 2, l, key{}, 1000, 2000, func(*tuple) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	a, b := binding{port: 1, local: local4}, binding{port: 2, local: any4}
	if !p.bind(a) || !p.bind(b) || p.bind(binding{port: 3, local: local4}) {
		t.Error("two buckets take two ports")
	}
	if u := (tuple{rport: 1, local: local4}); p.pick(&u, 0) {
		t.Error("picked without a bucket")
	}
	if was := b; p.move(&b, local4) || b != was {
		t.Errorf("moved without a bucket: %+v", b)
	}
	if p.bindAny(&binding{local: local4}) {
		t.Error("bound any without a bucket")
	}
	p.drop(a)
	p.drop(b)
}

func TestPortsAllocs(t *testing.T) {
	p, _ := testPorts(t, 1000, 60000)
	u := tuple{remote: addr{lo: mapped4 | 9}, rport: 80, local: local4}
	p.busy = func(*tuple) bool { return false }
	b := bindingOf(any4, 0)
	p.bind(b)
	p.listen(&b, 1)
	if n := testing.AllocsPerRun(1000, func() {
		u.lport = 0
		p.pick(&u, 0)
		p.drop(binding{port: u.lport, local: u.local, class: classPicked})
		p.freed(&u)
		p.listener(&u, 5)
		p.hold(bindingOf(local4, 0))
		p.drop(bindingOf(local4, 0))
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A pick towards a destination that has so many of the 64,512 ports in use, at
// random, and an end.
func BenchmarkPortsPick(b *testing.B) {
	for _, n := range []int{0, 30000, 60000, 64000, 64511} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p, _ := testPorts(b, 1024, 65535)
			var used [65536]bool
			p.busy = func(t *tuple) bool { return used[t.lport] }
			u := tuple{remote: addr{lo: mapped4 | 9}, rport: 80, local: local4}
			r := rand.New(rand.NewPCG(1, 1))
			var list []uint16
			for range n {
				u.lport = 0
				if !p.pick(&u, 0) {
					b.Fatal("no port")
				}
				used[u.lport] = true
				list = append(list, u.lport)
			}
			b.ReportAllocs()
			for b.Loop() {
				u.lport = 0
				if !p.pick(&u, 0) {
					b.Fatal("no port")
				}
				used[u.lport] = true
				if n > 0 {
					k := r.IntN(n)
					list[k], u.lport = u.lport, list[k]
				}
				used[u.lport] = false
				p.drop(binding{port: u.lport, local: u.local, class: classPicked})
				p.freed(&u)
			}
		})
	}
}
