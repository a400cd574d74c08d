// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"netcon/dataplane/hostnet"
	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

// hostPoller lets a world watch for the host's stack.
type hostPoller struct{ w **world }

func (p hostPoller) Add(fd int, h hostnet.Handler) error { return (*p.w).Add(fd, h) }
func (p hostPoller) Remove(fd int, h hostnet.Handler)    { (*p.w).Remove(fd, h) }

// newHostWorld is a world beside the host's own stack.
func newHostWorld(t *testing.T) *world {
	var w *world
	listen := func(_ int32, uid uint32, datagrams bool, local netip.AddrPort) (int, syscall.Errno) {
		if uid != 1000 && uid != uint32(os.Getuid()) {
			return -1, unix.EACCES
		}
		take := hostnet.Listen
		if datagrams {
			take = hostnet.ListenDatagrams
		}
		fd, err := take(local)
		var e syscall.Errno
		errors.As(err, &e)
		return fd, e
	}
	w = idleWorld(t, func(c *Config) {
		c.Host = hostnet.New(hostPoller{&w}, c.Stat)
		c.Listen = listen
	})
	go w.run()
	t.Cleanup(w.stop)
	return w
}

// publish publishes a port of the container, tcp or udp, at any port of the host's
// loopback.
func (w *world) publish(network string, family stream.Family, port uint16) (id Publication, addr string) {
	w.t.Helper()
	udp := network == "udp"
	listen, publish := hostnet.Listen, w.set.Publish
	if udp {
		listen, publish = hostnet.ListenDatagrams, w.set.PublishDatagrams
	}
	ip := netip.MustParseAddr("127.0.0.1")
	if family == stream.IPv6 {
		ip = netip.IPv6Loopback()
	}
	fd, err := listen(netip.AddrPortFrom(ip, 0))
	if err != nil {
		w.t.Fatal(err)
	}
	w.do(func() {
		var e syscall.Errno
		if id, e = publish(fd, family, port); e != 0 {
			w.t.Error(e)
			return
		}
		list := w.set.Published()
		p := list[len(list)-1]
		addr = p.Host.String()
		if p.UDP != udp {
			w.t.Errorf("%+v", p)
		}
	})
	return id, addr
}

// dialHost is a program on the host that talks to one address.
func dialHost(t *testing.T, network, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// isReset reports whether a connection to the host is reset, at once or soon.
func isReset(t *testing.T, addr string) bool {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 20*time.Second)
	if err == nil {
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		_, err = c.Read(make([]byte, 1))
	}
	return errors.Is(err, unix.ECONNRESET)
}

// TestPublish: connections from the host arrive at the container's listener with
// their true peer and carry bytes both ways; where nobody listens they are reset.
func TestPublish(t *testing.T) {
	w := newHostWorld(t)
	id, addr := w.publish("tcp", stream.IPv4, 80)
	if !isReset(t, addr) {
		t.Error("a connection that nobody listens for is not reset")
	}
	l := w.open()
	l.bind("10.0.0.1:80")
	l.listen(16)
	c := dialHost(t, "tcp", addr)
	s := l.accept()
	if r, e := s.call(getpeer); e != 0 || r.Addr != wireAddr(c.LocalAddr().String()) {
		t.Errorf("peer %v %v, want %v", r.Addr, e, c.LocalAddr())
	}
	if r, e := s.call(getname); e != 0 || r.Addr != wireAddr(addr) {
		t.Errorf("local address %v %v, want %v", r.Addr, e, addr)
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	var done sync.WaitGroup
	done.Go(func() { _, _ = c.Write(data); _ = c.(*net.TCPConn).CloseWrite() })
	got := make([]byte, len(data))
	s.readFull(got)
	if n, err := s.read(make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("behind the last byte: %d %v", n, err)
	}
	done.Go(func() { s.write(got); s.close() })
	back, err := io.ReadAll(c)
	done.Wait()
	if err != nil || !bytes.Equal(back, data) {
		t.Errorf("%d bytes came back, or others: %v", len(back), err)
	}

	// Closed with the listener, and open again with the next.
	l.close()
	w.eventually("the listener is gone", func() bool { return w.set.Len() == 0 })
	if !isReset(t, addr) {
		t.Error("a connection after the listener is not reset")
	}
	w.do(func() { w.set.Unpublish(id) })
	if c, err := net.Dial("tcp", addr); err == nil {
		_ = c.Close()
		t.Error("a port that is not published any more takes connections")
	}
	w.do(w.stat.Publish)
	if n := w.stat.Drops(stat.DropNotListening); n != 2 {
		t.Errorf("%d connections were counted as refused", n)
	}
}

// TestPublishFamilies: which listeners take connections from the host.
func TestPublishFamilies(t *testing.T) {
	for _, tt := range []struct {
		name   string
		family uint16
		bind   string
		v6only bool
		v4, v6 bool // what reaches it
	}{
		{"any v4", unix.AF_INET, "0.0.0.0:80", false, true, false},
		{"v4", unix.AF_INET, "10.0.0.1:80", false, true, false},
		{"loopback v4", unix.AF_INET, "127.0.0.1:80", false, false, false},
		{"dual", unix.AF_INET6, "[::]:80", false, true, true},
		{"v6 only", unix.AF_INET6, "[::]:80", true, false, true},
		{"v6", unix.AF_INET6, "[fd00::1]:80", false, false, true},
		{"loopback v6", unix.AF_INET6, "[::1]:80", false, false, false},
		{"mapped", unix.AF_INET6, "[::ffff:10.0.0.1]:80", false, true, false},
		{"another port", unix.AF_INET, "0.0.0.0:81", false, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newHostWorld(t)
			l, e := openApp(w, w.attach, tt.family)
			if e != 0 {
				t.Fatal(e)
			}
			if tt.v6only {
				l.setInt(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
			}
			if e := l.bind(tt.bind); e != 0 {
				t.Fatal(e)
			}
			l.listen(4)
			for family, want := range map[stream.Family]bool{stream.IPv4: tt.v4, stream.IPv6: tt.v6} {
				_, addr := w.publish("tcp", family, 80)
				if !want {
					if !isReset(t, addr) {
						t.Errorf("family %d reached it", family)
					}
					continue
				}
				c := dialHost(t, "tcp", addr)
				s := l.accept()
				s.write([]byte("x"))
				if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
					t.Errorf("family %d: %v", family, err)
				}
			}
		})
	}
}

