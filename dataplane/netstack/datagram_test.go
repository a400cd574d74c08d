// SPDX-License-Identifier: Apache-2.0

package netstack

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

// dgram opens a datagram socket, bound unless at is the zero value.
func (h *host) dgram(f stream.Family, p stream.Protocol, at netip.AddrPort) *sock {
	h.l.t.Helper()
	h.user++
	k := &sock{}
	h.socks[h.user] = k
	var e syscall.Errno
	if k.h, e = h.s.OpenDatagram(f, p, h.user); e != 0 {
		h.l.t.Fatalf("open: %v", e)
	}
	if at.IsValid() {
		if e := h.s.Bind(k.h, at); e != 0 {
			h.l.t.Fatalf("bind %v: %v", at, e)
		}
	}
	return k
}

// told is one thing that Receive gave.
type told struct {
	stream.Message
	payload []byte
}

// all returns everything that waits for a socket.
func (h *host) all(k *sock) (list []told) {
	h.l.t.Helper()
	for {
		var r told
		b := make([]byte, 70000)
		n, e := h.s.Receive(k.h, &r.Message, b)
		if e == syscall.EAGAIN {
			return list
		}
		if e != 0 {
			h.l.t.Fatalf("receive: %v", e)
		}
		r.payload = b[:min(n, len(b))]
		list = append(list, r)
	}
}

func (h *host) sendTo(k *sock, to netip.AddrPort, payload []byte) {
	h.l.t.Helper()
	if e := h.s.Send(k.h, &stream.Message{Remote: to}, payload); e != 0 {
		h.l.t.Fatalf("send to %v: %v", to, e)
	}
}

// Datagrams of every kind cross the network, in fragments if need be.
func TestDatagrams(t *testing.T) {
	l := newLAN(t, 3, nil)
	a, b, c := l.hosts[0], l.hosts[1], l.hosts[2]
	for _, v := range []struct {
		f           stream.Family
		from, to    netip.Addr
		group, most netip.Addr
	}{
		{stream.IPv4, addr4(1), addr4(2), netip.MustParseAddr("239.9.9.9"), addr4(255)},
		{stream.IPv6, addr6(1), addr6(2), netip.MustParseAddr("ff05::99"), netip.MustParseAddr("ff02::1")},
	} {
		zero := netip.IPv4Unspecified()
		if v.f == stream.IPv6 {
			zero = netip.IPv6Unspecified()
		}
		src := a.dgram(v.f, stream.UDP, netip.AddrPortFrom(zero, 1000))
		dst := b.dgram(v.f, stream.UDP, netip.AddrPortFrom(zero, 2000))
		third := c.dgram(v.f, stream.UDP, netip.AddrPortFrom(zero, 2000))
		a.s.SetOption(src.h, stream.OptBroadcast, 1)
		for _, n := range []int{0, 1, 1400, 9000, 65507} {
			payload := bytes.Repeat([]byte{byte(n)}, n)
			a.sendTo(src, netip.AddrPortFrom(v.to, 2000), payload)
			l.quiet()
			got := b.all(dst)
			if len(got) != 1 || !bytes.Equal(got[0].payload, payload) || got[0].Remote != netip.AddrPortFrom(v.from, 1000) || got[0].Local != v.to {
				t.Errorf("%d bytes to %v: %d datagrams", n, v.to, len(got))
			}
		}
		if dst.readable == 0 {
			t.Error("readable was not reported")
		}
		if e := b.s.Join(dst.h, v.group); e != 0 {
			t.Fatal(e)
		}
		a.sendTo(src, netip.AddrPortFrom(v.group, 2000), []byte("group"))
		a.sendTo(src, netip.AddrPortFrom(v.most, 2000), []byte("all"))
		l.quiet()
		if got := b.all(dst); len(got) != 2 || got[0].Local != v.group || got[1].Local != v.most {
			t.Errorf("the member got %+v", got)
		}
		if got := c.all(third); len(got) != 1 || got[0].Local != v.most {
			t.Errorf("who is no member got %+v", got)
		}
		a.s.Close(src.h)
		b.s.Close(dst.h)
		c.s.Close(third.h)
		for _, h := range []*host{a, b, c} {
			if d := drops(h); d["l4_checksum"] != 0 || d["fragment_invalid"] != 0 {
				t.Errorf("drops %v", d)
			}
		}
	}
}

