// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"syscall"

	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
)

// defaultOptions are Linux's.
func (e *Engine) defaultOptions() optset {
	t := e.tun
	return optset{
		keepIdle: uint16(t.KeepaliveTime.Seconds()), keepInterval: uint16(t.KeepaliveInterval.Seconds()),
		keepCount: uint8(t.KeepaliveProbes), ttl: uint8(t.TTL), linger: -1, linger2: int32(t.FinTimeout.Seconds()),
		sendBuffer: int32(t.SendBuffer),
	}
}

// minBuffer is the least buffer size in bytes that can be set.
const minBuffer = 4 << 10

// SetOption implements stream.Engine.
func (e *Engine) SetOption(h stream.Handle, opt stream.Option, v int) syscall.Errno {
	i, c, errno := e.lookup(h)
	if errno != 0 {
		return errno
	}
	if opt >= stream.NumStreamOptions {
		return syscall.ENOPROTOOPT
	}
	switch opt {
	case stream.OptTTL:
		if v == -1 {
			v = e.tun.TTL // Linux: back to the default
		}
	case stream.OptTOS:
		if v == -1 {
			v = 0
		}
	case stream.OptSendBuffer:
		v = min(max(v, minBuffer), e.tun.MaxSendBuffer)
	case stream.OptRecvBuffer:
		v = min(max(v, minBuffer), e.tun.MaxReceiveBuffer)
	case stream.OptMaxSeg:
		if v != 0 && v < e.tun.MinSndMSS {
			return syscall.EINVAL
		}
	case stream.OptV6Only:
		if !c.has(fV6) {
			return syscall.ENOPROTOOPT
		}
		if c.has(fBound) {
			return syscall.EINVAL
		}
	}
	if !opt.Takes(v) {
		return syscall.EINVAL
	}
	if e.setFlag(i, c, opt, v != 0) {
		return 0
	}
	set := *e.opts.get(c.opts)
	set.set(opt, v)
	c.opts = e.opts.replace(c.opts, set)
	e.optionSet(i, c, opt)
	return 0
}

// setFlag sets an option that is a bit of the record.
func (e *Engine) setFlag(i uint32, c *conn, opt stream.Option, on bool) bool {
	bit := connFlags(0)
	switch opt {
	case stream.OptNoDelay:
		bit = fNoDelay
	case stream.OptCork:
		bit = fCork
	case stream.OptKeepAlive:
		bit = fKeepAlive
	case stream.OptQuickAck:
		if on {
			c.flags &^= fPongs
			c.quick = max(c.quick, 16)
			if c.has(fAckLater) && c.state.in(synchronized) {
				e.ackNow(i, c)
			}
		} else {
			c.flags |= fPongs
			c.quick = 0
		}
		return true
	default:
		return false
	}
	was := c.has(bit)
	if c.flags &^= bit; on {
		c.flags |= bit
	}
	switch {
	case opt == stream.OptKeepAlive && on && !was:
		e.startKeepalive(i, c)
	case opt == stream.OptNoDelay && on, opt == stream.OptCork && !on:
		if c.state.in(synchronized) {
			if opt == stream.OptNoDelay && e.unsent(c) {
				c.nudge = 1
			}
			e.wantIfPending(i, c) // what was held back goes
		}
	}
	return true
}

// set sets an option that a set holds.
func (o *optset) set(opt stream.Option, v int) {
	bit := func(b uint16) {
		if o.bits &^= b; v != 0 {
			o.bits |= b
		}
	}
	switch opt {
	case stream.OptReuseAddr:
		bit(optReuseAddr)
	case stream.OptReusePort:
		bit(optReusePort)
	case stream.OptV6Only:
		bit(optV6Only)
	case stream.OptKeepIdle:
		o.keepIdle = uint16(v)
	case stream.OptKeepInterval:
		o.keepInterval = uint16(v)
	case stream.OptKeepCount:
		o.keepCount = uint8(v)
	case stream.OptMaxSeg:
		o.maxSeg = uint16(v)
	case stream.OptUserTimeout:
		o.userTimeout = uint32(v)
	case stream.OptSynCount:
		o.synCount = uint8(v)
	case stream.OptDeferAccept:
		o.deferAccept = int32(v)
	case stream.OptLinger2:
		o.linger2 = int32(v)
		o.bits |= optLinger2Set
	case stream.OptSendBuffer:
		o.sendBuffer = int32(v)
	case stream.OptRecvBuffer:
		o.recvBuffer = int32(v)
	case stream.OptNotSentLowat:
		o.notSentLowat = int32(v)
	case stream.OptTOS:
		o.tos = uint8(v)
	case stream.OptTTL:
		o.ttl = uint8(v)
	case stream.OptLinger:
		o.linger = int32(v)
	}
}

