// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// packet4 is a segment as it stands on the wire: a SYN of Linux.
var packet4 = []byte{
	0x45, 0x02, 0x00, 0x3c, // version 4, header 20 bytes, ECT(0), 60 bytes in all
	0x1c, 0x46, 0x40, 0x00, // identification, DF
	0x40, 0x06, 0x00, 0x00, // TTL 64, TCP, header checksum (below)
	10, 0, 0, 1, // from
	10, 0, 0, 2, // to
	0x9c, 0x40, 0x00, 0x50, // ports 40000, 80
	0x01, 0x02, 0x03, 0x04, // sequence number
	0x00, 0x00, 0x00, 0x00, // acknowledgment number
	0xa0, 0xc2, 0xfa, 0xf0, // header 40 bytes, SYN ECE CWR, window 64240
	0x00, 0x00, 0x00, 0x00, // checksum (below), urgent pointer
	2, 4, 0x05, 0xb4, // MSS 1460
	4, 2, 8, 10, 0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0, // SACK permitted, timestamps
	1, 3, 3, 7, // window scale 7
}

// packet6 is text with SACK blocks behind a hop-by-hop and a destination
// options header.
var packet6 = []byte{
	0x60, 0x3a, 0xbc, 0xde, // version 6, traffic class 0x03 << 4 ..., flow label
	0x00, 0x43, 0x00, 0x3f, // 67 bytes, hop-by-hop options, hop limit 63
	0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, // from
	0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, // to
	60, 0, 1, 4, 0, 0, 0, 0, // hop-by-hop: next destination options; PadN
	6, 0, 1, 4, 0, 0, 0, 0, // destination options: next TCP; PadN
	0x00, 0x50, 0x9c, 0x40, // ports 80, 40000
	0xff, 0xff, 0xff, 0xf0, // sequence number
	0x00, 0x00, 0x10, 0x00, // acknowledgment number
	0xc0, 0x18, 0x01, 0x00, // header 48 bytes, PSH ACK, window 256
	0x00, 0x00, 0x12, 0x34, // checksum (below), urgent pointer
	1, 1, 5, 26, // NOP, NOP, SACK of three blocks
	0, 0, 1, 0, 0, 0, 2, 0,
	0, 0, 3, 0, 0, 0, 4, 0,
	0, 0, 5, 0, 0, 0, 6, 0,
	'a', 'b', 'c',
}

// summed returns a copy of a packet with complete checksums.
func summed(packet []byte) []byte {
	b := bytes.Clone(packet)
	at := wire.IPv6Len
	if b[0]>>4 == 4 {
		wire.IPv4(b).SetChecksum()
		at = int(b[0]&15) * 4
	} else {
		_, at, _, _ = wire.IPv6(b).UpperLayer()
	}
	var d datagram
	if d.parse(b) != stat.Accepted {
		return b
	}
	binary.BigEndian.PutUint16(b[at+16:], 0)
	binary.BigEndian.PutUint16(b[at+16:], d.pseudo(len(b)-at).Add(b[at:]).Checksum())
	return b
}

// parsePacket parses both layers.
func parsePacket(s *segment, packet []byte, verified bool) stat.Reason {
	var d datagram
	if r := d.parse(packet); r != stat.Accepted {
		return r
	}
	if d.proto != wire.ProtoTCP || d.fragment {
		return stat.DropProtocolDisabled
	}
	return s.parse(&d, verified)
}