// A closed port, told across the network.
func TestDatagramRefused(t *testing.T) {
	l := newLAN(t, 2, nil)
	a, b := l.hosts[0], l.hosts[1]
	k := a.dgram(stream.IPv6, stream.UDP, netip.AddrPort{})
	to := netip.AddrPortFrom(netip.AddrFrom16(addr4(2).As16()), 9)
	if e := a.s.Connect(k.h, to); e != 0 {
		t.Fatal(e)
	}
	if e := a.s.Send(k.h, &stream.Message{}, []byte("x")); e != 0 {
		t.Fatal(e)
	}
	l.quiet()
	if got := a.all(k); len(got) != 1 || got[0].Err != syscall.ECONNREFUSED || got[0].Remote != to {
		t.Errorf("%+v", got)
	}
	if d := drops(b); d["no_socket"] != 1 {
		t.Errorf("drops %v", d)
	}
}

// gVisor answers the pings of our ping sockets, also in fragments, and raw
// sockets see what it answers.
func TestPingSockets(t *testing.T) {
	l := newLAN(t, 2, nil)
	a, b := l.hosts[0], l.hosts[1]
	for _, v := range []struct {
		f    stream.Family
		to   netip.Addr
		kind byte
	}{{stream.IPv4, addr4(2), 8}, {stream.IPv6, addr6(2), 128}} {
		raw := b.dgram(v.f, stream.Raw, netip.AddrPort{})
		for _, n := range []int{8, 64, 9000} {
			k := a.dgram(v.f, stream.Ping, netip.AddrPort{})
			m := make([]byte, n)
			m[0] = v.kind
			binary.BigEndian.PutUint16(m[6:], uint16(n))
			a.sendTo(k, netip.AddrPortFrom(v.to, 0), m)
			l.until("reply", 5*time.Second, func() bool { return k.readable > 0 })
			got := a.all(k)
			if len(got) != 1 || len(got[0].payload) != n || !bytes.Equal(got[0].payload[6:], m[6:]) || got[0].Remote.Addr() != v.to {
				t.Errorf("%d bytes: %d messages", n, len(got))
			}
			if got := b.all(raw); len(got) != 1 || got[0].Remote.Addr().Unmap() == v.to {
				t.Errorf("the raw socket got %d messages", len(got))
			}
			a.s.Close(k.h)
		}
	}
}

// Checksums: what is wrong, missing, or left to the wire to finish.
func TestDatagramChecksums(t *testing.T) {
	l := newLAN(t, 1, nil)
	a := l.hosts[0]
	k := a.dgram(stream.IPv6, stream.UDP, netip.AddrPortFrom(netip.IPv6Unspecified(), 9))
	p4 := udpPacket(netip.AddrPortFrom(addr4(2), 7), netip.AddrPortFrom(addr4(1), 9), []byte("data"))
	p6 := udpPacket(netip.AddrPortFrom(addr6(2), 7), netip.AddrPortFrom(addr6(1), 9), []byte("data"))
	for _, c := range []struct {
		name     string
		packet   []byte
		sum      int // -1: as it is
		verified bool
		want     stat.Reason
	}{
		{"IPv4", p4, -1, false, stat.Accepted},
		{"IPv6", p6, -1, false, stat.Accepted},
		{"IPv4, wrong", p4, 0x1234, false, stat.DropL4Checksum},
		{"IPv6, wrong", p6, 0x1234, false, stat.DropL4Checksum},
		{"IPv4, none", p4, 0, false, stat.Accepted},
		{"IPv6, none", p6, 0, false, stat.DropL4Checksum},
		{"IPv4, unfinished", p4, 0x1234, true, stat.Accepted},
		{"IPv6, unfinished", p6, 0x1234, true, stat.Accepted},
	} {
		p := bytes.Clone(c.packet)
		at := wire.IPv4Len
		if p[0]>>4 == 6 {
			at = wire.IPv6Len
		}
		if c.sum >= 0 {
			wire.UDP(p[at:]).SetChecksum(uint16(c.sum))
		}
		if r := a.s.deliver(p, c.verified); r != c.want {
			t.Errorf("%s: %v, want %v", c.name, r, c.want)
		}
		n := 0
		if c.want == stat.Accepted {
			n = 1
		}
		if got := a.all(k); len(got) != n {
			t.Errorf("%s: %d datagrams", c.name, len(got))
		}
	}
}

