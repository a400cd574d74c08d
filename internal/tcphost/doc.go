// SPDX-License-Identifier: Apache-2.0

// Package tcphost is a host on an Ethernet wire whose TCP is dataplane/tcp, for
// tests against other hosts: the native engine behind a raw packet socket, with
// blocking connections in front.
//
// # Theory of operation
//
//	goroutines          Host, under its lock                 wire
//	┌───────────┐   ┌───────┐   ┌────────┐   ┌───────┐   ┌───────────┐
//	│ Conn      │──►│ rings │──►│ tcp.   │──►│ neigh │──►│ AF_PACKET │
//	│ Listener  │◄──│       │◄──│ Engine │◄──│       │◄──│           │
//	└───────────┘   └───────┘   └────────┘   └───────┘   └───────────┘
//
// One goroutine sleeps until a frame arrives or a timer of the engine is due,
// and gives the engine a turn. A call of a Conn does the same for itself before
// it returns, as a system call would: what it queued has left by then.
//
// The interface belongs to the Host. The kernel on the same side must not know
// the addresses, or it answers, too: give the interface a namespace without any.
//
// # Concurrency
//
// Host, Listener and Conn are safe for use from several goroutines.
//
// # Limits
//
// A call that waits longer than Config.Patience fails with
// os.ErrDeadlineExceeded.
//
// # Not supported
//
// Frames whose checksum the sending kernel left unfinished are dropped as
// damaged: switch offloads of the peer off. Super-frames, 802.1Q tags.
//
// # References
//
// packet(7).
package tcphost
