// SPDX-License-Identifier: Apache-2.0

// Package udplink moves encapsulated frames through ordinary kernel UDP
// sockets: the underlay that needs no privilege.
//
// # Theory of operation
//
//	           worker 0                            worker 1
//	┌──────────── Link ────────────┐    ┌──────────── Link ────────────┐
//	│ Recv ◄── receive socket ─────┼────┼──── receive socket ──► Recv  │
//	│              VTEP:port, one SO_REUSEPORT group                   │
//	│ Reserve/Commit ─► trains ─► send sockets, VTEP:ephemeral ports   │
//	└──────────────────────────────┘    └──────────────────────────────┘
//
// Inbound, one recvmmsg takes a batch of messages. With UDP_GRO a message is a
// train: several datagrams of one sender, equally long but for the last, which
// the kernel kept together and whose length it tells in a control message.
// Recv cuts it up and gives the sink one frame after the other. What does not
// fit into the caller's budget waits in the buffers for the next Recv.
//
// Outbound, the flow hash picks one of the link's send sockets, and so the
// outer UDP source port, which is what routers, NICs and the far side's
// SO_REUSEPORT group spread load by (RFC 7348 section 5). Consecutive frames of
// one socket to one VTEP that are equally long lie back to back in the
// socket's buffer and leave as one UDP_SEGMENT message; a shorter frame ends
// the train. All trains of a socket leave with one sendmmsg, on Flush or when
// the socket's buffer is full.
//
// The first receive socket binds without SO_REUSEPORT, so a second daemon on
// the same address and port gets EADDRINUSE; only then it is opened for the
// further workers' sockets, which bind with SO_REUSEPORT and so form a group
// with it.
//
// Outer datagrams carry Don't Fragment. IP_PMTUDISC_DO is preferred to PROBE:
// both set the bit, but DO also keeps to the path MTU that the kernel learned
// from ICMP, so a frame too big for the path fails here and is counted
// (DropUnderlayMTU) instead of vanishing on the way. It is also the MTU that
// PathMTU reports. Outer UDP checksums are always on, IPv4 included.
//
// If the kernel refuses UDP_SEGMENT at run time (EIO or EINVAL, for example
// under an IPsec policy) while it takes the same frames one by one, trains are
// given up for good on that link, and Features says so.
//
// # Ownership
//
// Room from Reserve is the caller's until Commit; the socket's buffer is reused
// after each Flush, the kernel having copied it. A payload given to a Sink is
// the sink's until it returns.
//
// # Concurrency
//
// A Link belongs to one worker's thread. Only Features and Local may be called
// from elsewhere. Nothing here blocks: all calls are MSG_DONTWAIT. They go
// through Syscall, not RawSyscall, because one call may copy a megabyte and
// must not hold up the garbage collector meanwhile.
//
// # Limits
//
// A frame is at most 65,507 bytes, also over IPv6; longer ones, and those
// longer than Config.MTU, are counted as DropUnderlayMTU by Commit. A train is
// at most 64 frames and 65,507 bytes. When a socket's send buffer is full, what
// it has queued is dropped and counted as DropUnderlayFull: a worker never
// waits. What the receiver's socket cannot hold the kernel drops silently.
// Without UDP_GRO a datagram longer than the receive buffer is counted as
// DropOuterTruncated.
//
// While a daemon has more than one worker, another process of the same user
// that asks for SO_REUSEPORT may still join the group; no other daemon of ours
// does.
//
// All VTEPs use the port of Config.Local. With a link-local Config.Local its
// zone holds for all destinations, and sources come without a zone.
//
// # Not supported
//
// Multicast underlays, ECN and DSCP propagation (RFC 6040), zero outer
// checksums (RFC 6935), wildcard VTEP addresses.
//
// # References
//
// RFC 7348 sections 4 and 5; udp(7), ip(7), ipv6(7); kernel net/ipv4/udp.c
// (udp_send_skb, udp_lib_get_port), net/ipv4/udp_offload.c,
// net/core/sock_reuseport.c.
package udplink
