// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"net/netip"
	"syscall"
	"testing"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

// fakeHost is a host's stack without kernel sockets.
type fakeHost struct{ *fakeEngine }

func (fakeHost) Adopt(int, uint64) (stream.Handle, syscall.Errno) { return 0, unix.EOPNOTSUPP }

func (fakeHost) Join(int, netip.AddrPort, uint64) (stream.Handle, syscall.Errno) {
	return 0, unix.EOPNOTSUPP
}

func (fakeHost) OpenDatagram(stream.Family, uint64) (stream.Handle, syscall.Errno) {
	return 0, unix.EOPNOTSUPP
}

func (fakeHost) Point(stream.Handle, netip.AddrPort) syscall.Errno { return unix.EOPNOTSUPP }

func (fakeHost) SendTo(stream.Handle, stream.HostPlace, netip.AddrPort, []byte) syscall.Errno {
	return unix.EOPNOTSUPP
}

func (fakeHost) ReceiveFrom(stream.Handle, []byte) (n int, from netip.AddrPort, at stream.HostPlace, e syscall.Errno) {
	return 0, from, at, unix.EAGAIN
}

// withHost gives a world a way out.
func withHost(h fakeHost) func(*Config) {
	return func(c *Config) {
		c.Host = h
		c.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	}
}

// hostListener is a program on the host.
func (h fakeHost) hostListener(t *testing.T, addr string) *fakeSock {
	t.Helper()
	handle, e := h.Open(stream.IPv4, 0)
	if e == 0 {
		e = h.Bind(handle, mustAddrPort(addr))
	}
	if e == 0 {
		e = h.Listen(handle, 16)
	}
	if e != 0 {
		t.Fatal(e)
	}
	return h.get(handle)
}

// TestOutside: which destinations are the container's.
func TestOutside(t *testing.T) {
	for _, tt := range []struct {
		addr     string
		gateways bool
		want     bool
	}{
		{"192.0.2.1", false, true},
		{"2001:db8::1", false, true},
		{"::ffff:192.0.2.1", false, true},
		{"192.0.2.1", true, false},
		{"2001:db8::1", true, false},
		{"10.1.2.3", false, false},
		{"::ffff:10.1.2.3", false, false},
		{"fd00::7", false, false},
		{"127.0.0.1", false, false},
		{"127.255.0.9", false, false},
		{"::ffff:127.0.0.1", false, false},
		{"::1", false, false},
		{"0.0.0.0", false, false},
		{"::", false, false},
		{"169.254.169.254", false, false},
		{"fe80::1", false, false},
		{"224.0.0.1", false, false},
		{"ff02::1", false, false},
		{"255.255.255.255", false, false},
	} {
		set := New(Config{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}, Gateway4: tt.gateways, Gateway6: tt.gateways})
		if got := set.outside(netip.MustParseAddr(tt.addr)); got != tt.want {
			t.Errorf("%s, gateways %t: outside %t", tt.addr, tt.gateways, got)
		}
	}
}

