// SPDX-License-Identifier: Apache-2.0

package datagram

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

// icmp returns an ICMP message in its packet; rest is its second word.
func icmp(src, dst netip.Addr, kind, code uint8, rest uint32, payload []byte) []byte {
	at, proto := wire.IPv4Len, uint8(wire.ProtoICMP)
	if src.Is6() {
		at, proto = wire.IPv6Len, wire.ProtoICMPv6
	}
	b := make([]byte, at+wire.ICMPLen+len(payload))
	m := wire.ICMP(b[at:])
	m[0], m[1] = kind, code
	binary.BigEndian.PutUint32(m[4:], rest)
	copy(m[8:], payload)
	if src.Is4() {
		wire.PutIPv4(b, src, dst, proto, 64, len(m))
		m.SetChecksum4()
	} else {
		wire.PutIPv6(b, src, dst, proto, 64, len(m))
		m.SetChecksum6(wire.PseudoHeader(src, dst, proto, len(m)))
	}
	return b
}

// A closed port is answered, and the answer reaches the socket with that peer.
func TestPortUnreachable(t *testing.T) {
	for _, c := range []struct{ from, to string }{{"10.0.0.1:1000", "10.0.0.2:2000"}, {"[fd00::1]:1000", "[fd00::2]:2000"}} {
		a, b := newHost(t, 1), newHost(t, 2)
		k := a.bound(c.from)
		a.want(0, a.send(k, c.to, "nobody is told"))
		carry(a, b)
		if got := a.got(k); len(got) != 0 {
			t.Errorf("without a peer: %v", got)
		}
		a.want(0, a.Connect(k, at(c.to)))
		a.want(0, a.send(k, "", "payload"))
		carry(a, b)
		got := a.got(k)
		if len(got) != 1 || got[0].Err != syscall.ECONNREFUSED || got[0].Remote != at(c.to) ||
			got[0].payload != "payload" || got[0].Cause.Offender != at(c.to).Addr() || got[0].Cause.Quiet {
			t.Errorf("%v", got)
		}
		if d := b.drops(); d["no_socket"] != 2 {
			t.Errorf("drops %v", d)
		}
		if d := a.drops(); d["icmp_forged"] != 0 {
			t.Errorf("drops %v", d)
		}
	}
}

// No group is told that a port is closed, and not more than the limit is said.
func TestPortUnreachableLimits(t *testing.T) {
	a, b := newHost(t, 1), newHost(t, 2)
	k := a.bound("10.0.0.1:1")
	a.set(k, stream.OptBroadcast, 1)
	a.want(0, a.send(k, "10.0.0.255:1", "x"))
	b.input(a.turn()[0])
	a.want(0, a.send(k, "224.0.0.1:1", "x"))
	b.input(a.turn()[0])
	if sent := b.turn(); len(sent) != 0 {
		t.Errorf("% x", sent)
	}
	a.want(0, a.send(k, "10.0.0.2:1", "x"))
	p := a.turn()[0]
	count := func() int {
		for range 1000 {
			b.input(p)
		}
		return len(b.turn())
	}
	if n := count(); n != errorBurst {
		t.Errorf("%d errors at once", n)
	}
	b.now += 20 * time.Millisecond
	if n := count(); n < 15 || n > 25 {
		t.Errorf("%d errors after 20 ms", n)
	}
}

