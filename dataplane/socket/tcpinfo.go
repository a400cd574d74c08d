// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"syscall"
	"time"

	"netcon/dataplane/stream"

	"golang.org/x/sys/unix"
)

// Bits of tcpi_options, include/uapi/linux/tcp.h.
const (
	tcpiTimestamps = 1 << iota
	tcpiSACK
	tcpiWindowScale
)

// getTCPInfo lays out the kernel's struct tcp_info, as much of it as a reply
// takes: what lies beyond are counters of accurate ECN. What an engine does not
// know is zero.
func getTCPInfo(t *Set, s *sock, _ int, out []byte) (int, syscall.Errno) {
	e := stream.Info{State: kernelState[s.state]}
	if s.handle != 0 {
		t.of(s).Info(s.handle, &e)
		if e.State == 0 {
			e.State = kernelState[s.state]
		}
	}
	i := unix.TCPInfo{
		State:          e.State,
		Rto:            micros(e.RTO),
		Snd_mss:        e.SendMSS,
		Rcv_mss:        e.RecvMSS,
		Unacked:        e.Unacked,
		Lost:           e.Lost,
		Retrans:        e.Retrans,
		Pmtu:           e.MTU,
		Rtt:            micros(e.RTT),
		Rttvar:         micros(e.RTTVar),
		Snd_ssthresh:   e.Ssthresh,
		Snd_cwnd:       e.Cwnd,
		Advmss:         e.RecvMSS,
		Reordering:     e.Reord,
		Total_retrans:  e.TotalRetrans,
		Pacing_rate:    1<<64 - 1,
		Bytes_acked:    e.BytesAcked,
		Bytes_received: e.BytesReceived,
		Segs_out:       e.SegsOut,
		Segs_in:        e.SegsIn,
		Notsent_bytes:  uint32(s.pair.Tx.Len()),
		Min_rtt:        micros(e.RTT),
		Snd_wnd:        e.SendWind,

		Max_pacing_rate: 1<<64 - 1,
	}
	if s.state == stListening {
		i.Sacked = uint32(s.backlog) // the kernel reports a listener's backlog here
	}
	if e.Timestamps {
		i.Options |= tcpiTimestamps
	}
	if e.SACK {
		i.Options |= tcpiSACK
	}
	b := tcpInfoBytes(&i)
	if e.WindowScale {
		i.Options |= tcpiWindowScale
		// tcpi_snd_wscale and tcpi_rcv_wscale share the byte that x/sys
		// leaves out of the struct, behind tcpi_options.
		b[6] = e.SendScale&15 | e.RecvScale<<4
	}
	return copy(out, b), 0
}

func micros(d time.Duration) uint32 { return uint32(min(max(0, d.Microseconds()), 1<<32-1)) }
