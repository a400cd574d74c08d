// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"sync/atomic"

	"netcon/dataplane/frame"
)

// figures are what a worker tells about a queue.
type figures struct {
	frames                         frame.Counts
	kicks, again, wakeups, strange uint64
	broken                         bool
}

// numFigures is how many words figures take on a board.
const numFigures = int(frame.NumOwners) + 5

// board shows the figures of a queue to other goroutines: one writer, any
// readers, never half a change.
type board struct {
	last  figures       // what is shown; the writer's
	turn  atomic.Uint32 // odd while the writer is at it
	cells [numFigures]atomic.Uint64
}

// publish shows the figures if they have changed.
func (q *queue) publish() {
	f := figures{
		frames: q.frames.Counts(), kicks: q.drive.kicks, again: q.drive.again, wakeups: q.drive.wakeups, strange: q.drive.strange,
		broken: q.fill.broken || q.rx.broken || q.tx.broken || q.completion.broken,
	}
	b := &q.board
	if f == b.last {
		return
	}
	b.last = f
	b.turn.Add(1)
	for o, n := range f.frames {
		b.cells[o].Store(uint64(n))
	}
	rest := [...]uint64{f.kicks, f.again, f.wakeups, f.strange, 0}
	if f.broken {
		rest[4] = 1
	}
	for i, v := range rest {
		b.cells[int(frame.NumOwners)+i].Store(v)
	}
	b.turn.Add(1)
}

// read returns the figures as they were at one moment.
func (b *board) read() figures {
	for {
		turn := b.turn.Load()
		var c [numFigures]uint64
		for i := range c {
			c[i] = b.cells[i].Load()
		}
		if turn&1 != 0 || b.turn.Load() != turn {
			continue
		}
		var f figures
		for o := range f.frames {
			f.frames[o] = int(c[o])
		}
		rest := c[frame.NumOwners:]
		f.kicks, f.again, f.wakeups, f.strange, f.broken = rest[0], rest[1], rest[2], rest[3], rest[4] != 0
		return f
	}
}
