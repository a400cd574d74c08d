// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
)

var (
	peer4 = netip.AddrPortFrom(addr4(2), 1000)
	self4 = netip.AddrPortFrom(addr4(1), 80)
	peer6 = netip.AddrPortFrom(addr6(2), 1000)
	self6 = netip.AddrPortFrom(addr6(1), 80)
)

func TestDeliverDrops(t *testing.T) {
	syn4 := segmentOf(peer4, self4, 1, 0, wire.TCPSyn, nil, nil)
	syn6 := segmentOf(peer6, self6, 1, 0, wire.TCPSyn, nil, nil)
	echo4 := icmp4(addr4(2), addr4(1), wire.ICMPv4Echo, 0, 1, nil)
	echo6 := icmp6(addr6(2), addr6(1), wire.ICMPv6Echo, 0, 1, nil)
	udp4 := udpPacket(peer4, self4, []byte("x"))
	udp6 := udpPacket(peer6, self6, []byte("x"))
	edit := func(p []byte, f func(p []byte)) []byte {
		p = bytes.Clone(p)
		f(p)
		return p
	}
	head4 := func(f func(p []byte)) []byte {
		return edit(syn4, func(p []byte) { f(p); wire.IPv4(p).SetChecksum() })
	}
	for _, x := range []struct {
		name string
		p    []byte
		want stat.Reason
	}{
		{"empty", nil, stat.DropIPShort},
		{"one byte", []byte{0x45}, stat.DropIPShort},
		{"version 0", make([]byte, 40), stat.DropIPVersion},
		{"v4 cut", syn4[:39], stat.DropIPShort},
		{"v6 cut", syn6[:59], stat.DropIPShort},
		{"v4 header checksum", edit(syn4, func(p []byte) { p[8]-- }), stat.DropIPChecksum},
		{"v4 other destination", segmentOf(peer4, netip.AddrPortFrom(addr4(3), 80), 1, 0, wire.TCPSyn, nil, nil), stat.DropIPNotLocal},
		{"v4 subnet broadcast", icmp4(addr4(2), addr4(255), wire.ICMPv4Echo, 0, 1, nil), stat.DropProtocolDisabled},
		{"v4 broadcast", head4(func(p []byte) { copy(p[16:], []byte{255, 255, 255, 255}) }), stat.DropIPNotLocal},
		{"v4 multicast", head4(func(p []byte) { copy(p[16:], []byte{224, 0, 0, 1}) }), stat.DropIPNotLocal},
		{"v4 to loopback", head4(func(p []byte) { copy(p[16:], []byte{127, 0, 0, 1}) }), stat.DropIPNotLocal},
		{"v4 from ourselves", head4(func(p []byte) { copy(p[12:16], p[16:20]) }), stat.DropIPNotLocal},
		{"v4 from loopback", head4(func(p []byte) { p[12] = 127 }), stat.DropIPNotLocal},
		{"v4 from multicast", head4(func(p []byte) { p[12] = 225 }), stat.DropIPNotLocal},
		{"v4 from nowhere", head4(func(p []byte) { clear(p[12:16]) }), stat.DropIPNotLocal},
		{"v6 other destination", segmentOf(peer6, netip.AddrPortFrom(addr6(3), 80), 1, 0, wire.TCPSyn, nil, nil), stat.DropIPNotLocal},
		{"v6 all nodes", icmp6(addr6(2), netip.MustParseAddr("ff02::1"), wire.ICMPv6Echo, 0, 1, nil), stat.DropProtocolDisabled},
		{"v6 from ourselves", edit(syn6, func(p []byte) { copy(p[8:24], p[24:40]) }), stat.DropIPNotLocal},
		{"v6 from loopback", edit(syn6, func(p []byte) { clear(p[8:23]); p[23] = 1 }), stat.DropIPNotLocal},
		{"v6 from multicast", edit(syn6, func(p []byte) { p[8] = 0xff }), stat.DropIPNotLocal},
		{"v6 extension cut", ip6(addr6(2), addr6(1), 0, make([]byte, 4)), stat.DropIPShort},
		{"tcp cut", ip4(addr4(2), addr4(1), wire.ProtoTCP, make([]byte, 19)), stat.DropL4Short},
		{"tcp header length", ip4(addr4(2), addr4(1), wire.ProtoTCP, make([]byte, 20)), stat.DropL4Short},
		{"tcp checksum", edit(syn4, func(p []byte) { p[24]++ }), stat.DropL4Checksum},
		{"tcp6 checksum", edit(syn6, func(p []byte) { p[44]++ }), stat.DropL4Checksum},
		{"icmp cut", ip4(addr4(2), addr4(1), wire.ProtoICMP, make([]byte, 7)), stat.DropL4Short},
		{"icmp checksum", edit(echo4, func(p []byte) { p[24]++ }), stat.DropL4Checksum},
		{"icmp6 cut", ip6(addr6(2), addr6(1), wire.ProtoICMPv6, make([]byte, 7)), stat.DropL4Short},
		{"icmp6 checksum", edit(echo6, func(p []byte) { p[44]++ }), stat.DropL4Checksum},
		{"udp length", edit(udp4, func(p []byte) { p[25]++ }), stat.DropL4Short},
		{"udp checksum", edit(udp4, func(p []byte) { p[28]++ }), stat.DropL4Checksum},
		{"udp6 without checksum", edit(udp6, func(p []byte) { clear(p[46:48]) }), stat.DropL4Checksum},
		{"echo reply", icmp4(addr4(2), addr4(1), wire.ICMPv4EchoReply, 0, 1, nil), stat.DropProtocolDisabled},
		{"redirect", icmp4(addr4(2), addr4(1), 5, 1, 1, make([]byte, 28)), stat.DropProtocolDisabled},
		{"neighbour solicitation", icmp6(addr6(2), addr6(1), wire.ICMPv6NeighSolicit, 0, 0, make([]byte, 16)), stat.DropProtocolDisabled},
		{"router advertisement", icmp6(addr6(2), addr6(1), wire.ICMPv6RouterAdvert, 0, 0, make([]byte, 8)), stat.DropProtocolDisabled},
		{"mld", icmp6(addr6(2), addr6(1), 130, 0, 0, make([]byte, 16)), stat.DropProtocolDisabled},
		{"icmp6 over v4", ip4(addr4(2), addr4(1), wire.ProtoICMPv6, make([]byte, 8)), stat.DropProtocolDisabled},
		{"icmp over v6", ip6(addr6(2), addr6(1), wire.ProtoICMP, make([]byte, 8)), stat.DropProtocolDisabled},
		{"igmp", ip4(addr4(2), addr4(1), 2, make([]byte, 8)), stat.DropProtocolDisabled},
		{"unreachable for nobody", icmp4(addr4(2), addr4(1), 3, 1, 0, make([]byte, 28)), stat.DropICMPForged},
		{"too big for nobody", icmp6(addr6(2), addr6(1), 2, 0, 0, make([]byte, 48)), stat.DropICMPForged},
	} {
		t.Run(x.name, func(t *testing.T) {
			l := newLAN(t, 1, nil)
			a := l.hosts[0]
			a.keep = true
			a.s.Deliver(x.p, false)
			l.quiet()
			if d := drops(a); len(d) != 1 || d[x.want.String()] != 1 {
				t.Errorf("drops %v, want one %v", d, x.want)
			}
			if len(a.sent) != 0 {
				t.Errorf("answered % x", a.sent)
			}
			if a.stat.Get(stat.PacketsIn) != 1 || a.stat.Get(stat.PacketBytesIn) != uint64(len(x.p)) {
				t.Error("not counted")
			}
		})
	}
}

