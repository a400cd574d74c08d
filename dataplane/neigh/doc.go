// SPDX-License-Identifier: Apache-2.0

// Package neigh is the inner ARP and neighbour discovery of one container: it
// answers, resolves, probes, ages and announces.
//
// # Theory of operation
//
// A Table maps next hops to link-layer addresses. Lookup turns the destination
// of a packet into a next hop (itself if on-link, else the gateway) and that
// into a verdict; a packet whose neighbour is not resolved waits in Hold. ARP
// and ND take what arrived, Tick moves time on, Next says when it has to.
//
//	        Lookup                    3 requests, 1 s apart
//	(none) ────────► INCOMPLETE ──────────────────────────► FAILED ──► (none)
//	  │                  │    ▲   Lookup, at most once a second │  3 s
//	  │ request to us    │    └─────────────────────────────────┘
//	  ▼      unsolicited │ answer
//	STALE ◄──────────────┴────────► REACHABLE ◄──── answer, Confirm
//	│ │ ▲           30 s                │               │
//	│ │ └───────────────────────────────┘               │
//	│ │ Lookup          5 s          3 probes, 1 s apart│
//	│ └────────► DELAY ─────► PROBE ────────────────────┴──────────► (none)
//	└ 300 s without use ► (none)
//
// ARP follows the same machine (RFC 4861 section 7.3), as in Linux: a reply
// addressed to us counts as a solicited advertisement with the override flag,
// anything else as an unsolicited one. A link-layer address learned by ARP
// stays for one second, so that the first of several answers wins; a gratuitous
// packet is exempt.
//
// Where RFC 4861 contradicts itself, section 7.2.5 wins over appendix C, as in
// Linux: a solicited advertisement without a link-layer address confirms, and
// one that differs without the override flag makes REACHABLE STALE whether
// solicited or not.
//
// # Trust
//
// Nothing from the wire creates an entry but a request to one of our addresses
// from an on-link one. Neighbours that Config.Static knows are never learned.
// A full table evicts STALE entries that were never used before any other, so
// a flood of forged requests evicts what it forged. A packet that claims one of
// our addresses is refused and answered with an announcement at most every 10 s
// (RFC 5227 section 2.4, case c); we keep the address.
//
// # Ownership
//
// Packets given to ARP, ND and Sender are the callee's until it returns. A
// buffer from Hold is the caller's until its next call of any method. Send must
// not call the Table; Undeliverable may call Lookup, Hold and Confirm.
//
// # Concurrency
//
// None: everything runs on the worker's thread. Time is passed in and
// monotonic.
//
// # Limits
//
// MaxEntries neighbours; 64 packets and 128 KiB held per neighbour, 4 MiB of
// buffers held in all; up to 144 KiB of idle buffers kept.
//
// # Not supported
//
// Duplicate address detection (RFC 4862 section 5.4, RFC 5227 section 2.1):
// addresses come from configuration and are unique in it. Router discovery and
// redirects: the gateway is configured; RS, RA and redirect are consumed and
// ignored. Proxying, multicast listener reports, SEND, randomized
// REACHABLE time, zones.
//
// # References
//
// RFC 826, RFC 5227, RFC 4861 (7.1, 7.2, 7.3, appendix C), RFC 6980; Linux
// net/core/neighbour.c, net/ipv4/arp.c, net/ipv6/ndisc.c.
package neigh
