// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"net/netip"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
)

// sink is an Output into one buffer.
type sink struct {
	path stream.Path
	buf  [65536]byte
	n    int
	each func(p []byte)
}

func (o *sink) Open(netip.Addr, uint32) stream.Path { return o.path }
func (o *sink) Frame(n int) []byte                  { o.n = n; return o.buf[:n] }
func (o *sink) Commit() {
	if o.each != nil {
		o.each(o.buf[:o.n])
	}
}

// superPacket is what gVisor hands out for payload bytes at once.
func superPacket(v6 bool, flags uint8, mss uint16, payload []byte) *stack.PacketBuffer {
	src, dst := self4, peer4
	typ := stack.GSOTCPv4
	if v6 {
		src, dst, typ = self6, peer6, stack.GSOTCPv6
	}
	opts := []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}
	p := segmentOf(src, dst, 1000, 2000, flags, opts, payload)
	pk := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(p)})
	pk.GSOOptions = stack.GSO{Type: typ, MSS: mss, NeedsCsum: true}
	return pk
}

func TestSegment(t *testing.T) {
	l := newLAN(t, 1, nil)
	s := l.hosts[0].s
	payload := make([]byte, 5000)
	for i := range payload {
		payload[i] = byte(i * 7)
	}
	const all = wire.TCPAck | wire.TCPPsh | wire.TCPFin | wire.TCPCwr
	for _, v6 := range []bool{false, true} {
		for _, x := range []struct {
			mss  uint16
			path stream.Path
			want []int // payloads; nil: dropped
		}{
			{1378, stream.Path{Max: 1450, Checksums: true}, []int{1378, 1378, 1378, 866}},
			{1398, stream.Path{Max: 65535, Checksums: true}, []int{1398, 1398, 1398, 806}},
			{1398, stream.Path{Max: 65535}, []int{5000}},
			{5000, stream.Path{Max: 65535, Checksums: true}, []int{5000}},
			{2500, stream.Path{Max: 4000}, []int{2500, 2500}},
			{65535, stream.Path{Max: 65535, Checksums: true}, []int{5000}},
			{4999, stream.Path{Max: 2572, Checksums: true}, nil}, // see below
			{1, stream.Path{Max: 65535, Checksums: true}, nil},
			{64, stream.Path{Max: 100, Checksums: true}, nil},
		} {
			hdr := 20 + 32
			if v6 {
				hdr = 40 + 32
			}
			switch {
			case x.mss == 4999: // the path is smaller than the MSS
				x.want = []int{2572 - hdr, 5000 - (2572 - hdr)}
			case x.mss == 1: // never below the floor
				for n := 5000; n > 0; n -= minSegment {
					x.want = append(x.want, min(n, minSegment))
				}
			}
			var got []byte
			var sizes []int
			o := &sink{path: x.path}
			o.each = func(p []byte) {
				n := len(sizes)
				last := len(sizes) == len(x.want)-1
				var tcp []byte
				var sum wire.Sum
				if v6 {
					ip, ok := wire.ParseIPv6(p)
					if !ok || len(ip) != len(p) {
						t.Fatalf("length of % x", p[:40])
					}
					tcp, sum = ip.Payload(), wire.PseudoHeader(ip.Src(), ip.Dst(), 6, len(p)-40)
				} else {
					ip, ok := wire.ParseIPv4(p)
					if !ok || len(ip) != len(p) || !ip.ChecksumOK() {
						t.Fatalf("header % x", p[:20])
					}
					tcp, sum = ip.Payload(), wire.PseudoHeader(ip.Src(), ip.Dst(), 6, len(p)-20)
				}
				seg, ok := wire.ParseTCP(tcp)
				if !ok || seg.HeaderLen() != 32 || seg.Seq() != 1000+uint32(len(got)) || seg.Ack() != 2000 {
					t.Fatalf("segment %d: % x", n, tcp[:32])
				}
				if x.path.Checksums && sum.Add(tcp).Fold() != 0xffff {
					t.Errorf("checksum of segment %d of %+v", n, x)
				}
				want := uint8(wire.TCPAck)
				if n == 0 {
					want |= wire.TCPCwr
				}
				if last {
					want |= wire.TCPPsh | wire.TCPFin
				}
				if seg.Flags() != want {
					t.Errorf("flags %#x of segment %d, want %#x", seg.Flags(), n, want)
				}
				got = append(got, seg.Payload()...)
				sizes = append(sizes, len(seg.Payload()))
			}
			pk := superPacket(v6, all, x.mss, payload)
			n := s.transmit(pk, o)
			pk.DecRef()
			if n != len(x.want) || len(sizes) != n {
				t.Errorf("v6 %v, %+v: %d packets of %v", v6, x, n, sizes)
				continue
			}
			for i := range sizes {
				if sizes[i] != x.want[i] {
					t.Errorf("v6 %v, %+v: %v", v6, x, sizes)
					break
				}
			}
			if n > 0 && string(got) != string(payload) {
				t.Error("payload differs")
			}
		}
	}
	if n := drops(l.hosts[0])["too_big"]; n != 2 {
		t.Errorf("%d too big", n)
	}
}

