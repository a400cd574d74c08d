// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"bytes"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"netcon/dataplane/fib"
	"netcon/dataplane/frame"
	"netcon/dataplane/nexthop"
	"netcon/dataplane/stat"
	"netcon/dataplane/vxlan"
	"netcon/dataplane/wire"
)

// memoryLink is a link whose queue lies in ordinary memory. Nothing is behind
// it: a test moves the kernel's cursors.
func memoryLink() *Link {
	const size = defaultFrames / 2
	ring := func() words {
		return words{producer: new(atomic.Uint32), consumer: new(atomic.Uint32), flags: new(atomic.Uint32)}
	}
	q := &queue{
		sends: true, fd: -1, sock: new(socket), umem: make([]byte, defaultFrames*smallFrame), shift: 11, frames: frame.New(defaultFrames),
		fill:       producer[uint64]{words: ring(), entries: make([]uint64, size)},
		rx:         consumer[unix.XDPDesc]{words: ring(), entries: make([]unix.XDPDesc, size)},
		tx:         producer[unix.XDPDesc]{words: ring(), entries: make([]unix.XDPDesc, size)},
		completion: consumer[uint64]{words: ring(), entries: make([]uint64, size)},
	}
	for range size {
		f, _ := q.frames.Get(frame.Fill)
		q.fill.set(q.addr(f))
	}
	q.fill.publish()
	l := &Link{
		dev: &Device{limit: 1500, shape: shapeFor(1500)}, stats: new(stat.Block),
		table: &fixedHops{state: nexthop.Resolved, mtu: 1500, to: nexthop.Hop{MTU: 1500}},
		outer: outerParser{local: addr("10.9.0.1"), port: testPort}, overhead: overheadOf(addr("10.9.0.1")),
		scratch: make([]byte, payloadOffset+maxPacket), queues: []*queue{q}, senders: []*queue{q},
		alert: alert{on: true}, // for ever: there is no socket to watch
	}
	l.newTurn()
	return l
}

// arrive puts n frames into the receive ring.
func (q *queue) arrive(n uint32, length int) {
	at, from := q.rx.words.producer.Load(), q.fill.words.consumer.Load()
	for i := range n {
		q.rx.entries[(at+i)%uint32(len(q.rx.entries))] = unix.XDPDesc{
			Addr: q.fill.entries[(from+i)%uint32(len(q.fill.entries))]&^(smallFrame-1) + rxHeadroom, Len: uint32(length),
		}
	}
	q.fill.words.consumer.Add(n)
	q.rx.words.producer.Add(n)
}

// complete takes what was queued to be sent.
func (q *queue) complete() {
	at, from := q.completion.words.producer.Load(), q.tx.words.consumer.Load()
	n := q.tx.words.producer.Load() - from
	for i := range n {
		q.completion.entries[(at+i)%uint32(len(q.completion.entries))] = q.tx.entries[(from+i)%uint32(len(q.tx.entries))].Addr
	}
	q.tx.words.consumer.Add(n)
	q.completion.words.producer.Add(n)
}

// BenchmarkRings receives and sends bursts of 64 through rings that have no
// kernel behind them, raw and with a whole Link: what our side of them costs.
func BenchmarkRings(b *testing.B) {
	for _, size := range referenceSizes {
		in := outerFrame(size, addr("10.9.0.2"), addr("10.9.0.1"), nexthop.Hop{})
		ring := func() (*Link, *queue) {
			l := memoryLink()
			for f := range uint32(defaultFrames) {
				copy(l.queues[0].room(f)[rxHeadroom:], in)
			}
			return l, l.queues[0]
		}
		run := func(name string, step func()) {
			b.Run(fmt.Sprintf("%s/size=%d", name, size), func(b *testing.B) {
				b.ReportAllocs()
				for n := 0; n < b.N; n += referenceBurst {
					step()
				}
			})
		}
		_, q := ring()
		// What playing the kernel costs, to be taken off the others.
		run("kernel", func() {
			q.arrive(referenceBurst, size)
			q.rx.next += referenceBurst
			q.fill.words.producer.Add(referenceBurst)
		})
		_, q = ring()
		raw := &rawSide{q: q, length: uint32(size)}
		run("rxdrop/raw", func() {
			q.arrive(referenceBurst, size)
			raw.rxdrop()
		})
		l, q := ring()
		sink := new(tally)
		run("rxdrop/link", func() {
			q.arrive(referenceBurst, size)
			l.Recv(sink, referenceBurst)
			l.Flush()
		})
		_, q = ring()
		raw = &rawSide{q: q, length: uint32(size)}
		run("txonly/raw", func() {
			raw.txonly()
			q.complete()
		})
		l, q = ring()
		p, peer := benchPayload(size-headers4), addr("10.9.0.2")
		run("txonly/link", func() {
			for range referenceBurst {
				put(l, peer, 1, p)
			}
			l.Flush()
			q.complete()
		})
		l, q = ring()
		back := &echo{l: l}
		run("l2fwd/link", func() {
			q.arrive(referenceBurst, size)
			l.Recv(back, referenceBurst)
			l.Flush()
			q.complete()
		})
	}
}

// BenchmarkEncapsulation takes all headers of a frame off, outer and inner, or
// puts them on: checks, sums, the network, the address and who has it. It
// touches no ring.
func BenchmarkEncapsulation(b *testing.B) {
	src, dst := wire.MAC{2, 0, 0, 0, 0, 2}, wire.MAC{2, 0, 0, 0, 0, 1}
	for _, ends := range [][2]string{{"10.9.0.1", "10.9.0.2"}, {"fd09::1", "fd09::2"}} {
		local, peer := addr(ends[0]), addr(ends[1])
		s, err := fib.New([]fib.Network{{
			VNI: 7, Name: "blue", VTEPs: []netip.Addr{peer},
			Members: []fib.Member{{MAC: dst}},
			Hosts:   []fib.Host{{IP: addr("10.1.0.1"), MAC: src, VTEP: peer}},
		}}, nil)
		if err != nil {
			b.Fatal(err)
		}
		net := s.Network(7)
		o := outerParser{local: local, port: testPort}
		var out hop
		out.write(local, peer, testPort, nexthop.Hop{MTU: 1500})
		for _, size := range referenceSizes {
			in := outerFrame(max(size, out.n+vxlan.Headroom), peer, local, nexthop.Hop{})
			frame := bytes.Clone(in)
			decap := func() {
				from, payload, r := o.parse(in, 1500)
				if r != stat.Accepted {
					b.Fatal(r)
				}
				n, e, r := vxlan.Decap(s, from, payload)
				if r != stat.Accepted || n.Lookup(e.Dst(), 0).Kind != fib.Local {
					b.Fatal(r)
				}
			}
			encap := func() {
				if net.Lookup(src, 0).Kind != fib.Remote {
					b.Fatal("no way")
				}
				vxlan.Put(frame[out.n:], 7, src, dst, wire.EtherTypeIPv4)
				out.encapsulate(frame, 1)
			}
			run := func(name string, f func()) {
				b.Run(fmt.Sprintf("%s/ipv6=%v/size=%d", name, local.Is6(), size), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						f()
					}
				})
			}
			run("decap", decap)
			run("encap", encap)
			run("both", func() { decap(); encap() })
		}
	}
}
