// SPDX-License-Identifier: Apache-2.0

package tcpsim

import (
	"encoding/binary"
	"time"

	"netcon/dataplane/wire"
)

// forgery injects a packet of somebody who knows addresses and ports, but no
// sequence numbers: it is made from p and arrives with it. It must not change
// anything (RFC 5961).
func (l *link) forgery(p []byte, at time.Duration) {
	_, off := upper(p)
	if off == 0 {
		return
	}
	f := append(l.w.buffer(len(p))[:0], p...)
	t := wire.TCP(f[off:])
	if t.Flags()&wire.TCPSyn != 0 {
		l.w.release(f)
		return
	}
	// Beyond every window, to either side.
	far := func() uint32 { return 1<<30 + l.rnd.Uint32N(1<<31) }
	kind := l.rnd.IntN(4)
	if to := l.w.tap.half(l.to, t.DstPort(), t.SrcPort()); kind == 1 && !to.acked {
		kind = 2 // in SYN-SENT any SYN is believed: there is nothing to check it by
	}
	switch kind {
	case 0:
		t.SetFlags(wire.TCPRst)
		t.SetSeq(t.Seq() + far())
	case 1:
		t.SetFlags(wire.TCPSyn)
		t.SetSeq(t.Seq() + far())
		l.w.tap.forgedSyn(l.from, t.SrcPort(), t.DstPort())
	case 2:
		t.SetSeq(t.Seq() + far())
	case 3:
		// An acknowledgment of what was never sent.
		binary.BigEndian.PutUint32(t[8:], t.Ack()+1<<29+l.rnd.Uint32N(1<<30))
		t.SetFlags(t.Flags() &^ wire.TCPFin)
		f = f[:off+t.HeaderLen()]
		l.w.setLength(f)
	}
	l.w.setChecksum(f, off)
	l.w.note(l.from, f, "forged")
	l.w.queue.push(at, l.to, f)
}

// upper returns an IP packet's protocol and the offset of TCP, 0 if it is not
// TCP.
func upper(p []byte) (proto uint8, off int) {
	if len(p) == 0 {
		return 0, 0
	}
	if p[0]>>4 == 4 {
		ip, ok := wire.ParseIPv4(p)
		if !ok || ip.Protocol() != wire.ProtoTCP {
			return 0, 0
		}
		return wire.ProtoTCP, ip.HeaderLen()
	}
	ip, ok := wire.ParseIPv6(p)
	if !ok || ip.NextHeader() != wire.ProtoTCP {
		return 0, 0
	}
	return wire.ProtoTCP, wire.IPv6Len
}

// setLength makes the IP header say how long the packet is.
func (w *world) setLength(p []byte) {
	if p[0]>>4 == 4 {
		wire.IPv4(p).SetTotalLen(len(p))
		wire.IPv4(p).SetChecksum()
		return
	}
	wire.IPv6(p).SetPayloadLen(len(p) - wire.IPv6Len)
}

// pseudo returns the pseudo-header's sum for what follows offset off.
func pseudo(p []byte, off int, proto uint8) wire.Sum {
	if p[0]>>4 == 4 {
		ip := wire.IPv4(p)
		return wire.PseudoHeader(ip.Src(), ip.Dst(), proto, len(p)-off)
	}
	ip := wire.IPv6(p)
	return wire.PseudoHeader(ip.Src(), ip.Dst(), proto, len(p)-off)
}

// setChecksum completes the checksum of the TCP segment at off.
func (w *world) setChecksum(p []byte, off int) {
	t := wire.TCP(p[off:])
	t.SetChecksum(0)
	t.SetChecksum(pseudo(p, off, wire.ProtoTCP).Add(p[off:]).Checksum())
}

// tooBig answers the sender of p that the path takes mtu bytes: RFC 1191, RFC
// 8201. The router has the address of the other host.
func (w *world) tooBig(from int, p []byte, mtu int) {
	src, dst := w.plan.addr(1-from), w.plan.addr(from)
	var m []byte
	if w.plan.v6 {
		quote := p[:min(len(p), 1280-wire.IPv6Len-wire.ICMPLen)]
		m = w.buffer(wire.IPv6Len + wire.ICMPLen + len(quote))
		wire.PutIPv6(m, src, dst, wire.ProtoICMPv6, 64, wire.ICMPLen+len(quote))
		c := wire.ICMP(m[wire.IPv6Len:])
		c[0], c[1], c[2], c[3] = 2, 0, 0, 0
		binary.BigEndian.PutUint32(c[4:], uint32(mtu))
		copy(c[wire.ICMPLen:], quote)
		c.SetChecksum6(wire.PseudoHeader(src, dst, wire.ProtoICMPv6, len(c)))
	} else {
		quote := p[:min(len(p), 28)]
		m = w.buffer(wire.IPv4Len + wire.ICMPLen + len(quote))
		wire.PutIPv4(m, src, dst, wire.ProtoICMP, 64, wire.ICMPLen+len(quote))
		wire.IPv4(m).SetChecksum()
		c := wire.ICMP(m[wire.IPv4Len:])
		c[0], c[1], c[2], c[3] = 3, 4, 0, 0
		binary.BigEndian.PutUint32(c[4:], uint32(mtu))
		copy(c[wire.ICMPLen:], quote)
		c.SetChecksum4()
	}
	w.note(1-from, m, "router")
	w.queue.push(w.now+w.links[1-from].delay, from, m)
}
