// SPDX-License-Identifier: Apache-2.0

// Package netstack is the stream engine "gvisor": TCP and ICMP of one container
// shard by gVisor's netstack, used as released, and beside it the datagram
// sockets of package datagram.
//
// # Theory of operation
//
//	Deliver ─► validate ─► flow ─► copy ─► GRO ─► gVisor ─┐     ┌─► WritePackets
//	(rx.go, icmp.go,   │  (flow.go)                       │     │   (any goroutine,
//	 fragment.go)      │                   its goroutines ▼     │    appends: link.go)
//	                   └─► UDP, ping, raw: datagram.go
//	Poll ◄─ ready queue ◄─ waiter callbacks ◄──────── endpoints ┘        │
//	(poll.go) Read into Rx, Write from Tx                                ▼
//	Transmit ─► headers ─► flow ─► segment, checksum ─► Output      transmit queue
//	(tx.go, segment.go)
//
// The stack sits on a layer-3 link: ARP and neighbour discovery never reach it
// and it sends none. It claims checksum offload both ways, because only then
// merged segments and super-packets work: inbound checksums are verified here,
// outbound ones completed here. A super-packet of up to 64 KiB goes whole to a
// container of this host and is cut into segments for everyone else.
//
// gVisor's TCP runs on goroutines of its own. Its callbacks come with locks
// held, so they only put the socket on a queue and ring the doorbell; all reads
// and writes happen in Poll. Why no wake-up is lost is argued at readyQueue.
//
// gVisor believes ICMP errors that name a connection, and one forged packet
// makes it send one-byte segments for ever. Therefore the sequence numbers of
// each connection are followed here (flow.go); an error is believed only if it
// quotes a segment in flight, an MTU only if it is sane and lower than the
// last. All errors but "packet too big" are settled here. Connections nobody
// accepted yet are not followed: errors for them are dropped as forged.
//
// # Loss
//
// gVisor's recovery is SACK's (RFC 6675), which knows that a super-packet may
// lose a part. RACK is off because it does not: a flight of one super-packet
// that loses one segment waits for the timer. Congestion control is Reno: the
// window of gVisor's CUBIC grows with time in units of the smoothed round trip
// time, which is never below 1 ms, so on a shorter path with loss it stays at
// two segments and every loss waits for the timer. From 2 ms on the two are
// alike. What else recovery needs is done to the packets (loss.go): duplicate
// ACKs are made recognizable, measurements that cannot be are removed, segments
// behind a hole are not merged, and ACKs to a peer whose packets get lost go
// out twice.
//
// 8 MiB in process, two cores, 3% of the packets lost each way: 0.8 s, a timeout
// every 30 losses; without all this 24 s with RACK, 60 s without. What is left
// to the timer (100 ms at least) is mostly the loss of a retransmission. A loss
// of everything for longer than that doubles the timeout each time, as in any
// TCP.
//
// # Ownership
//
// A packet of gVisor in the transmit queue holds a reference, which Transmit
// drops. Inbound packets are copied before Deliver returns. A Pair is used from
// Attach until Close, Abort or Failed.
//
// # Concurrency
//
// The methods of stream.Engine belong to the worker's thread. Dead, Sockets,
// Limits and Usage may be called from anywhere. The doorbell rings from any
// goroutine, once when a queue stops being empty, and no more after Stop.
//
// # Containment
//
// A panic of gVisor in a call of the worker, or in a timer, kills the stack and
// nothing else: Dead says why, every method turns into ENETDOWN, and nothing
// enters the stack again, because its locks may be held. What it held is left
// to the collector.
//
// # Limits
//
// Sockets, granted backlogs, queued bytes and fragments: see Limits; datagram
// sockets are sockets like others, and what waits for them gets at most half of
// the queued bytes. A listener is granted at most half of what Limits.HalfOpen has
// left, and a 32nd of it at least; past the backlog gVisor answers with SYN
// cookies, and such a connection has neither window scaling nor SACK, and sends
// again what came with or just behind the acknowledgment that makes it. Above
// Limits.BufferBytes nothing is taken from Tx rings, and inbound segments lose
// their payload but still acknowledge. Queued bytes are payload; not counted
// are connections nobody accepted yet (bounded by the backlogs times the
// initial window of at most 64 KiB), and send queues of connections over the
// container's own loopback interface. Closed sockets that TCP is not done with,
// TIME_WAIT included, number at most Limits.Connections; the oldest is reset.
//
// A panic on one of gVisor's own TCP goroutines cannot be recovered from
// outside: it ends the process. There are GOMAXPROCS such goroutines per stack.
//
// # Not supported
//
// ECN, PAWS, delayed acknowledgments, urgent data, TCP Fast Open: gVisor has
// none. Broadcast and multicast but for datagrams. Fragments of TCP. OptSynCount
// above 6.
// Info leaves what nobody knows zero: window scales and options of accepted
// connections, the peer's window. Failed waits until bytes gVisor still holds
// went into the Rx ring, unless the owner has bytes to send. SACK from a socket
// that has closed its sending half: gVisor reports no holes then, and the peer
// waits for its timer.
//
// # References
//
// RFC 792, 1122, 1191, 4443, 5681, 5927, 5961, 6675, 6691, 7323, 8200, 9293; in
// gVisor pkg/tcpip transport/tcp/endpoint.go, dispatcher.go, snd.go, rack.go and
// cubic.go, stack/gro/gro.go; in the kernel net/ipv4/tcp_ipv4.c (tcp_v4_err),
// net/ipv4/icmp.c, net/ipv6/icmp.c.
package netstack
