// SPDX-License-Identifier: Apache-2.0

// Package nexthop knows the next hop of each VTEP on the underlay, for a worker
// that makes outer frames itself.
//
// # Theory of operation
//
//	workers                         Table
//	Lookup ──► snapshot ◄─── run ◄── inbox ◄── follow ◄─── kernel: what changed
//	   └─────► wishes ────►   └──────────────────────────► kernel: questions
//
// The kernel routes and resolves, this package follows it. For a VTEP it asks
// the kernel for the route (RTM_GETROUTE, with our source address, so that
// routing rules count), which names a gateway or the VTEP itself on our
// interface, and then for that neighbour's entry. What comes of it is in the
// snapshot: a hop, or that there is none, which Entries explains.
//
// No neighbour entry would stay resolved by itself, because the kernel never
// sends the frames that use it. So the table has the kernel keep the entries
// (NTF_EXT_MANAGED): it probes them as if there were traffic, and retries what
// does not answer. A kernel before Linux 5.16 is asked every 5 s instead
// (NTF_USE).
//
//	Pending ──► Resolved      the neighbour is reachable, stale, delayed, being
//	   │           │ ▲        probed, permanent, or needs no resolution
//	   │ 3 to 5 s  ▼ │
//	   └───────► Unreachable  it has failed; there is no route, or one that does
//	                          not lead to a neighbour on our interface
//
// An answer holds while a new one is sought, for 5 s at most: a flushed entry
// or a gateway that was replaced costs no frames. While the interface is down
// all answers hold.
//
// What is followed: the interface (state, address, MTU) and the entries of our
// neighbours at once; routes, rules, next hop objects and addresses after
// 100 ms, since they tend to change in crowds. A changed route has those VTEPs
// asked for again that its destination covers. The path MTUs that the kernel
// learns from ICMP come without a message, so the routes of VTEPs in use are
// asked for every 10 s. The kernel learns them only for sockets of its own.
//
// # Neighbour entries of others
//
// Permanent entries, entries without resolution and entries that another
// program has managed are used as they are. An ordinary one is kept resolved,
// and given back as an ordinary one. Entries that the table made have the
// protocol number 110, and are removed by Close or when their VTEPs are
// forgotten. A table that is killed leaves its entries behind; the next one
// that needs them takes them over, and until then they cost a probe every few
// seconds.
//
// # Ownership
//
// The goroutine run owns all state but the snapshot, the wishes and the inbox.
// A snapshot is immutable, but for a mark per VTEP that Lookup sets: so run
// knows what is in use.
//
// # Concurrency
//
// All methods are safe on any goroutine. Lookup, Up, MTU and Generation read an
// atomic pointer; Lookup of an unknown VTEP also tries a lock, and gives up
// rather than wait. Entries waits for run.
//
// # Limits
//
// 16,384 VTEPs are tracked; beyond that, those unused for longest are
// forgotten, and new ones wait while all are in use. 64 new ones are noted at a
// time, the others when they are looked up again. Unused VTEPs are forgotten
// after 10 minutes, those that are not resolved after 30 s. 256 neighbours are
// tried at a time and the others wait, so that a network that makes VTEPs up
// does not fill the kernel's table (gc_thresh3). Routes are asked for 4,000 times per second at
// most, in turns for new and for known VTEPs; each time costs about 10 us.
// Messages of the kernel wait in 4 MiB; if they are lost, everything is read
// again. A new snapshot costs about 0.3 us per VTEP, and is made after 4 us per
// VTEP at the earliest.
//
// A multipath route is used by one leg: the one that the kernel picks for the
// VTEP, or the first that is ours. With nexthop_compat_mode off the kernel does
// not tell the legs of a next hop group, and only the one it picks is seen.
//
// An entry that becomes permanent at the very moment in which the table has it
// kept resolved becomes an ordinary one again: the kernel has no way to ask for
// one without the other.
//
// # Not supported
//
// Interfaces that are not Ethernet. Routes that add a header of their own, such
// as MPLS, and IPsec policies, which are not looked at. Rules that match marks,
// or ports other than Config.Port. IPv4-mapped IPv6 addresses, which callers
// unmap. VTEPs of the other address family than Config.Local. Changes of the
// interface's name in the zone of an address. Linux before 5.0.
//
// # References
//
// rtnetlink(7), ip-neighbour(8), ip-route(8); RFC 4861 section 7.3, RFC 5549;
// Linux net/core/neighbour.c (neigh_add, __neigh_update, neigh_managed_work),
// net/ipv4/route.c (inet_rtm_getroute), net/ipv6/route.c (inet6_rtm_getroute).
package nexthop
