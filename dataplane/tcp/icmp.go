// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"encoding/binary"
	"syscall"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
)

// icmp4 answers echo requests and takes errors. An error is believed only if it
// quotes a segment of a live connection that is in flight (RFC 5927 section
// 4.1).
func (e *Engine) icmp4(d *datagram, local uint16) stat.Reason {
	m, ok := wire.ParseICMP(d.upper())
	if !ok {
		return stat.DropL4Short
	}
	if wire.Sum(0).Add(m).Fold() != 0xffff {
		return stat.DropL4Checksum
	}
	switch m.Type() {
	case wire.ICMPv4Echo:
		return e.echo(d, local)
	case wire.ICMPv4Unreachable, wire.ICMPv4TimeExceeded, wire.ICMPv4ParamProblem:
	default:
		return stat.DropProtocolDisabled
	}
	i, c := e.quoted4(m.Payload(), local)
	if c == nil {
		return stat.DropICMPForged
	}
	if m.Type() == wire.ICMPv4Unreachable && m.Code() == wire.ICMPv4FragNeeded {
		if !e.lowerMTU(i, c, int(m.MTU())) {
			return stat.DropICMPMTU
		}
		return stat.Accepted
	}
	e.unreachable(i, c, errnoOfICMP4(m))
	return stat.Accepted
}

// icmp6 is icmp4 for ICMPv6. Neighbour discovery and MLD never come here.
func (e *Engine) icmp6(d *datagram, local uint16) stat.Reason {
	m, ok := wire.ParseICMP(d.upper())
	if !ok {
		return stat.DropL4Short
	}
	if !d.sumOK() {
		return stat.DropL4Checksum
	}
	switch m.Type() {
	case wire.ICMPv6Echo:
		return e.echo(d, local)
	case wire.ICMPv6Unreachable, wire.ICMPv6PacketTooBig, wire.ICMPv6TimeExceeded, wire.ICMPv6ParamProblem:
	default:
		return stat.DropProtocolDisabled
	}
	i, c := e.quoted6(m.Payload(), local)
	if c == nil {
		return stat.DropICMPForged
	}
	if m.Type() == wire.ICMPv6PacketTooBig {
		if !e.lowerMTU(i, c, int(min(m.MTU6(), 1<<20))) {
			return stat.DropICMPMTU
		}
		return stat.Accepted
	}
	e.unreachable(i, c, errnoOfICMP6(m))
	return stat.Accepted
}

// quoted4 returns the connection that sent the quoted packet, if the quoted
// segment is in flight.
func (e *Engine) quoted4(q []byte, local uint16) (uint32, *conn) {
	if len(q) < wire.IPv4Len || q[0]>>4 != 4 {
		return 0, nil
	}
	ip := wire.IPv4(q)
	h := ip.HeaderLen()
	if h < wire.IPv4Len || len(q) < h+8 || ip.Protocol() != wire.ProtoTCP || ip.FragmentOffset() != 0 {
		return 0, nil
	}
	return e.quoted(addr4(q[12:16]), addr4(q[16:20]), q[h:], local, true)
}

// quoted6 is quoted4 for IPv6. We never send TCP behind extension headers.
func (e *Engine) quoted6(q []byte, local uint16) (uint32, *conn) {
	if len(q) < wire.IPv6Len+8 || q[0]>>4 != 6 || wire.IPv6(q).NextHeader() != wire.ProtoTCP {
		return 0, nil
	}
	return e.quoted(addr6(q[8:24]), addr6(q[24:40]), q[wire.IPv6Len:], local, true)
}

// quoted finds the connection from src to dst whose segment starts with t.
func (e *Engine) quoted(src, dst addr, t []byte, local uint16, inFlight bool) (uint32, *conn) {
	if e.locals.addrs[local] != src {
		return 0, nil
	}
	tu := tuple{remote: dst, local: local, lport: binary.BigEndian.Uint16(t), rport: binary.BigEndian.Uint16(t[2:])}
	v := e.find(&tu)
	if v == 0 || v&kindMask != kindConn {
		return 0, nil
	}
	i := v &^ kindMask
	c := e.conns.at(i)
	seq := binary.BigEndian.Uint32(t[4:])
	if inFlight && (seqLT(seq, c.una) || seqGEQ(seq, c.nxt)) {
		return 0, nil
	}
	return i, c
}

// unreachable takes a credible report that the peer cannot be reached. It ends a
// connection that is still opening; an established one remembers it as the
// reason should it time out (RFC 9293 section 3.9.2.2).
func (e *Engine) unreachable(i uint32, c *conn, errno syscall.Errno) {
	c.soft = uint8(errno)
	if c.state == stSynSent || c.state == stSynReceived {
		e.fail(i, c, uint8(errno))
	}
}

