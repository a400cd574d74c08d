// SPDX-License-Identifier: Apache-2.0

// Package tcp is the stream engine "native": TCP, and answers to ICMP echo, of
// one container shard.
//
// # Theory of operation
//
// The files are the events of RFC 9293 section 3.10:
//
//	input.go              Deliver: what a packet is, and whose; EndBurst
//	input_opening.go      SEGMENT ARRIVES in SYN-SENT and SYN-RECEIVED
//	input_synchronized.go SEGMENT ARRIVES in the other states: the checks
//	input_ack.go          its ACK field and SACK blocks
//	input_text.go         its text and FIN; holes.go: what is behind a hole
//	listen.go             SEGMENT ARRIVES in LISTEN; halfopen.go, listen_cookie.go
//	timewait.go           TIME-WAIT
//	icmp.go, mtu.go       ICMP errors and echo; the path MTU
//	user_*.go             USER CALLS: open, send, receive, close, options
//	timer.go, clock.go    USER TIMEOUT, RETRANSMISSION TIMEOUT, TIME-WAIT TIMEOUT
//	output.go, reply.go   Transmit; output_text.go: what a connection sends next
//	scoreboard.go         what is in flight
//	loss.go, recovery.go  what of it is lost, and what follows; tailprobe.go, frto.go, prr.go
//	congestion.go …       CUBIC, HyStart++, round trip times: control.go ties them in
//	life.go               how records come and go
//	poll.go, info.go      what owners are told
//
// A packet that Deliver takes changes records at once; what it gives reason to
// send leaves with the next Transmit, so that whatever a turn brings is answered
// once: one Readable, one ACK, one train. Calls of owners do the same. Time
// passes in Advance alone.
//
// Every socket is a record (conn) in a slab of memory outside the Go heap, with
// no pointer in it. An idle connection is that record, its place in the table
// and in the timing wheel, about 250 bytes. A connection at work has a second
// record (work), for as long as bytes are in flight or out of order and a
// retransmission timeout longer. What was sent is a list of runs: bytes that
// left at the same time and share a fate, however many segments they were.
// Half-open connections and TIME-WAIT have small records of their own.
//
// Bytes are sent straight out of Pair.Tx, again if need be, and stay there until
// they are acknowledged. What arrives goes straight into Pair.Rx, if it is behind
// a hole at the place where it will be read; the checksum is verified in the
// same pass. If the ring has no memory, a stash takes the bytes (rx.go) until
// their owner, told by Readable, gives it some. When there is no stash either
// they are not acknowledged.
//
// A path that says it needs no checksums and takes more than the network's MTU
// gets segments as large as it takes, whatever MSS the peer announced. It leads
// to a container of this host.
//
// # Ownership
//
// A Pair is used from Attach until Close, Abort or Failed. A ring that holds
// bytes behind a hole is held (stream.Ring.Hold): its memory stays. What is not
// acknowledged when its owner closes is copied.
//
// # Concurrency
//
// Everything belongs to the worker's thread: no goroutines, no locks. Next says
// when Advance has something to do. Timers that were put off wake it early.
//
// # Limits
//
// Sockets, half-open connections, orphans, TIME-WAIT records and bytes the
// engine holds itself: see Limits. A connection keeps at most 1,024 runs and 128
// spans behind holes; what would exceed them is joined, or not taken. At most
// 4,096 segments that belong to no connection wait for Transmit.
//
// The window offered is the room in the Rx ring, which does not grow: there is
// no automatic tuning of buffers. Timestamps have a grain of a millisecond,
// timers of a quarter of one.
//
// What is copied of a connection closed with bytes in flight lies in the Go heap
// and is the only allocation per connection; tables, queues and scratch grow to
// what is needed and stay.
//
// # Not supported
//
// Urgent data: the pointer is ignored, the byte is text. TCP Fast Open, MD5 and
// AO, MPTCP, pacing, BBR, accurate ECN. IP fragments, IP options on what is
// sent. Text in a SYN is not taken; the peer sends it again. An MTU is raised in
// one step, to the network's (RFC 4821 would search). ICMP errors for half-open
// connections change nothing. UDP is answered by nobody.
//
// Differences from Linux: congestion control counts bytes, not segments; the
// state of CUBIC starts anew after a retransmission timeout of idleness; the
// backoff of a timeout ends with the first new acknowledgment, whether that is a
// measurement or not (RFC 6298 section 5.5 waits for one); the accept queue may
// hold connections that have been reset since (as Linux) and reports that by
// Failed.
//
// # References
//
// RFC 793, 1122, 1191, 1337, 2018, 2525, 2861, 2883, 3042, 3168, 3708, 4015,
// 4443, 4821, 4987, 5482, 5681, 5682, 5927, 5961, 6056, 6191, 6298, 6528, 6582,
// 6675, 6691, 6928, 7323, 7661, 8201, 8985, 9293, 9406, 9438, 9937; in the kernel
// net/ipv4/tcp_input.c, tcp_output.c, tcp_timer.c, tcp_minisocks.c,
// tcp_recovery.c, syncookies.c and inet_connection_sock.c.
package tcp
