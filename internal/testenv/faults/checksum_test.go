// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"bytes"
	"encoding/binary"
	"testing"

	"netcon/dataplane/wire"
)

func TestFinishChecksums(t *testing.T) {
	for _, n := range []int{0, 1, 77} {
		for _, s := range samples(n) {
			got := bytes.Clone(s.frame)
			if !FinishChecksums(got) {
				t.Errorf("%s, %d bytes: not covered by a checksum", s.name, n)
			}
			if !bytes.Equal(got, s.want) {
				t.Errorf("%s, %d bytes:\n got %x\nwant %x", s.name, n, got, s.want)
			}
			if _, ok := receive(got); !ok {
				t.Errorf("%s, %d bytes: a strict receiver refuses it", s.name, n)
			}
		}
	}
}

func TestFinishChecksumsLeavesWrongOnes(t *testing.T) {
	for _, s := range samples(20) {
		bad := bytes.Clone(s.want)
		bad[len(bad)-1] ^= 0x10
		got := bytes.Clone(bad)
		FinishChecksums(got)
		if !bytes.Equal(got, bad) {
			t.Errorf("%s: a wrong checksum was repaired", s.name)
		}
	}
}

func TestFinishChecksumsUncovered(t *testing.T) {
	arp := make([]byte, wire.EthernetLen+wire.ARPLen)
	wire.PutEthernet(arp, wire.Broadcast, macA, wire.EtherTypeARP)
	wire.PutARP(arp[wire.EthernetLen:], wire.ARPRequest, macA, a4, wire.MAC{}, b4)

	fragment := func(proto byte) []byte {
		f := ipFrame(false, wire.ProtoUDP, udpDatagram(53, pattern(32)), partial)
		p := wire.IPv4(f[wire.EthernetLen:])
		p[6], p[9] = 0x20, proto // more fragments
		p.SetChecksum()
		return f
	}
	for _, tc := range []struct {
		name  string
		frame []byte
		want  bool
	}{
		{"empty", nil, false},
		{"ethernet only", arp[:wire.EthernetLen], false},
		{"arp", arp, false},
		{"udp without checksum", ipFrame(false, wire.ProtoUDP, udpDatagram(53, pattern(9)), none), false},
		{"tcp header cut short", ipFrame(false, wire.ProtoUDP, udpDatagram(53, nil), none)[:wire.EthernetLen+wire.IPv4Len+4], false},
		{"first fragment of udp", fragment(wire.ProtoUDP), true},
		{"fragment of another protocol", fragment(132), false},
		{"vxlan around arp, no outer checksum", ipFrame(false, wire.ProtoUDP, udpDatagram(wire.VXLANPort, vxlanPayload(arp)), none), false},
		{"vxlan around arp, outer checksum", ipFrame(false, wire.ProtoUDP, udpDatagram(wire.VXLANPort, vxlanPayload(arp)), partial), true},
	} {
		got := bytes.Clone(tc.frame)
		if FinishChecksums(got) != tc.want {
			t.Errorf("%s: covered is not %v", tc.name, tc.want)
		}
		if !tc.want && !bytes.Equal(got, tc.frame) {
			t.Errorf("%s: changed", tc.name)
		}
	}
}

// TestEveryBitIsCaught flips every bit that corruption may flip: no receiver
// may accept the frame and deliver something else.
func TestEveryBitIsCaught(t *testing.T) {
	flips := 0
	for _, s := range samples(13) {
		frame := bytes.Clone(s.frame)
		FinishChecksums(frame)
		want, ok := receive(frame)
		if !ok {
			t.Fatalf("%s: refused before it was corrupted", s.name)
		}
		for bit := wire.EthernetLen * 8; bit < len(frame)*8; bit++ {
			frame[bit/8] ^= 1 << (bit % 8)
			if got, ok := receive(frame); ok && got != want {
				t.Errorf("%s: bit %d of byte %d flipped, accepted and delivered as\n%s, want\n%s", s.name, bit%8, bit/8, got, want)
			}
			frame[bit/8] ^= 1 << (bit % 8)
			flips++
		}
	}
	if flips < 10000 {
		t.Fatalf("only %d flips", flips)
	}
}

// TestCorruptionCaught sends through the injector itself, whole frames and
// payloads from the VXLAN header on, whose outer checksum comes later.
func TestCorruptionCaught(t *testing.T) {
	for _, s := range samples(40) {
		want, _ := receive(s.want)
		frame, encap := s.frame, false
		if l, ok := parseLayer(s.frame, 0); ok {
			if at, ok := l.inner(s.frame); ok {
				// In our path: no outer header yet.
				frame, encap = s.frame[at-wire.VXLANLen:], true
			}
		}
		for _, in := range []bool{false, true} {
			if in && !encap {
				continue
			}
			inj, input := New(Config{Corrupt: 1, Seed: 9}), s.frame
			if in {
				inj, input = NewEncap(Config{Corrupt: 1, Seed: 9}), frame
			}
			for range 200 {
				inj.Push(input, 0)
				out, ok := inj.Pop(0)
				if !ok || bytes.Equal(out, input) {
					t.Fatalf("%s: not corrupted", s.name)
				}
				if in {
					if !bytes.Equal(out[:wire.EncapLen], input[:wire.EncapLen]) {
						t.Fatalf("%s: VXLAN or inner Ethernet header corrupted", s.name)
					}
					out = out[wire.VXLANLen:]
				}
				if got, ok := receive(out); ok && got != want {
					t.Fatalf("%s: accepted as %s", s.name, got)
				}
			}
			if r := inj.Report(); r.Corrupted != 200 {
				t.Fatalf("%s: report %+v", s.name, r)
			}
		}
	}
}

