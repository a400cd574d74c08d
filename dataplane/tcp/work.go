// SPDX-License-Identifier: Apache-2.0

package tcp

// phase is where loss recovery stands.
type phase uint8

const (
	phaseOpen     phase = iota // nothing is missed
	phaseCWR                   // RFC 3168 section 6.1.2: cwnd is being reduced, nothing is missed
	phaseRecovery              // RFC 6675: fast recovery
	phaseLoss                  // RFC 5681 section 3.1: a retransmission timeout
)

// work is what a connection needs while it has bytes in flight or out of order.
// It is taken when the first of them appears and given back when the connection
// has been idle for a retransmission timeout.
type work struct {
	slot
	head, tail uint32 // runs
	first      uint32 // where the first run starts: SND.UNA
	sacked     uint32 // bytes of runs that were selectively acknowledged
	pending    uint32 // bytes of runs that are to be resent
	guessed    uint32 // without SACK: bytes that duplicate ACKs stand for
	fack       uint32 // highest sequence number known to have arrived
	recover    uint32 // RFC 6675: RecoveryPoint
	smallEnd   uint32 // behind the last segment sent that was not full: Nagle

	rackSent uint32 // RFC 8985: RACK.xmit_ts, microseconds
	rackEnd  uint32 // RACK.end_seq
	rackRTT  uint32 // RACK.rtt, microseconds
	tlpEnd   uint32 // TLP.end_seq
	dsackEnd uint32 // RACK.dsack_round: a DSACK below belongs to it

	undoFrom uint32 // SND.UNA at the reduction
	undoLeft int32  // bytes resent since and not reported as duplicates; <= 0: all were needless
	resentAt uint32 // when the first retransmission of this recovery left, milliseconds; also what timeouts count from
	used     uint32 // largest flight of late, bytes; it counts until usedEnd is acknowledged
	usedEnd  uint32
	stuckAt  uint32 // since when timeouts follow each other, milliseconds; 0: they do not

	delivered             uint32    // bytes that reached the peer since the record was taken, RFC 9937
	dsacks                uint32    // DSACKs received
	dsackLeft, dsackRight uint32    // a duplicate to be reported, RFC 2883
	hole                  uint32    // first span behind a hole
	recent                [4]uint32 // starts of the segments that arrived last: their spans are reported first
	finSeq                uint32    // sequence number of the peer's FIN, which is behind a hole

	probeStart, probeEnd uint32 // an MTU probe in flight

	runs    uint16
	ranges  uint16 // spans behind holes
	dups    uint8  // duplicate ACKs in a row
	reoMult uint8  // RACK.reo_wnd_mult
	reoKeep uint8  // RACK.reo_wnd_persist: recoveries left
	phase   phase
	frto    frto
	flags   workFlags

	cc ccState
}

type workFlags uint16

const (
	wHasRACK    workFlags = 1 << iota // rackSent and so on are set
	wHasFack                          // fack is set
	wReordered                        // RACK.reordering_seen
	wDSACKs                           // the peer sends DSACKs
	wDSACKRound                       // dsackEnd is set
	wTLP                              // a tail loss probe is in flight; tlpEnd is set
	wTLPDue                           // a tail loss probe is to be sent
	wProbe                            // a window or keepalive probe is to be sent
	wTLPResent                        // and it was a retransmission: TLP.is_retrans
	wUndo                             // the undo fields are set
	wSmall                            // smallEnd is set
	wFin                              // finSeq is set
	wDSACKDue                         // dsackLeft, dsackRight are to be sent
	wProbing                          // an MTU probe is in flight
	wLimited                          // cwnd, and not the sender, was the limit: it may grow (RFC 7661 section 3)
)

func (w *work) has(f workFlags) bool { return w.flags&f != 0 }
func (w *work) probing() bool        { return w.flags&wProbing != 0 }
