// SPDX-License-Identifier: Apache-2.0

// Package bpf has the XDP program that takes the overlay's datagrams off a NIC,
// and loads, attaches and asks it.
//
// # Theory of operation
//
//	        frame of receive queue q
//	                   │
//	Ethernet ─ IPv4 or IPv6 ─ to the VTEP ─ UDP ─ overlay port ─ sockets[q]
//	   │            │               │        │          │         │     │
//	   └────────────┴───── else ────┴────────┴──────────┘       empty   │
//	                        │                                     │     │
//	                        ▼                                     │     ▼
//	                   host's stack ◄─────────────────────────────┘   AF_XDP socket
//
// overlay.c is the program. It redirects whole, plain UDP datagrams to the VTEP
// and one of the ports, and passes everything else to the host, which so never
// loses its NIC: other traffic, fragments, IPv4 options, IPv6 extension headers,
// VLAN tags, and also the overlay's datagrams on a queue that has no socket.
// Each frame is counted under one Verdict, per CPU and without atomics. Lengths
// and checksums inside the datagram are the receiver's to check.
//
// Load writes the Config into the program's constants before the kernel sees
// it, so that the verifier removes what a host does not use: the other IP
// version, the ports that are not there. Attach puts it in front of an
// interface, in the driver (native mode) or where the driver cannot, after the
// kernel has made a packet of the frame (generic mode). It hangs on a bpf_link
// that is not pinned and so cannot outlive the process, kill -9 included. A
// foreign program is never replaced; Attach names it instead (holder.go).
//
// The objects overlay_bpfel.o and overlay_bpfeb.o are committed: building needs
// no C compiler. They depend on the compiler, which generate.go pins, and on
// overlay.c and kernel.h alone; a test makes them again and compares.
//
// # Ownership
//
// Program owns its maps, program and link until Close. A Program that nobody
// refers to any more is closed by the garbage collector, and its link with it.
// The socket given to Register stays the caller's: the map does not keep it
// open, and its slot is empty when it is closed.
//
// # Concurrency
//
// Every method is safe from any goroutine. Attach looks for the interface in
// the network namespace of the calling thread.
//
// # Limits
//
// One VTEP address and MaxPorts ports per Program. An interface has one XDP
// program, so two daemons cannot share one.
//
// VLAN tags that the NIC removes before XDP are not seen: a tagged frame to the
// VTEP is redirected as if it had none. On a trunk port, where that matters,
// switch the removal off (ethtool -K eth0 rxvlan off). The destination MAC is
// not looked at: in promiscuous mode frames to another MAC but to the VTEP's
// address are redirected as well.
//
// Without Config.Frags native mode bounds the MTU, on most drivers to about
// 3,500 bytes, on a veth that of its peer. The headers have to lie in the first
// buffer, as every driver puts them.
//
// Frames that a socket has no room for are dropped by the kernel and counted by
// the socket, here as Redirect. In generic mode a local sender's segmentation
// offload shows frames larger than the MTU.
//
// Loading takes CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN, and Linux 5.9;
// Frags Linux 5.18. Naming the foreign program takes CAP_SYS_ADMIN; without it
// there is its id.
//
// # Not supported
//
// Sharing an interface with other XDP programs through a dispatcher (libxdp),
// offload to the NIC, IPv4-mapped VTEPs other than as IPv4.
//
// # References
//
// RFC 791, RFC 768, RFC 8200 section 4, RFC 7348 section 5; kernel
// Documentation/networking/af_xdp.rst, net/core/dev.c (dev_xdp_attach),
// net/xdp/xskmap.c, drivers/net/veth.c (veth_xdp_set).
package bpf
