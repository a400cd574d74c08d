// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

// udpHost is UDP sockets of a host: what is sent is kept, what is received is put
// there. It belongs to the worker's thread.
type udpHost struct {
	fakeHost
	socks  map[stream.Handle]*udpSock
	last   stream.Handle
	sent   []udpSent
	full   bool
	refuse syscall.Errno
}

type udpSock struct {
	user   uint64
	family stream.Family
	peer   netip.AddrPort
	queue  []udpSent
	err    syscall.Errno
}

type udpSent struct {
	sock stream.Handle
	addr netip.AddrPort
	text string
}

func newUDPHost() *udpHost {
	return &udpHost{fakeHost: fakeHost{newFake()}, socks: map[stream.Handle]*udpSock{}}
}

func (h *udpHost) OpenDatagram(f stream.Family, user uint64) (stream.Handle, syscall.Errno) {
	if h.refuse != 0 {
		return 0, h.refuse
	}
	h.last++
	h.socks[h.last] = &udpSock{user: user, family: f}
	return h.last, 0
}

func (h *udpHost) Point(s stream.Handle, remote netip.AddrPort) syscall.Errno {
	h.socks[s].peer = remote
	return 0
}

func (h *udpHost) SendTo(s stream.Handle, at stream.HostPlace, remote netip.AddrPort, payload []byte) syscall.Errno {
	switch {
	case h.full:
		return unix.EAGAIN
	case at.IP.IsValid():
		return unix.EINVAL
	case !remote.IsValid():
		remote = h.socks[s].peer
	}
	h.sent = append(h.sent, udpSent{s, remote, string(payload)})
	return 0
}

func (h *udpHost) ReceiveFrom(s stream.Handle, buf []byte) (n int, from netip.AddrPort, at stream.HostPlace, e syscall.Errno) {
	u := h.socks[s]
	if u.err != 0 {
		e, u.err = u.err, 0
		return 0, from, at, e
	}
	if len(u.queue) == 0 {
		return 0, from, at, unix.EAGAIN
	}
	x := u.queue[0]
	u.queue = u.queue[1:]
	return copy(buf, x.text), x.addr, at, 0
}

func (h *udpHost) Close(s stream.Handle) {
	if h.socks[s] == nil {
		panic("close of what is not open")
	}
	delete(h.socks, s)
}

// arrives puts a datagram, or an error, into the queue of a socket.
func (h *udpHost) arrives(w *world, s stream.Handle, from, text string, err syscall.Errno) {
	u := h.socks[s]
	if u.err = err; err == 0 {
		u.queue = append(u.queue, udpSent{s, mustAddrPort(from), text})
	}
	w.set.Readable(u.user)
}

// newOutWorld is a world whose way out is open.
func newOutWorld(t *testing.T) (*world, *udpHost) {
	h := newUDPHost()
	w := newWorld(t, func(c *Config) {
		c.Host, c.NoDatagrams = h, 4789
		c.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	})
	w.do(func() { w.set.SetWayOut(true) })
	return w, h
}

// report sends a datagram and returns what became of it.
func (a *app) report(to, text string) syscall.Errno {
	a.w.t.Helper()
	h := shm.Datagram{Flags: shm.DatagramReport}
	if to != "" {
		h.Remote = wireAddr(to)
	}
	if err := unix.Sendto(a.fd, record(h, text), unix.MSG_NOSIGNAL, nil); err != nil {
		a.w.t.Fatal(err)
	}
	return a.verdict()
}

// sends returns what left by the host since the last call.
func (h *udpHost) sends(w *world) (list []udpSent) {
	w.do(func() { list, h.sent = h.sent, nil })
	return list
}

// TestDatagramsOut: what is not on the networks goes by a socket of the host, one of
// each family, and what comes back is the container's.
func TestDatagramsOut(t *testing.T) {
	w, h := newOutWorld(t)
	six, e := w.openKind(unix.AF_INET6, unix.SOCK_DGRAM, 0)
	if e != 0 {
		t.Fatal(e)
	}
	for _, to := range []string{"[2001:db8::7]:7", "[::ffff:192.0.2.7]:7", "[2001:db8::8]:8"} {
		if e := six.report(to, to); e != 0 {
			t.Fatal(to, e)
		}
	}
	sent := h.sends(w)
	if len(sent) != 3 || sent[0].sock != sent[2].sock || sent[0].sock == sent[1].sock || sent[2].addr != mustAddrPort("[2001:db8::8]:8") {
		t.Errorf("%+v", sent)
	}
	w.do(func() {
		if len(h.socks) != 2 || h.socks[sent[0].sock].family != stream.IPv6 || h.socks[sent[1].sock].family != stream.IPv4 {
			t.Errorf("%+v", h.socks)
		}
		h.arrives(w, sent[1].sock, "192.0.2.7:7", "four", 0)
		h.arrives(w, sent[0].sock, "[2001:db8::7]:7", "six", 0)
	})
	if x, got := six.receive(); got != "four" || x.Remote != wireAddr("[::ffff:192.0.2.7]:7") {
		t.Errorf("%q from %v", got, x.Remote)
	}
	if x, got := six.receive(); got != "six" || x.Remote != wireAddr("[2001:db8::7]:7") {
		t.Errorf("%q from %v", got, x.Remote)
	}
	if n, e := six.call(getname); e != 0 || n.Addr.Port == 0 {
		t.Errorf("after the first datagram: %v %v", n.Addr, e)
	}

	// What stays.
	four, bound := w.udp(), w.bound("10.0.0.1:9")
	inside := w.bound("10.0.0.2:7")
	four.sendTo("10.0.0.2:7", "inside")
	if _, got := inside.receive(); got != "inside" {
		t.Errorf("%q", got)
	}
	bound.report("192.0.2.7:7", "bound to an address")
	ping, e := w.openKind(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP)
	if e != 0 {
		t.Fatal(e)
	}
	ping.report("192.0.2.7:0", "ping")
	for _, s := range []*app{four, bound, ping} {
		if e := s.report("127.0.0.1:7", "loopback"); e != 0 {
			t.Error(e)
		}
	}
	if list := h.sends(w); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	// What may not be.
	if e := four.report("192.0.2.7:4789", "frame"); e != unix.EACCES {
		t.Errorf("to the overlay's port: %v", e)
	}
	if e := four.report("192.0.2.7:0", "nowhere"); e != unix.EINVAL {
		t.Errorf("to port 0: %v", e)
	}
	w.do(func() { h.refuse = unix.ENETUNREACH })
	if e := four.report("192.0.2.7:7", "no socket"); e != unix.ENETUNREACH {
		t.Errorf("without a socket: %v", e)
	}
	six.close()
	w.eventually("its sockets are closed", func() bool { return len(h.socks) == 0 })
}

