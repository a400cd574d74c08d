// SPDX-License-Identifier: Apache-2.0

package datagram

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
)

// Origins of an error, as in linux/errqueue.h.
const (
	originLocal = 1
	originICMP4 = 2
	originICMP6 = 3
)

const protoFragment = 44

// quoteLen is how much of a quoted payload an error carries.
const quoteLen = 512

// WantsICMP reports whether any socket may want ICMP messages other than
// errors.
func (s *Stack) WantsICMP() bool { return len(s.raw) > 0 || len(s.ping.ports) > 0 }

// ICMP takes an ICMP message whose checksum is right: the Raw sockets get it,
// the Ping socket whose echo reply it is, and the socket whose datagram an error
// quotes. DropProtocolDisabled: it was for nobody.
func (s *Stack) ICMP(p *Packet, m wire.ICMP) stat.Reason {
	v6 := p.Whole[0]>>4 == 6
	r := s.giveRaw(p, m)
	reply := uint8(wire.ICMPv4EchoReply)
	if v6 {
		reply = wire.ICMPv6EchoReply
	}
	taken := stat.DropProtocolDisabled
	switch {
	case m.Type() == reply:
		taken = s.giveReply(p, m)
	case isError(m, v6):
		taken = s.giveError(p, m)
	}
	switch {
	case r == stat.DropProtocolDisabled:
		return taken
	case taken == stat.Accepted:
		s.stat.Drop(r)
		return stat.Accepted
	}
	return r
}

// Raw gives an ICMP message whose checksum is right to the Raw sockets alone.
func (s *Stack) Raw(p *Packet, m wire.ICMP) stat.Reason { return s.giveRaw(p, m) }

func isError(m wire.ICMP, v6 bool) bool {
	if v6 {
		return m.Type() < 128
	}
	switch m.Type() {
	case wire.ICMPv4Unreachable, wire.ICMPv4TimeExceeded, wire.ICMPv4ParamProblem:
		return true
	}
	return false
}

// giveRaw gives a message to the Raw sockets that want it.
func (s *Stack) giveRaw(p *Packet, m wire.ICMP) stat.Reason {
	reason := stat.DropProtocolDisabled
	v6 := p.Whole[0]>>4 == 6
	a := arrival{remote: netip.AddrPortFrom(p.Src, 0), local: p.Dst, body: m}
	if len(s.raw) > 0 {
		a.ttl, a.tos = p.ttl(), p.tos()
	}
	if !v6 {
		a.body = p.Whole
	}
	for _, k := range s.raw {
		if (k.family == stream.IPv6) != v6 || !k.wildcard() && k.local != p.Dst ||
			k.remote.IsValid() && k.remote.Addr() != p.Src ||
			(v6 || m.Type() < 32) && k.filter.Blocks(m.Type()) ||
			p.Reach == Multicast && !k.joined(p.Dst) {
			continue
		}
		if r := k.put(&a); reason != stat.Accepted {
			reason = r
		} else {
			s.stat.Drop(r)
		}
	}
	return reason
}

// giveReply gives an echo reply to the Ping socket that has its identifier.
func (s *Stack) giveReply(p *Packet, m wire.ICMP) stat.Reason {
	k := s.findPing(p.Dst, binary.BigEndian.Uint16(m[4:]))
	if k == nil {
		return stat.DropProtocolDisabled
	}
	return k.put(&arrival{
		remote: netip.AddrPortFrom(p.Src, 0), local: p.Dst, ttl: p.ttl(), tos: p.tos(), body: m,
	})
}

// findPing returns the Ping socket with an identifier that takes what is sent
// to dst.
func (s *Stack) findPing(dst netip.Addr, ident uint16) *socket {
	list := s.ping.ports[ident]
	for i := len(list) - 1; i >= 0; i-- {
		k := list[i]
		if (k.family == stream.IPv4) == dst.Is4() && (k.wildcard() || k.local == dst) {
			return k
		}
	}
	return nil
}

