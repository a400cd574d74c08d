// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
)

func TestConnectionLimit(t *testing.T) {
	l := newLAN(t, 2, nil)
	a, b := l.hosts[0], l.hosts[1]
	b.s.cfg.Limits.Connections = 3
	to := netip.AddrPortFrom(addr4(2), 80)
	lis := b.listen(stream.IPv4, to, 2)
	for range 8 {
		a.put(a.connect(stream.IPv4, to, 64), []byte("x"))
	}
	l.quiet()
	var got []*sock
	for range 8 {
		if k := b.accept(lis, 64); k != nil {
			got = append(got, k)
		}
	}
	if len(got) != 2 || b.s.Sockets() != 3 {
		t.Fatalf("%d accepted, %d sockets", len(got), b.s.Sockets())
	}
	if _, e := b.s.Accept(lis.h, 1); e != syscall.EMFILE {
		t.Errorf("accept: %v", e)
	}
	if _, e := b.s.Open(stream.IPv4, 1); e != syscall.EMFILE {
		t.Errorf("open: %v", e)
	}
	l.until("peers retry", 3*time.Second, func() bool { b.stat.Publish(); return b.stat.Drops(stat.DropConnectionLimit) > 0 })
	// A socket that goes makes the listener acceptable again.
	lis.acceptable = 0
	b.s.Abort(got[0].h)
	l.until("acceptable", time.Second, func() bool { return lis.acceptable > 0 })
	if b.accept(lis, 64) == nil {
		t.Error("not accepted")
	}
}

func TestOrphanLimit(t *testing.T) {
	l := newLAN(t, 2, func(c *Config) { c.TimeWait = time.Minute; c.Limits.Connections = 8 })
	a, b := l.hosts[0], l.hosts[1]
	to := netip.AddrPortFrom(addr4(2), 80)
	lis := b.listen(stream.IPv4, to, 16)
	for range 20 {
		c, s := l.join(a, b, lis, stream.IPv4, to, 0)
		a.s.Close(c.h)
		l.until("eof", time.Second, s.p.RxEOF.Load)
		b.s.Close(s.h)
	}
	l.quiet()
	if n := a.s.Usage().Orphans; n != 8 || len(a.s.flows) != 8 {
		t.Errorf("%d orphans, %d flows", n, len(a.s.flows))
	}
}

func TestHalfOpenLimit(t *testing.T) {
	l := newLAN(t, 1, func(c *Config) { c.Limits.HalfOpen = 100 })
	a := l.hosts[0]
	want := []int{50, 25, 16, 5}
	var ks []*sock
	for i, n := range []int{80, 80, 80, 5} {
		k := a.listen(stream.IPv4, netip.AddrPortFrom(addr4(1), uint16(80+i)), n)
		if got := a.s.get(k.h).backlog; got != want[i] {
			t.Errorf("listener %d: backlog %d, want %d", i, got, want[i])
		}
		ks = append(ks, k)
	}
	if u := a.s.Usage().HalfOpen; u != 96 {
		t.Errorf("usage %d", u)
	}
	a.s.Close(ks[0].h)
	if a.s.Listen(ks[2].h, 80); a.s.get(ks[2].h).backlog != 35 {
		t.Errorf("backlog %d after room was made", a.s.get(ks[2].h).backlog)
	}
	for _, k := range ks[1:] {
		a.s.Close(k.h)
	}
	if u := a.s.Usage(); u.HalfOpen != 0 || u.Sockets != 0 {
		t.Errorf("usage %+v", u)
	}
}

// A listener that answers with cookies goes on for ever, also if each of its
// connections is made by a segment with data: gVisor charges that to the listener.
func TestCookiesWithData(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 1, nil)
	a := l.hosts[0]
	a.keep = true
	lis := a.listen(stream.IPv4, self4, 1)
	deliver := func(from netip.AddrPort, seq, ack uint32, flags uint8, payload []byte) {
		a.s.Deliver(segmentOf(from, self4, seq, ack, flags, nil, payload), false)
		a.s.EndBurst()
	}
	synAck := func(from netip.AddrPort) wire.TCP {
		a.sent = nil
		deliver(from, 99, 0, wire.TCPSyn, nil)
		var answer wire.TCP
		l.until("SYN-ACK", 5*time.Second, func() bool {
			for _, p := range a.sent {
				if t := wire.TCP(p[20:]); t.DstPort() == from.Port() && t.Flags()&wire.TCPSyn != 0 {
					answer = t
				}
			}
			return answer != nil
		})
		return answer
	}
	// This one is never made. From here on there are cookies.
	synAck(netip.AddrPortFrom(peer4.Addr(), 999))
	data := make([]byte, 1400)
	for i := range 1500 { // more than a receive buffer, by far
		from := netip.AddrPortFrom(peer4.Addr(), uint16(1000+i))
		ack := synAck(from).Seq() + 1
		var c *sock
		deliver(from, 100, ack, wire.TCPAck, data)
		l.until(fmt.Sprint("accept ", i), 5*time.Second, func() bool { c = a.accept(lis, 4096); return c != nil })
		if i%100 == 0 {
			deliver(from, 100, ack, wire.TCPAck, data)
			l.until("the data", 5*time.Second, func() bool { return c.p.Rx.Len() == len(data) })
		}
		a.s.Abort(c.h)
	}
}

