// SPDX-License-Identifier: Apache-2.0

package neigh

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

func TestNSIsAnsweredAndLearned(t *testing.T) {
	b := newBench(t)
	b.nd(nsToUs, stat.Accepted)
	b.wantSent(frame{peerMAC, wire.EtherTypeIPv6, naToPeer})
	b.wantState(peer6, "STALE", peerMAC)
	if b.count(stat.NDRx) != 1 || b.count(stat.NDTx) != 1 {
		t.Errorf("counted rx %d tx %d, want 1 and 1", b.count(stat.NDRx), b.count(stat.NDTx))
	}
}

func TestNSVariants(t *testing.T) {
	const offLink = 0x99 // second byte of an address outside fd00::/64
	for _, c := range []struct {
		name    string
		packet  []byte
		answers []frame
		state   string
	}{
		{
			"unicast", fix(with(nsToUs, offDst, b6us...), offICMP),
			[]frame{{peerMAC, wire.EtherTypeIPv6, naToPeer}},
			"STALE",
		},
		{
			"to all nodes", fix(with(nsToUs, offDst, b6all...), offICMP),
			[]frame{{peerMAC, wire.EtherTypeIPv6, naToPeer}},
			"STALE",
		},
		{
			"without option", fix(nsToUs[:offOpts], offICMP),
			[]frame{{peerMAC, wire.EtherTypeIPv6, naToPeer}},
			"-",
		},
		{
			"unknown option first", fix(cat(nsToUs[:offOpts], []byte{14, 1, 1, 2, 3, 4, 5, 6}, slla), offICMP),
			[]frame{{peerMAC, wire.EtherTypeIPv6, naToPeer}},
			"STALE",
		},
		{
			"behind destination options", fix(cat(with(nsToUs[:40], 6, 60), []byte{58, 0, 1, 4, 0, 0, 0, 0}, nsToUs[40:]), 48),
			[]frame{{peerMAC, wire.EtherTypeIPv6, naToPeer}},
			"STALE",
		},
		{
			"option names another MAC than the frame", fix(with(nsToUs, offOpts+2, otherMAC[:]...), offICMP),
			[]frame{{otherMAC, wire.EtherTypeIPv6, naToPeer}},
			"STALE",
		},
		{"for another", fix(with(nsToUs, offTarget+15, 9), offICMP), nil, "-"},
		{
			"source off-link", fix(with(nsToUs, offSrc+1, offLink), offICMP),
			[]frame{{peerMAC, wire.EtherTypeIPv6, fix(with(naToPeer, offDst+1, offLink), offICMP)}},
			"-",
		},
		{
			"is the address free", nsProbe,
			[]frame{{allNodesMAC, wire.EtherTypeIPv6, naToAll}},
			"-",
		},
		{"is another address free", fix(with(nsProbe, offTarget+15, 9), offICMP), nil, "-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.nd(c.packet, stat.Accepted)
			b.wantSent(c.answers...)
			if got := b.state(peer6); got != c.state {
				t.Errorf("peer is %s, want %s", got, c.state)
			}
			if want := map[string]int{"-": 0, "STALE": 1}[c.state]; len(b.Entries()) != want {
				t.Errorf("%d entries, want %d", len(b.Entries()), want)
			}
		})
	}
}

