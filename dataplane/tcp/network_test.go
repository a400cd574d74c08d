// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
)

// icmp4 makes an ICMP error about the packet q, from addr.
func icmp4(from, to netip.Addr, typ, code uint8, mtu int, q []byte) []byte {
	q = q[:min(len(q), 28)]
	b := make([]byte, wire.IPv4Len+wire.ICMPLen+len(q))
	wire.PutIPv4(b, from, to, wire.ProtoICMP, 64, wire.ICMPLen+len(q))
	m := b[wire.IPv4Len:]
	m[0], m[1] = typ, code
	binary.BigEndian.PutUint16(m[6:], uint16(mtu))
	copy(m[wire.ICMPLen:], q)
	wire.IPv4(b).SetChecksum()
	binary.BigEndian.PutUint16(m[2:], wire.Sum(0).Add(m).Checksum())
	return b
}

func TestPathMTUByICMP(t *testing.T) {
	w := newTwo(t, nil)
	c, s := w.connected()
	w.filter = func(fromA bool, p []byte) bool {
		if fromA && len(p) > 1000 {
			w.a.e.Deliver(icmp4(netip.MustParseAddr("10.0.0.9"), w.a.addr, 3, 4, 1000, p), false)
			return false
		}
		return true
	}
	data := pattern(100000)
	w.a.write(c, data)
	start := w.now
	w.run(time.Minute, func() bool { return len(s.got) == len(data) })
	sameBytes(t, s.got, data)
	if d := w.now - start; d > time.Second {
		t.Errorf("took %v", d)
	}
	var i stream.Info
	w.a.e.Info(c.h, &i)
	if i.MTU != 1000 || i.SendMSS != 1000-52 {
		t.Errorf("mtu %d, mss %d", i.MTU, i.SendMSS)
	}
	if i.Cwnd < 10 {
		t.Errorf("cwnd %d: a report of the MTU is no sign of congestion", i.Cwnd)
	}
}

func TestForgedICMPChangesNothing(t *testing.T) {
	w := newTwo(t, nil)
	c, _ := w.connected()
	var last []byte
	w.filter = func(fromA bool, p []byte) bool {
		if fromA {
			last = bytes.Clone(p)
		}
		return false
	}
	w.a.write(c, []byte("in flight"))
	w.run(time.Millisecond, nil)
	router := netip.MustParseAddr("10.0.0.9")
	forged := bytes.Clone(last)
	binary.BigEndian.PutUint32(forged[24:], binary.BigEndian.Uint32(last[24:])+1000)
	w.a.e.Deliver(icmp4(router, w.a.addr, 3, 4, 1000, forged), false) // not in flight
	w.a.e.Deliver(icmp4(router, w.a.addr, 3, 4, 68, last), false)     // below the minimum
	w.a.e.Deliver(icmp4(router, w.a.addr, 3, 4, 0, last), false)
	w.a.e.Deliver(icmp4(router, w.a.addr, 3, 4, 1500, last), false) // not lower
	w.a.e.Deliver(icmp4(router, w.a.addr, 3, 3, 0, last), false)    // port unreachable: a soft error now
	var i stream.Info
	w.a.e.Info(c.h, &i)
	if i.MTU != 1500 || i.State != 1 || c.failed != 0 {
		t.Errorf("mtu %d, state %d, failed %v", i.MTU, i.State, c.failed)
	}
	w.a.e.stat.Publish()
	if f, m := w.a.st.Drops(stat.DropICMPForged), w.a.st.Drops(stat.DropICMPMTU); f != 1 || m != 3 {
		t.Errorf("%d forged, %d with a bad mtu", f, m)
	}
	// It is the reason given when the connection times out.
	if w.run(time.Hour, func() bool { return c.failed != 0 }); c.failed != syscall.ECONNREFUSED {
		t.Errorf("failed %v", c.failed)
	}
}