// optionSet does what an option asks for at once.
func (e *Engine) optionSet(i uint32, c *conn, opt stream.Option) {
	switch opt {
	case stream.OptReuseAddr, stream.OptReusePort:
		if c.has(fBound) && c.binding&classPicked == 0 {
			b := heldBinding(&c.tuple, c.binding)
			e.ports.reclass(&b, e.classOf(c)|b.class&classListen)
			c.setBinding(b)
		}
	case stream.OptKeepIdle:
		e.startKeepalive(i, c)
	case stream.OptMaxSeg:
		if c.state.in(synchronized) {
			e.setMSS(c)
		}
	case stream.OptNotSentLowat:
		if c.state.in(synchronized) {
			e.writable(i, c)
		}
	}
}

// Option implements stream.Engine.
func (e *Engine) Option(h stream.Handle, opt stream.Option) (int, syscall.Errno) {
	_, c, errno := e.lookup(h)
	if errno != 0 {
		return 0, errno
	}
	if opt >= stream.NumStreamOptions || opt == stream.OptV6Only && !c.has(fV6) {
		return 0, syscall.ENOPROTOOPT
	}
	o := e.opts.get(c.opts)
	yes := func(b bool) (int, syscall.Errno) {
		if b {
			return 1, 0
		}
		return 0, 0
	}
	switch opt {
	case stream.OptReuseAddr:
		return yes(o.bits&optReuseAddr != 0)
	case stream.OptReusePort:
		return yes(o.bits&optReusePort != 0)
	case stream.OptV6Only:
		return yes(o.bits&optV6Only != 0)
	case stream.OptKeepAlive:
		return yes(c.has(fKeepAlive))
	case stream.OptNoDelay:
		return yes(c.has(fNoDelay))
	case stream.OptCork:
		return yes(c.has(fCork))
	case stream.OptQuickAck:
		return yes(!c.has(fPongs))
	case stream.OptKeepIdle:
		return int(o.keepIdle), 0
	case stream.OptKeepInterval:
		return int(o.keepInterval), 0
	case stream.OptKeepCount:
		return int(o.keepCount), 0
	case stream.OptMaxSeg:
		switch {
		case c.state.in(synchronized):
			return int(c.mss), 0
		case o.maxSeg == 0:
			return 536, 0
		}
		return int(o.maxSeg), 0
	case stream.OptUserTimeout:
		return int(o.userTimeout), 0
	case stream.OptSynCount:
		if o.synCount == 0 {
			return e.tun.SynRetries, 0
		}
		return int(o.synCount), 0
	case stream.OptDeferAccept:
		return int(o.deferAccept), 0
	case stream.OptLinger2:
		return int(o.linger2), 0
	case stream.OptSendBuffer:
		return int(o.sendBuffer), 0
	case stream.OptRecvBuffer:
		if o.recvBuffer == 0 {
			return e.tun.ReceiveBuffer, 0
		}
		return int(o.recvBuffer), 0
	case stream.OptNotSentLowat:
		return int(o.notSentLowat), 0
	case stream.OptTOS:
		return int(o.tos), 0
	case stream.OptTTL:
		return int(o.ttl), 0
	case stream.OptLinger:
		return int(o.linger), 0
	}
	return 0, syscall.ENOPROTOOPT
}

// headers returns the IP and TCP headers without options.
func (c *conn) headers() int {
	if c.v4() {
		return wire.IPv4Len + wire.TCPLen
	}
	return wire.IPv6Len + wire.TCPLen
}
