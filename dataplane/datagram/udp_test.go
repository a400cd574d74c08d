// SPDX-License-Identifier: Apache-2.0

package datagram

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"netcon/dataplane/stream"
)

// What leaves, byte by byte.
func TestSendBytes(t *testing.T) {
	h := newHost(t, 1)
	h.ipID = 0x1233
	k := h.bound("10.0.0.1:5001")
	h.set(k, stream.OptTOS, 0xb8)
	h.set(k, stream.OptTTL, 33)
	h.want(0, h.send(k, "10.0.0.2:53", "hi"))
	want := []byte{
		0x45, 0xb8, 0x00, 0x1e, // version and length of the header, TOS, total length 30
		0x12, 0x34, 0x40, 0x00, // identification, don't fragment
		33, 17, 0x32, 0xe1, // TTL, UDP, checksum
		10, 0, 0, 1, 10, 0, 0, 2,
		0x13, 0x89, 0x00, 0x35, 0x00, 0x0a, 0x6f, 0xb0, // ports, length, checksum
		'h', 'i',
	}
	if sent := h.turn(); len(sent) != 1 || !bytes.Equal(sent[0], want) {
		t.Errorf("% x, want % x", sent, want)
	}

	k = h.bound("[fd00::1]:5001")
	h.set(k, stream.OptTOS, 0xb8)
	h.want(0, h.Send(k, &stream.Message{Remote: at("[fd00::2]:53"), TTL: 7}, []byte("hi")))
	want = []byte{
		0x6b, 0x80, 0x00, 0x00, 0x00, 0x0a, 17, 7, // traffic class, payload length 10, UDP, hop limit
		0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
		0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
		0x13, 0x89, 0x00, 0x35, 0x00, 0x0a, 0x89, 0xae,
		'h', 'i',
	}
	if sent := h.turn(); len(sent) != 1 || !bytes.Equal(sent[0], want) {
		t.Errorf("% x, want % x", sent, want)
	}
}

// A datagram of every interesting size arrives whole, and its fragments are as
// large as the path allows.
func TestFragmentsBothWays(t *testing.T) {
	a, b := newHost(t, 1), newHost(t, 2)
	for _, c := range []struct{ from, to string }{{"10.0.0.1:1000", "10.0.0.2:2000"}, {"[fd00::1]:1000", "[fd00::2]:2000"}} {
		src, dst := a.bound(c.from), b.bound(c.to)
		b.set(dst, stream.OptRecvBuffer, 4<<20)
		for _, n := range []int{0, 1, 1402, 1403, 1422, 1423, 9000, 65507} {
			payload := strings.Repeat(fmt.Sprint(n), n/len(fmt.Sprint(n))+1)[:n]
			a.want(0, a.send(src, c.to, payload))
			for i, p := range a.turn() {
				if len(p) > 1450 {
					t.Errorf("%d bytes: fragment %d of %d bytes", n, i, len(p))
				}
				if i > 0 && len(p) == 0 {
					t.Errorf("%d bytes: empty fragment", n)
				}
				b.input(p)
			}
			got := b.got(dst)
			if len(got) != 1 || got[0].payload != payload || got[0].Remote != at(c.from) || got[0].Local != at(c.to).Addr() {
				t.Errorf("%s: %d bytes: %d datagrams", c.to, n, len(got))
			}
		}
	}
	if d := b.drops(); len(d) != 0 || b.frags.Held() != 0 {
		t.Errorf("drops %v, %d bytes held", d, b.frags.Held())
	}
}

// fragmentsOf returns the fragments of a datagram of n bytes from a to b.
func fragmentsOf(t *testing.T, v6 bool, n int) (b *host, k stream.Handle, fs [][]byte) {
	t.Helper()
	a := newHost(t, 1)
	b = newHost(t, 2)
	from, to := "10.0.0.1:1000", "10.0.0.2:2000"
	if v6 {
		from, to = "[fd00::1]:1000", "[fd00::2]:2000"
	}
	k = b.bound(to)
	a.want(0, a.send(a.bound(from), to, strings.Repeat("x", n)))
	return b, k, a.turn()
}

