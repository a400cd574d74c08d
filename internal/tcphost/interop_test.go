// SPDX-License-Identifier: Apache-2.0

//go:build interop

package tcphost_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stream"
	"netcon/dataplane/tcp"
	"netcon/internal/tcphost"
	"netcon/internal/testenv"
)

// TestStreams: several connections at once, up, down and both ways.
func TestStreams(t *testing.T) {
	s := newSite(t, "", nil)
	roles(t, func(t *testing.T, w where, active bool) {
		for _, tc := range []struct {
			name     string
			up, down int
		}{{"up", 4 << 20, 0}, {"down", 0, 4 << 20}, {"both", 2 << 20, 2<<20 + 1}} {
			links := s.connect(t, w, active, 4)
			var all []func() error
			for i, l := range links {
				all = append(all, func() error { return wrap(fmt.Sprint(tc.name, " ", i), l.exchange(byte(i), tc.up, tc.down)) })
			}
			if err := together(all...); err != nil {
				t.Error(err)
			}
			for _, l := range links {
				l.close()
			}
		}
	})
}

// TestHalfClose: one side ends, and the other goes on sending for a while.
func TestHalfClose(t *testing.T) {
	s := newSite(t, "", nil)
	roles(t, func(t *testing.T, w where, active bool) {
		for i, l := range s.connect(t, w, active, 2) {
			first, second := tcphost.Stream(l.engine), tcphost.Stream(l.kernel)
			if i == 1 {
				first, second = second, first
			}
			// Each end reads the other's end before it sends.
			for _, step := range []error{
				send(first, 1, 1000), receive(second, 1, 1000),
				together(func() error { return send(second, 2, 1<<20) }, func() error { return receive(first, 2, 1<<20) }),
			} {
				if step != nil {
					t.Error(i, step)
				}
			}
			l.close()
		}
	})
}

// TestReset: resets arrive as such, in either direction, and so does a refusal.
func TestReset(t *testing.T) {
	s := newSite(t, "", nil)
	roles(t, func(t *testing.T, w where, active bool) {
		var b [100]byte
		links := s.connect(t, w, active, 4)
		links[0].kernel.SetLinger(0)
		links[0].kernel.Close()
		if _, err := links[0].engine.Read(b[:]); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the kernel resets: %v", err)
		}
		links[1].engine.Abort()
		if _, err := links[1].kernel.Read(b[:]); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the engine resets: %v", err)
		}
		for i, l := range links[2:] {
			// What was sent and is never read: a close in order would lie.
			to, from := tcphost.Stream(l.kernel), tcphost.Stream(l.engine)
			if i == 1 {
				to, from = from, to
			}
			from.Write(b[:])
			if _, err := io.ReadFull(to, b[:50]); err != nil {
				t.Error(err)
			}
			to.Close()
			if _, err := from.Read(b[:]); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("closed with bytes unread, %d: %v", i, err)
			}
		}
		for _, l := range links {
			l.close()
		}
		closed := uint16(9)
		if _, err := s.host.Dial(netip.AddrPortFrom(w.kernel, closed), nil); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("engine to a closed port: %v", err)
		}
		if _, err := s.dialKernel(t, netip.AddrPort{}, netip.AddrPortFrom(w.engine, closed)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("kernel to a closed port: %v", err)
		}
	})
}

// TestUnreachable: nobody answers for the address.
func TestUnreachable(t *testing.T) {
	s := newSite(t, "", nil)
	for _, a := range []string{"192.0.2.77", "2001:db8::77"} {
		if _, err := s.host.Dial(netip.AddrPortFrom(netip.MustParseAddr(a), 80), nil); !errors.Is(err, syscall.EHOSTUNREACH) {
			t.Errorf("%s: %v", a, err)
		}
	}
}

// TestZeroWindow: a reader stops until the sender has probed the closed window,
// and then reads everything.
func TestZeroWindow(t *testing.T) {
	s := newSite(t, "", nil)
	const size = 8 << 20
	roles(t, func(t *testing.T, w where, active bool) {
		links := s.connect(t, w, active, 2, option{unix.SOL_SOCKET, unix.SO_RCVBUF, 64 << 10})
		up, down := links[0], links[1]
		defer up.close()
		defer down.close()
		before := testenv.SNMP(t, s.kernel)
		sent := make(chan error, 1)
		go func() {
			sent <- together(func() error { return send(up.engine, 3, size) }, func() error { return send(down.kernel, 4, size) })
		}()
		testenv.WaitFor(t, patience, func() bool { _, d := up.engine.Info(); return d.Backoff >= 2 }, "the engine to probe twice")
		testenv.WaitFor(t, patience, func() bool {
			return testenv.SNMP(t, s.kernel).Since(before)["TcpExtTCPWinProbe"] >= 2
		}, "the kernel to probe twice")
		err := together(func() error { return receive(up.kernel, 3, size) }, func() error { return receive(down.engine, 4, size) })
		if err := errors.Join(err, <-sent); err != nil {
			t.Error(err)
		}
	})
}

