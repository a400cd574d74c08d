// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"netcon/internal/testenv"
)

// Offsets into frame4 and frame6.
const (
	atType     = 12
	at4        = 14 // IPv4 header
	at4Frag    = at4 + 6
	at4Proto   = at4 + 9
	at4Dst     = at4 + 16
	at4UDP     = at4 + 20
	at6        = 14 // IPv6 header
	at6Next    = at6 + 6
	at6Dst     = at6 + 24
	at6UDP     = at6 + 40
	headers4   = at4UDP + 8
	headers6   = at6UDP + 8
	extraBytes = 8 // of VXLAN
)

// A VXLAN header in UDP in IPv4 to 192.0.2.1, port 4789.
var frame4 = []byte{
	0x02, 0x00, 0x00, 0x00, 0x00, 0x01, // destination
	0x02, 0x00, 0x00, 0x00, 0x00, 0x02, // source
	0x08, 0x00, // IPv4

	0x45, 0x00, 0x00, 0x24, // version 4, 20 bytes of header; TOS; 36 bytes in all
	0x00, 0x00, 0x40, 0x00, // ID; DF
	0x40, 0x11, 0xb6, 0xc5, // TTL 64; UDP; checksum
	0xc0, 0x00, 0x02, 0x02, // source
	0xc0, 0x00, 0x02, 0x01, // destination

	0xc0, 0x01, 0x12, 0xb5, // source port, port 4789
	0x00, 0x10, 0x00, 0x00, // 16 bytes; no checksum

	0x08, 0x00, 0x00, 0x00, // I flag
	0x00, 0x00, 0x2a, 0x00, // VNI 42
}

// The same in IPv6, to 2001:db8::1.
var frame6 = []byte{
	0x02, 0x00, 0x00, 0x00, 0x00, 0x01, // destination
	0x02, 0x00, 0x00, 0x00, 0x00, 0x02, // source
	0x86, 0xdd, // IPv6

	0x60, 0x00, 0x00, 0x00, // version 6, class, flow label
	0x00, 0x10, 0x11, 0x40, // 16 bytes; UDP; hop limit 64
	0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, // source
	0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, // destination

	0xc0, 0x01, 0x12, 0xb5, // source port, port 4789
	0x00, 0x10, 0xff, 0xff, // 16 bytes; checksum, not right

	0x08, 0x00, 0x00, 0x00, // I flag
	0x00, 0x00, 0x2a, 0x00, // VNI 42
}

type verdictCase struct {
	name  string
	frame []byte
	want  Verdict
}

// linkCases are the same for either version.
func linkCases(frame []byte) []verdictCase {
	return []verdictCase{
		{"plain", frame, Redirect},
		{"padded", insert(frame, len(frame), make([]byte, 32)...), Redirect},
		{"largest in one buffer", insert(frame, len(frame), make([]byte, 3000)...), Redirect},
		{"headers only", frame[:len(frame)-extraBytes], Redirect},
		{"broadcast", with(frame, 0, 255, 255, 255, 255, 255, 255), Redirect}, // the host would take it, too
		{"ARP", with(frame, atType, 0x08, 0x06), PassEtherType},
		{"IEEE 802.3 length", with(frame, atType, 0x00, 0x2e), PassEtherType},
		{"LLDP", with(frame, atType, 0x88, 0xcc), PassEtherType},
		{"type in the wrong byte order", with(frame, atType, frame[atType+1], frame[atType]), PassEtherType},
		{"802.1Q", insert(frame, atType, 0x81, 0x00, 0x00, 0x05), PassVLAN},
		{"802.1Q, VLAN 0", insert(frame, atType, 0x81, 0x00, 0x00, 0x00), PassVLAN},
		{"802.1ad", insert(frame, atType, 0x88, 0xa8, 0x00, 0x05), PassVLAN},
		{"QinQ before 802.1ad", insert(frame, atType, 0x91, 0x00, 0x00, 0x05), PassVLAN},
		{"802.1ad and 802.1Q", insert(frame, atType, 0x88, 0xa8, 0x00, 0x05, 0x81, 0x00, 0x00, 0x06), PassVLAN},
		{"tag and nothing else", with(frame[:14], atType, 0x81, 0x00), PassVLAN},
	}
}

