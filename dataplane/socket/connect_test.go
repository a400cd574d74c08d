// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"syscall"
	"testing"
	"time"

	"netcon/dataplane/stat"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

var (
	getpeer = shm.Request{Op: shm.OpGetpeername}
	getname = shm.Request{Op: shm.OpGetsockname}
)

// edges is an application's edge-triggered epoll set.
type edges struct {
	t    *testing.T
	epfd int
}

func newEdges(t *testing.T, a *app) edges {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET}
	if err := unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, a.fd, &ev); err != nil {
		t.Fatal(err)
	}
	return edges{t, fd}
}

func (e edges) wait(timeout time.Duration) uint32 {
	var evs [1]unix.EpollEvent
	if n, _ := unix.EpollWait(e.epfd, evs[:], int(timeout/time.Millisecond)); n == 1 {
		return evs[0].Events
	}
	return 0
}

func TestConnectEdge(t *testing.T) {
	w := newWorld(t)
	a := w.open()
	e := newEdges(t, a)
	e.wait(0) // a fresh end is writable
	if got := a.connectNB("10.9.0.2:80"); got != unix.EINPROGRESS {
		t.Fatal(got)
	}
	for e.wait(5*time.Millisecond) != 0 {
	}
	if p := a.poll(unix.POLLOUT, 0); p != 0 {
		t.Fatalf("writable before the connection is there: %#x", p)
	}
	if got := a.connectNB("10.9.0.2:80"); got != unix.EALREADY {
		t.Errorf("second connect: %v", got)
	}
	if _, got := a.call(getpeer); got != unix.ENOTCONN {
		t.Errorf("getpeername: %v", got)
	}
	w.do(func() { w.eng.decide(0) })
	if ev := e.wait(5 * time.Second); ev&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != unix.EPOLLOUT {
		t.Fatalf("events %#x, want EPOLLOUT", ev)
	}
	if got := a.soError(); got != 0 {
		t.Errorf("SO_ERROR %v", got)
	}
	probe := shm.Request{Op: shm.OpConnect, Addr: wireAddr("10.9.0.2:80"), Flags: shm.FlagProbe}
	if _, got := a.call(probe); got != unix.EISCONN {
		t.Errorf("probe: %v", got)
	}
	// The first connect call after success reports it, later ones EISCONN.
	again := shm.Request{Op: shm.OpConnect, Addr: wireAddr("10.9.0.2:80")}
	if _, got := a.call(again); got != 0 {
		t.Errorf("connect again: %v", got)
	}
	if _, got := a.call(again); got != unix.EISCONN {
		t.Errorf("and again: %v", got)
	}
}

// TestConnectFiller: filler never reaches the peer, bytes written during the
// connect do.
func TestConnectFiller(t *testing.T) {
	w := newWorld(t)
	l := w.open()
	l.bind("10.0.0.1:80")
	l.listen(5)
	a := w.open()
	n := a.fill()
	if n == 0 {
		t.Fatal("no filler")
	}
	fd, err := askLater(w.attach, &shm.Request{Op: shm.OpConnect, Cookie: a.cookie, Addr: wireAddr("10.0.0.1:80"), Filler: uint32(n)})
	if err != nil {
		t.Fatal(err)
	}
	a.write([]byte("early"))
	if r, err := readReply(fd); err != nil || r.Error != int32(unix.EINPROGRESS) {
		t.Fatal(r.Error, err)
	}
	unix.Close(fd)
	s := l.accept()
	a.write([]byte(" late"))
	b := make([]byte, 10)
	s.readFull(b)
	if string(b) != "early late" {
		t.Fatalf("got %q", b)
	}
	// Filler of a request that starts nothing is taken out from behind the
	// bytes that are to be sent.
	w.do(func() { // so that the request is there before the bytes are read
		a.write([]byte("one"))
		a.write(make([]byte, 100))
		req := shm.Request{Op: shm.OpConnect, Cookie: a.cookie, Addr: wireAddr("10.0.0.1:80"), Filler: 100}
		fd, err = askLater(w.attach, &req)
	})
	if r, err := readReply(fd); err != nil || r.Error != 0 {
		t.Fatal(r.Error, err)
	}
	unix.Close(fd)
	a.write([]byte("two"))
	s.readFull(b[:6])
	if string(b[:6]) != "onetwo" {
		t.Fatalf("got %q", b[:6])
	}
}