// TestPeers: kernels that leave out what the engine would use, and engines that
// do, on a wire that loses.
func TestPeers(t *testing.T) {
	const (
		timestamps, sack, scale, ecn = 1, 2, 4, 8 // TCPI_OPT_
	)
	for _, tc := range []struct {
		name    string
		sysctl  map[string]string
		tune    func(*tcp.Tuning)
		options []option
		want    uint8 // tcpi_options
		mss     int   // of what the engine sends, at most
	}{
		{name: "everything", want: timestamps | sack | scale},
		{name: "ECN", sysctl: map[string]string{"tcp_ecn": "1"}, tune: func(u *tcp.Tuning) { u.ECN = 1 }, want: timestamps | sack | scale | ecn},
		{name: "ECN accepted", sysctl: map[string]string{"tcp_ecn": "1"}, want: timestamps | sack | scale},
		{name: "no timestamps", sysctl: map[string]string{"tcp_timestamps": "0"}, want: sack | scale},
		{name: "no SACK", sysctl: map[string]string{"tcp_sack": "0"}, want: timestamps | scale},
		{name: "no window scaling", sysctl: map[string]string{"tcp_window_scaling": "0"}, want: timestamps | sack},
		{name: "nothing", sysctl: map[string]string{"tcp_timestamps": "0", "tcp_sack": "0", "tcp_window_scaling": "0"}},
		{name: "engine without timestamps", tune: func(u *tcp.Tuning) { u.Timestamps = false }, want: sack | scale},
		{name: "engine without SACK", tune: func(u *tcp.Tuning) { u.SACK = false }, want: timestamps | scale},
		{name: "engine without anything", tune: func(u *tcp.Tuning) { u.Timestamps, u.SACK, u.WindowScaling = false, false, false }},
		{name: "engine with Reno", tune: func(u *tcp.Tuning) { u.Cubic, u.RACK, u.FRTO = false, false, false }, want: timestamps | sack | scale},
		{name: "small segments", options: []option{{unix.IPPROTO_TCP, unix.TCP_MAXSEG, 300}}, want: timestamps | sack | scale, mss: 300},
		{name: "kernel sends cookies", sysctl: map[string]string{"tcp_syncookies": "2"}, want: timestamps | sack | scale},
		{name: "engine sends cookies", tune: func(u *tcp.Tuning) { u.SynCookies = 2 }, want: timestamps | sack | scale},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSite(t, "drop=1%,reorder=0.5%,duplicate=0.5%,delay=1ms,seed=11", func(_ *tcphost.Config, u *tcp.Tuning) {
				if tc.tune != nil {
					tc.tune(u)
				}
			})
			for k, v := range tc.sysctl {
				s.kernel.Sysctl(t, "net.ipv4."+k, v)
			}
			for _, w := range families {
				for _, active := range []bool{true, false} {
					l := s.connect(t, w, active, 1, tc.options...)[0]
					want := tc.want
					if tc.name == "ECN accepted" && !active {
						want |= ecn
					}
					got := info(t, l.kernel).Options & (timestamps | sack | scale | ecn)
					i, d := l.engine.Info()
					mine := uint8(0)
					for bit, on := range map[uint8]bool{timestamps: i.Timestamps, sack: i.SACK, scale: i.WindowScale, ecn: d.ECN} {
						if on {
							mine |= bit
						}
					}
					if got != want || mine != want {
						t.Errorf("%s, active %v: options %#x, the engine says %#x, want %#x", w.name, active, got, mine, want)
					}
					if tc.mss != 0 && int(i.SendMSS) > tc.mss {
						t.Errorf("%s, active %v: the engine's segments have %d bytes", w.name, active, i.SendMSS)
					}
					if err := l.exchange(9, 300_000, 300_000); err != nil {
						t.Errorf("%s, active %v: %v", w.name, active, err)
					}
					l.close()
				}
			}
		})
	}
}

