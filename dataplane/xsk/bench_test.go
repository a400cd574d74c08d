// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"netcon/bpf"
	"netcon/dataplane/frame"
	"netcon/dataplane/nexthop"
	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
	"netcon/internal/testenv"
)

// unchecked makes ledgers that trust their callers, as the product does.
func unchecked(t testing.TB) {
	saved := newLedger
	newLedger = frame.New
	t.Cleanup(func() { newLedger = saved })
}

// tally counts what it is given.
type tally struct{ frames, bytes int }

func (c *tally) Frame(_ netip.Addr, payload []byte) {
	c.frames++
	c.bytes += len(payload)
}

// echo sends back what it is given.
type echo struct {
	l     *Link
	count int
}

func (e *echo) Frame(src netip.Addr, payload []byte) {
	copy(e.l.Reserve(src, 1, len(payload)), payload)
	e.l.Commit()
	e.count++
}

// innerFrame returns a VXLAN payload with a whole TCP segment, n bytes long.
func innerFrame(n int) []byte {
	b := make([]byte, n)
	wire.PutVXLAN(b, 7)
	wire.PutEthernet(b[wire.VXLANLen:], wire.MAC{2, 0, 0, 0, 0, 1}, wire.MAC{2, 0, 0, 0, 0, 2}, wire.EtherTypeIPv4)
	src, dst := addr("10.1.0.1"), addr("10.1.0.2")
	l4 := n - wire.EncapLen - wire.IPv4Len
	wire.PutIPv4(b[wire.EncapLen:], src, dst, wire.ProtoTCP, 64, l4)
	tcp := wire.TCP(b[wire.EncapLen+wire.IPv4Len:])
	tcp[12] = 5 << 4
	tcp.SetChecksum(wire.PseudoHeader(src, dst, wire.ProtoTCP, l4).Add(tcp).Checksum())
	return b
}

// benchSizes are UDP payloads: the smallest that holds a TCP segment, and what
// fills an MTU of 1,500.
var benchSizes = []int{wire.EncapLen + wire.IPv4Len + wire.TCPLen, 1500 - wire.IPv4Len - wire.UDPLen}

// BenchmarkVeth carries bursts of 128 frames from one link to another over a
// veth pair, on one thread. An operation is one frame. Sending includes the
// kernel's way through the veth and the XDP program of the receiver, down to its
// receive ring.
func BenchmarkVeth(b *testing.B) {
	for _, mode := range modes {
		for _, size := range benchSizes {
			b.Run(fmt.Sprintf("%v/size=%d", mode, size), func(b *testing.B) { benchmarkVeth(b, mode, size) })
		}
	}
}

func benchmarkVeth(b *testing.B, mode bpf.Mode, size int) {
	const burst = 128
	unchecked(b)
	ha, hb := cable(b, 1500, 1)
	tx := ha.open(b, Config{Mode: mode}).Links()[0]
	rx := hb.open(b, Config{Mode: mode}).Links()[0]
	resolved(b, tx, hb.a4)
	p, sink := innerFrame(size), new(tally)
	var sending, receiving time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; done += burst {
		start := time.Now()
		n := min(burst, b.N-done)
		for range n {
			put(tx, hb.a4, 1, p)
		}
		for tx.Flush() {
		}
		mid := time.Now()
		sending += mid.Sub(start)
		for got := 0; got < n; {
			k := rx.Recv(sink, n-got)
			rx.Flush()
			if got += k; k == 0 && !readable(rx.FD(), time.Second) {
				b.Fatalf("received %d of %d: %v", got, n, allDrops(rx))
			}
		}
		receiving += time.Since(mid)
	}
	b.ReportMetric(float64(sink.frames)/sending.Seconds()/1e6, "tx-Mpps")
	b.ReportMetric(float64(sink.frames)/receiving.Seconds()/1e6, "rx-Mpps")
	b.ReportMetric(float64(sink.frames)/b.Elapsed().Seconds()/1e6, "Mpps")
}

// BenchmarkForward receives bursts and sends every frame back; what is reported
// is the time of the link that does so.
func BenchmarkForward(b *testing.B) {
	const burst = 128
	for _, size := range benchSizes {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			unchecked(b)
			ha, hb := cable(b, 1500, 1)
			tx := ha.open(b, Config{Mode: bpf.Native}).Links()[0]
			rx := hb.open(b, Config{Mode: bpf.Native}).Links()[0]
			resolved(b, tx, hb.a4)
			resolved(b, rx, ha.a4)
			p, sink, back := innerFrame(size), new(tally), &echo{l: rx}
			var forwarding time.Duration
			b.ResetTimer()
			for done := 0; done < b.N; done += burst {
				n := min(burst, b.N-done)
				for range n {
					put(tx, hb.a4, 1, p)
				}
				for tx.Flush() {
				}
				start := time.Now()
				for got := 0; got < n; {
					got += rx.Recv(back, n-got)
					for rx.Flush() {
					}
				}
				forwarding += time.Since(start)
				for got := 0; got < n; {
					k := tx.Recv(sink, n-got)
					if got += k; k == 0 && !readable(tx.FD(), time.Second) {
						b.Fatalf("got %d of %d back", got, n)
					}
				}
			}
			b.ReportMetric(float64(back.count)/forwarding.Seconds()/1e6, "forward-Mpps")
		})
	}
}

// fixedHops is a table that knows every VTEP.
type fixedHops struct {
	to    nexthop.Hop
	state nexthop.State
	gen   uint64
	down  bool
	mtu   int
}

func (f *fixedHops) Lookup(netip.Addr) (nexthop.Hop, nexthop.State) { return f.to, f.state }
func (f *fixedHops) Generation() uint64                             { return f.gen }
func (f *fixedHops) Up() bool                                       { return !f.down }
func (f *fixedHops) MTU() int                                       { return f.mtu }

// BenchmarkHeaders writes and takes apart outer headers, without I/O.
func BenchmarkHeaders(b *testing.B) {
	for _, local := range []string{"10.9.0.1", "fd09::1"} {
		for _, size := range benchSizes {
			var h hop
			h.write(addr(local), addr(local), testPort, nexthop.Hop{MTU: 1500})
			frame := append(make([]byte, h.n), innerFrame(size)...)
			o := outerParser{local: addr(local), port: testPort}
			name := fmt.Sprintf("ipv6=%v/size=%d", h.n == headers6, size)
			b.Run("encap/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					h.encapsulate(frame, 1)
				}
			})
			b.Run("decap/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, _, r := o.parse(frame, 9000); r != stat.Accepted {
						b.Fatal(r)
					}
				}
			})
		}
	}
}

// BenchmarkSend sends bursts to a peer that drops them at once: they are for
// another MAC address.
func BenchmarkSend(b *testing.B) {
	for _, size := range benchSizes {
		for _, burst := range []int{1, 32, 256} {
			b.Run(fmt.Sprintf("size=%d/burst=%d", size, burst), func(b *testing.B) {
				unchecked(b)
				ha, hb := cable(b, 1500, 1)
				testenv.Run(b, ha.ns, "ip", "neigh", "replace", hb.a4.String(), "lladdr", "02:00:00:00:00:99", "dev", ha.dev, "nud", "permanent")
				tx := ha.open(b, Config{Mode: bpf.Native}).Links()[0]
				resolved(b, tx, hb.a4)
				p := innerFrame(size)
				b.ReportAllocs()
				b.ResetTimer()
				for done := 0; done < b.N; done += burst {
					for range min(burst, b.N-done) {
						put(tx, hb.a4, 1, p)
					}
					for tx.Flush() {
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mpps")
			})
		}
	}
}
