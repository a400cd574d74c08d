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
		if what&evFailed != 0 {
			if e.keepsBytes(i, c) {
				what &^= evFailed
			}
			what |= c.events // what it moved is Readable first
			c.events = 0
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

// keepsBytes reports whether a connection that died has acknowledged bytes that
// its owner has no room for yet. They come first, then Failed: what RxRoom takes
// over ends the wait, and so does an owner that sends.
func (e *Engine) keepsBytes(i uint32, c *conn) bool {
	if c.stash != 0 {
		e.unstash(i, c)
	}
	return c.stash != 0 && e.stashes.rings[c.stash].Len() > 0 && !e.broken(i)
}

// failing reports whether a connection died and its owner was not told yet.
func (c *conn) failing() bool { return c.state == stClosed && c.err != 0 && !c.has(fDead) }

// failed gives the pair of a connection that died back to its owner.
func (e *Engine) failed(i uint32, c *conn) {
	c.flags |= fDead
	c.events &^= evFailed
	e.dropStash(c)
	e.release(i, c)
}
