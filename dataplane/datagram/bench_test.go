// SPDX-License-Identifier: Apache-2.0

package datagram

import (
	"fmt"
	"testing"

	"netcon/dataplane/stream"
)

// One datagram from socket to socket: Send, Transmit, what an engine verifies,
// Receive.
func BenchmarkDatagram(b *testing.B) {
	for _, size := range []int{1, 1400, 9000, 65507} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			from, to := newHost(b, 1), newHost(b, 2)
			src, dst := from.bound("10.0.0.1:1000"), to.bound("10.0.0.2:2000")
			payload, buf := make([]byte, size), make([]byte, 65536)
			f := &frames{path: stream.Path{Max: 1450, Checksums: true}, to: to}
			var m stream.Message
			const burst = 32
			target := at("10.0.0.2:2000")
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for i := 0; i < b.N; i += burst {
				for range burst {
					m = stream.Message{Remote: target}
					if e := from.Send(src, &m, payload); e != 0 {
						from.Transmit(f, 1<<20)
					}
				}
				from.Transmit(f, 1<<20)
				to.Poll(quiet{}, 64)
				for {
					if _, e := to.Receive(dst, &m, buf); e != 0 {
						break
					}
				}
			}
		})
	}
}
