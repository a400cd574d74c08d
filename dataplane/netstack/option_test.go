// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
)

func TestOptions(t *testing.T) {
	l := newLAN(t, 1, nil)
	a := l.hosts[0]
	k := a.open(stream.IPv6, 0)
	for _, x := range []struct {
		opt      stream.Option
		def, set int
		bad      []int
	}{
		{stream.OptReuseAddr, 0, 1, []int{2}},
		{stream.OptReusePort, 0, 1, []int{-1}},
		{stream.OptKeepAlive, 0, 1, nil},
		{stream.OptKeepIdle, 7200, 10, []int{0, 32768}},
		{stream.OptKeepInterval, 75, 5, []int{0, 32768}},
		{stream.OptKeepCount, 9, 3, []int{0, 128}},
		{stream.OptNoDelay, 0, 1, nil},
		{stream.OptCork, 0, 1, nil},
		{stream.OptQuickAck, 1, 0, nil},
		{stream.OptMaxSeg, 536, 1000, []int{87, 32768}},
		{stream.OptUserTimeout, 0, 3000, []int{-1}},
		{stream.OptSynCount, 6, 2, []int{0, 128}},
		{stream.OptLinger2, 60, 10, nil},
		{stream.OptSendBuffer, defaultBuffer, 65536, nil},
		{stream.OptRecvBuffer, defaultBuffer, 65536, nil},
		{stream.OptNotSentLowat, 0, 16384, nil},
		{stream.OptTOS, 0, 0x10, []int{256}},
		{stream.OptTTL, 64, 7, []int{0, 256}},
		{stream.OptV6Only, 0, 1, nil},
		{stream.OptLinger, -1, 5, []int{-2}},
	} {
		if v, e := a.s.Option(k.h, x.opt); e != 0 || v != x.def {
			t.Errorf("option %d: default %d %v, want %d", x.opt, v, e, x.def)
		}
		for _, v := range x.bad {
			if e := a.s.SetOption(k.h, x.opt, v); e != syscall.EINVAL {
				t.Errorf("option %d: set %d: %v", x.opt, v, e)
			}
		}
		if e := a.s.SetOption(k.h, x.opt, x.set); e != 0 {
			t.Errorf("option %d: set %d: %v", x.opt, x.set, e)
		}
		if v, e := a.s.Option(k.h, x.opt); e != 0 || v != x.set {
			t.Errorf("option %d: %d %v, want %d", x.opt, v, e, x.set)
		}
	}
	if e := a.s.SetOption(k.h, stream.NumStreamOptions, 1); e != syscall.ENOPROTOOPT {
		t.Error(e)
	}
	if _, e := a.s.Option(k.h, stream.NumStreamOptions); e != syscall.ENOPROTOOPT {
		t.Error(e)
	}
	k4 := a.open(stream.IPv4, 0)
	if e := a.s.SetOption(k4.h, stream.OptV6Only, 1); e != syscall.ENOPROTOOPT {
		t.Error(e)
	}
	for opt, want := range map[stream.Option]int{stream.OptSendBuffer: minBuffer, stream.OptRecvBuffer: minBuffer} {
		a.s.SetOption(k4.h, opt, 1)
		if v, _ := a.s.Option(k4.h, opt); v != want {
			t.Errorf("option %d: %d", opt, v)
		}
		a.s.SetOption(k4.h, opt, 1<<30)
		if v, _ := a.s.Option(k4.h, opt); v != maxBuffer {
			t.Errorf("option %d: %d", opt, v)
		}
	}
}

// What is set shows on the wire, and accepted sockets inherit it.
func TestOptionsApply(t *testing.T) {
	l := newLAN(t, 2, nil)
	a, b := l.hosts[0], l.hosts[1]
	to := netip.AddrPortFrom(addr4(2), 80)
	lis := b.listen(stream.IPv4, to, 16)
	for opt, v := range map[stream.Option]int{
		stream.OptTTL: 7, stream.OptTOS: 0x20, stream.OptNoDelay: 1, stream.OptKeepIdle: 11, stream.OptMaxSeg: 600,
	} {
		if e := b.s.SetOption(lis.h, opt, v); e != 0 {
			t.Fatal(e)
		}
	}
	b.keep = true
	cl, sv := l.join(a, b, lis, stream.IPv4, to, 65536)
	b.sent = nil
	b.put(sv, []byte("x"))
	l.until("byte", time.Second, func() bool { return cl.p.Rx.Len() == 1 })
	if ip := wire.IPv4(b.sent[0]); ip.TTL() != 7 || ip.TOS() != 0x20 {
		t.Errorf("ttl %d tos %#x", ip.TTL(), ip.TOS())
	}
	if v, _ := b.s.Option(sv.h, stream.OptKeepIdle); v != 11 {
		t.Errorf("keep idle %d", v)
	}
	a.keep = true
	a.put(cl, make([]byte, 10000))
	l.until("bytes", time.Second, func() bool { return sv.p.Rx.Len() == 10000 })
	for _, p := range a.sent {
		if n := payloadOf(p); n > 600 {
			t.Errorf("segment of %d bytes with an MSS of 600", n)
		}
	}
	// Nagle holds a second small write back while the first is in flight,
	// TCP_NODELAY lets it go.
	for _, nodelay := range []int{0, 1} {
		a.s.SetOption(cl.h, stream.OptNoDelay, nodelay)
		l.quiet()
		a.silent, a.sent = true, nil
		a.put(cl, []byte("a"))
		l.turn()
		a.put(cl, []byte("b"))
		l.turn()
		if len(a.sent) != 1+nodelay {
			t.Errorf("nodelay %d: %d segments", nodelay, len(a.sent))
		}
		a.silent = false
		l.until("acknowledged", 3*time.Second, func() bool { l.turn(); return a.s.get(cl.h).flow.unacked() == 0 })
	}
}

