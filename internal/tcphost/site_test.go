// SPDX-License-Identifier: Apache-2.0

package tcphost_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/tcp"
	"netcon/internal/tcphost"
	"netcon/internal/testenv"
)

// site is the engine and a kernel on one wire. Neither knows the other's
// link-layer address beforehand.
//
//	engine: e0 192.0.2.1, 2001:db8::1 ◄─ veth ─► e0 192.0.2.2, 2001:db8::2 :kernel
type site struct {
	host   *tcphost.Host
	engine *testenv.NetNS
	kernel *testenv.NetNS
}

// where is the two hosts' addresses of one family.
type where struct {
	name           string
	engine, kernel netip.Addr
}

var families = []where{
	{"IPv4", netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")},
	{"IPv6", netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")},
}

const kernelAddrs = "192.0.2.2/24,2001:db8::2/64"

// newSite makes a site. faults, if not empty, lie on the wire.
func newSite(t *testing.T, faults string, change func(*tcphost.Config, *tcp.Tuning)) *site {
	t.Helper()
	testenv.Need(t, "CAP_NET_RAW")
	s := &site{engine: testenv.NewNetNS(t, "engine"), kernel: testenv.NewNetNS(t, "kernel")}
	s.engine.Sysctl(t, "net.ipv6.conf.default.disable_ipv6", "1")
	if faults == "" {
		testenv.Veth(t, s.engine, "e0", "", s.kernel, "e0", kernelAddrs, 0)
	} else {
		testenv.FaultWire(t, s.engine, "e0", "", s.kernel, "e0", kernelAddrs, 0, faults)
	}
	s.engine.NoOffload(t, "e0")
	s.kernel.NoOffload(t, "e0")
	tun := tcp.DefaultTuning()
	cfg := tcphost.Config{Device: "e0", Tuning: &tun, Addrs: []netip.Prefix{
		netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64"),
	}}
	if change != nil {
		change(&cfg, &tun)
	}
	var err error
	s.engine.Do(t, func() { s.host, err = tcphost.New(cfg) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if st := s.host.Stats(); st.Unsent+st.Overrun != 0 {
			t.Errorf("frames lost: %d sending, %d receiving", st.Unsent, st.Overrun)
		} else if t.Failed() {
			t.Logf("engine: %+v", st.Snapshot)
		}
		s.host.Close()
	})
	return s
}

// option is a socket option of the kernel.
type option struct{ level, name, value int }

func control(options []option) func(string, string, syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) (err error) {
		e := raw.Control(func(fd uintptr) {
			for _, o := range options {
				if err == nil {
					err = unix.SetsockoptInt(int(fd), o.level, o.name, o.value)
				}
			}
		})
		return errors.Join(e, err)
	}
}

// patience bounds every wait for a kernel socket.
const patience = 30 * time.Second

// listenKernel opens a listener of the kernel.
func (s *site) listenKernel(t *testing.T, at netip.AddrPort, options ...option) *net.TCPListener {
	t.Helper()
	var l net.Listener
	var err error
	s.kernel.Do(t, func() {
		c := net.ListenConfig{Control: control(options), KeepAlive: -1}
		l, err = c.Listen(context.Background(), "tcp", at.String())
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	k := l.(*net.TCPListener)
	k.SetDeadline(time.Now().Add(2 * time.Minute))
	return k
}

// dialKernel opens a connection of the kernel, from a local address unless that
// is the zero value.
func (s *site) dialKernel(t *testing.T, from, to netip.AddrPort, options ...option) (*net.TCPConn, error) {
	t.Helper()
	var c net.Conn
	var err error
	s.kernel.Do(t, func() {
		d := net.Dialer{Control: control(options), KeepAlive: -1, Timeout: patience}
		if from.IsValid() {
			d.LocalAddr = net.TCPAddrFromAddrPort(from)
		}
		c, err = d.Dial("tcp", to.String())
	})
	if err != nil {
		return nil, err
	}
	k := c.(*net.TCPConn)
	k.SetDeadline(time.Now().Add(2 * time.Minute))
	t.Cleanup(func() { k.Close() })
	return k, nil
}

// port is where servers listen.
const port = 7000

// link is one connection, seen from both ends.
type link struct {
	engine *tcphost.Conn
	kernel *net.TCPConn
}

func (l link) close() {
	l.engine.Close()
	l.kernel.Close()
}

// connect makes n connections, opened by the engine or by the kernel.
func (s *site) connect(t *testing.T, w where, active bool, n int, options ...option) (links []link) {
	t.Helper()
	if active {
		at := netip.AddrPortFrom(w.kernel, port)
		l := s.listenKernel(t, at, options...)
		defer l.Close()
		for range n {
			e, err := s.host.Dial(at, nil)
			if err != nil {
				t.Fatal(err)
			}
			k, err := l.AcceptTCP()
			if err != nil {
				t.Fatal(err)
			}
			k.SetDeadline(time.Now().Add(2 * time.Minute))
			t.Cleanup(func() { k.Close() })
			links = append(links, link{e, k})
		}
		return links
	}
	at := netip.AddrPortFrom(w.engine, port)
	l, err := s.host.Listen(at, 128, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range n {
		k, err := s.dialKernel(t, netip.AddrPort{}, at, options...)
		if err != nil {
			t.Fatal(err)
		}
		e, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		links = append(links, link{e, k})
	}
	return links
}

// send writes n bytes of a pattern and the end.
func send(s tcphost.Stream, seed byte, n int) error {
	p := tcphost.NewPattern(seed)
	for n > 0 {
		b := p.Next(min(n, 100_000))
		if _, err := s.Write(b); err != nil {
			return fmt.Errorf("write after %d bytes: %w", p.At()-int64(len(b)), err)
		}
		n -= len(b)
	}
	return s.CloseWrite()
}

// receive reads n bytes of a pattern and the end.
func receive(s tcphost.Stream, seed byte, n int) error {
	p, buf := tcphost.NewPattern(seed), make([]byte, 50_000)
	for {
		k, err := s.Read(buf)
		if e := p.Check(buf[:k]); e != nil {
			return e
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read after %d bytes: %w", p.At(), err)
		}
	}
	if p.At() != int64(n) {
		return fmt.Errorf("%d bytes of %d", p.At(), n)
	}
	return nil
}

// exchange sends up bytes from the engine and down bytes to it at once, each
// followed by the end, and compares.
func (l link) exchange(seed byte, up, down int) error {
	return together(
		func() error { return wrap("engine sends", send(l.engine, seed, up)) },
		func() error { return wrap("engine receives", receive(l.engine, ^seed, down)) },
		func() error { return wrap("kernel sends", send(l.kernel, ^seed, down)) },
		func() error { return wrap("kernel receives", receive(l.kernel, seed, up)) },
	)
}

// together runs functions at once and joins their errors.
func together(f ...func() error) error {
	errs := make([]error, len(f))
	var g sync.WaitGroup
	for i := range f {
		g.Go(func() { errs[i] = f[i]() })
	}
	g.Wait()
	return errors.Join(errs...)
}

func wrap(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
