// SPDX-License-Identifier: Apache-2.0

// Package packetdrill runs scripts in packetdrill's language against a TCP
// engine in memory, under a virtual clock.
//
// # Theory of operation
//
// A script says at which time an application makes which system calls, which
// packets arrive and which packets have to leave:
//
//	0    socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
//	+0   bind(3, ..., ...) = 0
//	+0   listen(3, 1) = 0
//	+.1  < S 0:0(0) win 32792 <mss 1000,nop,wscale 7>
//	+0   > S. 0:0(0) ack 1 <mss 1460,nop,wscale 8>
//	+.1  < . 1:1(0) ack 1 win 257
//	+0   accept(3, ..., ...) = 4
//	+0   write(4, ..., 1000) = 1000
//	+0   > P. 1:1001(1000) ack 1
//
// Scripts that others wrote for Linux run as they are where they ask for
// nothing but TCP. The files, in the order in which a script passes them:
//
//	lex.go parse*.go script.go   text to a Script
//	config.go shell.go           options, and knobs set by shell commands
//	machine.go run.go            what is under test; events and the virtual clock
//	flow.go segment.go icmp.go   packets; numbers of the script and of the wire
//	expect.go                    does a packet that left equal the expected one
//	call*.go sock.go             system calls, above stream.Clocked
//	code*.go info.go             assertions about struct tcp_info
//
// Time is virtual. Between two events it jumps to whatever the machine, or a
// call with a timeout, has to do next; nothing else passes time. A machine is a
// stream.Clocked, made by a Host: package native has one of dataplane/tcp.
//
// Payload has content: a function of its place in the stream. What the machine
// sends and what calls read is compared with it.
//
// # Differences to packetdrill
//
// One long expected packet stands for a train of consecutive segments: scripts
// show what Linux hands to its NIC, this is what the NIC sends. Unless
// Config.Strict is set PSH may differ, options may have another order or
// padding, and one long segment may stand for several expected packets.
//
// A packet with ports, "< 5000 > 8080 S 0:0(0) win 1000", belongs to the
// connection of these ports, which becomes the current one: one script may have
// several connections. Packets without ports belong to the current one.
//
// "#" begins a comment where a word could begin. Code blocks are a subset of
// Python: assert, print (ignored), assignment, and expressions of numbers.
// Shell commands that set knobs set the machine's knobs; others are passed over
// with a note in the trace.
//
// MSG_MORE is TCP_CORK until a write without it. Buffers hold the bytes that
// SO_SNDBUF and SO_RCVBUF say, and no bookkeeping: how much of a write fits is not
// what Linux, which counts memory, answers.
//
// # Limits
//
// System calls that nobody needs to test TCP, encapsulated packets, UDP, TCP
// Fast Open, MSG_ZEROCOPY, MSG_EOR, fuzzing of packets and packetdrill's modes
// with a wire between two hosts are not supported: a script that asks for them
// fails with an Error whose Script is true, at file and line.
//
// # References
//
// https://github.com/google/packetdrill, whose grammar is followed; what system
// calls return is Linux's net/ipv4/tcp.c, af_inet.c and fs/eventpoll.c.
package packetdrill
