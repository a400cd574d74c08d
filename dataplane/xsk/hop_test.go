// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"netcon/dataplane/nexthop"
	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

func written(local, vtep string) *hop {
	h := new(hop)
	h.write(addr(local), addr(vtep), testPort, nexthop.Hop{Dst: wire.MAC{2, 0, 0, 0, 0, 2}, Src: wire.MAC{2, 0, 0, 0, 0, 1}, MTU: 1500})
	return h
}

// What one end writes, the other end takes: with every checksum verified.
func TestEncapsulate(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, a := range [][2]string{{"10.9.0.1", "10.9.0.2"}, {"fd09::1", "fd09::2"}, {"fe80::1", "fe80::2"}} {
		h := written(a[0], a[1])
		o := outerParser{local: addr(a[1]), port: testPort}
		payloads := [][]byte{{1}, make([]byte, 100), make([]byte, 101), innerFrame(62), innerFrame(1472), innerFrame(9000), make([]byte, 65000)}
		for range 1000 {
			p := make([]byte, 1+r.IntN(200))
			for i := range p {
				p[i] = byte(r.Uint32())
			}
			payloads = append(payloads, p)
		}
		for i, p := range payloads {
			b := append(make([]byte, h.n), p...)
			flow := r.Uint32()
			h.encapsulate(b, flow)
			src, got, reason := o.parse(b, maxPacket)
			if reason != stat.Accepted || src != addr(a[0]) || !bytes.Equal(got, p) {
				t.Fatalf("%s, payload %d of %d bytes: %v", a[0], i, len(p), reason)
			}
			udp := wire.UDP(b[h.n-wire.UDPLen:])
			if udp.Checksum() == 0 || udp.SrcPort() != sourcePort(flow) || udp.SrcPort() < 49152 {
				t.Fatalf("%s: checksum %#x, source port %d", a[0], udp.Checksum(), udp.SrcPort())
			}
			if e := wire.Ethernet(b); e.Dst() != h.to.Dst && e.Dst() != (wire.MAC{2, 0, 0, 0, 0, 2}) {
				t.Fatalf("%s: to %s", a[0], e.Dst())
			}
			if h.n == headers4 {
				if ip := wire.IPv4(b[wire.EthernetLen:]); !ip.DontFragment() || ip.TTL() != 64 {
					t.Fatalf("IPv4 header % x", ip[:20])
				}
			} else if ip := wire.IPv6(b[wire.EthernetLen:]); ip.HopLimit() != 64 {
				t.Fatalf("IPv6 header % x", ip[:40])
			}
		}
	}
}

// A sum of zero is written as its other form: zero says that there is none.
func TestEncapsulateNeverWithoutChecksum(t *testing.T) {
	h := written("10.9.0.1", "10.9.0.2")
	zeros := 0
	for v := range 1 << 16 {
		b := append(make([]byte, h.n), byte(v>>8), byte(v))
		h.encapsulate(b, 7)
		if f := wire.UDP(b[h.n-8:]).Checksum(); f == 0 {
			t.Fatalf("payload %#x: no checksum", v)
		} else if f == 0xffff {
			zeros++
		}
	}
	if zeros == 0 {
		t.Error("the case did not occur")
	}
}

// A payload whose inner checksum is wrong, or that changes on the way, does not
// pass the far side's check of the outer checksum.
func TestCorruptionDoesNotPass(t *testing.T) {
	for _, a := range [][2]string{{"10.9.0.1", "10.9.0.2"}, {"fd09::1", "fd09::2"}} {
		h := written(a[0], a[1])
		o := outerParser{local: addr(a[1]), port: testPort}
		whole := append(make([]byte, h.n), innerFrame(200)...)
		h.encapsulate(whole, 1)
		data := h.n + wire.EncapLen + wire.IPv4Len + wire.TCPLen
		for at := data; at < len(whole); at++ {
			for bit := range 8 {
				before := edit(whole, at, whole[at]^1<<bit)
				if passes(&o, before) {
					t.Fatalf("byte %d bit %d: corrupted on the way, and nobody sees it", at, bit)
				}
				h.encapsulate(before, 1)
				if passes(&o, before) {
					t.Fatalf("byte %d bit %d: corrupted before it was sent, and nobody sees it", at, bit)
				}
			}
		}
	}
}

