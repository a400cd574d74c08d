// SPDX-License-Identifier: Apache-2.0

// Package faults is the one seeded fault injector of all tests: drop,
// duplicate, reorder, corrupt, delay and rate.
//
// # Theory of operation
//
//	Push ─► drop? ─► room? ─► corrupt? ─► line at Rate ─► Delay + Jitter ─► FIFO ─► Pop
//	                                                                         │       ▲
//	                                                                reorder? └► held ┘
//
// An Injector is a pure queue under a clock that its caller reads: the same
// configuration, frames and times give the same frames back. Every frame draws
// the same number of random values whatever the configuration says, so turning
// one fault on does not move the others to other frames.
//
// Jitter stretches delays and never reorders; only Reorder does. A reordered
// frame waits until ReorderBy later frames have left, or for a short time when
// fewer come.
//
// Corruption flips one bit behind the link-layer header. Checksums that the
// sender left to the device (CHECKSUM_PARTIAL: a veth's frames carry only the
// pseudo-header sum) are completed first, or a later computation would cover
// the flipped bit. Only frames whose payload a checksum protects are corrupted:
// on a real wire the frame check sequence protects the others (ARP, UDP without
// a checksum), and here nothing would.
//
// Wrap puts two injectors into a stream.Underlay; the command faultwire puts
// two between a pair of interfaces, so that kernel-to-kernel runs meet exactly
// the same faults.
//
// # Ownership
//
// Push copies the frame. A frame from Pop is the caller's until the next Pop.
//
// # Concurrency
//
// An Injector and an Underlay belong to one thread. Report may be called from
// anywhere.
//
// # Limits
//
// An Injector holds at most Config.Limit frames and 64 MiB. What finds no room,
// or would wait longer than Config.Queue for the line, counts as overflowed.
//
// # Not supported
//
// Correlated loss. Frames with an 802.1Q tag pass, but are never corrupted, nor
// are their checksums finished.
//
// # References
//
// RFC 1071 (checksums), RFC 7348 (VXLAN), Linux include/linux/skbuff.h
// (CHECKSUM_PARTIAL) and net/core/gso.c (segmentation).
package faults
