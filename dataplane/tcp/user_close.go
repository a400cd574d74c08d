// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"syscall"

	"netcon/dataplane/stream"
)

// Shutdown implements stream.Engine. The receiving half is closed by us alone,
// as in Linux: the peer is not told, and what it sends is acknowledged and
// thrown away.
func (e *Engine) Shutdown(h stream.Handle, how stream.How) syscall.Errno {
	i, c, errno := e.lookup(h)
	if errno != 0 {
		return errno
	}
	switch {
	case c.state == stListen:
		if how&stream.ShutRead != 0 {
			e.unlisten(i, c)
		}
		return 0
	case c.state == stSynSent, c.state == stSynReceived:
		e.retire(i, c)
		e.leaveTable(i, c)
		c.err = eConnReset
		e.report(i, c, evFailed)
		return 0
	case !c.has(fConnected) || c.state == stClosed && c.err != 0:
		return syscall.ENOTCONN
	}
	if how&stream.ShutRead != 0 && !c.has(fNoRead) {
		c.flags |= fNoRead
		if c.work != 0 {
			e.dropHoles(e.works.at(c.work))
		}
		if p := e.pairs.get(i); p != nil {
			p.Rx.Hold(false)
			e.dropStash(c)
			p.RxEOF.Store(true)
			e.report(i, c, evReadable)
		}
	}
	if how&stream.ShutWrite != 0 {
		e.closeSending(i, c)
	}
	return 0
}

// closeSending queues a FIN behind the last byte that was announced: the CLOSE
// call of RFC 9293 section 3.10.4.
func (e *Engine) closeSending(i uint32, c *conn) {
	if c.has(fFin) {
		return
	}
	c.flags |= fFin
	switch c.state {
	case stEstablished:
		c.state = stFinWait1
	case stCloseWait:
		c.state = stLastAck
	}
	if c.state.in(synchronized) {
		e.want(i, c)
	}
}

// Close implements stream.Engine.
func (e *Engine) Close(h stream.Handle) {
	i, c, errno := e.lookup(h)
	if errno != 0 {
		return
	}
	switch {
	case c.state == stListen:
		e.unlisten(i, c)
		e.giveUpSocket(i, c)
	case !c.state.in(synchronized):
		if c.state == stSynReceived {
			e.abort(i, c)
		}
		e.giveUpSocket(i, c)
	case e.opts.get(c.opts).linger == 0 || e.unread(i, c) || e.broken(i):
		// RFC 2525 section 2.17: the peer must learn that bytes were lost.
		e.abort(i, c)
		e.giveUpSocket(i, c)
	default:
		e.orphan(i, c)
	}
}

// unread reports whether bytes were received that nobody will take.
func (e *Engine) unread(i uint32, c *conn) bool {
	if c.has(fNoRead) {
		return false
	}
	if c.stash != 0 && e.stashes.rings[c.stash].Len() > 0 {
		return true
	}
	p := e.pairs.get(i)
	return p != nil && p.Rx.Attached() && !p.Rx.Broken() && p.Rx.Room() < p.Rx.Cap()
}

// broken reports whether a socket's owner lied about its cursors.
func (e *Engine) broken(i uint32) bool {
	p := e.pairs.get(i)
	return p != nil && (p.Tx.Broken() || p.Rx.Broken())
}

// Abort implements stream.Engine: RFC 9293 section 3.10.5.
func (e *Engine) Abort(h stream.Handle) {
	i, c, errno := e.lookup(h)
	if errno != 0 {
		return
	}
	if c.state == stListen {
		e.unlisten(i, c)
	} else {
		e.abort(i, c)
	}
	e.giveUpSocket(i, c)
}

// giveUpSocket frees a socket that TCP is done with.
func (e *Engine) giveUpSocket(i uint32, c *conn) {
	e.release(i, c)
	e.disown(c)
	e.free(i, c)
}

// release has the pair of a socket forgotten.
func (e *Engine) release(i uint32, c *conn) {
	if p := e.pairs.get(i); p != nil {
		p.Rx.Hold(false)
		e.pairs.set(i, nil)
	}
}

// orphan lets TCP go on with a connection that its owner closed. What was
// announced and not acknowledged yet moves to memory of our own.
func (e *Engine) orphan(i uint32, c *conn) {
	p := e.pairs.get(i)
	var rest *stream.Pair
	if n := int(c.end - c.una); p != nil && n > 0 {
		rest = new(stream.Pair)
		rest.Init()
		size := 4096
		for size < n {
			size *= 2
		}
		rest.Tx.Attach(make([]byte, size))
		moveBytes(&rest.Tx, 0, &p.Tx, 0, n)
		rest.Tx.Publish(n)
		rest.Tx.Len()
	}
	if c.work != 0 {
		e.dropHoles(e.works.at(c.work))
	}
	e.dropStash(c)
	e.release(i, c)
	e.pairs.set(i, rest)
	e.disown(c)
	e.orphans++
	c.events = 0
	e.closeSending(i, c)
	if e.orphans > e.cfg.Limits.Orphans {
		e.abort(i, c)
		e.retire(i, c)
		return
	}
	if c.state == stFinWait2 {
		e.orphanFinWait2(i, c)
	}
}

// unlisten ends a listener: what waits for Accept is reset, what is half open
// forgotten.
func (e *Engine) unlisten(i uint32, c *conn) {
	k := c.link
	l := e.listeners[k]
	for n := e.halfs.next(0); n != 0; n = e.halfs.next(n) {
		if x := e.halfs.at(n); x.listener == i {
			e.dropHalf(n, x)
		}
	}
	b := heldBinding(&c.tuple, c.binding)
	e.ports.unlisten(&b, i)
	c.setBinding(b)
	e.listeners[k] = nil
	c.state, c.link = stClosed, 0
	for n := l.head; n != 0; {
		x := e.conns.at(n)
		next := x.link
		e.abort(n, x)
		x.flags &^= fQueued
		e.sockets--
		e.free(n, x)
		n = next
	}
}
