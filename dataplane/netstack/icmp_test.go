// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
)

var stranger = netip.AddrFrom4([4]byte{192, 0, 2, 66})

func TestPingFlood(t *testing.T) {
	l := newLAN(t, 1, nil)
	a := l.hosts[0]
	a.keep = true
	for i := range 100 {
		a.s.Deliver(icmp4(addr4(2), addr4(1), wire.ICMPv4Echo, 0, uint32(i), []byte("ping")), false)
		a.s.Deliver(icmp6(addr6(2), addr6(1), wire.ICMPv6Echo, 0, uint32(i), []byte("ping")), false)
	}
	a.s.EndBurst()
	l.quiet()
	n4, n6 := 0, 0
	for _, p := range a.sent {
		if p[0]>>4 == 4 {
			ip, ok := wire.ParseIPv4(p)
			if !ok || !ip.ChecksumOK() || wire.Sum(0).Add(ip.Payload()).Fold() != 0xffff || ip.Payload()[0] != wire.ICMPv4EchoReply {
				t.Fatalf("reply % x", p)
			}
			n4++
		} else {
			ip, ok := wire.ParseIPv6(p)
			m := ip.Payload()
			if !ok || wire.PseudoHeader(ip.Src(), ip.Dst(), wire.ProtoICMPv6, len(m)).Add(m).Fold() != 0xffff || m[0] != wire.ICMPv6EchoReply {
				t.Fatalf("reply % x", p)
			}
			n6++
		}
	}
	if n4 != 100 || n6 != 100 {
		t.Errorf("%d and %d of 100 echo requests answered", n4, n6)
	}
	// Never a neighbour solicitation, MLD or IGMP report.
	if len(a.sent) != 200 {
		t.Errorf("%d packets sent", len(a.sent))
	}
}

func TestPortUnreachable(t *testing.T) {
	l := newLAN(t, 1, nil)
	a := l.hosts[0]
	a.keep = true
	a.s.Deliver(udpPacket(netip.AddrPortFrom(addr4(2), 53), netip.AddrPortFrom(addr4(1), 53), []byte("q")), false)
	a.s.Deliver(udpPacket(netip.AddrPortFrom(addr6(2), 53), netip.AddrPortFrom(addr6(1), 53), []byte("q")), false)
	l.quiet()
	if len(a.sent) != 2 || a.sent[0][20] != 3 || a.sent[0][21] != 3 || a.sent[1][40] != 1 || a.sent[1][41] != 4 {
		t.Errorf("answers: % x", a.sent)
	}
}

// stuck gives a connection with bytes in flight that nobody acknowledges, and
// the first segment of them.
func stuck(t *testing.T, f stream.Family) (l *lan, a *host, c *sock, seg []byte) {
	t.Helper()
	l = newLAN(t, 2, nil)
	a, b := l.hosts[0], l.hosts[1]
	to := netip.AddrPortFrom(addr4(2), 80)
	if f == stream.IPv6 {
		to = netip.AddrPortFrom(addr6(2), 80)
	}
	c, _ = l.join(a, b, b.listen(f, to, 4), f, to, 1<<16)
	l.quiet()
	a.silent, a.keep = true, true
	a.put(c, make([]byte, 8000))
	l.until("segments", time.Second, func() bool { return len(a.sent) >= 6 })
	return l, a, c, a.sent[0]
}

// payloadOf returns the payload length of a TCP packet.
func payloadOf(p []byte) int {
	at := wire.IPv4Len
	if p[0]>>4 == 6 {
		at = wire.IPv6Len
	}
	return len(p) - at - wire.TCP(p[at:]).HeaderLen()
}

