// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"syscall"
	"testing"
	"time"

	"netcon/dataplane/stream"
)

func TestCloseSendsWhatWasAnnounced(t *testing.T) {
	w := newTwo(t, nil)
	c, s := w.connected()
	data := pattern(60000)
	w.a.write(c, data)
	w.a.e.Close(c.h) // nothing of it has left
	c.pair.Tx.Discard()
	n := 0
	w.filter = func(fromA bool, _ []byte) bool { n++; return n%7 != 0 }
	if !w.run(time.Minute, func() bool { return s.eof }) {
		t.Fatal("no end")
	}
	sameBytes(t, s.got, data)
	w.filter = nil
	w.b.e.Close(s.h)
	w.run(3*time.Minute, nil)
	if w.a.e.conns.len()+w.a.e.waits.len()+w.b.e.waits.len() != 0 || w.a.e.orphans != 0 {
		t.Errorf("%d records, %d orphans", w.a.e.conns.len(), w.a.e.orphans)
	}
}

func TestCloseWithUnreadBytesResets(t *testing.T) {
	w := newTwo(t, nil)
	c, s := w.connected()
	c.keep = true
	w.b.write(s, []byte("not read"))
	w.run(time.Second, nil)
	w.a.e.Close(c.h)
	w.run(time.Second, func() bool { return s.failed != 0 })
	if s.failed != syscall.ECONNRESET {
		t.Errorf("failed %v", s.failed)
	}
}

func TestLingerZeroResets(t *testing.T) {
	w := newTwo(t, nil)
	c, s := w.connected()
	w.a.must(w.a.e.SetOption(c.h, stream.OptLinger, 0))
	w.a.e.Close(c.h)
	w.run(time.Second, func() bool { return s.failed != 0 })
	if s.failed != syscall.ECONNRESET || w.a.e.waits.len() != 0 {
		t.Errorf("failed %v", s.failed)
	}
}

func TestSimultaneousClose(t *testing.T) {
	w := newTwo(t, nil)
	c, s := w.connected()
	w.a.e.Close(c.h)
	w.b.e.Close(s.h)
	w.run(time.Second, nil)
	if w.a.e.waits.len() != 1 || w.b.e.waits.len() != 1 || w.a.e.conns.len() != 0 {
		t.Errorf("%d and %d in TIME-WAIT", w.a.e.waits.len(), w.b.e.waits.len())
	}
	w.run(2*time.Minute, nil)
	if w.a.e.waits.len() != 0 || w.a.e.table.len() != 0 {
		t.Error("TIME-WAIT does not end")
	}
}

func TestDataForAnOrphanResets(t *testing.T) {
	w := newTwo(t, nil)
	c, s := w.connected()
	w.a.e.Close(c.h)
	w.run(time.Second, func() bool { return s.eof })
	w.b.write(s, []byte("too late"))
	w.run(time.Second, func() bool { return s.failed != 0 })
	if s.failed == 0 || w.a.e.conns.len() != 0 {
		t.Errorf("failed %v, %d records", s.failed, w.a.e.conns.len())
	}
}

func TestOrphanDoesNotWaitForever(t *testing.T) {
	w := newTwo(t, nil)
	c, _ := w.connected()
	w.a.e.Close(c.h)
	w.run(50*time.Second, nil)
	if w.a.e.orphans != 1 {
		t.Fatalf("%d orphans in FIN-WAIT-2", w.a.e.orphans)
	}
	w.run(20*time.Second, nil)
	if w.a.e.orphans != 0 || w.a.e.conns.len() != 0 {
		t.Errorf("%d orphans", w.a.e.orphans)
	}
}

func TestUnreachablePeerTimesOut(t *testing.T) {
	w := newTwo(t, nil)
	c, _ := w.connected()
	w.filter = func(bool, []byte) bool { return false }
	w.a.write(c, []byte("hello?"))
	start := w.now
	if !w.run(time.Hour, func() bool { return c.failed != 0 }) {
		t.Fatal("never gave up")
	}
	if d := w.now - start; c.failed != syscall.ETIMEDOUT || d < 10*time.Minute || d > 20*time.Minute {
		t.Errorf("failed %v after %v", c.failed, d)
	}
}

func TestUserTimeout(t *testing.T) {
	w := newTwo(t, nil)
	c, _ := w.connected()
	w.a.must(w.a.e.SetOption(c.h, stream.OptUserTimeout, 3000))
	w.filter = func(bool, []byte) bool { return false }
	w.a.write(c, []byte("hello?"))
	start := w.now
	w.run(time.Minute, func() bool { return c.failed != 0 })
	if d := w.now - start; c.failed != syscall.ETIMEDOUT || d < 2*time.Second || d > 5*time.Second {
		t.Errorf("failed %v after %v", c.failed, d)
	}
}

