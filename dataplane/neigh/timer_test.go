// SPDX-License-Identifier: Apache-2.0

package neigh

import (
	"bytes"
	"testing"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// TestResolutionFails: three requests a second apart, then the held packets
// come back and the neighbour is Unreachable for three seconds.
func TestResolutionFails(t *testing.T) {
	for _, c := range []struct {
		name    string
		bring   func(*bench)
		request frame
	}{
		{"ARP", func(b *bench) { b.hold(peer4, 9, 99) }, frame{wire.Broadcast, wire.EtherTypeARP, arpRequestToPeer}},
		{"ND", func(b *bench) { b.hold(peer6, 9, 99) }, frame{peerNodeMAC, wire.EtherTypeIPv6, nsToPeer}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			c.bring(b)
			b.wantSent(c.request)
			for range 2 {
				b.advance(retransTimer - 1)
				b.wantSent()
				b.advance(1)
				b.wantSent(c.request)
			}
			b.advance(retransTimer - 1)
			if len(b.given) != 0 {
				t.Fatal("given back early")
			}
			b.advance(1)
			if len(b.given) != 1 || !bytes.Equal(b.given[0], bytes.Repeat([]byte{9}, 99)) {
				t.Fatalf("given back %x", b.given)
			}
			if n := b.drops(stat.DropNeighFailed); n != 1 {
				t.Errorf("counted %d failures, want 1", n)
			}
			b.wantSent()
			if got := b.Entries()[0].State; got != "FAILED" {
				t.Errorf("state %s, want FAILED", got)
			}
			b.advance(failedTime - 1)
			if len(b.Entries()) != 1 {
				t.Error("forgotten early")
			}
			b.advance(1)
			if len(b.Entries()) != 0 {
				t.Error("not forgotten")
			}
			if b.Next() != Never {
				t.Errorf("Next = %v on an empty table", b.Next())
			}
		})
	}
}

// TestFailedIsRetriedOncePerSecond: lookups of a FAILED neighbour fail at once,
// but for one attempt of one request a second after the failure.
func TestFailedIsRetriedOncePerSecond(t *testing.T) {
	b := newBench(t)
	b.bring4("FAILED")
	for range 100 {
		b.lookup(peer4, Unreachable)
	}
	if n := b.drops(stat.DropNeighFailed); n != 100 {
		t.Errorf("counted %d, want 100", n)
	}
	b.advance(retryInterval - 1)
	b.lookup(peer4, Unreachable)
	b.wantSent()
	b.advance(1)
	for range 10 {
		b.hold(peer4, 1, 40)
	}
	b.wantSent(frame{wire.Broadcast, wire.EtherTypeARP, arpRequestToPeer})
	b.advance(retransTimer)
	b.wantSent()
	if len(b.given) != 10 {
		t.Fatalf("%d packets given back, want 10", len(b.given))
	}
	b.lookup(peer4, Unreachable)

	b.advance(retryInterval)
	b.hold(peer4, 1, 40)
	b.take()
	b.arp(arpReplyToUs, stat.Accepted)
	if s := b.take(); len(s) != 1 || s[0].dst != peerMAC {
		t.Fatalf("sent %v, want the held packet", s)
	}
	b.lookup(peer4, Found)
}

