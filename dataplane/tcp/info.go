// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"time"

	"netcon/dataplane/stream"
)

// Info implements stream.Engine: the STATUS call of RFC 9293 section 3.10.6.
func (e *Engine) Info(h stream.Handle, info *stream.Info) {
	*info = stream.Info{State: uint8(stClosed)}
	_, c, errno := e.lookup(h)
	if errno != 0 {
		return
	}
	info.State = uint8(c.state)
	if c.state == stListen {
		l := e.listeners[c.link]
		info.Unacked = uint32(l.ready) // as the kernel reports a listener's queue
		return
	}
	us := func(v uint32) time.Duration { return time.Duration(v) * time.Microsecond }
	info.Timestamps, info.SACK, info.WindowScale = c.has(fTS), c.has(fSACK), c.has(fScale)
	info.SendScale, info.RecvScale = c.sndScale(), c.rcvScale()
	info.RTO, info.RTT, info.RTTVar = us(e.rto(c)), us(e.srtt(c)), us(e.rttvar(c))
	info.SendMSS, info.RecvMSS, info.MTU = uint32(c.mss), uint32(c.rcvMSS), uint32(c.mtu)
	mss := max(uint32(c.mss), 1)
	segments := func(n uint32) uint32 { return (n + mss - 1) / mss }
	info.Cwnd, info.Ssthresh = c.cwnd/mss, c.ssthresh
	if c.ssthresh < noSsthresh {
		info.Ssthresh = c.ssthresh / mss
	}
	info.Reord = uint32(e.tun.Reordering)
	info.TotalRetrans = c.resent
	info.BytesAcked, info.BytesReceived = c.acked, c.rcvd
	info.SegsOut, info.SegsIn = c.segsOut, c.segsIn
	info.SendWind = c.wnd
	if !c.state.in(synchronized) {
		return
	}
	info.Unacked = segments(c.flight())
	info.SendQueue = c.end - c.una
	if c.stash != 0 {
		info.RecvQueue = uint32(e.stashes.rings[c.stash].Len())
	}
	if c.work != 0 {
		w := e.works.at(c.work)
		info.Lost = segments(w.pending)
		info.Retrans = segments(e.resentInFlight(w))
	}
}

// resentInFlight returns the bytes in flight for the second time.
func (e *Engine) resentInFlight(w *work) uint32 {
	var n uint32
	start := w.first
	for k := w.head; k != 0; {
		r := e.runs.at(k)
		if r.flags&(runResent|runSacked) == runResent {
			n += r.end - start
		}
		start, k = r.end, r.next
	}
	return n
}
