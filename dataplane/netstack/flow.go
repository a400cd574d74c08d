// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"encoding/binary"
	"hash/maphash"

	"netcon/dataplane/wire"
)

// flowKey names a connection: our address, the peer's, our port, the peer's.
// IPv4 addresses are mapped.
type flowKey [36]byte

func flowKey4(local, remote []byte, lport, rport uint16) (k flowKey) {
	k[10], k[11], k[26], k[27] = 0xff, 0xff, 0xff, 0xff
	copy(k[12:16], local[:4])
	copy(k[28:32], remote[:4])
	binary.BigEndian.PutUint16(k[32:], lport)
	binary.BigEndian.PutUint16(k[34:], rport)
	return k
}

func flowKey6(local, remote []byte, lport, rport uint16) (k flowKey) {
	copy(k[0:16], local[:16])
	copy(k[16:32], remote[:16])
	binary.BigEndian.PutUint16(k[32:], lport)
	binary.BigEndian.PutUint16(k[34:], rport)
	return k
}

// reversed is the key of the connection as the peer sees it.
func (k flowKey) reversed() (r flowKey) {
	copy(r[0:16], k[16:32])
	copy(r[16:32], k[0:16])
	copy(r[32:34], k[34:36])
	copy(r[34:36], k[32:34])
	return r
}

func (s *Stack) hash(k *flowKey) uint32 {
	h := maphash.Bytes(s.seed, k[:])
	return uint32(h ^ h>>32)
}

// flow is what the wire told about a connection. gVisor keeps its sequence
// numbers to itself; what leaves through Transmit and comes in through Deliver
// is enough to know what is in flight. A connection over the loopback interface
// never has sent set.
type flow struct {
	key   flowKey
	known bool // in Stack.flows

	sent bool   // una, nxt and base are valid
	base uint32 // sequence number of the first byte of the stream
	una  uint32 // highest acknowledged by the peer
	nxt  uint32 // behind the highest sent

	got  bool   // ack and high are valid
	ack  uint32 // highest we acknowledged
	high uint32 // behind the highest received

	window    uint16 // the peer's, as gVisor has it, unscaled
	resent    bool   // resentEnd and resentAt are valid
	resentEnd uint32 // behind the last segment that was retransmitted
	resentAt  uint32 // the timestamp it carried
	gap       bool   // something is missing before high
	lossy     int    // inbound segments until the path counts as clean

	mtu              int // path MTU: the network's, or what an ICMP error lowered it to
	segsOut, segsIn  uint32
	bytesIn          uint64 // read from gVisor
	written          uint64 // given to gVisor
	timestamps, sack bool
	scales           bool // window scaling, with sendScale and recvScale
	sendScale        uint8
	recvScale        uint8
}

// after reports whether a lies behind b in sequence space, RFC 9293 section 3.4.
func after(a, b uint32) bool { return int32(a-b) > 0 }

// noteSent follows a segment of payload bytes that leaves.
func (k *socket) noteSent(t wire.TCP, payload int) {
	f := &k.flow
	flags, seq := t.Flags(), t.Seq()
	f.segsOut++
	if flags&wire.TCPRst != 0 {
		return
	}
	end := seq + uint32(payload)
	if flags&wire.TCPSyn != 0 {
		end++
		k.noteOptions(t, true)
	}
	if flags&wire.TCPFin != 0 {
		end++
	}
	switch {
	case !f.sent:
		f.sent, f.una, f.nxt, f.base = true, seq, end, seq
		if flags&wire.TCPSyn != 0 {
			f.base++
		}
	case after(end, f.nxt):
		f.nxt = end
	case payload > 0:
		f.noteResent(t, end)
	}
	if flags&wire.TCPAck == 0 {
		return
	}
	switch ack := t.Ack(); {
	case !f.got:
		f.got, f.ack, f.high = true, ack, ack
	case after(ack, f.ack):
		f.ack = ack
	}
	f.gap = f.gap && f.holes()
	k.recharge()
}

// noteReceived follows a segment of payload bytes that came in. Nothing in it
// is trusted further than it could be true.
func (k *socket) noteReceived(t wire.TCP, payload int) {
	f := &k.flow
	flags := t.Flags()
	f.segsIn++
	if ack := t.Ack(); flags&wire.TCPAck != 0 && f.sent && after(ack, f.una) && !after(ack, f.nxt) {
		f.una = ack
	}
	if flags&wire.TCPSyn != 0 && !f.got {
		k.noteOptions(t, false)
	}
	if payload > 0 && f.got {
		end := t.Seq() + uint32(payload)
		f.noteLoss(t.Seq(), end)
		if after(end, f.high) && end-f.ack <= maxBuffer {
			f.high = end
		}
	}
	k.recharge()
}

