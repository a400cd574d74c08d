// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"net/netip"
	"syscall"

	"netcon/dataplane/stream"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

// pairKind is the type of pair that a request for a socket comes with.
func pairKind(r *shm.Request) int32 {
	if r.Op == shm.OpNetlink || r.Op == shm.OpSocket && r.Level != 0 && r.Level != unix.SOCK_STREAM {
		return unix.SOCK_SEQPACKET
	}
	return unix.SOCK_STREAM
}

// protocolOf is what a socket of a type and protocol number speaks.
func protocolOf(f stream.Family, kind, number int32) (stream.Protocol, syscall.Errno) {
	icmp := int32(unix.IPPROTO_ICMP)
	if f == stream.IPv6 {
		icmp = unix.IPPROTO_ICMPV6
	}
	switch {
	case kind == unix.SOCK_DGRAM && (number == 0 || number == unix.IPPROTO_UDP):
		return stream.UDP, 0
	case kind == unix.SOCK_DGRAM && number == icmp:
		return stream.Ping, 0
	case kind == unix.SOCK_RAW && number == icmp:
		return stream.Raw, 0
	case kind == unix.SOCK_DGRAM || kind == unix.SOCK_RAW:
		return 0, unix.EPROTONOSUPPORT
	}
	return 0, unix.ESOCKTNOSUPPORT
}

// openEngine opens the engine's socket of the type that is asked for.
func (t *Set) openEngine(s *sock, f stream.Family, r *shm.Request) (stream.Handle, syscall.Errno) {
	if pairKind(r) == unix.SOCK_STREAM {
		return t.engine.Open(f, s.user())
	}
	proto, e := protocolOf(f, r.Level, r.Option)
	switch {
	case e != 0:
		return 0, e
	case t.datagrams == nil:
		return 0, unix.EPROTONOSUPPORT
	}
	h, e := t.datagrams.OpenDatagram(f, proto, s.user())
	if e != 0 {
		return 0, e
	}
	if t.burst == nil {
		t.burst, t.single = newBurst(burstSize, shm.PayloadMax+1), newBurst(1, 0)
	}
	s.dgram = &datagram{proto: proto}
	return h, 0
}

// datagramRequest carries out a request about a datagram socket.
func (t *Set) datagramRequest(s *sock, r *shm.Request) syscall.Errno {
	t.settle(s)
	switch r.Op {
	case shm.OpBind:
		return t.opBind(s, r)
	case shm.OpConnect:
		return t.connectDatagram(s, r)
	case shm.OpShutdown:
		return t.shutdownDatagram(s, r)
	case shm.OpGetsockname:
		return t.opGetsockname(s)
	case shm.OpGetpeername:
		return t.opGetpeername(s)
	case shm.OpGetsockopt:
		return t.opGetsockopt(s, r)
	case shm.OpSetsockopt:
		e := t.opSetsockopt(s, r)
		s.dgram.wants = t.wants(s)
		return e
	case shm.OpVerdict:
		e := s.dgram.verdict
		s.dgram.verdict = 0
		return e
	case shm.OpErrorQueue:
		return t.opErrorQueue(s)
	case shm.OpOutq, shm.OpTakeError: // what was written is sent
		return 0
	}
	return unix.EOPNOTSUPP
}

// connectDatagram follows ip4_datagram_connect and ip6_datagram_connect.
func (t *Set) connectDatagram(s *sock, r *shm.Request) syscall.Errno {
	if r.Addr.Family == unix.AF_UNSPEC {
		s.dgram.connected, s.dgram.far = false, netip.AddrPort{}
		t.closeOut(s)
		return t.datagrams.Disconnect(s.handle)
	}
	remote, e := decodeDestination(&r.Addr, s.family)
	if e != 0 {
		return misfit(s, r, e)
	}
	remote = thisHost(remote)
	t.closeOut(s)
	// From one peer of the engine to the next the source address stays, as in the
	// kernel.
	leave := func() {
		if s.dgram.connected {
			_ = t.datagrams.Disconnect(s.handle)
		}
		s.dgram.far = remote
	}
	switch {
	case t.flowOf(s, remote) != nil, t.isNameserver(s, remote):
		leave() // it need not be reached by any other way than ours
	case t.datagramsGoOut(s, remote):
		if e := t.pointOut(s, remote); e != 0 {
			return e
		}
		leave()
	default:
		if e := t.engine.Connect(s.handle, remote); e != 0 {
			return e
		}
		s.dgram.far = netip.AddrPort{}
	}
	s.dgram.connected = true
	return 0
}

// decodeDestination is decodeAddr for sockets of datagrams, which take an IPv4
// address on an IPv6 socket.
func decodeDestination(a *shm.Addr, f stream.Family) (netip.AddrPort, syscall.Errno) {
	if a.Family == unix.AF_INET && f == stream.IPv6 {
		four, _ := decodeAddr(a, stream.IPv4)
		return netip.AddrPortFrom(netip.AddrFrom16(four.Addr().As16()), four.Port()), 0
	}
	return decodeAddr(a, f)
}

// shutdownDatagram follows inet_shutdown, which does what it says even where it
// fails.
func (t *Set) shutdownDatagram(s *sock, r *shm.Request) syscall.Errno {
	var how stream.How
	switch r.Value {
	case unix.SHUT_RD:
		how = stream.ShutRead
	case unix.SHUT_WR:
		how = stream.ShutWrite
	case unix.SHUT_RDWR:
		how = stream.ShutRead | stream.ShutWrite
	default:
		return unix.EINVAL
	}
	return t.engine.Shutdown(s.handle, how)
}

// opErrorQueue takes the oldest entry of the error queue.
func (t *Set) opErrorQueue(s *sock) syscall.Errno {
	d := s.dgram
	if len(d.errors) == 0 {
		return unix.EAGAIN
	}
	x := d.errors[0]
	if d.errors = d.errors[1:]; len(d.errors) == 0 {
		d.errors = nil
	}
	c := shm.Cause{
		Error: uint32(x.errno), Origin: x.cause.Origin, Type: x.cause.Type, Code: x.cause.Code,
		Info: x.cause.Info, Quoted: uint32(len(x.quoted)),
	}
	if x.cause.Offender.IsValid() {
		c.Offender = encodeIP(x.cause.Offender, s.family)
	}
	n := copy(t.reply.Opt[:], shm.CauseBytes(&c))
	n += copy(t.reply.Opt[n:], x.quoted)
	t.reply.Optlen = uint32(n)
	t.reply.Addr = encodeAddr(x.to, s.family)
	return 0
}