// Errors that quote nothing of ours change nothing.
func TestForgedErrors(t *testing.T) {
	a := newHost(t, 1)
	k := a.bound("10.0.0.1:1000")
	a.want(0, a.Connect(k, at("10.0.0.2:2000")))
	a.want(0, a.send(k, "", "x"))
	sent := a.turn()[0]
	edit := func(f func(q []byte)) []byte {
		q := bytes.Clone(sent)
		f(q)
		return q
	}
	for name, q := range map[string][]byte{
		"another source":        edit(func(q []byte) { q[15]++ }),
		"another destination":   edit(func(q []byte) { q[19]++ }),
		"another source port":   edit(func(q []byte) { q[21]++ }),
		"another peer's port":   edit(func(q []byte) { q[23]++ }),
		"a later fragment":      edit(func(q []byte) { q[7] = 1 }),
		"a protocol of nobody":  edit(func(q []byte) { q[9] = 132 }),
		"ICMP":                  edit(func(q []byte) { q[9] = 1; q[20] = 8 }),
		"cut short":             sent[:27],
		"header length too low": edit(func(q []byte) { q[0] = 0x44 }),
		"nothing":               nil,
	} {
		for code := range uint8(4) {
			if r := a.input(icmp(ip("10.0.0.2"), ip("10.0.0.1"), wire.ICMPv4Unreachable, code, 0, q)); r != stat.DropICMPForged {
				t.Errorf("%s: %v", name, r)
			}
		}
	}
	if got := a.got(k); len(got) != 0 {
		t.Errorf("%v", got)
	}
	if r := a.input(icmp(ip("10.0.0.2"), ip("10.0.0.1"), wire.ICMPv4Unreachable, portUnreachable4, 0, sent)); r != stat.Accepted {
		t.Errorf("the true one: %v", r)
	}
}

// Which errors are told to whom: the kernel's udp_err.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name       string
		v6         bool
		kind, code uint8
		rest       uint32
		err        syscall.Errno // with OptRecvErr
		hard       bool          // also without, to a peer
	}{
		{"net unreachable", false, 3, 0, 0, syscall.ENETUNREACH, false},
		{"host unreachable", false, 3, 1, 0, syscall.EHOSTUNREACH, false},
		{"protocol unreachable", false, 3, 2, 0, syscall.ENOPROTOOPT, true},
		{"port unreachable", false, 3, 3, 0, syscall.ECONNREFUSED, true},
		{"fragmentation needed", false, 3, 4, 1000, syscall.EMSGSIZE, true},
		{"prohibited", false, 3, 13, 0, syscall.EHOSTUNREACH, true},
		{"time exceeded", false, 11, 0, 0, syscall.EHOSTUNREACH, false},
		{"parameter problem", false, 12, 0, 0, syscall.EPROTO, true},
		{"no route", true, 1, 0, 0, syscall.ENETUNREACH, false},
		{"prohibited", true, 1, 1, 0, syscall.EACCES, true},
		{"address unreachable", true, 1, 3, 0, syscall.EHOSTUNREACH, false},
		{"port unreachable", true, 1, 4, 0, syscall.ECONNREFUSED, true},
		{"too big", true, 2, 0, 1300, syscall.EMSGSIZE, false},
		{"time exceeded", true, 3, 0, 0, syscall.EHOSTUNREACH, false},
		{"parameter problem", true, 4, 0, 0, syscall.EPROTO, true},
	} {
		local, remote, router := "10.0.0.1:1000", "10.0.0.2:2000", ip("10.0.0.9")
		if c.v6 {
			local, remote, router = "[fd00::1]:1000", "[fd00::2]:2000", ip("fd00::9")
		}
		for mode := range 4 {
			a := newHost(t, 1)
			k := a.bound(local)
			peer, all := mode&1 != 0, mode&2 != 0
			if peer {
				a.want(0, a.Connect(k, at(remote)))
			}
			if all {
				a.set(k, stream.OptRecvErr, 1)
			}
			a.want(0, a.send(k, remote, "payload"))
			q := a.turn()[0]
			if r := a.input(icmp(router, at(local).Addr(), c.kind, c.code, c.rest, q)); r != stat.Accepted {
				t.Errorf("%s: %v", c.name, r)
			}
			got, want := a.got(k), 0
			if all || peer && c.hard {
				want = 1
			}
			if len(got) != want {
				t.Errorf("%s, peer %v, all errors %v: %v", c.name, peer, all, got)
				continue
			}
			if want == 1 {
				g := got[0]
				if g.Err != c.err || g.Remote != at(remote) || g.Cause.Offender != router || g.Cause.Type != c.kind ||
					g.Cause.Code != c.code || g.Cause.Info != c.rest || g.payload != "payload" || g.Local.IsValid() {
					t.Errorf("%s: %+v", c.name, g)
				}
			}
		}
	}
}

