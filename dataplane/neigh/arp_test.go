// SPDX-License-Identifier: Apache-2.0

package neigh

import (
	"net/netip"
	"testing"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

func TestARPRequestIsAnsweredAndLearned(t *testing.T) {
	b := newBench(t)
	// Ethernet pads to 46 bytes.
	b.arp(append(arpRequestToUs[:28:28], make([]byte, 18)...), stat.Accepted)
	b.wantSent(frame{peerMAC, wire.EtherTypeARP, arpReplyToPeer})
	b.wantState(peer4, "STALE", peerMAC)
	if b.count(stat.ARPRx) != 1 || b.count(stat.ARPTx) != 1 {
		t.Errorf("counted rx %d tx %d, want 1 and 1", b.count(stat.ARPRx), b.count(stat.ARPTx))
	}
}

func TestARPRequestForAnother(t *testing.T) {
	b := newBench(t)
	b.arp(with(arpRequestToUs, offTPA, 10, 1, 0, 9), stat.Accepted)
	b.wantSent()
	b.wantState(peer4, "-", wire.MAC{})
}

func TestARPProbeIsAnsweredNotLearned(t *testing.T) {
	b := newBench(t)
	b.arp(with(arpRequestToUs, offSPA, 0, 0, 0, 0), stat.Accepted)
	b.wantSent(frame{peerMAC, wire.EtherTypeARP, with(arpReplyToPeer, offTPA, 0, 0, 0, 0)})
	b.arp(with(with(arpRequestToUs, offSPA, 0, 0, 0, 0), offTPA, 10, 1, 0, 9), stat.Accepted)
	b.wantSent()
	if n := len(b.Entries()); n != 0 {
		t.Errorf("%d entries, want 0", n)
	}
}

func TestARPInvalid(t *testing.T) {
	for _, c := range []struct {
		name   string
		packet []byte
		src    wire.MAC
	}{
		{"empty", nil, peerMAC},
		{"short", arpRequestToUs[:27], peerMAC},
		{"hardware type", with(arpRequestToUs, 0, 0, 6), peerMAC},
		{"protocol type", with(arpRequestToUs, 2, 0x86, 0xdd), peerMAC},
		{"hardware length", with(arpRequestToUs, 4, 8), peerMAC},
		{"protocol length", with(arpRequestToUs, 5, 16), peerMAC},
		{"operation 0", with(arpRequestToUs, offOp, 0, 0), peerMAC},
		{"RARP", with(arpRequestToUs, offOp, 0, 3), peerMAC},
		{"operation above a byte", with(arpRequestToUs, offOp, 1, 1), peerMAC},
		{"sender is not the frame's source", arpRequestToUs, otherMAC},
		{"sender is a group", with(arpRequestToUs, offSHA, 3), wire.MAC{3, 0, 0, 0, 0, 2}},
		{"sender is broadcast", with(arpRequestToUs, offSHA, 255, 255, 255, 255, 255, 255), wire.Broadcast},
		{"sender is zero", with(arpRequestToUs, offSHA, 0, 0, 0, 0, 0, 0), wire.MAC{}},
		{"sender has our MAC", with(arpRequestToUs, offSHA, usMAC[:]...), usMAC},
		{"sender off-link", with(arpRequestToUs, offSPA, 10, 2, 0, 2), peerMAC},
		{"sender is the subnet's broadcast", with(arpRequestToUs, offSPA, 10, 1, 0, 255), peerMAC},
		{"sender is broadcast address", with(arpRequestToUs, offSPA, 255, 255, 255, 255), peerMAC},
		{"sender is multicast", with(arpRequestToUs, offSPA, 224, 0, 0, 1), peerMAC},
		{"sender is loopback", with(arpRequestToUs, offSPA, 127, 0, 0, 1), peerMAC},
		{"reply from nobody", with(arpReplyToUs, offSPA, 0, 0, 0, 0), peerMAC},
		{"target is multicast", with(arpRequestToUs, offTPA, 224, 0, 0, 1), peerMAC},
		{"our reflection", arpAnnouncement, usMAC},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			if got := b.ARP(c.src, c.packet, b.now); got != stat.DropARPInvalid {
				t.Errorf("reason %s, want %s", got, stat.DropARPInvalid)
			}
			b.wantSent()
			if n := len(b.Entries()); n != 0 {
				t.Errorf("%d entries, want 0", n)
			}
		})
	}
}