func TestConnectRefused(t *testing.T) {
	w := newWorld(t)
	a := w.open()
	e := newEdges(t, a)
	e.wait(0)
	if got := a.connectNB("10.9.0.1:80"); got != unix.EINPROGRESS {
		t.Fatal(got)
	}
	// The end is shut down first, closed a moment later (closePair).
	const want = unix.EPOLLHUP | unix.EPOLLERR
	var ev uint32
	for ev&want != want {
		x := e.wait(5 * time.Second)
		if x == 0 {
			t.Fatalf("events %#x, want EPOLLERR|EPOLLHUP", ev)
		}
		ev |= x
	}
	if got := a.soError(); got != unix.ECONNREFUSED {
		t.Errorf("SO_ERROR %v", got)
	}
	if got := a.soError(); got != 0 {
		t.Errorf("SO_ERROR again %v", got)
	}
	if _, got := a.call(getpeer); got != unix.ENOTCONN {
		t.Errorf("getpeername %v", got)
	}
	if _, err := a.read(make([]byte, 1)); err != unix.ECONNRESET {
		t.Errorf("read: %v", err)
	}
	w.eventually("gone", func() bool { return w.set.Len() == 0 })

	// Without SO_ERROR in between, connect reports the error.
	a = w.open()
	a.connectNB("10.9.0.1:80")
	if a.poll(0, 5*time.Second) == 0 {
		t.Fatal("no error")
	}
	if got := a.connectNB("10.0.0.1:80"); got != unix.ECONNREFUSED {
		t.Errorf("connect after failure: %v", got)
	}
	if got := a.connectNB("10.0.0.1:80"); got != unix.ECONNABORTED {
		t.Errorf("connect after that: %v", got)
	}
	if got := a.shutdownReq(2); got != unix.ENOTCONN {
		t.Errorf("shutdown: %v", got)
	}
	if got := a.bind("10.0.0.1:80"); got != unix.EINVAL {
		t.Errorf("bind: %v", got)
	}
	// The turn that answered publishes after it.
	w.eventually("two connect failures counted", func() bool { return w.stat.Get(stat.ConnectFails) == 2 })
}

// TestConnectBlocking: a failed blocking connect may be tried again on the same
// socket, which keeps its address and options.
func TestConnectBlocking(t *testing.T) {
	w := newWorld(t)
	l := w.open()
	l.bind("10.0.0.1:80")
	l.listen(5)
	a := w.open()
	a.bind("10.0.0.1:1234")
	a.setInt(unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if e := a.connect("10.9.0.1:80"); e != unix.ECONNREFUSED {
		t.Fatal(e)
	}
	if e := a.connect("10.9.0.3:80"); e != unix.ENETUNREACH {
		t.Fatal(e)
	}
	if e := a.connect("10.0.0.1:80"); e != 0 {
		t.Fatal(e)
	}
	s := l.accept()
	r, e := s.call(getpeer)
	if e != 0 || r.Addr != wireAddr("10.0.0.1:1234") {
		t.Errorf("peer %+v %v", r.Addr, e)
	}
	if v, _ := a.getInt(unix.IPPROTO_TCP, unix.TCP_NODELAY); v != 1 {
		t.Error("option lost")
	}
	w.do(func() {
		for _, x := range w.eng.socks {
			if x.local.Port() == 1234 && x.opts[6] != 1 {
				t.Error("the engine was not told again")
			}
		}
	})
}

// TestConnectInterrupted: the one who waits goes away, the connect goes on; a
// second one joins.
func TestConnectInterrupted(t *testing.T) {
	w := newWorld(t)
	a := w.open()
	req := shm.Request{Op: shm.OpConnect, Cookie: a.cookie, Addr: wireAddr("10.9.0.2:80"), Flags: shm.FlagWait}
	first, err := askLater(w.attach, &req)
	if err != nil {
		t.Fatal(err)
	}
	w.eventually("connecting", func() bool { return len(w.eng.hang) == 1 })
	unix.Close(first)
	second, err := askLater(w.attach, &req)
	if err != nil {
		t.Fatal(err)
	}
	w.eventually("two wait", func() bool { return len(w.set.byCookie[a.cookie].waiters) == 2 })
	w.do(func() { w.eng.decide(0) })
	if r, err := readReply(second); err != nil || r.Error != 0 {
		t.Fatalf("%d %v", r.Error, err)
	}
	unix.Close(second)
	if _, e := a.call(getpeer); e != 0 {
		t.Error(e)
	}

	// Closed while connecting.
	b := w.open()
	if e := b.connectNB("10.9.0.2:80"); e != unix.EINPROGRESS {
		t.Fatal(e)
	}
	b.close()
	w.eventually("closed", func() bool { return w.set.Len() == 1 && w.eng.closes == 1 })
}

// TestErrno is the kernel's matrix of states and calls.
func TestErrno(t *testing.T) {
	w := newWorld(t)
	fresh := func() *app { return w.open() }
	listening := func() *app { a := w.open(); a.listen(1); return a }
	l, connected, _ := w.connection("10.0.0.1:80")
	_ = l
	connecting := func() *app { a := w.open(); a.connectNB("10.9.0.2:1"); return a }
	v6, e := openApp(w, w.attach, unix.AF_INET6)
	if e != 0 {
		t.Fatal(e)
	}
	only, _ := openApp(w, w.attach, unix.AF_INET6)
	if e := only.setInt(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); e != 0 {
		t.Fatal(e)
	}
	bound := w.open()
	bound.bind("10.0.0.1:81")
	unspec := shm.Request{Op: shm.OpConnect}
	for _, c := range []struct {
		name string
		got  syscall.Errno
		want syscall.Errno
	}{
		{"bind twice", bound.bind("10.0.0.1:82"), unix.EINVAL},
		{"bind in use", fresh().bind("10.0.0.1:81"), unix.EADDRINUSE},
		{"bind connected", connected.bind("10.0.0.1:83"), unix.EINVAL},
		{"bind wrong family", fresh().bind("[::1]:1"), unix.EAFNOSUPPORT},
		{"bind v6 with v4", v6.bind("10.0.0.1:84"), unix.EAFNOSUPPORT},
		{"bind v6only mapped", only.bind("[::ffff:10.0.0.1]:85"), unix.EINVAL},
		{"bind v6 mapped", v6.bind("[::ffff:10.0.0.1]:85"), 0},
		{"v6only after bind", v6.setInt(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1), unix.EINVAL},
		{"listen connected", connected.listen(1), unix.EINVAL},
		{"listen connecting", connecting().listen(1), unix.EINVAL},
		{"listen twice", listening().listen(5), 0},
		{"connect connected", connected.connect("10.0.0.1:80"), unix.EISCONN},
		{"connect listening", listening().connect("10.0.0.1:80"), unix.EISCONN},
		{"connect nonblocking twice", connecting().connectNB("10.0.0.1:80"), unix.EALREADY},
		{"connect wrong family", fresh().connect("[::1]:1"), unix.EAFNOSUPPORT},
		{"connect v6only mapped", only.connect("[::ffff:10.0.0.1]:80"), unix.ENETUNREACH},
		{"connect multicast", fresh().connect("224.0.0.1:80"), unix.ENETUNREACH},
		{"connect broadcast", fresh().connect("255.255.255.255:80"), unix.ENETUNREACH},
		{"connect unreachable", fresh().connect("10.9.0.3:80"), unix.ENETUNREACH},
		{"shutdown fresh", fresh().shutdownReq(1), unix.ENOTCONN},
		{"shutdown bad how", connected.shutdownReq(3), unix.EINVAL},
		{"shutdown listening", listening().shutdownReq(2), 0},
		{"shutdown connecting", connecting().shutdownReq(2), 0},
		{"unspec fresh", func() syscall.Errno { _, e := fresh().call(unspec); return e }(), 0},
		{"unspec connecting", func() syscall.Errno { _, e := connecting().call(unspec); return e }(), 0},
		{"unspec connected", func() syscall.Errno { _, e := connected.call(unspec); return e }(), 0},
		{"getpeername fresh", func() syscall.Errno { _, e := fresh().call(getpeer); return e }(), unix.ENOTCONN},
		{"getsockname fresh", func() syscall.Errno { _, e := fresh().call(getname); return e }(), 0},
		{"no such cookie", func() syscall.Errno { a := *bound; a.cookie = 1; _, e := a.call(getname); return e }(), notOurs},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", c.name, c.got, c.want)
		}
	}
	// A connection to the unspecified address is to this host.
	r, _ := fresh().call(getname)
	if want := (shm.Addr{Family: unix.AF_INET}); r.Addr != want {
		t.Errorf("unbound name %+v", r.Addr)
	}
	r, _ = v6.call(getname)
	if r.Addr != wireAddr("[::ffff:10.0.0.1]:85") {
		t.Errorf("mapped name %+v", r.Addr)
	}
}