// The same over the loopback interface, which is gVisor's own.
func TestCookiesOnLoopback(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 1, nil)
	a := l.hosts[0]
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 80)
	lis := a.listen(stream.IPv4, to, 1)
	if v, e := a.s.Option(lis.h, stream.OptRecvBuffer); v != defaultBuffer || e != 0 {
		t.Errorf("receive buffer of a listener: %d, %v", v, e)
	}
	if e := a.s.SetOption(lis.h, stream.OptRecvBuffer, 64<<10); e != 0 {
		t.Fatal(e)
	}
	if v, e := a.s.Option(lis.h, stream.OptRecvBuffer); v != 64<<10 || e != 0 {
		t.Errorf("receive buffer of a listener: %d, %v", v, e)
	}
	data := make([]byte, 32<<10)
	for range 10 {
		const burst = 16
		for range burst {
			a.put(a.connect(stream.IPv4, to, 64<<10), data)
		}
		l.until("all of a burst", 30*time.Second, func() bool {
			for a.accept(lis, 64<<10) != nil {
			}
			n := 0
			for _, k := range a.socks {
				n += k.p.Rx.Len()
			}
			return n == burst*len(data)
		})
		for user, k := range a.socks {
			if k != lis {
				a.s.Abort(k.h)
				delete(a.socks, user)
			}
		}
	}
}

// Beyond the limit senders stall, both the peers and our own; when somebody
// reads everything goes on, and every byte arrives.
func TestBufferLimit(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2, func(c *Config) { c.Limits.BufferBytes = 32 << 10 })
	a, b, cl, sv := l.pairOf(4096)
	up, down := newBulk(a, cl, b, sv, 1<<20, 1), newBulk(b, sv, a, cl, 1<<20, 2)
	// Nobody reads at b.
	fill := time.Now().Add(300 * time.Millisecond)
	for time.Now().Before(fill) {
		if x, _ := cl.p.Tx.Reserve(); len(x) >= 8 && up.sent < up.n {
			m := min(len(x)&^7, up.n-up.sent)
			up.rng.Read(x[:m])
			cl.p.Tx.Publish(m)
			up.sent += m
			a.s.TxReady(cl.h)
		}
		l.turn()
	}
	l.turn()
	if u := b.s.Usage().BufferBytes; u < 16<<10 || u > 64<<10 {
		t.Errorf("receiver holds %d bytes", u)
	}
	if u := a.s.Usage().BufferBytes; u < 16<<10 || u > 300<<10 {
		t.Errorf("sender holds %d bytes", u)
	}
	if len(a.s.stalled) != 1 {
		t.Errorf("%d stalled", len(a.s.stalled))
	}
	if drops(b)["buffer_limit"] == 0 {
		t.Error("no drop was counted")
	}
	l.carry(20*time.Second, up, down)
	l.quiet()
	for _, h := range l.hosts {
		if h.s.usedRx != 0 || h.s.usedTx != 0 {
			t.Errorf("%d and %d bytes charged at the end", h.s.usedRx, h.s.usedTx)
		}
	}
}

func TestTxQueueLimit(t *testing.T) {
	l := newLAN(t, 1, nil)
	a := l.hosts[0]
	for i := range txQueuePackets + 10 {
		a.s.Deliver(icmp4(addr4(2), addr4(1), wire.ICMPv4Echo, 0, uint32(i), nil), false)
	}
	if n := drops(a)["tx_queue"]; n != 10 {
		t.Errorf("%d dropped", n)
	}
	n := 0
	for a.s.Busy() {
		if m := a.s.Transmit(a, 100); m > 100 {
			t.Fatalf("%d of a budget of 100", m)
		} else {
			n += m
		}
	}
	if n != txQueuePackets || a.s.link.bytes != 0 {
		t.Errorf("%d sent, %d bytes left", n, a.s.link.bytes)
	}
	big := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(make([]byte, 60000))})
	for range 300 {
		var pl stack.PacketBufferList
		pl.PushBack(big)
		a.s.link.WritePackets(pl)
	}
	if a.s.link.bytes > txQueueBytes || a.s.link.n.Load() != txQueueBytes/60000 {
		t.Errorf("%d packets, %d bytes", a.s.link.n.Load(), a.s.link.bytes)
	}
}

func TestTooBig(t *testing.T) {
	l := newLAN(t, 1, nil)
	a := l.hosts[0]
	l.path.Max = 100
	a.s.Deliver(icmp4(addr4(2), addr4(1), wire.ICMPv4Echo, 0, 1, make([]byte, 500)), false)
	l.quiet()
	if d := drops(a); d["too_big"] != 1 {
		t.Errorf("drops %v", d)
	}
	// No path: the Output has counted.
	l.path.Max = 0
	a.s.Deliver(icmp4(addr4(2), addr4(1), wire.ICMPv4Echo, 0, 1, nil), false)
	l.quiet()
	if d := drops(a); len(d) != 1 || a.stat.Get(stat.PacketsOut) != 0 {
		t.Errorf("drops %v", d)
	}
}

