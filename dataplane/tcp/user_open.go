// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"net/netip"
	"syscall"

	"netcon/dataplane/stream"
)

// lookup returns the socket of a handle.
func (e *Engine) lookup(h stream.Handle) (uint32, *conn, syscall.Errno) {
	if e.stopped {
		return 0, nil, syscall.ENETDOWN
	}
	i, c := e.conns.get(uint64(h))
	if c == nil || !c.has(fOwned) {
		return 0, nil, syscall.EBADF
	}
	return i, c, 0
}

// Open implements stream.Engine: the OPEN call of RFC 9293 section 3.9.1.1 is
// this, Bind and Listen or Connect.
func (e *Engine) Open(family stream.Family, user uint64) (stream.Handle, syscall.Errno) {
	if e.stopped {
		return 0, syscall.ENETDOWN
	}
	if family != stream.IPv4 && family != stream.IPv6 {
		return 0, syscall.EAFNOSUPPORT
	}
	if e.sockets >= e.cfg.Limits.Connections {
		return 0, syscall.EMFILE
	}
	i, c := e.conns.alloc()
	if c == nil {
		return 0, syscall.EMFILE
	}
	e.sockets++
	c.flags = fOwned
	c.user = user
	c.state = stClosed
	c.opts = e.opts.share(0)
	if family == stream.IPv6 {
		c.flags |= fV6
		c.local = any6
	}
	return stream.Handle(e.conns.handle(i)), 0
}

// familyOf returns the local or remote address a caller gave in the form of
// records: IPv4 addresses of IPv6 sockets may come mapped or plain. False: the
// address is of the other family.
func familyOf(c *conn, a netip.Addr) (addr, bool) {
	if !a.IsValid() {
		return addr{}, false
	}
	a = a.WithZone("")
	if !c.has(fV6) && !a.Unmap().Is4() {
		return addr{}, false
	}
	return addrFrom(a), true
}

// Bind implements stream.Engine.
func (e *Engine) Bind(h stream.Handle, local netip.AddrPort) syscall.Errno {
	i, c, errno := e.lookup(h)
	if errno != 0 {
		return errno
	}
	if c.state != stClosed || c.has(fBound) || c.has(fConnected) {
		return syscall.EINVAL
	}
	a, ok := familyOf(c, local.Addr())
	if !ok {
		return syscall.EAFNOSUPPORT
	}
	only6 := e.opts.get(c.opts).bits&optV6Only != 0
	if a.is4() && c.has(fV6) && only6 {
		return syscall.EINVAL
	}
	at := uint16(any6)
	dual := false
	switch ap := local.Addr().Unmap(); {
	case ap.IsUnspecified() && ap.Is4():
		at = any4
	case ap.IsUnspecified():
		dual = !only6
	default:
		if at, ok = e.locals.find(a); !ok {
			return syscall.EADDRNOTAVAIL
		}
	}
	return e.bind(i, c, at, local.Port(), dual)
}

// bind gives a socket a local address and a port.
func (e *Engine) bind(i uint32, c *conn, at, port uint16, dual bool) syscall.Errno {
	b := binding{port: port, local: at, dual: dual, class: e.classOf(c)}
	if port == 0 {
		if !e.ports.bindAny(&b) {
			return syscall.EADDRINUSE
		}
	} else if !e.ports.bind(b) {
		return syscall.EADDRINUSE
	}
	c.flags |= fBound | fPinned
	c.local, c.lport = b.local, b.port
	c.setBinding(b)
	return 0
}

// classOf returns what a socket's options permit others to do with its port.
func (e *Engine) classOf(c *conn) uint8 {
	class := uint8(0)
	if o := e.opts.get(c.opts); o.bits&optReuseAddr != 0 {
		class |= classReuseAddr
	}
	if o := e.opts.get(c.opts); o.bits&optReusePort != 0 {
		class |= classReusePort
	}
	return class
}

func (c *conn) setBinding(b binding) {
	c.binding = b.class
	if b.dual {
		c.binding |= bindDual
	}
}

// Listen implements stream.Engine.
func (e *Engine) Listen(h stream.Handle, backlog int) syscall.Errno {
	i, c, errno := e.lookup(h)
	if errno != 0 {
		return errno
	}
	backlog = min(max(backlog, 0), e.tun.MaxBacklog)
	if c.state == stListen {
		e.listeners[c.link].backlog = backlog
		return 0
	}
	if c.state != stClosed || c.has(fConnected) && c.err == 0 {
		return syscall.EINVAL
	}
	if errno := e.renew(i, c); errno != 0 {
		return errno
	}
	if !c.has(fBound) {
		only6 := e.opts.get(c.opts).bits&optV6Only != 0
		if errno := e.bind(i, c, c.local, 0, c.has(fV6) && !only6); errno != 0 {
			return errno
		}
	}
	b := heldBinding(&c.tuple, c.binding)
	if !e.ports.listen(&b, i) {
		return syscall.EADDRINUSE
	}
	c.setBinding(b)
	c.state = stListen
	c.link = e.addListener(&listener{conn: i, backlog: backlog})
	return 0
}

func (e *Engine) addListener(l *listener) uint32 {
	for k := 1; k < len(e.listeners); k++ {
		if e.listeners[k] == nil {
			e.listeners[k] = l
			return uint32(k)
		}
	}
	e.listeners = append(e.listeners, l)
	return uint32(len(e.listeners) - 1)
}

// Accept implements stream.Engine. What waits for it counts as a socket already:
// it never meets the limit.
func (e *Engine) Accept(h stream.Handle, user uint64) (stream.Handle, syscall.Errno) {
	i, c, errno := e.lookup(h)
	if errno != 0 {
		return 0, errno
	}
	if c.state != stListen {
		return 0, syscall.EINVAL
	}
	l := e.listeners[c.link]
	if l.head == 0 {
		return 0, syscall.EAGAIN
	}
	k := l.head
	n := e.conns.at(k)
	if l.head = n.link; l.head == 0 {
		l.tail = 0
	}
	l.ready--
	n.link = 0
	n.flags = n.flags&^fQueued | fOwned | fConnected
	n.user = user
	if l.head != 0 {
		e.report(i, c, evAcceptable)
	}
	if n.stash != 0 || n.has(fFinIn) {
		e.report(k, n, evReadable)
	}
	if n.failing() {
		e.report(k, n, evFailed)
	}
	return stream.Handle(e.conns.handle(k)), 0
}

// Local implements stream.Engine.
func (e *Engine) Local(h stream.Handle) netip.AddrPort {
	_, c, errno := e.lookup(h)
	if errno != 0 {
		return netip.AddrPort{}
	}
	return e.shown(c, e.locals.addrs[c.local], c.lport)
}

// Remote implements stream.Engine.
func (e *Engine) Remote(h stream.Handle) (netip.AddrPort, syscall.Errno) {
	_, c, errno := e.lookup(h)
	if errno != 0 {
		return netip.AddrPort{}, errno
	}
	if !c.has(fConnected) || c.state == stClosed && c.err != 0 {
		return netip.AddrPort{}, syscall.ENOTCONN
	}
	return e.shown(c, c.remote, c.rport), 0
}

// shown returns an address in the form callers see: IPv4 addresses of IPv6
// sockets are mapped.
func (e *Engine) shown(c *conn, a addr, port uint16) netip.AddrPort {
	var b [16]byte
	a.put6(b[:])
	ip := netip.AddrFrom16(b)
	if !c.has(fV6) {
		ip = ip.Unmap()
	}
	return netip.AddrPortFrom(ip, port)
}