func TestUnreachableEndsAnOpen(t *testing.T) {
	w := newTwo(t, nil)
	var syn []byte
	w.filter = func(fromA bool, p []byte) bool { syn = p; return false }
	c := w.a.connect(w.b.addr, 80)
	w.run(time.Millisecond, nil)
	w.a.e.Deliver(icmp4(netip.MustParseAddr("10.0.0.9"), w.a.addr, 3, 0, 0, syn), false)
	if w.run(time.Millisecond, nil); c.failed != syscall.ENETUNREACH {
		t.Errorf("failed %v", c.failed)
	}
	d := w.a.connect(w.b.addr, 80)
	w.run(time.Millisecond, nil)
	w.a.e.Undeliverable(syn)
	if w.run(time.Millisecond, nil); d.failed != syscall.EHOSTUNREACH {
		t.Errorf("failed %v", d.failed)
	}
	// Linux lets such a socket try again.
	w.filter = nil
	w.b.listen(80, 1)
	d.failed = 0
	if errno := w.a.e.Connect(d.h, netip.AddrPortFrom(w.b.addr, 80)); errno != syscall.EINPROGRESS {
		t.Fatal(errno)
	}
	if !w.run(time.Second, func() bool { return d.est }) {
		t.Error("not established")
	}
}

func TestBlackHoleIsFoundAndLeft(t *testing.T) {
	w := newTwo(t, nil)
	c, s := w.connected()
	hole := 1200
	w.filter = func(fromA bool, p []byte) bool { return len(p) <= hole }
	data := pattern(50000)
	w.a.write(c, data)
	if !w.run(time.Minute, func() bool { return len(s.got) == len(data) }) {
		t.Fatalf("%d of %d bytes through a black hole", len(s.got), len(data))
	}
	var i stream.Info
	w.a.e.Info(c.h, &i)
	if i.MTU >= 1200 {
		t.Fatalf("mtu %d", i.MTU)
	}
	// Later the path is a better one.
	hole = 1500
	for k := range 200 {
		w.a.write(c, pattern(60000))
		w.run(5*time.Second, nil)
		if w.a.e.Info(c.h, &i); i.MTU == 1500 {
			t.Logf("after %v", time.Duration(k)*5*time.Second)
			break
		}
	}
	if i.MTU != 1500 {
		t.Errorf("mtu %d for ever", i.MTU)
	}
}

func TestEcho(t *testing.T) {
	w := newTwo(t, nil)
	req := make([]byte, 28+33)
	wire.PutIPv4(req, w.b.addr, w.a.addr, wire.ProtoICMP, 64, len(req)-20)
	req[20] = 8
	copy(req[28:], "what comes back is what was sent!")
	binary.BigEndian.PutUint16(req[22:], wire.Sum(0).Add(req[20:]).Checksum())
	w.a.e.Deliver(req, false)
	if w.a.e.Transmit(w.a, 10) != 1 {
		t.Fatal("no answer")
	}
	got := wire.IPv4(w.a.out[0])
	if !got.ChecksumOK() || got.Dst() != w.b.addr || got[20] != 0 || wire.Sum(0).Add(got[20:]).Fold() != 0xffff || !bytes.Equal(got[28:], req[28:]) {
		t.Errorf("% x", got)
	}
}

func TestOwnAddressesLoopBack(t *testing.T) {
	w := newTwo(t, nil)
	for _, to := range []string{"127.0.0.1", "127.3.2.1", "10.0.0.1"} {
		l, u := w.a.sock()
		h, errno := w.a.e.Open(stream.IPv4, u)
		w.a.must(errno)
		l.h = h
		w.a.must(w.a.e.Bind(h, netip.MustParseAddrPort("0.0.0.0:90")))
		w.a.must(w.a.e.Listen(h, 4))
		c := w.a.connect(netip.MustParseAddr(to), 90)
		if !w.run(time.Second, func() bool { return c.est && l.accept }) {
			t.Fatalf("%s: not established", to)
		}
		s := w.a.accepted(l)
		w.a.write(c, pattern(500000))
		w.run(time.Minute, func() bool { return len(s.got) == 500000 })
		sameBytes(t, s.got, pattern(500000))
		w.a.e.Abort(c.h)
		w.run(time.Second, nil)
		w.a.e.Close(s.h)
		w.a.e.Close(l.h)
	}
	if len(w.queue) != 0 {
		t.Error("packets left the host")
	}
}

