// SPDX-License-Identifier: Apache-2.0

package container

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"
	"netcon/shm"
)

// Conn is a TCP connection of a container.
type Conn struct {
	container     *Container
	pair          *net.UnixConn
	cookie        uint64
	local, remote *net.TCPAddr
}

var _ net.Conn = (*Conn)(nil)

func (c *Container) newConn(fd int, local, remote *net.TCPAddr) (*Conn, error) {
	conn := &Conn{container: c, cookie: launch.Cookie(fd), local: local, remote: remote}
	var err error
	if conn.pair, err = pollable(fd); err != nil {
		return nil, err
	}
	_ = conn.SetNoDelay(true) // as package net
	return conn, nil
}

// LocalAddr returns the address at this end.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the address at the other end.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// wrap gives an error of the pair the connection's addresses.
func (c *Conn) wrap(op string, err error) error {
	var inner *net.OpError
	if errors.As(err, &inner) {
		err = inner.Err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

// Read reads bytes; io.EOF after the peer's FIN.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.pair.Read(p)
	if n > 0 || err == nil {
		return n, err
	}
	if err == io.EOF || errors.Is(err, unix.ECONNRESET) {
		if e := c.takeError(0); e != 0 {
			return 0, c.wrap("read", failure("read", e))
		}
		if err == io.EOF {
			return 0, err
		}
	}
	return 0, c.wrap("read", err)
}

// Write writes bytes.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.pair.Write(p)
	if err == nil {
		return n, nil
	}
	if errors.Is(err, unix.EPIPE) {
		if e := c.takeError(1); e != 0 {
			err = failure("write", e)
		}
	}
	return n, c.wrap("write", err)
}

// takeError asks for the error of a connection that ended: a pair shows most of
// them as an end (preload/receive.c). A FIN alone does not hang up.
func (c *Conn) takeError(write int32) syscall.Errno {
	if write == 0 && !c.hungUp() {
		return 0
	}
	r := launch.NewRequest(shm.OpTakeError, c.cookie)
	r.Value = write
	reply, e := c.container.requests.Call(r, -1)
	if e != 0 || reply.Value <= 0 {
		return 0
	}
	return syscall.Errno(reply.Value)
}

func (c *Conn) hungUp() (yes bool) {
	raw, err := c.pair.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(p, 0)
		yes = err == nil && n > 0 && p[0].Revents&unix.POLLHUP != 0
	})
	return yes
}

// Close ends the connection.
func (c *Conn) Close() error {
	if err := c.pair.Close(); err != nil {
		return c.wrap("close", err)
	}
	return nil
}

// CloseRead drops what is received from here on.
func (c *Conn) CloseRead() error { return c.shutdown(unix.SHUT_RD, c.pair.CloseRead) }

// CloseWrite sends a FIN after what was written.
func (c *Conn) CloseWrite() error { return c.shutdown(unix.SHUT_WR, c.pair.CloseWrite) }

// shutdown asks the daemon, and when it agrees does the same to the pair.
func (c *Conn) shutdown(how int32, native func() error) error {
	r := launch.NewRequest(shm.OpShutdown, c.cookie)
	r.Value = how
	if _, e := c.container.requests.Call(r, -1); e != 0 && e != launch.Gone {
		return c.wrap("close", failure("shutdown", e))
	}
	if err := native(); err != nil {
		return c.wrap("close", err)
	}
	return nil
}

// SetDeadline bounds reads and writes.
func (c *Conn) SetDeadline(t time.Time) error { return c.deadline(c.pair.SetDeadline(t)) }

// SetReadDeadline bounds reads.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.deadline(c.pair.SetReadDeadline(t)) }

// SetWriteDeadline bounds writes.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.deadline(c.pair.SetWriteDeadline(t)) }

func (c *Conn) deadline(err error) error {
	if err == nil {
		return nil
	}
	return c.wrap("set", err)
}

// SetNoDelay says whether small writes are sent at once. They are unless told
// otherwise.
func (c *Conn) SetNoDelay(on bool) error {
	value := int32(0)
	if on {
		value = 1
	}
	return c.option(unix.IPPROTO_TCP, unix.TCP_NODELAY, value)
}

// SetKeepAlive says whether an idle connection is probed.
func (c *Conn) SetKeepAlive(on bool) error {
	value := int32(0)
	if on {
		value = 1
	}
	return c.option(unix.SOL_SOCKET, unix.SO_KEEPALIVE, value)
}

// SetLinger says what Close does with bytes that were not sent: negative: they are
// sent in the background; 0: they are dropped and the connection is reset.
func (c *Conn) SetLinger(seconds int) error {
	on := int32(1)
	if seconds < 0 {
		on, seconds = 0, 0
	}
	return c.option(unix.SOL_SOCKET, unix.SO_LINGER, on, int32(seconds))
}

func (c *Conn) option(level, option int32, values ...int32) error {
	if e := c.container.set(c.cookie, level, option, values...); e != 0 {
		return c.wrap("set", failure("setsockopt", e))
	}
	return nil
}

// set sets an option of a socket to one or two ints.
func (c *Container) set(cookie uint64, level, option int32, values ...int32) syscall.Errno {
	r := launch.NewRequest(shm.OpSetsockopt, cookie)
	r.Level, r.Option = level, option
	for i, v := range values {
		binary.NativeEndian.PutUint32(r.Opt[4*i:], uint32(v))
	}
	r.Optlen = uint32(4 * len(values))
	_, e := c.requests.Call(r, -1)
	return e
}
