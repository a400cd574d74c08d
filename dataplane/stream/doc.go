// SPDX-License-Identifier: Apache-2.0

// Package stream is the seam between engines, the sockets of applications
// and the frames of the network.
//
// # Theory of operation
//
//	 application          socket                engine              worker
//	┌───────────┐   ┌───────────────┐    ┌────────────────┐   ┌──────────────┐
//	│ write     │──►│ Pair.Tx       │───►│ pulls, segments│──►│ Output.Frame │
//	│           │   │ TxReady ─────►│    │                │   │              │
//	│ read      │◄──│ Pair.Rx       │◄───│ reassembles    │◄──│ Deliver      │
//	│           │   │ RxRoom ──────►│    │ Events ───────►│   │              │
//	└───────────┘   └───────────────┘    └────────────────┘   └──────────────┘
//
// A socket has two byte rings, a Pair. The engine pulls from Pair.Tx when told
// TxReady and pushes into Pair.Rx while there is room; when told RxRoom it goes
// on pushing. What happened to a socket reaches its owner through Events. In
// ring mode the rings lie in memory shared with the application, in pump mode
// they are private and a pump moves bytes between them and an AF_UNIX socket:
// an engine never knows which.
//
// Packets pass the other side of the engine. Deliver gives it one IP packet; it
// sends by asking an Output for a frame buffer, writing an IP packet into it
// and committing it. Headroom before the packet (encapsulation) belongs to the
// Output. An Underlay moves encapsulated frames to and from the wire.
//
// # Ownership
//
// A packet given to Deliver or Undeliverable, and a payload given to a Sink, is
// the callee's until it returns. A buffer from Output.Frame is the caller's
// until Commit. A Pair is the socket's; the engine may use it from Attach until
// Close or Abort of that handle, or until it reported Failed.
//
// # Concurrency
//
// Everything here is called on one thread, the worker's, unless it says
// otherwise. An engine that has goroutines of its own queues what they produce
// and rings the worker's doorbell. The words of a Ring are atomics because in
// ring mode the peer is another process.
//
// # Limits
//
// A ring's size is a power of two up to 1 GiB. Cursors run freely modulo 2^32.
//
// # Not supported
//
// Datagrams in a Pair, which carries a byte stream: Datagrams hands them over
// one by one.
package stream
