// SPDX-License-Identifier: Apache-2.0

package packetdrill

import (
	"netcon/dataplane/stream"
)

// tcpInfo returns struct tcp_info of the connection under test, by the names of
// its members.
func (r *runner) tcpInfo() (map[string]int64, error) {
	s := r.underTest()
	if s == nil {
		return nil, r.fail("code: there is no socket to ask for TCP_INFO")
	}
	var i stream.Info
	r.m.Info(s.h, &i)
	opts := b2i(i.Timestamps) | b2i(i.SACK)<<1 | b2i(i.WindowScale)<<2
	v := map[string]int64{
		"tcpi_state": int64(i.State), "tcpi_options": opts,
		"tcpi_snd_wscale": int64(i.SendScale), "tcpi_rcv_wscale": int64(i.RecvScale),
		"tcpi_rto": i.RTO.Microseconds(), "tcpi_rtt": i.RTT.Microseconds(), "tcpi_rttvar": i.RTTVar.Microseconds(),
		"tcpi_snd_mss": int64(i.SendMSS), "tcpi_rcv_mss": int64(i.RecvMSS), "tcpi_pmtu": int64(i.MTU),
		"tcpi_snd_cwnd": int64(i.Cwnd), "tcpi_snd_ssthresh": int64(i.Ssthresh),
		"tcpi_unacked": int64(i.Unacked), "tcpi_lost": int64(i.Lost), "tcpi_retrans": int64(i.Retrans),
		"tcpi_reordering": int64(i.Reord), "tcpi_total_retrans": int64(i.TotalRetrans),
		"tcpi_bytes_acked": int64(i.BytesAcked), "tcpi_bytes_received": int64(i.BytesReceived),
		"tcpi_segs_out": int64(i.SegsOut), "tcpi_segs_in": int64(i.SegsIn),
		"tcpi_snd_wnd": int64(i.SendWind), "tcpi_notsent_bytes": int64(s.notSent()),
	}
	for name, n := range r.host.Inspect(r.m, s.h) {
		v[name] = n
	}
	return v, nil
}

// underTest returns the socket of the current connection, or else the newest
// one.
func (r *runner) underTest() *sock {
	if f := r.cur; f != nil && f.sock != nil && !f.sock.closedByOwner {
		return f.sock
	}
	for i := len(r.socks) - 1; i >= 0; i-- {
		if s := r.socks[i]; !s.closedByOwner {
			return s
		}
	}
	return nil
}
