// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, c net.Conn) string {
	t.Helper()
	b := make([]byte, 1<<16)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// TestPublishDatagrams: datagrams from the host arrive at the container's socket
// from who sent them, answers go back, and nothing else leaves by that port.
func TestPublishDatagrams(t *testing.T) {
	w := newHostWorld(t)
	w.do(func() {
		w.set.cfg.Addresses = []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")}
	})
	id, addr := w.publish("udp", stream.IPv4, 53)
	lost := func(want uint64) {
		t.Helper()
		w.eventually("the datagram is counted", func() bool { return w.stat.Drops(stat.DropNoSocket) == want })
	}
	c := dialHost(t, "udp", addr)
	say(t, c, "nobody is there")
	lost(1)

	s := w.bound("0.0.0.0:53")
	for _, text := range []string{"hello", "", string(make([]byte, 60000))} {
		say(t, c, text)
		h, got := s.receive()
		if got != text || h.Remote != wireAddr(c.LocalAddr().String()) || h.Local.Ip != wireAddr("10.0.0.1:0").Ip {
			t.Errorf("%d bytes of %d, %+v", len(got), len(text), h)
		}
		s.sendTo(c.LocalAddr().String(), "re: "+text)
		if got := hear(t, c); got != "re: "+text {
			t.Errorf("the answer has %d bytes", len(got))
		}
	}

	// Who did not write is not written to, and another port is another one.
	stranger, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	before := uint64(0)
	w.do(func() { w.stat.Publish(); before = w.stat.Get(stat.HostTx) })
	s.sendTo(stranger.LocalAddr().String(), "surprise")
	other := w.bound("0.0.0.0:54")
	other.sendTo(c.LocalAddr().String(), "from another port")
	for _, a := range []*app{s, other} {
		if e := a.verdict(); e != 0 { // and so both were sent
			t.Error(e)
		}
	}
	w.do(func() {
		if w.stat.Publish(); w.stat.Get(stat.HostTx) != before {
			t.Error("it left by the published port")
		}
	})

	// A socket that connects to who wrote talks to it alone.
	if e := s.connect(c.LocalAddr().String()); e != 0 {
		t.Fatal(e)
	}
	d := dialHost(t, "udp", addr)
	say(t, d, "may I?")
	lost(2)
	say(t, c, "me again")
	if _, got := s.receive(); got != "me again" {
		t.Errorf("%q", got)
	}
	s.sendTo("", "yes")
	if got := hear(t, c); got != "yes" {
		t.Errorf("%q", got)
	}

	w.do(func() {
		w.set.Unpublish(id)
		if len(w.set.flows.index) != 0 {
			t.Error("flows outlive their port")
		}
	})
	s.call(shm.Request{Op: shm.OpVerdict})
	s.sendTo("", "gone")
	if h, _ := s.receive(); h.Error != int32(unix.ENETUNREACH) {
		t.Errorf("after the port: %+v", h)
	}
}

// TestPublishDatagramsNetwork: who writes over the container's network under an
// address that also wrote from the host is answered there.
func TestPublishDatagramsNetwork(t *testing.T) {
	w := newHostWorld(t)
	_, addr := w.publish("udp", stream.IPv4, 53)
	s := w.bound("10.0.0.1:53")
	c := dialHost(t, "udp", addr)
	say(t, c, "from the host")
	s.receive()
	peer := w.bound(c.LocalAddr().String())
	peer.sendTo("10.0.0.1:53", "from the network")
	s.receive()
	s.sendTo(c.LocalAddr().String(), "answer")
	if _, got := peer.receive(); got != "answer" {
		t.Errorf("%q", got)
	}
	say(t, c, "from the host")
	s.receive()
	s.sendTo(c.LocalAddr().String(), "answer")
	if got := hear(t, c); got != "answer" {
		t.Errorf("%q", got)
	}
}

// TestPublishDatagramsOverlay: nobody can have the container send to the overlay's
// port.
func TestPublishDatagramsOverlay(t *testing.T) {
	w := newHostWorld(t)
	_, addr := w.publish("udp", stream.IPv4, 53)
	w.bound("0.0.0.0:53")
	c := dialHost(t, "udp", addr)
	w.do(func() { w.set.cfg.NoDatagrams = mustAddrPort(c.LocalAddr().String()).Port() })
	say(t, c, "frame")
	w.eventually("it is refused", func() bool { return w.stat.Drops(stat.DropDatagramRefused) == 1 })
	w.do(func() {
		if len(w.set.flows.index) != 0 {
			t.Error("it may be answered")
		}
	})
}

