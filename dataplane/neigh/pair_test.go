// SPDX-License-Identifier: Apache-2.0

package neigh

import (
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// cable joins two tables. Frames wait in it, so that a table is never entered
// while it sends; some are lost.
type cable struct {
	t     *testing.T
	rng   *rand.Rand
	loss  float64
	now   time.Duration
	ends  [2]*end
	queue []flying
	log   []byte // everything that was sent
}

type flying struct {
	from int
	frame
}

type end struct {
	c   *cable
	i   int
	ips []netip.Addr
	mac wire.MAC
	*Table
	stat          stat.Block
	got           int // IP packets that arrived
	undeliverable int
}

func (e *end) Send(dst wire.MAC, etherType uint16, payload []byte) {
	e.c.log = append(e.c.log, byte(e.i))
	e.c.log = binary.BigEndian.AppendUint64(e.c.log, uint64(e.c.now))
	e.c.log = append(append(e.c.log, dst[:]...), payload...)
	if e.c.rng.Float64() < e.c.loss {
		return
	}
	e.c.queue = append(e.c.queue, flying{e.i, frame{dst, etherType, append([]byte(nil), payload...)}})
}

func (e *end) Undeliverable([]byte) { e.undeliverable++ }

func newCable(t *testing.T, seed uint64, loss float64) *cable {
	c := &cable{t: t, rng: rand.New(rand.NewPCG(seed, 1)), loss: loss}
	for i := range 2 {
		n := byte(i + 1)
		e := &end{c: c, i: i, mac: wire.MAC{2, 0, 0, 0, 0, n}, ips: []netip.Addr{
			netip.AddrFrom4([4]byte{10, 1, 0, n}), netip.AddrFrom16([16]byte{0: 0xfd, 15: n}),
		}}
		e.Table = New(Config{MAC: e.mac, Sender: e, Stat: &e.stat, Addrs: []netip.Prefix{
			netip.PrefixFrom(e.ips[0], 24), netip.PrefixFrom(e.ips[1], 64),
		}})
		c.ends[i] = e
	}
	return c
}

// deliver hands over everything that is in the cable.
func (c *cable) deliver() {
	for len(c.queue) > 0 {
		f := c.queue[0]
		c.queue = c.queue[1:]
		e, src := c.ends[1-f.from], c.ends[f.from].mac
		if f.dst != e.mac && !f.dst.IsGroup() {
			c.t.Fatalf("frame to %s", f.dst)
		}
		r := stat.Accepted
		switch f.etherType {
		case wire.EtherTypeARP:
			r = e.ARP(src, f.payload, c.now)
		case wire.EtherTypeIPv4:
			e.got++
		default:
			p, ok := wire.ParseIPv6(f.payload)
			if !ok {
				c.t.Fatalf("bad packet %x", f.payload)
			}
			consumed := false
			if consumed, r = e.ND(src, p, c.now); !consumed {
				e.got++
			}
		}
		if r != stat.Accepted {
			c.t.Fatalf("refused for %s: %x", r, f.payload)
		}
	}
}

// run moves the clock to end, and gives up if a table wants attention forever.
func (c *cable) run(until time.Duration) {
	for range 100_000 {
		c.deliver()
		next := min(c.ends[0].Next(), c.ends[1].Next())
		if next > until {
			c.now = until
			return
		}
		c.now = max(c.now, next)
		c.ends[0].Tick(c.now)
		c.ends[1].Tick(c.now)
	}
	c.t.Fatal("no end of deadlines")
}

// packet is an IP packet that is no neighbour discovery.
func packet(src, dst netip.Addr) []byte {
	b := make([]byte, 60)
	if src.Is4() {
		wire.PutIPv4(b, src, dst, wire.ProtoUDP, 64, 40)
	} else {
		wire.PutIPv6(b, src, dst, wire.ProtoUDP, 64, 20)
	}
	return b
}

// traffic sends packets between the ends for a while at random times and
// returns how many were asked to go, and where they went.
func (c *cable) traffic(n int) (sent, unreachable int) {
	for range n {
		c.run(c.now + time.Duration(c.rng.IntN(4_000))*time.Millisecond)
		i, family := c.rng.IntN(2), c.rng.IntN(2)
		e, dst := c.ends[i], c.ends[1-i].ips[family]
		p := packet(e.ips[family], dst)
		mac, v := e.Lookup(dst, c.now)
		switch v {
		case Found:
			sent++
			e.Send(mac, map[bool]uint16{true: wire.EtherTypeIPv4, false: wire.EtherTypeIPv6}[dst.Is4()], p)
		case Pending:
			sent++
			copy(e.Hold(len(p)), p)
		case Unreachable:
			unreachable++
		default:
			c.t.Fatalf("verdict %d", v)
		}
	}
	c.run(c.now + time.Minute)
	return sent, unreachable
}

// TestPairWithoutLoss: two tables resolve each other and lose nothing.
func TestPairWithoutLoss(t *testing.T) {
	c := newCable(t, 1, 0)
	c.ends[0].Announce(0)
	c.ends[1].Announce(0)
	sent, unreachable := c.traffic(2000)
	if got := c.ends[0].got + c.ends[1].got; got != sent || unreachable != 0 {
		t.Errorf("%d of %d arrived, %d unreachable", got, sent, unreachable)
	}
}

// TestPairWithLoss: with a third of all frames lost, the tables go on resolving
// each other, every packet is accounted for, and the same seed gives the same
// frames at the same times.
func TestPairWithLoss(t *testing.T) {
	run := func(seed uint64) (uint64, *cable) {
		c := newCable(t, seed, 0.33)
		c.ends[0].Announce(0)
		c.ends[1].Announce(0)
		sent, unreachable := c.traffic(3000)
		back := 0
		for _, e := range c.ends {
			back += e.undeliverable
			e.stat.Publish()
			if n := e.stat.Drops(stat.DropNeighQueue); n != 0 {
				t.Errorf("%d dropped from queues", n)
			}
		}
		got := c.ends[0].got + c.ends[1].got
		// A third of what was not given back is lost in the cable.
		if low := (sent - back) * 6 / 10; got < low || got+back > sent {
			t.Errorf("seed %d: %d sent, %d arrived, %d given back, %d unreachable", seed, sent, got, back, unreachable)
		}
		if sent < 2500 {
			t.Errorf("seed %d: only %d sent, %d unreachable", seed, sent, unreachable)
		}
		h := fnv.New64a()
		h.Write(c.log)
		return h.Sum64(), c
	}
	for seed := range uint64(5) {
		a, _ := run(seed)
		if b, _ := run(seed); a != b {
			t.Errorf("seed %d is not deterministic", seed)
		}
	}

	// Once the loss ends, everything arrives.
	_, c := run(99)
	c.loss = 0
	before := c.ends[0].got + c.ends[1].got
	if sent, _ := c.traffic(200); c.ends[0].got+c.ends[1].got != before+sent {
		t.Errorf("%d of %d arrived after the loss", c.ends[0].got+c.ends[1].got-before, sent)
	}
}

// TestPairSilent: with everything lost nothing is ever delivered, everything is
// given back or refused, and the tables end empty and asleep.
func TestPairSilent(t *testing.T) {
	c := newCable(t, 7, 1)
	sent, unreachable := c.traffic(500)
	back := c.ends[0].undeliverable + c.ends[1].undeliverable
	if back != sent || sent+unreachable != 500 {
		t.Errorf("%d sent, %d given back, %d unreachable", sent, back, unreachable)
	}
	for _, e := range c.ends {
		if len(e.Entries()) != 0 || e.Next() != Never {
			t.Errorf("%v left, Next %v", e.Entries(), e.Next())
		}
	}
}