func TestIPv6(t *testing.T) {
	w := &two{t: t, now: time.Hour, delay: time.Millisecond, check: true}
	w.a, w.b = newPeer(t, "fd00::1/64", nil), newPeer(t, "fd00::2/64", nil)
	l, u := w.b.sock()
	h, errno := w.b.e.Open(stream.IPv6, u)
	w.b.must(errno)
	l.h = h
	w.b.must(w.b.e.Bind(h, netip.MustParseAddrPort("[::]:80")))
	w.b.must(w.b.e.Listen(h, 4))
	c, u := w.a.sock()
	h, errno = w.a.e.Open(stream.IPv6, u)
	w.a.must(errno)
	c.h = h
	w.a.attach(c)
	if errno := w.a.e.Connect(h, netip.MustParseAddrPort("[fd00::2]:80")); errno != syscall.EINPROGRESS {
		t.Fatal(errno)
	}
	if !w.run(time.Second, func() bool { return c.est && l.accept }) {
		t.Fatal("not established")
	}
	s := w.b.accepted(l)
	w.a.write(c, pattern(200000))
	w.run(time.Minute, func() bool { return len(s.got) == 200000 })
	sameBytes(t, s.got, pattern(200000))
	if r, errno := w.b.e.Remote(s.h); errno != 0 || r.Addr() != w.a.addr {
		t.Errorf("remote %v, %v", r, errno)
	}
}

func TestLocalPathTakesLargeSegments(t *testing.T) {
	w := newTwo(t, nil)
	w.a.path, w.b.path = stream.Path{Max: 65535}, stream.Path{Max: 65535}
	w.a.ring, w.b.ring = 1<<20, 1<<20
	w.unsummed = true // there are no checksums on such a path
	l := w.b.listen(80, 4)
	c := w.a.connect(w.b.addr, 80)
	large := 0
	w.filter = func(fromA bool, p []byte) bool {
		if len(p) > 1500 {
			large++
		}
		return true
	}
	w.run(time.Second, func() bool { return c.est && l.accept })
	s := w.b.accepted(l)
	data := pattern(4 << 20)
	w.a.write(c, data)
	w.run(time.Minute, func() bool { return len(s.got) == len(data) })
	sameBytes(t, s.got, data)
	if large < 50 {
		t.Errorf("%d large segments", large)
	}
}

func TestTimeWaitGivesWay(t *testing.T) {
	w := newTwo(t, nil)
	l := w.b.listen(80, 4)
	port := uint16(5000)
	open := func() *peerSock {
		c, u := w.a.sock()
		h, errno := w.a.e.Open(stream.IPv4, u)
		w.a.must(errno)
		c.h = h
		w.a.must(w.a.e.SetOption(h, stream.OptReuseAddr, 1))
		w.a.must(w.a.e.Bind(h, netip.AddrPortFrom(w.a.addr, port)))
		w.a.attach(c)
		if errno := w.a.e.Connect(h, netip.AddrPortFrom(w.b.addr, 80)); errno != syscall.EINPROGRESS {
			t.Fatal(errno)
		}
		return c
	}
	for k := range 4 {
		l.accept = false
		c := open()
		if !w.run(time.Second, func() bool { return c.est && l.accept }) {
			t.Fatalf("round %d: not established, failed %v", k, c.failed)
		}
		s := w.b.accepted(l)
		// Now one side is the first to close, now the other.
		first, second, pf, ps := c, s, w.a, w.b
		if k%2 == 0 {
			first, second, pf, ps = s, c, w.b, w.a
		}
		pf.e.Close(first.h)
		w.run(100*time.Millisecond, nil)
		ps.e.Close(second.h)
		w.run(1500*time.Millisecond, nil)
		if w.a.e.waits.len()+w.b.e.waits.len() == 0 {
			t.Fatal("nothing in TIME-WAIT")
		}
	}
}