// passes reports whether a frame passes both the outer checksum and, as the stack
// verifies it, the inner one.
func passes(o *outerParser, frame []byte) bool {
	_, payload, r := o.parse(frame, 1500)
	if r != stat.Accepted {
		return false
	}
	p, ok := wire.ParseIPv4(payload[wire.EncapLen:])
	if !ok || !p.ChecksumOK() {
		return false
	}
	s := p.Payload()
	return wire.PseudoHeader(p.Src(), p.Dst(), p.Protocol(), len(s)).Add(s).Fold() == 0xffff
}

func TestSourcePortSpreads(t *testing.T) {
	seen := map[uint16]int{}
	for flow := range uint32(1 << 16) {
		seen[sourcePort(flow)]++
	}
	if len(seen) != 1<<14 {
		t.Errorf("%d source ports of 65,536 flows, want 16,384", len(seen))
	}
}

// countingHops counts lookups.
type countingHops struct {
	fixedHops
	lookups int
}

func (c *countingHops) Lookup(a netip.Addr) (nexthop.Hop, nexthop.State) {
	c.lookups++
	return c.fixedHops.Lookup(a)
}

// A VTEP is looked up once per turn, and a change is seen on the next.
func TestLookupPerTurn(t *testing.T) {
	table := &countingHops{fixedHops: fixedHops{to: nexthop.Hop{MTU: 1500, Dst: wire.MAC{2, 2}}, state: nexthop.Resolved, mtu: 1500}}
	l := &Link{table: table, dev: &Device{limit: 1500, shape: shapeFor(1500)}, outer: outerParser{local: addr("10.9.0.1"), port: testPort}}
	for turn := range 3 {
		l.newTurn()
		for range 100 {
			if h := l.lookup(addr("10.9.0.2")); h.state != nexthop.Resolved {
				t.Fatal(h.state)
			}
		}
		if table.lookups != turn+1 {
			t.Fatalf("turn %d: %d lookups", turn, table.lookups)
		}
	}
	table.to.Dst = wire.MAC{2, 3}
	l.newTurn()
	if h := l.lookup(addr("10.9.0.2")); wire.Ethernet(h.head[:]).Dst() != table.to.Dst {
		t.Errorf("header to %s, want %s", wire.Ethernet(h.head[:]).Dst(), table.to.Dst)
	}
	// More VTEPs than are remembered: each gets its own headers.
	l.newTurn()
	for i := range 1000 {
		a := addr(fmt.Sprintf("10.10.%d.%d", i/250, i%250+1))
		h := l.lookup(a)
		if ip := wire.IPv4(h.head[wire.EthernetLen:]); ip.Dst() != a {
			t.Fatalf("header to %s, want %s", ip.Dst(), a)
		}
	}
	table.state = nexthop.Unreachable
	l.newTurn()
	if h := l.lookup(addr("10.9.0.2")); h.state != nexthop.Unreachable {
		t.Error(h.state)
	}
}

func TestShapes(t *testing.T) {
	for mtu, want := range map[int]shape{
		68: {2048, false, 1778}, 1500: {2048, false, 1778}, 1778: {2048, false, 1778}, 1779: {4096, false, 3826},
		3000: {4096, false, 3826}, 3001: {4096, true, 65535}, 9000: {4096, true, 65535}, 65535: {4096, true, 65535},
	} {
		s := shapeFor(mtu)
		if s != want {
			t.Errorf("MTU %d: %+v, want %+v", mtu, s, want)
		}
		if n := payloadOffset + mtu; !s.multi && (n > s.frameSize || mtu > s.mtu) {
			t.Errorf("MTU %d does not fit frames of %d", mtu, s.frameSize)
		}
	}
}
