// SPDX-License-Identifier: Apache-2.0

package udplink

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// wired moves the test to a namespace in which frames to 10.9.0.2 and fd09::2
// leave through veth0 and can be seen on veth1, where nobody answers:
//
//	10.9.0.1 fd09::1 ── veth0 ══ veth1 ── packet socket
//
// It returns the packet socket.
func wired(t *testing.T) int {
	t.Helper()
	newNetns(t)
	run(t, "ip link add veth0 mtu 1500 type veth peer name veth1")
	run(t, "ip link set veth1 up")
	run(t, "ip link set veth0 up")
	// The kernel drops what is sent before it has noticed the carrier, and
	// IPv6 starts only then.
	for deadline := time.Now().Add(5 * time.Second); ; {
		out, err := exec.Command("ip", "-o", "link", "show", "up", "dev", "veth0").CombinedOutput()
		if err == nil && bytes.Contains(out, []byte("state UP")) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("veth0 does not come up: %s", out)
		}
	}
	for _, c := range []string{
		"ip addr add 10.9.0.1/24 dev veth0",
		"ip addr add fd09::1/64 dev veth0 nodad",
		"ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev veth0 nud permanent",
		"ip neigh add fd09::2 lladdr 02:00:00:00:00:02 dev veth0 nud permanent",
	} {
		run(t, c)
	}
	all := int(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL)))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	ifc, err := net.InterfaceByName("veth1")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: uint16(all), Ifindex: ifc.Index}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// captured returns the next UDP packet to port, as an IP header and UDP
// datagram.
func captured(t *testing.T, fd int, port uint16) (df bool, udp []byte) {
	t.Helper()
	buf := make([]byte, 128<<10)
	deadline := time.Now().Add(2 * time.Second)
	for time.Now().Before(deadline) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, _ := unix.Poll(p, 100); n <= 0 {
			continue
		}
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			t.Fatal(err)
		}
		if n < 14 {
			continue
		}
		pkt := buf[14:n]
		switch binary.BigEndian.Uint16(buf[12:]) {
		case 0x0800:
			// Flags are the top three bits of byte 6.
			if pkt[9] != 17 {
				continue
			}
			df, udp = pkt[6]&0x40 != 0, pkt[20:]
			if binary.BigEndian.Uint16(pkt[6:])&0x3fff != 0 {
				t.Error("outer packet is a fragment")
			}
		case 0x86dd:
			if pkt[6] != 17 {
				if pkt[6] == 44 {
					t.Error("outer packet is a fragment")
				}
				continue
			}
			df, udp = true, pkt[40:]
		default:
			continue
		}
		if binary.BigEndian.Uint16(udp[2:]) == port {
			return df, udp
		}
	}
	t.Fatalf("no packet to port %d on the wire", port)
	return false, nil
}

// On the wire: Don't Fragment, UDP checksums, one packet per frame, and source
// ports by flow.
func TestOnTheWire(t *testing.T) {
	fd := wired(t)
	// Have the kernel segment and checksum before the veth.
	run(t, "ethtool -K veth0 tx off tx-udp-segmentation off")
	for _, nets := range []struct {
		src, dst string
		mtu      int
	}{{"10.9.0.1", "10.9.0.2", 1472}, {"fd09::1", "fd09::2", 1452}} {
		l := open(t, Config{Local: local(nets.src, 4789), MTU: 2000})[0]
		for i := range 10 {
			put(l, addr(nets.dst), 1, payload(uint32(i), 0, nets.mtu))
		}
		put(l, addr(nets.dst), 1, payload(10, 0, 100))
		l.Flush()
		if got := count(l, stat.TxCalls); got != 1 || allDrops(l) != 0 {
			t.Errorf("%s: %d send calls, %d drops, want one and none", nets.src, got, allDrops(l))
		}
		for i := range 11 {
			df, udp := captured(t, fd, 4789)
			if !df {
				t.Errorf("%s: frame %d without Don't Fragment", nets.src, i)
			}
			n := nets.mtu
			if i == 10 {
				n = 100
			}
			if want := payload(uint32(i), 0, n); !bytes.Equal(udp[8:8+n], want) || len(udp) != 8+n && len(udp) > 60 {
				t.Fatalf("%s: packet %d of %d bytes differs", nets.src, i, len(udp))
			}
			udp = udp[:8+n]
			if sum := wire.PseudoHeader(addr(nets.src), addr(nets.dst), 17, len(udp)).Add(udp).Fold(); sum != 0xffff || binary.BigEndian.Uint16(udp[6:]) == 0 {
				t.Errorf("%s: packet %d has checksum %#x", nets.src, i, binary.BigEndian.Uint16(udp[6:]))
			}
		}
		for i := range l.send {
			var got int
			var err error
			if addr(nets.src).Is4() {
				got, err = unix.GetsockoptInt(l.send[i].fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER)
			} else {
				got, err = unix.GetsockoptInt(l.send[i].fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER)
			}
			if err != nil || got != unix.IP_PMTUDISC_DO {
				t.Errorf("%s: MTU discovery %d, %v", nets.src, got, err)
			}
		}
	}
}