// One forged "fragmentation needed" makes stock gVisor send one-byte segments
// for ever. Here it changes nothing, whatever it says.
func TestForgedPacketTooBig(t *testing.T) {
	l, a, c, seg := stuck(t, stream.IPv4)
	edit := func(f func(q []byte)) []byte {
		q := bytes.Clone(seg[:28])
		f(q)
		return q
	}
	same := edit(func([]byte) {})
	seq := func(d uint32) []byte {
		return edit(func(q []byte) {
			binary.BigEndian.PutUint32(q[24:], binary.BigEndian.Uint32(q[24:])+d)
		})
	}
	for _, x := range []struct {
		name  string
		quote []byte
		mtu   uint32
		want  string
	}{
		{"sequence number zero", edit(func(q []byte) { clear(q[24:28]) }), 0, "icmp_forged"},
		{"before what is in flight", seq(^uint32(0)), 1000, "icmp_forged"},
		{"behind what is in flight", seq(8000), 1000, "icmp_forged"},
		{"other port", edit(func(q []byte) { q[21]++ }), 1000, "icmp_forged"},
		{"other peer", edit(func(q []byte) { q[19]++ }), 1000, "icmp_forged"},
		{"not ours", edit(func(q []byte) { q[15]++ }), 1000, "icmp_forged"},
		{"udp", edit(func(q []byte) { q[9] = 17 }), 1000, "icmp_forged"},
		{"cut short", same[:27], 1000, "icmp_forged"},
		{"header length", edit(func(q []byte) { q[0] = 0x4f }), 1000, "icmp_forged"},
		{"mtu 0", same, 0, "icmp_mtu"},
		{"mtu 68", same, 68, "icmp_mtu"},
		{"mtu 575", same, 575, "icmp_mtu"},
		{"not lower", same, 1450, "icmp_mtu"},
	} {
		before := drops(a)[x.want]
		a.s.Deliver(icmp4(stranger, addr4(1), 3, 4, x.mtu, x.quote), false)
		if n := drops(a)[x.want] - before; n != 1 {
			t.Errorf("%s: %d counted as %s: %v", x.name, n, x.want, drops(a))
		}
	}
	a.sent = nil
	l.until("retransmission", 3*time.Second, func() bool { return len(a.sent) > 0 })
	if n := payloadOf(a.sent[0]); n < 1300 {
		t.Errorf("segments shrank to %d bytes", n)
	}
	if c.failed != 0 {
		t.Error(c.failed)
	}
	// The same packet into gVisor directly: what is prevented.
	in := incoming{b: icmp4(stranger, addr4(1), 3, 4, 0, edit(func(q []byte) { clear(q[24:28]) })), proto: wire.ProtoICMP}
	a.sent = nil
	a.s.enqueue(&in, len(in.b), nil)
	l.until("one-byte segment", 3*time.Second, func() bool { return len(a.sent) > 0 })
	if n := payloadOf(a.sent[0]); n != 1 {
		t.Errorf("segment of %d bytes: gVisor does not need the check any more", n)
	}
}

func TestPacketTooBig(t *testing.T) {
	for _, f := range []stream.Family{stream.IPv4, stream.IPv6} {
		l, a, c, seg := stuck(t, f)
		a.sent = nil
		if f == stream.IPv4 {
			a.s.Deliver(icmp4(stranger, addr4(1), 3, 4, 1000, seg[:28]), false)
		} else {
			a.s.Deliver(icmp6(addr6(77), addr6(1), 2, 0, 1279, seg[:48]), false)
			if drops(a)["icmp_mtu"] != 1 {
				t.Error(drops(a))
			}
			a.s.Deliver(icmp6(addr6(77), addr6(1), 2, 0, 1280, seg[:48]), false)
		}
		want := map[stream.Family]int{stream.IPv4: 1000, stream.IPv6: 1280}[f]
		l.until("smaller segments", time.Second, func() bool { return len(a.sent) > 0 })
		for _, p := range a.sent {
			if len(p) > want {
				t.Errorf("packet of %d bytes", len(p))
			}
		}
		// And the connection goes on.
		a.silent, a.keep = false, false
		l.until("acknowledged", 5*time.Second, func() bool {
			l.turn()
			return a.s.get(c.h).flow.unacked() == 0
		})
		var info stream.Info
		a.s.Info(c.h, &info)
		if int(info.MTU) != want {
			t.Errorf("mtu %d", info.MTU)
		}
	}
}

