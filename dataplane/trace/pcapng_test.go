// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"bytes"
	"math"
	"testing"
)

// stream is what a reader finds in a pcapng stream.
type stream struct {
	application string
	ifaces      []described
	packets     []packet
	stats       map[uint32]statistics
}

type described struct {
	name, description string
	snaplen           uint32
}

type packet struct {
	iface, flags uint32
	time         int64
	whole        int
	lost         uint64
	data         []byte
}

type statistics struct {
	start, stop       int64
	received, dropped uint64
}

// readStream reads a stream and fails the test for everything that the format
// does not allow. Bytes of a last block that is not whole are returned.
func readStream(t testing.TB, b []byte) (s stream, rest []byte) {
	t.Helper()
	s.stats = map[uint32]statistics{}
	for n := 0; len(b) >= 8; n++ {
		block, size := le.Uint32(b), int(le.Uint32(b[4:]))
		if size < 12 || size%4 != 0 {
			t.Fatalf("block %d (type %#x) of %d bytes", n, block, size)
		}
		if size > len(b) {
			return s, b
		}
		if again := int(le.Uint32(b[size-4:])); again != size {
			t.Fatalf("block %d (type %#x): %d bytes at its start, %d at its end", n, block, size, again)
		}
		body := b[8 : size-4]
		b = b[size:]
		if (block == blockSection) != (n == 0) {
			t.Fatalf("block %d has type %#x", n, block)
		}
		switch block {
		case blockSection:
			if !bytes.Equal(body[:16], []byte{
				0x4d, 0x3c, 0x2b, 0x1a, // byte order
				1, 0, 0, 0, // version
				255, 255, 255, 255, 255, 255, 255, 255, // of unknown length
			}) {
				t.Fatalf("section header % x", body[:16])
			}
			s.application = string(options(t, body[16:])[optApplication])
		case blockInterface:
			o := options(t, body[8:])
			if link := le.Uint16(body); link != linkTypeEthernet || !bytes.Equal(o[optResolution], []byte{9}) {
				t.Fatalf("interface of link type %d, resolution %v", link, o[optResolution])
			}
			s.ifaces = append(s.ifaces, described{string(o[optName]), string(o[optDescription]), le.Uint32(body[4:])})
		case blockPacket:
			p := packet{iface: le.Uint32(body), time: time64(body[4:]), whole: int(le.Uint32(body[16:]))}
			n := int(le.Uint32(body[12:]))
			p.data = body[20 : 20+n]
			o := options(t, body[20+(n+3)&^3:])
			p.flags = le.Uint32(o[optFlags])
			if lost := o[optDropCount]; lost != nil {
				p.lost = le.Uint64(lost)
			}
			if int(p.iface) >= len(s.ifaces) {
				t.Fatalf("packet of interface %d, %d are described", p.iface, len(s.ifaces))
			}
			s.packets = append(s.packets, p)
		case blockStatistics:
			i, o := le.Uint32(body), options(t, body[12:])
			if _, twice := s.stats[i]; twice || int(i) >= len(s.ifaces) || time64(body[4:]) != time64(o[optStop]) {
				t.Fatalf("statistics of interface %d, %d are described", i, len(s.ifaces))
			}
			s.stats[i] = statistics{time64(o[optStart]), time64(o[optStop]), le.Uint64(o[optReceived]), le.Uint64(o[optDropped])}
		default:
			t.Fatalf("block %d has type %#x", n, block)
		}
	}
	return s, b
}

func time64(b []byte) int64 { return int64(uint64(le.Uint32(b))<<32 | uint64(le.Uint32(b[4:]))) }

// options reads a list of options that must fill b.
func options(t testing.TB, b []byte) map[uint16][]byte {
	t.Helper()
	all := map[uint16][]byte{}
	for {
		code, n := le.Uint16(b), int(le.Uint16(b[2:]))
		if code == optEnd {
			if n != 0 || len(b) != 4 {
				t.Fatalf("end of options % x", b)
			}
			return all
		}
		if _, twice := all[code]; twice {
			t.Fatalf("option %d twice", code)
		}
		all[code] = b[4 : 4+n]
		if padding := b[4+n : 4+(n+3)&^3]; len(bytes.Trim(padding, "\x00")) != 0 {
			t.Fatalf("option %d is padded with % x", code, padding)
		}
		b = b[4+(n+3)&^3:]
	}
}

// TestPacketBlock compares a block with the bytes that the format demands.
func TestPacketBlock(t *testing.T) {
	b := beginPacket([]byte{0xee}, 2, 0x1122334455667788, 3, 60)
	b = append(b, 0xaa, 0xbb, 0xcc)
	b = endPacket(b, 1, 3, true, 7)
	want := []byte{
		0xee,       // what was there before
		6, 0, 0, 0, // enhanced packet
		60, 0, 0, 0, // block length
		2, 0, 0, 0, // interface
		0x44, 0x33, 0x22, 0x11, 0x88, 0x77, 0x66, 0x55, // time, high half first
		3, 0, 0, 0, 60, 0, 0, 0, // captured, whole length
		0xaa, 0xbb, 0xcc, 0, // bytes, padded
		2, 0, 4, 0, 2, 0, 0, 0, // flags: outbound
		4, 0, 8, 0, 7, 0, 0, 0, 0, 0, 0, 0, // drop count
		0, 0, 0, 0, // end of options
		60, 0, 0, 0, // block length
	}
	if !bytes.Equal(b, want) {
		t.Errorf("got  % x\nwant % x", b, want)
	}
}

func TestBlocks(t *testing.T) {
	b := appendSection(nil, "arm64", "linux", "netcon v1.2.3")
	for n := range 5 { // every padding
		b = appendInterface(b, "webs"[:n], "described"[:n], 100+n)
	}
	for n := range 5 {
		at := len(b)
		b = beginPacket(b, uint32(n), int64(n), n, 1000+n)
		b = append(b, []byte{1, 2, 3, 4}[:n]...)
		b = endPacket(b, at, n, n%2 == 1, uint32(n))
	}
	b = appendStatistics(b, 1, 5<<32|6, 7<<32|8, 1<<40, math.MaxUint64)

	s, rest := readStream(t, b)
	if len(rest) != 0 || s.application != "netcon v1.2.3" || len(s.ifaces) != 5 || len(s.packets) != 5 {
		t.Fatalf("%+v, rest % x", s, rest)
	}
	for n, f := range s.ifaces {
		if want := (described{"webs"[:n], "described"[:n], uint32(100 + n)}); f != want {
			t.Errorf("interface %+v, want %+v", f, want)
		}
	}
	for n, p := range s.packets {
		flags := uint32(flagInbound)
		if n%2 == 1 {
			flags = flagOutbound
		}
		if p.iface != uint32(n) || p.time != int64(n) || p.whole != 1000+n || p.flags != flags || p.lost != uint64(n) ||
			!bytes.Equal(p.data, []byte{1, 2, 3, 4}[:n]) {
			t.Errorf("packet %d: %+v", n, p)
		}
	}
	if got, want := s.stats[1], (statistics{5<<32 | 6, 7<<32 | 8, 1 << 40, math.MaxUint64}); got != want {
		t.Errorf("statistics %+v, want %+v", got, want)
	}
}

// A name from a configuration does not break the block it is in.
func TestLongText(t *testing.T) {
	b := appendSection(nil, "", "", "")
	b = appendInterface(b, string(make([]byte, 1<<17)), "", 0)
	if s, _ := readStream(t, b); len(s.ifaces) != 1 || len(s.ifaces[0].name) != 0xffff {
		t.Errorf("%d interfaces", len(s.ifaces))
	}
}