func TestSegmentParse(t *testing.T) {
	from4, to4 := addrFrom(netip.MustParseAddr("10.0.0.1")), addrFrom(netip.MustParseAddr("10.0.0.2"))
	from6, to6 := addrFrom(netip.MustParseAddr("fd00::1")), addrFrom(netip.MustParseAddr("fd00::2"))
	for _, c := range []struct {
		name   string
		packet []byte
		want   segment
		len    uint32
		ce     bool
	}{
		{"SYN over IPv4", packet4, segment{
			local: to4, remote: from4, lport: 80, rport: 40000, seq: 0x01020304, window: 64240,
			flags: wire.TCPSyn | wire.TCPEce | wire.TCPCwr, tos: 2, ttl: 64,
			opts: options{mss: 1460, scale: 7, sackPermitted: true, timestamps: true, tsVal: 0x11223344},
		}, 1, false},
		{"text over IPv6", packet6, segment{
			local: to6, remote: from6, lport: 40000, rport: 80, seq: 0xfffffff0, ack: 0x1000, window: 256,
			flags: wire.TCPPsh | wire.TCPAck, tos: 3, ttl: 63, v6: true, payload: []byte("abc"),
			opts: options{scale: noScale, blocks: 3, sack: [4]block{{0x100, 0x200}, {0x300, 0x400}, {0x500, 0x600}}},
		}, 3, true},
	} {
		packet := summed(c.packet)
		var s segment
		if r := parsePacket(&s, packet, false); r != stat.Accepted {
			t.Errorf("%s: %v", c.name, r)
			continue
		}
		if len(s.payload) == 0 {
			s.payload = nil
		}
		if !reflect.DeepEqual(s, c.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, s, c.want)
		}
		if s.len() != c.len || s.ce() != c.ce {
			t.Errorf("%s: SEG.LEN %d, CE %v", c.name, s.len(), s.ce())
		}

		// Bytes behind the packet are not part of it; a byte less is.
		if r := parsePacket(&s, append(bytes.Clone(packet), 1, 2, 3), false); r != stat.Accepted || s.len() != c.len {
			t.Errorf("%s with bytes behind: %v", c.name, r)
		}
		for n := range packet {
			if r := parsePacket(&s, packet[:n], true); r == stat.Accepted {
				t.Errorf("%s cut to %d bytes: accepted", c.name, n)
			}
		}
		// Every bit that is damaged is noticed, or was not covered: in IPv6
		// all but traffic class, flow label, hop limit and the extension
		// headers' contents.
		for i := range packet {
			for bit := range 8 {
				b := bytes.Clone(packet)
				b[i] ^= 1 << bit
				r := parsePacket(&s, b, false)
				open := b[0]>>4 == 6 && (i < 4 || i == 7 || i >= 40 && i < 56)
				if r == stat.Accepted && !open {
					t.Errorf("%s: bit %d of byte %d: accepted", c.name, bit, i)
				}
			}
		}
		// Unless it was verified already.
		b := bytes.Clone(packet)
		b[len(b)-1] ^= 1
		if r := parsePacket(&s, b, false); r != stat.DropL4Checksum {
			t.Errorf("%s: damaged: %v", c.name, r)
		}
		if r := parsePacket(&s, b, true); r != stat.Accepted {
			t.Errorf("%s: damaged and verified: %v", c.name, r)
		}
	}
}

func TestSegmentLen(t *testing.T) {
	for flags, want := range map[uint8]uint32{wire.TCPAck: 3, wire.TCPSyn: 4, wire.TCPFin: 4, wire.TCPSyn | wire.TCPFin: 5} {
		s := segment{flags: flags, payload: []byte("abc")}
		if s.len() != want {
			t.Errorf("flags %#x: SEG.LEN %d, want %d", flags, s.len(), want)
		}
	}
}

