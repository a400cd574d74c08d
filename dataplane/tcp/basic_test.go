// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestHandshakeAndEcho(t *testing.T) {
	w := newTwo(t, nil)
	c, s := w.connected()
	w.a.write(c, []byte("request"))
	w.run(time.Second, func() bool { return len(s.got) == 7 })
	sameBytes(t, s.got, []byte("request"))
	w.b.write(s, []byte("answer"))
	w.run(time.Second, func() bool { return len(c.got) == 6 })
	sameBytes(t, c.got, []byte("answer"))
}

func TestBulkBothWays(t *testing.T) {
	w := newTwo(t, nil)
	c, s := w.connected()
	data := pattern(3 << 20)
	w.a.write(c, data)
	w.b.write(s, data)
	w.run(time.Minute, func() bool { return len(s.got) == len(data) && len(c.got) == len(data) })
	sameBytes(t, s.got, data)
	sameBytes(t, c.got, data)
	if r := w.a.e.conns.at(uint32(c.h)).resent; r != 0 {
		t.Errorf("%d segments resent without loss", r)
	}
}

func TestClose(t *testing.T) {
	w := newTwo(t, nil)
	c, s := w.connected()
	c.closing = true
	w.a.write(c, []byte("last words"))
	w.run(time.Second, nil)
	sameBytes(t, s.got, []byte("last words"))
	if !s.eof || w.b.state(s) != stCloseWait || w.a.state(c) != stFinWait2 {
		t.Fatalf("eof %v, states %d %d", s.eof, w.a.state(c), w.b.state(s))
	}
	s.closing = true
	w.b.write(s, []byte("bye"))
	w.run(time.Second, nil)
	sameBytes(t, c.got, []byte("bye"))
	if !c.eof || w.b.state(s) != stClosed || w.a.e.waits.len() != 1 {
		t.Fatalf("eof %v, state %d, %d in TIME-WAIT", c.eof, w.b.state(s), w.a.e.waits.len())
	}
	w.a.e.Close(c.h)
	w.b.e.Close(s.h)
	w.run(2*time.Minute, nil)
	if n := w.a.e.waits.len() + w.a.e.conns.len() + w.a.e.table.len(); n != 0 {
		t.Errorf("%d records left", n)
	}
}

func TestReset(t *testing.T) {
	w := newTwo(t, nil)
	c, s := w.connected()
	w.a.e.Abort(c.h)
	w.run(time.Second, func() bool { return s.failed != 0 })
	if s.failed != 104 {
		t.Fatalf("failed with %v", s.failed)
	}
	w.b.e.Close(s.h)
}

func TestRefused(t *testing.T) {
	w := newTwo(t, nil)
	c := w.a.connect(w.b.addr, 81)
	w.run(time.Second, func() bool { return c.failed != 0 })
	if c.failed != 111 {
		t.Fatalf("failed with %v", c.failed)
	}
}

func TestLossBothWays(t *testing.T) {
	for _, rate := range []float64{0.01, 0.05, 0.2} {
		for seed := range uint64(8) {
			r := rand.New(rand.NewPCG(seed, 1))
			w := newTwo(t, nil)
			c, s := w.connected()
			w.filter = func(bool, []byte) bool { return r.Float64() >= rate }
			data := pattern(1 << 20)
			c.closing = true
			w.a.write(c, data)
			start := w.now
			if !w.run(10*time.Minute, func() bool { return s.eof }) {
				t.Fatalf("rate %v seed %d: %d of %d bytes, failed %v %v", rate, seed, len(s.got), len(data), c.failed, s.failed)
			}
			sameBytes(t, s.got, data)
			i := w.a.e.conns.at(uint32(c.h))
			t.Logf("rate %v seed %d: %v, %d resent", rate, seed, w.now-start, i.resent)
		}
	}
}

func TestNoRingMemory(t *testing.T) {
	w := newTwo(t, nil)
	l := w.b.listen(80, 16)
	c := w.a.connect(w.b.addr, 80)
	w.run(10*time.Second, func() bool { return c.est && l.accept })
	data := pattern(200000)
	w.a.write(c, data[:5000])
	w.run(time.Second, nil)
	s, u := w.b.sock()
	s.noMemory = true
	h, errno := w.b.e.Accept(l.h, u)
	w.b.must(errno)
	s.h = h
	w.b.attach(s)
	w.a.write(c, data[5000:])
	w.run(time.Minute, func() bool { return len(s.got) == len(data) })
	sameBytes(t, s.got, data)
	if n := w.b.e.stashes.inUse(); n != 0 {
		t.Errorf("%d stashes in use", n)
	}
}