// The wire may vouch for a transport checksum that is not finished.
func TestVerified(t *testing.T) {
	for _, p := range [][]byte{
		segmentOf(peer4, self4, 1, 0, wire.TCPSyn, nil, nil),
		segmentOf(peer6, self6, 1, 0, wire.TCPSyn, nil, nil),
	} {
		l := newLAN(t, 1, nil)
		a := l.hosts[0]
		a.keep = true
		at := len(p) - 4
		p[at], p[at+1] = 0xde, 0xad
		a.s.Deliver(p, true)
		a.s.EndBurst()
		l.quiet()
		if len(a.sent) != 1 || len(drops(a)) != 0 {
			t.Errorf("%d answers, drops %v", len(a.sent), drops(a))
		}
	}
}

// A SYN cannot ask for segments of a few bytes.
func TestTinyMSS(t *testing.T) {
	for _, mss := range []byte{0, 1, 12, 40, 87} {
		l := newLAN(t, 1, nil)
		a := l.hosts[0]
		a.keep = true
		lis := a.listen(stream.IPv4, self4, 4)
		// MSS, then timestamps.
		opts := []byte{2, 4, 0, mss, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0}
		a.s.Deliver(segmentOf(peer4, self4, 100, 0, wire.TCPSyn, opts, nil), false)
		a.s.EndBurst()
		l.until("syn-ack", time.Second, func() bool { return len(a.sent) > 0 })
		syn := wire.TCP(a.sent[0][20:])
		opts[3] = 0
		a.s.Deliver(segmentOf(peer4, self4, 101, syn.Seq()+1, wire.TCPAck, opts[4:], nil), false)
		a.s.EndBurst()
		var c *sock
		l.until("accept", time.Second, func() bool { c = a.accept(lis, 8192); return c != nil })
		a.sent = nil
		a.put(c, make([]byte, 8000))
		l.until("segments", time.Second, func() bool { return len(a.sent) > 3 })
		if n := payloadOf(a.sent[0]); n < minSegment {
			t.Errorf("mss %d: segment of %d bytes", mss, n)
		}
	}
}