// TestARPInvalidNetworks are senders that only a wide prefix lets through to
// the address checks.
func TestARPInvalidNetworks(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Addrs = []netip.Prefix{netip.MustParsePrefix("10.1.0.1/0")} })
	for _, spa := range [][]byte{{224, 0, 0, 1}, {127, 0, 0, 1}, {255, 255, 255, 255}} {
		b.arp(with(arpRequestToUs, offSPA, spa...), stat.DropARPInvalid)
	}
	b.wantSent()
	b.arp(with(arpRequestToUs, offSPA, 192, 0, 2, 1), stat.Accepted)
}

// TestARPConflict is somebody else claiming our address: announced against at
// most every 10 s, never learned, in whatever form it comes.
func TestARPConflict(t *testing.T) {
	b := newBench(t)
	claims := [][]byte{
		with(arpRequestToUs, offSPA, 10, 1, 0, 1),                             // an announcement
		with(arpReplyToUs, offSPA, 10, 1, 0, 1),                               // a gratuitous reply
		with(with(arpRequestToUs, offSPA, 10, 1, 0, 1), offTPA, 10, 1, 0, 99), // a request from our address
	}
	for i := range 3 {
		for range 50 {
			b.arp(claims[i], stat.DropARPInvalid)
		}
		b.wantSent(frame{wire.Broadcast, wire.EtherTypeARP, arpAnnouncement})
		b.advance(defendInterval - 1)
		b.arp(claims[i], stat.DropARPInvalid)
		b.wantSent()
		b.advance(1)
	}
	if n := len(b.Entries()); n != 0 {
		t.Errorf("%d entries, want 0", n)
	}
}

func TestUnsolicitedARPCreatesNothing(t *testing.T) {
	b := newBench(t)
	for _, p := range [][]byte{
		arpReplyToUs,
		with(arpReplyToUs, offTPA, 10, 1, 0, 2),   // gratuitous reply
		with(arpRequestToUs, offTPA, 10, 1, 0, 2), // announcement
	} {
		b.arp(p, stat.Accepted)
	}
	b.wantSent()
	if n := len(b.Entries()); n != 0 {
		t.Errorf("%d entries, want 0", n)
	}
}

// TestARPStates is what each kind of ARP packet does to an entry in each state.
func TestARPStates(t *testing.T) {
	moved := func(p []byte) []byte { return with(p, offSHA, otherMAC[:]...) }
	reply, request := arpReplyToUs, arpRequestToUs
	toOther := with(request, offTPA, 10, 1, 0, 9)
	garp := with(request, offTPA, 10, 1, 0, 2)
	broadcastReply := with(reply, offTHA, 255, 255, 255, 255, 255, 255)
	for _, c := range []struct {
		name, from string
		packet     []byte
		to         string
		mac        wire.MAC
	}{
		{"reply", "INCOMPLETE", reply, "REACHABLE", peerMAC},
		{"request to us", "INCOMPLETE", request, "STALE", peerMAC},
		{"request to another", "INCOMPLETE", toOther, "STALE", peerMAC},
		{"gratuitous", "INCOMPLETE", garp, "STALE", peerMAC},
		{"reply not to us", "INCOMPLETE", broadcastReply, "STALE", peerMAC},
		{"reply", "FAILED", reply, "REACHABLE", peerMAC},
		{"request to us", "FAILED", request, "STALE", peerMAC},
		{"reply", "STALE", reply, "REACHABLE", peerMAC},
		{"reply", "DELAY", reply, "REACHABLE", peerMAC},
		{"reply", "PROBE", reply, "REACHABLE", peerMAC},
		{"request to us", "PROBE", request, "PROBE", peerMAC},
		{"request to us", "REACHABLE", request, "REACHABLE", peerMAC},
		{"gratuitous", "REACHABLE", garp, "REACHABLE", peerMAC},
		{"reply not to us", "STALE", broadcastReply, "STALE", peerMAC},
		{"moved reply", "REACHABLE", moved(reply), "REACHABLE", otherMAC},
		{"moved reply", "PROBE", moved(reply), "REACHABLE", otherMAC},
		{"moved request to us", "REACHABLE", moved(request), "STALE", otherMAC},
		{"moved request to another", "DELAY", moved(toOther), "STALE", otherMAC},
		{"moved gratuitous", "REACHABLE", moved(garp), "STALE", otherMAC},
		{"moved gratuitous", "PROBE", moved(garp), "STALE", otherMAC},
	} {
		t.Run(c.name+" in "+c.from, func(t *testing.T) {
			b := newBench(t)
			b.bring4(c.from)
			b.arp(c.packet, stat.Accepted)
			b.wantState(peer4, c.to, c.mac)
		})
	}
}

