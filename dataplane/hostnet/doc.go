// SPDX-License-Identifier: Apache-2.0

// Package hostnet is TCP and UDP over the host's kernel, for what enters and leaves
// a container beside its networks.
//
// # Theory of operation
//
//	engine.go   what is ready, and reporting it
//	open.go     sockets: open, connect, shut down, close, abort
//	accept.go   published ports: a kernel listener's connections, UDP sockets
//	join.go     connections whose other end is in the daemon
//	bytes.go    Tx ring -> kernel socket -> Rx ring
//	datagram.go UDP sockets
//	option.go   options, and what the kernel says of a connection
//
// Engine is a stream.Sockets: what reaches the host's stack is an application's
// virtual socket like others, whose bytes end in a kernel socket of the daemon
// instead of in packets. So it works for every program in the same way, in an
// empty network namespace too, without privileges, and the program's descriptor
// stays what it is. TCP is the kernel's: addresses, errors, options, TCP_INFO.
//
// Which destinations go this way is not decided here (package socket).
//
// # Ownership
//
// A kernel socket is its conn's, and nobody else has a descriptor of it. The
// bytes lie in the rings of the conn's Pair or in the kernel, never here.
//
// # Concurrency
//
// An Engine belongs to the worker's thread. No call sleeps: sockets do not
// block, and SO_LINGER is set only to end one with RST. Ready only notes what
// happened; Poll acts.
//
// # Limits
//
// A connection costs one descriptor more than others, and the kernel's buffers
// beside those of its pair. A port that a socket was bound to is not taken on
// the host: the kernel picks one.
//
// # Not supported
//
// Listening but by Adopt. OptDeferAccept: the kernel's would hold connections
// back where nobody else can take them.
//
// # References
//
// Linux: net/ipv4/tcp.c (tcp_poll, tcp_recvmsg), net/ipv4/tcp_input.c (tcp_reset),
// net/ipv4/af_inet.c (inet_stream_connect), tcp(7), epoll(7).
package hostnet
