// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"testing"
	"time"

	"netcon/shm"

	"golang.org/x/sys/unix"
)

// take asks for the error of a read, or of a write.
func (a *app) take(write int32) int32 {
	r, _ := a.call(shm.Request{Op: shm.OpTakeError, Value: write})
	return r.Value
}

// TestTakeError: a reset is told once; after a FIN only to writes, as EPIPE.
func TestTakeError(t *testing.T) {
	w := newWorld(t)
	_, c, s := w.connection("10.0.0.1:80")
	if e := c.take(0); e != 0 {
		t.Errorf("error %d of a connection that lives", e)
	}
	s.setBytes(unix.SOL_SOCKET, unix.SO_LINGER, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	s.close()
	c.poll(unix.POLLIN, 5*time.Second)
	if e := c.take(0); e != int32(unix.ECONNRESET) {
		t.Errorf("reset: %d", e)
	}
	if e := c.take(0); e != 0 {
		t.Errorf("told twice: %d", e)
	}

	_, c, s = w.connection("10.0.0.1:81")
	unix.Shutdown(s.fd, unix.SHUT_WR)
	if n, err := c.read(make([]byte, 1)); n != 0 || err != nil {
		t.Fatalf("want EOF, got %d %v", n, err)
	}
	s.setBytes(unix.SOL_SOCKET, unix.SO_LINGER, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	s.close()
	w.eventually("reset", func() bool { return w.set.byCookie[c.cookie] == nil })
	if e := c.take(0); e != 0 {
		t.Errorf("a read after FIN: %d", e)
	}
	if e := c.take(1); e != int32(unix.EPIPE) {
		t.Errorf("a write after FIN and reset: %d", e)
	}
}

// TestOutq counts what lies in the pair.
func TestOutq(t *testing.T) {
	w := newWorld(t)
	l, c, _ := w.connection("10.0.0.1:80")
	if _, e := l.call(shm.Request{Op: shm.OpOutq}); e != unix.EINVAL {
		t.Errorf("listener: %v", e)
	}
	if r, e := c.call(shm.Request{Op: shm.OpOutq}); e != 0 || r.Value != 0 {
		t.Errorf("nothing sent: %d %v", r.Value, e)
	}
	w.do(func() { // so that nothing is read in between
		c.write([]byte("7 bytes"))
		for _, unsent := range []int32{0, 1} {
			w.set.reply = shm.Reply{}
			if e := w.set.opOutq(w.set.byCookie[c.cookie], &shm.Request{Value: unsent}); e != 0 || w.set.reply.Value != 7 {
				t.Errorf("unsent %d: %d %v, want 7", unsent, w.set.reply.Value, e)
			}
		}
	})
}

// TestRevive: a socket whose connect failed goes on under a new pair, with what
// was set on it.
func TestRevive(t *testing.T) {
	w := newWorld(t)
	l := w.open()
	l.bind("10.0.0.1:80")
	l.listen(5)
	a := w.open()
	a.setInt(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 77)
	a.bind("10.0.0.1:5555")
	a.connectNB("10.9.0.1:80")
	w.eventually("refused", func() bool { return w.set.byCookie[a.cookie] == nil })
	if e := a.soError(); e != unix.ECONNREFUSED {
		t.Fatalf("SO_ERROR: %v", e)
	}
	again := shm.Request{Op: shm.OpConnect, Addr: wireAddr("10.0.0.1:80"), Flags: shm.FlagProbe}
	if r, e := a.call(again); e != unix.ECONNABORTED || r.Value != 0 {
		t.Errorf("first: %v %d", e, r.Value)
	}
	if r, e := a.call(again); e != unix.ECONNABORTED || r.Value != 1 {
		t.Errorf("then: %v %d", e, r.Value)
	}
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := &app{w: w, attach: a.attach, fd: p[0]}
	b.cookie, _ = cookieOf(int32(p[0]))
	r, err := ask(t, w.attach, &shm.Request{Op: shm.OpRevive, Cookie: a.cookie, Successor: b.cookie}, p[1])
	unix.Close(p[1])
	if err != nil || r.Error != 0 {
		t.Fatalf("revive: %d %v", r.Error, err)
	}
	if v, _ := b.getInt(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE); v != 77 {
		t.Errorf("TCP_KEEPIDLE %d", v)
	}
	if e := b.connect("10.0.0.1:80"); e != 0 {
		t.Fatal(e)
	}
	if s := l.accept(); s == nil {
		t.Fatal("not accepted")
	}
	if r, e := b.call(getname); e != 0 || r.Addr.Port != wireAddr("0.0.0.0:5555").Port {
		t.Errorf("bound to %v %v", r.Addr, e)
	}
	// Once.
	q, _ := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	cookie, _ := cookieOf(int32(q[0]))
	if r, err := ask(t, w.attach, &shm.Request{Op: shm.OpRevive, Cookie: a.cookie, Successor: cookie}, q[1]); err != nil || r.Error != int32(unix.ECONNABORTED) {
		t.Errorf("revived twice: %d %v", r.Error, err)
	}
	unix.Close(q[0])
	unix.Close(q[1])
}

// TestHold: while an interrupted connect is filled nothing is read from the
// pair, and the filler gets nowhere.
func TestHold(t *testing.T) {
	w := newWorld(t)
	a := w.open()
	fd, err := askLater(w.attach, &shm.Request{Op: shm.OpConnect, Cookie: a.cookie, Addr: wireAddr("10.9.0.2:80"), Flags: shm.FlagWait})
	if err != nil {
		t.Fatal(err)
	}
	w.eventually("connecting", func() bool { return len(w.eng.hang) == 1 })
	unix.Close(fd) // the signal
	hold := shm.Request{Op: shm.OpConnect, Flags: shm.FlagHold}
	if _, e := a.call(hold); e != unix.EALREADY {
		t.Fatalf("hold: %v", e)
	}
	n := a.fill()
	w.do(func() {
		s := w.set.byCookie[a.cookie]
		w.set.Established(s.user())
		if w.set.Work(64); queued(s.fd) != n {
			t.Error("filler was read")
		}
	})
	if _, e := a.call(shm.Request{Op: shm.OpConnect, Flags: shm.FlagFilled, Filler: uint32(n)}); e != 0 {
		t.Fatalf("filled: %v", e)
	}
	w.eventually("filler dropped", func() bool {
		s := w.set.byCookie[a.cookie]
		return queued(s.fd) == 0 && s.skip == 0 && s.pair.Tx.Len() == 0
	})
	if _, e := a.call(hold); e != 0 {
		t.Errorf("hold when it is decided: %v", e)
	}
	if _, e := a.call(shm.Request{Op: shm.OpConnect, Flags: shm.FlagFilled, Filler: 5}); e != unix.EINVAL {
		t.Errorf("filled without hold: %v", e)
	}
}

// TestHoldTakesNothing: a connect that fails while it is held, or before, keeps
// its error for those who ask for it.
func TestHoldTakesNothing(t *testing.T) {
	w := newWorld(t)
	for _, held := range []bool{false, true} {
		a := w.open()
		fd, err := askLater(w.attach, &shm.Request{Op: shm.OpConnect, Cookie: a.cookie, Addr: wireAddr("10.9.0.2:80"), Flags: shm.FlagWait})
		if err != nil {
			t.Fatal(err)
		}
		w.eventually("connecting", func() bool {
			s := w.set.byCookie[a.cookie]
			return s != nil && s.state == stConnecting
		})
		unix.Close(fd) // the signal
		hold := shm.Request{Op: shm.OpConnect, Flags: shm.FlagHold}
		if held {
			if _, e := a.call(hold); e != unix.EALREADY {
				t.Fatalf("hold: %v", e)
			}
		}
		w.do(func() { w.set.Failed(w.set.byCookie[a.cookie].user(), unix.ETIMEDOUT) })
		if !held {
			if _, e := a.call(hold); e != 0 {
				t.Errorf("hold of what failed: %v", e)
			}
		}
		if _, e := a.call(shm.Request{Op: shm.OpConnect, Flags: shm.FlagFilled, Filler: 5}); e != 0 {
			t.Errorf("filled what failed: %v", e)
		}
		if e := a.soError(); e != unix.ETIMEDOUT {
			t.Errorf("held %v: SO_ERROR %v", held, e)
		}
		a.close()
	}
}

// TestHostileValues: the fields of the requests of this file hold anything, on
// sockets in every state.
func TestHostileValues(t *testing.T) {
	w := newWorld(t)
	l, c, s := w.connection("10.0.0.1:80")
	dead := w.open()
	dead.connectNB("10.9.0.1:80")
	w.eventually("refused", func() bool { return w.set.byCookie[dead.cookie] == nil })
	fresh := w.open()
	before := openFDs(t)
	for _, a := range []*app{l, c, fresh, dead, {w: w, attach: w.attach, cookie: 1 << 63}} {
		for _, op := range []uint16{shm.OpTakeError, shm.OpOutq, shm.OpConnect, shm.OpShutdown} {
			for _, value := range []int32{-1 << 31, -1, 2, 3, 1<<31 - 1} {
				for _, flags := range []uint32{shm.FlagHold, shm.FlagFilled, shm.FlagHold | shm.FlagFilled, shm.FlagProbe, 1<<32 - 16} {
					if op == shm.OpShutdown && flags != shm.FlagProbe && value >= 0 && value <= unix.SHUT_RDWR || op == shm.OpConnect && flags == 1<<32-16 {
						continue // that one is carried out
					}
					r, _ := a.call(shm.Request{Op: op, Value: value, Flags: flags, Filler: 1<<32 - 1, Level: value, Option: value, Optlen: 1<<32 - 1})
					if r.Error < shm.NotOurs || r.Error > 133 || op == shm.OpOutq && r.Value != 0 {
						t.Fatalf("op %d, value %d, flags %#x: error %d, value %d", op, value, flags, r.Error, r.Value)
					}
				}
			}
		}
	}
	// A successor has to be a fresh pair with an identity of its own, of a
	// socket whose connect failed.
	for _, x := range []struct {
		name            string
		cookie, success uint64
		want            int32
	}{
		{"of one that lives", c.cookie, 77, int32(unix.ECONNABORTED)},
		{"of none", 1 << 62, 77, int32(unix.ECONNABORTED)},
		{"no cookie", dead.cookie, 0, int32(unix.EINVAL)},
		{"its own cookie", dead.cookie, dead.cookie, int32(unix.EINVAL)},
		{"the cookie of another", dead.cookie, c.cookie, int32(unix.EINVAL)},
	} {
		p := must2(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
		r, err := ask(t, w.attach, &shm.Request{Op: shm.OpRevive, Cookie: x.cookie, Successor: x.success}, p[1])
		if err != nil || r.Error != x.want {
			t.Errorf("successor %s: %d %v, want %d", x.name, r.Error, err, x.want)
		}
		unix.Close(p[0])
		unix.Close(p[1])
	}
	w.eventually("fds closed", func() bool { return openFDs(t) <= before })
	c.write([]byte("x"))
	s.readFull(make([]byte, 1))
}

// TestListenAgain: a listener that was shut down wakes who sleeps, one after
// the other, and listens again.
func TestListenAgain(t *testing.T) {
	w := newWorld(t)
	l := w.open()
	l.bind("10.0.0.1:80")
	l.listen(5)
	if e := l.shutdownReq(unix.SHUT_RD); e != 0 {
		t.Fatal(e)
	}
	for range 3 {
		var rec shm.Accept
		n, err := unix.Read(l.fd, shm.AcceptBytes(&rec))
		if n != shm.SizeofAccept || err != nil || rec.Ended != 1 {
			t.Fatalf("%d %v %+v", n, err, rec)
		}
		if _, e := l.call(shm.Request{Op: shm.OpShutdown, Flags: shm.FlagProbe}); e != 0 {
			t.Fatal(e)
		}
	}
	// No second record on top of one that nobody took.
	l.call(shm.Request{Op: shm.OpShutdown, Flags: shm.FlagProbe})
	if n := queued(int32(l.fd)); n != shm.SizeofAccept {
		t.Errorf("%d bytes on the listener", n)
	}
	unix.Read(l.fd, make([]byte, shm.SizeofAccept))
	if e := l.listen(5); e != 0 {
		t.Fatal(e)
	}
	c := w.open()
	if e := c.connect("10.0.0.1:80"); e != 0 {
		t.Fatal(e)
	}
	l.accept()
}

// TestNeverAccepted: a connection that lies on a listener's pair when it is
// closed is reset.
func TestNeverAccepted(t *testing.T) {
	w := newWorld(t)
	l := w.open()
	l.bind("10.0.0.1:80")
	l.listen(5)
	c := w.open()
	if e := c.connect("10.0.0.1:80"); e != 0 {
		t.Fatal(e)
	}
	w.eventually("delivered", func() bool { return queued(int32(l.fd)) > 0 })
	l.close()
	c.poll(unix.POLLIN, 5*time.Second)
	if e := c.take(0); e != int32(unix.ECONNRESET) {
		t.Errorf("error %d", e)
	}
}

// TestConnectAfterClose: a listener whose close was not seen yet takes no
// connection.
func TestConnectAfterClose(t *testing.T) {
	w := newWorld(t)
	l := w.open()
	l.bind("10.0.0.1:80")
	l.listen(5)
	c := w.open()
	w.do(func() { // the request is carried out before the close is looked at
		l.close()
		s := w.set.byCookie[c.cookie]
		if e := w.set.open(s, &shm.Request{Addr: wireAddr("10.0.0.1:80")}); e != unix.EINPROGRESS {
			t.Errorf("connect: %v", e)
		}
	})
	w.eventually("refused", func() bool { return w.set.byCookie[c.cookie] == nil })
	if e := c.soError(); e != unix.ECONNREFUSED {
		t.Errorf("SO_ERROR: %v", e)
	}
}