// bring4 makes an entry for the peer's IPv4 address in the given state, learned
// longer ago than lockTime.
func (b *bench) bring4(state string) {
	b.tb.Helper()
	switch state {
	case "INCOMPLETE":
		b.lookup(peer4, Pending)
	case "FAILED":
		b.lookup(peer4, Pending)
		b.advance(3 * time.Second)
	case "REACHABLE":
		b.lookup(peer4, Pending)
		b.arp(arpReplyToUs, stat.Accepted)
		b.advance(2 * lockTime)
	case "STALE":
		b.arp(arpRequestToUs, stat.Accepted)
		b.advance(2 * lockTime)
	case "DELAY", "PROBE":
		b.arp(arpRequestToUs, stat.Accepted)
		b.advance(2 * lockTime)
		b.lookup(peer4, Found)
		if state == "PROBE" {
			b.advance(delayTime)
		}
	}
	b.take()
	if got := b.state(peer4); got != state {
		b.tb.Fatalf("brought to %s, want %s", got, state)
	}
}

// TestARPFirstAnswerWins: of two answers within lockTime the first counts,
// unless the second is gratuitous.
func TestARPFirstAnswerWins(t *testing.T) {
	b := newBench(t)
	b.lookup(peer4, Pending)
	b.arp(arpReplyToUs, stat.Accepted)
	moved := with(arpReplyToUs, offSHA, otherMAC[:]...)
	b.advance(lockTime - 1)
	b.arp(moved, stat.Accepted)
	b.wantState(peer4, "REACHABLE", peerMAC)
	b.advance(1)
	b.arp(moved, stat.Accepted)
	b.wantState(peer4, "REACHABLE", otherMAC)
	b.arp(with(arpRequestToUs, offTPA, 10, 1, 0, 2), stat.Accepted)
	b.wantState(peer4, "STALE", peerMAC)
}

func TestStaticIsNeverLearned(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.Static = func(a netip.Addr) (wire.MAC, bool) { return otherMAC, a == peer4 || a == peer6 }
	})
	b.arp(arpRequestToUs, stat.Accepted)
	b.wantSent(frame{peerMAC, wire.EtherTypeARP, arpReplyToPeer})
	b.nd(nsToUs, stat.Accepted)
	b.wantSent(frame{peerMAC, wire.EtherTypeIPv6, naToPeer})
	if n := len(b.Entries()); n != 0 {
		t.Errorf("%d entries, want 0", n)
	}
	for _, a := range []netip.Addr{peer4, peer6} {
		if mac := b.lookup(a, Found); mac != otherMAC {
			t.Errorf("%s at %s, want %s", a, mac, otherMAC)
		}
	}
	b.wantSent()
}
