// SPDX-License-Identifier: Apache-2.0

package tcphost

import (
	"bytes"
	"fmt"
	"math/rand/v2"
)

// patternLen is prime: a stream that lost or repeats a power of two of bytes is
// not mistaken for itself.
const patternLen = 1<<20 - 3

// Pattern is a position in a stream of bytes that depends only on a seed.
type Pattern struct {
	block []byte
	at    int64
}

// NewPattern returns the beginning of a stream.
func NewPattern(seed byte) *Pattern {
	p := &Pattern{block: make([]byte, patternLen)}
	rand.NewChaCha8([32]byte{seed}).Read(p.block)
	return p
}

// At returns how many bytes were passed.
func (p *Pattern) At() int64 { return p.at }

// Next passes between 1 and n bytes and returns them. They are not to be
// written.
func (p *Pattern) Next(n int) []byte {
	b := p.peek(n)
	p.at += int64(len(b))
	return b
}

func (p *Pattern) peek(n int) []byte {
	i := int(p.at % patternLen)
	return p.block[i:min(i+n, patternLen)]
}

// Check passes the bytes b, and says where they differ from the stream.
func (p *Pattern) Check(b []byte) error {
	for len(b) > 0 {
		want := p.peek(len(b))
		if got := b[:len(want)]; !bytes.Equal(got, want) {
			i := 0
			for got[i] == want[i] {
				i++
			}
			return fmt.Errorf("byte %d of the stream is %#x, want %#x", p.at+int64(i), got[i], want[i])
		}
		p.at += int64(len(want))
		b = b[len(want):]
	}
	return nil
}
