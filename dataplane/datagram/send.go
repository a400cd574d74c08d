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

// txLimit bounds the bytes that wait for Transmit. One datagram may pass it.
const txLimit = 512 << 10

// maxPacket is the largest IP packet, without its header for IPv6.
const maxPacket = 65535

// pathMTU is what a packet-too-big message said about a destination.
type pathMTU struct {
	mtu   int
	until time.Duration
}

// The path MTUs that are remembered, and for how long: as long as Linux does.
const (
	maxPaths = 256
	pathLife = 10 * time.Minute
)

// outgoing is a datagram on its way out.
type outgoing struct {
	src, dst netip.Addr
	reach    Reach
	proto    uint8
	ttl, tos uint8
	df       bool
	limit    int // fragments are no larger; 0: what the path takes
	flow     uint32
	wire     bool // it leaves the container
}

// destination says where a destination is. The unspecified address is the
// container itself: for IPv4 the source address, if there is one already.
func (s *Stack) destination(k *socket, a, asked netip.Addr) (netip.Addr, Reach, syscall.Errno) {
	switch src := asked.Unmap(); {
	case a == any4 && src.Is4() && s.mine(src):
		a = src
	case a == any4 && k.local.Is4() && s.mine(k.local):
		a = k.local
	case a == any4 && k.source.Is4():
		a = k.source
	case a == any4:
		a = loopback4
	case a == any6 && k.local.Is4():
		a = loopback4 // bound to a mapped address
	case a == any6:
		a = loopback6
	}
	r := s.reach(a)
	switch {
	case r == None, a.Is4() && k.v6only():
		return a, r, syscall.ENETUNREACH
	case a.Is6() && k.local.Is4():
		return a, r, syscall.EAFNOSUPPORT
	}
	return a, r, 0
}

// sourceOf chooses the source address: what was asked for, what the socket is
// bound to, or what suits the destination. It refuses destinations that the
// socket, or the source, may not speak to.
func (s *Stack) sourceOf(k *socket, dst netip.Addr, r Reach, asked netip.Addr) (netip.Addr, syscall.Errno) {
	src := k.local
	if asked.IsValid() {
		a, e := k.inward(asked)
		switch {
		case e != 0:
			return a, syscall.EINVAL
		case !a.IsUnspecified():
			if a.Is4() != dst.Is4() || a.IsMulticast() || a == broadcast4 {
				return a, syscall.EINVAL
			}
			if !s.mine(a) {
				if a.Is4() {
					return a, syscall.ENETUNREACH
				}
				return a, syscall.EINVAL
			}
			src = a
		}
	}
	if !s.mine(src) && k.source.IsValid() {
		src = k.source
	}
	if !s.mine(src) || src.Is4() != dst.Is4() {
		src = s.source(dst, r)
	}
	switch {
	case src.Is4() && src.IsLoopback() && (r == Link || r == Broadcast && dst != broadcast4):
		return src, syscall.EINVAL
	case r == Broadcast && !k.on(stream.OptBroadcast):
		return src, syscall.EACCES
	}
	return src, 0
}

// mtuTo returns the largest packet for a destination.
func (s *Stack) mtuTo(k *socket, dst netip.Addr, r Reach) int {
	if r == Own {
		return maxPacket
	}
	if k.value[stream.OptMTUDiscover] < discoverProbe {
		if p := s.path(dst); p != 0 {
			return p
		}
	}
	return s.cfg.MTU
}

// path returns the path MTU that was learned for a destination, 0 if none is.
func (s *Stack) path(dst netip.Addr) int {
	if len(s.paths) == 0 {
		return 0
	}
	p, ok := s.paths[dst]
	if !ok {
		return 0
	}
	if s.cfg.Now() > p.until {
		delete(s.paths, dst)
		return 0
	}
	return p.mtu
}

