// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
)

// mss returns the payload of a full segment as far as we know: gVisor does not
// say what the peer announced.
func (k *socket) mss() int {
	f := &k.flow
	mss := f.mtu - wire.IPv4Len - wire.TCPLen
	if k.id().LocalAddress.Len() != 4 {
		mss = f.mtu - wire.IPv6Len - wire.TCPLen
	}
	if v := int(k.opts.value[stream.OptMaxSeg]); v != 0 {
		mss = min(mss, v)
	}
	if f.timestamps {
		mss -= 12
	}
	return mss
}

// Info implements stream.Engine. What gVisor does not say comes from what went
// over the wire; scales and options of accepted connections are not known.
func (s *Stack) Info(h stream.Handle, info *stream.Info) {
	*info = stream.Info{State: uint8(tcp.StateClose)}
	k, errno := s.lookup(h)
	if errno != 0 {
		return
	}
	defer s.contain("info")
	var o tcpip.TCPInfoOption
	if k.ep.GetSockOpt(&o) != nil {
		return
	}
	// gVisor numbers the states of TCP as the kernel does, and shows its own
	// as CLOSE.
	info.State = uint8(o.State)
	info.RTO, info.RTT, info.RTTVar = o.RTO, o.RTT, o.RTTVar
	info.Cwnd, info.Ssthresh = o.SndCwnd, o.SndSsthresh
	if o.ReorderSeen {
		info.Reord = 1
	}
	if st, ok := k.ep.Stats().(*tcp.Stats); ok {
		info.TotalRetrans = uint32(st.SendErrors.Retransmits.Value())
	}
	if !k.flow.known {
		return
	}
	f := &k.flow
	info.Timestamps, info.SACK, info.WindowScale = f.timestamps, f.sack, f.scales
	info.SendScale, info.RecvScale = f.sendScale, f.recvScale
	info.MTU = uint32(f.mtu)
	info.SendMSS = uint32(k.mss())
	info.RecvMSS = info.SendMSS
	info.SegsOut, info.SegsIn = f.segsOut, f.segsIn
	if n, err := k.ep.GetSockOptInt(tcpip.ReceiveQueueSizeOption); err == nil {
		info.RecvQueue = uint32(n)
	}
	info.BytesReceived = f.bytesIn + uint64(info.RecvQueue)
	if !f.sent {
		s.infoLoopback(k, info)
	}
	if f.sent {
		info.Unacked = (f.nxt - f.una + info.SendMSS - 1) / info.SendMSS
		info.SendQueue = uint32(f.unacked())
		info.BytesAcked = f.written - uint64(info.SendQueue)
	}
}

// infoLoopback fills in what is known of a connection over the container's
// loopback interface, whose packets we do not see: what the other socket has
// received is acknowledged. Both ends are gVisor's, so they agree on every
// option.
func (s *Stack) infoLoopback(k *socket, info *stream.Info) {
	info.Timestamps, info.SACK = true, true
	if st, ok := k.ep.Stats().(*tcp.Stats); ok {
		info.SegsOut, info.SegsIn = uint32(st.SegmentsSent.Value()), uint32(st.SegmentsReceived.Value())
	}
	info.BytesAcked = k.flow.written
	other := s.flows[k.flow.key.reversed()]
	if other == nil {
		return // not accepted yet, or closed
	}
	taken := other.flow.bytesIn
	if n, err := other.ep.GetSockOptInt(tcpip.ReceiveQueueSizeOption); err == nil {
		taken += uint64(n)
	}
	if info.BytesAcked = min(taken, k.flow.written); info.SendMSS != 0 {
		info.SendQueue = uint32(min(k.flow.written-info.BytesAcked, maxBuffer))
		info.Unacked = (info.SendQueue + info.SendMSS - 1) / info.SendMSS
	}
}