func TestSegmentDrops(t *testing.T) {
	edit := func(packet []byte, at int, v ...byte) []byte {
		b := bytes.Clone(packet)
		copy(b[at:], v)
		if b[0] == 0x45 {
			wire.IPv4(b).SetChecksum()
		}
		return b
	}
	for _, c := range []struct {
		name   string
		packet []byte
		want   stat.Reason
	}{
		{"nothing", nil, stat.DropIPShort},
		{"version 5", []byte{0x55}, stat.DropIPVersion},
		{"IPv4 header cut", packet4[:19], stat.DropIPShort},
		{"IPv4 header checksum", packet4, stat.DropIPChecksum},
		{"IPv4 total length too large", edit(packet4, 2, 0, 61), stat.DropIPShort},
		{"IPv4 header length 16", edit(packet4, 0, 0x44), stat.DropIPShort},
		{"IPv4 fragment", edit(packet4, 6, 0x20, 0), stat.DropProtocolDisabled},
		{"IPv4 UDP", edit(packet4, 9, 17), stat.DropProtocolDisabled},
		{"data offset 16", edit(packet4, 32, 0x40), stat.DropL4Short},
		{"data offset beyond", edit(packet4, 32, 0xb0), stat.DropL4Short},
		{"IPv6 header cut", packet6[:39], stat.DropIPShort},
		{"IPv6 payload cut", packet6[:106], stat.DropIPShort},
		{"IPv6 extension beyond", edit(packet6, 41, 9), stat.DropIPShort},
		{"IPv6 no next header", edit(packet6, 48, 59), stat.DropProtocolDisabled},
		{"TCP header cut", edit(packet4[:39], 2, 0, 39), stat.DropL4Short},
	} {
		var s segment
		if got := parsePacket(&s, c.packet, true); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestOptionsParse(t *testing.T) {
	none := options{scale: noScale}
	with := func(f func(*options)) options {
		o := none
		f(&o)
		return o
	}
	for _, c := range []struct {
		name string
		b    []byte
		syn  bool
		want options
	}{
		{"none", nil, true, none},
		{"end", []byte{0, 2, 4, 5, 0xb4}, true, none},
		{"NOP, end", []byte{1, 1, 1, 0}, true, none},
		{"MSS", []byte{2, 4, 5, 0xb4}, true, with(func(o *options) { o.mss = 1460 })},
		{"MSS of wrong length", []byte{2, 3, 5, 1}, true, none},
		{"MSS without SYN", []byte{2, 4, 5, 0xb4}, false, none},
		{"MSS twice", []byte{2, 4, 5, 0xb4, 2, 4, 2, 0}, true, with(func(o *options) { o.mss = 512 })},
		{"scale", []byte{3, 3, 14}, true, with(func(o *options) { o.scale = 14 })},
		{"scale above 14", []byte{3, 3, 200}, true, with(func(o *options) { o.scale = 14 })},
		{"scale without SYN", []byte{3, 3, 7}, false, none},
		{"SACK permitted without SYN", []byte{4, 2}, false, none},
		{"unknown, then SACK permitted", []byte{254, 4, 0, 0, 4, 2}, true, with(func(o *options) { o.sackPermitted = true })},
		{"unknown cut", []byte{4, 2, 254, 4, 0}, true, with(func(o *options) { o.sackPermitted = true })},
		{"length 0", []byte{4, 2, 254, 0, 2, 4, 5, 0xb4}, true, with(func(o *options) { o.sackPermitted = true })},
		{"length 1", []byte{254, 1, 4, 2}, true, none},
		{"no length", []byte{1, 1, 1, 8}, false, none},
		{"timestamps", []byte{8, 10, 0, 0, 0, 1, 0, 0, 0, 2}, false, with(func(o *options) { o.timestamps, o.tsVal, o.tsEcr = true, 1, 2 })},
		{"timestamps, aligned", []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}, false, with(func(o *options) { o.timestamps, o.tsVal, o.tsEcr = true, 1, 2 })},
		{"timestamps of wrong length", []byte{8, 9, 0, 0, 0, 1, 0, 0, 0}, false, none},
		{"SACK", []byte{5, 10, 0, 0, 0, 1, 0, 0, 0, 2}, false, with(func(o *options) { o.blocks, o.sack[0] = 1, block{1, 2} })},
		{"SACK in SYN", []byte{5, 10, 0, 0, 0, 1, 0, 0, 0, 2}, true, none},
		{"SACK of no block", []byte{5, 2}, false, none},
		{"SACK of half a block", []byte{5, 6, 0, 0, 0, 1}, false, none},
		{"SACK of four blocks", append([]byte{5, 34}, make([]byte, 32)...), false, with(func(o *options) { o.blocks = 4 })},
		{"SACK beyond", append([]byte{5, 42}, make([]byte, 38)...), false, none},
	} {
		var got options
		got.parse(c.b, c.syn)
		if got != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, got, c.want)
		}
	}
}

