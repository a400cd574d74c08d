// SPDX-License-Identifier: Apache-2.0

// Package xsk moves encapsulated frames through AF_XDP sockets: the underlay
// that goes around the host's network stack.
//
// # Theory of operation
//
//	        NIC queue 0             NIC queue 1            (a Device)
//	             │ XDP program, package bpf │
//	             ▼ the overlay's UDP port   ▼
//	┌──────── socket 0 ────────┐  ┌──── socket 1 ────┐
//	│ fill ring ─► rx ring     │  │                  │   what else arrives, and
//	│ tx ring ─► completion    │  │                  │   all of it while no socket
//	└──────────────────────────┘  └──────────────────┘   is there, is the host's
//	       worker 0: Link 0           worker 1: Link 1
//
// Every receive queue of the device gets a socket with a UMEM of its own, and
// queue q belongs to worker q modulo workers. A worker may own several queues:
// its descriptor, FD, is an epoll set with all of them and an eventfd that
// whoever wants the worker's attention rings.
//
// Inbound, Recv reads descriptors from the rx ring, takes the outer headers
// apart once more (outer.go; the program looked at addresses and port only),
// verifies both checksums, gives the sink the UDP payload where it lies in the
// UMEM, and puts the frame straight back into the fill ring. Both rings are
// published once per burst.
//
// Outbound, Reserve gives room in a free frame, behind room for the outer
// headers; Commit writes those, from a template per VTEP that a nexthop.Table
// answered this turn, and sets a descriptor; Flush publishes the tx ring and
// calls the kernel if it asks for that (need-wakeup). In copy mode that call
// sends, on this thread. The outer UDP checksum is complete over IPv4, too;
// wire.EncapSum mostly gets it from the headers alone. While the next hop is not
// known a few payloads wait (hold.go): the table rings when it knows more.
//
// Frames of more than about 3,000 bytes span several buffers (XDP_USE_SG): they
// are put together in ordinary memory on the way in and cut up on the way out.
//
// The library github.com/asavie/xdp makes sockets and UMEMs, and reads kernel
// statistics. Its rings are mapped a second time and driven from here: its own
// accesses are not atomic, its Transmit panics when the device is down, and its
// Close forgets to unmap, which would keep the queue for ever (socket.go,
// mappings.go).
//
// Setting up, the UDP port is reserved by a bound kernel socket that drops
// everything: a second daemon, or a vxlan device of the kernel, gets EADDRINUSE,
// and what is left to the host provokes no ICMP error. Then the program is
// attached, sockets are bound, and at last registered with the program: only
// then frames stop going to the host. Closing goes the other way. The program is
// tied to a descriptor, so a process that is killed leaves nothing behind.
//
// # Ownership
//
// Half of a queue's frames circulate through fill and rx ring, the other half
// through tx and completion ring: sending cannot starve receiving, and no ring
// is ever full. A frame.Ledger has the owner of each. Frames never leave their
// queue. A payload given to a Sink or a frame shown to a Tap is the callee's
// until it returns; room from Reserve is the caller's until Commit.
//
// # Concurrency
//
// A Link belongs to one worker's thread. Device.Report, MTU and Local may be
// called from anywhere; what a worker counts it publishes with each Flush. Close
// must not overlap a call of the worker. One goroutine per device, the watch,
// looks once per second at what only the kernel knows, logs each thing that is
// wrong once, and rings the workers of queues that do not send.
//
// The cursors of rings are read and written with sync/atomic: the kernel is the
// other end, which the race detector does not see. A cursor that makes no sense
// stops the ring, and an entry that makes none is skipped; either is reported.
//
// # Limits
//
// When no frame is free, a payload is dropped (DropUnderlayFull): nothing waits.
// What the device does not take stays in the tx ring, and Flush wants to be
// called again; after 10,000 times in vain, about once per second. While the
// device is down new payloads are refused (DropUnderlayError), and what lies in
// the tx ring goes when it is up again. What a device without carrier drops is
// counted as DropUnderlayError; frames count as sent once the kernel has taken
// them. A call that polls the socket sends as well, in copy mode: what is dropped
// there is not seen.
//
// At most 64 payloads per link wait for next hops, 16 per VTEP; further ones are
// dropped (DropNextHopQueue).
//
// The shape of frames follows the device's MTU when it is opened. A smaller MTU
// is followed at once, a larger one as far as frames fit. What arrives larger
// than the device's MTU is dropped (DropOuterTooBig), by the kernel if it does
// not fit a buffer: a software device's peer that leaves segmentation to hardware
// does that in generic mode.
//
// A UDP checksum of zero is accepted over IPv4 and refused over IPv6, where
// RFC 6935 allows it by agreement only and stock receivers do not. With
// Config.Unfinished, on a device that passes frames on inside one host, a bare
// pseudo-header sum is accepted: one damaged frame in 65,536 looks like that.
//
// If receive queues are added while the device is open, what arrives on them is
// lost, and the watch says so. A device that was removed has to be opened again.
//
// # Not supported
//
// Shared UMEMs, huge pages, unaligned chunks, transmit metadata (checksum
// offload), VLAN tags, IPv6 extension headers and outer fragments (they are left
// to the host, which drops them), ECN and DSCP propagation (RFC 6040).
//
// # References
//
// Documentation/networking/af_xdp.rst, net/xdp/xsk.c and net/xdp/xsk_queue.h in
// Linux; RFC 7348 sections 4 and 5; RFC 768, 791, 8200, 6335, 6864, 6935.
package xsk