func TestVerdictsIPv4(t *testing.T) {
	cases := linkCases(frame4)
	add := func(want Verdict, frame []byte, name string, args ...any) {
		cases = append(cases, verdictCase{fmt.Sprintf(name, args...), frame, want})
	}
	for n := 14; n < headers4; n++ {
		add(PassShort, frame4[:n], "%d bytes", n)
	}
	for i := range 4 {
		add(PassAddress, with(frame4, at4Dst+i, frame4[at4Dst+i]^0x80), "byte %d of the address", i)
	}
	add(PassAddress, with(frame4, at4Dst, 255, 255, 255, 255), "broadcast address")
	add(PassEtherType, with(frame4, atType, 0x86, 0xdd), "IPv6 EtherType")
	for _, version := range []byte{0, 3, 5, 6, 15} {
		add(PassHeader, with(frame4, at4, version<<4|5), "version %d", version)
	}
	for ihl := range byte(16) {
		switch {
		case ihl < 5:
			add(PassHeader, with(frame4, at4, 0x40|ihl), "IHL %d", ihl)
		case ihl > 5: // some of them reach beyond the frame
			add(PassOptions, with(frame4, at4, 0x40|ihl), "IHL %d", ihl)
		}
	}
	add(PassOptions, insert(with(frame4, at4, 0x46), at4UDP, 0x94, 0x04, 0x00, 0x00), "router alert")
	for _, protocol := range []byte{0, 1, 2, 6, 33, 41, 44, 47, 50, 51, 132, 136, 255} {
		add(PassProtocol, with(frame4, at4Proto, protocol), "protocol %d", protocol)
	}
	add(PassFragment, with(frame4, at4Frag, 0x20, 0x00), "first fragment")
	add(PassFragment, with(frame4, at4Frag, 0x20, 0xb9), "middle fragment")
	add(PassFragment, with(frame4, at4Frag, 0x00, 0xb9), "last fragment")
	add(PassFragment, with(frame4, at4Frag, 0x00, 0x01), "offset 8")
	add(PassFragment, with(frame4, at4Frag, 0x1f, 0xff), "largest offset")
	add(PassFragment, with(frame4, at4Frag, 0x60, 0x00), "DF and MF")
	add(PassFragment, with(frame4[:at4UDP], at4Frag, 0x00, 0xb9), "last fragment without bytes")
	add(PassProtocol, with(with(frame4, at4Frag, 0x20, 0x00), at4Proto, 6), "fragment of TCP")
	add(Redirect, with(frame4, at4Frag, 0x00, 0x00), "no DF")
	add(Redirect, with(frame4, at4Frag, 0xc0, 0x00), "reserved bit")
	for _, port := range [][]byte{{0x12, 0xb4}, {0x13, 0xb5}, {0xb5, 0x12}, {0, 0}, {0, 53}} {
		add(PassPort, with(frame4, at4UDP+2, port...), "port %x", port)
	}
	add(PassPort, with(frame4, at4UDP, 0x12, 0xb5, 0xc0, 0x01), "ports swapped")
	// What is wrong here is for the receiver to say.
	add(Redirect, with(frame4, at4+2, 0x00, 0x00), "total length 0")
	add(Redirect, with(frame4, at4+2, 0xff, 0xff), "total length 65535")
	add(Redirect, with(frame4, at4+8, 0), "TTL 0")
	add(Redirect, with(frame4, at4+10, 0, 0), "header checksum")
	add(Redirect, with(frame4, at4UDP+4, 0, 0), "UDP length 0")
	add(Redirect, with(frame4, at4UDP+4, 0xff, 0xff), "UDP length 65535")
	add(Redirect, with(frame4, at4UDP+6, 0x12, 0x34), "UDP checksum")
	checkVerdicts(t, vtep4, cases)
}

