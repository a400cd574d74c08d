// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/bpf"
	"netcon/dataplane/stat"
	"netcon/internal/testenv"
)

// A second daemon and the kernel's own vxlan device are kept off the port, and
// keep us off.
func TestPortTaken(t *testing.T) {
	a, _ := cable(t, 1500, 1)
	d := a.open(t, Config{})
	_, err := a.try(t, Config{})
	if !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), "reserve udp port 10.9.0.1:4789") ||
		!strings.Contains(err.Error(), "is another netcon up running on it") {
		t.Errorf("a second daemon: %v", err)
	}
	vxlan := []string{"ip", "-n", a.ns.Name(), "link", "add", "vx9", "type", "vxlan", "id", "9", "dstport", "4789", "local", "10.9.0.1", "dev", a.dev}
	up := []string{"ip", "-n", a.ns.Name(), "link", "set", "vx9", "up"}
	testenv.Run(t, nil, vxlan...)
	if _, err := testenv.Try(nil, testenv.RunTimeout, up...); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("the kernel's vxlan device: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	testenv.Run(t, nil, up...)
	if _, err := a.try(t, Config{}); !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), "vxlan device of the kernel") {
		t.Errorf("beside the kernel's vxlan device: %v", err)
	}
}

func TestPortErrors(t *testing.T) {
	a, _ := cable(t, 1500, 1)
	if _, err := a.try(t, Config{Local: netip.MustParseAddrPort("192.0.2.1:4789")}); !errors.Is(err, unix.EADDRNOTAVAIL) || !strings.Contains(err.Error(), "is it configured on an interface?") {
		t.Errorf("a foreign address: %v", err)
	}
	a.dev = "nosuch"
	if _, err := a.try(t, Config{}); err == nil || !strings.Contains(err.Error(), "nosuch") {
		t.Errorf("a foreign interface: %v", err)
	}
}

// The kernel chooses a port, and that is the one that we take.
func TestAnyPort(t *testing.T) {
	a, b := cable(t, 1500, 1)
	var d *Device
	var err error
	a.ns.Do(t, func() {
		d, err = Open(Config{Interface: a.dev, Local: netip.AddrPortFrom(a.a4, 0), Workers: 1, Stats: []*stat.Block{{}}, Unfinished: true})
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	peer := b.udpPeer(t, false)
	if d.Local().Port() == 0 {
		t.Fatal("no port")
	}
	if _, err := peer.WriteToUDPAddrPort([]byte("hello"), d.Local()); err != nil {
		t.Fatal(err)
	}
	receive(t, d.Links()[0], 1)
}

// hostTraffic runs traffic of the host through the device and reports whether
// it passes: another UDP port, the other IP version, TCP and echo requests.
func hostTraffic(t *testing.T, a, b *host) error {
	t.Helper()
	var server, client net.PacketConn
	var listener net.Listener
	var err error
	a.ns.Do(t, func() {
		if server, err = net.ListenPacket("udp", "10.9.0.1:5000"); err == nil {
			listener, err = net.Listen("tcp", "[fd09::1]:5000")
		}
	})
	if err != nil {
		return err
	}
	defer func() { _, _ = server.Close(), listener.Close() }()
	go func() {
		buf := make([]byte, 100)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(buf[:n], from)
		}
	}()
	var conn net.Conn
	b.ns.Do(t, func() {
		if client, err = net.ListenPacket("udp", "10.9.0.2:0"); err == nil {
			conn, err = net.DialTimeout("tcp", "[fd09::1]:5000", 3*time.Second)
		}
	})
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _, _ = client.Close(), conn.Close() }()
	if _, err := client.WriteTo([]byte("hello"), server.LocalAddr()); err != nil {
		return err
	}
	_ = client.SetReadDeadline(time.Now().Add(3 * time.Second))
	if _, _, err := client.ReadFrom(make([]byte, 100)); err != nil {
		return err
	}
	_, err = testenv.Try(b.ns, testenv.RunTimeout, "ping", "-c", "1", "-W", "3", "10.9.0.1")
	return err
}

// The host keeps its traffic before, while and after the device is ours.
func TestHostKeepsTraffic(t *testing.T) {
	testenv.NeedTools(t, "ping")
	for _, mode := range modes {
		a, b := cable(t, 1500, 2)
		check := func(when string) {
			if err := hostTraffic(t, a, b); err != nil {
				t.Errorf("%v mode, %s: %v", mode, when, err)
			}
		}
		check("before")
		d := a.open(t, Config{Mode: mode})
		check("while open")
		if r := d.Report(); r.Verdicts[bpf.PassPort.String()] == 0 {
			t.Errorf("the program saw nothing of it: %v", r.Verdicts)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		check("after")
	}
}

// What the program leaves to the host does not provoke ICMP errors, and does
// not fill a socket's memory.
func TestNoPortUnreachable(t *testing.T) {
	a, b := cable(t, 1500, 1)
	d := a.open(t, Config{})
	if err := d.program.Unregister(0); err != nil {
		t.Fatal(err)
	}
	peer := b.udpPeer(t, false)
	before := testenv.SNMP(t, a.ns)
	for range 1000 {
		if _, err := peer.WriteToUDPAddrPort(make([]byte, 1000), d.Local()); err != nil {
			t.Fatal(err)
		}
	}
	testenv.WaitFor(t, 5*time.Second, func() bool {
		c := d.Report().Verdicts
		return c[bpf.PassNoSocket.String()] >= 1000
	}, "the frames to be left to the host")
	diff := testenv.SNMP(t, a.ns).Since(before)
	if diff["IcmpOutDestUnreachs"] != 0 || diff["UdpNoPorts"] != 0 {
		t.Errorf("the host answered: %v", diff)
	}
	var n int
	var err error
	if n, err = unix.GetsockoptInt(d.port, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || n != 0 {
		t.Errorf("socket error %d, %v", n, err)
	}
	if readable(d.port, 0) {
		t.Error("the reserving socket keeps datagrams")
	}
	testenv.WaitFor(t, 5*time.Second, func() bool { return strings.Contains(a.logs.String(), "had no socket") }, "the log: %s", a.logs)
}
