// SPDX-License-Identifier: Apache-2.0

package tcp

// halfOpen is a connection in SYN-RECEIVED that a listener answered: what the
// SYN said and what we answered, until the handshake is complete. 64 bytes.
type halfOpen struct {
	slot
	tsRecent uint32 // TSval of the SYN (RFC 7323 section 4.3)
	tuple    tuple
	irs      uint32 // their initial sequence number
	iss      uint32 // ours
	listener uint32 // index of the listener's record
	prev     uint32 // half-open connections of the listener, oldest first
	next     uint32
	sent     uint32 // when the first SYN-ACK left, microseconds: to measure the round trip
	window   uint16 // of the SYN, unscaled
	mss      uint16 // of the SYN, or the default
	scale    uint8  // their window scale; noScale: none
	flags    uint8  // halfOpen…
	tries    uint8  // retransmissions of the SYN-ACK
	tos      uint8  // of the SYN
}

// Flags of a halfOpen.
const (
	halfOpenSACK       = 1 << iota // SACK permitted
	halfOpenTimestamps             // timestamps in use
	halfOpenECN                    // ECN negotiated
	halfOpenAcked                  // the handshake is complete, but the accept queue was full, or data is waited for
	halfOpenResent                 // the SYN-ACK was retransmitted: no round trip sample (Karn)
)

// noScale stands for a window scale option that was not there.
const noScale = 0xff

// timeWait is a connection in TIME-WAIT, or an orphan in FIN-WAIT-2 that only
// waits for a FIN: enough to acknowledge, to refuse and to be reused (RFC 9293
// section 3.10.7.4, RFC 6191). 64 bytes.
type timeWait struct {
	slot
	tsRecent uint32 // RFC 7323 section 4.3
	tuple    tuple
	sndNxt   uint32
	rcvNxt   uint32
	tsAt     uint32 // when tsRecent was set, milliseconds
	prev     uint32 // TIME-WAIT records in the order in which they end
	next     uint32
	until    uint32 // when it ends, milliseconds
	lastAck  uint32 // when a bad segment was answered last, milliseconds
	window   uint16 // that we offer, scaled down
	flags    uint8  // timeWait…
	tos      uint8
}

// Flags of a timeWait.
const (
	timeWaitTimestamps = 1 << iota // timestamps in use
	timeWaitFinWait2               // the peer's FIN has not come

	timeWaitClass = 4 // shift of the class of the binding
)

// binding returns how the record holds its port.
func (w *timeWait) binding() binding {
	return binding{port: w.tuple.lport, local: w.tuple.local, class: w.flags >> timeWaitClass}
}