// A credible unreachable ends an active open and not an established
// connection.
func TestUnreachable(t *testing.T) {
	for _, x := range []struct {
		v6        bool
		typ, code uint8
		want      syscall.Errno
	}{
		{false, 3, 0, syscall.ENETUNREACH},
		{false, 3, 1, syscall.EHOSTUNREACH},
		{false, 3, 3, syscall.ECONNREFUSED},
		{false, 3, 13, syscall.EHOSTUNREACH},
		{false, 11, 0, syscall.EHOSTUNREACH},
		{true, 1, 0, syscall.ENETUNREACH},
		{true, 1, 3, syscall.EHOSTUNREACH},
		{true, 1, 4, syscall.ECONNREFUSED},
	} {
		l := newLAN(t, 1, nil)
		a := l.hosts[0]
		a.keep = true
		f, to := stream.IPv4, addr4(9)
		if x.v6 {
			f, to = stream.IPv6, addr6(9)
		}
		c := a.connect(f, netip.AddrPortFrom(to, 80), 0)
		l.until("syn", time.Second, func() bool { return len(a.sent) > 0 })
		if x.v6 {
			a.s.Deliver(icmp6(addr6(77), addr6(1), x.typ, x.code, 0, a.sent[0]), false)
		} else {
			a.s.Deliver(icmp4(stranger, addr4(1), x.typ, x.code, 0, a.sent[0]), false)
		}
		l.until("failed", time.Second, func() bool { return c.failed != 0 })
		if c.failed != x.want {
			t.Errorf("type %d code %d: %v, want %v", x.typ, x.code, c.failed, x.want)
		}
	}
	l, a, c, seg := stuck(t, stream.IPv4)
	a.s.Deliver(icmp4(stranger, addr4(1), 3, 1, 0, seg[:28]), false)
	l.quiet()
	if d := drops(a); c.failed != 0 || len(d) != 0 {
		t.Errorf("established: %v %v", c.failed, d)
	}
}

func TestFragments(t *testing.T) {
	l := newLAN(t, 1, func(c *Config) { c.Limits.FragmentBytes = 64 << 10 })
	a := l.hosts[0]
	a.keep = true
	a.l.path.Max = 65535
	echo := icmp4(addr4(2), addr4(1), wire.ICMPv4Echo, 0, 1, make([]byte, 3000))
	for _, f := range fragments4(echo, 1, 1400) {
		a.s.Deliver(f, false)
	}
	echo = icmp6(addr6(2), addr6(1), wire.ICMPv6Echo, 0, 1, make([]byte, 3000))
	for _, f := range fragments6(echo, 1, 1400) {
		a.s.Deliver(f, false)
	}
	l.quiet()
	if len(a.sent) < 2 || len(drops(a)) != 0 {
		t.Errorf("%d answers, drops %v", len(a.sent), drops(a))
	}
	// A bad checksum shows after reassembly only, and is not answered.
	a.sent = nil
	bad := icmp4(addr4(2), addr4(1), wire.ICMPv4Echo, 0, 2, make([]byte, 3000))
	bad[1000]++
	for _, f := range fragments4(bad, 2, 1400) {
		a.s.Deliver(f, false)
	}
	l.quiet()
	if len(a.sent) != 0 {
		t.Error("bad checksum answered")
	}
	before := drops(a)
	// A segment does not come in pieces.
	n := 0
	segment := segmentOf(netip.AddrPortFrom(addr4(2), 1), netip.AddrPortFrom(addr4(1), 80), 1, 0, wire.TCPSyn, nil, make([]byte, 100))
	for _, f := range fragments4(segment, 3, 40) {
		a.s.Deliver(f, false)
		n++
	}
	if d := drops(a); d["protocol_disabled"] != uint64(n) {
		t.Errorf("%d fragments dropped of %d: %v", d["protocol_disabled"], n, d)
	}
	// What is checked in a whole packet is checked in one that came in pieces.
	for _, f := range fragments4(icmp4(addr4(2), addr4(1), 3, 4, 0, make([]byte, 100)), 4, 40) {
		a.s.Deliver(f, false)
	}
	for _, f := range fragments6(icmp6(addr6(2), addr6(1), 2, 0, 0, make([]byte, 100)), 4, 40) {
		a.s.Deliver(f, false)
	}
	if d := drops(a); d["icmp_forged"] != before["icmp_forged"]+2 {
		t.Errorf("errors in pieces: %v", d)
	}
	// The bound, and that the oldest go first.
	for i := range 200 {
		a.s.Deliver(fragments4(echoOf(i), uint16(100+i), 1400)[0], false)
	}
	a.s.EndBurst()
	if u := a.s.Usage().FragmentBytes; u == 0 || u > 64<<10 {
		t.Errorf("usage %d", u)
	}
	if d := drops(a)["fragment_limit"]; d < 100 || d >= 200 {
		t.Errorf("%d fragments over the limit", d)
	}
	for _, f := range fragments4(echoOf(199), 299, 1400)[1:] {
		a.s.Deliver(f, false)
	}
	l.quiet()
	if len(a.sent) == 0 {
		t.Error("the newest packet did not become whole")
	}
}

func echoOf(i int) []byte {
	return icmp4(addr4(2), addr4(1), wire.ICMPv4Echo, 0, uint32(i), make([]byte, 3000))
}