// TestAging is the life of a neighbour that is used and does not answer, and of
// one that is not used (RFC 4861 appendix C).
func TestAging(t *testing.T) {
	for _, c := range []struct {
		name  string
		bring func(*bench)
		use   func(*bench)
		probe frame
	}{
		{
			"ARP", func(b *bench) { b.bring4("REACHABLE"); b.advance(reachableTime - 2*lockTime - 1) },
			func(b *bench) { b.lookup(peer4, Found) },
			frame{peerMAC, wire.EtherTypeARP, arpRequestToPeer},
		},
		{
			"ND", func(b *bench) { b.bring6("REACHABLE"); b.advance(reachableTime - 1) },
			func(b *bench) { b.lookup(peer6, Found) },
			frame{peerMAC, wire.EtherTypeIPv6, nsUnicast},
		},
	} {
		state := func(b *bench) string {
			if es := b.Entries(); len(es) == 1 {
				return es[0].State
			}
			return "-"
		}
		t.Run(c.name+" used", func(t *testing.T) {
			b := newBench(t)
			c.bring(b)
			step := func(d time.Duration, want string, sent ...frame) {
				t.Helper()
				b.advance(d)
				c.use(b)
				if got := state(b); got != want {
					t.Fatalf("%s, want %s", got, want)
				}
				b.wantSent(sent...)
			}
			step(0, "REACHABLE")
			b.advance(1)
			if got := state(b); got != "STALE" {
				t.Fatalf("%s, want STALE", got)
			}
			step(200*time.Second, "DELAY")
			step(delayTime-1, "DELAY")
			step(1, "PROBE", c.probe)
			step(retransTimer, "PROBE", c.probe)
			step(retransTimer, "PROBE", c.probe)
			step(retransTimer-1, "PROBE")
			b.advance(1)
			if got := state(b); got != "-" {
				t.Fatalf("%s, want no entry", got)
			}
			b.wantSent()
		})
		t.Run(c.name+" unused", func(t *testing.T) {
			b := newBench(t)
			c.bring(b)
			b.advance(1 + staleTime - 1)
			if got := state(b); got != "STALE" {
				t.Fatalf("%s, want STALE", got)
			}
			b.advance(1)
			if got := state(b); got != "-" {
				t.Fatalf("%s, want no entry", got)
			}
			b.wantSent()
		})
	}
}

// TestLateTick: a worker that comes late neither skips requests nor sends a
// burst of them.
func TestLateTick(t *testing.T) {
	b := newBench(t)
	b.lookup(peer4, Pending)
	for range 2 {
		b.take()
		b.now += time.Hour
		b.Tick(b.now)
		b.wantSent(frame{wire.Broadcast, wire.EtherTypeARP, arpRequestToPeer})
	}
	b.now += time.Hour
	b.Tick(b.now)
	b.wantState(peer4, "FAILED", wire.MAC{})
}

func TestAnnounce(t *testing.T) {
	b := newBench(t)
	if b.Next() != Never {
		t.Fatalf("Next = %v before anything happened", b.Next())
	}
	want := []frame{
		{wire.Broadcast, wire.EtherTypeARP, arpAnnouncement},
		{allNodesMAC, wire.EtherTypeIPv6, naToAll},
	}
	b.Announce(b.now)
	b.wantSent(want...)
	if b.Next() != b.now+announceWait {
		t.Errorf("Next = %v, want in %v", b.Next()-b.now, announceWait)
	}
	b.advance(announceWait - 1)
	b.wantSent()
	b.advance(1)
	b.wantSent(want...)
	b.advance(time.Hour)
	b.wantSent()
	if n := b.count(stat.ARPTx) + b.count(stat.NDTx); n != 4 {
		t.Errorf("counted %d, want 4", n)
	}
}

func TestEntries(t *testing.T) {
	b := newBench(t)
	b.bring6("REACHABLE")
	b.bring4("DELAY")
	b.hold(ip("10.1.0.99"), 1, 10)
	b.advance(500 * time.Millisecond)
	want := []Entry{
		{IP: peer4, MAC: peerMAC, State: "DELAY", Age: 500 * time.Millisecond},
		{IP: ip("10.1.0.99"), State: "INCOMPLETE", Age: 500 * time.Millisecond, Held: 1},
		{IP: peer6, MAC: peerMAC, State: "REACHABLE", Age: 500*time.Millisecond + 2*lockTime},
	}
	got := b.Entries()
	if len(got) != len(want) {
		t.Fatalf("%d entries, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("entry %d: %+v, want %+v", i, got[i], want[i])
		}
	}
}