// quote is the datagram an ICMP error is about.
type quote struct {
	src, dst netip.Addr
	proto    uint8
	upper    []byte // at least 8 bytes
}

// quoted reads what an ICMP error quotes; false if it cannot be told, or is no
// first fragment.
func quoted(b []byte) (q quote, ok bool) {
	if len(b) < wire.IPv4Len {
		return q, false
	}
	at := 0
	switch b[0] >> 4 {
	case 4:
		ip := wire.IPv4(b)
		at = ip.HeaderLen()
		if at < wire.IPv4Len || ip.FragmentOffset() != 0 {
			return q, false
		}
		q.src, q.dst, q.proto = ip.Src(), ip.Dst(), ip.Protocol()
	case 6:
		if len(b) < wire.IPv6Len {
			return q, false
		}
		ip := wire.IPv6(b)
		at = wire.IPv6Len
		q.src, q.dst, q.proto = ip.Src(), ip.Dst(), ip.NextHeader()
		if q.proto == protoFragment {
			if len(b) < at+fragmentHeader || binary.BigEndian.Uint16(b[at+2:])>>3 != 0 {
				return q, false
			}
			q.proto, at = b[at], at+fragmentHeader
		}
	default:
		return q, false
	}
	if len(b) < at+8 {
		return q, false
	}
	q.upper = b[at:]
	return q, true
}

// giveError reports an ICMP error to the sockets whose datagram it quotes. A
// quote that no socket of ours can have sent is forged.
func (s *Stack) giveError(p *Packet, m wire.ICMP) stat.Reason {
	q, ok := quoted(m.Payload())
	if !ok || !s.mine(q.src) || q.src.Is4() != p.Src.Is4() {
		return stat.DropICMPForged
	}
	f := failureOf(m, q.src.Is6())
	if f.err == 0 {
		return stat.DropProtocolDisabled
	}
	f.cause.Offender = p.Src
	if f.err == syscall.EMSGSIZE {
		return s.giveMTU(&q, &f)
	}
	return s.report(&q, &f)
}

// giveMTU is giveError for a path MTU, which is believed if it is one, and
// lower than what was known.
func (s *Stack) giveMTU(q *quote, f *failure) stat.Reason {
	if !s.anySender(q) {
		return stat.DropICMPForged
	}
	least, now := minMTU4, s.path(q.dst)
	if q.src.Is6() {
		least = minMTU6
	}
	if now == 0 {
		now = s.cfg.MTU
	}
	mtu := int(f.cause.Info)
	if mtu < least || mtu >= now {
		return stat.DropICMPMTU
	}
	if len(s.paths) >= maxPaths {
		for a := range s.paths { // any
			delete(s.paths, a)
			break
		}
	}
	s.paths[q.dst] = pathMTU{mtu, s.cfg.Now() + pathLife}
	return s.report(q, f)
}

// The smallest path MTUs that are believed: the datagram every IPv4 host must
// accept, RFC 791, and what IPv6 demands of a link, RFC 8200 section 5.
const (
	minMTU4 = 576
	minMTU6 = 1280
)

// anySender reports whether a socket of ours may have sent what is quoted.
func (s *Stack) anySender(q *quote) bool {
	found := false
	s.eachSender(q, func(*socket, []byte) { found = true })
	return found
}

// report tells the sockets that may have sent what is quoted.
func (s *Stack) report(q *quote, f *failure) stat.Reason {
	r := stat.DropICMPForged
	s.eachSender(q, func(k *socket, payload []byte) {
		port := uint16(0)
		if k.proto == stream.UDP {
			port = binary.BigEndian.Uint16(q.upper[2:])
		}
		k.fail(f, netip.AddrPortFrom(q.dst, port), payload)
		r = stat.Accepted
	})
	return r
}