// TestKeepalive: both sides ask whether the other is there, and notice when it
// is not any more.
func TestKeepalive(t *testing.T) {
	s := newSite(t, "", nil)
	w := families[0]
	links := s.connect(t, w, true, 2,
		option{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1}, option{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 1},
		option{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 1}, option{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 2})
	asked, asks := links[0], links[1]
	// Only one side of each asks.
	raw, err := asks.kernel.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0) })
	for o, v := range map[stream.Option]int{stream.OptKeepIdle: 1, stream.OptKeepInterval: 1, stream.OptKeepCount: 2, stream.OptKeepAlive: 1} {
		if err := asks.engine.SetOption(o, v); err != nil {
			t.Fatal(err)
		}
	}
	// Two answers each: as many segments, without a byte.
	segs := func(c *tcphost.Conn) uint32 { i, _ := c.Info(); return i.SegsIn }
	asked0, asks0 := segs(asked.engine), segs(asks.engine)
	testenv.WaitFor(t, patience, func() bool { return segs(asked.engine) >= asked0+2 && segs(asks.engine) >= asks0+2 }, "two probes each way")
	for i, l := range links {
		if _, err := l.kernel.Write([]byte{1}); err != nil {
			t.Errorf("connection %d after keepalives: %v", i, err)
		}
		var b [1]byte
		if _, err := l.engine.Read(b[:]); err != nil {
			t.Errorf("connection %d after keepalives: %v", i, err)
		}
	}
	testenv.Run(t, s.kernel, "ip", "link", "set", "e0", "down")
	err = together(
		func() error {
			var b [1]byte
			_, err := asks.engine.Read(b[:])
			if !errors.Is(err, syscall.ETIMEDOUT) {
				return fmt.Errorf("the engine's probes of a silent peer: %w", err)
			}
			return nil
		},
		func() error {
			var b [1]byte
			_, err := asked.kernel.Read(b[:])
			if !errors.Is(err, syscall.ETIMEDOUT) && !errors.Is(err, syscall.EHOSTUNREACH) {
				return fmt.Errorf("the kernel's probes of a silent peer: %w", err)
			}
			return nil
		},
	)
	if err != nil {
		t.Error(err)
	}
}

// TestTimeWaitReuse: the same four numbers again and again, against an end that
// is in TIME-WAIT.
func TestTimeWaitReuse(t *testing.T) {
	s := newSite(t, "", nil)
	for _, w := range families {
		// An end that closes first keeps TIME-WAIT; the other opens again.
		at := netip.AddrPortFrom(w.engine, port)
		from := netip.AddrPortFrom(w.kernel, 33333)
		l, err := s.host.Listen(at, 16, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			var k *net.TCPConn
			err := again(func() (err error) {
				k, err = s.dialKernel(t, from, at, option{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1})
				return err
			})
			if err != nil {
				t.Fatalf("%s: kernel opens, %d: %v", w.name, i, err)
			}
			e, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if err := together(func() error { return send(e, byte(i), 10) }, func() error { return receive(k, byte(i), 10) }); err != nil {
				t.Fatal(err)
			}
			k.Close()
			if err := receive(e, 0, 0); err != nil {
				t.Fatal(err)
			}
			e.Close()
		}
		l.Close()

		at, from = netip.AddrPortFrom(w.kernel, port), netip.AddrPortFrom(w.engine, 33333)
		kl := s.listenKernel(t, at)
		for i := range 20 {
			var e *tcphost.Conn
			err := again(func() (err error) {
				e, err = s.host.DialFrom(from, at, map[stream.Option]int{stream.OptReuseAddr: 1})
				return err
			})
			if err != nil {
				t.Fatalf("%s: engine opens, %d: %v", w.name, i, err)
			}
			k, err := kl.AcceptTCP()
			if err != nil {
				t.Fatal(err)
			}
			k.SetDeadline(time.Now().Add(patience))
			if err := together(func() error { return send(k, byte(i), 10) }, func() error { return receive(e, byte(i), 10) }); err != nil {
				t.Fatal(err)
			}
			e.Close()
			if err := receive(k, 0, 0); err != nil {
				t.Fatal(err)
			}
			k.Close()
		}
		kl.Close()
	}
}

// again opens again while the end of the connection before, whose last segment
// is acknowledged any moment, is still there.
func again(open func() error) (err error) {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if err = open(); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			break
		}
	}
	return err
}