func TestReassembly(t *testing.T) {
	clone := func(fs [][]byte) (out [][]byte) {
		for _, f := range fs {
			out = append(out, bytes.Clone(f))
		}
		return out
	}
	for _, v6 := range []bool{false, true} {
		for _, c := range []struct {
			name  string
			edit  func(fs [][]byte) [][]byte
			whole int
			drops map[string]uint64
		}{
			{"in order", func(fs [][]byte) [][]byte { return fs }, 1, nil},
			{"reversed", func(fs [][]byte) [][]byte { slices.Reverse(fs); return fs }, 1, nil},
			{"shuffled", func(fs [][]byte) [][]byte { fs[0], fs[2] = fs[2], fs[0]; fs[1], fs[4] = fs[4], fs[1]; return fs }, 1, nil},
			{
				"copies", func(fs [][]byte) [][]byte { return append([][]byte{fs[0], fs[0], fs[1], fs[1]}, fs[1:]...) }, 1,
				map[string]uint64{"fragment_invalid": 3},
			},
			{"one missing", func(fs [][]byte) [][]byte { return append(fs[:2:2], fs[3:]...) }, 0, nil},
			{"overlap", func(fs [][]byte) [][]byte {
				o := shift(clone(fs)[1], -8)
				return [][]byte{fs[0], o, fs[1]}
			}, 0, map[string]uint64{"fragment_invalid": 2}},
			{"bytes behind the end", func(fs [][]byte) [][]byte {
				last := fs[len(fs)-1]
				return [][]byte{last, shift(bytes.Clone(fs[1]), 16384)}
			}, 0, map[string]uint64{"fragment_invalid": 2}},
			{
				"beyond 64 KiB", func(fs [][]byte) [][]byte { return [][]byte{shift(bytes.Clone(fs[1]), 65528-1600)} }, 0,
				map[string]uint64{"fragment_invalid": 1},
			},
		} {
			b, k, fs := fragmentsOf(t, v6, 9000)
			for _, f := range c.edit(fs) {
				b.input(f)
			}
			got := b.got(k)
			if len(got) != c.whole || fmt.Sprint(b.drops()) != fmt.Sprint(c.drops) {
				t.Errorf("%s, IPv6 %v: %d datagrams, drops %v, want %v", c.name, v6, len(got), b.drops(), c.drops)
			}
		}
	}
}

// shift moves a fragment by n bytes.
func shift(f []byte, n int) []byte {
	if f[0]>>4 == 6 {
		v := int(f[42])<<8 | int(f[43]) + n
		f[42], f[43] = byte(v>>8), byte(v)
		return f
	}
	v := int(f[6])<<8 | int(f[7]) + n/8
	f[6], f[7] = byte(v>>8), byte(v)
	fixSum(f)
	return f
}

