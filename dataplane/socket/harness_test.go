// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

// world is a worker with one Set on a fake engine, run by one goroutine.
type world struct {
	t      testing.TB
	set    *Set
	eng    *fakeEngine
	host   stream.Host // nil: none
	stat   *stat.Block
	pool   *Pool
	attach int // the application's end of the attach socket
	epfd   int
	bell   int
	mu     sync.Mutex
	tasks  []func()
	quit   bool
	done   chan struct{}
	hand   map[int]Handler
	budget int
}

func (w *world) Add(fd int, h Handler) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(fd)}
	w.hand[fd] = h
	return unix.EpollCtl(w.epfd, unix.EPOLL_CTL_ADD, fd, &ev)
}

func (w *world) Remove(fd int, h Handler) {
	if w.hand[fd] != h {
		panic("remove of an fd that is not watched")
	}
	delete(w.hand, fd)
	if err := unix.EpollCtl(w.epfd, unix.EPOLL_CTL_DEL, fd, nil); err != nil {
		panic(err)
	}
}

func newWorld(t testing.TB, change ...func(*Config)) *world {
	w := idleWorld(t, change...)
	go w.run()
	t.Cleanup(w.stop)
	return w
}

// idleWorld is a world that the test turns itself.
func idleWorld(t testing.TB, change ...func(*Config)) *world {
	w := &world{t: t, eng: newFake(), stat: &stat.Block{}, pool: NewPool(64 << 20), hand: map[int]Handler{}, done: make(chan struct{}), budget: 64}
	var err error
	if w.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if w.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(w.bell)}
	if err := unix.EpollCtl(w.epfd, unix.EPOLL_CTL_ADD, w.bell, &ev); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Container: "c", Engine: w.eng, Poller: w, Stat: w.stat, Buffers: w.pool}
	for _, f := range change {
		f(&cfg)
	}
	w.pool, w.host = cfg.Buffers, cfg.Host
	w.set = New(cfg)
	w.attach = w.newAttach()
	return w
}

func (w *world) newAttach() int {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	w.set.Adopt(p[1], 77, 1000, 0)
	return p[0]
}

func (w *world) turn(timeout int) {
	var evs [64]unix.EpollEvent
	n, _ := unix.EpollWait(w.epfd, evs[:], timeout)
	for i := range max(0, n) {
		if int(evs[i].Fd) == w.bell {
			var b [8]byte
			_, _ = unix.Read(w.bell, b[:])
		} else if h := w.hand[int(evs[i].Fd)]; h != nil {
			h.Ready(evs[i].Events)
		}
	}
	w.mu.Lock()
	tasks := w.tasks
	w.tasks = nil
	w.mu.Unlock()
	for _, f := range tasks {
		f()
	}
	w.eng.Poll(w.set, 64)
	if w.host != nil {
		w.host.Poll(w.set, 64)
	}
	w.set.Work(w.budget)
	w.stat.Publish()
}

func (w *world) run() {
	runtime.LockOSThread()
	defer close(w.done)
	for !w.quit {
		timeout := -1
		if d := w.set.Timeout(); d >= 0 {
			timeout = int(d/time.Millisecond) + 1
		}
		if w.set.Busy() || w.eng.Busy() || w.host != nil && w.host.Busy() {
			timeout = 0
		}
		w.turn(timeout)
	}
}

// do runs f on the worker's thread.
func (w *world) do(f func()) {
	c := make(chan struct{})
	w.mu.Lock()
	w.tasks = append(w.tasks, func() { f(); close(c) })
	w.mu.Unlock()
	_, _ = unix.Write(w.bell, binary.NativeEndian.AppendUint64(nil, 1))
	<-c
}

func (w *world) stop() {
	w.do(func() { w.set.Close(); w.quit = true })
	<-w.done
	w.free()
}

func (w *world) free() {
	w.set.Close()
	if n := w.pool.InUse(); n != 0 {
		w.t.Errorf("%d ring buffers were not given back", n)
	}
	unix.Close(w.attach)
	unix.Close(w.epfd)
	unix.Close(w.bell)
}

