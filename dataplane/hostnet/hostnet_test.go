// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
)

// bench is an Engine with a loop that the test turns.
type bench struct {
	*Engine
	t      *testing.T
	epfd   int
	hand   map[int]Handler
	counts stat.Block

	established, acceptable, readable, writable map[uint64]int
	failed                                      map[uint64]syscall.Errno
}

func newBench(t *testing.T) *bench {
	b := &bench{
		t: t, hand: map[int]Handler{}, established: map[uint64]int{}, acceptable: map[uint64]int{},
		readable: map[uint64]int{}, writable: map[uint64]int{}, failed: map[uint64]syscall.Errno{},
	}
	var err error
	if b.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	b.Engine = New(b, &b.counts)
	t.Cleanup(func() {
		b.Shut()
		if len(b.hand) != 0 {
			t.Errorf("%d kernel sockets are watched after the end", len(b.hand))
		}
		_ = unix.Close(b.epfd)
	})
	return b
}

func (b *bench) Add(fd int, h Handler) error {
	b.hand[fd] = h
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(fd)}
	return unix.EpollCtl(b.epfd, unix.EPOLL_CTL_ADD, fd, &ev)
}

func (b *bench) Remove(fd int, h Handler) {
	if b.hand[fd] != h {
		b.t.Errorf("remove of fd %d, which is not watched", fd)
	}
	delete(b.hand, fd)
	_ = unix.EpollCtl(b.epfd, unix.EPOLL_CTL_DEL, fd, nil)
}

func (b *bench) Established(u uint64)                 { b.established[u]++ }
func (b *bench) Failed(u uint64, errno syscall.Errno) { b.failed[u] = errno }
func (b *bench) Acceptable(u uint64)                  { b.acceptable[u]++ }
func (b *bench) Readable(u uint64)                    { b.readable[u]++ }
func (b *bench) Writable(u uint64)                    { b.writable[u]++ }

// until turns the loop until f holds.
func (b *bench) until(what string, f func() bool) {
	b.t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); {
		if time.Now().After(end) {
			b.t.Fatalf("never: %s", what)
		}
		b.turn(10)
	}
}

func (b *bench) turn(timeout int) {
	var evs [16]unix.EpollEvent
	n, _ := unix.EpollWait(b.epfd, evs[:], timeout)
	for _, ev := range evs[:max(0, n)] {
		if h := b.hand[int(ev.Fd)]; h != nil {
			h.Ready(ev.Events)
		}
	}
	for b.Poll(b, 8) {
	}
}

// connect opens a connection to l, user 1, with rings of this size, 0:
// none.
func (b *bench) connect(l net.Listener, ring int) (stream.Handle, *stream.Pair) {
	b.t.Helper()
	to := netip.MustParseAddrPort(l.Addr().String())
	h, e := b.Open(FamilyOf(to.Addr()), 1)
	if e != 0 {
		b.t.Fatal(e)
	}
	p := new(stream.Pair)
	p.Init()
	if ring > 0 {
		p.Tx.Attach(make([]byte, ring))
		p.Rx.Attach(make([]byte, ring))
	}
	b.Attach(h, p)
	if e := b.Connect(h, to); e != unix.EINPROGRESS {
		b.t.Fatalf("connect: %v", e)
	}
	b.until("established", func() bool { return b.established[1] == 1 })
	return h, p
}