func FuzzDeliver(f *testing.F) {
	for _, p := range [][]byte{
		segmentOf(peer4, self4, 1, 0, wire.TCPSyn, []byte{2, 4, 5, 0xb4, 1, 1, 4, 2}, nil),
		segmentOf(peer4, self4, 2, 1, wire.TCPAck, nil, []byte("payload")),
		segmentOf(peer6, self6, 1, 0, wire.TCPSyn, []byte{2, 4, 0, 1}, nil),
		segmentOf(peer6, self6, 1, 0, wire.TCPFin|wire.TCPRst, nil, []byte("x")),
		icmp4(addr4(2), addr4(1), wire.ICMPv4Echo, 0, 1, []byte("ping")),
		icmp4(addr4(2), addr4(1), 3, 4, 1000, segmentOf(self4, peer4, 1, 1, wire.TCPAck, nil, nil)),
		icmp6(addr6(2), addr6(1), wire.ICMPv6Echo, 0, 1, []byte("ping")),
		icmp6(addr6(2), addr6(1), 2, 0, 1280, segmentOf(self6, peer6, 1, 1, wire.TCPAck, nil, nil)),
		udpPacket(peer4, self4, []byte("x")),
		fragments4(echoOf(1), 1, 1400)[0],
		fragments4(echoOf(1), 1, 1400)[2],
		fragments6(icmp6(addr6(2), addr6(1), wire.ICMPv6Echo, 0, 1, make([]byte, 100)), 1, 40)[1],
		ip6(addr6(2), addr6(1), 0, append([]byte{60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0}, make([]byte, 20)...)),
		{0x46, 0, 0, 24},
	} {
		f.Add(p, true)
		f.Add(p, false)
	}
	l := newLAN(f, 1, nil)
	a := l.hosts[0]
	a.silent = true
	a.listen(stream.IPv6, netip.MustParseAddrPort("[::]:80"), 64)
	f.Fuzz(func(t *testing.T, p []byte, fix bool) {
		p = bytes.Clone(p)
		if fix {
			repair(p)
		}
		count := func() (n uint64) {
			for _, v := range drops(a) {
				n += v
			}
			return n
		}
		before := count()
		a.s.Deliver(p, fix)
		if n := count() - before; n > 1 {
			t.Errorf("%d reasons for % x", n, p)
		}
		a.s.EndBurst()
		a.s.Poll(a, 64)
		a.s.Transmit(a, 64)
		if why, dead := a.s.Dead(); dead {
			t.Fatalf("% x: %s", p, why)
		}
	})
}

// repair makes a mutated packet pass the first checks, to get deeper.
func repair(p []byte) {
	switch {
	case len(p) >= wire.IPv4Len && p[0]>>4 == 4:
		ip := wire.IPv4(p)
		ip.SetTotalLen(len(p))
		copy(p[12:], []byte{10, 0, 0, 2, 10, 0, 0, 1})
		if h := ip.HeaderLen(); h >= wire.IPv4Len && h <= len(p) {
			ip.SetChecksum()
			if ip.Protocol() == wire.ProtoICMP && len(p) >= h+8 {
				wire.ICMP(p[h:]).SetChecksum4()
			}
		}
	case len(p) >= wire.IPv6Len && p[0]>>4 == 6:
		ip := wire.IPv6(p)
		ip.SetPayloadLen(len(p) - wire.IPv6Len)
		s, d := addr6(2).As16(), addr6(1).As16()
		copy(p[8:], s[:])
		copy(p[24:], d[:])
		if proto, at, fragment, ok := ip.UpperLayer(); ok && !fragment && proto == wire.ProtoICMPv6 && len(p) >= at+8 {
			m := p[at:]
			wire.ICMP(m).SetChecksum6(wire.PseudoHeader(ip.Src(), ip.Dst(), wire.ProtoICMPv6, len(m)))
		}
	}
}
