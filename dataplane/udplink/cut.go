// SPDX-License-Identifier: Apache-2.0

package udplink

import (
	"net/netip"

	"netcon/dataplane/stream"
)

// cut gives the sink up to budget frames of a train, from off on, and returns
// where it stopped and how many it gave. All frames are size bytes long but the
// last; a size that is not positive means that the train is one frame, which
// may be empty. budget is positive.
func cut(sink stream.Sink, src netip.Addr, train []byte, size, off, budget int) (int, int) {
	if size <= 0 || size >= len(train) {
		sink.Frame(src, train[off:len(train):len(train)])
		return len(train), 1
	}
	n := 0
	for n < budget && off < len(train) {
		end := min(off+size, len(train))
		sink.Frame(src, train[off:end:end])
		off = end
		n++
	}
	return off, n
}
