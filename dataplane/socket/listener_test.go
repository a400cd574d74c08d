// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"netcon/dataplane/stat"

	"golang.org/x/sys/unix"
)

func openFDs(t testing.TB) int {
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

// TestManyAccepts: 20,000 connections by four clients, accepted by four others
// on duplicates of one listener; each carries its number.
func TestManyAccepts(t *testing.T) {
	w := newWorld(t)
	l := w.open()
	l.bind("10.0.0.1:80")
	l.listen(1000)
	const total, clients = 20000, 4
	var seen [total]atomic.Bool
	var accepted atomic.Int32
	var wg, servers sync.WaitGroup
	for range clients {
		attach := l.attach
		wg.Go(func() {
			for range total / clients {
				a, e := openApp(w, attach, unix.AF_INET)
				if e != 0 {
					t.Error(e)
					return
				}
				if e := a.connect("10.0.0.1:80"); e != 0 {
					t.Error(e)
				}
				n := accepted.Load() // any number, returned by the server
				a.write(fmt.Appendf(nil, "%8d", n))
				b := make([]byte, 8)
				a.readFull(b)
				a.close()
			}
		})
		fd, err := unix.Dup(l.fd)
		if err != nil {
			t.Fatal(err)
		}
		dup := *l
		dup.fd = fd
		servers.Go(func() {
			defer dup.close()
			for {
				s, err := dup.tryAccept()
				if err != nil {
					return // the listener was shut down
				}
				i := accepted.Add(1) - 1
				if int(i) < total && seen[i].Swap(true) {
					t.Error("accepted twice")
				}
				b := make([]byte, 8)
				s.readFull(b)
				s.write(b)
				s.close()
			}
		})
	}
	wg.Wait()
	unix.Shutdown(l.fd, unix.SHUT_RDWR)
	servers.Wait()
	l.close()
	if n := accepted.Load(); n != total {
		t.Errorf("%d accepted, want %d", n, total)
	}
	w.eventually("all gone", func() bool { return w.set.Len() == 0 })
	w.eventually("all accepts counted", func() bool { return w.stat.Get(stat.Accepts) == total })
}

// TestListenerFull: when the listener's pair is full connections wait in the
// engine, and the undelivered one is reset with the listener.
func TestListenerFull(t *testing.T) {
	w := newWorld(t)
	l := w.open()
	l.bind("10.0.0.1:80")
	l.listen(4096)
	const n = 400 // more than the 278 records a pair takes
	var clients []*app
	for range n {
		c := w.open()
		if e := c.connect("10.0.0.1:80"); e != 0 {
			t.Fatal(e)
		}
		clients = append(clients, c)
	}
	waiting := 0
	w.eventually("pair full", func() bool {
		s := w.set.byCookie[l.cookie]
		waiting = len(w.eng.ports[s.local].backlog)
		return s.pending != nil && waiting > 0
	})
	w.do(func() {
		if w.set.Busy() {
			t.Error("busy while nothing can move")
		}
	})
	for i := range n {
		s := l.accept()
		clients[i].write([]byte{byte(i)})
		b := make([]byte, 1)
		s.readFull(b)
		if b[0] != byte(i) {
			t.Fatal("out of order")
		}
		s.close()
		clients[i].close()
	}
	for range 350 {
		c := w.open()
		c.connect("10.0.0.1:80")
		defer c.close()
	}
	w.eventually("pair full", func() bool { return w.set.byCookie[l.cookie].pending != nil })
	l.close()
	w.eventually("port free", func() bool { return len(w.eng.ports) == 0 && w.eng.aborts >= 1 })
	again := w.open()
	if e := again.bind("10.0.0.1:80"); e != 0 {
		t.Errorf("bind again: %v", e)
	}
}

// TestAcceptedInherits: options set on the listener hold for its connections.
func TestAcceptedInherits(t *testing.T) {
	w := newWorld(t)
	l := w.open()
	l.bind("10.0.0.1:80")
	l.setInt(unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	l.setInt(unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 5)
	l.listen(5)
	c := w.open()
	c.connect("10.0.0.1:80")
	s := l.accept()
	if v, _ := s.getInt(unix.IPPROTO_TCP, unix.TCP_NODELAY); v != 1 {
		t.Error("TCP_NODELAY is not inherited")
	}
	s.setInt(unix.IPPROTO_TCP, unix.TCP_NODELAY, 0)
	if v, _ := l.getInt(unix.IPPROTO_TCP, unix.TCP_NODELAY); v != 1 {
		t.Error("a connection changed its listener")
	}
	if v, _ := l.getInt(unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT); v != 7 {
		t.Errorf("TCP_DEFER_ACCEPT 5 reads %d, want 7 as on Linux", v)
	}
	if fl, _ := unix.FcntlInt(uintptr(s.fd), unix.F_GETFL, 0); fl&unix.O_NONBLOCK != 0 {
		t.Error("an accepted socket is non-blocking")
	}
	v, _ := l.getInt(unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	u, _ := s.getInt(unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if v != 1 || u != 0 {
		t.Errorf("SO_ACCEPTCONN %d %d", v, u)
	}
}

// TestOutOfFDs: with no fd left the daemon stops accepting, does not spin, and
// goes on later.
func TestOutOfFDs(t *testing.T) {
	w := newWorld(t)
	l := w.open()
	l.bind("10.0.0.1:80")
	l.listen(100)
	var clients []*app
	for range 3 {
		c := w.open()
		clients = append(clients, c)
	}
	n := openFDs(t)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	// Requests need fds as well: connect through the engine itself.
	w.do(func() {
		var plugs []int
		defer func() {
			for _, fd := range plugs {
				unix.Close(fd)
			}
		}()
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(n + 2), Max: old.Max}); err != nil {
			t.Error(err)
			return
		}
		defer unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
		for {
			fd, err := unix.Dup(w.bell)
			if err != nil {
				break
			}
			plugs = append(plugs, fd)
		}
		for _, c := range clients {
			s := w.set.byCookie[c.cookie]
			s.skip, s.state = 0, stConnecting
			w.eng.Attach(s.handle, &s.pair)
			w.eng.Connect(s.handle, mustAddrPort("10.0.0.1:80"))
		}
		for range 10 {
			w.eng.Poll(w.set, 64)
			w.set.Work(64)
		}
		if w.set.Busy() || w.set.Timeout() < 0 {
			t.Error("no fds: want a pause, not a spin")
		}
	})
	for range clients {
		l.accept().close()
	}
}

// TestFDsFlat: sockets and requests leave no fd, no buffer and no goroutine.
func TestFDsFlat(t *testing.T) {
	w := newWorld(t)
	_, c, s := w.connection("10.0.0.1:80")
	c.close()
	s.close()
	w.eventually("settled", func() bool { return w.set.Len() == 1 })
	before := openFDs(t)
	stacks := goroutines()
	for i := range 10000 {
		a := w.open()
		if i%10 == 0 {
			a.connectNB("10.9.0.1:1") // refused, with filler
			a.poll(0, time.Second)
			a.soError()
		}
		a.close()
	}
	w.eventually("all gone", func() bool { return w.set.Len() == 1 })
	w.eventually("fds gone", func() bool { return openFDs(t) <= before })
	if n := goroutines(); n > stacks {
		t.Errorf("%d goroutines, %d before", n, stacks)
	}
	w.do(func() {
		if n := len(w.set.slab.chunks); n > 4 {
			t.Errorf("%d chunks for two sockets at a time", n)
		}
		if len(w.hand) != 2 { // attach socket and listener
			t.Errorf("%d fds watched", len(w.hand))
		}
	})
}

// TestBindAfterClose closes a listener and binds its address again while the
// worker looks at the attach socket: it reads the bind before epoll told it of
// the close.
func TestBindAfterClose(t *testing.T) {
	w := newWorld(t)
	l, again := w.open(), w.open()
	l.bind("10.0.0.1:80")
	l.listen(10)
	if e := again.bind("10.0.0.1:80"); e != unix.EADDRINUSE {
		t.Fatalf("bind to a listener's address: %v, want EADDRINUSE", e)
	}
	answer := make(chan syscall.Errno)
	w.do(func() {
		l.close()
		go func() { answer <- again.bind("10.0.0.1:80") }()
		for deadline := time.Now().Add(5 * time.Second); ; { // until the request lies on the attach socket
			if n, err := unix.IoctlGetInt(w.attach, unix.TIOCOUTQ); err != nil || time.Now().After(deadline) {
				t.Errorf("the request was not sent (%v)", err)
				return
			} else if n > 0 {
				break
			}
		}
		for a := range w.set.attached {
			a.ready()
		}
	})
	if e := <-answer; e != 0 {
		t.Errorf("bind after close: %v", e)
	}
}

// TestDeferAccept: a connection of a listener with TCP_DEFER_ACCEPT is handed
// over with its first bytes, with its end, or when its time is over; one that is
// reset before never, and those that wait when the listener ends are reset.
func TestDeferAccept(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	w.do(func() { w.set.nowForAge = func() time.Time { return now } })
	l := w.open()
	l.bind("10.0.0.1:80")
	if e := l.setInt(unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 3); e != 0 {
		t.Fatal(e)
	}
	l.listen(16)
	connect := func() *app {
		t.Helper()
		waiting := 0
		w.do(func() { waiting = len(w.set.deferred) })
		c := w.open()
		if e := c.connect("10.0.0.1:80"); e != 0 {
			t.Fatal(e)
		}
		w.eventually("put aside", func() bool { return len(w.set.deferred) == waiting+1 })
		if queued(int32(l.fd)) != 0 {
			t.Fatal("handed over with nothing to say")
		}
		return c
	}
	silent := connect()
	c := connect()
	c.write([]byte("hello"))
	s := l.accept()
	b := make([]byte, 5)
	if s.readFull(b); string(b) != "hello" {
		t.Errorf("read %q", b)
	}
	c = connect()
	unix.Shutdown(c.fd, unix.SHUT_WR)
	if n, err := l.accept().read(b); n != 0 || err != nil {
		t.Errorf("a connection that ended: %d %v", n, err)
	}
	before := openFDs(t)
	c = connect()
	c.setBytes(unix.SOL_SOCKET, unix.SO_LINGER, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	c.close()
	w.eventually("forgotten", func() bool { return len(w.set.deferred) == 1 })
	w.eventually("fds closed", func() bool { return openFDs(t) <= before })

	w.do(func() {
		if d := w.set.Timeout(); d <= 0 || d > 4*time.Second {
			t.Errorf("the worker may sleep %v", d)
		}
		now = now.Add(4 * time.Second)
		w.set.Work(64)
	})
	s = l.accept()
	silent.write([]byte("later"))
	if s.readFull(b); string(b) != "later" {
		t.Errorf("read %q", b)
	}
	c = connect()
	l.close()
	c.poll(unix.POLLIN, 5*time.Second)
	if e := c.take(0); e != int32(unix.ECONNRESET) {
		t.Errorf("a connection whose listener ended: %d", e)
	}
	w.do(func() {
		if len(w.set.deferred) != 0 || w.set.Timeout() >= 0 {
			t.Errorf("%d left, the worker sleeps %v", len(w.set.deferred), w.set.Timeout())
		}
	})
}