// Nothing from the network is believed to come from us, or reaches loopback, and
// groups are for datagrams only.
func TestDatagramForged(t *testing.T) {
	l := newLAN(t, 1, nil)
	a := l.hosts[0]
	k := a.dgram(stream.IPv6, stream.UDP, netip.AddrPortFrom(netip.IPv6Unspecified(), 9))
	group := netip.MustParseAddr("239.9.9.9")
	if e := a.s.Join(k.h, netip.AddrFrom16(group.As16())); e != 0 {
		t.Fatal(e)
	}
	loop := netip.MustParseAddr("127.0.0.1")
	udp := func(from, to netip.Addr) []byte {
		return udpPacket(netip.AddrPortFrom(from, 7), netip.AddrPortFrom(to, 9), nil)
	}
	for name, p := range map[string][]byte{
		"from ourselves":      udp(addr4(1), addr4(1)),
		"from ourselves, v6":  udp(addr6(1), addr6(1)),
		"from everybody":      udp(addr4(255), addr4(1)),
		"from loopback":       udp(loop, addr4(1)),
		"to loopback":         udp(addr4(2), loop),
		"to loopback, v6":     udp(addr6(2), netip.IPv6Loopback()),
		"to another":          udp(addr4(2), addr4(3)),
		"to another group":    udp(addr4(2), netip.MustParseAddr("239.9.9.8")),
		"from a group":        udp(group, addr4(1)),
		"a segment, to group": segmentOf(netip.AddrPortFrom(addr4(2), 1), netip.AddrPortFrom(group, 9), 1, 0, wire.TCPSyn, nil, nil),
	} {
		if r := a.s.deliver(p, false); r != stat.DropIPNotLocal {
			t.Errorf("%s: %v", name, r)
		}
	}
	if got := a.all(k); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	if r := a.s.deliver(udp(addr4(2), group), false); r != stat.Accepted {
		t.Errorf("the true one: %v", r)
	}
}

// Datagram sockets count as sockets.
func TestDatagramSocketLimit(t *testing.T) {
	l := newLAN(t, 2, func(c *Config) { c.Limits.Connections = 4 })
	a, b := l.hosts[0], l.hosts[1]
	to := netip.AddrPortFrom(addr4(2), 80)
	lis := b.listen(stream.IPv4, to, 4)
	var ks []*sock
	for range 3 {
		ks = append(ks, b.dgram(stream.IPv4, stream.UDP, netip.AddrPort{}))
	}
	if _, e := b.s.OpenDatagram(stream.IPv4, stream.UDP, 99); e != syscall.EMFILE {
		t.Errorf("fifth socket: %v", e)
	}
	if _, e := b.s.Open(stream.IPv4, 99); e != syscall.EMFILE {
		t.Errorf("fifth socket: %v", e)
	}
	a.connect(stream.IPv4, to, 4096)
	l.until("connection", 5*time.Second, func() bool { return lis.acceptable > 0 })
	if b.accept(lis, 4096) != nil {
		t.Fatal("accepted beyond the limit")
	}
	before := lis.acceptable
	b.s.Close(ks[0].h)
	l.until("acceptable again", 5*time.Second, func() bool { return lis.acceptable > before })
	if b.accept(lis, 4096) == nil {
		t.Error("not accepted")
	}
	if u := b.s.Usage().Sockets; u != 4 {
		t.Errorf("%d sockets", u)
	}
}

