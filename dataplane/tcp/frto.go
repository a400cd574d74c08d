// SPDX-License-Identifier: Apache-2.0

package tcp

// frto finds out whether a retransmission timeout was spurious: from the
// acknowledgments of what was sent before it and was not retransmitted (F-RTO,
// RFC 5682, with SACK section 3).
type frto uint8

const (
	frtoDecided frto = iota // not in use, or decided
	frtoFirst               // step 2: the first segment was retransmitted
	frtoFresh               // step 3: new data was sent instead of more retransmissions
)

// frtoAck is what an ACK after the timeout says.
type frtoAck struct {
	advanced  bool // SND.UNA advanced
	complete  bool // it covers everything that was sent before the timeout
	original  bool // it acknowledges or SACKs bytes, sent before the timeout, that were never retransmitted; without SACK: and none that were
	sacked    bool // it SACKs bytes that were not SACKed
	duplicate bool // a duplicate ACK
	canSend   bool // there is new data, and the peer's window takes it
}

// frtoVerdict is what is to be done after an ACK.
type frtoVerdict uint8

const (
	frtoNone      frtoVerdict = iota // not in use: conventional recovery
	frtoUndecided                    // undecided: retransmit nothing yet
	frtoSendNew                      // undecided: send up to two new segments, nothing else
	frtoSpurious                     // the timeout was spurious: undo it
	frtoLoss                         // the loss was real: conventional recovery
)

// start follows the retransmission timer. repeated says that recovery from an
// earlier timeout was not over: nothing can be told then (step 1).
func (f *frto) start(repeated bool) {
	*f = frtoFirst
	if repeated {
		*f = frtoDecided
	}
}

// stop gives up: the timer expired again, or the connection has other reasons.
func (f *frto) stop() { *f = frtoDecided }

// active reports whether it is undecided.
func (f frto) active() bool { return f != frtoDecided }

// ack takes an acknowledgment.
func (f *frto) ack(in frtoAck) frtoVerdict {
	if *f == frtoDecided {
		return frtoNone
	}
	if in.original {
		// Step 3b; in step 2 it says as much: the original arrived.
		*f = frtoDecided
		return frtoSpurious
	}
	if *f == frtoFresh {
		switch {
		case in.complete || in.sacked || in.duplicate:
			// Step 3a: the new data arrived and the old did not.
			*f = frtoDecided
			return frtoLoss
		}
		return frtoUndecided
	}
	switch {
	case in.complete:
		// Step 2a: everything, by one retransmission.
		*f = frtoDecided
		return frtoLoss
	case in.advanced && in.canSend:
		*f = frtoFresh
		return frtoSendNew
	case in.advanced:
		*f = frtoDecided
		return frtoLoss
	}
	// A duplicate says nothing while only old data is out: with SACK it may
	// come from a segment that was sent before the timeout.
	return frtoUndecided
}