// TestPublishStuck: what a container does not take waits in the kernel, within
// bounds, and arrives when it takes again. Nothing else waits for it.
func TestPublishStuck(t *testing.T) {
	w := newHostWorld(t)
	_, addr := w.publish("tcp", stream.IPv4, 80)
	l := w.open()
	l.bind("0.0.0.0:80")
	l.listen(16)
	const total = 900 // within the kernel's backlog
	var clients []net.Conn
	for range total {
		clients = append(clients, dialHost(t, "tcp", addr))
	}
	w.eventually("the pair is full", func() bool { return len(w.set.byCookie[l.cookie].pending) > 0 })
	var taken int
	w.do(func() { taken = w.set.Len() })
	if taken > 600 {
		t.Errorf("%d connections were taken for a listener that accepts nothing", taken)
	}
	// A connection inside still arrives.
	if e := w.open().connect("10.0.0.1:80"); e != 0 {
		t.Errorf("connect inside: %v", e)
	}
	for i := range total + 1 {
		s, err := l.tryAccept()
		if err != nil {
			t.Fatalf("accept %d: %v", i, err)
		}
		s.close()
	}
	for i, c := range clients {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("client %d read a byte", i)
		}
	}
}

// TestPublishReusePort: several listeners on one port take turns.
func TestPublishReusePort(t *testing.T) {
	w := newHostWorld(t)
	_, addr := w.publish("tcp", stream.IPv4, 80)
	var listeners []*app
	for _, ip := range []string{"10.0.0.1:80", "10.0.0.2:80"} { // the fake has no SO_REUSEPORT
		l := w.open()
		l.bind(ip)
		l.listen(16)
		listeners = append(listeners, l)
	}
	for range 10 {
		dialHost(t, "tcp", addr)
	}
	for range 5 {
		for _, l := range listeners {
			l.accept()
		}
	}
}

// TestPublishAsked: a port that a program asked for lasts as long as the program,
// or a process that holds its attach socket.
func TestPublishAsked(t *testing.T) {
	w := newHostWorld(t)
	request := func(addr string, port int32) shm.Request {
		return shm.Request{Op: shm.OpPublish, Value: port, Addr: wireAddr(addr)}
	}
	free := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}
	for _, bad := range []struct {
		r    shm.Request
		want syscall.Errno
	}{
		{request("127.0.0.1:0", 80), unix.EINVAL},
		{request("127.0.0.1:8080", 0), unix.EINVAL},
		{request("127.0.0.1:8080", 65536), unix.EINVAL},
		{request("[::ffff:127.0.0.1]:8080", 80), unix.EINVAL},
		{request("203.0.113.77:8080", 80), unix.EADDRNOTAVAIL},
		{shm.Request{Op: shm.OpPublish, Value: 80}, unix.EAFNOSUPPORT},
	} {
		if r, err := ask(t, w.attach, &bad.r); err != nil || syscall.Errno(r.Error) != bad.want {
			t.Errorf("%v: %v %v, want %v", bad.r.Addr, syscall.Errno(r.Error), err, bad.want)
		}
	}
	addr := free()
	r := request(addr, 80)
	if rep, err := ask(t, w.attach, &r); err != nil || rep.Error != 0 {
		t.Fatalf("publish: %v %v", rep.Error, err)
	}
	if rep, _ := ask(t, w.attach, &r); syscall.Errno(rep.Error) != unix.EADDRINUSE {
		t.Errorf("publish twice: %v", syscall.Errno(rep.Error))
	}
	w.do(func() {
		if p := w.set.Published(); len(p) != 1 || p[0].PID != int32(os.Getpid()) || p[0].Host.String() != addr || p[0].Port != 80 {
			t.Errorf("published %+v", p)
		}
	})
	// The attach socket goes, the process that asked, this one, does not.
	unix.Close(w.attach)
	w.eventually("detached", func() bool { return len(w.set.attached) == 0 })
	w.do(func() {
		if len(w.set.Published()) != 1 {
			t.Error("a port ended before its program")
		}
		for r := range w.set.trees {
			r.Ready(unix.EPOLLIN) // as if it had ended
		}
		if len(w.set.Published()) != 0 || len(w.set.trees) != 0 {
			t.Error("a port outlived its program")
		}
		w.attach = w.newAttach()
	})

	// A process that ends while another has the attach socket.
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	w.do(func() {
		for a := range w.set.attached {
			q := request(free(), 80)
			if e := w.set.opPublish(a, &q, int32(child.Process.Pid), 1000); e != 0 {
				t.Error(e)
			}
		}
	})
	_ = child.Process.Kill()
	_ = child.Wait()
	w.eventually("the process is gone", func() bool {
		for r := range w.set.trees {
			return r.pidfd < 0
		}
		return false
	})
	w.do(func() {
		if len(w.set.Published()) != 1 {
			t.Error("a port ended before its tree")
		}
		for a := range w.set.attached {
			w.set.detach(a)
		}
		if len(w.set.Published()) != 0 {
			t.Error("a port outlived its tree")
		}
	})
}
