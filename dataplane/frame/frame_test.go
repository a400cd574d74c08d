// SPDX-License-Identifier: Apache-2.0

package frame

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// checked returns a ledger and what it reported.
func checked(n int) (*Ledger, *[]string) {
	faults := new([]string)
	return NewChecked(n, func(err error) { *faults = append(*faults, err.Error()) }), faults
}

func TestOwnerNames(t *testing.T) {
	seen := map[string]bool{}
	for o := range NumOwners {
		if s := o.String(); s == "" || s == "unknown" || seen[s] {
			t.Errorf("owner %d: %q", o, s)
		}
		seen[o.String()] = true
	}
	if NumOwners.String() != "unknown" || Free.String() != "free" || Tx.String() != "tx" {
		t.Error("names do not stand beside their owners")
	}
}

func TestLastInFirstOut(t *testing.T) {
	l := New(4)
	for want := range uint32(4) {
		if f, ok := l.Get(Reserved); f != want || !ok {
			t.Fatalf("Get = %d, %v, want %d", f, ok, want)
		}
	}
	if f, ok := l.Get(Reserved); ok {
		t.Fatalf("a fifth frame %d of four", f)
	}
	l.Put(2, Reserved)
	l.Put(0, Reserved)
	if f, _ := l.Get(Fill); f != 0 {
		t.Errorf("Get = %d, want the frame that was freed last", f)
	}
	if c := l.Counts(); c != (Counts{Free: 1, Fill: 1, Reserved: 2}) || c.Sum() != 4 {
		t.Errorf("counts %v", c)
	}
}

func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(l *Ledger)
		want string
	}{
		{"double free", func(l *Ledger) { l.Put(0, Reserved); l.Put(0, Reserved) }, "move frame 0 from reserved to free: its owner is free"},
		{"use by two", func(l *Ledger) { l.Move(0, Reserved, Tx); l.Move(0, Reserved, Held) }, "move frame 0 from reserved to held: its owner is tx"},
		{"completed twice", func(l *Ledger) {
			l.Move(0, Reserved, Tx)
			l.Put(0, Tx)
			l.Put(0, Tx)
		}, "its owner is free"},
		{"received without fill", func(l *Ledger) { l.Move(1, Fill, Rx) }, "move frame 1 from fill to rx: its owner is free"},
		{"no such frame", func(l *Ledger) { l.Put(9, Tx) }, "the UMEM has 4 frames"},
	} {
		l, faults := checked(4)
		if _, ok := l.Get(Reserved); !ok {
			t.Fatal("no frame")
		}
		tt.do(l)
		if len(*faults) != 1 || !strings.Contains((*faults)[0], tt.want) {
			t.Errorf("%s: reported %q, want %q", tt.name, *faults, tt.want)
		}
		if n := l.Counts().Sum(); n != 4 {
			t.Errorf("%s: %d frames, want 4", tt.name, n)
		}
		if err := l.Verify(); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestVerify(t *testing.T) {
	for _, tt := range []struct {
		name    string
		corrupt func(l *Ledger)
		want    string
	}{
		{"count", func(l *Ledger) { l.counts[Rx]++ }, "were counted"},
		{"stack length", func(l *Ledger) { l.free = l.free[1:] }, "3 frames on the free stack, 4 free"},
		{"stack twice", func(l *Ledger) { l.free[0] = l.free[1] }, "twice"},
		{"stack owner", func(l *Ledger) {
			l.owners[0], l.counts[Free], l.counts[Tx] = Tx, 3, 1
			l.free = l.free[1:]
		}, "frame 0 on the free stack: its owner is tx"},
	} {
		l, _ := checked(4)
		if err := l.Verify(); err != nil {
			t.Fatal(err)
		}
		tt.corrupt(l)
		if err := l.Verify(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// Whatever happens to frames, none is lost and none is invented.
func TestConservation(t *testing.T) {
	const n = 64
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		l, faults := checked(n)
		plain := New(n)
		held := map[Owner][]uint32{}
		take := func(o Owner) (uint32, bool) {
			q := held[o]
			if len(q) == 0 {
				return 0, false
			}
			i := r.IntN(len(q))
			f := q[i]
			held[o] = append(q[:i], q[i+1:]...)
			return f, true
		}
		for range 5000 {
			from, to := Owner(r.IntN(int(NumOwners))), Owner(r.IntN(int(NumOwners)))
			if from == Free && to != Free {
				f, ok := l.Get(to)
				p, pok := plain.Get(to)
				if f != p || ok != pok {
					t.Fatalf("checked gives %d, %v, plain %d, %v", f, ok, p, pok)
				}
				if ok {
					held[to] = append(held[to], f)
				}
				continue
			}
			f, ok := take(from)
			switch {
			case !ok:
			case to == Free:
				l.Put(f, from)
				plain.Put(f, from)
			default:
				l.Move(f, from, to)
				plain.Move(f, from, to)
				held[to] = append(held[to], f)
			}
			if l.Counts().Sum() != n || l.Counts() != plain.Counts() {
				t.Fatalf("counts %v, want %v", plain.Counts(), l.Counts())
			}
		}
		if err := l.Verify(); err != nil || len(*faults) > 0 {
			t.Fatalf("seed %d: %v, %q", seed, err, *faults)
		}
	}
}

func TestAllocs(t *testing.T) {
	for _, l := range []*Ledger{New(16), NewChecked(16, func(err error) { t.Error(err) })} {
		if n := testing.AllocsPerRun(100, func() {
			for range 16 {
				f, _ := l.Get(Reserved)
				l.Move(f, Reserved, Tx)
			}
			for f := range uint32(16) {
				l.Put(f, Tx)
			}
		}); n != 0 {
			t.Errorf("%v allocations per turn", n)
		}
	}
}

func BenchmarkLedger(b *testing.B) {
	for _, check := range []bool{false, true} {
		b.Run(fmt.Sprintf("checked=%v", check), func(b *testing.B) {
			l := New(4096)
			if check {
				l = NewChecked(4096, func(err error) { b.Error(err) })
			}
			b.ReportAllocs()
			for b.Loop() {
				f, _ := l.Get(Reserved)
				l.Move(f, Reserved, Tx)
				l.Put(f, Tx)
			}
		})
	}
}
