// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// listener is what a listening socket has beside its record. Half-open
// connections lie in a slab of small records of their own, complete ones wait
// for Accept in a list through conn.link.
type listener struct {
	conn       uint32 // index of its record
	backlog    int
	half       int // half-open connections
	ready      int // connections that wait for Accept
	head, tail uint32
}

// full reports whether no further connection may wait for Accept. As in Linux
// the queue holds one more than the backlog.
func (l *listener) full() bool { return l.ready > l.backlog }

// arrivesListen is RFC 9293 section 3.10.7.1 and 3.10.7.2: no connection knows
// the segment; perhaps a listener does.
func (e *Engine) arrivesListen(s *segment, t *tuple) stat.Reason {
	k := e.ports.listener(t, e.key.flowHash(t))
	if k == 0 {
		e.refuse(s, t)
		return stat.Accepted
	}
	l := e.listeners[e.conns.at(k).link]
	switch {
	case s.flags&wire.TCPRst != 0: // first
		return stat.Accepted
	case s.flags&wire.TCPAck != 0: // second
		if s.flags&wire.TCPSyn == 0 && e.tun.SynCookies > 0 && e.cookieArrives(l, s, t) {
			return stat.Accepted
		}
		e.refuse(s, t)
		return stat.Accepted
	case s.flags&wire.TCPSyn == 0: // fourth
		return stat.Accepted
	case s.flags&wire.TCPFin != 0:
		return stat.Accepted // Linux: a SYN with FIN is for nobody
	}
	return e.synArrives(l, s, t)
}

// synArrives answers a SYN, third in RFC 9293 section 3.10.7.2.
func (e *Engine) synArrives(l *listener, s *segment, t *tuple) stat.Reason {
	if l.full() {
		return stat.DropHalfOpenLimit
	}
	cookies := e.tun.SynCookies == 2
	if l.half >= max(l.backlog, 1) || e.halfs.len() >= e.cfg.Limits.HalfOpen {
		if e.tun.SynCookies == 0 {
			return stat.DropHalfOpenLimit
		}
		cookies = true
	}
	if cookies {
		e.sendCookie(l, s, t)
		return stat.Accepted
	}
	i, h := e.halfs.alloc()
	if h == nil {
		return stat.DropHalfOpenLimit
	}
	h.tuple = *t
	h.irs, h.iss = s.seq, e.isn(t)
	h.listener = l.conn
	h.window, h.mss = s.window, s.opts.mss
	h.scale = noScale
	if e.tun.WindowScaling {
		h.scale = s.opts.scale
	}
	h.tos = s.tos
	if s.opts.timestamps && e.tun.Timestamps {
		h.flags |= halfOpenTimestamps
		h.tsRecent = s.opts.tsVal
	}
	if s.opts.sackPermitted && e.tun.SACK {
		h.flags |= halfOpenSACK
	}
	if e.tun.ECN > 0 && s.flags&(wire.TCPEce|wire.TCPCwr) == wire.TCPEce|wire.TCPCwr && s.tos&3 == 0 {
		h.flags |= halfOpenECN // RFC 3168 section 6.1.1
	}
	if !e.table.insert(e.key.table.hash(t), i|kindHalf) {
		e.halfs.free(i)
		return stat.DropConnectionLimit
	}
	l.half++
	h.sent = e.us
	e.queueHalf(i, h)
	e.sendSynAck(h)
	return stat.Accepted
}

// isn returns the initial sequence number of a connection.
func (e *Engine) isn(t *tuple) uint32 {
	if e.tun.FixedISN != 0 {
		return e.tun.FixedISN
	}
	if e.afterWait != 0 {
		return e.afterWait
	}
	return e.key.initialSeq(t, e.now)
}

// tsOffset returns what the timestamps of a connection are ahead of the clock.
func (e *Engine) tsOffset(t *tuple) uint32 {
	if e.tun.FixedTSOffset {
		return 0
	}
	return e.key.tsOffset(t)
}

