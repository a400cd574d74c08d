// SPDX-License-Identifier: Apache-2.0

package neigh

import (
	"net/netip"
	"testing"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// fills returns the first byte of each IP packet sent.
func fills(sent []frame) []byte {
	var f []byte
	for _, s := range sent {
		f = append(f, s.payload[0])
	}
	return f
}

func TestHeldPacketsLeaveInOrder(t *testing.T) {
	b := newBench(t)
	for i := range byte(10) {
		b.hold(peer4, i, 100+int(i))
		b.hold(peer6, 100+i, 200)
	}
	b.take()
	b.arp(arpReplyToUs, stat.Accepted)
	s := b.take()
	if got := string(fills(s)); got != "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09" {
		t.Errorf("order %x", got)
	}
	for i, f := range s {
		if f.dst != peerMAC || f.etherType != wire.EtherTypeIPv4 || len(f.payload) != 100+i {
			t.Errorf("packet %d: to %s, type %04x, %d bytes", i, f.dst, f.etherType, len(f.payload))
		}
	}
	b.nd(naToUs, stat.Accepted)
	if s = b.take(); len(s) != 10 || s[9].etherType != wire.EtherTypeIPv6 || s[9].payload[0] != 109 {
		t.Errorf("IPv6: %v", fills(s))
	}
	if b.held != 0 {
		t.Errorf("%d bytes accounted in empty queues", b.held)
	}
}

// TestQueueBounds: the oldest packets make room, by number and by bytes.
func TestQueueBounds(t *testing.T) {
	for _, c := range []struct {
		name    string
		sizes   []int
		kept    int
		dropped uint64
	}{
		{"64 fit", rep(64, 60), 64, 0},
		{"65 do not", rep(65, 60), 64, 1},
		{"128 KiB fit", rep(32, 4096), 32, 0},
		{"a byte more does not", append(rep(31, 4096), 4097), 31, 1},
		{"the largest packet", []int{65535}, 1, 0},
		{"two of the largest drop all others", append(rep(32, 2048), 65535, 65535), 2, 32},
		{"two bytes fit beside them", []int{2, 65535, 65535}, 3, 0},
		{"three do not", []int{3, 65535, 65535}, 2, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			for i, n := range c.sizes {
				b.hold(peer4, byte(i), n)
			}
			if n := b.drops(stat.DropNeighQueue); n != c.dropped {
				t.Errorf("counted %d drops, want %d", n, c.dropped)
			}
			b.take()
			b.arp(arpReplyToUs, stat.Accepted)
			got := fills(b.take())
			if len(got) != c.kept || int(got[0]) != len(c.sizes)-c.kept || b.held != 0 {
				t.Errorf("kept %v, want the last %d; %d bytes left", got, c.kept, b.held)
			}
		})
	}
}

func rep(n, size int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = size
	}
	return s
}

// TestTotalHeldBound: many unresolved neighbours together hold no more than
// maxHeldTotal, and the accounting comes back to zero.
func TestTotalHeldBound(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Addrs[0] = netip.MustParsePrefix("10.1.0.1/16") })
	held := uint64(0)
	for i := range 200 {
		a := netip.AddrFrom4([4]byte{10, 1, 1, byte(i)})
		b.hold(a, 1, 65535)
		held++
		if b.held > maxHeldTotal {
			t.Fatalf("%d bytes held", b.held)
		}
	}
	if b.held != maxHeldTotal {
		t.Errorf("%d bytes held, want %d", b.held, maxHeldTotal)
	}
	b.advance(3 * time.Second)
	if n := b.drops(stat.DropNeighQueue) + b.drops(stat.DropNeighFailed); n != held || b.held != 0 {
		t.Errorf("%d of %d packets accounted for, %d bytes held", n, held, b.held)
	}
	if n := b.drops(stat.DropNeighFailed); n != uint64(len(b.given)) || n != maxHeldTotal>>16 {
		t.Errorf("%d failures counted, %d given back", n, len(b.given))
	}
	if n := len(b.pool[2]); n > classes[2].idle {
		t.Errorf("%d large buffers kept", n)
	}
}

// TestHoldWithoutPending: room is given even when nothing waits any more, and
// the packet counts as dropped.
func TestHoldWithoutPending(t *testing.T) {
	b := newBench(t)
	if n := len(b.Hold(77)); n != 77 {
		t.Fatalf("%d bytes", n)
	}
	b.hold(peer4, 1, 40)
	b.arp(arpReplyToUs, stat.Accepted)
	b.take()
	if n := len(b.Hold(1500)); n != 1500 {
		t.Fatalf("%d bytes", n)
	}
	b.wantSent()
	if n := b.drops(stat.DropNeighQueue); n != 2 {
		t.Errorf("counted %d, want 2", n)
	}
}

// TestUndeliverableMayLookup: a stack that sends while it is told of a failure
// neither loops nor disturbs what is being given back.
func TestUndeliverableMayLookup(t *testing.T) {
	b := newBench(t)
	for i := range byte(8) {
		b.hold(peer4, i, 60)
	}
	b.onUndeliverable = func() {
		b.lookup(peer4, Unreachable)
		b.hold(ip("10.1.0.77"), 0xee, 60)
	}
	b.advance(3 * time.Second)
	if len(b.given) != 8 {
		t.Fatalf("%d given back, want 8", len(b.given))
	}
	for i, p := range b.given {
		if p[0] != byte(i) || p[59] != byte(i) {
			t.Errorf("packet %d overwritten: %x", i, p)
		}
	}
	if n := len(b.entries[ip("10.1.0.77")].held); n != 8 {
		t.Errorf("%d held for the other, want 8", n)
	}
}

// TestBuffersAreRecycled: resolving again and again makes no new buffers.
func TestBuffersAreRecycled(t *testing.T) {
	b := newBench(t)
	var seen []*byte
	for i := range 20 {
		b.hold(peer4, 1, 1400)
		p := &b.entries[peer4].held[0][0]
		if i > 0 && p != seen[0] {
			t.Fatal("a new buffer for each packet")
		}
		seen = append(seen, p)
		b.arp(arpReplyToUs, stat.Accepted)
		b.advance(10 * time.Minute)
		b.take()
	}
}
