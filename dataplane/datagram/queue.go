// SPDX-License-Identifier: Apache-2.0

package datagram

import (
	"encoding/binary"
	"net/netip"
	"syscall"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
)

// A record of a receive queue is this header and the payload.
//
//	0       4     5     6   7        8      9      10            12
//	| flags | ttl | tos | - | origin | type | code | remote port |
//	12      16     20  24       40      56         72
//	| errno | info | - | remote | local | offender |
const recordLen = 72

// Flags of a record.
const (
	recordLocal    = 1 << iota // local is valid
	recordOffender             // offender is valid
	recordQuiet
)

// arrival is what is about to be queued: message is what the owner is told,
// with inward addresses, and the payload is head followed by body.
type arrival struct {
	remote netip.AddrPort
	local  netip.Addr
	ttl    uint8
	tos    uint8
	err    syscall.Errno
	cause  stream.Cause
	head   []byte
	body   []byte
}

// put queues an arrival for the socket. Its queue is full when it holds more
// than its limit, as in Linux: the datagram that passes the limit is still
// taken.
func (k *socket) put(a *arrival) stat.Reason {
	s := k.st
	n := recordLen + len(a.head) + len(a.body)
	if k.shutRead {
		return stat.DropNoSocket
	}
	if k.queue.used() > 2*int(k.value[stream.OptRecvBuffer]) {
		k.drops++
		return stat.DropSocketQueue
	}
	if g := k.queue.growth(n); g > 0 && s.cfg.Room != nil && !s.cfg.Room(g) {
		k.queue.hint = 0 // the least will do
		if !s.cfg.Room(k.queue.growth(n)) {
			k.drops++
			return stat.DropBufferLimit
		}
	}
	b := k.queue.push(n, &s.pool)
	encode(b, a)
	c := copy(b[recordLen:], a.head)
	copy(b[recordLen+c:], a.body)
	if k.armed {
		k.armed = false
		s.ready.push(k)
	}
	return stat.Accepted
}

func encode(b []byte, a *arrival) {
	clear(b[:recordLen])
	put16 := func(at int, ip netip.Addr) {
		x := ip.As16()
		copy(b[at:], x[:])
	}
	if a.local.IsValid() {
		b[0] |= recordLocal
		put16(40, a.local)
	}
	if a.cause.Offender.IsValid() {
		b[0] |= recordOffender
		put16(56, a.cause.Offender)
	}
	if a.cause.Quiet {
		b[0] |= recordQuiet
	}
	b[4], b[5] = a.ttl, a.tos
	b[7], b[8], b[9] = a.cause.Origin, a.cause.Type, a.cause.Code
	binary.LittleEndian.PutUint16(b[10:], a.remote.Port())
	binary.LittleEndian.PutUint32(b[12:], uint32(a.err))
	binary.LittleEndian.PutUint32(b[16:], a.cause.Info)
	put16(24, a.remote.Addr())
}

// Receive implements Receive of stream.Datagrams.
func (s *Stack) Receive(h stream.Handle, m *stream.Message, buf []byte) (int, syscall.Errno) {
	*m = stream.Message{}
	k := s.get(h)
	if k == nil {
		return 0, syscall.EBADF
	}
	b := k.queue.front()
	if b == nil {
		k.armed = true
		return 0, syscall.EAGAIN
	}
	addr := func(at int) netip.Addr {
		return k.outward(netip.AddrFrom16([16]byte(b[at : at+16])).Unmap())
	}
	if b[0]&recordLocal != 0 {
		m.Local = addr(40)
	}
	if b[0]&recordOffender != 0 {
		m.Cause.Offender = addr(56)
	}
	m.Cause.Quiet = b[0]&recordQuiet != 0
	m.TTL, m.TOS, m.Drops = b[4], b[5], k.drops
	m.Cause.Origin, m.Cause.Type, m.Cause.Code = b[7], b[8], b[9]
	m.Remote = netip.AddrPortFrom(addr(24), binary.LittleEndian.Uint16(b[10:]))
	m.Err = syscall.Errno(binary.LittleEndian.Uint32(b[12:]))
	m.Cause.Info = binary.LittleEndian.Uint32(b[16:])
	n := copy(buf, b[recordLen:])
	n = max(n, len(b)-recordLen)
	k.queue.pop(&s.pool)
	return n, 0
}