func TestCorruptSparesUncovered(t *testing.T) {
	arp := make([]byte, wire.EthernetLen+wire.ARPLen)
	wire.PutEthernet(arp, wire.Broadcast, macA, wire.EtherTypeARP)
	i := New(Config{Corrupt: 1})
	i.Push(arp, 0)
	if out, ok := i.Pop(0); !ok || !bytes.Equal(out, arp) || i.Report().Corrupted != 0 {
		t.Errorf("ARP was corrupted: %x, %+v", out, i.Report())
	}
}

func FuzzFinishChecksums(f *testing.F) {
	for _, s := range samples(5) {
		f.Add(s.frame)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		once := bytes.Clone(b)
		covered := FinishChecksums(once)
		twice := bytes.Clone(once)
		if FinishChecksums(twice) != covered {
			t.Errorf("%x: covered changed", b)
		}
		if !bytes.Equal(once, twice) {
			t.Errorf("not idempotent: %x\nonce  %x\ntwice %x", b, once, twice)
		}
	})
}

func TestSegment(t *testing.T) {
	const n, size = 5000, 1448
	for _, s := range samples(n) {
		l4, payloadAt, super := innermost(t, s.want)
		proto, _ := l4Proto(s.want)
		var seg Segmenter
		var got []byte
		count := 0
		ok := seg.Segment(s.frame, l4, size, func(f []byte) {
			if _, ok := receive(f); !ok {
				t.Fatalf("%s: segment %d is refused: %x", s.name, count, f[:payloadAt])
			}
			if proto == wire.ProtoTCP {
				if seq := wire.TCP(f[l4:]).Seq(); seq != 0x01020304+uint32(count*size) {
					t.Errorf("%s: segment %d has seq %#x", s.name, count, seq)
				}
				if psh := wire.TCP(f[l4:]).Flags()&wire.TCPPsh != 0; psh != (count == 3) {
					t.Errorf("%s: segment %d has PSH %v", s.name, count, psh)
				}
			}
			got = append(got, f[payloadAt:]...)
			count++
		})
		if isICMP := proto == wire.ProtoICMP || proto == wire.ProtoICMPv6; isICMP {
			if ok || count != 0 {
				t.Errorf("%s: ICMP was cut", s.name)
			}
			continue
		}
		if !ok || count != 4 || !bytes.Equal(got, super) {
			t.Errorf("%s: ok %v, %d segments, %d of %d bytes", s.name, ok, count, len(got), len(super))
		}
		if seg.Segment(s.frame, l4+1, size, func([]byte) {}) || seg.Segment(s.frame, l4, 0, func([]byte) {}) {
			t.Errorf("%s: accepts nonsense", s.name)
		}
	}
}

// l4Proto returns the innermost protocol and its layer.
func l4Proto(f []byte) (uint8, layer) {
	l, _ := parseLayer(f, 0)
	if at, ok := l.inner(f); ok {
		l, _ = parseLayer(f, at)
	}
	return l.proto, l
}

func innermost(t *testing.T, f []byte) (l4, payloadAt int, payload []byte) {
	t.Helper()
	proto, l := l4Proto(f)
	payloadAt = l.l4 + wire.UDPLen
	if proto == wire.ProtoTCP {
		payloadAt = l.l4 + wire.TCPLen
	}
	return l.l4, payloadAt, f[payloadAt:]
}

func FuzzSegment(f *testing.F) {
	for _, s := range samples(300) {
		_, l := l4Proto(s.frame)
		f.Add(s.frame, l.l4, 100)
	}
	f.Fuzz(func(t *testing.T, b []byte, l4, size int) {
		var seg Segmenter
		if size > 1<<16 {
			return
		}
		total := 0
		before := bytes.Clone(b)
		ok := seg.Segment(b, l4, size, func(f []byte) {
			total++
			if len(f) < wire.EthernetLen || binary.BigEndian.Uint16(f[12:]) != binary.BigEndian.Uint16(b[12:]) {
				t.Errorf("segment %x of %x", f, b)
			}
		})
		if ok != (total > 0) || !bytes.Equal(b, before) {
			t.Errorf("ok %v with %d segments, input %x", ok, total, before)
		}
	})
}