// TestDatagramsOutConnected: a socket that is connected to a place outside hears it
// alone, and its errors.
func TestDatagramsOutConnected(t *testing.T) {
	w, h := newOutWorld(t)
	s := w.udp()
	for to, want := range map[string]syscall.Errno{"192.0.2.7:0": unix.EINVAL, "192.0.2.7:4789": unix.EACCES} {
		if e := s.connect(to); e != want {
			t.Errorf("connect to %s: %v", to, e)
		}
	}
	if e := s.connect("192.0.2.7:7"); e != 0 {
		t.Fatal(e)
	}
	if e := s.report("", "hello"); e != 0 {
		t.Fatal(e)
	}
	if e := s.report("192.0.2.8:8", "another"); e != 0 {
		t.Fatal(e)
	}
	sent := h.sends(w)
	if len(sent) != 2 || sent[0].addr != mustAddrPort("192.0.2.7:7") || sent[1].addr != mustAddrPort("192.0.2.8:8") {
		t.Fatalf("%+v", sent)
	}
	if n, e := s.call(getpeer); e != 0 || n.Addr != wireAddr("192.0.2.7:7") {
		t.Errorf("%v %v", n.Addr, e)
	}
	peer := w.bound("10.0.0.2:7")
	n, _ := s.call(getname)
	peer.report(netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), n.Addr.Port<<8|n.Addr.Port>>8).String(), "from the network")
	w.do(func() { h.arrives(w, sent[0].sock, "192.0.2.7:7", "answer", 0) })
	if _, got := s.receive(); got != "answer" {
		t.Errorf("%q", got)
	}
	w.do(func() { h.arrives(w, sent[0].sock, "", "", unix.ECONNREFUSED) })
	if x, _ := s.receive(); x.Error != int32(unix.ECONNREFUSED) {
		t.Errorf("%+v", x)
	}

	// The way out closes: who is on it stays, until it goes elsewhere.
	w.do(func() { w.set.SetWayOut(false) })
	if e := s.report("", "still"); e != 0 || len(h.sends(w)) != 1 {
		t.Errorf("after the way was closed: %v", e)
	}
	if e := s.connect("10.0.0.2:7"); e != 0 {
		t.Fatal(e)
	}
	w.do(func() {
		if len(h.socks) != 0 {
			t.Errorf("%d sockets of the host are left", len(h.socks))
		}
	})
	if e := s.report("192.0.2.7:7", "no more"); e != 0 || len(h.sends(w)) != 0 { // the fake container's answer
		t.Errorf("an isolated container sends over the host: %v", e)
	}
}

// TestDatagramsOutFull: what the host has no room for waits, in order.
func TestDatagramsOutFull(t *testing.T) {
	w, h := newOutWorld(t)
	s := w.udp()
	s.report("192.0.2.7:7", "a")
	w.do(func() { h.full = true })
	for _, text := range []string{"b", "c", "d"} {
		s.sendTo("192.0.2.7:7", text)
	}
	w.eventually("one is held", func() bool { return w.sock(s).dgram.full })
	w.do(func() {
		h.full = false
		w.set.Writable(w.sock(s).user())
	})
	w.eventually("all are sent", func() bool { return len(h.sent) == 4 })
	var texts []string
	for _, x := range h.sends(w) {
		texts = append(texts, x.text)
	}
	if !slices.Equal(texts, []string{"a", "b", "c", "d"}) {
		t.Error(texts)
	}
}

// TestDatagramsNameserverGone: a socket that was connected to a nameserver does not
// get out past the policy when that is one no more.
func TestDatagramsNameserverGone(t *testing.T) {
	w, h := newOutWorld(t)
	r := &fakeResolver{servers: []netip.Addr{netip.MustParseAddr("192.0.2.53")}}
	w.do(func() { w.set.cfg.Resolver = r; w.set.SetWayOut(false) })
	s := w.udp()
	if e := s.connect("192.0.2.53:53"); e != 0 {
		t.Fatal(e)
	}
	w.do(func() { r.servers = nil })
	if e := s.report("", "question"); e != unix.ENETUNREACH {
		t.Error(e)
	}
	w.do(func() {
		if w.stat.Publish(); len(h.socks) != 0 || w.stat.Drops(stat.DropDatagramRefused) != 1 {
			t.Error("it went out, or is not counted")
		}
	})
}
