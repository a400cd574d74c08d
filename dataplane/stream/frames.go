// SPDX-License-Identifier: Apache-2.0

package stream

import "net/netip"

// Path says what may be sent to a destination just now.
type Path struct {
	// Max is the largest IP packet in bytes that the path takes: the
	// network's MTU, or up to 64 KiB towards a container of this host. Zero
	// means that the destination cannot be reached; the Output has counted
	// the drop.
	Max int
	// Checksums says whether transport checksums must be complete. IP
	// header checksums always are.
	Checksums bool
}

// Output takes IP packets from an engine. Open, then any number of Frame and
// Commit.
type Output interface {
	// Open asks for the path to dst. flow is a hash that is equal for the
	// packets of one flow and spreads flows evenly.
	Open(dst netip.Addr, flow uint32) Path

	// Frame returns room for one IP packet of n bytes, n no larger than
	// Path.Max. It never returns nil. The bytes are undefined.
	Frame(n int) []byte

	// Commit sends the packet written into the last Frame.
	Commit()
}

// Sink takes encapsulated frames from an Underlay.
type Sink interface {
	// Frame takes one UDP payload, from the VXLAN header on, that came from
	// the VTEP src. payload is the sink's until it returns.
	Frame(src netip.Addr, payload []byte)
}

// Underlay moves encapsulated frames to and from the wire, for one worker.
type Underlay interface {
	// Recv gives the sink what has arrived, at most about budget frames,
	// and returns how many it gave. Fewer than budget means that nothing
	// more has arrived yet.
	Recv(sink Sink, budget int) int

	// Reserve returns room for one UDP payload of n bytes to the VTEP dst.
	// It never returns nil; a frame that cannot be taken is counted by
	// Commit. flow spreads flows over outer source ports. A burst of
	// equally long frames to one VTEP and flow leaves as one train.
	Reserve(dst netip.Addr, flow uint32, n int) []byte

	// Commit queues the frame written into the last Reserve.
	Commit()

	// Flush hands what was queued to the kernel. It reports whether the
	// kernel did not take all of it for now: then it wants to be called
	// again soon, even if nothing else is there to do.
	Flush() (more bool)

	// FD is readable when Recv or Flush has something to do: for the
	// worker's epoll set.
	FD() int

	// Close releases everything.
	Close() error
}

// Tap looks at frames as they lie on the wire, from the outer Ethernet header
// on.
type Tap interface {
	// Outer shows one frame that was received, or is about to be sent. It is
	// the callee's until it returns.
	Outer(out bool, frame []byte)
}

// Tapped is an Underlay that has whole outer frames to show.
type Tapped interface {
	// SetTap shows t every frame from now on; nil shows nobody. It is called
	// on the worker's thread.
	SetTap(t Tap)
}