// eventually waits until f, run on the worker's thread, is true.
func (w *world) eventually(what string, f func() bool) {
	w.t.Helper()
	for end := time.Now().Add(5 * time.Second); ; {
		var ok bool
		w.do(func() { ok = f() })
		if ok {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func mustAddrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// goroutines counts those that run code of this package.
func goroutines() int {
	b := make([]byte, 1<<20)
	b = b[:runtime.Stack(b, true)]
	return bytes.Count(b, []byte("socket.(*janitor)"))
}

// app is an application's virtual socket.
type app struct {
	w      *world
	attach int
	fd     int
	cookie uint64
}

func ask(t testing.TB, attach int, r *shm.Request, fds ...int) (shm.Reply, error) {
	t.Helper()
	fd, err := askLater(attach, r, fds...)
	if err != nil {
		return shm.Reply{}, err
	}
	defer unix.Close(fd)
	return readReply(fd)
}

// askLater sends a request and returns the socket its reply comes on.
func askLater(attach int, r *shm.Request, fds ...int) (int, error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	r.Magic = shm.Magic
	err = unix.Sendmsg(attach, shm.RequestBytes(r), unix.UnixRights(append([]int{p[1]}, fds...)...), nil, 0)
	unix.Close(p[1])
	if err != nil {
		unix.Close(p[0])
		return -1, err
	}
	return p[0], nil
}

func readReply(fd int) (r shm.Reply, err error) {
	n, err := unix.Read(fd, shm.ReplyBytes(&r))
	if err == nil && (n != shm.SizeofReply || r.Magic != shm.Magic) {
		err = unix.EPROTO
	}
	return r, err
}

func openApp(w *world, attach int, family uint16) (*app, syscall.Errno) {
	w.t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	c, _ := cookieOf(int32(p[0]))
	r, err := ask(w.t, attach, &shm.Request{Op: shm.OpSocket, Family: family, Cookie: c}, p[1])
	unix.Close(p[1])
	if err != nil {
		w.t.Fatal(err)
	}
	if r.Error != 0 {
		unix.Close(p[0])
		return nil, syscall.Errno(r.Error)
	}
	return &app{w: w, attach: attach, fd: p[0], cookie: c}, 0
}

func (w *world) open() *app {
	w.t.Helper()
	a, e := openApp(w, w.attach, unix.AF_INET)
	if e != 0 {
		w.t.Fatal(e)
	}
	return a
}

func (a *app) close() { unix.Close(a.fd); a.fd = -1 }

func (a *app) call(r shm.Request) (shm.Reply, syscall.Errno) {
	a.w.t.Helper()
	r.Cookie = a.cookie
	rep, err := ask(a.w.t, a.attach, &r)
	if err != nil {
		a.w.t.Fatalf("request %d: %v", r.Op, err)
	}
	if rep.Error < 0 {
		return rep, syscall.Errno(4000)
	}
	return rep, syscall.Errno(rep.Error)
}

// notOurs is what call says for NC_NOT_OURS.
const notOurs = syscall.Errno(4000)

func wireAddr(s string) shm.Addr {
	ap := netip.MustParseAddrPort(s)
	f := uint16(unix.AF_INET6)
	if ap.Addr().Is4() {
		f = unix.AF_INET
	}
	a := shm.Addr{Family: f, Port: ap.Port()>>8 | ap.Port()<<8}
	copy(a.Ip[:], ap.Addr().AsSlice())
	return a
}

func (a *app) bind(s string) syscall.Errno {
	_, e := a.call(shm.Request{Op: shm.OpBind, Addr: wireAddr(s)})
	return e
}

func (a *app) listen(n int32) syscall.Errno {
	_, e := a.call(shm.Request{Op: shm.OpListen, Value: n})
	return e
}

func (a *app) connect(s string) syscall.Errno {
	_, e := a.call(shm.Request{Op: shm.OpConnect, Addr: wireAddr(s), Flags: shm.FlagWait})
	return e
}

// fill makes the application's end not writable, as the shim does.
func (a *app) fill() (n int) {
	zeros := make([]byte, 4096)
	for {
		p := []unix.PollFd{{Fd: int32(a.fd), Events: unix.POLLOUT}}
		if _, _ = unix.Poll(p, 0); p[0].Revents&unix.POLLOUT == 0 {
			return n
		}
		m, err := unix.SendmsgN(a.fd, zeros, nil, nil, unix.MSG_DONTWAIT)
		if err != nil {
			return n
		}
		n += m
	}
}

func (a *app) connectNB(s string) syscall.Errno {
	_, e := a.call(shm.Request{Op: shm.OpConnect, Addr: wireAddr(s), Filler: uint32(a.fill())})
	return e
}

func (a *app) accept() *app {
	a.w.t.Helper()
	c, err := a.tryAccept()
	if err != nil {
		a.w.t.Fatal(err)
	}
	return c
}

func (a *app) tryAccept() (*app, error) {
	var rec shm.Accept
	oob := make([]byte, 64)
	n, oobn, _, _, err := unix.Recvmsg(a.fd, shm.AcceptBytes(&rec), oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if n != shm.SizeofAccept || oobn == 0 {
		return nil, unix.ECONNABORTED
	}
	m, _ := unix.ParseSocketControlMessage(oob[:oobn])
	fds, err := unix.ParseUnixRights(&m[0])
	if err != nil {
		return nil, err
	}
	if c, _ := cookieOf(int32(fds[0])); c != rec.Cookie || rec.Magic != shm.Magic || rec.Peer.Family == 0 {
		return nil, unix.EPROTO
	}
	if n, err := unix.Read(fds[0], make([]byte, 1)); n != 1 {
		return nil, fmt.Errorf("no byte to be taken by accept: %w", err)
	}
	return &app{w: a.w, attach: a.attach, fd: fds[0], cookie: rec.Cookie}, nil
}

func (a *app) shutdownReq(how int32) syscall.Errno {
	_, e := a.call(shm.Request{Op: shm.OpShutdown, Value: how})
	return e
}

func (a *app) getInt(level, opt int32) (int32, syscall.Errno) {
	r, e := a.call(shm.Request{Op: shm.OpGetsockopt, Level: level, Option: opt, Optlen: 4})
	return int32(binary.NativeEndian.Uint32(r.Opt[:])), e
}

func (a *app) setInt(level, opt, v int32) syscall.Errno {
	r := shm.Request{Op: shm.OpSetsockopt, Level: level, Option: opt, Optlen: 4}
	binary.NativeEndian.PutUint32(r.Opt[:], uint32(v))
	_, e := a.call(r)
	return e
}

func (a *app) soError() syscall.Errno {
	v, e := a.getInt(unix.SOL_SOCKET, unix.SO_ERROR)
	if e != 0 {
		return e
	}
	return syscall.Errno(v)
}

// connection makes a listener at addr and one connection through it.
func (w *world) connection(addr string) (l, client, server *app) {
	w.t.Helper()
	l = w.open()
	if e := l.bind(addr); e != 0 {
		w.t.Fatal("bind", e)
	}
	if e := l.listen(128); e != 0 {
		w.t.Fatal("listen", e)
	}
	client = w.open()
	if e := client.connect(addr); e != 0 {
		w.t.Fatal("connect", e)
	}
	return l, client, l.accept()
}

func (a *app) write(b []byte) {
	a.w.t.Helper()
	for len(b) > 0 {
		n, err := unix.SendmsgN(a.fd, b, nil, nil, unix.MSG_NOSIGNAL)
		if err != nil {
			a.w.t.Errorf("write: %v", err)
			return
		}
		b = b[n:]
	}
}

func (a *app) read(b []byte) (int, error) {
	for {
		n, err := unix.Read(a.fd, b)
		if err != unix.EINTR {
			return n, err
		}
	}
}

func (a *app) readFull(b []byte) {
	a.w.t.Helper()
	for len(b) > 0 {
		n, err := a.read(b)
		if err != nil || n == 0 {
			a.w.t.Fatalf("read: %d %v", n, err)
		}
		b = b[n:]
	}
}

// poll waits for events on the application's end.
func (a *app) poll(events int16, timeout time.Duration) int16 {
	p := []unix.PollFd{{Fd: int32(a.fd), Events: events}}
	_, _ = unix.Poll(p, int(timeout/time.Millisecond))
	return p[0].Revents
}