// A path MTU is believed if it is lower than the last, and fragments obey it.
func TestPathMTU(t *testing.T) {
	a := newHost(t, 1)
	k := a.bound("10.0.0.1:1000")
	a.want(0, a.Connect(k, at("10.0.0.2:2000")))
	mtu := func() int {
		v, e := a.Option(k, stream.OptMTU)
		a.want(0, e)
		return v
	}
	tooBig := func(v uint32, want stat.Reason) {
		t.Helper()
		a.want(0, a.send(k, "", string(make([]byte, 1000))))
		q := a.turn()[0]
		if r := a.input(icmp(ip("10.0.0.9"), ip("10.0.0.1"), 3, 4, v, q)); r != want {
			t.Errorf("MTU %d: %v", v, r)
		}
		a.got(k)
	}
	if mtu() != 1450 {
		t.Errorf("MTU %d", mtu())
	}
	tooBig(575, stat.DropICMPMTU)
	tooBig(0, stat.DropICMPMTU)
	tooBig(1450, stat.DropICMPMTU)
	tooBig(1000, stat.Accepted)
	tooBig(1200, stat.DropICMPMTU)
	if mtu() != 1000 {
		t.Errorf("MTU %d", mtu())
	}
	a.want(0, a.send(k, "", string(make([]byte, 1400))))
	sent := a.turn()
	if len(sent) != 2 || len(sent[0]) > 1000 || wire.IPv4(sent[0]).DontFragment() {
		t.Errorf("%d packets, the first of %d bytes", len(sent), len(sent[0]))
	}
	a.set(k, stream.OptMTUDiscover, discoverDo)
	a.set(k, stream.OptRecvErr, 1)
	a.want(syscall.EMSGSIZE, a.send(k, "", string(make([]byte, 1400))))
	if got := a.got(k); len(got) != 1 || !got[0].Cause.Quiet || got[0].Cause.Info != 1000 || got[0].Cause.Origin != originLocal {
		t.Errorf("%+v", got)
	}
	a.set(k, stream.OptMTUDiscover, discoverProbe)
	a.want(0, a.send(k, "", string(make([]byte, 1400))))
	if sent := a.turn(); len(sent) != 1 || !wire.IPv4(sent[0]).DontFragment() {
		t.Errorf("probe: %d packets", len(sent))
	}
	a.set(k, stream.OptMTUDiscover, discoverWant)
	a.now += pathLife + 1
	if mtu() != 1450 {
		t.Errorf("MTU %d after its life", mtu())
	}
}

// Path MTUs are bounded.
func TestPathMTUBound(t *testing.T) {
	a := newHost(t, 1)
	k := a.bound("10.0.0.1:1000")
	a.own = []netip.Prefix{net("10.0.0.1/8")}
	for i := range 2 * maxPaths {
		to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 1)
		a.want(0, a.send(k, to.String(), "x"))
		a.input(icmp(ip("10.0.0.9"), ip("10.0.0.1"), 3, 4, 1000, a.turn()[0]))
	}
	if len(a.paths) != maxPaths {
		t.Errorf("%d path MTUs", len(a.paths))
	}
}

