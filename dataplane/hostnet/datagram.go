// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
)

// ListenDatagrams takes an address of the host. Any goroutine. A host has several
// addresses, and an answer has to leave from the one that was asked.
func ListenDatagrams(local netip.AddrPort) (fd int, err error) {
	level, option := unix.IPPROTO_IP, unix.IP_PKTINFO
	if local.Addr().Is6() {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	}
	return bound(local, unix.SOCK_DGRAM, unix.IPPROTO_UDP, level, option)
}

// OpenDatagram implements stream.Host.
func (e *Engine) OpenDatagram(f stream.Family, user uint64) (stream.Handle, syscall.Errno) {
	fd, errno := kernelSocket(f, unix.SOCK_DGRAM, unix.IPPROTO_UDP)
	if errno != 0 {
		return 0, errno
	}
	if f == stream.IPv6 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	c := e.alloc(fd, f, user)
	c.state = stDatagram
	if !c.watch() {
		c.close(false)
		return 0, unix.ENOBUFS
	}
	return c.handle(), 0
}

// Point implements stream.Host.
func (e *Engine) Point(h stream.Handle, remote netip.AddrPort) syscall.Errno {
	c := e.lookup(h)
	if c == nil {
		return unix.EBADF
	}
	if err := unix.Connect(c.fd, sockaddr(remote)); err != nil {
		return errnoOf(err)
	}
	return 0
}

// SendTo implements stream.Host.
func (e *Engine) SendTo(h stream.Handle, at stream.HostPlace, remote netip.AddrPort, payload []byte) syscall.Errno {
	c := e.lookup(h)
	if c == nil {
		return unix.EBADF
	}
	for {
		switch errno := e.raw.sendTo(c.fd, at, remote, payload); errno {
		case 0:
			e.stat.Add(stat.HostTx, uint64(len(payload)))
			return 0
		case unix.EINTR:
		case unix.EAGAIN, unix.ENOBUFS:
			c.blocked = true
			return unix.EAGAIN
		default:
			return errno
		}
	}
}

// ReceiveFrom implements stream.Host.
func (e *Engine) ReceiveFrom(h stream.Handle, buf []byte) (n int, from netip.AddrPort, at stream.HostPlace, errno syscall.Errno) {
	c := e.lookup(h)
	if c == nil {
		return 0, from, at, unix.EAGAIN
	}
	for {
		switch n, from, at, errno = e.raw.receiveFrom(c.fd, buf); errno {
		case 0:
			e.stat.Add(stat.HostRx, uint64(n))
			return n, from, at, 0
		case unix.EINTR:
		case unix.EAGAIN:
			c.canRead = false
			return 0, from, at, errno
		default:
			return 0, from, at, errno
		}
	}
}

// visitDatagrams reports what happened to a datagram socket.
func (c *conn) visitDatagrams(ev stream.Events) {
	if c.blocked && c.canWrite {
		c.blocked = false
		ev.Writable(c.user)
	}
	if c.state == stDatagram && c.canRead {
		ev.Readable(c.user)
	}
}