func listen(t *testing.T, network, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// write puts as much of data into the Tx ring as fits.
func write(r *stream.Ring, data []byte) int {
	first, second := r.Reserve()
	n := copy(first, data)
	n += copy(second, data[n:])
	r.Publish(n)
	return n
}

// read takes what is in the Rx ring.
func read(r *stream.Ring) []byte {
	first, second := r.Peek()
	out := append(bytes.Clone(first), second...)
	r.Release(len(out))
	return out
}

// TestBytes: what is written comes back from an echo server, through rings that
// are full most of the time, and the ends follow the bytes, both ways.
func TestBytes(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		l := listen(t, "tcp", addr)
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(c, c)
			_ = c.(*net.TCPConn).CloseWrite()
		}()
		b := newBench(t)
		h, p := b.connect(l, 4096)
		data := make([]byte, 3<<20)
		for i := range data {
			data[i] = byte(rand.Uint32())
		}
		want, got := sha256.Sum256(data), sha256.New()
		received, ended := 0, false
		b.until("everything came back", func() bool {
			if len(data) > 0 {
				data = data[write(&p.Tx, data):]
				b.TxReady(h)
			} else if !ended {
				ended = true
				p.TxEOF.Store(true)
				b.TxReady(h)
				if e := b.Shutdown(h, stream.ShutWrite); e != 0 {
					t.Fatal(e)
				}
			}
			for chunk := read(&p.Rx); len(chunk) > 0; chunk = read(&p.Rx) {
				got.Write(chunk)
				received += len(chunk)
				b.RxRoom(h)
			}
			return p.RxEOF.Load() && p.Rx.Len() == 0
		})
		if received != 3<<20 || !bytes.Equal(got.Sum(nil), want[:]) {
			t.Errorf("%s: %d bytes came back, or others", addr, received)
		}
		if len(b.failed) != 0 || b.readable[1] == 0 {
			t.Errorf("%s: failed %v, readable %d", addr, b.failed, b.readable[1])
		}
		b.Close(h)
		b.counts.Publish()
		if tx, rx := b.counts.Get(stat.HostTx), b.counts.Get(stat.HostRx); tx != 3<<20 || rx != 3<<20 {
			t.Errorf("%s: counted %d sent, %d received", addr, tx, rx)
		}
	}
}

// TestWritable: room in a Tx ring that the kernel did not take is told of.
func TestWritable(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	drain := make(chan struct{})
	go func() {
		if c, err := l.Accept(); err == nil {
			<-drain
			_, _ = io.Copy(io.Discard, c)
		}
	}()
	b := newBench(t)
	h, p := b.connect(l, 1<<20)
	junk := make([]byte, 1<<20)
	// The kernel takes a few megabytes for a peer that does not read.
	for n := 0; p.Tx.Len() < 1<<20; n++ {
		if n == 1000 {
			t.Fatal("the kernel takes everything")
		}
		write(&p.Tx, junk)
		b.TxReady(h)
		b.turn(0)
		if p.Tx.Len() > 0 {
			write(&p.Tx, junk)
		}
	}
	told := b.writable[1]
	close(drain)
	b.until("writable", func() bool { return b.writable[1] > told && p.Tx.Room() > 0 })
	b.Abort(h)
}

// TestRefused: an active open that the peer refuses fails with its error.
func TestRefused(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	to := netip.MustParseAddrPort(l.Addr().String())
	_ = l.Close()
	b := newBench(t)
	h, e := b.Open(stream.IPv4, 1)
	if e != 0 {
		t.Fatal(e)
	}
	b.Attach(h, new(stream.Pair))
	if e := b.Connect(h, to); e != unix.EINPROGRESS {
		t.Fatalf("connect: %v", e)
	}
	b.until("failed", func() bool { return b.failed[1] != 0 })
	if b.failed[1] != unix.ECONNREFUSED || b.established[1] != 0 {
		t.Errorf("failed with %v, established %d", b.failed[1], b.established[1])
	}
	b.Close(h)
}

// TestUnreachable: what the host has no way to fails at once.
func TestUnreachable(t *testing.T) {
	b := newBench(t)
	h, e := b.Open(stream.IPv4, 1)
	if e != 0 {
		t.Fatal(e)
	}
	// TCP has no way to a group.
	if e := b.Connect(h, netip.MustParseAddrPort("224.0.0.1:9")); e == unix.EINPROGRESS || e == 0 {
		t.Errorf("connect: %v", e)
	}
	b.Close(h)
}

