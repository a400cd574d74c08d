// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"time"

	"netcon/dataplane/stream"
)

// Inspection is what is known of a connection beyond stream.Info, for tests and
// people.
type Inspection struct {
	CAState     uint8 // as tcpi_ca_state: 0 Open, 1 Disorder, 2 CWR, 3 Recovery, 4 Loss
	Retransmits uint8 // timeouts in a row
	Backoff     uint8
	Probes      uint8
	ECN         bool   // agreed
	ECNSeen     bool   // the peer is told of congestion
	Sacked      uint32 // segments
	DSACKs      uint32
	NotSent     uint32 // bytes
	CwndBytes   uint32
	MinRTT      time.Duration
	ATO         time.Duration
	OutOfOrder  int // spans behind holes
	Reordering  bool
}

// Inspect fills in what is known of a connection.
func (e *Engine) Inspect(h stream.Handle, d *Inspection) {
	*d = Inspection{}
	_, c, errno := e.lookup(h)
	if errno != 0 {
		return
	}
	d.Backoff, d.Retransmits, d.Probes = c.backoff, c.backoff, c.probes
	d.ECN, d.ECNSeen = c.has(fECN), c.has(fECE)
	d.CwndBytes = c.cwnd
	d.MinRTT = time.Duration(e.minRTT(c)) * time.Microsecond
	d.ATO = time.Duration(c.ato) * time.Millisecond
	if c.state.in(synchronized) && !c.has(fFinSent) {
		d.NotSent = c.end - c.nxt
	}
	if c.work == 0 {
		return
	}
	w := e.works.at(c.work)
	d.Sacked = (w.sacked + w.guessed + uint32(c.mss) - 1) / uint32(max(c.mss, 1))
	d.DSACKs = w.dsacks
	d.OutOfOrder = int(w.ranges)
	d.Reordering = w.has(wReordered)
	switch w.phase {
	case phaseCWR:
		d.CAState = 2
	case phaseRecovery:
		d.CAState = 3
	case phaseLoss:
		d.CAState = 4
	default:
		if w.sacked+w.guessed > 0 {
			d.CAState = 1
		}
	}
}
