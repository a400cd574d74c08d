// SPDX-License-Identifier: Apache-2.0

package tcp

import "encoding/binary"

// TCP options (IANA), and their lengths in bytes.
const (
	optEnd           = 0
	optNop           = 1
	optMSS           = 2 // RFC 9293 section 3.7.1
	optWindowScale   = 3 // RFC 7323 section 2
	optSACKPermitted = 4 // RFC 2018 section 2
	optSACK          = 5 // RFC 2018 section 3
	optTimestamps    = 8 // RFC 7323 section 3

	lenMSS           = 4
	lenWindowScale   = 3
	lenSACKPermitted = 2
	lenSACKBlock     = 8
	lenTimestamps    = 10
)

// maxOptions is the room for options in a TCP header.
const maxOptions = 40

// maxScale is the largest window scale (RFC 7323 section 2.3).
const maxScale = 14

// block is a SACK block: the bytes from start to before end.
type block struct{ start, end uint32 }

// options is what the options of a segment say.
type options struct {
	mss           uint16 // 0: no option. SYN only
	scale         uint8  // noScale: no option; at most maxScale. SYN only
	sackPermitted bool   // SYN only
	timestamps    bool
	blocks        uint8 // valid ones in sack
	tsVal, tsEcr  uint32
	sack          [4]block
}

// parse reads the options in b. Like Linux it takes what it can: an option with
// a wrong length, or in a segment where it has no business, is ignored, and
// what cannot be walked any further ends the list. Of options that repeat the
// last one counts.
func (o *options) parse(b []byte, syn bool) {
	o.mss, o.scale, o.sackPermitted, o.timestamps, o.blocks = 0, noScale, false, false, 0
	if len(b) == 12 && binary.BigEndian.Uint32(b) == optNop<<24|optNop<<16|optTimestamps<<8|lenTimestamps {
		// What almost every segment has (RFC 7323 appendix A).
		o.timestamps = true
		o.tsVal, o.tsEcr = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
		return
	}
	for len(b) > 0 {
		switch b[0] {
		case optEnd:
			return
		case optNop:
			b = b[1:]
			continue
		}
		if len(b) < 2 {
			return
		}
		n := int(b[1])
		if n < 2 || n > len(b) {
			return
		}
		o.take(b[0], b[2:n], syn)
		b = b[n:]
	}
}

// take reads one option from its value.
func (o *options) take(kind uint8, v []byte, syn bool) {
	switch kind {
	case optMSS:
		if syn && len(v) == lenMSS-2 {
			o.mss = binary.BigEndian.Uint16(v)
		}
	case optWindowScale:
		if syn && len(v) == lenWindowScale-2 {
			o.scale = min(v[0], maxScale)
		}
	case optSACKPermitted:
		if syn && len(v) == lenSACKPermitted-2 {
			o.sackPermitted = true
		}
	case optTimestamps:
		if len(v) == lenTimestamps-2 {
			o.timestamps = true
			o.tsVal, o.tsEcr = binary.BigEndian.Uint32(v), binary.BigEndian.Uint32(v[4:])
		}
	case optSACK:
		if syn || len(v) == 0 || len(v)%lenSACKBlock != 0 || len(v) > lenSACKBlock*len(o.sack) {
			return
		}
		o.blocks = uint8(len(v) / lenSACKBlock)
		for i := range int(o.blocks) {
			e := v[i*lenSACKBlock:]
			o.sack[i] = block{binary.BigEndian.Uint32(e), binary.BigEndian.Uint32(e[4:])}
		}
	}
}

// size returns the bytes put writes, a multiple of four.
func (o *options) size() int {
	n := 0
	if o.mss != 0 {
		n += lenMSS
	}
	if o.timestamps {
		n += 12
	} else if o.sackPermitted {
		n += 4
	}
	if o.scale != noScale {
		n += 4
	}
	if o.blocks != 0 {
		n += 4 + lenSACKBlock*int(o.blocks)
	}
	return n
}

// put writes the options into b, in the order and with the padding of Linux,
// and returns their size. Blocks beyond the room of a header are its user's
// mistake: maxBlocks says how many there is room for.
func (o *options) put(b []byte) int {
	n := 0
	if o.mss != 0 {
		binary.BigEndian.PutUint32(b[n:], optMSS<<24|lenMSS<<16|uint32(o.mss))
		n += lenMSS
	}
	if o.timestamps {
		if o.sackPermitted {
			binary.BigEndian.PutUint32(b[n:], optSACKPermitted<<24|lenSACKPermitted<<16|optTimestamps<<8|lenTimestamps)
		} else {
			binary.BigEndian.PutUint32(b[n:], optNop<<24|optNop<<16|optTimestamps<<8|lenTimestamps)
		}
		binary.BigEndian.PutUint32(b[n+4:], o.tsVal)
		binary.BigEndian.PutUint32(b[n+8:], o.tsEcr)
		n += 12
	} else if o.sackPermitted {
		binary.BigEndian.PutUint32(b[n:], optNop<<24|optNop<<16|optSACKPermitted<<8|lenSACKPermitted)
		n += 4
	}
	if o.scale != noScale {
		binary.BigEndian.PutUint32(b[n:], optNop<<24|optWindowScale<<16|lenWindowScale<<8|uint32(o.scale))
		n += 4
	}
	if o.blocks != 0 {
		l := 2 + lenSACKBlock*uint32(o.blocks)
		binary.BigEndian.PutUint32(b[n:], optNop<<24|optNop<<16|optSACK<<8|l)
		n += 4
		for _, s := range o.sack[:o.blocks] {
			binary.BigEndian.PutUint32(b[n:], s.start)
			binary.BigEndian.PutUint32(b[n+4:], s.end)
			n += lenSACKBlock
		}
	}
	return n
}

// maxBlocks returns how many SACK blocks a segment has room for.
func maxBlocks(timestamps bool) int {
	if timestamps {
		return 3
	}
	return 4
}
