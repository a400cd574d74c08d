// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"netcon/dataplane/stat"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

// fakeResolver answers when the test says so. Its fields belong to the worker's
// thread.
type fakeResolver struct {
	servers []netip.Addr
	open    []func() // answers that wait
	hold    bool
	asked   []string
	streams []int // their other ends
	refuse  syscall.Errno
}

func (r *fakeResolver) later(answer func()) {
	r.open = append(r.open, answer)
	if !r.hold {
		r.release()
	}
}

func (r *fakeResolver) release() {
	open := r.open
	r.open = nil
	for _, answer := range open {
		answer()
	}
}

func (r *fakeResolver) Nameserver(ip netip.Addr) bool { return slices.Contains(r.servers, ip) }

func (r *fakeResolver) Query(query []byte, host bool, answer func([]byte)) {
	text := string(query)
	r.asked = append(r.asked, fmt.Sprintf("%s %t", text, host))
	r.later(func() {
		if text == "silence" {
			answer(nil)
			return
		}
		answer([]byte("answer to " + text))
	})
}

func (r *fakeResolver) Stream(host bool) (int, syscall.Errno) {
	if r.refuse != 0 {
		return -1, r.refuse
	}
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, unix.ENOBUFS
	}
	r.asked = append(r.asked, fmt.Sprintf("stream %t", host))
	r.streams = append(r.streams, p[1])
	return p[0], 0
}

func (r *fakeResolver) Addresses(name string, v4, v6, host bool, answer func([]netip.Addr, syscall.Errno)) {
	r.asked = append(r.asked, fmt.Sprintf("%s %t %t %t", name, v4, v6, host))
	r.later(func() {
		switch name {
		case "nobody":
			answer(nil, unix.ENOENT)
		case "many":
			answer(make([]netip.Addr, 1000), 0)
		default:
			answer([]netip.Addr{netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("fd00::7")}, 0)
		}
	})
}

func (r *fakeResolver) Name(ip netip.Addr, host bool, answer func(string, syscall.Errno)) {
	r.asked = append(r.asked, fmt.Sprintf("%s %t", ip, host))
	r.later(func() { answer("web.blue", 0) })
}

// newNameWorld is a world with nameservers outside, on the container's loopback and
// on its network.
func newNameWorld(t *testing.T, change ...func(*Config)) (*world, *fakeResolver) {
	r := &fakeResolver{servers: []netip.Addr{
		netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("2001:db8::53"), netip.MustParseAddr("127.0.0.53"), netip.MustParseAddr("10.0.0.53"),
	}}
	w := newWorld(t, append(change, func(c *Config) {
		c.Resolver = r
		c.Addresses = []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")}
		c.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	})...)
	return w, r
}

// TestQuery: datagrams to a nameserver are answered in its place, wherever it is,
// and nowhere else.
func TestQuery(t *testing.T) {
	w, r := newNameWorld(t)
	for _, tt := range []struct {
		family uint16
		server string
		ours   bool
	}{
		{unix.AF_INET, "192.0.2.53:53", true},
		{unix.AF_INET, "127.0.0.53:53", true},
		{unix.AF_INET6, "[2001:db8::53]:53", true},
		{unix.AF_INET6, "[::ffff:192.0.2.53]:53", true},
		{unix.AF_INET, "192.0.2.53:54", false},
		{unix.AF_INET, "192.0.2.54:53", false},
		{unix.AF_INET, "10.0.0.53:53", false}, // it is there itself
	} {
		for _, connected := range []bool{false, true} {
			s, e := w.openKind(tt.family, unix.SOCK_DGRAM, 0)
			if e != 0 {
				t.Fatal(e)
			}
			to := tt.server
			if connected {
				if e := s.connect(tt.server); e != 0 {
					t.Fatal(e)
				}
				to = ""
			}
			var before int
			w.do(func() { before = len(r.asked) })
			s.sendTo(to, "question")
			if e := s.verdict(); e != 0 { // and so it is sent
				t.Error(e)
			}
			var asked []string
			w.do(func() { asked = r.asked[before:] })
			if !tt.ours {
				if len(asked) != 0 {
					t.Errorf("%s, connected %t: the resolver was asked %v", tt.server, connected, asked)
				}
				continue
			}
			h, got := s.receive()
			if got != "answer to question" || h.Remote != wireAddr(tt.server) || !slices.Equal(asked, []string{"question false"}) {
				t.Errorf("%s, connected %t: %q from %v; asked %v", tt.server, connected, got, h.Remote, asked)
			}
			if name, e := s.call(getname); e != 0 || name.Addr.Port == 0 {
				t.Errorf("%s, connected %t: bound to %v, %v", tt.server, connected, name.Addr, e)
			}
			s.close()
		}
	}
}

