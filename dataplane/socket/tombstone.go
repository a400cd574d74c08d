// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"net/netip"
	"syscall"
	"time"

	"netcon/dataplane/stream"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

const (
	maxTombs = 16384
	tombAge  = time.Minute
)

// tomb is what is remembered of a socket that went while a process may still
// hold its end of the pair.
type tomb struct {
	cookie uint64
	when   time.Time
	errno  syscall.Errno // SO_ERROR, until it is read
	family stream.Family
	local  netip.AddrPort
	remote netip.AddrPort
	peer   bool // getpeername still works: shut, not dead
	told   bool // connect has failed
	ended  bool // the peer's FIN was passed on
	opts   []setting
	asked  netip.AddrPort // of a bind request
	bound  bool
}

// graves holds the tombstones; the oldest gives way.
type graves struct {
	ring []tomb
	next int
	at   map[uint64]int
}

func (g *graves) init() { g.at = make(map[uint64]int) }

func (g *graves) add(d tomb) {
	if len(g.ring) < maxTombs {
		g.at[d.cookie] = len(g.ring)
		g.ring = append(g.ring, d)
		return
	}
	delete(g.at, g.ring[g.next].cookie)
	g.ring[g.next] = d
	g.at[d.cookie] = g.next
	g.next = (g.next + 1) % maxTombs
}

func (g *graves) find(cookie uint64) *tomb {
	if i, ok := g.at[cookie]; ok {
		return &g.ring[i]
	}
	return nil
}

// forget removes a tombstone.
func (g *graves) forget(cookie uint64) {
	if i, ok := g.at[cookie]; ok {
		delete(g.at, cookie)
		g.ring[i] = tomb{}
	}
}

// answerGone answers a request about a socket that is not there, from its
// tombstone if it has one.
func (t *Set) answerGone(replyFD int32, r *shm.Request) {
	d := t.tombs.find(r.Cookie)
	if d == nil || t.nowForAge().Sub(d.when) > tombAge {
		t.answerValue(replyFD, shm.NotOurs)
		return
	}
	e := syscall.Errno(unix.EINVAL)
	switch r.Op {
	case shm.OpConnect:
		if r.Flags&(shm.FlagHold|shm.FlagFilled) != 0 {
			e = 0 // decided meanwhile; nobody is told by this
			break
		}
		// As __inet_stream_connect: the error, then it may try again.
		switch e = d.errno; {
		case d.peer:
			e = unix.EISCONN
		case d.told:
			e, t.reply.Value = unix.ECONNABORTED, 1
		case e == 0:
			e = unix.ECONNABORTED
		}
		d.errno, d.told = 0, true
	case shm.OpShutdown:
		if e = unix.ENOTCONN; d.peer {
			e = 0
		}
	case shm.OpTakeError:
		if e = 0; r.Value != 0 || !d.ended {
			t.reply.Value, d.errno = int32(d.errno), 0
		}
	case shm.OpOutq:
		e = 0
	case shm.OpGetsockname:
		local := d.local
		if !local.IsValid() {
			local = unspecified(d.family)
		}
		t.reply.Addr = encodeAddr(local, d.family)
		e = 0
	case shm.OpGetpeername:
		e = unix.ENOTCONN
		if d.peer && d.remote.IsValid() {
			t.reply.Addr = encodeAddr(d.remote, d.family)
			e = 0
		}
	case shm.OpGetsockopt, shm.OpSetsockopt:
		s := sock{set: t, fd: -1, state: stFailed, family: d.family, errno: d.errno}
		if r.Op == shm.OpGetsockopt {
			e = t.opGetsockopt(&s, r)
		} else {
			e = t.opSetsockopt(&s, r)
		}
		d.errno = s.errno
	}
	t.answer(replyFD, e)
}
