// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"net/netip"
	"syscall"
	"time"
)

// Handle names a socket of an engine. It is never reused while a stale copy of
// it could be mistaken for another socket. Zero names no socket.
type Handle uint64

// Family is an address family of a socket.
type Family uint8

// The families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// How says which half of a connection a Shutdown closes.
type How uint8

// The halves; they may be combined.
const (
	ShutRead How = 1 << iota
	ShutWrite
)

// Option names a property of a socket that an engine implements. Values are
// integers; booleans are 0 and 1.
type Option uint8

// The options. What a unit is stands behind it.
const (
	OptReuseAddr Option = iota
	OptReusePort
	OptKeepAlive
	OptKeepIdle     // seconds
	OptKeepInterval // seconds
	OptKeepCount    // probes
	OptNoDelay
	OptCork
	OptQuickAck
	OptMaxSeg      // bytes
	OptUserTimeout // milliseconds
	OptSynCount    // retransmissions
	OptDeferAccept // seconds
	OptLinger2     // seconds in FIN-WAIT-2
	OptSendBuffer  // bytes, as set, not doubled
	OptRecvBuffer  // bytes, as set, not doubled
	OptNotSentLowat
	OptTOS // DSCP and ECN byte; traffic class for IPv6
	OptTTL // hop limit for IPv6
	OptV6Only
	OptLinger // seconds, -1: off; 0: Close resets

	// Of datagram sockets alone, as are OptReuseAddr, OptReusePort,
	// OptSendBuffer (the largest datagram), OptRecvBuffer, OptTOS, OptTTL and
	// OptV6Only of those above.
	OptBroadcast     // may send to broadcast addresses
	OptMulticastTTL  // hop limit of multicast; default 1
	OptMulticastLoop // the container's own members get what it sends; default 1
	OptMulticastAll  // gets groups that others of the container joined; default 1
	OptMTUDiscover   // IP_PMTUDISC_*; default 1 (WANT)
	OptMTU           // bytes, read only: to the peer; ENOTCONN without one
	OptRecvErr       // errors also without a peer, and those Linux ignores

	NumOptions
)

// NumStreamOptions bounds the options of stream sockets.
const NumStreamOptions = OptBroadcast

// Info is what TCP_INFO reports, in the units of Linux's struct tcp_info.
type Info struct {
	State                          uint8 // kernel number: 1 ESTABLISHED ... 12 NEW_SYN_RECV
	SendScale, RecvScale           uint8
	Timestamps, SACK, WindowScale  bool
	RTO, RTT, RTTVar               time.Duration
	SendMSS, RecvMSS, MTU          uint32
	Cwnd, Ssthresh                 uint32 // segments
	Unacked, Lost, Retrans, Reord  uint32 // segments
	TotalRetrans                   uint32
	BytesAcked, BytesReceived      uint64
	SegsOut, SegsIn                uint32
	SendQueue, RecvQueue, SendWind uint32 // bytes
}

// Engine runs TCP, and answers ICMP, for the addresses of one container shard.
// All methods belong to the worker's thread. Errors are kernel error numbers, 0
// for none.
type Engine interface {
	Sockets

	// Deliver gives the engine one IP packet addressed to the container.
	// verified says that the transport checksum needs no verification. The
	// packet is the engine's only until Deliver returns. What is wrong with
	// a packet is counted by the engine.
	Deliver(packet []byte, verified bool)

	// EndBurst says that no further packet of this turn follows: what was
	// held back to be merged or acknowledged at once goes on.
	EndBurst()

	// Transmit writes queued packets to out until none is left or budget
	// packets were built, and returns how many it built.
	Transmit(out Output, budget int) int

	// Undeliverable gives back an IP packet of ours whose next hop did not
	// answer: connections that are still opening fail with EHOSTUNREACH.
	Undeliverable(packet []byte)

	// Stop discards the engine: every socket ends with RST where that can
	// still be sent through out (nil: not at all).
	Stop(out Output)
}