func TestNDInvalid(t *testing.T) {
	group := []byte{0x03, 0, 0, 0, 0, 2}
	frag := func(word byte) []byte { // a first fragment's header before ICMPv6
		return fix(cat(with(nsToUs[:40], 6, 44), []byte{58, 0, 0, word, 0, 0, 0, 1}, nsToUs[40:]), 48)
	}
	for _, c := range []struct {
		name   string
		packet []byte
	}{
		{"NS hop limit 254", with(nsToUs, offHop, 254)},
		{"NA hop limit 254", with(naToUs, offHop, 254)},
		{"NS checksum", with(nsToUs, offSum, 0x7d, 0x98)},
		{"NA checksum", with(naToUs, offSum, 0, 0)},
		{"NS code", fix(with(nsToUs, offCode, 1), offICMP)},
		{"NA code", fix(with(naToUs, offCode, 1), offICMP)},
		{"NS of 23 bytes", fix(nsToUs[:40+23], offICMP)},
		{"NA of 8 bytes", fix(naToUs[:40+8], offICMP)},
		{"NS of 1 byte", with(nsToUs[:41], 4, 0, 1)},
		{"NS option length 0", fix(with(nsToUs, offOpts+1, 0), offICMP)},
		{"NA option length 0", fix(with(naToUs, offOpts+1, 0), offICMP)},
		{"NS option past the end", fix(with(nsToUs, offOpts+1, 2), offICMP)},
		{"NS option cut short", fix(nsToUs[:offOpts+7], offICMP)},
		{"NS option of 16 bytes", fix(cat(with(nsToUs, offOpts+1, 2), make([]byte, 8)), offICMP)},
		{"NA option of 16 bytes", fix(cat(with(naToUs, offOpts+1, 2), make([]byte, 8)), offICMP)},
		{"NS option is a group", fix(with(nsToUs, offOpts+2, group...), offICMP)},
		{"NA option is a group", fix(with(naToUs, offOpts+2, group...), offICMP)},
		{"NS option is zero", fix(with(nsToUs, offOpts+2, 0, 0, 0, 0, 0, 0), offICMP)},
		{"NA option is our MAC", fix(with(naToUs, offOpts+2, usMAC[:]...), offICMP)},
		{"NS target is a group", fix(with(nsToUs, offTarget, b6usNode...), offICMP)},
		{"NA target is a group", fix(with(naToUs, offTarget, b6all...), offICMP)},
		{"NS source is a group", fix(with(nsToUs, offSrc, b6all...), offICMP)},
		{"NA source is a group", fix(with(naToUs, offSrc, b6all...), offICMP)},
		{"NS source is loopback", fix(with(nsToUs, offSrc, ip("::1").AsSlice()...), offICMP)},
		{"NS source is IPv4", fix(with(nsToUs, offSrc, ip("::ffff:10.1.0.2").AsSlice()...), offICMP)},
		{"NA source unspecified", fix(with(naToUs, offSrc, b6none...), offICMP)},
		{"NA multicast and solicited", fix(with(naToUs, offDst, b6all...), offICMP)},
		{"NA source is ours", fix(with(naToUs, offSrc, b6us...), offICMP)},
		{"NS source unspecified with option", fix(with(nsToUs, offSrc, b6none...), offICMP)},
		{"NS source unspecified to unicast", fix(with(nsProbe, offDst, b6us...), offICMP)},
		{"NS source unspecified to all nodes", fix(with(nsProbe, offDst, b6all...), offICMP)},
		{"NS first fragment", frag(1)},
		{"NS atomic fragment", frag(0)},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.bring6("STALE")
			b.nd(c.packet, stat.DropNDInvalid)
			b.wantSent()
			b.wantState(peer6, "STALE", peerMAC)
		})
	}
}

func TestNDFromForgedEthernetSource(t *testing.T) {
	for _, mac := range []wire.MAC{{}, wire.Broadcast, usMAC} {
		b := newBench(t)
		if ok, r := b.ND(mac, nsToUs, b.now); !ok || r != stat.DropNDInvalid {
			t.Errorf("from %s: %v, %s", mac, ok, r)
		}
		b.wantSent()
	}
}

func TestNDToAnotherHost(t *testing.T) {
	b := newBench(t)
	b.nd(fix(with(nsToUs, offDst+15, 9), offICMP), stat.Accepted) // their solicited-node group
	b.take()
	b.nd(fix(with(nsToUs, offDst, with(b6us, 15, 9)...), offICMP), stat.DropIPNotLocal)
	b.wantSent()
}

func TestNDNotConsumed(t *testing.T) {
	later := fix(cat(with(nsToUs[:40], 6, 44), []byte{58, 0, 0, 8, 0, 0, 0, 1}, nsToUs[40:]), 48)
	for _, c := range []struct {
		name   string
		packet []byte
	}{
		{"TCP", with(nsToUs, 6, 6)},
		{"UDP", with(nsToUs, 6, 17)},
		{"no next header", with(nsToUs, 6, 59)},
		{"echo", fix(with(nsToUs, offICMP, 128), offICMP)},
		{"listener report", fix(with(nsToUs, offICMP, 132), offICMP)},
		{"type 138", fix(with(nsToUs, offICMP, 138), offICMP)},
		{"empty", with(nsToUs[:40], 4, 0, 0)},
		{"extension cut short", fix(cat(with(nsToUs[:40], 6, 60), []byte{58, 9, 1, 4, 0, 0, 0, 0}, nsToUs[40:]), 48)},
		{"fragment other than the first", later},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			v, ok := wire.ParseIPv6(c.packet)
			if !ok {
				t.Fatal("no IPv6 packet")
			}
			if consumed, r := b.ND(peerMAC, v, b.now); consumed || r != stat.Accepted {
				t.Errorf("ND = %v, %s", consumed, r)
			}
			b.wantSent()
			if b.count(stat.NDRx) != 0 {
				t.Error("counted as neighbour discovery")
			}
		})
	}
}

