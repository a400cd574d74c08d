// SPDX-License-Identifier: Apache-2.0

// Package dataplane is one netcon daemon: it joins workers, networks and
// containers as configured, lets programs attach, and answers its owner.
//
// # Theory of operation
//
// New takes the daemon's sockets and addresses, makes the workers around the
// underlay, and builds a stack for each container on one of them. Run serves
// until its context ends. Reload applies a changed configuration.
//
// Two sockets lie in the runtime directory. On attach.sock (AF_UNIX
// SOCK_SEQPACKET, open to all) a launcher names a container; the kernel says
// who it is, and the container's uids whether it may. On control.sock (mode
// 0600, HTTP and JSON) the owner and root read status, sockets and counters,
// and live frames as pcapng (trace.go).
//
// # The packet path, file by file
//
// In, from the wire to the application:
//
//	bpf/overlay.c                  what is the overlay's, on a NIC
//	dataplane/xsk/rx.go            frames from AF_XDP, or
//	dataplane/xsk/outer.go         outer Ethernet, IP and UDP checked
//	dataplane/udplink/rx.go        datagrams from the kernel, trains cut into frames
//	dataplane/worker/loop.go       the turn of a worker
//	dataplane/worker/input.go      which container, on which worker
//	dataplane/vxlan/decap.go       VXLAN and inner Ethernet checked
//	dataplane/fib/net.go           which networks, VTEPs and addresses there are
//	dataplane/worker/handover.go   to the container's worker
//	dataplane/neigh/arp.go         inner ARP
//	dataplane/neigh/nd.go          inner neighbour discovery
//	dataplane/netstack/rx.go       checked and given to the stack
//	dataplane/datagram/deliver.go  datagrams to their sockets
//	dataplane/stream/ring.go       bytes on their way to the application
//	dataplane/socket/rx.go         written to the application's socket
//	preload/accept.c               the application accepts
//
// Out, from the application to the wire:
//
//	preload/connect.c               the application connects
//	dataplane/socket/control.go     what the application asks for
//	dataplane/socket/tx.go          read from the application's socket
//	dataplane/stream/pair.go        bytes on their way to the stack
//	dataplane/netstack/tx.go        packets of the stack, cut and summed
//	dataplane/datagram/transmit.go  datagrams, whole or in fragments
//	dataplane/worker/output.go      which way they go
//	dataplane/neigh/lookup.go       the next hop's address
//	dataplane/vxlan/encap.go        VXLAN and inner Ethernet
//	dataplane/udplink/tx.go         trains to the kernel, or
//	dataplane/nexthop/lookup.go     the VTEP's next hop
//	dataplane/xsk/hop.go            outer headers
//	dataplane/xsk/tx.go             frames to AF_XDP
//
// # Ownership
//
// A container's stack, neighbours and sockets belong to its worker's thread;
// this package reaches them through Worker.Do. The forwarding snapshot is
// immutable and replaced as a whole.
//
// # Concurrency
//
// Status, Sockets, Stats and Reload may be called from any goroutine while Run
// runs.
//
// # Not supported
//
// A container in more than one network, the engine native and the socket mode
// ring.
package dataplane