// inFlight reports whether seq was sent and not acknowledged yet.
func (f *flow) inFlight(seq uint32) bool { return f.sent && seq-f.una < f.nxt-f.una }

// unacked returns how many bytes given to gVisor the peer has not acknowledged.
func (f *flow) unacked() int {
	if !f.sent {
		return 0
	}
	// The SYN before base and the FIN behind the stream count one each.
	n := int32(uint32(f.written) - (f.una - f.base))
	return min(max(int(n), 0), maxBuffer)
}

// recharge brings what the connection is charged for up to date: inbound, bytes
// it holds unread and bytes that are not acknowledged yet or out of order;
// outbound, bytes the peer has not acknowledged.
func (k *socket) recharge() {
	f := &k.flow
	rx, tx := k.unread, f.unacked()
	if f.holes() {
		rx += int(f.high - f.ack)
	}
	k.st.usedRx += rx - k.chargedRx
	k.st.usedTx += tx - k.chargedTx
	k.chargedRx, k.chargedTx = rx, tx
}

// holes reports whether more was received than acknowledged.
func (f *flow) holes() bool { return f.got && after(f.high, f.ack) }

// full reports whether the budget is used up for bytes of applications.
func (s *Stack) full() bool { return s.held() > s.cfg.Limits.BufferBytes }

// refuses reports whether the payload of a segment is to be dropped for lack of
// budget. Half of the budget is for reception alone: otherwise two stacks full
// of unacknowledged bytes would refuse each other's for ever. A segment that
// fills a hole is always taken, because bytes behind a hole cannot be read.
func (s *Stack) refuses(k *socket, t wire.TCP) bool {
	if !s.full() || s.usedRx <= s.cfg.Limits.BufferBytes/2 || t.Flags()&(wire.TCPSyn|wire.TCPRst) != 0 {
		return false
	}
	return k == nil || !k.flow.holes() || after(t.Seq(), k.flow.ack)
}

// TCP option kinds (RFC 9293 section 3.1, RFC 7323, RFC 2018).
const (
	tcpOptEnd       = 0
	tcpOptNop       = 1
	tcpOptMSS       = 2
	tcpOptScale     = 3
	tcpOptSACK      = 4
	tcpOptBlocks    = 5
	tcpOptTimestamp = 8
)

// eachOption calls f with every whole option of t and its value.
func eachOption(t wire.TCP, f func(kind uint8, value []byte)) {
	o := t[wire.TCPLen:t.HeaderLen()]
	for len(o) > 0 && o[0] != tcpOptEnd {
		if o[0] == tcpOptNop {
			o = o[1:]
			continue
		}
		if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
			return
		}
		f(o[0], o[2:o[1]])
		o = o[o[1]:]
	}
}

// noteOptions reads what a SYN of ours offers or the SYN of the peer agrees to.
func (k *socket) noteOptions(t wire.TCP, ours bool) {
	f := &k.flow
	var timestamps, sack, scales bool
	eachOption(t, func(kind uint8, v []byte) {
		switch kind {
		case tcpOptScale:
			if len(v) == 1 {
				scales = true
				if ours {
					f.recvScale = v[0]
				} else {
					f.sendScale = v[0]
				}
			}
		case tcpOptSACK:
			sack = true
		case tcpOptTimestamp:
			timestamps = true
		}
	})
	if ours {
		return
	}
	f.timestamps, f.sack, f.scales = timestamps, sack, scales
}

// minMSS is the smallest MSS a peer may announce, as in Linux (TCP_MIN_MSS).
const minMSS = 88

// raiseMSS rewrites an MSS option below minMSS in a SYN that was verified
// already. A peer that asks for smaller segments would have a stream cut into
// a packet for every few bytes.
func raiseMSS(t wire.TCP) {
	eachOption(t, func(kind uint8, v []byte) {
		if kind == tcpOptMSS && len(v) == 2 && binary.BigEndian.Uint16(v) < minMSS {
			binary.BigEndian.PutUint16(v, minMSS)
		}
	})
}
