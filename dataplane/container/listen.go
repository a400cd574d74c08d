// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"
	"netcon/shm"
)

// backlog is how many connections wait for Accept; the daemon bounds it.
const backlog = 4096

// Listener is a listening socket of a container.
type Listener struct {
	container *Container
	pair      *net.UnixConn
	local     *net.TCPAddr
}

var _ net.Listener = (*Listener)(nil)

// Listen listens on an address; network is tcp, tcp4 or tcp6. No host is all of
// the container's addresses, port 0 any port.
func (c *Container) Listen(network, address string) (net.Listener, error) {
	targets, err := c.resolve(context.Background(), "tcp", network, address, true)
	if err == nil && len(targets) == 0 {
		err = errors.New("no address")
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	l, err := c.listen(targets[0], network == "tcp6")
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: net.TCPAddrFromAddrPort(targets[0]), Err: err}
	}
	return l, nil
}

func (c *Container) listen(at netip.AddrPort, v6only bool) (*Listener, error) {
	fd, err := c.socket(family(at.Addr()))
	if err != nil {
		return nil, err
	}
	if err := c.bindAndListen(fd, at, v6only); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	l := &Listener{container: c, local: c.address(shm.OpGetsockname, fd)}
	if l.pair, err = pollable(fd); err != nil {
		return nil, err
	}
	return l, nil
}

// bindAndListen does what package net does: an address in TIME-WAIT may be taken
// again, and the unspecified IPv6 address takes IPv4, too.
func (c *Container) bindAndListen(fd int, at netip.AddrPort, v6only bool) error {
	cookie := launch.Cookie(fd)
	if e := c.set(cookie, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); e != 0 {
		return failure("setsockopt", e)
	}
	if at.Addr().Is6() {
		only := int32(0)
		if v6only {
			only = 1
		}
		if e := c.set(cookie, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only); e != 0 {
			return failure("setsockopt", e)
		}
	}
	r := launch.NewRequest(shm.OpBind, cookie)
	r.Addr, r.Value = toAddr(at)
	if _, e := c.requests.Call(r, -1); e != 0 {
		return failure("bind", e)
	}
	r = launch.NewRequest(shm.OpListen, cookie)
	r.Value = backlog
	if _, e := c.requests.Call(r, -1); e != 0 {
		return failure("listen", e)
	}
	if e := launch.SetMark(fd, shm.MarkListen); e != 0 {
		return failure("listen", e)
	}
	return nil
}

// Addr returns the address that is listened on.
func (l *Listener) Addr() net.Addr { return l.local }

// Accept waits for a connection.
func (l *Listener) Accept() (net.Conn, error) {
	raw, err := l.pair.SyscallConn()
	if err != nil {
		return nil, l.wrap("accept", err)
	}
	var record shm.Accept
	var fd int
	var e syscall.Errno
	err = raw.Read(func(pair uintptr) bool {
		fd, e = launch.ReceiveConnection(int(pair), &record)
		return e != unix.EAGAIN
	})
	switch {
	case err != nil:
		return nil, l.wrap("accept", err)
	case e != 0:
		return nil, l.wrap("accept", failure("accept", e))
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, l.wrap("accept", err)
	}
	c, err := l.container.newConn(fd, fromAddr(&record.Local), fromAddr(&record.Peer))
	if err != nil {
		return nil, l.wrap("accept", err)
	}
	return c, nil
}

// SetDeadline bounds Accept.
func (l *Listener) SetDeadline(t time.Time) error {
	if err := l.pair.SetReadDeadline(t); err != nil {
		return l.wrap("set", err)
	}
	return nil
}

// Close stops listening. Connections that nobody accepted are reset.
func (l *Listener) Close() error {
	if err := l.pair.Close(); err != nil {
		return l.wrap("close", err)
	}
	return nil
}

func (l *Listener) wrap(op string, err error) error {
	var inner *net.OpError
	if errors.As(err, &inner) {
		err = inner.Err
	}
	return &net.OpError{Op: op, Net: "tcp", Addr: l.local, Err: err}
}
