// SPDX-License-Identifier: Apache-2.0

// Package datagram is the UDP, ping and raw ICMP sockets of one container.
//
// # Theory of operation
//
//	Send ─► destination, source ─► header, checksum ─► transmit queue ─► Transmit ─► fragments ─► Output
//	(send.go, address.go)  │                           (ring.go)         (transmit.go)
//	                       └─ to ourselves ─┐
//	UDP, ICMP ─► socket (table.go, deliver.go, icmp.go) ─► receive queue ─► Receive
//	fragments ─► Reassembler ─► a whole packet, verified and delivered as one      (queue.go)
//
// An engine embeds a Stack: it verifies packets and hands over what is UDP or
// ICMP, passes the socket calls on, and lets the Stack Poll and Transmit in its
// turns. Everything runs to completion on the worker's thread. The gVisor stack
// beside it knows nothing of these sockets, because its own lack what programs
// see of the kernel's: the source address of one datagram (PKTINFO) and its
// TOS, errors other than port unreachable and who sent them, IP_MULTICAST_ALL,
// a bound on empty datagrams, and checksums of what came in fragments.
//
// Linux is the reference for what a call returns, which socket gets a datagram
// and which errors it is told of; the functions of Linux are named where they
// decide.
//
// A socket has one queue for datagrams and for errors of the network, in the
// order of arrival.
//
// Multicast and broadcast. What is sent to a group leaves as a frame to the
// group's MAC address, which the network floods to every member and VTEP;
// members of this container get it as well, unless IP_MULTICAST_LOOP is off.
// What comes in is taken if a socket joined the group, or for the groups of all
// hosts. Joining is a matter of the container alone: nobody prunes a flooded
// network, so that IGMP and MLD have nobody to talk to and are not sent.
//
// # Ownership
//
// Payloads and packets are the callee's until it returns. A whole packet of
// Reassembler is the caller's until its next call.
//
// # Concurrency
//
// Everything belongs to the worker's thread.
//
// # Limits
//
// A receive queue takes datagrams while it holds at most twice OptRecvBuffer,
// 208 KiB at first; each costs 80 bytes beside its payload. Queues have memory
// only while something waits, and Config.Room bounds what all hold. What has no
// room is dropped: DropSocketQueue, DropBufferLimit. 512 KiB wait for Transmit,
// then Send gives EAGAIN. Up to 1 MiB of unused buffers is kept for reuse:
// then nothing is allocated per datagram. 1,000 port unreachables per second
// are sent, in bursts of 50. 256 path MTUs are remembered for 10 minutes, those
// believed quote a datagram that a socket can have sent. A socket joins 20
// groups of IPv4 and 64 of IPv6.
//
// Fragments that wait for others are kept for 30 seconds within
// Reassembler.Limit; beyond it the oldest go. Fragments that overlap, and
// packets with more than 64 pieces between gaps, are given up (RFC 5722).
//
// # Not supported
//
// IP options, IPv6 extension headers and flow labels of what is sent. Sources
// of a group (IGMPv3). IP_HDRINCL. Raw sockets of protocols other than ICMP, and
// neighbour discovery through them (EPERM). Echo requests to groups are not
// answered. Multicast that leaves is not looped back to ping and raw sockets.
//
// # References
//
// RFC 768, 791, 792, 1122, 1191, 4443, 5722, 8085, 8200; in the kernel
// net/ipv4/udp.c, net/ipv4/datagram.c, net/ipv4/ping.c, net/ipv4/raw.c,
// net/ipv4/icmp.c, net/ipv4/igmp.c, net/ipv6/udp.c, net/ipv6/datagram.c.
package datagram