// An option that is not there leaves nothing behind of the segment before.
func TestOptionsForget(t *testing.T) {
	var o options
	o.parse(packet4[40:], true)
	o.parse(nil, true)
	if o.mss != 0 || o.scale != noScale || o.sackPermitted || o.timestamps || o.blocks != 0 {
		t.Errorf("%+v", o)
	}
}

// randomHeader is a header that may be sent.
func randomHeader(r *rand.Rand) header {
	h := header{
		lport: uint16(r.Uint32()), rport: uint16(r.Uint32()), seq: r.Uint32(), ack: r.Uint32(),
		window: uint16(r.Uint32()), flags: uint8(r.Uint32()), tos: uint8(r.Uint32()), ttl: uint8(r.Uint32()),
		id: uint16(r.Uint32()), opts: options{scale: noScale},
	}
	if h.v6 = r.IntN(2) == 0; h.v6 {
		h.local, h.remote, h.flow = addr{r.Uint64() | 1, r.Uint64()}, addr{r.Uint64() | 1, r.Uint64()}, r.Uint32N(1<<20)
	} else {
		h.local, h.remote = addr{lo: mapped4 | uint64(r.Uint32())}, addr{lo: mapped4 | uint64(r.Uint32())}
	}
	o := &h.opts
	if r.IntN(2) == 0 {
		o.timestamps, o.tsVal, o.tsEcr = true, r.Uint32(), r.Uint32()
	}
	if h.flags&wire.TCPSyn != 0 {
		if r.IntN(2) == 0 {
			o.mss = 1 + uint16(r.Uint32N(65535))
		}
		if r.IntN(2) == 0 {
			o.scale = uint8(r.IntN(15))
		}
		o.sackPermitted = r.IntN(2) == 0
	} else {
		o.blocks = uint8(r.IntN(maxBlocks(o.timestamps) + 1))
		for i := range o.blocks {
			o.sack[i] = block{r.Uint32(), r.Uint32()}
		}
	}
	return h
}

// checkHeader builds a segment and parses it again.
func checkHeader(t *testing.T, h header, payload []byte) {
	t.Helper()
	n := h.size()
	b := make([]byte, n+len(payload)+1)
	b[n+len(payload)] = 0xaa
	sum := copySum(b[n:], payload)
	if got := h.put(b, len(payload), sum, true); got != n {
		t.Fatalf("put %d bytes, size %d", got, n)
	}
	if b[n+len(payload)] != 0xaa {
		t.Fatal("wrote behind the segment")
	}
	if n > wire.IPv6Len+wire.TCPLen+maxOptions {
		t.Fatalf("%d bytes of headers", n)
	}
	b = b[:n+len(payload)]
	var s segment
	if r := parsePacket(&s, b, false); r != stat.Accepted {
		t.Fatalf("%+v: %v", h, r)
	}
	want := segment{
		local: h.remote, remote: h.local, lport: h.rport, rport: h.lport, seq: h.seq, ack: h.ack,
		window: h.window, flags: h.flags, tos: h.tos, ttl: h.ttl, v6: h.v6, opts: h.opts, payload: b[n:],
	}
	if !reflect.DeepEqual(s, want) {
		t.Fatalf("\n got %+v\nwant %+v", s, want)
	}
	if !h.v6 && (wire.IPv4(b).ID() != h.id || !wire.IPv4(b).DontFragment()) {
		t.Fatalf("identification or DF: % x", b[:20])
	}
	if h.v6 && binary.BigEndian.Uint32(b)&0xfffff != h.flow {
		t.Fatalf("flow label: % x", b[:4])
	}
	// Without sums, all but the field is the same.
	c := make([]byte, len(b))
	copy(c[n:], payload)
	h.put(c, len(payload), 0, false)
	at := n - wire.TCPLen - h.opts.size() + 16
	if c[at] != 0 || c[at+1] != 0 {
		t.Fatal("a checksum nobody asked for")
	}
	copy(c[at:], b[at:at+2])
	if !bytes.Equal(b, c) {
		t.Fatal("headers differ without sums")
	}
}