// TestShortConnections: connect, request, answer, close, many times in both
// directions.
func TestShortConnections(t *testing.T) {
	each, clients := 10_000, 10
	if testing.Short() {
		each = 1000
	}
	s := newSite(t, "", func(c *tcphost.Config, _ *tcp.Tuning) { c.Ring = 4 << 10 })
	s.kernel.Sysctl(t, "net.ipv4.tcp_max_tw_buckets", "65536")
	for _, w := range families {
		for _, active := range []bool{true, false} {
			for _, clientFirst := range []bool{true, false} {
				n := each / 4
				start := time.Now()
				if err := s.shortConnections(t, w, active, clientFirst, n, clients); err != nil {
					t.Errorf("%s, engine active %v, client closes first %v: %v", w.name, active, clientFirst, err)
				}
				t.Logf("%s, engine active %v, client closes first %v: %d in %v", w.name, active, clientFirst, n, time.Since(start).Round(time.Millisecond))
			}
		}
	}
}

func (s *site) shortConnections(t *testing.T, w where, active, clientFirst bool, n, clients int) error {
	t.Helper()
	var server tcphost.Acceptor
	dial := func() (tcphost.Stream, error) { return s.host.Dial(netip.AddrPortFrom(w.kernel, port), nil) }
	var closeServer func() error
	if active {
		l := s.listenKernel(t, netip.AddrPortFrom(w.kernel, port))
		server, closeServer = kernelServer{l}, l.Close
	} else {
		l, err := s.host.Listen(netip.AddrPortFrom(w.engine, port), 128, nil)
		if err != nil {
			return err
		}
		server, closeServer = engineServer{l}, l.Close
		k := tcphost.Kernel{}
		dial = func() (c tcphost.Stream, err error) {
			s.kernel.Do(t, func() { c, err = k.Dial(netip.AddrPortFrom(w.engine, port)) })
			return c, err
		}
	}
	defer closeServer()
	const size = 100
	// One round: the end that is to close second waits for the other's end.
	finish := func(c tcphost.Stream, first bool) error {
		if first {
			if err := c.CloseWrite(); err != nil {
				return err
			}
		}
		if k, err := c.Read(make([]byte, 1)); k != 0 || !errors.Is(err, io.EOF) {
			return fmt.Errorf("%d bytes too many, %w", k, err)
		}
		return c.Close()
	}
	serve := func() error {
		buf := make([]byte, size)
		for range n / clients {
			c, err := server.Accept()
			if err != nil {
				return err
			}
			if _, err := io.ReadFull(c, buf); err != nil {
				return fmt.Errorf("read request: %w", err)
			}
			if _, err := c.Write(buf); err != nil {
				return fmt.Errorf("write answer: %w", err)
			}
			if err := finish(c, !clientFirst); err != nil {
				return fmt.Errorf("server ends: %w", err)
			}
		}
		return nil
	}
	ask := func(seed byte) error {
		p := tcphost.NewPattern(seed)
		buf := make([]byte, size)
		for i := range n / clients {
			c, err := dial()
			if err != nil {
				return fmt.Errorf("connection %d: %w", i, err)
			}
			request := *p
			if _, err := c.Write(p.Next(size)); err != nil {
				return fmt.Errorf("write request %d: %w", i, err)
			}
			if _, err := io.ReadFull(c, buf[:p.At()-request.At()]); err != nil {
				return fmt.Errorf("read answer %d: %w", i, err)
			}
			if err := request.Check(buf); err != nil {
				return err
			}
			if err := finish(c, clientFirst); err != nil {
				return fmt.Errorf("client ends %d: %w", i, err)
			}
		}
		return nil
	}
	var all []func() error
	for i := range clients {
		all = append(all, serve, func() error { return ask(byte(i)) })
	}
	return together(all...)
}

type kernelServer struct{ *net.TCPListener }

// Accept implements tcphost.Acceptor.
func (s kernelServer) Accept() (tcphost.Stream, error) {
	c, err := s.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Now().Add(patience))
}

type engineServer struct{ *tcphost.Listener }

// Accept implements tcphost.Acceptor.
func (s engineServer) Accept() (tcphost.Stream, error) {
	c, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return c, nil
}

// roles runs a test for both families and with the engine as client and server.
func roles(t *testing.T, f func(t *testing.T, w where, active bool)) {
	for _, w := range families {
		for _, active := range []bool{true, false} {
			name := w.name + "/server"
			if active {
				name = w.name + "/client"
			}
			t.Run(name, func(t *testing.T) { f(t, w, active) })
		}
	}
}

// info returns what the kernel knows of a connection.
func info(t *testing.T, c *net.TCPConn) (i unix.TCPInfo) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		p, e := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err = e; err == nil {
			i = *p
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return i
}