// TestWayOut: a connect beyond the networks goes over the host's stack where
// policy lets it, with the options that were set before, and new sockets go by
// the policy of the time.
func TestWayOut(t *testing.T) {
	host := fakeHost{newFake()}
	w := newWorld(t, withHost(host))
	var l *fakeSock
	w.do(func() { l = host.hostListener(t, "192.0.2.7:80") })

	isolated := w.open()
	if e := isolated.connect("192.0.2.7:80"); e != unix.ECONNREFUSED { // the fake container's answer
		t.Fatalf("isolated: %v", e)
	}
	w.do(func() {
		w.set.SetWayOut(true)
		if len(l.backlog) != 0 {
			t.Error("an isolated container reached the host")
		}
	})

	a := w.open()
	a.setInt(unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if e := a.bind("0.0.0.0:4444"); e != 0 {
		t.Fatal(e)
	}
	if e := a.connect("192.0.2.7:80"); e != 0 {
		t.Fatal(e)
	}
	var peer *fakeSock
	w.do(func() {
		peer = l.backlog[0]
		if c := peer.peer; c.opts[stream.OptNoDelay] != 1 {
			t.Error("the option did not go along")
		}
		for _, i := range w.set.Sockets() {
			if want := map[bool]string{true: "host", false: "network"}[i.Cookie == a.cookie]; i.Via != want {
				t.Errorf("socket %+v goes via %s, want %s", i, i.Via, want)
			}
		}
		// The port is free in the container.
		if len(w.eng.ports) != 0 {
			t.Errorf("the container still has %v", w.eng.ports)
		}
	})
	a.write([]byte("hello"))
	w.eventually("bytes on the host", func() bool { return string(peer.wire) == "hello" })
	if r, e := a.call(getpeer); e != 0 || r.Addr != wireAddr("192.0.2.7:80") {
		t.Errorf("peer %v %v", r.Addr, e)
	}

	// What is on the networks stays there.
	_, client, _ := w.connection("10.0.0.9:80")
	w.do(func() {
		if w.set.byCookie[client.cookie].has(fHost) {
			t.Error("a connection inside went over the host")
		}
	})
	// A policy that changes leaves connections alone.
	w.do(func() { w.set.SetWayOut(false) })
	a.write([]byte(" again"))
	w.eventually("more bytes on the host", func() bool { return string(peer.wire) == "hello again" })
	if e := w.open().connect("192.0.2.7:80"); e != unix.ECONNREFUSED {
		t.Errorf("after the way was closed: %v", e)
	}
}

// TestWayOutRefused: a socket whose connect to the outside failed is the
// container's again, with the address it was bound to.
func TestWayOutRefused(t *testing.T) {
	host := fakeHost{newFake()}
	w := newWorld(t, withHost(host))
	w.do(func() { w.set.SetWayOut(true) })
	a := w.open()
	if e := a.bind("0.0.0.0:4444"); e != 0 {
		t.Fatal(e)
	}
	if e := a.connect("192.0.2.7:81"); e != unix.ECONNREFUSED {
		t.Fatal(e)
	}
	if r, e := a.call(getname); e != 0 || r.Addr != wireAddr("0.0.0.0:4444") {
		t.Errorf("address %v %v", r.Addr, e)
	}
	l := w.open()
	l.bind("10.0.0.9:80")
	l.listen(1)
	if e := a.connect("10.0.0.9:80"); e != 0 {
		t.Errorf("connect inside: %v", e)
	}
	w.do(func() {
		if len(host.socks) != 0 {
			t.Errorf("%d sockets are left on the host", len(host.socks))
		}
	})
	w.stat.Publish()
	if n := w.stat.Get(stat.Connects); n != 1 {
		t.Errorf("%d connects", n)
	}
}

// TestWayOutBound: a socket bound to an address or the device of the container
// does not leave it.
func TestWayOutBound(t *testing.T) {
	host := fakeHost{newFake()}
	w := newWorld(t, withHost(host))
	w.do(func() {
		w.set.SetWayOut(true)
		host.hostListener(t, "192.0.2.7:80")
	})
	a := w.open()
	a.bind("10.0.0.1:0")
	b := w.open()
	r := shm.Request{Op: shm.OpSetsockopt, Level: unix.SOL_SOCKET, Option: unix.SO_BINDTODEVICE, Optlen: 5}
	copy(r.Opt[:], "eth0\x00")
	if _, e := b.call(r); e != 0 {
		t.Fatal(e)
	}
	for _, s := range []*app{a, b} {
		if e := s.connect("192.0.2.7:80"); e != unix.ECONNREFUSED {
			t.Errorf("connect: %v", e)
		}
	}
}

// TestWayOutRestart: when the container's stack dies its connections over the
// host end as well, and leave nothing there.
func TestWayOutRestart(t *testing.T) {
	host := fakeHost{newFake()}
	w := newWorld(t, withHost(host))
	w.do(func() {
		w.set.SetWayOut(true)
		host.hostListener(t, "192.0.2.7:80")
	})
	a := w.open()
	if e := a.connect("192.0.2.7:80"); e != 0 {
		t.Fatal(e)
	}
	w.do(func() {
		before := len(host.socks)
		w.eng = newFake()
		w.set.Restart(w.eng)
		if len(host.socks) != before-1 {
			t.Errorf("%d sockets on the host, were %d", len(host.socks), before)
		}
	})
	if n, err := a.read(make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("read: %d %v", n, err)
	}
}
