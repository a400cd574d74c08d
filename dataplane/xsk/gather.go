// SPDX-License-Identifier: Apache-2.0

package xsk

import "netcon/dataplane/wire"

// gather puts a frame together that came in several buffers.
type gather struct {
	buf  []byte // nil until there was one
	n    int    // bytes so far
	open bool   // the last buffer had another one behind it
}

// maxGather is the longest frame that is put together. What is longer is
// dropped for its length, so the rest of it does not matter.
const maxGather = wire.EthernetLen + maxPacket + 1

// add appends a buffer, and returns the frame if it was the last.
func (g *gather) add(b []byte, more bool) (frame []byte, whole bool) {
	if g.buf == nil {
		g.buf = make([]byte, maxGather)
	}
	g.n += copy(g.buf[g.n:], b)
	g.open = more
	if more {
		return nil, false
	}
	frame = g.buf[:g.n]
	g.n = 0
	return frame, true
}