func TestRouterDiscoveryIsIgnored(t *testing.T) {
	for _, typ := range []byte{133, 134, 137} {
		b := newBench(t)
		b.nd(fix(with(nsToUs, offICMP, typ), offICMP), stat.Accepted)
		b.wantSent()
		if n := len(b.Entries()); n != 0 {
			t.Errorf("type %d made %d entries", typ, n)
		}
	}
}

func TestNDConflict(t *testing.T) {
	b := newBench(t)
	claims := [][]byte{
		fix(with(naToUs, offTarget, b6us...), offICMP),
		fix(with(with(with(naToUs, offTarget, b6us...), offDst, b6all...), offFlags, 0x20), offICMP),
		fix(with(nsToUs, offSrc, b6us...), offICMP),
	}
	for i := range claims {
		for range 50 {
			b.nd(claims[i], stat.DropNDInvalid)
		}
		b.wantSent(frame{allNodesMAC, wire.EtherTypeIPv6, naToAll})
		b.advance(defendInterval - 1)
		b.nd(claims[i], stat.DropNDInvalid)
		b.wantSent()
		b.advance(1)
	}
	if n := len(b.Entries()); n != 0 {
		t.Errorf("%d entries, want 0", n)
	}
}

// bring6 makes an entry for the peer's IPv6 address in the given state.
func (b *bench) bring6(state string) {
	b.tb.Helper()
	switch state {
	case "INCOMPLETE":
		b.lookup(peer6, Pending)
	case "FAILED":
		b.lookup(peer6, Pending)
		b.advance(3 * time.Second)
	case "REACHABLE":
		b.lookup(peer6, Pending)
		b.nd(naToUs, stat.Accepted)
	case "STALE":
		b.nd(nsToUs, stat.Accepted)
	case "DELAY", "PROBE":
		b.nd(nsToUs, stat.Accepted)
		b.lookup(peer6, Found)
		if state == "PROBE" {
			b.advance(delayTime)
		}
	}
	b.take()
	if got := b.state(peer6); got != state {
		b.tb.Fatalf("brought to %s, want %s", got, state)
	}
}

