// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/asavie/xdp"
	"golang.org/x/sys/unix"

	"netcon/internal/testenv"
)

// dial opens a connection in a namespace, listen a socket.
func dial(t *testing.T, ns *testenv.NetNS, network, addr string) (c net.Conn) {
	t.Helper()
	var err error
	ns.Do(t, func() { c, err = net.Dial(network, addr) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func listen(t *testing.T, ns *testenv.NetNS, addr string) (c net.PacketConn) {
	t.Helper()
	var err error
	ns.Do(t, func() { c, err = net.ListenPacket("udp", addr) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// echo sends n bytes to a host's TCP server and back.
func echo(t *testing.T, ns, far *testenv.NetNS, addr string, n int) {
	t.Helper()
	var l net.Listener
	var err error
	ns.Do(t, func() { l, err = net.Listen("tcp", addr) })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = io.Copy(c, c)
			c.Close()
		}
	}()
	c := dial(t, far, "tcp", addr)
	want := testenv.RandomBytes(n, 1)
	go func() {
		if _, err := c.Write(want); err == nil {
			_ = c.(*net.TCPConn).CloseWrite()
		}
	}()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %d of %d bytes came back: %v", addr, len(got), n, err)
	}
}

// rises waits until a verdict has been counted at least n times since before.
func rises(t *testing.T, p *Program, before Counters, v Verdict, n uint64) {
	t.Helper()
	testenv.WaitFor(t, 10*time.Second, func() bool { return counters(t, p)[v]-before[v] >= n }, "%d frames as %s", n, v)
}

// bindXSK opens an AF_XDP socket on queue 0 that can receive.
func bindXSK(t *testing.T, ns *testenv.NetNS, dev string) *xdp.Socket {
	t.Helper()
	testenv.Need(t, "CAP_NET_RAW")
	var xsk *xdp.Socket
	var err error
	ns.Do(t, func() {
		var ifc *net.Interface
		if ifc, err = net.InterfaceByName(dev); err != nil {
			return
		}
		xsk, err = xdp.NewSocket(ifc.Index, 0, &xdp.SocketOptions{
			NumFrames: 64, FrameSize: 2048, FillRingNumDescs: 64, CompletionRingNumDescs: 64, RxRingNumDescs: 64, TxRingNumDescs: 64,
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = xsk.Close() })
	if n := xsk.Fill(xsk.GetDescs(32)); n != 32 {
		t.Fatalf("filled %d frames", n)
	}
	return xsk
}

// The host loses nothing but the overlay's datagrams, and those only while a
// socket has the queue.
func TestTraffic(t *testing.T) {
	for _, mode := range []Mode{Native, Generic} {
		for _, vtep := range []netip.Addr{vtep4, vtep6} {
			t.Run(fmt.Sprintf("%s %s", mode, vtep), func(t *testing.T) { traffic(t, mode, vtep) })
		}
	}
}

func traffic(t *testing.T, mode Mode, vtep netip.Addr) {
	ns, far := wire(t, 1500)
	overlay, other := netip.AddrPortFrom(vtep, 4789).String(), netip.AddrPortFrom(vtep, 4790).String()
	// Sockets first: frames to a closed port would make the host answer errors.
	host, hostOther := listen(t, ns, overlay), listen(t, ns, other)
	to, toOther := dial(t, far, "udp", overlay), dial(t, far, "udp", other)
	p := load(t, Config{VTEP: vtep, Ports: []uint16{4789}, Queues: 1})
	if err := attach(t, ns, "nic0", p, mode); err != nil {
		t.Fatal(err)
	}
	sent := 0
	exchange := func(c net.Conn, at net.PacketConn, size int) {
		t.Helper()
		sent++
		want := testenv.RandomBytes(size, byte(sent))
		if _, err := c.Write(want); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 65536)
		if n, _, err := at.ReadFrom(got); err != nil || !bytes.Equal(got[:n], want) {
			t.Fatalf("the host got %d of %d bytes: %v", n, size, err)
		}
	}

	before := counters(t, p)
	exchange(to, host, 100)
	rises(t, p, before, PassNoSocket, 1)
	exchange(toOther, hostOther, 100)
	rises(t, p, before, PassPort, 1)
	exchange(to, host, 4000) // three fragments
	rises(t, p, before, PassFragment, 3)

	xsk := bindXSK(t, ns, "nic0")
	if err := p.Register(0, xsk.FD()); err != nil {
		t.Fatal(err)
	}
	before = counters(t, p)
	want := testenv.RandomBytes(1400, 7)
	if _, err := to.Write(want); err != nil {
		t.Fatal(err)
	}
	n, _, err := xsk.Poll(10000)
	if err != nil || n != 1 {
		t.Fatalf("%d frames, %v", n, err)
	}
	for _, d := range xsk.Receive(n) {
		if frame := xsk.GetFrame(d); !bytes.HasSuffix(frame, want) || model(Config{VTEP: vtep, Ports: []uint16{4789}}, frame) != Redirect {
			t.Errorf("received %x", frame)
		}
	}
	rises(t, p, before, Redirect, 1)
	exchange(toOther, hostOther, 100)
	exchange(to, host, 4000) // still the host's
	echo(t, ns, far, netip.AddrPortFrom(vtep, 80).String(), 1<<20)
	echo(t, ns, far, overlay, 1<<20) // TCP on the overlay's port
	rises(t, p, before, PassProtocol, 10)
	if got := counters(t, p)[Redirect] - before[Redirect]; got != 1 {
		t.Errorf("%d frames redirected, want 1", got)
	}
	if err := host.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := host.ReadFrom(make([]byte, 1)); err == nil {
		t.Error("the host got the overlay's datagram as well")
	}

	if err := host.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := p.Unregister(0); err != nil {
		t.Error(err)
	}
	exchange(to, host, 100)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	exchange(to, host, 100)
}

// Tags that the driver leaves in the frame, as in one made by hand.
func TestTaggedFrames(t *testing.T) {
	testenv.Need(t, "CAP_NET_RAW")
	for _, mode := range []Mode{Native, Generic} {
		ns, far := wire(t, 1500)
		p := withSocket(t, load(t, overlay4), 0)
		if err := attach(t, ns, "nic0", p, mode); err != nil {
			t.Fatal(err)
		}
		before := counters(t, p)
		far.Do(t, func() {
			t.Helper()
			ifc, err := net.InterfaceByName("far0")
			if err != nil {
				t.Error(err)
				return
			}
			fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer unix.Close(fd)
			for _, tag := range []byte{0, 5} {
				frame := insert(with(frame4, 0, 255, 255, 255, 255, 255, 255), atType, 0x81, 0, 0, tag)
				if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: ifc.Index}); err != nil {
					t.Error(err)
				}
			}
		})
		rises(t, p, before, PassVLAN, 2)
		if got := counters(t, p)[Redirect]; got != 0 {
			t.Errorf("%s: %d tagged frames redirected", mode, got)
		}
	}
}

// Whoever reads the counters may outlive the program.
func TestCloseWhileInUse(t *testing.T) {
	p := load(t, Config{VTEP: vtep4, Ports: []uint16{4789}})
	stopped := make(chan error)
	go func() {
		for {
			if _, err := p.Counters(); err != nil {
				stopped <- err
				return
			}
			p.Mode()
			_ = p.Fallback()
			_ = p.Unregister(0)
		}
	}()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := <-stopped; !errors.Is(err, errClosed) {
		t.Error(err)
	}
	if err := p.Register(0, 0); !errors.Is(err, errClosed) {
		t.Error(err)
	}
	if err := p.Unregister(0); err != nil {
		t.Error(err)
	}
}
