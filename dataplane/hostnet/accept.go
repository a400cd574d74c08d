// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
)

// backlog is how many connections wait in the kernel for a container that does
// not take them; more are the kernel's to refuse.
const backlog = 1024

// Listen takes an address of the host. Any goroutine.
func Listen(local netip.AddrPort) (fd int, err error) {
	fd, err = bound(local, unix.SOCK_STREAM, unix.IPPROTO_TCP, unix.SOL_SOCKET, unix.SO_REUSEADDR)
	if err != nil {
		return -1, err
	}
	if err = unix.Listen(fd, backlog); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// bound makes a kernel socket with an option switched on, and gives it an address
// of the host, of one family only.
func bound(local netip.AddrPort, kind, protocol, level, option int) (fd int, err error) {
	af := unix.AF_INET
	if local.Addr().Is6() {
		af = unix.AF_INET6
	}
	fd, err = unix.Socket(af, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return -1, err
	}
	err = unix.SetsockoptInt(fd, level, option, 1)
	if err == nil && af == unix.AF_INET6 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil {
		err = unix.Bind(fd, sockaddr(local))
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Adopt implements stream.Host.
func (e *Engine) Adopt(fd int, user uint64) (stream.Handle, syscall.Errno) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		_ = unix.Close(fd)
		return 0, errnoOf(err)
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		_ = unix.Close(fd)
		return 0, errnoOf(err)
	}
	c := e.alloc(fd, FamilyOf(addrPort(sa).Addr()), user)
	if c.state = stListening; kind == unix.SOCK_DGRAM {
		c.state = stDatagram
	}
	if !c.watch() {
		c.close(false)
		return 0, unix.ENOBUFS
	}
	return c.handle(), 0
}

// Accept implements stream.Sockets. A connection that ended before anybody took
// it gives ECONNABORTED.
func (e *Engine) Accept(h stream.Handle, user uint64) (stream.Handle, syscall.Errno) {
	l := e.lookup(h)
	if l == nil || l.state != stListening {
		return 0, unix.EINVAL
	}
	fd, _, err := unix.Accept4(l.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	switch err {
	case nil:
	case unix.EAGAIN, unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
		return 0, errnoOf(err)
	default:
		// accept(2) passes on errors of the connection's network.
		return 0, unix.ECONNABORTED
	}
	inlineUrgent(fd)
	c := e.alloc(fd, l.family, user)
	c.state = stConnected
	if !c.watch() {
		c.close(true)
		return 0, unix.ENOBUFS
	}
	e.stat.Count(stat.HostAccepts)
	return c.handle(), 0
}
