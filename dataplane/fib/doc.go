// SPDX-License-Identifier: Apache-2.0

// Package fib says where a frame goes: to a container of this host, to another
// host's VTEP, or to all of them.
//
// # Theory of operation
//
// A Snapshot is built from the configuration and replaced as a whole through a
// Table; workers load it once per frame or burst and never see half a change.
// For a destination MAC of a network the order is:
//
//	local member      Local   the container's worker and index
//	static host       Remote  its configured VTEP; Flood if it has none
//	learned address   Remote  the VTEP its frames came from, for Age
//	anything else     Flood   group addresses and unknown unicast
//
// Flood means head-end replication: a copy to every VTEP of Replicate.
//
// Which VTEP an address is behind is learned from the frames that are accepted:
// without that, every unicast frame would be replicated to every VTEP. From
// which VTEPs frames are accepted is a question of its own: from the configured
// ones only, unless the network learns VTEPs as well (Network.Learn).
//
// Learning is the only thing that changes in a Snapshot. Learned addresses are
// a hash table of chains: readers follow atomic pointers, writers change links
// under a mutex and leave what they unlink to the garbage collector, so a
// reader that stands on an unlinked entry walks on and finds the rest of its
// chain. Refreshing an address that has not moved is one atomic store, at most
// once per second and address.
//
// # Ownership
//
// A Snapshot is shared and read only, as are the slices it returns. New copies
// what it is given.
//
// # Concurrency
//
// New works alone on what it makes. Every method is safe from several workers
// at once. Learn takes a mutex for new and moved addresses only, and a network
// that sends nothing but those reaches the mutex at most LearnRate times per
// second.
//
// # Limits
//
// A network learns LearnMax addresses, and floods to LearnedVTEPs VTEPs beside
// the configured ones; an address learned from a VTEP beyond them is reached,
// but that VTEP gets no replicated frames. New and moved addresses together are
// bounded by LearnRate per second with bursts of LearnBurst. Learning trusts
// the outer source address: on a network that learns, who can send to the
// underlay can redirect addresses that are neither local nor static.
//
// Addresses learned through the old Snapshot while New copies from it may be
// lost; the next frame teaches them again.
//
// # Not supported
//
// IPv4-mapped IPv6 addresses: New refuses them, and callers of Accepts, Learn
// and StaticMAC unmap first. Addresses with zones equal only themselves.
//
// # References
//
// RFC 7348 section 4.1 (learning) and 4.2 (flooding); drivers/net/vxlan in
// Linux, whose ageing time Age is.
package fib
