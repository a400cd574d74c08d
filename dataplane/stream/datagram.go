// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"net/netip"
	"syscall"
)

// Protocol is what a datagram socket speaks.
type Protocol uint8

// The protocols. ICMP stands for ICMPv6 on sockets of the family IPv6.
const (
	// UDP carries payloads of up to 65,507 bytes (IPv4) or 65,527 (IPv6).
	UDP Protocol = iota + 1

	// Ping is SOCK_DGRAM of ICMP: echo requests go out, their replies come
	// in. A payload is a whole ICMP message from its type on. The engine
	// writes identifier and checksum; the identifier is the local port.
	// Ports of remote addresses mean nothing and are 0 when received.
	Ping

	// Raw is SOCK_RAW of ICMP: every ICMP message for the container that its
	// filter lets through. A payload that is sent begins with the ICMP
	// header, one that is received with the IP header (IPv4) or the ICMP
	// header (IPv6), as in Linux. The engine writes the checksum of ICMPv6
	// and no other. Ports mean nothing: they are 0, the local one is the
	// protocol's number.
	Raw
)

// Message is what accompanies a datagram. The zero Message sends to the
// connected peer with what the socket is set to. IPv4 addresses of IPv6 sockets
// are mapped, in both directions.
type Message struct {
	// Remote is the sender of a received datagram, or the destination of one
	// to be sent: the zero value means the connected peer.
	Remote netip.AddrPort

	// Local is the destination address of a received datagram: one of the
	// container's, a group, a broadcast address. To send it is the source
	// address asked for (PKTINFO, and what IP_MULTICAST_IF names): the zero
	// value, or an unspecified address, lets the socket and the route decide.
	Local netip.Addr

	// TTL is the TTL or hop limit. To send, 0 means the socket's.
	TTL uint8

	// TOS is the DSCP and ECN byte, or the traffic class. To send, it counts
	// if OwnTOS is set, else the socket's does.
	TOS    uint8
	OwnTOS bool

	// Err is not 0 in what Receive gives if it is no datagram but an error
	// that the network reported for an earlier one: the number that SO_ERROR
	// and the next call shall show. Then Remote is where that datagram went,
	// Local is invalid, the payload is what was quoted of its payload, and
	// Cause says more. Send takes no notice of it.
	Err   syscall.Errno
	Cause Cause

	// Drops is how many datagrams the socket's queue in the engine had no room
	// for until now, in what Receive gives.
	Drops uint32
}

// Cause is what struct sock_extended_err tells about an error of the network.
type Cause struct {
	Origin   uint8      // SO_EE_ORIGIN_LOCAL 1, ICMP 2, ICMP6 3
	Type     uint8      // of the ICMP message
	Code     uint8      // of the ICMP message
	Info     uint32     // the path MTU in bytes where Err is EMSGSIZE
	Offender netip.Addr // who sent the ICMP message; invalid if Origin is local
	// Quiet says that the error is for the error queue (MSG_ERRQUEUE) alone:
	// it does not become SO_ERROR nor the result of a call. Only sockets with
	// OptRecvErr are told.
	Quiet bool
}

// ICMPFilter says which ICMP types a Raw socket is not told: type t if bit t&31
// of word t>>5 is set. ICMP6_FILTER has this form; ICMP_FILTER is word 0, and
// types above 31 pass.
type ICMPFilter [8]uint32

// Blocks reports whether messages of the type are not wanted.
func (f *ICMPFilter) Blocks(kind uint8) bool { return f[kind>>5]>>(kind&31)&1 != 0 }

// Datagrams is an Engine that has datagram sockets. An Engine that is none of
// these has stream sockets alone: EPROTONOSUPPORT.
//
// Handles of datagram sockets also go to Engine's Bind, Connect, Shutdown,
// Close, Abort, Local, Remote, SetOption and Option; Listen and Accept give
// EOPNOTSUPP, and a Pair is not attached. What differs from streams:
//
//   - Bind: EADDRINUSE by Linux's rules for SO_REUSEADDR and SO_REUSEPORT.
//     A group or broadcast address may be bound. The port of Ping is the
//     identifier; Raw has none. EINVAL: bound to a port already.
//   - Connect decides at once: 0, or ENETUNREACH, EACCES (broadcast without
//     OptBroadcast), EINVAL, EAFNOSUPPORT, EADDRINUSE for want of a port to
//     bind to (Linux: EAGAIN). It binds an unbound socket, gives
//     it the source address for the peer, and may be repeated. From then on
//     only the peer's datagrams arrive.
//   - Shutdown: ENOTCONN unless connected, but it takes effect in any case:
//     after ShutWrite Send fails with EPIPE, after ShutRead nothing arrives.
//   - Close and Abort are the same: what waits is discarded.
//
// Nothing is queued to be sent: a datagram that Send took has left the socket.
type Datagrams interface {
	Engine

	// OpenDatagram makes a datagram socket. user comes back in Events:
	// Readable and Writable are the only ones reported.
	// EMFILE: the container has no socket left. EAFNOSUPPORT,
	// EPROTONOSUPPORT.
	OpenDatagram(family Family, proto Protocol, user uint64) (Handle, syscall.Errno)

	// Disconnect dissolves the association with a peer (AF_UNSPEC). An
	// address and a port that Bind did not ask for are given up.
	Disconnect(h Handle) syscall.Errno

	// Send sends one datagram, which is the callee's until it returns; an
	// unbound socket is bound first. 0: it was sent, or dropped and counted
	// further on, as a kernel does. EAGAIN: the container's transmit queue
	// is full, Writable follows. EDESTADDRREQ (ENOTCONN on Raw and Ping of
	// no peer is EDESTADDRREQ as well), EMSGSIZE, EACCES (broadcast without
	// OptBroadcast), ENETUNREACH, EINVAL (port 0, source not ours,
	// malformed ICMP), EAFNOSUPPORT, EPIPE, EADDRINUSE for want of a port to
	// bind to (Linux: EAGAIN).
	// Errors that the network reported earlier come out of Receive alone.
	Send(h Handle, m *Message, payload []byte) syscall.Errno

	// Receive takes the oldest datagram, or error of the network, that
	// waits. What does not fit into buf is lost; n is the length before
	// that. EAGAIN: nothing waits, Readable follows when something does.
	// Every field of m is written.
	Receive(h Handle, m *Message, buf []byte) (n int, errno syscall.Errno)

	// Join makes the socket a member of a multicast group, Leave ends that.
	// There is one interface to do so on. EINVAL: no multicast address;
	// EADDRINUSE: a member already; ENOBUFS: a member of too many groups;
	// Leave: EADDRNOTAVAIL, not a member.
	Join(h Handle, group netip.Addr) syscall.Errno
	Leave(h Handle, group netip.Addr) syscall.Errno

	// Filter sets the filter of a Raw socket, which is empty at first.
	// EOPNOTSUPP: not a Raw socket.
	Filter(h Handle, f *ICMPFilter) syscall.Errno
}