func TestSocketLimits(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxSockets = 2 })
	a := w.open()
	b := w.open()
	if _, e := openApp(w, w.attach, unix.AF_INET); e != unix.EMFILE {
		t.Errorf("third socket: %v", e)
	}
	a.close()
	w.eventually("one left", func() bool { return w.set.Len() == 1 })
	w.do(func() { w.eng.openErr = unix.ENOBUFS })
	if _, e := openApp(w, w.attach, unix.AF_INET); e != unix.ENOBUFS {
		t.Errorf("engine refuses: %v", e)
	}
	w.do(func() { w.eng.openErr = 0 })
	if _, e := openApp(w, w.attach, unix.AF_UNIX); e != unix.EAFNOSUPPORT {
		t.Errorf("family: %v", e)
	}
	_ = b
}

func TestTombstonesAge(t *testing.T) {
	w := newWorld(t)
	a := w.open()
	a.connectNB("10.9.0.1:80")
	a.poll(0, 5*time.Second)
	w.do(func() { w.set.nowForAge = func() time.Time { return time.Now().Add(2 * tombAge) } })
	if e := a.soError(); e != notOurs {
		t.Errorf("old tombstone: %v", e)
	}
	w.do(func() {
		for i := range uint64(3 * maxTombs) {
			w.set.tombs.add(tomb{cookie: i + 1<<40})
		}
		if len(w.set.tombs.ring) != maxTombs || len(w.set.tombs.at) != maxTombs {
			t.Errorf("%d tombstones, %d indexed", len(w.set.tombs.ring), len(w.set.tombs.at))
		}
		if w.set.tombs.find(1<<40+3*maxTombs-1) == nil || w.set.tombs.find(1<<40) != nil {
			t.Error("the wrong ones are kept")
		}
	})
}
