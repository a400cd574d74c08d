// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"netcon/dataplane/stat"
	"netcon/internal/testenv"
)

// udpPeer is a plain kernel socket on a host's VTEP address.
func (h *host) udpPeer(t testing.TB, v6 bool) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	var err error
	h.ns.Do(t, func() {
		c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(h.addr(v6), testPort)))
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// The stock peer: what it sends arrives, what is sent to it passes its checks.
// On a veth its checksums are unfinished unless the device is told to finish
// them.
func TestKernelPeer(t *testing.T) {
	for _, mode := range modes {
		for _, v6 := range []bool{false, true} {
			for _, mtu := range []int{1500, 3000, 9000} {
				for _, unfinished := range []bool{false, true} {
					if unfinished && mtu != 1500 {
						continue
					}
					name := fmt.Sprintf("%v/ipv6=%v/mtu=%d/unfinished=%v", mode, v6, mtu, unfinished)
					t.Run(name, func(t *testing.T) { testKernelPeer(t, Config{Mode: mode, Unfinished: unfinished}, v6, mtu) })
				}
			}
		}
	}
}

func testKernelPeer(t *testing.T, cfg Config, v6 bool, mtu int) {
	a, b := cable(t, mtu, 1)
	if !cfg.Unfinished {
		b.ns.NoOffload(t, b.dev)
	}
	cfg.Local = netip.AddrPortFrom(a.addr(v6), testPort)
	d := a.open(t, cfg)
	l, peer := d.Links()[0], b.udpPeer(t, v6)
	resolved(t, l, b.addr(v6))
	most := mtu - overheadOf(a.addr(v6))
	sizes := []int{1, 2, 64, most / 2, most/2 + 1, most - 1, most}
	for i, n := range sizes {
		put(l, b.addr(v6), uint32(i), payload(i, n))
	}
	flushed(t, l)
	buf := make([]byte, 64<<10)
	_ = peer.SetReadDeadline(time.Now().Add(5 * time.Second))
	for i, n := range sizes {
		got, from, err := peer.ReadFromUDPAddrPort(buf)
		if err != nil {
			t.Fatalf("payload of %d bytes: %v", n, err)
		}
		if !bytes.Equal(buf[:got], payload(i, n)) || from.Addr().Unmap() != a.addr(v6) || from.Port() != sourcePort(uint32(i)) {
			t.Errorf("got %d bytes from %s, want %d from port %d", got, from, n, sourcePort(uint32(i)))
		}
	}
	for i, n := range sizes {
		if _, err := peer.WriteToUDPAddrPort(payload(i, n), netip.AddrPortFrom(a.addr(v6), testPort)); err != nil {
			t.Fatal(err)
		}
	}
	f := receive(t, l, len(sizes))
	for i, n := range sizes {
		if !bytes.Equal(f.data[i], payload(i, n)) || f.src[i] != b.addr(v6) {
			t.Errorf("received %d bytes from %s, want %d", len(f.data[i]), f.src[i], n)
		}
	}
	// One byte more than the MTU.
	put(l, b.addr(v6), 1, make([]byte, most+1))
	flushed(t, l)
	if got := drops(l, stat.DropUnderlayMTU); got != 1 || len(allDrops(l)) != 1 {
		t.Errorf("drops %v, want one for the MTU", allDrops(l))
	}
	if snmp := testenv.SNMP(t, b.ns); snmp["UdpInCsumErrors"] != 0 || snmp["Udp6InCsumErrors"] != 0 {
		t.Errorf("the peer found wrong checksums: %v", snmp)
	}
}