// TestReset: bytes that came before a reset are delivered, then it is reported,
// also to an owner that takes nothing.
func TestReset(t *testing.T) {
	for _, full := range []bool{false, true} {
		l := listen(t, "tcp", "127.0.0.1:0")
		reset := make(chan struct{})
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write(make([]byte, 64))
			<-reset
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		}()
		b := newBench(t)
		h, p := b.connect(l, 64)
		b.until("bytes", func() bool { return p.Rx.Len() == 64 })
		if !full && len(read(&p.Rx)) != 64 {
			t.Fatal("bytes are missing")
		}
		close(reset)
		b.until("failed", func() bool { return b.failed[1] != 0 })
		if b.failed[1] != unix.ECONNRESET {
			t.Errorf("full %t: failed with %v", full, b.failed[1])
		}
		b.Close(h)
	}
}

// TestMemory: bytes for a ring without memory are announced until it has some.
func TestMemory(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = c.Write([]byte("hello"))
			_ = c.Close()
		}
	}()
	b := newBench(t)
	h, p := b.connect(l, 0)
	b.until("announced", func() bool { return b.readable[1] > 0 })
	if p.RxEOF.Load() {
		t.Fatal("the end came before the bytes")
	}
	p.Rx.Attach(make([]byte, 64))
	b.RxRoom(h)
	var got []byte
	b.until("the end", func() bool {
		got = append(got, read(&p.Rx)...)
		b.RxRoom(h)
		return p.RxEOF.Load()
	})
	if got = append(got, read(&p.Rx)...); string(got) != "hello" {
		t.Errorf("received %q", got)
	}
	b.Close(h)
}

// TestAccept: connections to an adopted listener wait in the kernel until they
// are taken, and have their true peers.
func TestAccept(t *testing.T) {
	fd, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	l, e := b.Adopt(fd, 7)
	if e != 0 {
		t.Fatal(e)
	}
	if _, e := b.Accept(l, 8); e != unix.EAGAIN {
		t.Errorf("accept without a connection: %v", e)
	}
	// The address is taken for good.
	if _, err := Listen(b.Local(l)); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("listen twice: %v", err)
	}
	var clients []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", b.Local(l).String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients = append(clients, c)
	}
	b.until("acceptable", func() bool { return b.acceptable[7] > 0 })
	for i, how := range []func(stream.Handle){b.Close, b.Abort} {
		h, e := b.Accept(l, uint64(8+i))
		if e != 0 {
			t.Fatal(e)
		}
		if peer, e := b.Remote(h); e != 0 || peer.String() != clients[i].LocalAddr().String() {
			t.Errorf("peer %v %v, want %v", peer, e, clients[i].LocalAddr())
		}
		if b.Local(h) != b.Local(l) {
			t.Errorf("local %v, want %v", b.Local(h), b.Local(l))
		}
		how(h)
		_ = clients[i].SetReadDeadline(time.Now().Add(20 * time.Second))
		_, err := clients[i].Read(make([]byte, 1))
		if want := []error{io.EOF, unix.ECONNRESET}[i]; !errors.Is(err, want) {
			t.Errorf("client %d: %v, want %v", i, err, want)
		}
	}
	b.counts.Publish()
	if n := b.counts.Get(stat.HostAccepts); n != 2 {
		t.Errorf("counted %d", n)
	}
}

// TestOptions: options are the kernel's, and a close never waits for SO_LINGER.
func TestOptions(t *testing.T) {
	for _, f := range []stream.Family{stream.IPv4, stream.IPv6} {
		b := newBench(t)
		h, e := b.Open(f, 1)
		if e != 0 {
			t.Fatal(e)
		}
		for opt, v := range map[stream.Option]int{
			stream.OptKeepAlive: 1, stream.OptKeepIdle: 77, stream.OptKeepInterval: 7, stream.OptKeepCount: 3,
			stream.OptNoDelay: 1, stream.OptUserTimeout: 9000, stream.OptSynCount: 2, stream.OptTOS: 0x20, stream.OptTTL: 9,
			stream.OptSendBuffer: 65536, stream.OptRecvBuffer: 65536, stream.OptLinger: 30,
		} {
			if e := b.SetOption(h, opt, v); e != 0 {
				t.Errorf("family %d: set option %d: %v", f, opt, e)
			}
			if got, e := b.Option(h, opt); e != 0 || got != v {
				t.Errorf("family %d: option %d is %d, %v; want %d", f, opt, got, e, v)
			}
		}
		for _, opt := range []stream.Option{stream.OptReusePort, stream.OptDeferAccept} {
			if e := b.SetOption(h, opt, 1); e != unix.ENOPROTOOPT {
				t.Errorf("option %d: %v", opt, e)
			}
		}
		if l, err := unix.GetsockoptInt(b.lookup(h).fd, unix.SOL_SOCKET, unix.SO_LINGER); err != nil || l != 0 {
			t.Errorf("SO_LINGER of the kernel socket is %d, %v", l, err)
		}
		b.Close(h)
	}
}

