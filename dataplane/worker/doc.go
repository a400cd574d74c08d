// SPDX-License-Identifier: Apache-2.0

// Package worker is the pinned polling loop that ties underlay, forwarding,
// stacks and sockets together.
//
// # Theory of operation
//
// A worker is one goroutine locked to one thread, which is pinned to a core if
// the configuration names one. It owns one stream.Underlay and a number of
// shards; a shard is a container's place on a worker: its engine, its neighbours
// and its sockets.
// One turn of the loop (loop.go):
//
//	epoll   which sockets, and whether the underlay, have something
//	tasks   what other goroutines asked to be done on this thread
//	input   frames of the underlay and of other workers: decapsulated,
//	        looked up, delivered to a shard or handed over to its worker
//	shards  each shard that has work: events of its engine, bytes of its
//	        sockets, packets of its engine
//	output  the underlay is flushed, hand-over rings are published
//	idle    nothing to do: spin for a bounded time, then sleep in epoll
//
// Every stage has a budget, so that none starves the others, and the shards
// that have work take turns.
//
// A packet that leaves a shard goes one of four ways (output.go): to a VTEP
// through the underlay; to a container of the same worker, by a direct call; to
// a container of another worker, through a hand-over ring; or to the neighbour
// table, while the next hop is being resolved. Containers of one daemon reach
// each other without touching the underlay, in packets of up to 64 KiB without
// transport checksums.
//
// While somebody looks (trace.go), each frame that a container sends or is given
// and each encapsulated one is shown to the traces, which copy what they want.
// Otherwise that is one comparison per frame. What waits in the neighbour table
// is shown when it is sent.
//
// # Ownership
//
// Everything of a worker belongs to its thread. Hand-over rings (handover.go)
// have one producing and one consuming worker. A frame is copied into the ring:
// the underlay's buffers never leave their worker.
//
// # Concurrency
//
// Do, Wake and a shard's doorbell may be called from any goroutine. The rest is
// the worker's thread's, or happens before Run.
//
// Sleeping is race-free because both sides store before they load: a worker
// says that it sleeps and then looks once more at everything that others may
// have given it; others give first and then look whether it sleeps. Go's
// atomics are sequentially consistent, so at least one of them sees the other.
//
// # Panics
//
// A panic while a shard runs, and an engine that reports itself dead, discard
// the shard's engine: its sockets fail, and a fresh engine takes its place,
// with a growing pause between repeated deaths. Other shards never notice. A
// panic in what Do runs is logged and ends nothing.
//
// # Limits
//
// A hand-over ring holds 4 MiB per ordered pair of workers and is made when it
// is first used; when it is full frames are dropped and counted.
//
// # Not supported
//
// Several shards per container; nothing here assumes one.
package worker