// A next hop that does not answer is host unreachable from ourselves.
func TestUndeliverable(t *testing.T) {
	for _, c := range []struct{ from, to string }{{"10.0.0.1:1000", "10.0.0.2:2000"}, {"[fd00::1]:1000", "[fd00::2]:2000"}} {
		a := newHost(t, 1)
		k := a.bound(c.from)
		a.set(k, stream.OptRecvErr, 1)
		for _, size := range []int{10, 3000} {
			a.want(0, a.send(k, c.to, string(make([]byte, size))))
			for _, p := range a.turn() {
				a.Undeliverable(p)
			}
			if got := a.got(k); len(got) != 1 || got[0].Err != syscall.EHOSTUNREACH || got[0].Cause.Offender != at(c.from).Addr() {
				t.Errorf("%+v", got)
			}
		}
		// The same when there is no path at all.
		a.path.Max = 0
		a.want(0, a.send(k, c.to, "x"))
		a.turn()
		if got := a.got(k); len(got) != 1 || got[0].Err != syscall.EHOSTUNREACH {
			t.Errorf("%+v", got)
		}
	}
}

// ping: an identifier of the stack's, a reply to nobody else.
func TestPing(t *testing.T) {
	for _, c := range []struct {
		f       stream.Family
		to      string
		request byte
	}{{stream.IPv4, "10.0.0.2", 8}, {stream.IPv6, "fd00::2", 128}} {
		a := newHost(t, 1)
		k, other := a.socket(c.f, stream.Ping), a.socket(c.f, stream.Ping)
		to := netip.AddrPortFrom(ip(c.to), 0)
		message := []byte{c.request, 0, 0xaa, 0xaa, 0xbb, 0xbb, 0, 1, 'p', 'i', 'n', 'g'}
		for _, s := range []stream.Handle{other, k} {
			a.want(0, a.Send(s, &stream.Message{Remote: to}, message))
		}
		p := a.turn()[1]
		at := wire.IPv4Len
		if c.f == stream.IPv6 {
			at = wire.IPv6Len
		}
		m := bytes.Clone(p[at:])
		ident := binary.BigEndian.Uint16(m[4:])
		if ident != a.Stack.Local(k).Port() || ident == a.Stack.Local(other).Port() {
			t.Errorf("identifier %d of %v and %v", ident, a.Stack.Local(k), a.Stack.Local(other))
		}
		own := a.Stack.source(ip(c.to), Link)
		reply := icmp(ip(c.to), own, c.request+1, 0, binary.BigEndian.Uint32(m[4:]), m[8:])
		if c.f == stream.IPv4 {
			reply = icmp(ip(c.to), own, 0, 0, binary.BigEndian.Uint32(m[4:]), m[8:])
		}
		if r := a.input(reply); r != stat.Accepted {
			t.Errorf("reply: %v", r)
		}
		if got := a.got(k); len(got) != 1 || got[0].Remote != to || got[0].payload != string(reply[at:]) || got[0].TTL != 64 {
			t.Errorf("%+v", got)
		}
		if got := a.got(other); len(got) != 0 {
			t.Errorf("the other socket got %v", got)
		}
		// Time exceeded is told with OptRecvErr.
		a.set(k, stream.OptRecvErr, 1)
		kind := uint8(11)
		if c.f == stream.IPv6 {
			kind = 3
		}
		a.input(icmp(ip(c.to), own, kind, 0, 0, p))
		if got := a.got(k); len(got) != 1 || got[0].Err != syscall.EHOSTUNREACH || !bytes.Equal([]byte(got[0].payload), m) {
			t.Errorf("%+v", got)
		}
		// Ourselves.
		a.want(0, a.Send(k, &stream.Message{Remote: netip.AddrPortFrom(own, 0)}, message))
		if got := a.got(k); len(got) != 1 || got[0].Remote.Addr() != own || got[0].payload[8:] != "ping" {
			t.Errorf("%+v", got)
		}
		for _, bad := range [][]byte{nil, message[:7], {c.request, 1, 0, 0, 0, 0, 0, 0}, {c.request + 1, 0, 0, 0, 0, 0, 0, 0}} {
			a.want(syscall.EINVAL, a.Send(k, &stream.Message{Remote: to}, bad))
		}
	}
}