func TestPanic(t *testing.T) {
	defer SetPanicHook(nil)
	l := newLAN(t, 2, nil)
	a, b, cl, sv := l.pairOf(4096)
	SetPanicHook(func(p []byte) {
		if p[19] == 2 {
			panic("packet of doom")
		}
	})
	a.put(cl, []byte("x"))
	l.until("death", time.Second, func() bool { _, dead := b.s.Dead(); return dead })
	why, _ := b.s.Dead()
	if !strings.Contains(why, "packet of doom") {
		t.Error(why)
	}
	if n := drops(b)["stack_panic"]; n != 1 {
		t.Errorf("%d counted", n)
	}
	// Nothing enters it again.
	b.s.Deliver(segmentOf(peer4, self4, 1, 0, wire.TCPSyn, nil, nil), false)
	if d := drops(b); d["container_gone"] == 0 {
		t.Errorf("drops %v", d)
	}
	b.s.EndBurst()
	if b.s.Poll(b, 1) || b.s.Busy() || b.s.Transmit(b, 1) != 0 {
		t.Error("a dead stack works")
	}
	if _, e := b.s.Open(stream.IPv4, 1); e != syscall.ENETDOWN {
		t.Error(e)
	}
	for name, e := range map[string]syscall.Errno{
		"bind":     b.s.Bind(sv.h, self4),
		"listen":   b.s.Listen(sv.h, 1),
		"connect":  b.s.Connect(sv.h, peer4),
		"shutdown": b.s.Shutdown(sv.h, stream.ShutWrite),
		"option":   b.s.SetOption(sv.h, stream.OptNoDelay, 1),
	} {
		if e != syscall.ENETDOWN {
			t.Errorf("%s: %v", name, e)
		}
	}
	b.s.TxReady(sv.h)
	b.s.RxRoom(sv.h)
	b.s.Close(sv.h)
	b.s.Undeliverable(segmentOf(peer4, self4, 1, 0, wire.TCPSyn, nil, nil))
	b.s.Stop(b)
	// The neighbour lives.
	if _, dead := a.s.Dead(); dead {
		t.Error("contagion")
	}
	t.Run("timer", func(t *testing.T) {
		s := newLAN(t, 1, nil).hosts[0].s
		s.clock.AfterFunc(0, func() { panic("alarm") })
		for end := time.Now().Add(time.Second); ; runtime.Gosched() {
			if why, dead := s.Dead(); dead {
				if !strings.Contains(why, "alarm") {
					t.Error(why)
				}
				break
			}
			if time.Now().After(end) {
				t.Fatal("the stack lives")
			}
		}
	})
	t.Run("poll", func(t *testing.T) {
		l := newLAN(t, 1, nil)
		a := l.hosts[0]
		k := a.open(stream.IPv4, 0)
		a.s.get(k.h).ep = nil
		if e := a.s.Bind(k.h, netip.AddrPortFrom(addr4(1), 1)); e != syscall.ENETDOWN {
			t.Error(e)
		}
		if _, dead := a.s.Dead(); !dead {
			t.Error("the stack lives")
		}
	})
}

func TestStop(t *testing.T) {
	l := newLAN(t, 2, nil)
	a, b, cl, sv := l.pairOf(4096)
	to := netip.AddrPortFrom(addr4(2), 80)
	waiting := a.connect(stream.IPv4, to, 0)
	l.until("established", time.Second, func() bool { return waiting.established })
	l.quiet()
	b.s.Stop(b)
	b.s.Stop(b)
	l.until("resets", time.Second, func() bool { return cl.failed != 0 && waiting.failed != 0 })
	if cl.failed != syscall.ECONNRESET || waiting.failed != syscall.ECONNRESET || sv.failed != 0 {
		t.Errorf("%v %v %v", cl.failed, waiting.failed, sv.failed)
	}
	if _, e := b.s.Open(stream.IPv4, 1); e != syscall.ENETDOWN {
		t.Error(e)
	}
}

func TestStopLeaksNothing(t *testing.T) {
	cycle := func() {
		l := newLAN(t, 2, nil)
		a, b, cl, _ := l.pairOf(4096)
		a.connect(stream.IPv4, netip.AddrPortFrom(addr4(9), 1), 0)
		a.put(cl, []byte("x"))
		l.turn()
		a.s.Stop(a)
		b.s.Stop(nil)
	}
	// settle waits until there are at most so many goroutines, or, for 0,
	// until what earlier tests stopped has ended.
	settle := func(most int) int {
		n, same := runtime.NumGoroutine(), 0
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			m := runtime.NumGoroutine()
			if same++; m != n {
				n, same = m, 0
			}
			if n <= most || most == 0 && same > 50 {
				break
			}
		}
		return n
	}
	before := settle(0)
	for range 50 {
		cycle()
	}
	if after := settle(before); after > before {
		buf := make([]byte, 1<<16)
		os.Stderr.Write(buf[:runtime.Stack(buf, true)])
		t.Errorf("%d goroutines before, %d after", before, after)
	}
}