func TestReusePort(t *testing.T) {
	l := newLAN(t, 1, nil)
	a := l.hosts[0]
	for i := range 2 {
		k := a.open(stream.IPv4, 0)
		a.s.SetOption(k.h, stream.OptReusePort, 1)
		if e := a.s.Bind(k.h, self4); e != 0 {
			t.Fatalf("bind %d: %v", i, e)
		}
		if e := a.s.Listen(k.h, 1); e != 0 {
			t.Fatalf("listen %d: %v", i, e)
		}
	}
	k := a.open(stream.IPv4, 0)
	if e := a.s.Bind(k.h, self4); e != syscall.EADDRINUSE {
		t.Error(e)
	}
}

// A server comes back to its port while connections of its last life exist.
func TestReuseAddr(t *testing.T) {
	l := newLAN(t, 2, nil)
	a, b := l.hosts[0], l.hosts[1]
	to := netip.AddrPortFrom(addr4(2), 80)
	serve := func() *sock {
		k := b.open(stream.IPv4, 0)
		b.s.SetOption(k.h, stream.OptReuseAddr, 1)
		if e := b.s.Bind(k.h, to); e != 0 {
			t.Fatalf("bind: %v", e)
		}
		if e := b.s.Listen(k.h, 4); e != 0 {
			t.Fatalf("listen: %v", e)
		}
		return k
	}
	lis := serve()
	_, live := l.join(a, b, lis, stream.IPv4, to, 64)
	c, closed := l.join(a, b, lis, stream.IPv4, to, 64)
	b.s.Close(closed.h) // to TIME_WAIT
	l.until("eof", time.Second, c.p.RxEOF.Load)
	a.s.Close(c.h)
	b.s.Close(lis.h)
	l.join(a, b, serve(), stream.IPv4, to, 64)
	if live.failed != 0 {
		t.Error(live.failed)
	}
}

func TestInfo(t *testing.T) {
	l := newLAN(t, 2, nil)
	a, b, cl, sv := l.pairOf(65536)
	a.put(cl, make([]byte, 5000))
	l.until("bytes", time.Second, func() bool { return sv.p.Rx.Len() == 5000 })
	l.quiet()
	var c, s stream.Info
	a.s.Info(cl.h, &c)
	b.s.Info(sv.h, &s)
	if c.State != 1 || s.State != 1 {
		t.Errorf("states %d %d", c.State, s.State)
	}
	if c.BytesAcked != 5000 || s.BytesReceived != 5000 || c.SendQueue != 0 || c.Unacked != 0 {
		t.Errorf("%+v %+v", c, s)
	}
	if !c.Timestamps || !c.SACK || !c.WindowScale || c.RecvScale == 0 || c.SendScale == 0 || c.SendMSS != 1398 || c.MTU != 1450 {
		t.Errorf("%+v", c)
	}
	if c.Cwnd == 0 || c.RTO == 0 || c.SegsOut < 3 || c.SegsIn == 0 {
		t.Errorf("%+v", c)
	}
	b.shut(sv)
	l.until("eof", time.Second, cl.p.RxEOF.Load)
	a.s.Info(cl.h, &c)
	if c.State != 8 { // CLOSE_WAIT
		t.Errorf("state %d", c.State)
	}
	k := a.open(stream.IPv4, 0)
	if a.s.Info(k.h, &c); c.State != 7 {
		t.Errorf("state %d", c.State)
	}
	lis := a.listen(stream.IPv4, self4, 1)
	if a.s.Info(lis.h, &c); c.State != 10 {
		t.Errorf("state %d", c.State)
	}
}
