// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
)

// TxReady implements stream.Sockets.
func (e *Engine) TxReady(h stream.Handle) {
	if c := e.lookup(h); c != nil && c.state == stConnected && c.pair != nil {
		c.push()
	}
}

// RxRoom implements stream.Sockets.
func (e *Engine) RxRoom(h stream.Handle) {
	if c := e.lookup(h); c != nil && c.state == stConnected && c.pair != nil && c.canRead {
		c.pull()
	}
}

// push sends the Tx ring and, behind it, the end that was asked for. It reports
// whether room was made.
func (c *conn) push() (moved bool) {
	if c.pair == nil || c.errno != 0 {
		return false
	}
	tx := &c.pair.Tx
	for tx.Len() > 0 {
		first, _ := tx.Peek()
		n, e := send(c.fd, first)
		switch e {
		case 0:
			tx.Release(n)
			moved = true
			c.count(stat.HostTx, n)
			continue
		case unix.EINTR:
			continue
		case unix.EAGAIN:
		default:
			c.fail(e)
		}
		c.canWrite = false
		return moved
	}
	if c.fin && !c.finSent {
		c.finSent = true
		_ = unix.Shutdown(c.fd, unix.SHUT_WR)
	}
	return moved
}

// receive does what an event asks for and reports whether the owner is to be
// told: bytes came, the end came, or memory is needed for them.
func (c *conn) receive() (tell bool) {
	if c.eof {
		c.canRead = false
		c.takeError()
		return false
	}
	rx := &c.pair.Rx
	if !rx.Attached() {
		return true
	}
	if rx.Room() == 0 {
		if c.drain {
			c.look()
		}
		return false
	}
	return c.pull()
}

// pull fills the Rx ring and reports whether bytes or the end came. Without
// memory nothing is read.
func (c *conn) pull() (came bool) {
	rx := &c.pair.Rx
	for c.canRead && !c.eof && c.errno == 0 {
		first, _ := rx.Reserve()
		if len(first) == 0 {
			return came
		}
		n, e := recv(c.fd, first, 0)
		switch {
		case e == unix.EINTR:
		case e == unix.EAGAIN:
			c.canRead, c.drain = false, false
		case e != 0:
			c.canRead = false
			c.fail(e)
		case n == 0:
			c.eof, c.canRead, came = true, false, true
			c.pair.RxEOF.Store(true)
		default:
			rx.Publish(n)
			came = true
			c.count(stat.HostRx, n)
			if n < len(first) && !c.drain {
				c.canRead = false // what comes now is a new edge
			}
		}
	}
	return came
}

// count counts what went over the host's stack, which a pair does not.
func (c *conn) count(what stat.Counter, n int) {
	if !c.joined {
		c.engine.stat.Add(what, uint64(n))
	}
}

// look finds out about a connection that ended while its owner takes nothing: an
// error is only told once the bytes before it have gone.
func (c *conn) look() {
	var b [1]byte
	switch _, e := recv(c.fd, b[:], unix.MSG_PEEK); e {
	case 0, unix.EAGAIN, unix.EINTR:
	default:
		c.fail(e)
	}
}

// takeError finds out about a connection that was reset after its end.
func (c *conn) takeError() {
	if v, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR); err == nil && v != 0 {
		c.fail(syscall.Errno(v))
	}
}