func TestKeepalive(t *testing.T) {
	w := newTwo(t, nil)
	c, _ := w.connected()
	for o, v := range map[stream.Option]int{stream.OptKeepIdle: 10, stream.OptKeepInterval: 5, stream.OptKeepCount: 3, stream.OptKeepAlive: 1} {
		w.a.must(w.a.e.SetOption(c.h, o, v))
	}
	w.run(10*time.Minute, nil)
	if c.failed != 0 {
		t.Fatal("a peer that answers was given up")
	}
	w.filter = func(bool, []byte) bool { return false }
	if !w.run(40*time.Second, func() bool { return c.failed != 0 }) || c.failed != syscall.ETIMEDOUT {
		t.Errorf("failed %v", c.failed)
	}
}

func TestClosedWindowIsProbed(t *testing.T) {
	w := newTwo(t, nil)
	c, s := w.connected()
	s.keep = true
	data := pattern(200000)
	w.a.write(c, data)
	w.run(5*time.Minute, nil)
	if n := s.pair.Rx.Len(); n < 60000 || n > 65536 || c.failed != 0 {
		t.Fatalf("%d bytes in the ring, failed %v", n, c.failed)
	}
	// The window update is lost: a probe finds out.
	n := 0
	w.filter = func(fromA bool, _ []byte) bool { n++; return fromA || n > 3 }
	s.keep = false
	w.b.read(s)
	if !w.run(5*time.Minute, func() bool { return len(s.got) == len(data) }) {
		t.Fatalf("%d of %d bytes", len(s.got), len(data))
	}
	sameBytes(t, s.got, data)
}

func TestHalfClose(t *testing.T) {
	w := newTwo(t, nil)
	c, s := w.connected()
	w.a.must(w.a.e.Shutdown(c.h, stream.ShutWrite))
	w.run(time.Second, func() bool { return s.eof })
	w.b.write(s, pattern(100000))
	w.run(time.Minute, func() bool { return len(c.got) == 100000 })
	sameBytes(t, c.got, pattern(100000))

	// What comes after the receiving half was closed is taken and thrown away.
	w.a.must(w.a.e.Shutdown(c.h, stream.ShutRead))
	w.b.write(s, pattern(300000))
	w.run(time.Minute, func() bool { return len(s.pending) == 0 && s.pair.Tx.Len() == 0 })
	if s.failed != 0 || s.pair.Tx.Len() != 0 || len(c.got) != 100000 {
		t.Errorf("failed %v, %d bytes not taken, %d read", s.failed, s.pair.Tx.Len(), len(c.got))
	}
}

func TestStopResetsEverything(t *testing.T) {
	w := newTwo(t, nil)
	c, s := w.connected()
	w.b.e.Stop(w.b)
	for _, b := range w.b.out {
		w.a.e.Deliver(b, false)
	}
	w.a.e.Poll(w.a, 10)
	if c.failed != syscall.ECONNRESET {
		t.Errorf("failed %v", c.failed)
	}
	if _, errno := w.b.e.Open(stream.IPv4, 1); errno != syscall.ENETDOWN {
		t.Errorf("open after stop: %v", errno)
	}
	w.b.e.Deliver([]byte{0x45}, false)
	w.b.e.Close(s.h)
	if w.b.e.Busy() || w.b.e.Transmit(w.b, 1) != 0 || w.b.e.Poll(w.b, 1) {
		t.Error("a stopped engine works")
	}
}

// Bytes that were acknowledged reach their owner whatever becomes of the
// connection: Linux reports the error when there is nothing left to read.
func TestResetComesAfterWhatWasAcknowledged(t *testing.T) {
	for _, end := range []string{"reads", "writes"} {
		w := newTwo(t, nil)
		l := w.b.listen(80, 16)
		c := w.a.connect(w.b.addr, 80)
		if !w.run(10*time.Second, func() bool { return c.est && l.accept }) {
			t.Fatal("not established")
		}
		// It accepts late, and its ring is smaller than what has come.
		data := pattern(20000)
		w.a.write(c, data)
		w.run(5*time.Second, func() bool { return c.pair.Tx.Len() == 0 })
		w.b.ring = 2048
		s := w.b.accepted(l)
		s.keep = true
		w.a.e.Abort(c.h)
		w.run(time.Second, nil)
		if s.failed != 0 || s.pair.Rx.Len() != 2048 {
			t.Fatalf("failed %v with %d bytes in the ring", s.failed, s.pair.Rx.Len())
		}
		if end == "writes" {
			w.b.write(s, []byte("x"))
		} else {
			s.keep = false
			w.b.read(s)
		}
		if !w.run(time.Second, func() bool { return s.failed != 0 }) || s.failed != syscall.ECONNRESET {
			t.Fatalf("%s: failed %v", end, s.failed)
		}
		if end == "reads" {
			w.b.read(s)
			sameBytes(t, s.got, data)
		}
		if n := w.b.e.stashes.inUse(); n != 0 {
			t.Errorf("%s: %d stashes in use", end, n)
		}
	}
}