// Sockets is TCP as an application's sockets see it: the half of an Engine that
// knows no packets. What has the host's kernel send them is one alone.
type Sockets interface {
	// Poll reports what happened to sockets, at most budget of them, and
	// says whether more is waiting.
	Poll(ev Events, budget int) (more bool)

	// Busy reports whether Transmit or Poll has something to do.
	Busy() bool

	// Open makes a socket. user comes back in Events.
	// EMFILE: the container has no socket left.
	Open(family Family, user uint64) (Handle, syscall.Errno)

	// Bind gives the socket its local address; the zero port asks for any.
	// EADDRINUSE, EADDRNOTAVAIL, EINVAL (bound already).
	Bind(h Handle, local netip.AddrPort) syscall.Errno

	// Listen turns the socket into a listener, or changes its backlog.
	// An unbound socket is bound to any port first.
	Listen(h Handle, backlog int) syscall.Errno

	// Accept takes one established connection off a listener; EAGAIN if
	// there is none. user comes back in Events of the new socket.
	Accept(h Handle, user uint64) (Handle, syscall.Errno)

	// Connect starts an active open: EINPROGRESS, then Established or
	// Failed follows; any other value is the failure itself.
	Connect(h Handle, remote netip.AddrPort) syscall.Errno

	// Attach gives a connection its byte rings, before or after it is
	// established.
	Attach(h Handle, p *Pair)

	// TxReady says that bytes, or TxEOF, were added to the Tx ring.
	TxReady(h Handle)

	// RxRoom says that room was made in the Rx ring, or memory given to it.
	// Bytes that waited for it are in the ring when RxRoom returns.
	RxRoom(h Handle)

	// Shutdown closes halves of a connection. Bytes in the Tx ring are
	// sent first when they were announced by TxReady.
	// ENOTCONN.
	Shutdown(h Handle, how How) syscall.Errno

	// Close ends a socket in order: FIN after what was pulled from Tx, RST
	// if received bytes were not taken or OptLinger is 0. The handle and
	// the pair are no longer used afterwards.
	Close(h Handle)

	// Abort ends a socket with RST. The handle and the pair are no longer
	// used afterwards.
	Abort(h Handle)

	// Local and Remote return a socket's addresses. Local of an unbound
	// socket is the family's unspecified address and port 0. Remote gives
	// ENOTCONN unless the socket is connected.
	Local(h Handle) netip.AddrPort
	Remote(h Handle) (netip.AddrPort, syscall.Errno)

	// SetOption and Option write and read one option.
	// ENOPROTOOPT: the engine does not have it. EINVAL: the value.
	SetOption(h Handle, opt Option, value int) syscall.Errno
	Option(h Handle, opt Option) (int, syscall.Errno)

	// Info fills in what is known of a socket.
	Info(h Handle, info *Info)
}

// Host is Sockets over the host's own stack, for what leaves a container's
// networks.
type Host interface {
	Sockets

	// Adopt makes a listener of ours out of a kernel socket that listens, or a
	// UDP socket of ours out of one that is bound; it does not block, and is the
	// callee's from here on. user comes back in Events.
	Adopt(fd int, user uint64) (Handle, syscall.Errno)

	// Join makes a socket of ours out of one end of a connected pair of Unix
	// sockets, which does not block, and is the callee's from here on: Connect
	// makes it a connection from local, and who has the other end is the peer.
	Join(fd int, local netip.AddrPort, user uint64) (Handle, syscall.Errno)

	// OpenDatagram makes a UDP socket of the host, for Close, Local and
	// Option like others. Readable and Writable are reported.
	OpenDatagram(family Family, user uint64) (Handle, syscall.Errno)

	// Point gives a UDP socket a peer: only its datagrams arrive, and its
	// errors.
	Point(h Handle, remote netip.AddrPort) syscall.Errno

	// SendTo sends a datagram, to the peer if remote is not valid, from a
	// place of the host unless that is zero. EAGAIN: Writable follows.
	SendTo(h Handle, at HostPlace, remote netip.AddrPort, payload []byte) syscall.Errno

	// ReceiveFrom takes the oldest datagram; n is its whole length, what
	// does not fit is lost. at is where it came in, on adopted sockets. Other
	// errors than EAGAIN are the peer's.
	ReceiveFrom(h Handle, buf []byte) (n int, from netip.AddrPort, at HostPlace, errno syscall.Errno)
}

// HostPlace is an address of the host, and an interface where the address of who
// is at the other end means nothing without.
type HostPlace struct {
	IP        netip.Addr
	Interface uint32
}

// Clocked is an Engine without goroutines or timers of its own: it knows the
// time only from being told.
type Clocked interface {
	Engine

	// Advance tells the time, which starts anywhere and never goes back, and
	// runs what is due. Everything called until the next Advance happens at
	// that time.
	Advance(now time.Duration)

	// Next returns the time at which Advance has something to do, the
	// largest Duration if there is nothing to wait for.
	Next() time.Duration
}

// Events is how an engine reports what happened to its sockets, from inside
// Poll. The receiver may call the engine's socket methods.
type Events interface {
	// Established: the active open of this socket succeeded.
	Established(user uint64)

	// Failed: the socket died: its active open failed (ECONNREFUSED,
	// ETIMEDOUT, EHOSTUNREACH, ENETUNREACH) or its connection was reset or
	// timed out (ECONNRESET, EPIPE after the peer's FIN, ETIMEDOUT). Its
	// handle stays valid until Close or Abort; bytes that lie in Rx may
	// still be read. While bytes that were acknowledged wait inside the
	// engine for room in Rx it is not reported, unless TxReady is called.
	Failed(user uint64, err syscall.Errno)

	// Acceptable: Accept of this listener has something.
	Acceptable(user uint64)

	// Readable: bytes, or RxEOF, were added to the Rx ring. It is also
	// reported while bytes wait inside the engine and the ring has no
	// memory: the receiver attaches some and calls RxRoom.
	Readable(user uint64)

	// Writable: room was made in the Tx ring.
	Writable(user uint64)
}
