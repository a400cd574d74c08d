// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"encoding/binary"
	"net"
	"os"
	"testing"
	"time"

	"netcon/dataplane/stat"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

// raw sends bytes and fds on an attach socket.
func raw(t testing.TB, attach int, b []byte, fds ...int) {
	t.Helper()
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	if err := unix.Sendmsg(attach, b, oob, nil, 0); err != nil {
		t.Fatalf("send: %v", err)
	}
}

func seqPair(t testing.TB) [2]int {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p[0]); unix.Close(p[1]) })
	return p
}

func TestMalformedRequests(t *testing.T) {
	w := newWorld(t)
	stream, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(stream[0])
	defer unix.Close(stream[1])
	listening, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(listening)
	unix.Bind(listening, &unix.SockaddrUnix{Name: "@netcon-socket-test"})
	unix.Listen(listening, 1)
	tcpSocket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(tcpSocket)
	null := must(os.Open("/dev/null"))
	defer null.Close() // not by a finalizer
	file := int(null.Fd())
	many := make([]int, 252)
	for i := range many {
		many[i] = file
	}
	sock := shm.Request{Magic: shm.Magic, Op: shm.OpSocket, Family: unix.AF_INET, Cookie: 99}
	name := shm.Request{Magic: shm.Magic, Op: shm.OpGetsockname, Cookie: 99}
	badMagic, badOp, opEnd := name, name, name
	badMagic.Magic++
	badOp.Op = 0
	opEnd.Op = shm.OpEnd
	whole := shm.RequestBytes(&name)

	before := openFDs(t)
	count := uint64(0)
	for _, c := range []struct {
		name   string
		bytes  []byte
		reply  bool // a good reply socket goes first, and EINVAL comes back
		fds    []int
		silent bool
	}{
		{name: "empty", bytes: nil},
		{name: "short", bytes: whole[:100], reply: true},
		{name: "long", bytes: append(append([]byte(nil), whole...), 0), reply: true},
		{name: "no fds", bytes: whole},
		{name: "magic", bytes: shm.RequestBytes(&badMagic), reply: true},
		{name: "op 0", bytes: shm.RequestBytes(&badOp), reply: true},
		{name: "op end", bytes: shm.RequestBytes(&opEnd), reply: true},
		{name: "a second fd", bytes: whole, reply: true, fds: []int{file}},
		{name: "253 fds", bytes: whole, reply: true, fds: many},
		{name: "reply is a file", bytes: whole, fds: []int{file}},
		{name: "reply is a stream", bytes: whole, fds: []int{stream[0]}},
		{name: "reply is TCP", bytes: whole, fds: []int{tcpSocket}},
		{name: "socket without fd", bytes: shm.RequestBytes(&sock), reply: true},
		{name: "socket is a file", bytes: shm.RequestBytes(&sock), reply: true, fds: []int{file}},
		{name: "socket is TCP", bytes: shm.RequestBytes(&sock), reply: true, fds: []int{tcpSocket}},
		{name: "socket listens", bytes: shm.RequestBytes(&sock), reply: true, fds: []int{listening}},
		{name: "socket is the attach socket", bytes: shm.RequestBytes(&sock), reply: true, fds: []int{w.attach}},
	} {
		fds := c.fds
		var p [2]int
		if c.reply {
			p = seqPair(t)
			fds = append([]int{p[1]}, fds...)
		}
		raw(t, w.attach, c.bytes, fds...)
		count++
		if c.reply {
			unix.SetsockoptTimeval(p[0], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
			if r, err := readReply(p[0]); err != nil || r.Error != int32(unix.EINVAL) {
				t.Errorf("%s: reply %d %v", c.name, r.Error, err)
			}
		}
		w.eventually(c.name+" counted", func() bool { return w.stat.Drops(stat.DropControlMalformed) == count })
	}
	// The attach socket still works, and nothing is left open but the pairs
	// of the test.
	a := w.open()
	a.close()
	w.eventually("fds closed", func() bool { return openFDs(t) <= before+2*12 && w.set.Len() == 0 })

	// The same cookie twice.
	a = w.open()
	p := seqPair(t)
	sock.Cookie = a.cookie
	raw(t, w.attach, shm.RequestBytes(&sock), p[1], stream[0])
	if r, _ := readReply(p[0]); r.Error != int32(unix.EINVAL) {
		t.Errorf("second socket of one cookie: %d", r.Error)
	}
	// A pair that holds bytes, or fds, is not fresh.
	unix.Write(stream[0], []byte("x"))
	p = seqPair(t)
	sock.Cookie = 12345
	raw(t, w.attach, shm.RequestBytes(&sock), p[1], stream[1])
	if r, _ := readReply(p[0]); r.Error != int32(unix.EINVAL) {
		t.Errorf("used pair: %d", r.Error)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestLingeringFD: the last reference to a socket whose close sleeps does not
// hold up the worker.
func TestLingeringFD(t *testing.T) {
	w := newWorld(t)
	l := must(net.Listen("tcp4", "127.0.0.1:0"))
	defer l.Close()
	c := must(net.Dial("tcp4", l.Addr().String())).(*net.TCPConn)
	s := must(l.Accept())
	f := must(c.File())
	c.Close()
	// Unsent bytes and SO_LINGER: close waits for a peer that does not read.
	unix.SetsockoptLinger(int(f.Fd()), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 3600})
	for {
		if _, err := unix.SendmsgN(int(f.Fd()), make([]byte, 1<<16), nil, nil, unix.MSG_DONTWAIT); err != nil {
			break
		}
	}
	// The worker must not have it before we let go: our close would sleep.
	w.do(func() {
		raw(t, w.attach, []byte("x"), int(f.Fd()))
		f.Close()
	})
	start := time.Now()
	for range 100 {
		w.open().close()
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("the worker was held up for %v", d)
	}
	s.(*net.TCPConn).SetLinger(0)
	s.Close() // RST: the janitor's close returns
	w.eventually("janitor done", func() bool { return !w.set.janitor.behind() && goroutines() == 0 })
}

// TestNoFDsOnStreams: nobody passes fds to the daemon along with bytes.
func TestNoFDsOnStreams(t *testing.T) {
	w := newWorld(t)
	_, c, s := w.connection("10.0.0.1:80")
	for _, a := range []*app{c, s} {
		if err := unix.Sendmsg(a.fd, []byte("x"), unix.UnixRights(0), nil, 0); err != unix.EPERM {
			t.Errorf("fds sent along with bytes: %v (SO_PASSRIGHTS needs Linux 6.16)", err)
		}
	}
}

// TestHostileDup: the application keeps the daemon's end, makes it non-blocking
// and blocking and reads from it.
func TestHostileDup(t *testing.T) {
	w := newWorld(t)
	l := w.open()
	l.bind("10.0.0.1:80")
	l.listen(5)
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ck, _ := cookieOf(int32(p[0]))
	if r, err := ask(t, w.attach, &shm.Request{Op: shm.OpSocket, Family: unix.AF_INET, Cookie: ck}, p[1]); err != nil || r.Error != 0 {
		t.Fatal(err)
	}
	a := &app{w: w, attach: w.attach, fd: p[0], cookie: ck}
	if e := a.connect("10.0.0.1:80"); e != 0 {
		t.Fatal(e)
	}
	s := l.accept()
	unix.SetNonblock(p[1], false)
	for i := range 100 {
		a.write([]byte("0123456789"))
		unix.SetNonblock(p[1], i%2 == 0)
		unix.SendmsgN(p[1], []byte("x"), nil, nil, unix.MSG_DONTWAIT)
		var b [4]byte
		unix.Recvfrom(p[1], b[:], unix.MSG_DONTWAIT)
	}
	w.open().close() // the worker answers
	a.close()        // a duplicate of our end is no reference to the application's
	b := make([]byte, 1<<16)
	for {
		n, err := s.read(b)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
	}
	unix.Close(p[1])
}

// TestRequestFlood: requests nobody reads the replies of, more than a turn
// takes; another container's work, here the connection, goes on.
func TestRequestFlood(t *testing.T) {
	w := newWorld(t)
	_, c, s := w.connection("10.0.0.1:80")
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		p := seqPair(t)
		r := shm.Request{Magic: shm.Magic, Op: shm.OpGetsockname, Cookie: c.cookie}
		for {
			select {
			case <-stop:
				return
			default:
				raw(t, w.attach, shm.RequestBytes(&r), p[1])
			}
		}
	}()
	b := make([]byte, 8)
	for range 1000 {
		c.write(b)
		s.readFull(b)
	}
	close(stop)
	<-done
}

// TestAttachGone: the attach socket's end does not end the sockets made
// through it, and an empty record is no end.
func TestAttachGone(t *testing.T) {
	w := newWorld(t)
	var second int
	w.do(func() { second = w.newAttach() })
	a, e := openApp(w, second, unix.AF_INET)
	if e != 0 {
		t.Fatal(e)
	}
	raw(t, second, nil)
	if e := a.bind("10.0.0.1:80"); e != 0 {
		t.Fatal(e)
	}
	unix.Close(second)
	w.eventually("detached", func() bool { return len(w.set.attached) == 1 && w.set.Len() == 1 })
	a.attach = w.attach
	if e := a.listen(5); e != 0 {
		t.Errorf("through another attach socket: %v", e)
	}
}

func TestRestart(t *testing.T) {
	w := newWorld(t)
	l, c, s := w.connection("10.0.0.1:80")
	wait := w.open()
	fd, err := askLater(w.attach, &shm.Request{Op: shm.OpConnect, Cookie: wait.cookie, Addr: wireAddr("10.9.0.2:80"), Flags: shm.FlagWait})
	if err != nil {
		t.Fatal(err)
	}
	w.eventually("connecting", func() bool { return len(w.eng.hang) == 1 })
	w.do(func() { w.eng = newFake(); w.set.Restart(w.eng) })
	if r, err := readReply(fd); err != nil || r.Error != int32(unix.ECONNRESET) {
		t.Errorf("connect that waited: %d %v", r.Error, err)
	}
	unix.Close(fd)
	for i, a := range []*app{c, s} {
		if n, err := a.read(make([]byte, 1)); n > 0 {
			t.Errorf("socket %d: %d %v", i, n, err)
		}
		if e := a.soError(); e != unix.ECONNRESET {
			t.Errorf("socket %d: SO_ERROR %v", i, e)
		}
	}
	if _, err := l.tryAccept(); err == nil {
		t.Error("the listener lives")
	}
	_, c, s = w.connection("10.0.0.1:80")
	c.write([]byte("x"))
	s.readFull(make([]byte, 1))
}

// FuzzRequest sends any bytes and a choice of fds, then asks whether the daemon
// still serves.
func FuzzRequest(f *testing.F) {
	good := shm.Request{Magic: shm.Magic, Op: shm.OpConnect, Cookie: 1, Addr: wireAddr("10.9.0.2:80"), Filler: 1 << 31}
	f.Add(shm.RequestBytes(&good), uint8(1))
	good.Op, good.Level, good.Option, good.Optlen = shm.OpSetsockopt, tcp, unix.TCP_CONGESTION, 1<<32-1
	f.Add(shm.RequestBytes(&good), uint8(1))
	good.Op = shm.OpSocket
	f.Add(shm.RequestBytes(&good), uint8(2))
	for _, r := range []shm.Request{
		{Op: shm.OpRevive, Cookie: 1, Successor: 2, Family: unix.AF_INET},
		{Op: shm.OpTakeError, Value: 1},
		{Op: shm.OpOutq, Value: 1},
		{Op: shm.OpConnect, Flags: shm.FlagHold},
		{Op: shm.OpConnect, Flags: shm.FlagFilled, Filler: 1},
		{Op: shm.OpConnect, Flags: shm.FlagProbe},
		{Op: shm.OpShutdown, Flags: shm.FlagProbe},
	} {
		r.Magic = shm.Magic
		kind := uint8(1)
		if r.Op == shm.OpRevive {
			kind = 2
		}
		f.Add(shm.RequestBytes(&r), kind)
	}
	f.Add([]byte{}, uint8(0))
	w := idleWorld(f)
	f.Cleanup(w.free)
	var pair [2]int
	var cookie uint64
	f.Fuzz(func(t *testing.T, b []byte, kind uint8) {
		if cookie == 0 || w.set.byCookie[cookie] == nil {
			// One socket in whatever state requests left it.
			pair = must2(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
			cookie, _ = cookieOf(int32(pair[0]))
			fd, err := askLater(w.attach, &shm.Request{Op: shm.OpSocket, Family: unix.AF_INET6, Cookie: cookie}, pair[1])
			if err != nil {
				t.Fatal(err)
			}
			unix.Close(pair[1])
			w.turn(0)
			unix.Close(fd)
		}
		if len(b) >= 16 && kind&0x80 == 0 {
			b = append([]byte(nil), b...)
			binary.NativeEndian.PutUint64(b[8:], cookie)
		}
		reply, sp := must2(unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)),
			must2(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
		all := [][]int{nil, {reply[1]}, {reply[1], sp[1]}, {sp[1]}, {sp[1], reply[1]}, {w.bell}, {reply[1], w.bell}, {reply[1], sp[1], sp[0]}}
		raw(t, w.attach, b, all[int(kind&0x7f)%len(all)]...)
		for range 3 {
			w.turn(0)
		}
		for _, p := range [][2]int{reply, sp} {
			unix.Close(p[0])
			unix.Close(p[1])
		}
		if kind%16 == 15 {
			unix.Close(pair[0])
		}
		for range 3 {
			w.turn(0)
		}
		if len(w.set.attached) != 1 {
			t.Fatal("the attach socket was given up")
		}
		if w.eng.hang = nil; len(w.hand) > 4 {
			t.Fatalf("%d fds are watched", len(w.hand))
		}
	})
}

func must2(p [2]int, err error) [2]int { return must(p, err) }
