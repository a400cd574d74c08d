// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/netip"
	"testing"
)

func TestUnfinished(t *testing.T) {
	a4, b4 := netip.MustParseAddr("10.42.0.2"), netip.MustParseAddr("10.42.0.1")
	a6, b6 := netip.MustParseAddr("fd42::2"), netip.MustParseAddr("fd42::1")
	packet := func(src, dst netip.Addr, proto uint8, l4 []byte) []byte {
		if src.Is4() {
			p := make([]byte, IPv4Len+len(l4))
			PutIPv4(p, src, dst, proto, 64, len(l4))
			copy(p[IPv4Len:], l4)
			return p
		}
		p := make([]byte, IPv6Len+len(l4))
		PutIPv6(p, src, dst, proto, 64, len(l4))
		copy(p[IPv6Len:], l4)
		return p
	}
	for _, c := range []struct {
		src, dst netip.Addr
	}{{a4, b4}, {a6, b6}} {
		syn := []byte{
			0x90, 0x00, 0x00, 0x50, // ports 36864, 80
			0, 0, 0, 1, 0, 0, 0, 0, // seq 1, ack 0
			0x50, TCPSyn, 0xff, 0xff, // header 20 bytes, SYN, window
			0, 0, 0, 0, // checksum, urgent
		}
		pseudo := PseudoHeader(c.src, c.dst, ProtoTCP, len(syn))
		TCP(syn).SetChecksum(pseudo.Fold())
		if !Unfinished(packet(c.src, c.dst, ProtoTCP, syn)) {
			t.Errorf("%s: a bare pseudo-header sum is not recognized", c.src)
		}
		TCP(syn).SetChecksum(0)
		TCP(syn).SetChecksum(pseudo.Add(syn).Checksum())
		if Unfinished(packet(c.src, c.dst, ProtoTCP, syn)) {
			t.Errorf("%s: a complete checksum passes as unfinished", c.src)
		}
		TCP(syn).SetChecksum(pseudo.Fold() + 1)
		if Unfinished(packet(c.src, c.dst, ProtoTCP, syn)) {
			t.Errorf("%s: a wrong checksum passes as unfinished", c.src)
		}
		for n := range len(syn) {
			if Unfinished(packet(c.src, c.dst, ProtoTCP, syn[:n])) {
				t.Errorf("%s: %d bytes of a TCP header pass", c.src, n)
			}
		}
		datagram := []byte{0, 53, 0, 53, 0, 9, 0, 0, 'x'} // ports, length 9, checksum
		UDP(datagram).SetChecksum(PseudoHeader(c.src, c.dst, ProtoUDP, len(datagram)).Fold())
		if !Unfinished(packet(c.src, c.dst, ProtoUDP, datagram)) {
			t.Errorf("%s: UDP: a bare pseudo-header sum is not recognized", c.src)
		}
		if Unfinished(packet(c.src, c.dst, ProtoICMP, datagram)) {
			t.Errorf("%s: ICMP has no pseudo-header sum to leave", c.src)
		}
	}
	fragment := packet(a4, b4, ProtoTCP, make([]byte, 20))
	fragment[6] = 0x20 // more fragments
	if Unfinished(fragment) || Unfinished(nil) || Unfinished([]byte{0x60}) {
		t.Error("no whole packet passes")
	}
}