// eachSender calls f with the sockets that may have sent what is quoted, and
// the part of the quote that was their payload.
func (s *Stack) eachSender(q *quote, f func(k *socket, payload []byte)) {
	icmp, echo := uint8(wire.ProtoICMP), uint8(wire.ICMPv4Echo)
	if q.src.Is6() {
		icmp, echo = wire.ProtoICMPv6, wire.ICMPv6Echo
	}
	switch q.proto {
	case wire.ProtoUDP:
		local := netip.AddrPortFrom(q.src, binary.BigEndian.Uint16(q.upper))
		remote := netip.AddrPortFrom(q.dst, binary.BigEndian.Uint16(q.upper[2:]))
		if k := s.find(local, remote); k != nil {
			f(k, q.upper[wire.UDPLen:])
		}
	case icmp:
		if q.upper[0] == echo {
			if k := s.findPing(q.src, binary.BigEndian.Uint16(q.upper[4:])); k != nil {
				f(k, q.upper)
			}
		}
		for _, k := range s.raw {
			if (k.family == stream.IPv4) == q.src.Is4() && (k.wildcard() || k.local == q.src) &&
				(!k.remote.IsValid() || k.remote.Addr() == q.dst) {
				f(k, q.upper)
			}
		}
	}
}

// failure is what an ICMP error means.
type failure struct {
	err   syscall.Errno
	hard  bool // told to a connected socket without OptRecvErr, too
	cause stream.Cause
}

// fail tells a socket of a failure: always with OptRecvErr, else only one with
// a peer, and only of hard ones (udp_err in Linux).
func (k *socket) fail(f *failure, to netip.AddrPort, payload []byte) {
	hard := f.hard
	if f.err == syscall.EMSGSIZE {
		d := k.value[stream.OptMTUDiscover]
		hard = d != discoverDont
		if to.Addr().Is6() {
			hard = d == discoverDo
		} else if d == discoverDont {
			return
		}
	}
	if !k.on(stream.OptRecvErr) && (!hard || !k.remote.IsValid()) {
		return
	}
	a := arrival{remote: to, err: f.err, cause: f.cause, body: payload[:min(len(payload), quoteLen)]}
	k.st.stat.Drop(k.put(&a))
}

// refused is the port unreachable for a datagram to the container itself that
// found no receiver.
func (s *Stack) refused(from, to netip.AddrPort, payload []byte) {
	k := s.find(from, to)
	if k == nil {
		return
	}
	f := failure{err: syscall.ECONNREFUSED, hard: true}
	f.cause = stream.Cause{Origin: originICMP4, Type: wire.ICMPv4Unreachable, Code: portUnreachable4, Offender: to.Addr()}
	if to.Addr().Is6() {
		f.cause = stream.Cause{Origin: originICMP6, Type: wire.ICMPv6Unreachable, Code: portUnreachable6, Offender: to.Addr()}
	}
	k.fail(&f, to, payload)
}

// tooBig puts a datagram that is not sent for its size into the error queue
// (ip_local_error in Linux).
func (k *socket) tooBig(o *outgoing, mtu int, payload []byte) {
	if !k.on(stream.OptRecvErr) {
		return
	}
	a := arrival{
		remote: netip.AddrPortFrom(o.dst, k.remote.Port()), err: syscall.EMSGSIZE,
		cause: stream.Cause{Origin: originLocal, Info: uint32(mtu), Quiet: true},
		body:  payload[:min(len(payload), quoteLen)],
	}
	k.st.stat.Drop(k.put(&a))
}

// Undeliverable takes back an IP packet of ours that did not leave because its
// next hop did not answer.
func (s *Stack) Undeliverable(packet []byte) {
	q, ok := quoted(packet)
	if !ok {
		return
	}
	f := failure{err: syscall.EHOSTUNREACH}
	f.cause = stream.Cause{Origin: originICMP4, Type: wire.ICMPv4Unreachable, Code: wire.ICMPv4HostUnreachable, Offender: q.src}
	if q.src.Is6() {
		f.cause = stream.Cause{Origin: originICMP6, Type: wire.ICMPv6Unreachable, Code: wire.ICMPv6AddrUnreachable, Offender: q.src}
	}
	s.report(&q, &f)
}

