// SPDX-License-Identifier: Apache-2.0

package tcp

// prr paces what is sent during recovery by what is delivered (Proportional
// Rate Reduction, RFC 9937), so that the flight ends at ssthresh. Counts are
// bytes. 12 bytes.
type prr struct {
	recoverFS uint32 // RecoverFS
	delivered uint32 // prr_delivered
	out       uint32 // prr_out
}

// start enters recovery. flight is SND.NXT-SND.UNA and sacked what the
// scoreboard holds, both after the ACK that is processed, and delivered what
// that ACK delivered: RecoverFS is what recovery will see delivered, that ACK
// included (RFC 9937 section 6.1, which counts from before the ACK).
func (p *prr) start(flight, sacked, delivered uint32) {
	fs := int64(flight) - int64(sacked) + int64(delivered)
	*p = prr{recoverFS: uint32(max(fs, 1))}
}

// ack returns cwnd after an ACK in recovery that delivered bytes. inflight is
// the pipe, safe says that SND.UNA advanced and no further loss was found. ok
// is false if nothing was delivered: cwnd stays as it is (RFC 9937 section
// 6.2).
func (p *prr) ack(delivered, inflight, ssthresh, mss uint32, safe bool) (cwnd uint32, ok bool) {
	if delivered == 0 {
		return 0, false
	}
	p.delivered = uint32(min(uint64(p.delivered)+uint64(delivered), 1<<32-1))
	var send int64
	if inflight > ssthresh {
		fs := uint64(max(p.recoverFS, 1))
		due := (uint64(p.delivered)*uint64(ssthresh) + fs - 1) / fs
		// Up to a whole segment: less is not sent.
		segments := (min(due, 1<<32) + uint64(mss) - 1) / uint64(mss)
		send = int64(segments*uint64(mss)) - int64(p.out)
	} else {
		// Conservative reduction bound, and slow start while it goes well.
		send = max(int64(p.delivered)-int64(p.out), int64(delivered))
		if safe {
			send += int64(mss)
		}
		send = min(int64(ssthresh-inflight), send)
	}
	send = max(send, 0)
	if p.out == 0 {
		// The fast retransmission leaves whatever the rates say. Less than a
		// segment would not let it go.
		send = max(send, int64(mss))
	}
	return uint32(min(int64(inflight)+send, maxCwnd)), true
}

// sent notes n bytes that were sent in recovery, new or again.
func (p *prr) sent(n uint32) {
	p.out = uint32(min(uint64(p.out)+uint64(n), 1<<32-1))
}