func fixSum(f []byte) {
	f[10], f[11] = 0, 0
	sum := 0
	for i := 0; i < 20; i += 2 {
		sum += int(f[i])<<8 | int(f[i+1])
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	f[10], f[11] = byte(^sum>>8), byte(^sum)
}

// Unfinished packets are bounded in bytes and in time, and go uncounted never.
func TestReassemblyBounds(t *testing.T) {
	b, k, fs := fragmentsOf(t, false, 9000)
	b.frags.Limit = 100 << 10
	for id := range 1000 {
		f := bytes.Clone(fs[0])
		f[4], f[5] = byte(id>>8), byte(id)
		fixSum(f)
		b.input(f)
		if b.frags.Held() > b.frags.Limit {
			t.Fatalf("%d bytes held", b.frags.Held())
		}
	}
	d := b.drops()["fragment_limit"]
	kept := uint64(len(b.frags.m))
	if d+kept != 1000 || kept == 0 {
		t.Errorf("%d dropped, %d kept", d, kept)
	}
	b.now += fragmentLife
	for _, f := range fs {
		b.input(f)
	}
	if got := b.got(k); len(got) != 1 || b.drops()["fragment_expired"] != kept || b.frags.Held() != 0 {
		t.Errorf("%d datagrams, drops %v, %d bytes held", len(got), b.drops(), b.frags.Held())
	}
}

// A socket nobody reads holds what its buffer allows, and another one goes on.
func TestFlood(t *testing.T) {
	h := newHost(t, 1)
	victim, other := h.bound("10.0.0.1:1"), h.bound("10.0.0.1:2")
	peer := newHost(t, 2)
	src := peer.bound("10.0.0.2:9")
	for _, size := range []int{0, 1, 100, 1400} {
		peer.want(0, peer.send(src, "10.0.0.1:1", strings.Repeat("x", size)))
		p := peer.turn()[0]
		for range 10000 {
			h.input(p)
		}
		if held := h.Held(); held > 1<<20 {
			t.Fatalf("%d bytes held", held)
		}
	}
	if d := h.drops()["socket_queue"]; d < 30000 || d >= 40000 {
		t.Errorf("%d of 40,000 dropped", d)
	}
	peer.want(0, peer.send(src, "10.0.0.1:2", "well"))
	h.input(peer.turn()[0])
	if got := h.got(other); len(got) != 1 || got[0].payload != "well" {
		t.Errorf("the other socket got %v", got)
	}
	n := len(h.got(victim))
	if uint64(n)+h.drops()["socket_queue"] != 40000 || h.Held() != 0 {
		t.Errorf("%d taken, drops %v, %d bytes held", n, h.drops(), h.Held())
	}
	// The bound of the container comes before that of the sockets.
	h.budget = 64 << 10
	peer.want(0, peer.send(src, "10.0.0.1:1", strings.Repeat("x", 1000)))
	p := peer.turn()[0]
	for range 200 {
		h.input(p)
	}
	if h.Held() > h.budget || h.drops()["buffer_limit"] == 0 {
		t.Errorf("%d bytes held, drops %v", h.Held(), h.drops())
	}
}

// A full transmit queue stops Send; Writable follows once.
func TestTransmitQueue(t *testing.T) {
	h := newHost(t, 1)
	k := h.bound("10.0.0.1:1")
	n := 0
	for {
		e := h.send(k, "10.0.0.2:1", strings.Repeat("x", 1000))
		if e == syscall.EAGAIN {
			break
		}
		h.want(0, e)
		if n++; n > 10000 {
			t.Fatal("no end")
		}
	}
	h.want(syscall.EAGAIN, h.send(k, "10.0.0.2:1", "x"))
	h.Poll(out{h}, 10)
	if len(h.writable) != 0 {
		t.Error("writable while full")
	}
	if sent := h.turn(); len(sent) != n || h.writable[1] != 1 {
		t.Errorf("%d of %d sent, writable %d times", len(sent), n, h.writable[1])
	}
	// Sending to ourselves does not pass the queue.
	h.want(0, h.send(k, "10.0.0.1:1", "x"))
	if got := h.got(k); len(got) != 1 {
		t.Errorf("got %v", got)
	}
}

// Readable is reported once until Receive found nothing.
func TestReadable(t *testing.T) {
	h := newHost(t, 1)
	k := h.bound("127.0.0.1:1")
	for range 3 {
		h.want(0, h.send(k, "127.0.0.1:1", "x"))
		h.turn()
	}
	if h.readable[1] != 1 {
		t.Errorf("reported %d times", h.readable[1])
	}
	if n := len(h.got(k)); n != 3 {
		t.Errorf("%d datagrams", n)
	}
	h.want(0, h.send(k, "127.0.0.1:1", "x"))
	h.turn()
	if h.readable[1] != 2 {
		t.Errorf("reported %d times", h.readable[1])
	}
}

// What does not fit is lost, and its length is told.
func TestTruncation(t *testing.T) {
	h := newHost(t, 1)
	k := h.bound("127.0.0.1:1")
	h.want(0, h.send(k, "127.0.0.1:1", "0123456789"))
	h.want(0, h.send(k, "127.0.0.1:1", ""))
	var m stream.Message
	b := make([]byte, 4)
	if n, e := h.Receive(k, &m, b); n != 10 || e != 0 || string(b) != "0123" {
		t.Errorf("%d %v %q", n, e, b)
	}
	if n, e := h.Receive(k, &m, b); n != 0 || e != 0 {
		t.Errorf("%d %v", n, e)
	}
	if n, e := h.Receive(k, &m, b); n != 0 || e != syscall.EAGAIN {
		t.Errorf("%d %v", n, e)
	}
}

// Handles of closed sockets name nothing, also when their place is used again.
func TestStaleHandles(t *testing.T) {
	h := newHost(t, 1)
	old := h.bound("127.0.0.1:1")
	h.Close(old)
	h.Close(old)
	k := h.bound("127.0.0.1:1")
	if k == old || !IsHandle(k) {
		t.Fatalf("handles %x and %x", old, k)
	}
	h.want(syscall.EBADF, h.send(old, "127.0.0.1:1", "x"))
	h.want(syscall.EBADF, h.Connect(old, at("127.0.0.1:1")))
	if _, e := h.Receive(old, new(stream.Message), nil); e != syscall.EBADF {
		t.Errorf("receive: %v", e)
	}
	if h.Sockets() != 1 {
		t.Errorf("%d sockets", h.Sockets())
	}
}

// SO_REUSEPORT spreads flows and keeps each on one socket; multicast and
// broadcast reach all.
func TestReusePort(t *testing.T) {
	h, peer := newHost(t, 1), newHost(t, 2)
	var ks []stream.Handle
	for range 4 {
		k := h.socket(stream.IPv4, stream.UDP)
		h.set(k, stream.OptReusePort, 1)
		h.want(0, h.Bind(k, at("0.0.0.0:7")))
		ks = append(ks, k)
	}
	for port := range 200 {
		src := peer.bound(fmt.Sprintf("10.0.0.2:%d", 1000+port))
		for range 3 {
			peer.want(0, peer.send(src, "10.0.0.1:7", fmt.Sprint(port)))
		}
		carry(peer, h)
	}
	seen := map[string]stream.Handle{}
	for _, k := range ks {
		got := h.got(k)
		if len(got) < 60 {
			t.Errorf("%d of 600 datagrams", len(got))
		}
		for _, r := range got {
			if o, ok := seen[r.payload]; ok && o != k {
				t.Errorf("flow %s on two sockets", r.payload)
			}
			seen[r.payload] = k
		}
	}
	src := peer.bound("10.0.0.2:1")
	peer.set(src, stream.OptBroadcast, 1)
	peer.want(0, peer.send(src, "10.0.0.255:7", "all"))
	carry(peer, h)
	for _, k := range ks {
		if len(h.got(k)) != 1 {
			t.Error("a socket did not get the broadcast")
		}
	}
}

// Groups reach members on every host, and on the sender's if it loops.
func TestMulticast(t *testing.T) {
	for _, g := range []struct{ group, any string }{{"239.1.2.3", "0.0.0.0:9"}, {"ff05::123", "[::]:9"}} {
		a, b, c := newHost(t, 1), newHost(t, 2), newHost(t, 3)
		to := g.group + ":9"
		if strings.Contains(g.group, ":") {
			to = "[" + g.group + "]:9"
		}
		src, mate, member, stranger := a.bound(g.any), stream.Handle(0), b.bound(g.any), c.bound(g.any)
		a.want(0, a.Join(src, ip(g.group)))
		b.want(0, b.Join(member, ip(g.group)))
		mate = b.socket(stream.IPv6, stream.UDP)
		b.set(mate, stream.OptReuseAddr, 1)
		send := func(payload string) {
			t.Helper()
			a.want(0, a.send(src, to, payload))
			carry(a, b, c)
		}
		count := func(h *host, k stream.Handle, n int) {
			t.Helper()
			got := h.got(k)
			if len(got) != n {
				t.Errorf("%s: %d datagrams, want %d", g.group, len(got), n)
			}
			for _, r := range got {
				if r.Local != ip(g.group) || r.TTL != 1 {
					t.Errorf("%s: local %v, TTL %d", g.group, r.Local, r.TTL)
				}
			}
		}
		send("x")
		count(a, src, 1)
		count(b, member, 1)
		count(c, stranger, 0)
		if d := c.drops(); d["ip_not_local"] != 1 {
			t.Errorf("the stranger's drops: %v", d)
		}
		a.set(src, stream.OptMulticastLoop, 0)
		send("x")
		count(a, src, 0)
		count(b, member, 1)
		b.want(0, b.Leave(member, ip(g.group)))
		send("x")
		count(b, member, 0)
		// Others' memberships count unless the socket does not want that.
		b.want(0, b.Join(mate, ip(g.group)))
		send("x")
		count(b, member, 1)
		b.set(member, stream.OptMulticastAll, 0)
		send("x")
		count(b, member, 0)
		// A member that is closed is none.
		b.set(member, stream.OptMulticastAll, 1)
		b.Close(mate)
		send("x")
		count(b, member, 0)
	}
}

func TestMembershipBounds(t *testing.T) {
	h := newHost(t, 1)
	k := h.socket(stream.IPv6, stream.UDP)
	for i := range maxGroups4 {
		h.want(0, h.Join(k, ip(fmt.Sprintf("239.0.0.%d", i+1))))
	}
	h.want(syscall.ENOBUFS, h.Join(k, ip("239.0.1.1")))
	for i := range maxGroups6 {
		h.want(0, h.Join(k, ip(fmt.Sprintf("ff05::%x", i+1))))
	}
	h.want(syscall.ENOBUFS, h.Join(k, ip("ff05::1:1")))
	h.want(syscall.EADDRINUSE, h.Join(k, ip("239.0.0.1")))
	h.want(syscall.EINVAL, h.Join(k, ip("10.0.0.2")))
	h.Close(k)
	if len(h.members) != 0 {
		t.Errorf("%d groups have members", len(h.members))
	}
}

// Nothing is allocated per datagram once buffers were used.
func TestAllocs(t *testing.T) {
	a, b := newHost(t, 1), newHost(t, 2)
	src, dst := a.bound("10.0.0.1:1000"), b.bound("10.0.0.2:2000")
	a.want(0, a.Connect(src, at("10.0.0.2:2000")))
	payload, buf := make([]byte, 1000), make([]byte, 2000)
	big := make([]byte, 9000)
	f := &frames{path: stream.Path{Max: 1450, Checksums: true}, to: b}
	var m stream.Message
	round := func(p []byte) {
		m = stream.Message{}
		if e := a.Send(src, &m, p); e != 0 {
			t.Fatal(e)
		}
		a.Transmit(f, 64)
		b.Poll(quiet{}, 64)
		if _, e := b.Receive(dst, &m, buf); e != 0 {
			t.Fatal(e)
		}
		b.Receive(dst, &m, buf)
	}
	for range 10 {
		round(payload)
		round(big)
	}
	if n := testing.AllocsPerRun(100, func() { round(payload) }); n != 0 {
		t.Errorf("%v allocations per datagram", n)
	}
	if n := testing.AllocsPerRun(100, func() { round(big) }); n != 0 {
		t.Errorf("%v allocations per datagram in fragments", n)
	}
}

// frames is an Output that delivers to a host at once, without allocating.
type frames struct {
	path stream.Path
	buf  [2048]byte
	n    int
	to   *host
}

func (f *frames) Open(_ netip.Addr, _ uint32) stream.Path { return f.path }
func (f *frames) Frame(n int) []byte                      { f.n = n; return f.buf[:n] }
func (f *frames) Commit()                                 { f.to.input(f.buf[:f.n]) }

// quiet is Events nobody looks at.
type quiet struct{}

func (quiet) Established(uint64)           {}
func (quiet) Failed(uint64, syscall.Errno) {}
func (quiet) Acceptable(uint64)            {}
func (quiet) Readable(uint64)              {}
func (quiet) Writable(uint64)              {}

// The ring keeps order and content through wraps and growth.
func TestRing(t *testing.T) {
	var r ring
	var p pool
	var want [][]byte
	seed := uint32(1)
	next := func(n int) int {
		seed = seed*1664525 + 1013904223
		return int(seed>>8) % n
	}
	for i := range 20000 {
		if next(5) < 3 && r.used() < 200<<10 {
			n := next(300)
			if next(50) == 0 {
				n = next(70000)
			}
			b := bytes.Repeat([]byte{byte(i)}, n)
			copy(r.push(n, &p), b)
			want = append(want, b)
		} else if b := r.front(); b != nil {
			if !bytes.Equal(b, want[0]) {
				t.Fatalf("step %d: %d bytes, want %d", i, len(b), len(want[0]))
			}
			r.pop(&p)
			want = want[1:]
		} else if len(want) != 0 {
			t.Fatalf("step %d: empty, want %d", i, len(want))
		}
	}
	for len(want) > 0 {
		if !bytes.Equal(r.front(), want[0]) {
			t.Fatal("rest")
		}
		r.pop(&p)
		want = want[1:]
	}
	if p.out != 0 || r.front() != nil || p.idle > idleBytes {
		t.Errorf("%d bytes out, %d idle", p.out, p.idle)
	}
}

func TestSpreadCountsCopies(t *testing.T) {
	h, peer := newHost(t, 1), newHost(t, 2)
	var ks []stream.Handle
	for range 3 {
		k := h.socket(stream.IPv4, stream.UDP)
		h.set(k, stream.OptReuseAddr, 1)
		h.want(0, h.Bind(k, at("0.0.0.0:7")))
		ks = append(ks, k)
	}
	h.set(ks[0], stream.OptRecvBuffer, 0)
	src := peer.bound("10.0.0.2:1")
	peer.set(src, stream.OptBroadcast, 1)
	for range 10 {
		peer.want(0, peer.send(src, "255.255.255.255:7", strings.Repeat("x", 1000)))
	}
	carry(peer, h)
	n := [3]int{}
	for i, k := range ks {
		n[i] = len(h.got(k))
	}
	if n[0] >= 10 || n[1] != 10 || n[2] != 10 || h.drops()["socket_queue"] != uint64(10-n[0]) {
		t.Errorf("%v datagrams, drops %v", n, h.drops())
	}
	if r := h.drops()["no_socket"]; r != 0 {
		t.Errorf("no_socket %d", r)
	}
}
