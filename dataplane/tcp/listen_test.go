// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
)

func TestFullAcceptQueueIgnoresTheLastACK(t *testing.T) {
	w := newTwo(t, nil)
	l := w.b.listen(80, 1)
	var cs []*peerSock
	for range 4 {
		cs = append(cs, w.a.connect(w.b.addr, 80))
		w.run(100*time.Millisecond, nil)
	}
	// Two may wait (backlog + 1); the third SYN is not even answered.
	if n := w.b.e.listeners[1].ready; n != 2 {
		t.Fatalf("%d wait", n)
	}
	w.b.e.stat.Publish()
	if w.b.st.Drops(stat.DropHalfOpenLimit) == 0 {
		t.Error("no SYN was dropped")
	}
	for range 2 {
		w.b.accepted(l)
	}
	if !w.run(20*time.Second, func() bool { return w.b.e.listeners[1].ready == 2 }) {
		t.Fatal("the others never came")
	}
	for _, c := range cs {
		if !c.est {
			t.Error("not established")
		}
	}
}

func TestCookiesKeepScaleAndSACK(t *testing.T) {
	w := newTwo(t, func(c *Config) {
		tun := DefaultTuning()
		tun.SynCookies = 2
		c.Tuning = &tun
	})
	c, s := w.connected()
	var ia, ib stream.Info
	w.b.write(s, pattern(300000))
	w.a.write(c, pattern(300000))
	w.run(20*time.Second, func() bool { return len(c.got) == 300000 && len(s.got) == 300000 })
	sameBytes(t, c.got, pattern(300000))
	sameBytes(t, s.got, pattern(300000))
	w.a.e.Info(c.h, &ia)
	w.b.e.Info(s.h, &ib)
	if !ib.SACK || !ib.WindowScale || !ib.Timestamps || ib.SendScale != ia.RecvScale || ib.RecvScale != ia.SendScale {
		t.Errorf("accepted by a cookie: %+v, peer %+v", ib, ia)
	}
	if w.b.e.cookies == 0 {
		t.Error("no cookie was sent")
	}
	if ib.SendMSS < 1448-100 || ib.SendMSS > 1448 {
		t.Errorf("mss %d", ib.SendMSS)
	}
}

func TestHalfOpenLimitBringsCookies(t *testing.T) {
	w := newTwo(t, func(c *Config) { c.Limits.HalfOpen = 2 })
	l := w.b.listen(80, 64)
	// The ACKs of the first are lost: they stay half open.
	w.filter = func(fromA bool, p []byte) bool { return !fromA || p[20+13]&2 != 0 }
	for range 5 {
		w.a.connect(w.b.addr, 80)
	}
	w.run(100*time.Millisecond, nil)
	if w.b.e.halfs.len() != 2 || w.b.e.cookies == 0 {
		t.Fatalf("%d half open, %d cookies", w.b.e.halfs.len(), w.b.e.cookies)
	}
	w.filter = nil
	for _, s := range w.a.socks {
		w.a.write(s, []byte("x"))
	}
	if !w.run(20*time.Second, func() bool { return w.b.e.listeners[1].ready == 5 }) {
		t.Fatalf("%d of 5 wait for accept", w.b.e.listeners[1].ready)
	}
	_ = l
}

func TestDeferAccept(t *testing.T) {
	w := newTwo(t, nil)
	l := w.b.listen(80, 16)
	w.b.must(w.b.e.SetOption(l.h, stream.OptDeferAccept, 5))
	c := w.a.connect(w.b.addr, 80)
	w.run(500*time.Millisecond, nil)
	if !c.est || l.accept {
		t.Fatalf("established %v, acceptable %v", c.est, l.accept)
	}
	w.a.write(c, []byte("now"))
	w.run(time.Second, func() bool { return l.accept })
	s := w.b.accepted(l)
	w.run(time.Second, nil)
	sameBytes(t, s.got, []byte("now"))

	// Without data the connection comes after the time.
	l.accept = false
	w.a.connect(w.b.addr, 80)
	if !w.run(time.Minute, func() bool { return l.accept }) {
		t.Error("a silent connection never became acceptable")
	}
}

func TestReusePortSpreads(t *testing.T) {
	w := newTwo(t, nil)
	var ls []*peerSock
	for range 4 {
		s, u := w.b.sock()
		h, errno := w.b.e.Open(stream.IPv4, u)
		w.b.must(errno)
		s.h = h
		w.b.must(w.b.e.SetOption(h, stream.OptReusePort, 1))
		w.b.must(w.b.e.Bind(h, netip.AddrPortFrom(w.b.addr, 80)))
		w.b.must(w.b.e.Listen(h, 1000))
		ls = append(ls, s)
	}
	for range 200 {
		w.a.connect(w.b.addr, 80)
	}
	w.run(time.Second, nil)
	for k, l := range ls {
		n := 0
		for {
			_, errno := w.b.e.Accept(l.h, 0)
			if errno != 0 {
				break
			}
			n++
		}
		if n < 25 || n > 80 {
			t.Errorf("listener %d got %d of 200", k, n)
		}
	}
}

func TestClosedListenerResetsWhatWaits(t *testing.T) {
	w := newTwo(t, nil)
	l := w.b.listen(80, 16)
	c := w.a.connect(w.b.addr, 80)
	w.run(time.Second, func() bool { return c.est && l.accept })
	w.b.e.Close(l.h)
	w.run(time.Second, func() bool { return c.failed != 0 })
	if c.failed != syscall.ECONNRESET || w.b.e.conns.len() != 0 {
		t.Errorf("failed %v, %d records", c.failed, w.b.e.conns.len())
	}
	w.b.listen(80, 1) // the port is free again
}

func TestResetWhileItWaits(t *testing.T) {
	w := newTwo(t, nil)
	l := w.b.listen(80, 16)
	c := w.a.connect(w.b.addr, 80)
	w.run(time.Second, func() bool { return c.est && l.accept })
	w.a.e.Abort(c.h)
	w.run(time.Second, nil)
	s := w.b.accepted(l) // as in Linux
	w.run(time.Second, nil)
	if s.failed != syscall.ECONNRESET {
		t.Errorf("failed %v", s.failed)
	}
	w.b.e.Close(s.h)
	if n := w.b.e.sockets; n != 1 {
		t.Errorf("%d sockets", n)
	}
}

func TestConnectionLimit(t *testing.T) {
	w := newTwo(t, func(c *Config) { c.Limits.Connections = 3 })
	l := w.b.listen(80, 16)
	a, b := w.a.connect(w.b.addr, 80), w.a.connect(w.b.addr, 80)
	w.run(time.Second, func() bool { return a.est && b.est && w.b.e.listeners[1].ready == 2 })
	if _, errno := w.a.e.Open(stream.IPv4, 0); errno != 0 {
		t.Fatal(errno)
	}
	if _, errno := w.a.e.Open(stream.IPv4, 0); errno != syscall.EMFILE {
		t.Fatalf("a fourth socket: %v", errno)
	}
	w.b.accepted(l)
	w.b.accepted(l)
	if _, errno := w.b.e.Accept(l.h, 0); errno != syscall.EAGAIN {
		t.Errorf("accept: %v", errno)
	}
}