// loopICMP carries a message of ours to ourselves: the Raw sockets see it, and
// an echo request is answered.
func (s *Stack) loopICMP(k *socket, o *outgoing, message []byte) {
	at := wire.IPv4Len
	if o.dst.Is6() {
		at = wire.IPv6Len
	}
	room := s.pool.get(at + len(message))
	defer s.pool.put(room)
	b := room[:at+len(message)]
	copy(b[at:], message)
	k.finish(o, b[at:])
	s.putIP(b, o, len(message))
	p := Packet{Whole: b, At: at, Src: o.src, Dst: o.dst, Reach: Own}
	m, ok := wire.ParseICMP(b[at:])
	if !ok {
		return
	}
	s.ICMP(&p, m)
	sum, echo, reply := wire.Sum(0), uint8(wire.ICMPv4Echo), uint8(wire.ICMPv4EchoReply)
	if o.dst.Is6() {
		sum = wire.PseudoHeader(o.src, o.dst, wire.ProtoICMPv6, len(m))
		echo, reply = wire.ICMPv6Echo, wire.ICMPv6EchoReply
	}
	if m.Type() != echo || sum.Add(m).Fold() != 0xffff {
		return
	}
	o.src, o.dst = o.dst, o.src
	o.ttl = 64
	m[0] = reply
	s.putIP(b, o, len(m))
	if o.dst.Is6() {
		m.SetChecksum6(wire.PseudoHeader(o.src, o.dst, wire.ProtoICMPv6, len(m)))
	} else {
		m.SetChecksum4()
	}
	p.Src, p.Dst = o.src, o.dst
	s.ICMP(&p, m)
}

// Bounds of the ICMP errors that are sent: icmp_msgs_per_sec and
// icmp_msgs_burst of Linux.
const (
	errorRate  = 1000
	errorBurst = 50
)

// limiter is a bucket of tokens.
type limiter struct {
	tokens float64
	at     time.Duration
	begun  bool
}

func (l *limiter) take(now time.Duration) bool {
	if !l.begun {
		l.begun, l.tokens, l.at = true, errorBurst, now
	}
	l.tokens = min(l.tokens+float64(now-l.at)*errorRate/float64(time.Second), errorBurst)
	l.at = now
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}

// How much of a datagram an error quotes: the whole error is as long as
// RFC 1812 section 4.3.2.3 and RFC 4443 section 2.4 allow.
const (
	quote4 = 576 - wire.IPv4Len - wire.ICMPLen
	quote6 = 1280 - wire.IPv6Len - wire.ICMPLen
)

// refuse answers a datagram that no socket takes with port unreachable.
func (s *Stack) refuse(p *Packet) {
	if !s.limiter.take(s.cfg.Now()) || s.tx.used() >= txLimit {
		return
	}
	o := outgoing{src: p.Dst, dst: p.Src, ttl: 64, proto: wire.ProtoICMP, tos: 0xc0}
	kind, code, most := uint8(wire.ICMPv4Unreachable), uint8(portUnreachable4), quote4
	if p.Whole[0]>>4 == 6 {
		o.proto, o.tos = wire.ProtoICMPv6, 0
		kind, code, most = wire.ICMPv6Unreachable, portUnreachable6, quote6
	}
	o.flow = s.flow(netip.AddrPortFrom(o.src, 0), netip.AddrPortFrom(o.dst, 0))
	q := p.Whole[:min(len(p.Whole), most)]
	m := wire.ICMP(s.reserve(&o, wire.ICMPLen+len(q)))
	clear(m[:wire.ICMPLen])
	m[0], m[1] = kind, code
	copy(m[wire.ICMPLen:], q)
	if o.dst.Is6() {
		m.SetChecksum6(wire.PseudoHeader(o.src, o.dst, wire.ProtoICMPv6, len(m)))
	} else {
		m.SetChecksum4()
	}
}
