// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"net/netip"

	"netcon/dataplane/stream"
)

// loopback carries packets between the engine's own addresses. It is an Output;
// what was sent to it is delivered when Transmit is done with the connections.
type loopback struct {
	frames     [][]byte
	sizes      []int
	head, tail int
	size       int // of the frame being written
}

// maxLoop bounds the packets on their way; one more overwrites nothing, it is
// lost.
const maxLoop = 256

func (l *loopback) len() int { return l.tail - l.head }

// Open implements stream.Output.
func (l *loopback) Open(netip.Addr, uint32) stream.Path {
	if l.len() >= maxLoop {
		return stream.Path{}
	}
	return stream.Path{Max: 65535}
}

// Frame implements stream.Output.
func (l *loopback) Frame(n int) []byte {
	if l.frames == nil {
		l.frames, l.sizes = make([][]byte, maxLoop), make([]int, maxLoop)
	}
	k := l.tail % maxLoop
	if cap(l.frames[k]) < n {
		size := 2048
		for size < n {
			size *= 2
		}
		l.frames[k] = make([]byte, size)
	}
	l.size = n
	return l.frames[k][:n]
}

// Commit implements stream.Output.
func (l *loopback) Commit() {
	if l.len() >= maxLoop {
		return // the last slot is written again: lost
	}
	l.sizes[l.tail%maxLoop] = l.size
	l.tail++
}

// drainLoop delivers what is on its way to ourselves. What that brings about
// follows in the next Transmit.
func (e *Engine) drainLoop() int {
	n := e.loop.len()
	for range n {
		k := e.loop.head % maxLoop
		e.stat.Drop(e.deliver(e.loop.frames[k][:e.loop.sizes[k]], true, true))
		e.loop.head++
	}
	if n > 0 {
		e.EndBurst()
	}
	return n
}