// TestQueryLoopback: a container that runs a nameserver on its loopback is served by
// that.
func TestQueryLoopback(t *testing.T) {
	for _, at := range []string{"127.0.0.53:53", "0.0.0.0:53"} {
		w, r := newNameWorld(t)
		server, s := w.bound(at), w.udp()
		s.sendTo("127.0.0.53:53", "question")
		if _, got := server.receive(); got != "question" {
			t.Errorf("%q", got)
		}
		// TCP is another matter, and another nameserver is another place.
		s.sendTo("192.0.2.53:53", "outside")
		if _, got := s.receive(); got != "answer to outside" {
			t.Errorf("%q", got)
		}
		w.do(func() {
			if !slices.Equal(r.asked, []string{"outside false"}) {
				t.Error(r.asked)
			}
		})
		server.close()
		w.eventually("the server is gone", func() bool { return w.set.Len() == 1 })
		s.sendTo("127.0.0.53:53", "again")
		if _, got := s.receive(); got != "answer to again" {
			t.Errorf("%q", got)
		}
	}
}

// TestQueryLate: an answer comes to who asked, as long as that would hear it.
func TestQueryLate(t *testing.T) {
	w, r := newNameWorld(t)
	w.do(func() { r.hold = true; w.set.SetWayOut(true) })
	gone, elsewhere, silent := w.udp(), w.udp(), w.udp()
	for _, s := range []*app{gone, elsewhere} {
		s.sendTo("192.0.2.53:53", "question")
	}
	silent.sendTo("192.0.2.53:53", "silence")
	w.eventually("all ask", func() bool { return w.set.questions == 3 })
	gone.close()
	other := w.bound("10.0.0.9:7")
	if e := elsewhere.connect("10.0.0.9:7"); e != 0 {
		t.Fatal(e)
	}
	w.eventually("one is gone", func() bool { return w.set.Len() == 3 })
	w.do(func() { r.release() })
	other.sendTo("", "") // no peer: nothing comes of it
	elsewhere.sendTo("", "hello")
	h, _ := other.receive()
	other.sendTo(fmt.Sprintf("10.0.0.9:%d", h.Remote.Port<<8|h.Remote.Port>>8), "first")
	w.do(func() {
		if w.set.questions != 0 {
			t.Errorf("%d questions are open", w.set.questions)
		}
		if queued(int32(silent.fd)) != 0 || unread(int32(silent.fd)) != 0 {
			t.Error("silence was heard")
		}
	})
	if p := elsewhere.poll(unix.POLLIN, 0); p&unix.POLLIN != 0 {
		if _, got := elsewhere.receive(); strings.HasPrefix(got, "answer") {
			t.Errorf("connected elsewhere it hears %q", got)
		}
	}
}

// TestQueryLimit: open questions are bounded, of every kind together.
func TestQueryLimit(t *testing.T) {
	w, r := newNameWorld(t)
	w.do(func() { r.hold = true })
	s := w.udp()
	for range maxQuestions {
		s.sendTo("192.0.2.53:53", "question")
	}
	w.eventually("all ask", func() bool { return w.set.questions == maxQuestions })
	s.sendTo("192.0.2.53:53", "one more")
	w.eventually("it is counted", func() bool { return w.stat.Drops(stat.DropQuestions) == 1 })
	if _, e := s.call(resolveName("web", unix.AF_UNSPEC)); e != unix.EAGAIN {
		t.Errorf("a library's question: %v", e)
	}
	w.do(func() { r.hold = false; r.release() })
	if _, e := s.call(resolveName("web", unix.AF_UNSPEC)); e != 0 {
		t.Error(e)
	}
}

func resolveName(name string, family uint16) shm.Request {
	r := shm.Request{Op: shm.OpResolve, Family: family, Optlen: uint32(len(name))}
	copy(r.Opt[:], name)
	return r
}

// TestResolve: what a library's resolver asks.
func TestResolve(t *testing.T) {
	w, r := newNameWorld(t)
	s := w.udp()
	for _, tt := range []struct {
		name   string
		family uint16
		want   syscall.Errno
		asked  string
	}{
		{"web", unix.AF_UNSPEC, 0, "web true true false"},
		{"web", unix.AF_INET, 0, "web true false false"},
		{"web", unix.AF_INET6, 0, "web false true false"},
		{"web", unix.AF_UNIX, unix.EAFNOSUPPORT, ""},
		{"nobody", unix.AF_UNSPEC, unix.ENOENT, "nobody true true false"},
		{"", unix.AF_UNSPEC, unix.ENOENT, ""},
		{strings.Repeat("x", 254), unix.AF_UNSPEC, unix.ENOENT, ""},
	} {
		w.do(func() { r.asked = nil })
		reply, e := s.call(resolveName(tt.name, tt.family))
		if e != tt.want || e == 0 && (reply.Value != 2 || reply.Optlen != 2*shm.SizeofFound) {
			t.Errorf("%.10s: %v, %d", tt.name, e, reply.Value)
		}
		w.do(func() {
			if strings.Join(r.asked, "") != tt.asked {
				t.Errorf("%.10s: asked %v, want %s", tt.name, r.asked, tt.asked)
			}
		})
		if e != 0 {
			continue
		}
		for i, want := range []string{"10.0.0.7", "fd00::7"} {
			var f shm.Found
			copy(shm.FoundBytes(&f), reply.Opt[i*shm.SizeofFound:])
			got := netip.AddrFrom16(f.Ip)
			if f.Family == unix.AF_INET {
				got = netip.AddrFrom4([4]byte(f.Ip[:4]))
			}
			if got.String() != want {
				t.Errorf("address %d: %v", i, got)
			}
		}
	}
	if reply, e := s.call(resolveName("many", unix.AF_INET6)); e != 0 || int(reply.Value) != shm.OptMax/shm.SizeofFound {
		t.Errorf("more than there is room for: %d, %v", reply.Value, e)
	}

	w.do(func() { r.asked = nil; w.set.SetWayOut(true) })
	reply, e := s.call(shm.Request{Op: shm.OpResolve, Addr: wireAddr("10.0.0.7:0")})
	if e != 0 || string(reply.Opt[:reply.Optlen]) != "web.blue" {
		t.Errorf("name: %q %v", reply.Opt[:reply.Optlen], e)
	}
	w.do(func() {
		if !slices.Equal(r.asked, []string{"10.0.0.7 false"}) { // there is no host to go out to
			t.Error(r.asked)
		}
	})
	if _, e := s.call(shm.Request{Op: shm.OpResolve, Addr: shm.Addr{Family: unix.AF_UNIX}}); e != unix.EAFNOSUPPORT {
		t.Errorf("the name of a file: %v", e)
	}
}