// What exceeds the interface's MTU is counted, frame by frame, in trains too;
// what does not still goes.
func TestPathTooSmall(t *testing.T) {
	wired(t)
	for _, nets := range []struct {
		src, dst string
		mtu      int
	}{{"10.9.0.1", "10.9.0.2", 1472}, {"fd09::1", "fd09::2", 1452}} {
		for _, disable := range []bool{false, true} {
			l := open(t, Config{Local: local(nets.src, 4789), MTU: 2000, DisableOffload: disable})[0]
			sent, big := 0, 0
			for i := range 100 {
				// A too long train with a tail that fits, then one that fits.
				put(l, addr(nets.dst), 1, make([]byte, nets.mtu+1))
				put(l, addr(nets.dst), 1, make([]byte, nets.mtu+1))
				put(l, addr(nets.dst), 1, make([]byte, nets.mtu))
				big, sent = big+2, sent+1
				if i%2 == 0 {
					put(l, addr(nets.dst), 1, make([]byte, nets.mtu+1))
					put(l, addr(nets.dst), 1, make([]byte, nets.mtu+1))
					big += 2
				}
			}
			l.Flush()
			if got := drops(l, stat.DropUnderlayMTU); got != big || allDrops(l) != big || count(l, stat.TxFrames) != sent {
				t.Errorf("%s disable=%v: %d drops (%d in all), %d sent, want %d and %d",
					nets.src, disable, got, allDrops(l), count(l, stat.TxFrames), big, sent)
			}
			if f := l.Features(); f.GSO == disable || f.GSORefused != "" {
				t.Errorf("%s: features %v", nets.src, f)
			}
			_ = l.Close()
		}
	}
}

// Kernels before 6.14 say EINVAL where a train's frames exceed the MTU. That is
// no reason to give up trains, and one frame tells for all.
func TestPathTooSmallSaidInvalid(t *testing.T) {
	wired(t)
	l := open(t, Config{Local: local("10.9.0.1", 0), MTU: 2000})[0]
	for _, n := range []int{1473, 1473, 1473, 1473, 1472} {
		put(l, addr("10.9.0.2"), 1, make([]byte, n))
	}
	s := l.socket(1)
	l.unbundle(s, 0, unix.EINVAL)
	if got := drops(l, stat.DropUnderlayMTU); got != 4 || allDrops(l) != 4 || count(l, stat.TxFrames) != 1 || count(l, stat.TxCalls) != 2 {
		t.Errorf("%d drops, %d sent with %d calls, want 4, 1 and 2", got, count(l, stat.TxFrames), count(l, stat.TxCalls))
	}
	if f := l.Features(); !f.GSO {
		t.Errorf("features %v", f)
	}
}

// Packets that wait for a neighbour who never answers fill the send buffer.
func TestSendBufferFull(t *testing.T) {
	wired(t)
	for _, disable := range []bool{false, true} {
		l := open(t, Config{Local: local("10.9.0.1", 0), MTU: 1400, SendBuffer: 4096, SendSockets: 1, DisableOffload: disable})[0]
		const n = 500
		for i := range n {
			put(l, addr("10.9.0.77"), 1, make([]byte, 1400-i%2))
		}
		l.Flush()
		full, sent := drops(l, stat.DropUnderlayFull), count(l, stat.TxFrames)
		if full == 0 || full+sent != n || allDrops(l) != full {
			t.Errorf("disable=%v: %d dropped as full, %d sent, %d drops in all, of %d", disable, full, sent, allDrops(l), n)
		}
	}
}

func TestPathMTU(t *testing.T) {
	wired(t)
	for _, c := range []string{
		"ip link set veth0 mtu 9000",
		"ip link set veth1 mtu 9000",
		"ip route add 10.8.0.0/16 via 10.9.0.2 mtu 1400",
		"ip route add fd08::/32 via fd09::2 mtu 1380",
	} {
		run(t, c)
	}
	for _, tt := range []struct {
		local      string
		remotes    []string
		mtu        int
		unroutable int
	}{
		{"10.9.0.1", nil, 9000, 0},
		{"10.9.0.1", []string{"10.9.0.2"}, 9000, 0},
		{"10.9.0.1", []string{"10.9.0.2", "10.8.1.1"}, 1400, 0},
		{"10.9.0.1", []string{"203.0.113.1", "10.9.0.2", "fd09::2"}, 9000, 2},
		{"fd09::1", []string{"fd09::2"}, 9000, 0},
		{"fd09::1", []string{"fd08::1", "fd09::2", "2001:db8::1"}, 1380, 1},
		{"127.0.0.7", []string{"127.0.0.8"}, 65535, 0},
		{"::1", []string{"::1"}, 65535, 0},
	} {
		var remotes []netip.Addr
		for _, r := range tt.remotes {
			remotes = append(remotes, addr(r))
		}
		mtu, unroutable, err := PathMTU(addr(tt.local), remotes)
		if err != nil || mtu != tt.mtu || len(unroutable) != tt.unroutable {
			t.Errorf("PathMTU(%s, %v) = %d, %v, %v, want %d and %d unroutable",
				tt.local, tt.remotes, mtu, unroutable, err, tt.mtu, tt.unroutable)
		}
	}
	want := "find interface of 192.0.2.1: no such address (is it configured on an interface?)"
	if _, _, err := PathMTU(addr("192.0.2.1"), nil); fmt.Sprint(err) != want {
		t.Errorf("foreign address: %v, want %q", err, want)
	}
}

// A link-local VTEP takes its zone to its destinations.
func TestLinkLocal(t *testing.T) {
	fd := wired(t)
	run(t, "ip addr add fe80::1/64 dev veth0 nodad")
	run(t, "ip neigh add fe80::2 lladdr 02:00:00:00:00:02 dev veth0 nud permanent")
	l := open(t, Config{Local: local("fe80::1%veth0", 4789)})[0]
	put(l, addr("fe80::2"), 1, []byte("frame"))
	l.Flush()
	if _, udp := captured(t, fd, 4789); string(udp[8:]) != "frame" {
		t.Errorf("captured %q", udp)
	}
	mtu, unroutable, err := PathMTU(addr("fe80::1%veth0"), []netip.Addr{addr("fe80::2")})
	if mtu != 1500 || len(unroutable) != 0 || err != nil {
		t.Errorf("PathMTU = %d, %v, %v", mtu, unroutable, err)
	}
}