func TestSegmentAllocs(t *testing.T) {
	s := newLAN(t, 1, nil).hosts[0].s
	pk := superPacket(false, wire.TCPAck, 1398, make([]byte, 60000))
	defer pk.DecRef()
	o := &sink{path: stream.Path{Max: 1450, Checksums: true}}
	if n := testing.AllocsPerRun(100, func() { s.transmit(pk, o) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSegment(b *testing.B) {
	s := newLAN(b, 1, nil).hosts[0].s
	payload := make([]byte, 60000)
	pk := superPacket(false, wire.TCPAck, 1398, payload)
	defer pk.DecRef()
	o := &sink{path: stream.Path{Max: 1450, Checksums: true}}
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		s.transmit(pk, o)
	}
}

// What is dropped costs no allocation.
func TestDeliverDropAllocs(t *testing.T) {
	s := newLAN(t, 1, nil).hosts[0].s
	for _, p := range [][]byte{
		segmentOf(peer4, netip.AddrPortFrom(addr4(3), 80), 1, 0, wire.TCPSyn, nil, nil),
		icmp4(addr4(2), addr4(1), 3, 4, 0, segmentOf(self4, peer4, 1, 1, wire.TCPAck, nil, nil)),
		icmp6(addr6(2), addr6(1), 2, 0, 0, segmentOf(self6, peer6, 1, 1, wire.TCPAck, nil, nil)),
		fragments4(segmentOf(peer4, self4, 1, 0, wire.TCPSyn, nil, make([]byte, 100)), 1, 80)[0],
	} {
		if n := testing.AllocsPerRun(100, func() { s.Deliver(p, false) }); n != 0 {
			t.Errorf("%v allocations for % x", n, p[:20])
		}
	}
}

func packetsOut(l *lan) (n uint64) {
	for _, h := range l.hosts {
		h.stat.Publish()
		n += h.stat.Get(stat.PacketsOut)
	}
	return n
}

// BenchmarkRequestResponse is 64-byte round trips on 64 connections, both ends
// on one thread plus gVisor's goroutines.
func BenchmarkRequestResponse(b *testing.B) {
	l := newLAN(b, 2, nil)
	x, y := l.hosts[0], l.hosts[1]
	to := netip.AddrPortFrom(addr4(2), 80)
	lis := y.listen(stream.IPv4, to, 128)
	trips := 0
	msg := make([]byte, 64)
	for range 64 {
		c, s := l.join(x, y, lis, stream.IPv4, to, 4096)
		x.s.SetOption(c.h, stream.OptNoDelay, 1)
		y.s.SetOption(s.h, stream.OptNoDelay, 1)
		c.onReadable = func() {
			n := c.p.Rx.Len()
			c.p.Rx.Release(n)
			trips++
			x.put(c, msg)
		}
		s.onReadable = func() {
			n := s.p.Rx.Len()
			s.p.Rx.Release(n)
			y.put(s, msg)
		}
		x.put(c, msg)
	}
	packets := packetsOut(l)
	b.ReportAllocs()
	b.ResetTimer()
	start, first := time.Now(), trips
	l.until("trips", time.Hour, func() bool { return trips-first >= b.N })
	b.StopTimer()
	b.ReportMetric(float64(trips-first)/time.Since(start).Seconds(), "trips/s")
	b.ReportMetric(float64(packetsOut(l)-packets)/float64(trips-first), "packets/trip")
}

func benchmarkBulk(b *testing.B, path stream.Path) {
	l := newLAN(b, 2, nil)
	l.path, l.verified = path, !path.Checksums
	_, _, c, s := l.pairOf(256 << 10)
	x, y := l.hosts[0], l.hosts[1]
	chunk := make([]byte, 64<<10)
	n := 0
	step := func() bool {
		for c.p.Tx.Room() > 0 && x.put(c, chunk) > 0 {
		}
		if m := s.p.Rx.Len(); m > 0 {
			n += m
			s.p.Rx.Release(m)
			y.s.RxRoom(s.h)
		}
		return n >= b.N*len(chunk)
	}
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	packets := packetsOut(l)
	b.ResetTimer()
	l.until("bytes", time.Hour, step)
	b.StopTimer()
	b.ReportMetric(float64(packetsOut(l)-packets)/float64(b.N), "packets/op")
	b.ReportMetric(float64(n)*8/1e9/b.Elapsed().Seconds(), "Gbit/s")
}

func BenchmarkBulkWire(b *testing.B) {
	benchmarkBulk(b, stream.Path{Max: 1450, Checksums: true})
}

func BenchmarkBulkLocal(b *testing.B) {
	benchmarkBulk(b, stream.Path{Max: 65535})
}