// TestNobodyResolves: without a Resolver a question is answered all the same.
func TestNobodyResolves(t *testing.T) {
	w := newWorld(t)
	s := w.udp()
	if _, e := s.call(resolveName("web", unix.AF_UNSPEC)); e != unix.EAGAIN {
		t.Error(e)
	}
}

// TestStream: a connection to a nameserver is one to the Resolver, for everything
// that a program does with one.
func TestStream(t *testing.T) {
	r := &fakeResolver{servers: []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("127.0.0.53")}}
	w := newHostWorld(t)
	w.do(func() {
		w.set.cfg.Resolver = r
		w.set.cfg.Addresses = []netip.Addr{netip.MustParseAddr("10.0.0.1")}
	})
	for _, tt := range []struct{ bind, server, local string }{
		{"", "192.0.2.53:53", "10.0.0.1"}, {"", "127.0.0.53:53", "127.0.0.53"}, {"10.0.0.2:99", "192.0.2.53:53", "10.0.0.2"},
	} {
		c := w.open()
		if tt.bind != "" {
			c.bind(tt.bind)
		}
		if e := c.connect(tt.server); e != 0 {
			t.Fatal(e)
		}
		peer := -1
		w.do(func() {
			peer = r.streams[len(r.streams)-1]
			if s := w.set.Sockets()[0]; s.Via != "resolver" || s.State != "ESTAB" {
				t.Errorf("%+v", s)
			}
		})
		if n, e := c.call(getname); e != 0 || netip.AddrFrom4([4]byte(n.Addr.Ip[:4])).String() != tt.local || n.Addr.Port == 0 {
			t.Errorf("local address %v %v, want %s", n.Addr, e, tt.local)
		}
		if n, e := c.call(getpeer); e != 0 || n.Addr != wireAddr(tt.server) {
			t.Errorf("peer %v %v", n.Addr, e)
		}
		if e := c.setInt(unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); e != 0 {
			t.Errorf("TCP_NODELAY: %v", e)
		}
		if v, e := c.getInt(unix.IPPROTO_TCP, unix.TCP_NODELAY); e != 0 || v != 1 {
			t.Errorf("TCP_NODELAY: %d %v", v, e)
		}
		c.write([]byte("question"))
		b := make([]byte, 100)
		w.eventually("it is asked", func() bool {
			n, _, _ := unix.Recvfrom(peer, b, unix.MSG_PEEK|unix.MSG_DONTWAIT)
			return n == len("question")
		})
		if err := unix.Sendto(peer, []byte("answer"), 0, nil); err != nil {
			t.Fatal(err)
		}
		c.readFull(b[:len("answer")])
		if string(b[:6]) != "answer" {
			t.Errorf("%q", b[:6])
		}
		_ = unix.Close(peer)
		if n, err := c.read(b); n != 0 || err != nil {
			t.Errorf("behind the end: %d %v", n, err)
		}
		c.close()
		w.eventually("it is gone", func() bool { return w.set.Len() == 0 })
	}
	w.do(func() {
		if w.stat.Publish(); w.stat.Get(stat.HostConnects)+w.stat.Get(stat.HostTx)+w.stat.Get(stat.HostRx) != 0 {
			t.Error("it is counted as the host's")
		}
		r.refuse = unix.ECONNREFUSED
	})
	c := w.open()
	if e := c.connect("192.0.2.53:53"); e != unix.ECONNREFUSED {
		t.Errorf("one too many: %v", e)
	}
	// Who has a server of its own on the loopback gets that.
	l := w.open()
	l.bind("127.0.0.53:53")
	l.listen(1)
	if e := c.connect("127.0.0.53:53"); e != 0 {
		t.Error(e)
	}
	l.accept()
}