// TestAdvertisementStates is RFC 4861 appendix C and section 7.2.5, for what a
// packet does to an entry.
func TestAdvertisementStates(t *testing.T) {
	na := func(flags byte, mac *wire.MAC) []byte {
		p := with(naToUs, offFlags, flags)
		if mac == nil {
			return fix(p[:offOpts], offICMP)
		}
		return fix(with(p, offOpts+2, mac[:]...), offICMP)
	}
	ns := func(mac *wire.MAC) []byte {
		if mac == nil {
			return fix(nsToUs[:offOpts], offICMP)
		}
		return fix(with(nsToUs, offOpts+2, mac[:]...), offICMP)
	}
	const s, o, r = wire.NAFlagSolicited, wire.NAFlagOverride, wire.NAFlagRouter
	same, diff := &peerMAC, &otherMAC
	known := []string{"REACHABLE", "STALE", "DELAY", "PROBE"}
	const unchanged = ""
	var zero wire.MAC
	for _, c := range []struct {
		name   string
		from   []string
		packet []byte
		to     string
		mac    wire.MAC
	}{
		{"NA S=0 O=0", []string{"INCOMPLETE", "FAILED"}, na(0, same), "STALE", peerMAC},
		{"NA S=0 O=1", []string{"INCOMPLETE", "FAILED"}, na(o, same), "STALE", peerMAC},
		{"NA S=1 O=0", []string{"INCOMPLETE", "FAILED"}, na(s, same), "REACHABLE", peerMAC},
		{"NA S=1 O=1", []string{"INCOMPLETE", "FAILED"}, na(s|o, same), "REACHABLE", peerMAC},
		{"NA S=1 O=1 no address", []string{"INCOMPLETE", "FAILED"}, na(s|o|r, nil), unchanged, zero},
		{"NA S=1 O=0 same", known, na(s, same), "REACHABLE", peerMAC},
		{"NA S=1 O=0 different", []string{"REACHABLE"}, na(s, diff), "STALE", peerMAC},
		{"NA S=0 O=0 different", []string{"REACHABLE"}, na(0, diff), "STALE", peerMAC},
		{"NA S=1 O=0 different", []string{"STALE", "DELAY", "PROBE"}, na(s, diff), unchanged, peerMAC},
		{"NA S=0 O=0 different", []string{"STALE", "DELAY", "PROBE"}, na(0, diff), unchanged, peerMAC},
		{"NA S=1 O=1 same", known, na(s|o, same), "REACHABLE", peerMAC},
		{"NA S=1 O=1 different", known, na(s|o, diff), "REACHABLE", otherMAC},
		{"NA S=0 O=0 same", known, na(0, same), unchanged, peerMAC},
		{"NA S=0 O=1 same", known, na(o, same), unchanged, peerMAC},
		{"NA S=0 O=1 different", known, na(o, diff), "STALE", otherMAC},
		{"NA S=0 no address", known, na(o, nil), unchanged, peerMAC},
		{"NA S=1 no address", known, na(s, nil), "REACHABLE", peerMAC},
		{"NS no address", known, ns(nil), unchanged, peerMAC},
		{"NS no address", []string{"INCOMPLETE"}, ns(nil), unchanged, zero},
		{"NS", []string{"INCOMPLETE", "FAILED"}, ns(same), "STALE", peerMAC},
		{"NS same", known, ns(same), unchanged, peerMAC},
		{"NS different", known, ns(diff), "STALE", otherMAC},
	} {
		for _, from := range c.from {
			t.Run(c.name+" in "+from, func(t *testing.T) {
				b := newBench(t)
				b.bring6(from)
				b.nd(c.packet, stat.Accepted)
				to := c.to
				if to == unchanged {
					to = from
				}
				b.wantState(peer6, to, c.mac)
			})
		}
	}
}

func TestUnsolicitedNACreatesNothing(t *testing.T) {
	b := newBench(t)
	b.nd(naToUs, stat.Accepted)
	if n := len(b.Entries()); n != 0 {
		t.Errorf("%d entries, want 0", n)
	}
}

func TestRouterFlag(t *testing.T) {
	b := newBench(t)
	router := func() bool { return b.Entries()[0].Router }
	b.bring6("INCOMPLETE")
	b.nd(fix(with(naToUs, offFlags, 0xe0), offICMP), stat.Accepted)
	if !router() {
		t.Error("router flag not recorded")
	}
	// An advertisement that is ignored says nothing about routers either.
	ignored := with(with(naToUs, offFlags, 0x40), offOpts+2, otherMAC[:]...)
	b.nd(fix(ignored, offICMP), stat.Accepted)
	if !router() {
		t.Error("router flag cleared by an advertisement without override")
	}
	b.nd(fix(with(naToUs, offFlags, 0x20), offICMP), stat.Accepted)
	if router() {
		t.Error("router flag not cleared")
	}
}

// TestLinkLocal: a neighbour in fe80::/10 is on-link, and asked from a
// link-local address if we have one.
func TestLinkLocal(t *testing.T) {
	for _, c := range []struct {
		own  []string
		from string
	}{
		{[]string{"fd00::1/64"}, "fd00::1"},
		{[]string{"fd00::1/64", "fe80::1/64"}, "fe80::1"},
		{[]string{"fd00::1/64", "fe80::1/128"}, "fe80::1"},
	} {
		b := newBench(t, func(cfg *Config) {
			cfg.Addrs = nil
			for _, a := range c.own {
				cfg.Addrs = append(cfg.Addrs, netip.MustParsePrefix(a))
			}
		})
		b.lookup(ip("fe80::2"), Pending)
		s := b.take()
		if len(s) != 1 || !slices.Equal(s[0].payload[offSrc:offDst], ip(c.from).AsSlice()) {
			t.Errorf("%v: sent %v, want one solicitation from %s", c.own, s, c.from)
		}
	}
}
