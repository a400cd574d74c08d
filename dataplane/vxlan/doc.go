// SPDX-License-Identifier: Apache-2.0

// Package vxlan takes the encapsulation off and puts it on.
//
// # Theory of operation
//
//	IP UDP | VXLAN | inner Ethernet | inner IP, ARP
//	       8       14
//	       '------ Headroom -------'
//
// The underlay hands over the UDP payload. Decap checks what RFC 7348 lets a
// tunnel end point check, in the order of the headers, and returns the network
// and the inner frame. On the way out the sender reserves Headroom before the
// packet and Put fills it in.
//
// # Ownership
//
// The inner frame is a view of the payload and lives no longer.
//
// # Concurrency
//
// Pure functions; the Snapshot is safe from any worker.
//
// # Not supported
//
// Inner 802.1Q tags (dropped, as RFC 7348 section 6.1 recommends), the group
// policy and generic protocol extensions: their bits are ignored on receipt.
//
// # References
//
// RFC 7348 sections 4, 5 and 6.1.
package vxlan