// Identifiers conflict whatever the address.
func TestPingBind(t *testing.T) {
	a := newHost(t, 1)
	k, o := a.socket(stream.IPv4, stream.Ping), a.socket(stream.IPv6, stream.Ping)
	a.set(k, stream.OptReuseAddr, 0)
	a.want(0, a.Bind(k, at("10.0.0.1:77")))
	a.want(syscall.EADDRINUSE, a.Bind(o, at("[fd00::1]:77")))
	a.want(syscall.EADDRNOTAVAIL, a.Bind(o, at("[ff02::1]:78")))
	a.Close(k)
	a.want(0, a.Bind(o, at("[fd00::1]:77")))
}

// Raw sockets see every message that their filter and addresses let through.
func TestRaw(t *testing.T) {
	a := newHost(t, 1)
	all, filtered, elsewhere := a.socket(stream.IPv4, stream.Raw), a.socket(stream.IPv4, stream.Raw), a.socket(stream.IPv4, stream.Raw)
	six := a.socket(stream.IPv6, stream.Raw)
	a.want(0, a.Filter(filtered, &stream.ICMPFilter{1 << 8}))
	a.want(0, a.Connect(elsewhere, at("10.0.0.7:0")))
	request := icmp(ip("10.0.0.2"), ip("10.0.0.1"), 8, 0, 1, []byte("data"))
	reply := icmp(ip("10.0.0.2"), ip("10.0.0.1"), 0, 0, 1, []byte("data"))
	for _, p := range [][]byte{request, reply} {
		if r := a.input(p); r != stat.Accepted {
			t.Errorf("%v", r)
		}
	}
	if got := a.got(all); len(got) != 2 || got[0].payload != string(request) || got[0].Remote != at("10.0.0.2:0") {
		t.Errorf("%+v", got)
	}
	if got := a.got(filtered); len(got) != 1 || got[0].payload != string(reply) {
		t.Errorf("%+v", got)
	}
	if len(a.got(elsewhere)) != 0 || len(a.got(six)) != 0 {
		t.Error("a socket got what is not for it")
	}
	// IPv6: without the IP header.
	request = icmp(ip("fd00::2"), ip("fd00::1"), 128, 0, 1, []byte("data"))
	a.input(request)
	if got := a.got(six); len(got) != 1 || got[0].payload != string(request[40:]) {
		t.Errorf("%+v", got)
	}
	// The checksum of ICMPv6 is the stack's.
	a.want(0, a.Send(six, &stream.Message{Remote: at("[fd00::2]:0")}, []byte{128, 0, 9, 9, 0, 1, 0, 2}))
	p := a.turn()[0]
	if wire.PseudoHeader(ip("fd00::1"), ip("fd00::2"), 58, 8).Add(p[40:]).Fold() != 0xffff {
		t.Errorf("% x", p)
	}
	a.want(syscall.EPERM, a.Send(six, &stream.Message{Remote: at("[fd00::2]:0")}, []byte{136, 0, 0, 0, 0, 0, 0, 0}))
	a.want(syscall.EOPNOTSUPP, a.Filter(a.bound("10.0.0.1:1"), new(stream.ICMPFilter)))
	// A request to ourselves is seen, and its answer.
	message := []byte{8, 0, 0, 0, 0, 1, 0, 2}
	wire.ICMP(message).SetChecksum4()
	a.want(0, a.Send(all, &stream.Message{Remote: at("127.0.0.1:0")}, message))
	if got := a.got(all); len(got) != 2 || got[0].payload[20] != 8 || got[1].payload[20] != 0 {
		t.Errorf("%+v", got)
	}
	a.Close(all)
	a.Close(filtered)
	a.Close(elsewhere)
	if a.WantsICMP() != true || len(a.raw) != 1 {
		t.Errorf("%d raw sockets", len(a.raw))
	}
}
