// SPDX-License-Identifier: Apache-2.0

// Package socket is the daemon's end of application sockets in pump mode.
//
// # Theory of operation
//
//	attach.go    the handshake that makes a process tree part of a container
//	control.go   one request in, one reply out
//	op_*.go      what the requests do: socket, bind, listen, connect, ...
//	options.go   every socket option and what becomes of it
//	netlink.go   sockets that ask for interfaces
//	events.go    what the engine reports
//	listener.go  engine's accept queue -> record and fd on the listener's pair
//	tx.go        application -> Tx ring -> engine
//	rx.go        engine -> Rx ring -> application
//	datagram.go  datagram sockets: datagram_tx.go, datagram_rx.go, bursts
//	             of records between the pair and the engine
//	wayout.go    what leaves the container, datagrams by datagram_out.go
//	publish.go   published ports; of UDP: publish_datagram.go, and who is
//	             answered by them: flow.go
//	name.go      questions for names
//	end.go       every way in which a socket ends
//
// A virtual socket is one end of an AF_UNIX pair in the application and the
// other end here. Work visits the sockets and attach sockets that became ready,
// first come first served, each for a bounded number of bytes or requests, and
// queues what is left again. Ready and the engine's events only note what
// happened.
//
// The kernel tells how an application let go of a socket:
//
//	read gives 0, no EPOLLHUP	shutdown(SHUT_WR): FIN once Tx is sent
//	read gives 0, EPOLLHUP		last close: send Tx, then Engine.Close
//	read gives ECONNRESET		last close with unread bytes: RST
//	send gives EPIPE, no HUP	shutdown(SHUT_RD): received bytes are dropped
//
// The other way round an application sees what its end of the pair shows: our
// shutdown(SHUT_WR) is the peer's FIN. Closing our end while bytes of the
// application lie in it unread is EPOLLERR|EPOLLHUP and ECONNRESET; that is why
// the filler of a connect that failed is left unread. And so we learn of a
// connection that nobody accepted: it comes with one byte that accept takes.
//
// Datagram sockets are SOCK_SEQPACKET pairs, whose last close is EPOLLHUP as well.
// A record is a header and a payload (shm.Datagram). Eight of them are moved by a
// system call; each is sent, or handed over, or counted as lost: the pair's own
// bound is the receive queue. Before a request about such a socket is carried out,
// what its pair holds is sent, so that calls keep their order.
//
// # Ownership
//
// A sock owns its fd, its engine handle and, while it has bytes, buffers of the
// worker's Pool. A socket that went while a process may still ask about it
// leaves a tombstone: its error and addresses, at most 16,384 of them for 60
// seconds. Fds that arrive in a request are ours from recvmsg on; those that
// are not known to be harmless are closed by a janitor goroutine, because
// closing a foreign file may sleep (SO_LINGER, FUSE). Nothing else here starts
// a goroutine.
//
// # Concurrency
//
// A turn of the worker is: Ready for what epoll said, Engine.Poll with the Set,
// Work. Before it sleeps it asks Busy, and Timeout for how long: sockets that
// wait for ring memory or fds are told by no event.
//
// A Set and a Pool belong to the worker's thread: every method of theirs is
// called there. Attach is the daemon's, on goroutines of its own.
//
// No call sleeps: each read and write says MSG_DONTWAIT, because the
// application may hold a duplicate of an fd it handed over and clear
// O_NONBLOCK. Time is asked for only where something waits for it.
//
// # Limits
//
// 64 KiB of ring per direction and only while bytes are in it, within the bound
// of the Pool and Config.MaxBuffers. The kernel holds what is in the pair:
// SO_SNDBUF of the application's end (its own choice, 208 KiB at first) and
// twice Config.SendBuffer of ours, 416 KiB by default. Measured in a loop of two
// sockets on one machine: 1.9 GB/s with the kernel's default of 208 KiB, 2.3 GB/s
// with 416 KiB, and no more with 2 or 8 MiB.
//
// Datagrams: nothing is allocated for one but where the engine has no room: then a
// burst of a socket is copied, up to 4 MiB in a Set. Their records take 512 KiB
// from the first datagram socket on. A visit moves 64 each way.
//
// TCP_INFO is cut to the 256 bytes a reply takes.
//
// A process that keeps a duplicate of the daemon's end of its own socket can
// take bytes from it and can keep its other end from seeing EOF. It harms
// itself, with one exception: the kernel serializes readers of one AF_UNIX
// socket with a mutex held while it copies to the reader's memory, so a
// duplicate read into memory that faults for ever (userfaultfd, FUSE) can hold
// up our read of that socket.
//
// # Not supported
//
// The kernel has no call that puts an error on the other end of a pair: where an
// application has written nothing that is still unread here, a reset looks like
// an end, and the shim's reads and writes ask for the error (NC_TAKE_ERROR).
//
// Writing before connect is not refused: the bytes are sent once connected.
// After shutdown(SHUT_RDWR) the connection is closed in both directions at once
// (its peer's bytes are answered with RST), as if by close, and a tombstone
// answers for it. Dissolving a connection by connect(AF_UNSPEC) gives EOPNOTSUPP
// once a direction of its pair is shut. Urgent bytes are bytes like others.
// Ring mode.
//
// # References
//
// Linux: net/unix/af_unix.c (unix_release_sock, unix_writable), net/ipv4/af_inet.c
// (inet_bind, __inet_stream_connect, inet_shutdown), net/core/sock.c and
// net/ipv4/tcp.c (socket options), include/uapi/linux/tcp.h (struct tcp_info).
package socket
