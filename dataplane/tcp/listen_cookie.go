// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// sendCookie answers a SYN without keeping anything of it, RFC 4987 section
// 3.6.
func (e *Engine) sendCookie(l *listener, s *segment, t *tuple) {
	opts := e.conns.at(l.conn).opts
	ck := cookie{mss: e.peerMSS(s.opts.mss, t.remote.is4()), scale: noScale}
	if s.opts.timestamps && e.tun.Timestamps {
		ck.timestamps = true
		ck.sack = s.opts.sackPermitted && e.tun.SACK
		if e.tun.WindowScaling {
			ck.scale = s.opts.scale
		}
		ck.ecn = e.tun.ECN > 0 && s.flags&(wire.TCPEce|wire.TCPCwr) == wire.TCPEce|wire.TCPCwr && s.tos&3 == 0
	}
	off := e.tsOffset(t)
	iss, tsVal := ck.make(e.key.cookie, t, s.seq, e.now, e.ms+off)
	r := e.synAck(t, opts)
	r.seq, r.ack = iss, s.seq+1
	if ck.timestamps {
		r.timestamps, r.tsVal, r.tsEcr = true, tsVal, s.opts.tsVal
		r.sack = ck.sack
		if ck.scale != noScale {
			r.scale = e.ownScale(opts)
		}
		if ck.ecn {
			r.flags |= wire.TCPEce
		}
	}
	e.cookies++
}

// cookieArrives completes a handshake that was answered with a cookie. It
// reports whether the segment carries one.
func (e *Engine) cookieArrives(l *listener, s *segment, t *tuple) bool {
	if s.flags&wire.TCPRst != 0 || e.cookies == 0 {
		return false
	}
	var ck cookie
	if !ck.check(e.key.cookie, t, s.seq, s.ack, s.opts.timestamps, s.opts.tsEcr, e.now) {
		return false
	}
	if l.full() {
		e.stat.Drop(stat.DropHalfOpenLimit)
		return true
	}
	b := birth{
		tuple: *t, iss: s.ack - 1, irs: s.seq - 1, mss: ck.mss, scale: ck.scale, sack: ck.sack,
		timestamps: ck.timestamps, ecn: ck.ecn, tsRecent: s.opts.tsVal, tos: s.tos,
	}
	k, c := e.bear(l, &b, s)
	if c == nil {
		e.stat.Drop(stat.DropConnectionLimit)
		return true
	}
	if !e.table.insert(e.key.table.hash(t), k|kindConn) {
		e.free(k, c)
		e.stat.Drop(stat.DropConnectionLimit)
		return true
	}
	c.flags |= fTable
	e.stat.Drop(e.admit(k, c, l, s))
	return true
}
