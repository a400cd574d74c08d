// SPDX-License-Identifier: Apache-2.0

package container

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/net/nettest"
	"golang.org/x/sys/unix"
)

// listenPacket opens a socket that is closed at the end of the test.
func listenPacket(t testing.TB, c *Container, network, address string) *PacketConn {
	t.Helper()
	p, err := c.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	if err := p.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return p.(*PacketConn)
}

// fixed is a PacketConn that sends to one address.
type fixed struct {
	*PacketConn
	to net.Addr
}

func (f fixed) Write(b []byte) (int, error) { return f.WriteTo(b, f.to) }
func (f fixed) RemoteAddr() net.Addr        { return f.to }

// TestPacketConformance: what golang.org/x/net asks of a net.Conn, but for the parts
// that need a stream, which ends (BasicIO, PingPong) or loses nothing
// (FutureTimeout). They are left out by a flag of a process of its own.
func TestPacketConformance(t *testing.T) {
	const child = "NETCON_TEST_PACKETS"
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestPacketConformance$", "-test.skip=//(BasicIO|PingPong|FutureTimeout)$", "-test.v", "-test.timeout=1m")
		cmd.Env = append(os.Environ(), child+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil || bytes.Count(out, []byte("--- PASS: TestPacketConformance/")) < 2*8 {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	one, two := pod(t)
	for _, address := range []string{"10.42.0.1:0", "[fd42::1]:0"} {
		t.Run(address, func(t *testing.T) {
			nettest.TestConn(t, func() (a, b net.Conn, stop func(), err error) {
				p, err := one.ListenPacket("udp", address)
				if err != nil {
					return nil, nil, nil, err
				}
				a, err = two.Dial("udp", p.LocalAddr().String())
				if err != nil {
					return nil, nil, nil, err
				}
				b = fixed{p.(*PacketConn), a.LocalAddr()}
				return a, b, func() { _, _ = a.Close(), b.Close() }, nil
			})
		})
	}
}

func TestPackets(t *testing.T) {
	one, two := pod(t)
	for _, c := range []struct{ network, at, to, from string }{
		{"udp", "10.42.0.1:0", "10.42.0.1", "10.42.0.2:0"},
		{"udp4", ":0", "10.42.0.1", ":0"},
		{"udp", ":0", "fd42::1", "[fd42::2]:0"},
		{"udp", ":0", "10.42.0.1", ":0"}, // both stacks
		{"udp6", ":0", "fd42::1", ":0"},
	} {
		t.Run(c.network+" "+c.at+" "+c.to, func(t *testing.T) {
			server, client := listenPacket(t, one, c.network, c.at), listenPacket(t, two, c.network, c.from)
			to := &net.UDPAddr{IP: net.ParseIP(c.to), Port: server.LocalAddr().(*net.UDPAddr).Port}
			buf := make([]byte, 70000)
			for _, n := range []int{5, 0, 1400, 1401, 60000, 1} {
				out := bytes.Repeat([]byte{byte(n)}, n)
				if m, err := client.WriteTo(out, to); m != n || err != nil {
					t.Fatalf("write of %d: %d, %v", n, m, err)
				}
				m, from, err := server.ReadFrom(buf)
				if err != nil || !bytes.Equal(buf[:m], out) {
					t.Fatalf("read of %d: %d, %v", n, m, err)
				}
				if _, err := server.WriteTo(buf[:m], from); err != nil {
					t.Fatal(err)
				}
				m, from, err = client.ReadFrom(buf[:2])
				if err != nil || m != min(n, 2) || from.String() != to.String() {
					t.Fatalf("answer of %d: %d from %v, %v", n, m, from, err)
				}
			}
		})
	}
}

// TestPacketPeer: a socket that Dial made.
func TestPacketPeer(t *testing.T) {
	one, two := pod(t)
	server, stranger := listenPacket(t, one, "udp", "10.42.0.1:900"), listenPacket(t, one, "udp", "10.42.0.1:901")
	conn, err := two.Dial("udp", "10.42.0.1:900")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if conn.LocalAddr().(*net.UDPAddr).IP.String() != "10.42.0.2" || conn.RemoteAddr().String() != "10.42.0.1:900" {
		t.Errorf("from %v to %v", conn.LocalAddr(), conn.RemoteAddr())
	}
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, from, err := server.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "hello" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	for _, p := range []*PacketConn{stranger, server} {
		if _, err := p.WriteTo([]byte(p.LocalAddr().String()), from); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := conn.Read(buf); err != nil || string(buf[:n]) != "10.42.0.1:900" {
		t.Errorf("%q, %v", buf[:n], err)
	}
	// Nobody is there any more: the network says so, for a datagram that is sent
	// after the daemon has heard of it.
	_ = server.Close()
	for end := time.Now().Add(20 * time.Second); ; {
		_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err = conn.Write([]byte("lost")); err == nil {
			_, err = conn.Read(buf)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().After(end) {
			break
		}
	}
	var op *net.OpError
	if !errors.Is(err, unix.ECONNREFUSED) || !errors.As(err, &op) {
		t.Errorf("%v", err)
	}
}

func TestPacketErrors(t *testing.T) {
	one, two := pod(t)
	p, six := listenPacket(t, one, "udp", "10.42.0.1:900"), listenPacket(t, one, "udp6", "[fd42::1]:900")
	connected, err := two.Dial("udp", "10.42.0.1:900")
	if err != nil {
		t.Fatal(err)
	}
	defer connected.Close()
	write := func(p net.PacketConn, n int, to string) error {
		_, err := p.WriteTo(make([]byte, n), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to)))
		return err
	}
	second := func(_ any, err error) error { return err }
	for _, c := range []struct {
		name string
		got  error
		want error
	}{
		{"in use", second(one.ListenPacket("udp", "10.42.0.1:900")), unix.EADDRINUSE},
		{"somebody else's", second(one.ListenPacket("udp", "10.42.0.2:900")), unix.EADDRNOTAVAIL},
		{"TCP", second(one.ListenPacket("tcp", "10.42.0.1:0")), net.UnknownNetworkError("tcp")},
		{"no route", write(p, 1, "192.0.2.1:9"), unix.ENETUNREACH},
		{"no route for dial", second(one.Dial("udp", "192.0.2.1:9")), unix.ENETUNREACH},
		{"too long", write(p, 65508, "10.42.0.2:9"), unix.EMSGSIZE},
		{"port 0", write(p, 1, "10.42.0.2:0"), unix.EINVAL},
		{"not to the peer", write(connected.(net.PacketConn), 1, "10.42.0.1:900"), net.ErrWriteToConnected},
		{"no peer", second(p.Write([]byte("x"))), unix.EDESTADDRREQ},
	} {
		var op *net.OpError
		if !errors.Is(c.got, c.want) || !errors.As(c.got, &op) {
			t.Errorf("%s: %v (%T), want %v", c.name, c.got, c.got, c.want)
		}
	}
	if err := write(p, 1, "[fd42::2]:9"); err == nil {
		t.Error("an IPv4 socket sends to an IPv6 address")
	}
	if err := write(six, 65527, "[fd42::1]:900"); err != nil {
		t.Error(err)
	}
	_ = p.SetReadDeadline(time.Unix(1, 0))
	if _, _, err := p.ReadFrom(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read after its deadline: %v", err)
	}
	_ = p.Close()
	if _, _, err := p.ReadFrom(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read of a closed socket: %v", err)
	}
}

// TestPacketDestinations: many destinations, also more than are remembered.
func TestPacketDestinations(t *testing.T) {
	one, _ := pod(t)
	p := listenPacket(t, one, "udp", "127.0.0.1:0")
	sink := listenPacket(t, one, "udp", "0.0.0.0:900")
	for i := range 2*maxKnown + 10 {
		to := netip.MustParseAddrPort(fmt.Sprintf("127.1.%d.%d:900", i/250, 1+i%250))
		if _, err := p.WriteToUDPAddrPort([]byte("x"), to); err != nil {
			t.Fatal(err)
		}
		if _, _, err := sink.ReadFromUDPAddrPort(make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(p.known); n > maxKnown {
		t.Errorf("%d destinations are remembered, the bound is %d", n, maxKnown)
	}
}
