// SPDX-License-Identifier: Apache-2.0

package datagram

import (
	crand "crypto/rand"
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"syscall"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
)

// Config says whose sockets these are.
type Config struct {
	MTU                int // of the network: the largest IP packet in bytes
	Addrs              []netip.Prefix
	Gateway4, Gateway6 netip.Addr
	Stat               *stat.Block // written on the worker's thread

	// Now tells the time, which starts anywhere and never goes back.
	Now func() time.Duration
	// Room reports whether n more bytes of buffers may be held; nil: always.
	Room func(n int) bool
}

// Stack is the datagram sockets of one container shard.
type Stack struct {
	cfg  Config
	stat *stat.Block
	addresses
	pool pool

	slots []slot
	free  []uint32 // indices into slots
	open  int

	udp  table
	ping table
	raw  []*socket

	members map[netip.Addr]int // sockets that joined each group
	paths   map[netip.Addr]pathMTU

	ready   readyList
	blocked []*socket // Send said EAGAIN

	tx      ring // of txRecord
	ipID    uint32
	seed    maphash.Seed
	rng     *rand.ChaCha8
	limiter limiter
}

// slot holds a socket; gen tells a stale handle from its successor.
type slot struct {
	k   *socket
	gen uint32
}

// handleBit marks the handles of datagram sockets. Generations have 31 bits.
const handleBit = stream.Handle(1) << 63

// IsHandle reports whether h names a datagram socket of some Stack.
func IsHandle(h stream.Handle) bool { return h&handleBit != 0 }

// New returns a stack without sockets. The configuration is one that an engine
// accepted.
func New(cfg Config) *Stack {
	var seed [32]byte
	_, _ = crand.Read(seed[:])
	s := &Stack{
		cfg: cfg, stat: cfg.Stat,
		addresses: newAddresses(cfg.Addrs, cfg.Gateway4, cfg.Gateway6),
		udp:       newTable(), ping: newTable(),
		members: make(map[netip.Addr]int), paths: make(map[netip.Addr]pathMTU),
		seed: maphash.MakeSeed(), rng: rand.NewChaCha8(seed),
	}
	s.ipID = uint32(s.rng.Uint64())
	return s
}

// Held returns the bytes of buffers that hold datagrams.
func (s *Stack) Held() int { return s.pool.out }

// Sockets returns the number of sockets.
func (s *Stack) Sockets() int { return s.open }

// get returns the socket a handle names, nil for a stale handle.
func (s *Stack) get(h stream.Handle) *socket {
	i := uint32(h)
	if h&handleBit == 0 || int(i) >= len(s.slots) {
		return nil
	}
	if sl := &s.slots[i]; sl.gen == uint32(h&^handleBit>>32) {
		return sl.k
	}
	return nil
}

// Open implements OpenDatagram of stream.Datagrams, without a limit.
func (s *Stack) Open(family stream.Family, proto stream.Protocol, user uint64) (stream.Handle, syscall.Errno) {
	if family != stream.IPv4 && family != stream.IPv6 {
		return 0, syscall.EAFNOSUPPORT
	}
	if proto < stream.UDP || proto > stream.Raw {
		return 0, syscall.EPROTONOSUPPORT
	}
	var i uint32
	if n := len(s.free); n > 0 {
		i = s.free[n-1]
		s.free = s.free[:n-1]
	} else {
		i = uint32(len(s.slots))
		s.slots = append(s.slots, slot{gen: 1})
	}
	k := &socket{st: s, user: user, family: family, proto: proto, armed: true}
	k.handle = handleBit | stream.Handle(s.slots[i].gen)<<32 | stream.Handle(i)
	k.init()
	s.slots[i].k = k
	s.open++
	if proto == stream.Raw {
		s.raw = append(s.raw, k)
		if k.port = wire.ProtoICMP; family == stream.IPv6 { // what Linux shows
			k.port = wire.ProtoICMPv6
		}
	}
	return k.handle, 0
}

// Close implements Close and Abort of stream.Engine.
func (s *Stack) Close(h stream.Handle) {
	k := s.get(h)
	if k == nil {
		return
	}
	s.unbind(k)
	if k.proto == stream.Raw {
		s.raw = without(s.raw, k)
	}
	for _, g := range k.groups {
		s.leave(g)
	}
	k.queue.reset(&s.pool)
	k.handle = 0 // the ready list skips it
	if k.blocked {
		s.blocked = without(s.blocked, k)
	}
	sl := &s.slots[uint32(h)]
	sl.k = nil
	if sl.gen = (sl.gen + 1) &^ (1 << 31); sl.gen == 0 {
		sl.gen = 1
	}
	s.free = append(s.free, uint32(h))
	s.open--
}

// without removes k from a list and keeps its order.
func without(list []*socket, k *socket) []*socket {
	for i, o := range list {
		if o == k {
			copy(list[i:], list[i+1:])
			list[len(list)-1] = nil
			return list[:len(list)-1]
		}
	}
	return list
}

// Busy reports whether Transmit or Poll has something to do.
func (s *Stack) Busy() bool { return s.ready.head != nil || s.tx.n > 0 }

// Reports reports whether Poll has something to do.
func (s *Stack) Reports() bool { return s.ready.head != nil }

// Poll reports what happened to sockets, at most budget of them, and returns
// what is left of the budget.
func (s *Stack) Poll(ev stream.Events, budget int) int {
	for ; budget > 0; budget-- {
		k := s.ready.pop()
		if k == nil {
			break
		}
		h := k.handle
		if h == 0 {
			continue
		}
		writable := k.writable
		k.writable = false
		if k.queue.n > 0 {
			ev.Readable(k.user)
		}
		if writable && k.handle == h {
			ev.Writable(k.user)
		}
	}
	return budget
}

// readyList holds each socket that has something to report once.
type readyList struct{ head, tail *socket }

func (l *readyList) push(k *socket) {
	if k.queued {
		return
	}
	k.queued, k.next = true, nil
	if l.head == nil {
		l.head = k
	} else {
		l.tail.next = k
	}
	l.tail = k
}

func (l *readyList) pop() *socket {
	k := l.head
	if k != nil {
		l.head, k.next, k.queued = k.next, nil, false
	}
	return k
}