// ownScale returns our window scale for sockets of an option set: so that the
// largest buffer can be offered (RFC 7323 section 2.3).
func (e *Engine) ownScale(opts uint32) uint8 {
	most := e.tun.MaxReceiveBuffer
	if b := e.opts.get(opts).recvBuffer; b != 0 {
		most = int(b)
	}
	scale := uint8(0)
	for scale < maxScale && most>>scale > 65535 {
		scale++
	}
	return scale
}

// rcvBuffer returns the size of the receive buffer of a new connection: a power
// of two, as rings are.
func (e *Engine) rcvBuffer(opts uint32) int {
	n := e.tun.ReceiveBuffer
	if b := int(e.opts.get(opts).recvBuffer); b != 0 {
		n = min(n, b)
	}
	return 1 << log2(max(n, 2048))
}

// birth is what a passive open has agreed on.
type birth struct {
	tuple
	iss, irs   uint32
	tsRecent   uint32
	sent       uint32 // when the SYN-ACK left, microseconds; 0: nobody knows
	mss        uint16
	scale      uint8
	tos        uint8
	sack       bool
	timestamps bool
	ecn        bool
	lost       bool // the SYN-ACK was resent: sent means nothing
}

// bear makes the record of a connection that was opened passively, nil if there
// is no room.
func (e *Engine) bear(l *listener, b *birth, s *segment) (uint32, *conn) {
	if e.sockets >= e.cfg.Limits.Connections {
		return 0, nil
	}
	parent := e.conns.at(l.conn)
	class := parent.binding & (classReuseAddr | classReusePort)
	if !e.ports.hold(binding{port: b.lport, local: b.local, class: class}) {
		return 0, nil
	}
	k, c := e.conns.alloc()
	if c == nil {
		e.ports.drop(binding{port: b.lport, local: b.local, class: class})
		return 0, nil
	}
	e.sockets++
	c.tuple = b.tuple
	c.binding = class
	c.opts = e.opts.share(parent.opts)
	c.flags = fBound | fQueued | parent.flags&(fV6|fNoDelay|fCork|fKeepAlive)
	e.beginConn(c)
	if b.sack {
		c.flags |= fSACK
	}
	if b.timestamps {
		c.flags |= fTS | fTimedIn
		c.tsOff = e.tsOffset(&c.tuple)
		c.tsRecent, c.tsAt = b.tsRecent, e.ms
	}
	if b.ecn {
		c.flags |= fECN
	}
	if b.scale != noScale {
		c.flags |= fScale
		c.scales = b.scale | e.ownScale(c.opts)<<4
	}
	c.peerMSS = e.peerMSS(b.mss, c.v4())
	e.setMSS(c)
	c.una, c.nxt, c.end = b.iss+1, b.iss+1, b.iss+1
	c.rcvNxt = b.irs + 1
	c.rcvAcked = c.rcvNxt
	c.rcvEdge = c.rcvNxt + min(c.rcvCap(), 65535)
	c.wl1 = s.seq
	c.wnd = uint32(s.window) << c.sndScale()
	c.maxWnd = max(c.wnd, 1)
	c.segsIn, c.segsOut = 1, 1
	c.lastIn = e.ms
	c.state = stEstablished
	c.setSentAt(b.sent)
	if b.lost {
		c.backoff = 1
	}
	e.sampleHandshake(c, s)
	return k, c
}

// admit lets a new connection wait for Accept; what came with its ACK goes on.
func (e *Engine) admit(k uint32, c *conn, l *listener, s *segment) stat.Reason {
	if l.tail != 0 {
		e.conns.at(l.tail).link = k
	} else {
		l.head = k
	}
	l.tail = k
	c.link = 0
	l.ready++
	e.report(l.conn, e.conns.at(l.conn), evAcceptable)
	e.startKeepalive(k, c)
	c.segsIn = 0
	return e.arrivesSynchronized(k, c, s, true)
}
