// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/bpf"
	"netcon/dataplane/frame"
	"netcon/dataplane/stat"
	"netcon/internal/testenv"
)

// superPacket sends 10,000 bytes as one UDP_SEGMENT message of datagrams of
// 1,000: a peer with offloads on sends it as one packet over a veth.
func superPacket(t *testing.T, h *host, to netip.AddrPort) {
	t.Helper()
	var err error
	h.ns.Do(t, func() {
		var fd int
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return
		}
		defer func() { _ = unix.Close(fd) }()
		if err = unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 1000); err != nil {
			return
		}
		err = unix.Sendto(fd, make([]byte, 10000), 0, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// In generic mode the super-packets of a peer that segments in "hardware" do not
// fit. They are counted, wherever they were dropped, and the operator is told
// once what to do. In native mode the kernel segments them.
func TestSuperPackets(t *testing.T) {
	for _, tt := range []struct {
		name     string
		mode     bpf.Mode
		mtu      int
		received int
	}{
		{"dropped by the kernel", bpf.Generic, 1500, 0},
		{"dropped by us", bpf.Generic, 3100, 0}, // in several buffers
		{"native", bpf.Native, 1500, 10},
		{"native in several buffers", bpf.Native, 9000, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := cable(t, tt.mtu, 1)
			d := a.open(t, Config{Mode: tt.mode, Unfinished: true})
			l := d.Links()[0]
			if tt.received > 0 {
				superPacket(t, b, d.Local())
				for _, p := range receive(t, l, tt.received).data {
					if len(p) != 1000 {
						t.Errorf("a payload of %d bytes", len(p))
					}
				}
				if got := allDrops(l); len(got) > 0 {
					t.Errorf("drops %v", got)
				}
				return
			}
			for range 3 {
				superPacket(t, b, d.Local())
			}
			testenv.WaitFor(t, 10*time.Second, func() bool {
				readable(l.FD(), 10*time.Millisecond)
				l.Recv(new(frames), 10)
				l.Flush()
				return drops(l, stat.DropOuterTooBig) == 3 && strings.Contains(a.logs.String(), "ethtool -K PEER gso off tso off gro off")
			}, "three drops and the log: %v\n%s", allDrops(l), a.logs)
			if n := strings.Count(a.logs.String(), "ethtool -K PEER"); n != 1 || len(allDrops(l)) != 1 {
				t.Errorf("told %d times, drops %v", n, allDrops(l))
			}
			testenv.NeedTools(t, "ethtool")
			testenv.Run(t, b.ns, "ethtool", "-K", b.dev, "gso", "off", "tso", "off", "gro", "off", "tx-udp-segmentation", "off")
			superPacket(t, b, d.Local())
			receive(t, l, 10)
		})
	}
}

// Unfinished checksums pass only where we were told that they are fine.
func TestUnfinished(t *testing.T) {
	for _, unfinished := range []bool{false, true} {
		a, b := cable(t, 1500, 1)
		d := a.open(t, Config{Unfinished: unfinished})
		l := d.Links()[0]
		peer := b.udpPeer(t, false)
		for i := range 10 {
			if _, err := peer.WriteToUDPAddrPort(payload(i, 100), d.Local()); err != nil {
				t.Fatal(err)
			}
		}
		if unfinished {
			receive(t, l, 10)
			continue
		}
		testenv.WaitFor(t, 5*time.Second, func() bool {
			l.Recv(new(frames), 10)
			l.Flush()
			return drops(l, stat.DropOuterChecksum) == 10
		}, "the drops")
		if got := count(l, stat.RxFrames); got != 0 {
			t.Errorf("%d frames passed", got)
		}
	}
}

// What the peer's device counts as garbage on the wire never reaches the sink,
// and costs no frame.
func TestGarbageOnTheWire(t *testing.T) {
	a, b := cable(t, 1500, 1)
	d := a.open(t, Config{})
	l := d.Links()[0]
	peer := b.open(t, Config{}).Links()[0]
	resolved(t, peer, a.a4)
	h := peer.lookup(a.a4)
	whole := append(make([]byte, h.n), payload(1, 100)...)
	h.encapsulate(whole, 1)
	q := peer.queues[0]
	inject := func(b []byte) {
		f, ok := q.reserve()
		if !ok {
			t.Fatal("no frame")
		}
		copy(q.room(f), b)
		q.frames.Move(f, frame.Reserved, frame.Tx)
		q.tx.set(unix.XDPDesc{Addr: q.addr(f), Len: uint32(len(b))})
		flushed(t, peer)
	}
	flip := func(at int) []byte { return edit(whole, at, whole[at]^0xff) }
	lying := edit(whole, wireIPLen, 0xff, 0xff)
	binary.BigEndian.PutUint16(lying[wireIPLen:], 1400)
	for _, b := range [][]byte{flip(len(whole) - 1), flip(wireIPLen + 6), ip4(lying), whole[:60]} {
		inject(b)
	}
	inject(whole)
	f := new(frames)
	testenv.WaitFor(t, 5*time.Second, func() bool {
		l.Recv(f, 10)
		l.Flush()
		return len(f.data) == 1
	}, "the one good frame: %v", allDrops(l))
	if !bytes.Equal(f.data[0], payload(1, 100)) {
		t.Error("another payload")
	}
	if c, n := drops(l, stat.DropOuterChecksum), drops(l, stat.DropOuterTruncated); c != 2 || n != 2 {
		t.Errorf("drops %v, want 2 for checksums and 2 cut short", allDrops(l))
	}
}

const wireIPLen = 14 + 2 // where the IPv4 total length is