// Undeliverable implements stream.Engine.
func (e *Engine) Undeliverable(packet []byte) {
	if e.stopped || len(packet) == 0 {
		return
	}
	var src, dst addr
	var t []byte
	switch packet[0] >> 4 {
	case 4:
		ip, ok := wire.ParseIPv4(packet)
		if !ok || ip.Protocol() != wire.ProtoTCP || ip.FragmentOffset() != 0 {
			return
		}
		src, dst, t = addr4(packet[12:16]), addr4(packet[16:20]), ip.Payload()
	case 6:
		ip, ok := wire.ParseIPv6(packet)
		if !ok || ip.NextHeader() != wire.ProtoTCP {
			return
		}
		src, dst, t = addr6(packet[8:24]), addr6(packet[24:40]), ip.Payload()
	}
	local, ok := e.locals.at[src]
	if !ok || len(t) < 8 {
		return
	}
	if i, c := e.quoted(src, dst, t, local, false); c != nil {
		e.unreachable(i, c, syscall.EHOSTUNREACH)
	}
}

// errnoOfICMP4 is Linux's icmp_err_convert, and ICMP for what is no
// unreachable.
func errnoOfICMP4(m wire.ICMP) syscall.Errno {
	if m.Type() == wire.ICMPv4ParamProblem {
		return syscall.EPROTO
	}
	if m.Type() != wire.ICMPv4Unreachable {
		return syscall.EHOSTUNREACH
	}
	switch m.Code() {
	case 0, 6, 9, 11:
		return syscall.ENETUNREACH
	case 2:
		return syscall.ENOPROTOOPT
	case 3:
		return syscall.ECONNREFUSED
	case 5:
		return syscall.EOPNOTSUPP
	case 7:
		return syscall.EHOSTDOWN
	case 8:
		return syscall.ENONET
	}
	return syscall.EHOSTUNREACH
}

// errnoOfICMP6 is Linux's tab_unreach of net/ipv6/icmp.c.
func errnoOfICMP6(m wire.ICMP) syscall.Errno {
	switch m.Type() {
	case wire.ICMPv6ParamProblem:
		return syscall.EPROTO
	case wire.ICMPv6Unreachable:
		switch m.Code() {
		case 0:
			return syscall.ENETUNREACH
		case 1, 5, 6:
			return syscall.EACCES
		case 4:
			return syscall.ECONNREFUSED
		}
	}
	return syscall.EHOSTUNREACH
}

// echoes are answers to echo requests that wait for Transmit, as whole packets.
type echoes struct {
	packets    [][]byte
	head, tail int
}

// maxEchoes bounds them; one more is dropped.
const maxEchoes = 32

func (q *echoes) len() int { return q.tail - q.head }

// echo queues the answer to an echo request: RFC 1122 section 3.2.2.6, RFC 4443
// section 4.2.
func (e *Engine) echo(d *datagram, local uint16) stat.Reason {
	q := &e.echoes
	if q.len() >= maxEchoes || !e.icmpLimit.allow(e.now) {
		return stat.DropTxQueue
	}
	if q.packets == nil {
		q.packets = make([][]byte, maxEchoes)
	}
	head, proto := wire.IPv4Len, uint8(wire.ProtoICMP)
	if d.v6 {
		head, proto = wire.IPv6Len, wire.ProtoICMPv6
	}
	m := d.upper()
	b := append(q.packets[q.tail%maxEchoes][:0], make([]byte, head)...)
	b = append(b, m...)
	r := b[head:]
	r[0] = wire.ICMPv4EchoReply
	r[2], r[3] = 0, 0
	if d.v6 {
		r[0] = wire.ICMPv6EchoReply
		wire.PutIPv6(b, d.dst.netip(), d.src.netip(), proto, uint8(e.tun.TTL), len(m))
		sum := wire.PseudoHeader(d.dst.netip(), d.src.netip(), proto, len(m)).Add(r).Checksum()
		binary.BigEndian.PutUint16(r[2:], sum)
	} else {
		wire.PutIPv4(b, d.dst.netip(), d.src.netip(), proto, uint8(e.tun.TTL), len(m))
		wire.IPv4(b).SetID(e.ipID)
		wire.IPv4(b).SetChecksum()
		e.ipID++
		binary.BigEndian.PutUint16(r[2:], wire.Sum(0).Add(r).Checksum())
	}
	q.packets[q.tail%maxEchoes] = b
	q.tail++
	return stat.Accepted
}

// sendEcho sends the oldest answer.
func (e *Engine) sendEcho(out stream.Output) {
	b := e.echoes.packets[e.echoes.head%maxEchoes]
	e.echoes.head++
	var dst addr
	if b[0]>>4 == 4 {
		dst = addr4(b[16:20])
	} else {
		dst = addr6(b[24:40])
	}
	if e.isOurs(dst) {
		out = &e.loop
	}
	path := out.Open(dst.netip(), uint32(dst.lo))
	switch {
	case path.Max == 0:
		return
	case path.Max < len(b):
		e.stat.Drop(stat.DropTooBig)
		return
	}
	copy(out.Frame(len(b)), b)
	out.Commit()
	e.stat.Count(stat.PacketsOut)
	e.stat.Add(stat.PacketBytesOut, uint64(len(b)))
}