// Send implements Send of stream.Datagrams.
func (s *Stack) Send(h stream.Handle, m *stream.Message, payload []byte) syscall.Errno {
	k := s.get(h)
	if k == nil {
		return syscall.EBADF
	}
	if e := s.autobind(k); e != 0 {
		return e
	}
	if len(payload) > maxPacket && k.family == stream.IPv4 {
		return syscall.EMSGSIZE
	}
	if k.proto != stream.UDP && len(payload) < wire.ICMPLen && (k.proto == stream.Ping || k.family == stream.IPv4) {
		return syscall.EINVAL
	}
	if k.proto == stream.Ping && !k.isRequest(payload) {
		return syscall.EINVAL
	}
	remote := m.Remote
	if remote.Addr().IsValid() {
		a, e := k.inward(remote.Addr())
		if e != 0 {
			return e
		}
		remote = netip.AddrPortFrom(a, remote.Port())
	} else if remote = k.remote; !remote.IsValid() {
		return syscall.EDESTADDRREQ
	}
	if remote.Addr().Is4() && k.v6only() {
		return syscall.ENETUNREACH
	}
	if len(payload) > maxPacket && remote.Addr().Is4() {
		return syscall.EMSGSIZE
	}
	// Linux sends to the port 0 of a peer, but not of a mapped one.
	if k.proto == stream.UDP && remote.Port() == 0 &&
		(m.Remote.IsValid() || k.family == stream.IPv6 && remote.Addr().Is4()) {
		return syscall.EINVAL
	}
	if k.shutWrite {
		return syscall.EPIPE
	}
	if a := m.Local; a.Is6() && !a.Is4In6() && !a.IsUnspecified() && !s.mine(a) {
		return syscall.EINVAL // Linux looks at it before it looks for a route
	}
	o := outgoing{wire: true}
	var e syscall.Errno
	if o.dst, o.reach, e = s.destination(k, remote.Addr(), m.Local); e != 0 {
		return e
	}
	if o.src, e = s.sourceOf(k, o.dst, o.reach, m.Local); e != 0 {
		return e
	}
	s.marks(k, m, &o)
	if k.proto == stream.UDP {
		return s.sendUDP(k, &o, remote.Port(), payload)
	}
	return s.sendICMP(k, &o, payload)
}

// marks sets what the IP header says beside the addresses.
func (s *Stack) marks(k *socket, m *stream.Message, o *outgoing) {
	o.ttl, o.tos = uint8(k.value[stream.OptTTL]), uint8(k.value[stream.OptTOS])
	if o.reach == Multicast {
		o.ttl = uint8(k.value[stream.OptMulticastTTL])
	}
	if m.TTL != 0 {
		o.ttl = m.TTL
	}
	if m.OwnTOS {
		o.tos = m.TOS
	}
	if o.reach == Own || o.src.IsLoopback() || o.reach == Multicast && o.ttl == 0 {
		o.wire = false
	}
}

// fit decides about fragments for an upper layer of n bytes of payload behind
// the header of its protocol, and refuses what is too long.
func (s *Stack) fit(k *socket, o *outgoing, n int, payload []byte) syscall.Errno {
	total, most := n, maxPacket
	if o.dst.Is4() {
		total += wire.IPv4Len
	}
	if total > most {
		return syscall.EMSGSIZE
	}
	if o.dst.Is6() {
		total += wire.IPv6Len
	}
	mtu := s.mtuTo(k, o.dst, o.reach)
	discover := k.value[stream.OptMTUDiscover]
	switch discover {
	case discoverDo, discoverProbe, discoverInterface:
		if total > mtu {
			k.tooBig(o, mtu, payload)
			return syscall.EMSGSIZE
		}
	}
	o.df = o.dst.Is4() && (discover == discoverDo || discover == discoverProbe ||
		discover == discoverWant && total <= mtu)
	if mtu < s.cfg.MTU {
		o.limit = mtu
	}
	return 0
}

// martian drops what would leave from ::1: Linux lets it leave, and whoever gets
// it drops it.
func (s *Stack) martian(o *outgoing) bool {
	if o.reach == Own || o.src != loopback6 {
		return false
	}
	s.stat.Drop(stat.DropNoRoute)
	return true
}

// room reports whether another packet may wait for Transmit; if not the socket
// is told when it may.
func (s *Stack) room(k *socket) bool {
	if s.tx.used() < txLimit {
		return true
	}
	if !k.blocked {
		k.blocked = true
		s.blocked = append(s.blocked, k)
	}
	return false
}

