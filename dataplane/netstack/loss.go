// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"encoding/binary"

	"netcon/dataplane/wire"
)

// lossMemory is for how many inbound data segments a connection counts as lossy
// after the last sign of loss.
const lossMemory = 1000

// mending is what is to be changed in an inbound segment so that gVisor's loss
// recovery takes it for what it is.
type mending struct {
	duplicate bool   // a duplicate ACK, RFC 6675 section 2
	window    uint16 // for a duplicate: what gVisor has
	stale     bool   // the timestamp echoed measures nothing
}

// mend looks at a segment before noteReceived does.
//
// gVisor counts an ACK with news in its SACK blocks as a duplicate only if it
// repeats the last window and carries no data (RFC 5681 section 2; with SACK
// neither matters, RFC 6675). A receiver whose application reads announces
// another window in every ACK, one that also sends never sends a bare ACK: then
// every loss would wait for the retransmission timer. What a window grew by is
// seen with the next ACK that is not a duplicate.
//
// gVisor believes an echoed timestamp whenever an ACK acknowledges something.
// An ACK provoked by a needless retransmission echoes what the receiver last
// took, from before the wait for the timer, and would make that wait a round
// trip time: the next timeout grows by several times it.
func (f *flow) mend(t wire.TCP) (m mending) {
	ack, was := t.Ack(), f.window
	if !f.sent || ack-f.una > f.nxt-f.una || t.Flags()&(wire.TCPSyn|wire.TCPRst|wire.TCPAck) != wire.TCPAck {
		return m
	}
	f.window = t.Window()
	if f.una == f.nxt || t.HeaderLen() < wire.TCPLen+12 {
		return m // nothing in flight, or no room for options that matter
	}
	switch {
	case ack == f.una:
		// Not at a closed window, which must be seen to open.
		if was != 0 && t.Window() >= was && hasSACK(t) {
			m.duplicate, m.window = true, was
			f.window = was
		}
	case f.resent && after(ack, f.una):
		m.stale = f.predates(t)
		f.resent = after(f.resentEnd, ack)
	}
	return m
}

// apply changes the copy of the segment that gVisor gets.
func (m *mending) apply(t wire.TCP) {
	if m.duplicate {
		binary.BigEndian.PutUint16(t[14:16], m.window)
	}
	if m.stale {
		eachOption(t, func(kind uint8, v []byte) {
			if kind == tcpOptTimestamp && len(v) == 8 {
				binary.BigEndian.PutUint32(v[4:], 0) // to gVisor: none
			}
		})
	}
}

// bare makes a copy of the headers of the packet in an ACK without data.
func bare(in *incoming, b []byte) {
	t := wire.TCP(b[in.at:])
	t.SetFlags(t.Flags() &^ (wire.TCPFin | wire.TCPPsh))
	setLength(b)
}

// hasSACK reports whether t selectively acknowledges something.
func hasSACK(t wire.TCP) (yes bool) {
	eachOption(t, func(kind uint8, v []byte) { yes = yes || kind == tcpOptBlocks && len(v) >= 8 })
	return yes
}

// predates reports whether t echoes a timestamp from before the last
// retransmission.
func (f *flow) predates(t wire.TCP) (yes bool) {
	eachOption(t, func(kind uint8, v []byte) {
		if kind == tcpOptTimestamp && len(v) == 8 {
			yes = after(f.resentAt, binary.BigEndian.Uint32(v[4:]))
		}
	})
	return yes
}

// noteResent remembers when t, a retransmission that ends at end, left.
func (f *flow) noteResent(t wire.TCP, end uint32) {
	eachOption(t, func(kind uint8, v []byte) {
		if kind == tcpOptTimestamp && len(v) == 8 {
			f.resent, f.resentEnd, f.resentAt = true, end, binary.BigEndian.Uint32(v)
		}
	})
}

// noteLoss looks for signs that the path to us loses packets: a segment behind
// a hole, or one we had already, because our ACK was lost.
//
// From a hole on, until all that was received is acknowledged, segments are not
// merged: every one is to be answered with a duplicate ACK (RFC 5681 section
// 4.2), since one ACK for a whole flight may be lost.
func (f *flow) noteLoss(seq, end uint32) {
	switch {
	case after(seq, f.high):
		f.gap = true
		f.lossy = lossMemory
	case !after(end, f.ack):
		f.lossy = lossMemory
	case f.lossy > 0:
		f.lossy--
	}
}

// insures reports whether an ACK without data that is about to leave is to be
// sent twice. gVisor acknowledges a whole flight with one ACK, where RFC 5681
// section 4.2 has one for every two segments, and whoever sent that flight waits
// for its timer if it is lost.
func (f *flow) insures(t wire.TCP) bool {
	return f.lossy > 0 && t.Flags() == wire.TCPAck && !f.holes()
}
