// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"net/netip"
	"syscall"

	"netcon/dataplane/stream"
)

// Connect implements stream.Engine: an active OPEN, RFC 9293 section 3.10.1.
func (e *Engine) Connect(h stream.Handle, remote netip.AddrPort) syscall.Errno {
	i, c, errno := e.lookup(h)
	if errno != 0 {
		return errno
	}
	switch {
	case c.state == stSynSent || c.state == stSynReceived:
		return syscall.EALREADY
	case c.state != stClosed || c.has(fConnected) && c.err == 0:
		return syscall.EISCONN
	}
	ra, ok := familyOf(c, remote.Addr())
	if !ok {
		return syscall.EAFNOSUPPORT
	}
	if ra.is4() && c.has(fV6) && e.opts.get(c.opts).bits&optV6Only != 0 {
		return syscall.ENETUNREACH
	}
	a := remote.Addr().Unmap()
	switch {
	case a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return syscall.ENETUNREACH
	case a.IsUnspecified() && a.Is4():
		a = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case a.IsUnspecified():
		a = netip.IPv6Loopback()
	}
	ra = addrFrom(a)
	if errno := e.renew(i, c); errno != 0 {
		return errno
	}
	local := c.local
	if local <= any6 || !c.has(fBound) {
		if local, ok = e.sourceFor(a, ra); !ok {
			return syscall.ENETUNREACH
		}
	} else if e.locals.addrs[local].is4() != ra.is4() {
		return syscall.ENETUNREACH
	}
	t := tuple{remote: ra, rport: remote.Port(), lport: c.lport, local: local}
	if errno := e.takePort(i, c, &t); errno != 0 {
		return errno
	}
	return e.open(i, c, &t)
}

// takePort gives an active open its port, and makes room for its tuple.
func (e *Engine) takePort(i uint32, c *conn, t *tuple) syscall.Errno {
	if !c.has(fBound) {
		if !e.ports.pick(t, e.now) {
			return syscall.EADDRNOTAVAIL
		}
		c.flags |= fBound
		c.binding = classPicked
		c.tuple = *t
		return e.clearWait(t)
	}
	if e.busy(t) {
		return syscall.EADDRNOTAVAIL
	}
	if c.local != t.local {
		b := heldBinding(&c.tuple, c.binding)
		if !e.ports.move(&b, t.local) {
			return syscall.EADDRNOTAVAIL
		}
		c.setBinding(b)
	}
	c.tuple = *t
	return e.clearWait(t)
}

// clearWait ends a TIME-WAIT record that gives way to an active open (RFC 6191
// section 2); the new initial sequence number is above what it used.
func (e *Engine) clearWait(t *tuple) syscall.Errno {
	e.afterWait = 0
	if v := e.find(t); v&kindMask == kindWait && v != 0 {
		k := v &^ kindMask
		w := e.waits.at(k)
		e.afterWait = max(w.sndNxt+65535+2, 1)
		e.endTimeWait(k, w)
	}
	return 0
}

// open sends the first SYN.
func (e *Engine) open(i uint32, c *conn, t *tuple) syscall.Errno {
	if !e.table.insert(e.key.table.hash(t), i|kindConn) {
		e.leaveTable(i, c)
		return syscall.ENOBUFS
	}
	c.flags |= fTable | fActive
	e.beginConn(c)
	if e.tun.SACK {
		c.flags |= fSACK
	}
	if e.tun.Timestamps {
		c.flags |= fTS
	}
	if e.tun.WindowScaling {
		c.flags |= fScale
		c.scales = e.ownScale(c.opts) << 4
	}
	if e.tun.ECN == 1 {
		c.flags |= fECN
	}
	c.tsOff = e.tsOffset(t)
	iss := e.isn(t)
	e.afterWait = 0
	c.una, c.nxt, c.end = iss, iss, iss+1
	if p := e.pairs.get(i); p != nil {
		e.setRcvCap(i, c, p)
		c.end += uint32(p.Tx.Len())
	}
	c.state = stSynSent
	e.want(i, c)
	return syscall.EINPROGRESS
}

// renew makes a socket whose active open or connection failed a fresh one: in
// Linux it may try again.
func (e *Engine) renew(i uint32, c *conn) syscall.Errno {
	if c.err == 0 && !c.has(fConnected|fActive) {
		return 0
	}
	var b binding
	pinned := c.has(fPinned)
	if pinned {
		b = heldBinding(&c.tuple, c.binding)
	}
	e.leaveTable(i, c)
	e.dropStash(c)
	if c.has(fWheel) {
		e.wheel.disarm(i)
	}
	fresh := conn{slot: c.slot, user: c.user, opts: c.opts, events: c.events, state: stClosed}
	fresh.flags = c.flags & (fOwned | fV6 | fInTx | fInEvents | fInBurst | fNoDelay | fCork | fKeepAlive)
	if c.has(fV6) {
		fresh.local = any6
	}
	fresh.events &^= evFailed
	*c = fresh
	if pinned {
		return e.bind(i, c, b.local, b.port, b.dual)
	}
	return 0
}

// sourceFor returns the local address for a destination: the destination itself
// if it is ours, one on the same link, or the first of the family if there is a
// gateway.
func (e *Engine) sourceFor(a netip.Addr, ra addr) (uint16, bool) {
	if i, ok := e.locals.find(ra); ok {
		return i, true
	}
	first := uint16(0)
	best, bits := uint16(0), -1
	for _, p := range e.cfg.Addrs {
		if p.Addr().Is4() != a.Is4() {
			continue
		}
		i := e.locals.at[addrFrom(p.Addr())]
		if first == 0 {
			first = i
		}
		if p.Masked().Contains(a) && p.Bits() > bits {
			best, bits = i, p.Bits()
		}
	}
	if bits >= 0 {
		return best, true
	}
	gw := e.cfg.Gateway6
	if a.Is4() {
		gw = e.cfg.Gateway4
	}
	return first, first != 0 && gw.IsValid()
}
