// SPDX-License-Identifier: Apache-2.0

// Package trace carries copies of frames from the workers to somebody who
// looks, as a pcapng stream.
//
// # Theory of operation
//
//	worker 0: Tap ──► ring ──┐
//	worker 1: Tap ──► ring ──┼── Copy: by time, as pcapng ──► io.Writer
//	worker 2: Tap ──► ring ──┘
//
// A Trace has one Tap per worker. The worker shows its Tap the frames that pass
// it; the Tap decides by container, layer and direction, and copies at most
// Snaplen bytes of what is wanted into a ring. Copy takes the frames out of all
// rings in the order of their times and writes them.
//
// The inner frames of each container are one pcapng interface, named like the
// container. The outer frames are another one, named "underlay". Inbound and
// outbound are the direction flags of a packet.
//
// An underlay that does not see whole frames (a UDP socket) shows the UDP
// payload and the other VTEP. Copy puts headers before it, rebuilt from what is
// known: both VTEPs; zero MAC addresses; the VXLAN port as source port as well,
// since the true one is not known; DF set and TTL 64. The UDP checksum is zero
// over IPv4. Over IPv6 it is computed, unless the frame was cut to Snaplen:
// then it is ffff. The interface's description says that headers are rebuilt.
//
// With a container given, the outer frames shown are those of its VNI that come
// from its address, go to it, or arrive for a group.
//
// # Ownership
//
// A frame shown to a Tap is copied before the call returns. Rings are mapped
// memory, so that what a trace took goes back to the system when it ends. Close
// unmaps them: every worker has let go of its Tap by then.
//
// # Concurrency
//
// A Tap belongs to its worker's thread. Copy, Finish and Close belong to one
// goroutine. A ring has one producer and one consumer. A worker takes a lock
// only in Know, which runs when a trace or a container begins.
//
// # Limits
//
// A worker never waits: a frame that finds its ring full is dropped and
// counted, in the next frame of that interface (epb_dropcount), in the
// interface's statistics at the end (isb_ifdrop) and in the Summary. A ring
// holds DefaultRing bytes per worker and trace, whatever the reader does.
//
// Frames of several workers are in order if they are captured within holdBack
// of each other; while a ring is more than half full they may not be. The wall
// clock is read once, when the trace begins: a later step of it is not
// followed.
//
// Packets between containers of one daemon are up to 64 KiB long and have no
// transport checksums, and those that a kernel of the same host left unfinished
// look wrong as well. A frame that is shown as sent may still be dropped by the
// underlay, which counts it.
//
// # Not supported
//
// Capture filters (BPF): the reader has display filters. Reading pcapng.
//
// The blocks are written here and not by gopacket's pcapgo, which can do all of
// this: it brings the decoders of a hundred protocols and golang.org/x/net into
// the daemon, 3 MB for four kinds of block, and allocates several times per
// packet beside workers that must not wait for a collector.
//
// # References
//
// draft-ietf-opsawg-pcapng: section 4.1 (section header), 4.2 (interface
// description), 4.3 (enhanced packet), 4.6 (interface statistics). RFC 7348
// section 5; RFC 8200 section 8.1 (UDP checksum).
package trace
