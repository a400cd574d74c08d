// SPDX-License-Identifier: Apache-2.0

package neigh

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// The container under test and its neighbours.
var (
	usMAC    = wire.MAC{0x02, 0, 0, 0, 0, 0x01}
	peerMAC  = wire.MAC{0x02, 0, 0, 0, 0, 0x02}
	otherMAC = wire.MAC{0x02, 0, 0, 0, 0, 0x03}

	us4, us6     = ip("10.1.0.1"), ip("fd00::1")
	peer4, peer6 = ip("10.1.0.2"), ip("fd00::2")
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// frame is one that a Table sent.
type frame struct {
	dst       wire.MAC
	etherType uint16
	payload   []byte
}

// bench is a Table with a recording Sender and a virtual clock.
type bench struct {
	*Table
	tb    testing.TB
	stat  stat.Block
	now   time.Duration
	sent  []frame
	given [][]byte // Undeliverable

	onUndeliverable func()
}

func (b *bench) Send(dst wire.MAC, etherType uint16, payload []byte) {
	b.sent = append(b.sent, frame{dst, etherType, slices.Clone(payload)})
}

func (b *bench) Undeliverable(packet []byte) {
	b.given = append(b.given, slices.Clone(packet))
	if b.onUndeliverable != nil {
		b.onUndeliverable()
	}
}

func newBench(tb testing.TB, change ...func(*Config)) *bench {
	b := &bench{tb: tb, now: time.Hour}
	cfg := Config{
		MAC:      usMAC,
		Addrs:    []netip.Prefix{netip.MustParsePrefix("10.1.0.1/24"), netip.MustParsePrefix("fd00::1/64")},
		Gateway4: ip("10.1.0.254"),
		Gateway6: ip("fe80::fe"),
		Sender:   b,
		Stat:     &b.stat,
	}
	for _, c := range change {
		c(&cfg)
	}
	b.Table = New(cfg)
	return b
}

// advance moves the clock by d, deadline by deadline, as a worker does.
func (b *bench) advance(d time.Duration) {
	end := b.now + d
	for b.Next() <= end {
		if b.Next() > b.now {
			b.now = b.Next()
		}
		b.Tick(b.now)
		if b.Next() <= b.now {
			b.tb.Fatalf("Next %v not past %v after Tick", b.Next(), b.now)
		}
	}
	b.now = end
	b.Tick(b.now)
}

func (b *bench) lookup(a netip.Addr, want Verdict) wire.MAC {
	b.tb.Helper()
	mac, v := b.Lookup(a, b.now)
	if v != want {
		b.tb.Fatalf("Lookup(%s) = verdict %d, want %d", a, v, want)
	}
	return mac
}

// hold looks up a, which must be pending, and leaves a packet of n bytes.
func (b *bench) hold(a netip.Addr, fill byte, n int) {
	b.tb.Helper()
	b.lookup(a, Pending)
	p := b.Hold(n)
	if len(p) != n {
		b.tb.Fatalf("Hold(%d) has %d bytes", n, len(p))
	}
	for i := range p {
		p[i] = fill
	}
}

// take returns what was sent since the last take.
func (b *bench) take() []frame {
	s := b.sent
	b.sent = nil
	return s
}

func (b *bench) wantSent(want ...frame) {
	b.tb.Helper()
	got := b.take()
	if len(got) != len(want) {
		b.tb.Fatalf("sent %d frames %v, want %d", len(got), got, len(want))
	}
	for i := range want {
		if got[i].dst != want[i].dst || got[i].etherType != want[i].etherType ||
			!bytes.Equal(got[i].payload, want[i].payload) {
			b.tb.Errorf("frame %d:\n got %v %04x %x\nwant %v %04x %x", i,
				got[i].dst, got[i].etherType, got[i].payload, want[i].dst, want[i].etherType, want[i].payload)
		}
	}
}

func (b *bench) state(a netip.Addr) string {
	for _, e := range b.Entries() {
		if e.IP == a {
			return e.State
		}
	}
	return "-"
}

func (b *bench) wantState(a netip.Addr, want string, mac wire.MAC) {
	b.tb.Helper()
	if got := b.state(a); got != want {
		b.tb.Fatalf("%s is %s, want %s", a, got, want)
	}
	if e := b.entries[a]; e != nil && e.mac != mac {
		b.tb.Fatalf("%s is at %s, want %s", a, e.mac, mac)
	}
}

func (b *bench) count(c stat.Counter) uint64 { b.stat.Publish(); return b.stat.Get(c) }
func (b *bench) drops(r stat.Reason) uint64  { b.stat.Publish(); return b.stat.Drops(r) }

func (b *bench) arp(p []byte, want stat.Reason) {
	b.tb.Helper()
	if got := b.ARP(wire.MAC(p[8:14]), p, b.now); got != want {
		b.tb.Fatalf("ARP = %s, want %s", got, want)
	}
}

func (b *bench) nd(p []byte, want stat.Reason) {
	b.tb.Helper()
	v, ok := wire.ParseIPv6(p)
	if !ok {
		b.tb.Fatalf("no IPv6 packet: %x", p)
	}
	if consumed, got := b.ND(peerMAC, v, b.now); !consumed || got != want {
		b.tb.Fatalf("ND = %v, %s, want consumed, %s", consumed, got, want)
	}
}

// arpRequestToUs is the peer asking for us.
var arpRequestToUs = []byte{
	0x00, 0x01, 0x08, 0x00, 6, 4, // Ethernet, IPv4
	0x00, 0x01, // request
	0x02, 0, 0, 0, 0, 0x02, 10, 1, 0, 2, // sender: the peer
	0x00, 0, 0, 0, 0, 0x00, 10, 1, 0, 1, // target: us
}

// arpReplyToUs is the peer answering us.
var arpReplyToUs = []byte{
	0x00, 0x01, 0x08, 0x00, 6, 4, // Ethernet, IPv4
	0x00, 0x02, // reply
	0x02, 0, 0, 0, 0, 0x02, 10, 1, 0, 2, // sender: the peer
	0x02, 0, 0, 0, 0, 0x01, 10, 1, 0, 1, // target: us
}

// arpReplyToPeer is us answering the peer.
var arpReplyToPeer = []byte{
	0x00, 0x01, 0x08, 0x00, 6, 4, // Ethernet, IPv4
	0x00, 0x02, // reply
	0x02, 0, 0, 0, 0, 0x01, 10, 1, 0, 1, // sender: us
	0x02, 0, 0, 0, 0, 0x02, 10, 1, 0, 2, // target: the peer
}

// arpRequestToPeer is us asking for the peer.
var arpRequestToPeer = []byte{
	0x00, 0x01, 0x08, 0x00, 6, 4, // Ethernet, IPv4
	0x00, 0x01, // request
	0x02, 0, 0, 0, 0, 0x01, 10, 1, 0, 1, // sender: us
	0x00, 0, 0, 0, 0, 0x00, 10, 1, 0, 2, // target: the peer
}

// arpAnnouncement is us announcing ourselves (RFC 5227 section 3).
var arpAnnouncement = []byte{
	0x00, 0x01, 0x08, 0x00, 6, 4, // Ethernet, IPv4
	0x00, 0x01, // request
	0x02, 0, 0, 0, 0, 0x01, 10, 1, 0, 1, // sender: us
	0x00, 0, 0, 0, 0, 0x00, 10, 1, 0, 1, // target: us
}

// IPv6 addresses as bytes.
var (
	b6us       = []byte{0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}            // fd00::1
	b6peer     = []byte{0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}            // fd00::2
	b6none     = []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}               // ::
	b6all      = []byte{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}            // ff02::1
	b6usNode   = []byte{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 1}         // ff02::1:ff00:1
	b6peerNode = []byte{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 2}         // ff02::1:ff00:2
	slla       = []byte{1, 1, 0x02, 0, 0, 0, 0, 0x02}                                 // source link-layer address: the peer's
	tlla       = []byte{2, 1, 0x02, 0, 0, 0, 0, 0x02}                                 // target link-layer address: the peer's
	sllaUs     = []byte{1, 1, 0x02, 0, 0, 0, 0, 0x01}                                 // source link-layer address: ours
	tllaUs     = []byte{2, 1, 0x02, 0, 0, 0, 0, 0x01}                                 // target link-layer address: ours
	ip6head32  = []byte{0x60, 0, 0, 0, 0, 32, 58, 255}                                // 32 bytes of ICMPv6, hop limit 255
	ip6head24  = []byte{0x60, 0, 0, 0, 0, 24, 58, 255}                                // 24 bytes of ICMPv6, hop limit 255
	nsToUs     = cat(ip6head32, b6peer, b6usNode, nsHead(0x7d, 0x97), b6us, slla)     // the peer asks for us
	naToUs     = cat(ip6head32, b6peer, b6us, naHead(0x1c, 0x9a, 0x60), b6peer, tlla) // the peer answers us
	nsProbe    = cat(ip6head24, b6none, b6usNode, nsHead(0x7d, 0xa5), b6us)           // the peer checks whether fd00::1 is free
	naToPeer   = cat(ip6head32, b6us, b6peer, naHead(0x1c, 0x9c, 0x60), b6us, tllaUs) // we answer the peer
	naToAll    = cat(ip6head32, b6us, b6all, naHead(0x5a, 0x9b, 0x20), b6us, tllaUs)  // we announce ourselves
	nsToPeer   = cat(ip6head32, b6us, b6peerNode, nsHead(0x7d, 0x97), b6peer, sllaUs) // we ask for the peer
	nsUnicast  = cat(ip6head32, b6us, b6peer, nsHead(0x7e, 0x9b), b6peer, sllaUs)     // we probe the peer

	peerNodeMAC = wire.MAC{0x33, 0x33, 0xff, 0, 0, 0x02}
	allNodesMAC = wire.MAC{0x33, 0x33, 0, 0, 0, 0x01}
)