func FuzzHeader(f *testing.F) {
	f.Add(uint64(1), []byte{})
	f.Add(uint64(2), []byte("x"))
	f.Add(uint64(3), bytes.Repeat([]byte{0xff}, 1449))
	f.Fuzz(func(t *testing.T, seed uint64, payload []byte) {
		if len(payload) > 60000 {
			payload = payload[:60000]
		}
		r := rand.New(rand.NewPCG(seed, 5))
		for range 20 {
			checkHeader(t, randomHeader(r), payload)
		}
	})
}

// FuzzSegment: whatever arrives, nothing is read beyond it, and what is accepted
// means what the plain reading of the headers says.
func FuzzSegment(f *testing.F) {
	f.Add(summed(packet4), false)
	f.Add(summed(packet6), false)
	f.Add(packet4[:25], true)
	f.Add(packet6, true)
	f.Fuzz(func(t *testing.T, packet []byte, verified bool) {
		packet = slices.Clip(packet)
		var s segment
		if parsePacket(&s, packet, verified) != stat.Accepted {
			return
		}
		if s.opts.scale != noScale && s.opts.scale > maxScale || int(s.opts.blocks) > len(s.opts.sack) {
			t.Fatalf("%+v", s.opts)
		}
		if s.flags&wire.TCPSyn == 0 && (s.opts.mss != 0 || s.opts.scale != noScale || s.opts.sackPermitted) ||
			s.flags&wire.TCPSyn != 0 && s.opts.blocks != 0 {
			t.Fatalf("flags %#x, %+v", s.flags, s.opts)
		}
		// What was read can be said again, if not in the same words.
		h := header{
			local: s.remote, remote: s.local, lport: s.rport, rport: s.lport, seq: s.seq, ack: s.ack,
			window: s.window, flags: s.flags, tos: s.tos, ttl: s.ttl, v6: s.v6, opts: s.opts,
		}
		if s.opts.size() <= maxOptions && h.size()+len(s.payload) < 1<<16 && (s.v6 || s.remote.is4()) {
			checkHeader(t, clean(h), bytes.Clone(s.payload))
		}
	})
}

// clean drops what options say about a segment they do not belong to, and what
// is left over from others.
func clean(h header) header {
	if !h.opts.timestamps {
		h.opts.tsVal, h.opts.tsEcr = 0, 0
	}
	clear(h.opts.sack[h.opts.blocks:])
	return h
}

func TestSegmentAllocs(t *testing.T) {
	packet := summed(packet6)
	h := randomHeader(rand.New(rand.NewPCG(1, 1)))
	b := make([]byte, 200)
	var s segment
	if n := testing.AllocsPerRun(100, func() {
		parsePacket(&s, packet, false)
		h.put(b, 0, 0, true)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSegmentParse(b *testing.B) {
	ack := make([]byte, 52)
	h := header{
		local: addr{lo: mapped4 | 1}, remote: addr{lo: mapped4 | 2}, flags: wire.TCPAck,
		opts: options{scale: noScale, timestamps: true},
	}
	h.put(ack, 0, 0, true)
	for name, packet := range map[string][]byte{"ack": ack, "syn": summed(packet4), "sack": summed(packet6)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var d datagram
			var s segment
			for b.Loop() {
				d.parse(packet)
				s.parse(&d, true)
			}
		})
	}
}

func BenchmarkHeaderPut(b *testing.B) {
	for name, v6 := range map[string]bool{"v4": false, "v6": true} {
		b.Run(name, func(b *testing.B) {
			h := header{
				local: addr{lo: mapped4 | 1}, remote: addr{lo: mapped4 | 2}, flags: wire.TCPAck, v6: v6,
				opts: options{scale: noScale, timestamps: true},
			}
			f := make([]byte, 200)
			b.ReportAllocs()
			for b.Loop() {
				h.put(f, 1448, 12345, true)
			}
		})
	}
}
