// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"syscall"

	"netcon/dataplane/stream"
)

// Poll implements stream.Engine.
func (e *Engine) Poll(ev stream.Events, budget int) (more bool) {
	for ; budget > 0 && e.events.len() > 0 && !e.stopped; budget-- {
		i := e.events.pop()
		c := e.conns.at(i)
		if !c.has(fInEvents) {
			continue
		}
		c.flags &^= fInEvents
		what := c.events
		c.events = 0
		if !c.has(fOwned) {
			continue
		}
		h, user := e.conns.handle(i), c.user
		// Every report may close the socket.
		if what&evEstablished != 0 {
			ev.Established(user)
		}
		if what&evAcceptable != 0 && e.live(h) {
			ev.Acceptable(user)
		}
		if what&evReadable != 0 && e.live(h) {
			ev.Readable(user)
		}
		if what&evWritable != 0 && e.live(h) {
			ev.Writable(user)
		}
		if what&evFailed != 0 && e.live(h) {
			e.failed(i, c)
			ev.Failed(user, syscall.Errno(c.err))
		}
	}
	return e.events.len() > 0
}

// live reports whether a handle still names a socket.
func (e *Engine) live(h uint64) bool {
	if e.stopped {
		return false
	}
	_, c := e.conns.get(h)
	return c != nil && c.has(fOwned)
}

// failed gives the pair of a connection that died back to its owner. Bytes that
// still wait go into the ring first, as far as it has room.
func (e *Engine) failed(i uint32, c *conn) {
	c.flags |= fDead
	if c.stash != 0 {
		e.unstash(i, c)
		e.dropStash(c)
	}
	e.release(i, c)
}
