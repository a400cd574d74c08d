// SPDX-License-Identifier: Apache-2.0

package trace

import "encoding/binary"

// Blocks, in little-endian order (draft-ietf-opsawg-pcapng section 4).
const (
	blockSection    = 0x0a0d0d0a
	blockInterface  = 1
	blockStatistics = 5
	blockPacket     = 6

	byteOrderMagic   = 0x1a2b3c4d
	linkTypeEthernet = 1
)

// Options. Their numbers mean something else in each block.
const (
	optEnd = 0

	optHardware    = 2 // section header
	optOS          = 3
	optApplication = 4

	optName        = 2 // interface description
	optDescription = 3
	optResolution  = 9 // of times: a negative power of ten

	optFlags     = 2 // enhanced packet
	optDropCount = 4

	optStart    = 2 // interface statistics
	optStop     = 3
	optReceived = 4
	optDropped  = 5
)

// Directions in optFlags.
const (
	flagInbound  = 1
	flagOutbound = 2
)

var le = binary.LittleEndian

// begin appends the start of a block; end, given the length of b before, its
// end.
func begin(b []byte, block uint32) []byte {
	return le.AppendUint32(le.AppendUint32(b, block), 0)
}

func end(b []byte, at int) []byte {
	n := uint32(len(b) - at + 4)
	le.PutUint32(b[at+4:], n)
	return le.AppendUint32(b, n)
}

// pad appends zeros after n bytes of something, up to 32 bits.
func pad(b []byte, n int) []byte {
	for ; n%4 != 0; n++ {
		b = append(b, 0)
	}
	return b
}

// appendText appends an option of text, if there is any; what does not fit the
// 16 bits of its length is cut.
func appendText(b []byte, code uint16, text string) []byte {
	if text == "" {
		return b
	}
	text = text[:min(len(text), 0xffff)]
	b = le.AppendUint16(le.AppendUint16(b, code), uint16(len(text)))
	return pad(append(b, text...), len(text))
}

func append32(b []byte, code uint16, v uint32) []byte {
	return le.AppendUint32(le.AppendUint16(le.AppendUint16(b, code), 4), v)
}

func append64(b []byte, code uint16, v uint64) []byte {
	return le.AppendUint64(le.AppendUint16(le.AppendUint16(b, code), 8), v)
}

// appendTime appends a time, which is not an option of 64 bits but two of 32.
func appendTime(b []byte, ns int64) []byte {
	return le.AppendUint32(le.AppendUint32(b, uint32(uint64(ns)>>32)), uint32(ns))
}

func appendEnd(b []byte) []byte { return le.AppendUint32(b, optEnd) }

// appendSection appends a section header of unknown length.
func appendSection(b []byte, hardware, os, application string) []byte {
	at := len(b)
	b = begin(b, blockSection)
	b = le.AppendUint32(b, byteOrderMagic)
	b = le.AppendUint16(le.AppendUint16(b, 1), 0) // version 1.0
	b = le.AppendUint64(b, 1<<64-1)
	b = appendText(b, optHardware, hardware)
	b = appendText(b, optOS, os)
	b = appendText(b, optApplication, application)
	return end(appendEnd(b), at)
}

// appendInterface appends the description of an Ethernet interface whose times
// are in nanoseconds.
func appendInterface(b []byte, name, description string, snaplen int) []byte {
	at := len(b)
	b = begin(b, blockInterface)
	b = le.AppendUint16(le.AppendUint16(b, linkTypeEthernet), 0)
	b = le.AppendUint32(b, uint32(snaplen))
	b = appendText(b, optName, name)
	b = appendText(b, optDescription, description)
	b = le.AppendUint16(le.AppendUint16(b, optResolution), 1)
	b = append(b, 9, 0, 0, 0)
	return end(appendEnd(b), at)
}

// beginPacket appends an enhanced packet up to its bytes, of which captured
// follow.
func beginPacket(b []byte, iface uint32, ns int64, captured, whole int) []byte {
	b = begin(b, blockPacket)
	b = appendTime(le.AppendUint32(b, iface), ns)
	return le.AppendUint32(le.AppendUint32(b, uint32(captured)), uint32(whole))
}

// endPacket ends the packet that begins at at, after its captured bytes. lost is
// the number of packets dropped before it.
func endPacket(b []byte, at, captured int, out bool, lost uint32) []byte {
	b = pad(b, captured)
	flags := uint32(flagInbound)
	if out {
		flags = flagOutbound
	}
	b = append32(b, optFlags, flags)
	if lost != 0 {
		b = append64(b, optDropCount, uint64(lost))
	}
	return end(appendEnd(b), at)
}

// appendStatistics appends what became of an interface's packets from start to
// stop.
func appendStatistics(b []byte, iface uint32, start, stop int64, received, dropped uint64) []byte {
	at := len(b)
	b = begin(b, blockStatistics)
	b = appendTime(le.AppendUint32(b, iface), stop)
	b = appendTime(le.AppendUint16(le.AppendUint16(b, optStart), 8), start)
	b = appendTime(le.AppendUint16(le.AppendUint16(b, optStop), 8), stop)
	b = append64(b, optReceived, received)
	b = append64(b, optDropped, dropped)
	return end(appendEnd(b), at)
}