func TestVerdictsIPv6(t *testing.T) {
	cases := linkCases(frame6)
	add := func(want Verdict, frame []byte, name string, args ...any) {
		cases = append(cases, verdictCase{fmt.Sprintf(name, args...), frame, want})
	}
	for n := 14; n < headers6; n++ {
		add(PassShort, frame6[:n], "%d bytes", n)
	}
	for i := range 16 {
		add(PassAddress, with(frame6, at6Dst+i, frame6[at6Dst+i]^0x80), "byte %d of the address", i)
	}
	add(PassAddress, with(frame6, at6Dst, 0xff, 0x02), "multicast address")
	add(PassEtherType, with(frame6, atType, 0x08, 0x00), "IPv4 EtherType")
	for _, version := range []byte{0, 4, 5, 7, 15} {
		add(PassHeader, with(frame6, at6, version<<4), "version %d", version)
	}
	headers := map[byte]bool{0: true, 43: true, 50: true, 51: true, 60: true, 135: true, 139: true, 140: true, 253: true, 254: true}
	for next := range 256 {
		frame := with(frame6, at6Next, byte(next))
		switch {
		case headers[byte(next)]:
			add(PassOptions, frame, "next header %d", next)
		case next == 44:
			add(PassFragment, frame, "next header %d", next)
		case next != 17:
			add(PassProtocol, frame, "next header %d", next)
		}
	}
	udpNext := []byte{17, 0, 0, 0, 0, 0, 0, 0} // a header of 8 bytes with UDP behind it
	add(PassOptions, insert(with(frame6, at6Next, 0), at6UDP, udpNext...), "hop-by-hop options, then UDP")
	add(PassOptions, insert(with(frame6, at6Next, 60), at6UDP, 44, 0, 0, 0, 0, 0, 0, 0), "destination options, then a fragment")
	add(PassFragment, insert(with(frame6, at6Next, 44), at6UDP, with(udpNext, 3, 0x01)...), "first fragment")
	add(PassFragment, insert(with(frame6, at6Next, 44), at6UDP, with(udpNext, 2, 0x05, 0xa9)...), "middle fragment")
	add(PassFragment, insert(with(frame6, at6Next, 44), at6UDP, with(udpNext, 2, 0x05, 0xa8)...), "last fragment")
	add(PassFragment, insert(with(frame6, at6Next, 44), at6UDP, udpNext...), "atomic fragment")
	add(PassOptions, with(frame6[:at6UDP], at6Next, 0), "extension header cut off")
	for _, port := range [][]byte{{0x12, 0xb4}, {0x13, 0xb5}, {0xb5, 0x12}, {0, 0}, {0, 53}} {
		add(PassPort, with(frame6, at6UDP+2, port...), "port %x", port)
	}
	add(PassPort, with(frame6, at6UDP, 0x12, 0xb5, 0xc0, 0x01), "ports swapped")
	// What is wrong here is for the receiver to say.
	add(Redirect, with(frame6, at6, 0x6f, 0xff, 0xff, 0xff), "class and flow label")
	add(Redirect, with(frame6, at6+4, 0, 0), "payload length 0")
	add(Redirect, with(frame6, at6+4, 0xff, 0xff), "payload length 65535")
	add(Redirect, with(frame6, at6+7, 0), "hop limit 0")
	add(Redirect, with(frame6, at6UDP+4, 0, 0), "UDP length 0")
	add(Redirect, with(frame6, at6UDP+4, 0xff, 0xff), "UDP length 65535")
	add(Redirect, with(frame6, at6UDP+6, 0, 0), "no UDP checksum")
	checkVerdicts(t, vtep6, cases)
}

// checkVerdicts also asks the model that the fuzz target relies on, and a
// program whose queue has no socket.
func checkVerdicts(t *testing.T, vtep netip.Addr, cases []verdictCase) {
	cfg := Config{VTEP: vtep, Ports: []uint16{4789}}
	p := withSocket(t, load(t, cfg), 0)
	empty := load(t, cfg)
	frags := cfg
	frags.Frags = true
	multi := withSocket(t, load(t, frags), 0)
	for _, tt := range cases {
		if got := filter(t, p, tt.frame); got != tt.want {
			t.Errorf("%s: %s, want %s\n%x", tt.name, got, tt.want, tt.frame)
		}
		if got := filter(t, multi, tt.frame); got != tt.want {
			t.Errorf("%s: with frags %s, want %s", tt.name, got, tt.want)
		}
		if got := model(cfg, tt.frame); got != tt.want {
			t.Errorf("%s: the model says %s, want %s", tt.name, got, tt.want)
		}
		want := tt.want
		if want == Redirect {
			want = PassNoSocket
		}
		if got := filter(t, empty, tt.frame); got != want {
			t.Errorf("%s: without a socket %s, want %s", tt.name, got, want)
		}
	}
}

