// SPDX-License-Identifier: Apache-2.0

// Package container gives Go programs the network of a container: connections,
// listeners and UDP sockets that are a net.Conn, a net.Listener and a
// net.PacketConn, without a launcher, a preload library or a supervisor.
//
//	c, err := container.Attach("", "web")	// the container "web" of the default daemon
//	l, err := c.Listen("tcp", ":80")
//	go http.Serve(l, nil)
//	conn, err := c.Dial("tcp", "db:5432")	// by name or address
//	p, err := c.ListenPacket("udp", ":53")
//
//	http.Client{Transport: &http.Transport{DialContext: c.DialContext}}
//
// # Theory of operation
//
// As the preload library does: each socket is one end of an AF_UNIX pair whose
// other end the daemon has, control calls are requests on the attach socket, and
// bytes go through the pair (shm/abi.h), datagrams with a header. So Go's poller,
// deadlines and all that package net does with a file work, and what is read or
// written costs what it costs on a Unix socket. Names are asked of the daemon:
// those of the network's containers are answered, others go where the container's
// policy lets them.
//
// # Ownership and concurrency
//
// As in package net: every method may be called from any goroutine. A connection
// outlives its Container. A daemon that was started again is attached to again by
// the next call; connections of the one before are gone.
//
// # Limits
//
// The addresses of a name, 12 at most, are tried one after the other. A read that
// finds the connection reset asks the daemon for the error, which costs a round
// trip.
//
// # Not supported
//
// Multicast. What package net tells of a datagram beside its sender (ReadMsgUDP).
// Control of file descriptors (SyscallConn): a raw descriptor is not a TCP
// socket.
package container