// TestInfo: what the kernel says of a connection.
func TestInfo(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = io.Copy(io.Discard, c)
		}
	}()
	b := newBench(t)
	h, p := b.connect(l, 4096)
	write(&p.Tx, make([]byte, 1000))
	b.TxReady(h)
	var i stream.Info
	b.until("acknowledged", func() bool { b.Info(h, &i); return i.BytesAcked >= 1000 })
	if i.State != 1 || i.SendMSS == 0 || i.Cwnd == 0 || !i.WindowScale || i.SendQueue != 0 {
		t.Errorf("%+v", i)
	}
	b.Close(h)
	if b.Info(h, &i); i.State != 7 {
		t.Errorf("state of a closed socket: %d", i.State)
	}
}

// TestStale: a handle that was closed names nothing any more, whoever has its
// place.
func TestStale(t *testing.T) {
	b := newBench(t)
	old, e := b.Open(stream.IPv4, 1)
	if e != 0 {
		t.Fatal(e)
	}
	b.Close(old)
	h, e := b.Open(stream.IPv4, 2)
	if e != 0 || h == old {
		t.Fatalf("open: %v, %v, was %v", h, e, old)
	}
	b.Close(old)
	b.Abort(old)
	if e := b.SetOption(h, stream.OptNoDelay, 1); e != 0 {
		t.Errorf("the socket in its place is gone: %v", e)
	}
	if e := b.SetOption(old, stream.OptNoDelay, 1); e != unix.EBADF {
		t.Errorf("option of a closed socket: %v", e)
	}
}

// TestAllocs: moving bytes allocates nothing.
func TestAllocs(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = io.Copy(c, c)
		}
	}()
	b := newBench(t)
	h, p := b.connect(l, 4096)
	payload := make([]byte, 100)
	round := func() {
		write(&p.Tx, payload)
		b.TxReady(h)
		for n := 0; n < len(payload); {
			b.turn(1000)
			m := p.Rx.Len()
			p.Rx.Release(m)
			n += m
		}
	}
	round()
	// The loop of the test itself keeps its events on the heap.
	events := testing.AllocsPerRun(10, func() { b.turn(0) })
	if n := testing.AllocsPerRun(50, round); n > 3*events {
		t.Errorf("%v allocations per round, %v of them the test's per turn", n, events)
	}
}

