// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
	"netcon/internal/testenv"
)

// What the kernel's own vxlan device sends passes, over a veth with all its
// offloads and over one that behaves like a wire. Inner checksums that it leaves
// to hardware are unfinished where it has offloads; the outer one is then as if
// they were not.
func TestKernelVXLAN(t *testing.T) {
	for _, mode := range modes {
		for _, v6 := range []bool{false, true} {
			for _, offload := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v/ipv6=%v/offload=%v", mode, v6, offload), func(t *testing.T) {
					testKernelVXLAN(t, Config{Mode: mode, Unfinished: offload}, v6)
				})
			}
		}
	}
}

func testKernelVXLAN(t *testing.T, cfg Config, v6 bool) {
	a, b := cable(t, 1500, 1)
	cfg.Local = netip.AddrPortFrom(a.addr(v6), testPort)
	d := a.open(t, cfg)
	l := d.Links()[0]
	testenv.KernelVXLAN(t, b.ns, testenv.VXLAN{
		VNI: 7, Local: b.addr(v6).String(), Lower: b.dev, Remotes: []string{a.addr(v6).String()},
		Addrs: "10.1.0.2/24", MTU: 1400,
	})
	if !cfg.Unfinished {
		b.ns.NoOffload(t, b.dev)
		b.ns.NoOffload(t, "vx0")
	}
	testenv.Run(t, b.ns, "ip", "neigh", "add", "10.1.0.1", "lladdr", "02:00:00:00:00:01", "dev", "vx0", "nud", "permanent")
	// What the new device sent by itself, before its offloads were off.
	testenv.WaitFor(t, wait, func() bool {
		l.Flush()
		return l.Recv(new(frames), 100) == 0 && !readable(l.FD(), wait/50)
	}, "silence")
	before := drops(l, stat.DropOuterChecksum)
	var udp, tcp int
	var err error
	b.ns.Do(t, func() {
		var c net.Conn
		if c, err = net.Dial("udp", "10.1.0.1:9"); err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		for i := range 20 {
			if _, err = c.Write(payload(i, 100+i)); err != nil {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	b.ns.Do(t, func() {
		// Nobody answers.
		var fd int
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err == nil {
			t.Cleanup(func() { _ = unix.Close(fd) })
			err = unix.Connect(fd, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{10, 1, 0, 1}})
		}
	})
	if !errors.Is(err, unix.EINPROGRESS) {
		t.Fatal(err)
	}
	f := new(frames)
	testenv.WaitFor(t, wait, func() bool {
		readable(l.FD(), wait/100)
		l.Recv(f, 100)
		l.Flush()
		udp, tcp = 0, 0
		for _, p := range f.data {
			ip := p[wire.EncapLen:]
			if ip[0]>>4 != 4 {
				continue
			}
			switch ip[9] {
			case wire.ProtoUDP:
				udp++
			case wire.ProtoTCP:
				tcp++
			}
			if got := wire.Unfinished(ip); got && !cfg.Unfinished {
				t.Errorf("an unfinished inner checksum over a wire")
			}
		}
		return udp >= 20 && tcp >= 1
	}, "20 datagrams and a connection request")
	if got := drops(l, stat.DropOuterChecksum) - before; got != 0 || before != 0 && cfg.Unfinished {
		t.Errorf("drops %v", allDrops(l))
	}
}