// A socket that nobody reads does not take the budget of connections.
func TestDatagramFloodSparesConnections(t *testing.T) {
	l := newLAN(t, 2, func(c *Config) { c.Limits.BufferBytes = 256 << 10 })
	a, b, c, s := l.pairOf(1 << 16)
	var dead []*sock
	for i := range 8 {
		k := b.dgram(stream.IPv4, stream.UDP, netip.AddrPortFrom(addr4(2), uint16(1000+i)))
		b.s.SetOption(k.h, stream.OptRecvBuffer, 4<<20)
		dead = append(dead, k)
	}
	payload := make([]byte, 1000)
	for i := range 4000 {
		b.s.Deliver(udpPacket(netip.AddrPortFrom(addr4(1), 7), netip.AddrPortFrom(addr4(2), uint16(1000+i%8)), payload), false)
	}
	b.s.EndBurst()
	if u := b.s.Usage().BufferBytes; u > 128<<10 {
		t.Errorf("%d bytes", u)
	}
	if drops(b)["buffer_limit"] == 0 {
		t.Errorf("drops %v", drops(b))
	}
	l.carry(30*time.Second, newBulk(a, c, b, s, 1<<20, 1), newBulk(b, s, a, c, 1<<20, 2))
	for _, k := range dead {
		b.s.Close(k.h)
	}
	b.s.EndBurst()
	if u := b.s.datagrams.Held(); u != 0 {
		t.Errorf("%d bytes held", u)
	}
}

// What only streams or only datagrams do is refused.
func TestDatagramCalls(t *testing.T) {
	l := newLAN(t, 1, nil)
	a := l.hosts[0]
	d, s := a.dgram(stream.IPv4, stream.UDP, netip.AddrPort{}), a.open(stream.IPv4, 0)
	var m stream.Message
	if e := a.s.Listen(d.h, 1); e != syscall.EOPNOTSUPP {
		t.Errorf("listen: %v", e)
	}
	if _, e := a.s.Accept(d.h, 9); e != syscall.EOPNOTSUPP {
		t.Errorf("accept: %v", e)
	}
	if e := a.s.Send(s.h, &m, nil); e != syscall.EOPNOTSUPP {
		t.Errorf("send: %v", e)
	}
	if _, e := a.s.Receive(s.h, &m, nil); e != syscall.EOPNOTSUPP {
		t.Errorf("receive: %v", e)
	}
	if e := a.s.Disconnect(s.h); e != syscall.EOPNOTSUPP {
		t.Errorf("disconnect: %v", e)
	}
	if e := a.s.SetOption(s.h, stream.OptBroadcast, 1); e != syscall.ENOPROTOOPT {
		t.Errorf("option: %v", e)
	}
	if e := a.s.SetOption(d.h, stream.OptNoDelay, 1); e != syscall.ENOPROTOOPT {
		t.Errorf("option: %v", e)
	}
	if _, e := a.s.OpenDatagram(stream.IPv4, 77, 9); e != syscall.EPROTONOSUPPORT {
		t.Errorf("protocol: %v", e)
	}
	if _, e := a.s.OpenDatagram(5, stream.UDP, 9); e != syscall.EAFNOSUPPORT {
		t.Errorf("family: %v", e)
	}
	var info stream.Info
	a.s.Info(d.h, &info)
	a.s.Attach(d.h, newPair(0))
	a.s.TxReady(d.h)
	a.s.RxRoom(d.h)
	a.s.Abort(d.h)
	if e := a.s.Send(d.h, &m, nil); e != syscall.EBADF {
		t.Errorf("after abort: %v", e)
	}
	d = a.dgram(stream.IPv4, stream.UDP, netip.AddrPort{})
	a.s.Stop(nil)
	if e := a.s.Send(d.h, &m, nil); e != syscall.ENETDOWN {
		t.Errorf("after stop: %v", e)
	}
	if _, e := a.s.OpenDatagram(stream.IPv4, stream.UDP, 9); e != syscall.ENETDOWN {
		t.Errorf("after stop: %v", e)
	}
}

// Nothing is allocated for a datagram between the network and the socket.
func TestDatagramAllocs(t *testing.T) {
	l := newLAN(t, 1, nil)
	a := l.hosts[0]
	k := a.dgram(stream.IPv4, stream.UDP, netip.AddrPortFrom(addr4(1), 9))
	p := udpPacket(netip.AddrPortFrom(addr4(2), 7), netip.AddrPortFrom(addr4(1), 9), make([]byte, 1000))
	buf := make([]byte, 2000)
	var m stream.Message
	round := func() {
		a.s.Deliver(p, false)
		a.s.EndBurst()
		a.s.Poll(a, 64)
		if n, e := a.s.Receive(k.h, &m, buf); n != 1000 || e != 0 {
			t.Fatalf("%d %v", n, e)
		}
		a.s.Receive(k.h, &m, buf)
	}
	round()
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations per datagram", n)
	}
}