// TestDatagram: datagrams keep their sizes and peers; one that is pointed at a
// port without a socket hears of it.
func TestDatagram(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		c, err := net.ListenPacket("udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		there := netip.MustParseAddrPort(c.LocalAddr().String())
		b := newBench(t)
		h, e := b.OpenDatagram(FamilyOf(there.Addr()), 1)
		if e != 0 {
			t.Fatal(e)
		}
		buf := make([]byte, 1<<16)
		if _, _, _, e := b.ReceiveFrom(h, buf); e != unix.EAGAIN {
			t.Errorf("receive of nothing: %v", e)
		}
		if e := b.SendTo(h, stream.HostPlace{}, netip.AddrPort{}, []byte("x")); e != unix.EDESTADDRREQ {
			t.Errorf("send to nobody: %v", e)
		}
		for _, size := range []int{0, 1, 60000} {
			if e := b.SendTo(h, stream.HostPlace{}, there, buf[:size]); e != 0 {
				t.Fatal(e)
			}
			n, from, err := c.ReadFrom(buf)
			if err != nil || n != size {
				t.Fatalf("the peer received %d bytes, want %d: %v", n, size, err)
			}
			told := b.readable[1]
			if _, err := c.WriteTo(buf[:size], from); err != nil {
				t.Fatal(err)
			}
			b.until("readable", func() bool { return b.readable[1] > told })
			if n, from, _, e := b.ReceiveFrom(h, buf[:1000]); e != 0 || n != size || from != there {
				t.Errorf("received %d bytes of %v, %v; want %d of %v", n, from, e, size, there)
			}
		}
		if e := b.SendTo(h, stream.HostPlace{}, there, make([]byte, 1<<16)); e != unix.EMSGSIZE {
			t.Errorf("send too much: %v", e)
		}
		_ = c.Close()
		if e := b.Point(h, there); e != 0 {
			t.Fatal(e)
		}
		if e := b.SendTo(h, stream.HostPlace{}, netip.AddrPort{}, []byte("x")); e != 0 {
			t.Fatal(e)
		}
		b.until("refused", func() bool {
			_, _, _, e := b.ReceiveFrom(h, buf)
			return e == unix.ECONNREFUSED
		})
		allocs := testing.AllocsPerRun(20, func() {
			_ = b.SendTo(h, stream.HostPlace{}, there, buf[:10])
			_, _, _, _ = b.ReceiveFrom(h, buf)
		})
		if allocs != 0 {
			t.Errorf("%v allocations per datagram", allocs)
		}
		b.Close(h)
	}
}

// TestAdoptDatagrams: a UDP socket on every address of the host answers from the one
// that was written to.
func TestAdoptDatagrams(t *testing.T) {
	for _, tt := range []struct{ listen, reach, from string }{
		{"0.0.0.0:0", "127.0.0.1", "127.0.0.1:0"},
		{"0.0.0.0:0", "127.0.0.7", "127.0.0.1:0"},
		{"127.0.0.9:0", "127.0.0.9", "127.0.0.1:0"},
		{"[::]:0", "::1", "[::1]:0"},
	} {
		fd, err := ListenDatagrams(netip.MustParseAddrPort(tt.listen))
		if err != nil {
			t.Fatal(err)
		}
		b := newBench(t)
		h, e := b.Adopt(fd, 1)
		if e != 0 {
			t.Fatal(e)
		}
		to := netip.AddrPortFrom(netip.MustParseAddr(tt.reach), b.Local(h).Port())
		if _, err := ListenDatagrams(b.Local(h)); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("%s: taken twice: %v", tt.listen, err)
		}
		// A socket that is connected hears nobody else.
		c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(tt.from)), net.UDPAddrFromAddrPort(to))
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := c.Write([]byte("question")); err != nil {
			t.Fatal(err)
		}
		b.until("readable", func() bool { return b.readable[1] > 0 })
		buf := make([]byte, 100)
		n, from, at, e := b.ReceiveFrom(h, buf)
		if e != 0 || string(buf[:n]) != "question" || from.String() != c.LocalAddr().String() || at.IP != to.Addr() {
			t.Fatalf("%s: %q from %v at %v: %v", tt.listen, buf[:n], from, at, e)
		}
		if e := b.SendTo(h, stream.HostPlace{IP: at.IP}, from, []byte("answer")); e != 0 {
			t.Fatal(e)
		}
		if n, err := c.Read(buf); err != nil || string(buf[:n]) != "answer" {
			t.Errorf("%s: %q: %v", tt.reach, buf[:n], err)
		}
		allocs := testing.AllocsPerRun(20, func() {
			_ = b.SendTo(h, at, from, buf[:10])
			_, _, _, _ = b.ReceiveFrom(h, buf)
		})
		if allocs != 0 {
			t.Errorf("%v allocations per datagram", allocs)
		}
		_ = c.Close()
		b.Close(h)
	}
}