// TestPublishDatagramsFamilies: which sockets take datagrams from the host.
func TestPublishDatagramsFamilies(t *testing.T) {
	for _, tt := range []struct {
		family uint16
		bind   string
		v6only bool
		v4, v6 bool // what reaches it
	}{
		{unix.AF_INET, "0.0.0.0:53", false, true, false},
		{unix.AF_INET, "10.0.0.1:53", false, true, false},
		{unix.AF_INET, "127.0.0.1:53", false, false, false},
		{unix.AF_INET6, "[::]:53", false, true, true},
		{unix.AF_INET6, "[::]:53", true, false, true},
		{unix.AF_INET6, "[fd00::1]:53", false, false, true},
		{unix.AF_INET6, "[::1]:53", false, false, false},
		{unix.AF_INET6, "[::ffff:10.0.0.1]:53", false, true, false},
		{unix.AF_INET, "0.0.0.0:54", false, false, false},
	} {
		t.Run(fmt.Sprint(tt.bind, tt.v6only), func(t *testing.T) {
			w := newHostWorld(t)
			s, e := w.openKind(tt.family, unix.SOCK_DGRAM, 0)
			if e != 0 {
				t.Fatal(e)
			}
			if tt.v6only {
				s.setInt(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
			}
			if e := s.bind(tt.bind); e != 0 {
				t.Fatal(e)
			}
			lost := uint64(0)
			for _, x := range []struct {
				family stream.Family
				want   bool
			}{{stream.IPv4, tt.v4}, {stream.IPv6, tt.v6}} {
				_, addr := w.publish("udp", x.family, 53)
				c := dialHost(t, "udp", addr)
				say(t, c, "x")
				if !x.want {
					lost++
					w.eventually("nobody took it", func() bool { return w.stat.Drops(stat.DropNoSocket) == lost })
					continue
				}
				h, _ := s.receive()
				remote := netip.AddrPortFrom(netip.AddrFrom16(h.Remote.Ip), h.Remote.Port>>8|h.Remote.Port<<8)
				if tt.family == unix.AF_INET {
					remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte(h.Remote.Ip[:4])), remote.Port())
				}
				s.sendTo(remote.String(), "y")
				if got := hear(t, c); got != "y" {
					t.Errorf("family %d: %q", x.family, got)
				}
			}
		})
	}
}

// TestPublishDatagramsShared: sockets that share a port share its remotes, each of
// which stays with one.
func TestPublishDatagramsShared(t *testing.T) {
	w := newHostWorld(t)
	var p publication
	w.do(func() { p = publication{datagrams: true, stale: true, family: stream.IPv4, port: 53} })
	// The fake engine knows no sharing: the second is bound by hand.
	a, b := w.bound("0.0.0.0:53"), w.bound("0.0.0.0:54")
	w.do(func() {
		w.sock(b).asked = mustAddrPort("0.0.0.0:53")
		seen := map[*sock]int{}
		for i := range 400 {
			from := testFlow(i + 1).remote
			s := w.set.receiver(&p, from)
			if s == nil || s != w.set.receiver(&p, from) {
				t.Fatalf("%v moves", from)
			}
			seen[s]++
		}
		if seen[w.sock(a)] == 0 || seen[w.sock(b)] == 0 {
			t.Errorf("one takes everything: %v", seen)
		}
	})
}

// TestPublishDatagramsQueue: what a program does not read is bounded, and what comes
// beyond is counted; handing over allocates nothing.
func TestPublishDatagramsQueue(t *testing.T) {
	w := newHostWorld(t)
	_, addr := w.publish("udp", stream.IPv4, 53)
	s := w.bound("0.0.0.0:53")
	c := dialHost(t, "udp", addr)
	const size = 10000
	sent := 0
	for w.drops(stat.DropSocketQueue) == 0 {
		if sent++; sent > 10000 {
			t.Fatal("nothing is lost")
		}
		say(t, c, string(make([]byte, size)))
		taken := uint64(sent)
		w.eventually("it is taken", func() bool {
			return w.stat.Get(stat.DatagramsToApp)+w.stat.Drops(stat.DropSocketQueue) == taken
		})
	}
	w.do(func() {
		if i := w.set.Sockets()[0]; i.Drops == 0 || i.RecvQueue == 0 {
			t.Errorf("%+v", i)
		}
	})
	for range sent - 1 {
		s.receive()
	}
	say(t, c, "room")
	if h, got := s.receive(); got != "room" || h.Drops == 0 {
		t.Errorf("%d bytes, %+v", len(got), h)
	}

	host := newUDPHost()
	idle := idleWorld(t, func(c *Config) { c.Host = host })
	p := &publication{id: 1, datagrams: true, port: 53, family: stream.IPv4}
	p.handle, _ = host.OpenDatagram(stream.IPv4, 1)
	idle.set.published = append(idle.set.published, p)
	idle.set.arrive(1)
	idle.set.takeDatagrams()
	if n := testing.AllocsPerRun(100, func() { idle.set.arrive(1); idle.set.takeDatagrams() }); n != 0 {
		t.Errorf("%v allocations for one that is ready", n)
	}
}

func (w *world) drops(r stat.Reason) (n uint64) {
	w.do(func() { w.stat.Publish(); n = w.stat.Drops(r) })
	return n
}
