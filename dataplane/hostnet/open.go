// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stream"
)

// Open implements stream.Sockets. ENOBUFS: the daemon has no descriptor left.
func (e *Engine) Open(f stream.Family, user uint64) (stream.Handle, syscall.Errno) {
	fd, errno := kernelSocket(f, unix.SOCK_STREAM, unix.IPPROTO_TCP)
	if errno != 0 {
		return 0, errno
	}
	inlineUrgent(fd)
	return e.alloc(fd, f, user).handle(), 0
}

// kernelSocket makes a kernel socket for a program.
func kernelSocket(f stream.Family, kind, protocol int) (fd int, errno syscall.Errno) {
	af := unix.AF_INET
	if f == stream.IPv6 {
		af = unix.AF_INET6
	}
	fd, err := unix.Socket(af, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	switch err {
	case nil:
		return fd, 0
	case unix.EAFNOSUPPORT:
		return -1, unix.ENETUNREACH // the host does without this family
	}
	return -1, unix.ENOBUFS
}

// inlineUrgent leaves urgent bytes where they are in the stream.
func inlineUrgent(fd int) { _ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1) }

// Bind implements stream.Sockets: a socket that connects gets its address from
// the kernel.
func (e *Engine) Bind(stream.Handle, netip.AddrPort) syscall.Errno { return unix.EADDRNOTAVAIL }

// Listen implements stream.Sockets: who listens was adopted.
func (e *Engine) Listen(stream.Handle, int) syscall.Errno { return unix.EOPNOTSUPP }

// Connect implements stream.Sockets.
func (e *Engine) Connect(h stream.Handle, remote netip.AddrPort) syscall.Errno {
	c := e.lookup(h)
	if c == nil {
		return unix.EBADF
	}
	if c.joined {
		c.remote = remote // and connected it is
	} else {
		switch err := unix.Connect(c.fd, sockaddr(remote)); err {
		case nil, unix.EINPROGRESS, unix.EINTR:
		default:
			return errnoOf(err)
		}
	}
	c.state = stConnecting
	// Not before: a socket that is not connecting yet looks hung up.
	if !c.watch() {
		return unix.ENOBUFS
	}
	return unix.EINPROGRESS
}

// Attach implements stream.Sockets.
func (e *Engine) Attach(h stream.Handle, p *stream.Pair) {
	if c := e.lookup(h); c != nil {
		c.pair = p
	}
}

// Shutdown implements stream.Sockets.
func (e *Engine) Shutdown(h stream.Handle, how stream.How) syscall.Errno {
	c := e.lookup(h)
	if c == nil || c.state != stConnected {
		return unix.ENOTCONN
	}
	if how&stream.ShutRead != 0 {
		_ = unix.Shutdown(c.fd, unix.SHUT_RD)
	}
	if how&stream.ShutWrite != 0 {
		c.fin = true
		c.push()
	}
	return 0
}

// Close implements stream.Sockets. The kernel sends what it holds, and RST where
// it holds bytes that nobody took.
func (e *Engine) Close(h stream.Handle) {
	if c := e.lookup(h); c != nil {
		c.close(c.linger == 0)
	}
}

// Abort implements stream.Sockets.
func (e *Engine) Abort(h stream.Handle) {
	if c := e.lookup(h); c != nil {
		c.close(true)
	}
}

// close closes the kernel socket, with RST if reset.
func (c *conn) close(reset bool) {
	if c.watched {
		c.engine.poller.Remove(c.fd, c)
	}
	if reset && c.state != stListening {
		_ = unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	_ = unix.Close(c.fd)
	c.engine.release(c)
}

// Shut closes every kernel socket: the container ends.
func (e *Engine) Shut() {
	for _, c := range e.conns {
		if c.state != stFree {
			c.close(true)
		}
	}
}

// Local implements stream.Sockets.
func (e *Engine) Local(h stream.Handle) netip.AddrPort {
	c := e.lookup(h)
	if c == nil {
		return netip.AddrPort{}
	}
	if c.joined {
		return c.local
	}
	if sa, err := unix.Getsockname(c.fd); err == nil {
		return addrPort(sa)
	}
	return netip.AddrPort{}
}

// Remote implements stream.Sockets.
func (e *Engine) Remote(h stream.Handle) (netip.AddrPort, syscall.Errno) {
	c := e.lookup(h)
	if c == nil {
		return netip.AddrPort{}, unix.ENOTCONN
	}
	if c.joined {
		return c.remote, 0
	}
	sa, err := unix.Getpeername(c.fd)
	if err != nil {
		return netip.AddrPort{}, errnoOf(err)
	}
	return addrPort(sa), 0
}

// FamilyOf returns the family of the kernel socket that reaches ip. An address
// in IPv6 form is of IPv4: the host may do without IPv6.
func FamilyOf(ip netip.Addr) stream.Family {
	if ip.Unmap().Is4() {
		return stream.IPv4
	}
	return stream.IPv6
}

func sockaddr(ap netip.AddrPort) unix.Sockaddr {
	if ip := ap.Addr().Unmap(); ip.Is4() {
		return &unix.SockaddrInet4{Addr: ip.As4(), Port: int(ap.Port())}
	}
	return &unix.SockaddrInet6{Addr: ap.Addr().As16(), Port: int(ap.Port())}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

func errnoOf(err error) syscall.Errno {
	if e, ok := err.(syscall.Errno); ok {
		return e
	}
	return unix.EIO
}
