// SPDX-License-Identifier: Apache-2.0

package tcpsim

import "math/rand/v2"

// period is prime, so that no error of a power of two goes unseen.
const period = 65521

// pattern is twice a period of noise: any period bytes from any position on are
// one slice.
var pattern = func() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 2*period)
	for i := range b[:period] {
		b[i] = byte(r.Uint32())
	}
	copy(b[period:], b[:period])
	return b
}()

// streamOf returns what the stream from one port to another begins with, as a
// position in the pattern.
func streamOf(src, dst uint16) int {
	return int((uint32(src)*40503 + uint32(dst)*30011) % period)
}

// bytesAt returns n bytes, at most a period, of a stream from position at on.
func bytesAt(stream, at, n int) []byte {
	i := (stream + at) % period
	return pattern[i : i+min(n, period)]
}