func TestPorts(t *testing.T) {
	for _, tt := range []struct{ ports, not []uint16 }{
		{[]uint16{4789}, []uint16{0, 1, 4788, 65535}},
		{[]uint16{65535, 1}, []uint16{0, 2, 65534}},
		{[]uint16{8472, 4789, 8472, 4789, 4789, 4789, 4789, 4789, 4789}, []uint16{0, 4788, 8473}}, // two
		{[]uint16{1, 2, 3, 4, 5, 6, 7, 8}, []uint16{0, 9, 0x100, 0x800}},
	} {
		for vtep, frame := range map[netip.Addr][]byte{vtep4: frame4, vtep6: frame6} {
			p := withSocket(t, load(t, Config{VTEP: vtep, Ports: tt.ports}), 0)
			at := len(frame) - extraBytes - 6
			for _, port := range tt.ports {
				if got := filter(t, p, with(frame, at, byte(port>>8), byte(port))); got != Redirect {
					t.Errorf("%v: %s, port %d of %d", vtep, got, port, tt.ports)
				}
			}
			for _, port := range tt.not {
				if got := filter(t, p, with(frame, at, byte(port>>8), byte(port))); got != PassPort {
					t.Errorf("%v: %s, port %d not of %d", vtep, got, port, tt.ports)
				}
			}
		}
	}
}

// Frames that do not fit into one buffer are the reason for Frags.
func TestSeveralBuffers(t *testing.T) {
	p := withSocket(t, load(t, Config{VTEP: vtep4, Ports: []uint16{4789}, Frags: true}), 0)
	for _, n := range []int{4096, 9000, 40000} {
		frame := insert(frame4, len(frame4), bytes.Repeat([]byte{0xa5}, n)...)
		if got := filter(t, p, frame); got != Redirect {
			t.Errorf("%d bytes: %s", len(frame), got)
		}
		if got := filter(t, p, with(frame, at4UDP+3, 0)); got != PassPort {
			t.Errorf("%d bytes to another port: %s", len(frame), got)
		}
	}
}

// Each queue has its own socket, and a queue beyond Config.Queues has none.
func TestQueues(t *testing.T) {
	ns := testenv.NewNetNS(t)
	testenv.Run(t, ns, "ip", "link", "add", "nic0", "numrxqueues", "4", "type", "veth", "peer", "name", "far0")
	ns.SetUp(t, "nic0", "")
	p := withSocket(t, load(t, Config{VTEP: vtep4, Ports: []uint16{4789}, Queues: 3}), 1)
	withSocket(t, p, 2)
	ns.Do(t, func() {
		dev, err := net.InterfaceByName("nic0")
		if err != nil {
			t.Error(err)
			return
		}
		for queue, want := range []Verdict{PassNoSocket, Redirect, Redirect, PassNoSocket} {
			at := &xdpContext{Ifindex: uint32(dev.Index), Queue: uint32(queue)}
			if got, err := judge(p, frame4, at); got != want || err != nil {
				t.Errorf("queue %d: %s, %v, want %s", queue, got, err, want)
			}
		}
		if err := p.Unregister(1); err != nil {
			t.Error(err)
		}
		for queue, want := range []Verdict{PassNoSocket, PassNoSocket, Redirect} {
			at := &xdpContext{Ifindex: uint32(dev.Index), Queue: uint32(queue)}
			if got, err := judge(p, frame4, at); got != want || err != nil {
				t.Errorf("queue %d after Unregister: %s, %v, want %s", queue, got, err, want)
			}
		}
	})
}
