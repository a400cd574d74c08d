// SPDX-License-Identifier: Apache-2.0

package tcp

// Sequence numbers, and timestamps, are compared modulo 2^32 (RFC 9293 section
// 3.4, RFC 7323 section 5.2): a precedes b if b is less than 2^31 ahead of it.
// Two numbers exactly 2^31 apart precede each other under neither name: seqLT
// is false both ways, as seqLEQ is true both ways.

// seqLT reports whether a precedes b.
func seqLT(a, b uint32) bool { return b-a-1 < 1<<31-1 }

// seqLEQ reports whether a precedes b or is b.
func seqLEQ(a, b uint32) bool { return !seqLT(b, a) }

// seqGT reports whether a follows b.
func seqGT(a, b uint32) bool { return seqLT(b, a) }

// seqGEQ reports whether a follows b or is b.
func seqGEQ(a, b uint32) bool { return !seqLT(a, b) }

// seqMax returns the later of two numbers.
func seqMax(a, b uint32) uint32 {
	if seqLT(a, b) {
		return b
	}
	return a
}

// seqMin returns the earlier of two numbers.
func seqMin(a, b uint32) uint32 {
	if seqLT(a, b) {
		return a
	}
	return b
}
