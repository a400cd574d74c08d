// SPDX-License-Identifier: Apache-2.0

// Package frame says who owns which frame of a UMEM, the memory that an AF_XDP
// socket shares with the kernel.
//
// # Theory of operation
//
// A UMEM is cut into frames of one size, numbered from 0. Each has one owner:
//
//	         Fill ◄──────────── Rx        Fill: fill ring, driver, receive ring
//	          │ kernel receives  ▲        Rx:   the worker looks at it
//	          └──────────────────┘
//
//	Free ─► Reserved ─► Tx ─► Free       Reserved: the worker writes it
//	           │        ▲                Tx: transmit ring, device, completion ring
//	           └► Held ─┘                Held: waits for a next hop
//
// A Ledger counts frames by owner and keeps the free ones on a stack: the frame
// that was used last is used next, while it is still in the cache. Frames for
// receiving circulate between Fill and Rx, so that sending cannot starve them.
//
// # Ownership
//
// Every frame belongs to exactly one owner, and a change of owner is one call:
// Get, Move or Put. The counts add up to the size of the UMEM after every call.
// NewChecked keeps the owner of every frame as well, and reports a call that
// names the wrong one: a double free, a use by two. That is for tests; New
// trusts its caller, and costs two additions per change.
//
// # Concurrency
//
// A Ledger belongs to one worker's thread.
//
// # Limits
//
// 2^31 frames. No call allocates.
//
// # Not supported
//
// UMEMs that several sockets share.
//
// # References
//
// Documentation/networking/af_xdp.rst in Linux.
package frame