// nsHead is type, code, checksum and reserved bytes of a solicitation.
func nsHead(c0, c1 byte) []byte { return []byte{135, 0, c0, c1, 0, 0, 0, 0} }

// naHead is type, code, checksum, flags and reserved bytes of an advertisement.
func naHead(c0, c1, flags byte) []byte { return []byte{136, 0, c0, c1, flags, 0, 0, 0} }

// Offsets in an ARP packet and in an IPv6 packet with neighbour discovery.
const (
	offOp, offSHA, offSPA, offTHA, offTPA = 6, 8, 14, 18, 24

	offHop, offSrc, offDst, offICMP               = 7, 8, 24, 40
	offCode, offSum, offFlags, offTarget, offOpts = 41, 42, 44, 48, 64
)

// with returns a copy of p with b at off.
func with(p []byte, off int, b ...byte) []byte {
	c := slices.Clone(p)
	copy(c[off:], b)
	return c
}

// fix returns p, an IPv6 packet whose ICMPv6 message is at offset off, with
// payload length and checksum made right; an implementation apart from wire.
func fix(p []byte, off int) []byte {
	c := slices.Clone(p)
	binary.BigEndian.PutUint16(c[4:], uint16(len(c)-40))
	m := c[off:]
	m[2], m[3] = 0, 0
	s := uint32(len(m)) + 58
	for _, b := range [][]byte{c[8:40], m} {
		for i, v := range b {
			s += uint32(v) << (8 * uint(1-i&1))
		}
	}
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	binary.BigEndian.PutUint16(m[2:], ^uint16(s))
	return c
}

// TestFix compares fix with checksums computed by hand.
func TestFix(t *testing.T) {
	for _, p := range [][]byte{nsToUs, naToUs, nsProbe, naToPeer, naToAll, nsToPeer, nsUnicast} {
		if got := fix(with(p, offSum, 1, 2), offICMP); !bytes.Equal(got, p) {
			t.Errorf("got %x\nwant %x", got, p)
		}
	}
}