func (s *Stack) sendUDP(k *socket, o *outgoing, port uint16, payload []byte) syscall.Errno {
	if e := s.fit(k, o, wire.UDPLen+len(payload), payload); e != 0 || s.martian(o) {
		return e
	}
	if o.wire && !s.room(k) {
		return syscall.EAGAIN
	}
	from, to := netip.AddrPortFrom(o.src, k.port), netip.AddrPortFrom(o.dst, port)
	o.proto, o.flow = wire.ProtoUDP, s.flow(from, to)
	a := arrival{remote: from, local: o.dst, ttl: o.ttl, tos: o.tos, body: payload}
	switch {
	case o.reach == Own:
		if receiver := s.find(to, from); receiver != nil {
			s.stat.Drop(receiver.put(&a))
		} else {
			s.stat.Drop(stat.DropNoSocket)
			s.refused(from, to, payload)
		}
	case o.reach == Broadcast, o.reach == Multicast && k.on(stream.OptMulticastLoop) && s.Member(o.dst):
		if r := s.spread(&a, port); r != stat.DropNoSocket {
			s.stat.Drop(r)
		}
	}
	if !o.wire {
		return 0
	}
	u := s.reserve(o, wire.UDPLen+len(payload))
	binary.BigEndian.PutUint16(u[0:], k.port)
	binary.BigEndian.PutUint16(u[2:], port)
	binary.BigEndian.PutUint16(u[4:], uint16(len(u)))
	copy(u[wire.UDPLen:], payload)
	wire.UDP(u).SetChecksum(0)
	c := wire.PseudoHeader(o.src, o.dst, wire.ProtoUDP, len(u)).Add(u).Checksum()
	if c == 0 {
		c = 0xffff // RFC 768: zero means none
	}
	wire.UDP(u).SetChecksum(c)
	return 0
}

// sendICMP sends what a Ping or Raw socket made.
func (s *Stack) sendICMP(k *socket, o *outgoing, message []byte) syscall.Errno {
	o.proto = wire.ProtoICMP
	if o.dst.Is6() {
		o.proto = wire.ProtoICMPv6
	}
	switch {
	case k.family == stream.IPv6 && o.dst.Is4():
		return syscall.ENETUNREACH // these sockets are of one family
	case k.proto == stream.Raw && o.dst.Is6() && len(message) > 0 &&
		message[0] >= wire.ICMPv6RouterSolicit && message[0] <= wire.ICMPv6Redirect:
		return syscall.EPERM // neighbours are the dataplane's
	}
	if e := s.fit(k, o, len(message), message); e != 0 || s.martian(o) {
		return e
	}
	if o.wire && !s.room(k) {
		return syscall.EAGAIN
	}
	o.flow = s.flow(netip.AddrPortFrom(o.src, 0), netip.AddrPortFrom(o.dst, 0))
	if !o.wire {
		if o.reach == Own {
			s.loopICMP(k, o, message)
		}
		return 0
	}
	u := s.reserve(o, len(message))
	copy(u, message)
	k.finish(o, u)
	return 0
}

// isRequest reports whether a message is what Ping may send.
func (k *socket) isRequest(m []byte) bool {
	echo := uint8(wire.ICMPv4Echo)
	if k.family == stream.IPv6 {
		echo = wire.ICMPv6Echo
	}
	return m[0] == echo && m[1] == 0
}

// finish writes what the engine owes an ICMP message: the identifier and the
// checksum of Ping, the checksum of ICMPv6. A raw ICMPv6 message too short to
// have one goes as it is.
func (k *socket) finish(o *outgoing, m []byte) {
	if k.proto == stream.Ping {
		binary.BigEndian.PutUint16(m[4:], k.port)
	}
	switch {
	case o.dst.Is6() && len(m) >= 4:
		m[2], m[3] = 0, 0
		c := wire.PseudoHeader(o.src, o.dst, wire.ProtoICMPv6, len(m)).Add(m).Checksum()
		binary.BigEndian.PutUint16(m[2:], c)
	case o.dst.Is4() && k.proto == stream.Ping:
		wire.ICMP(m).SetChecksum4()
	}
}

// reserve queues an IP packet and returns its upper layer of n bytes, which is
// to be written.
func (s *Stack) reserve(o *outgoing, n int) []byte {
	at := wire.IPv4Len
	if o.dst.Is6() {
		at = wire.IPv6Len
	}
	b := s.tx.push(txRecord+at+n, &s.pool)
	binary.LittleEndian.PutUint32(b, o.flow)
	binary.LittleEndian.PutUint32(b[4:], uint32(o.limit))
	s.putIP(b[txRecord:], o, n)
	return b[txRecord+at:]
}

// putIP writes the IP header for an upper layer of n bytes.
func (s *Stack) putIP(b []byte, o *outgoing, n int) {
	if o.dst.Is6() {
		wire.PutIPv6(b, o.src, o.dst, o.proto, o.ttl, n)
		b[0] |= o.tos >> 4
		b[1] = o.tos << 4
		return
	}
	wire.PutIPv4(b, o.src, o.dst, o.proto, o.ttl, n)
	ip := wire.IPv4(b)
	b[1] = o.tos
	if !o.df {
		b[6] = 0
	}
	s.ipID++
	ip.SetID(uint16(s.ipID))
	ip.SetChecksum()
}
