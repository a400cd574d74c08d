// SPDX-License-Identifier: Apache-2.0

package tcp

import "math/bits"

// ports is who uses which port of the engine's addresses. Everything that has a
// local port holds a binding: sockets that were bound, what they accepted,
// connections whose port was picked, TIME-WAIT records of all these.
//
// Bindings of one port and local address are counted in one bucket, by what
// they permit others: that is all the rules ask for (inet_csk_bind_conflict in
// Linux), so a million accepted connections cost one bucket.
type ports struct {
	locals  *locals
	busy    func(*tuple) bool // a connection with that tuple exists
	key     key
	low     uint32   // of the ephemeral range
	span    uint32   // its size
	heads   []uint32 // by port: index of its first bucket
	bound   []uint64 // bit per port that somebody chose, or a listener's
	buckets *slab[bucket]
	groups  [][]uint32 // listeners of a bucket, by its group; 0 unused
	vacant  []uint32   // unused groups
	cursors [cursors]uint16
	crowds  crowds
	draw    uint64 // counts the ports drawn by bindAny
}

// cursors is the number of counters of RFC 6056 algorithm 4.
const cursors = 1024

// binding is the use of a port.
type binding struct {
	port  uint16
	local uint16 // any4 and any6: the wildcards
	dual  bool   // with any6: of IPv4 too
	class uint8  // class…
}

// What a binding permits others.
const (
	classReuseAddr = 1 << iota // SO_REUSEADDR
	classReusePort             // SO_REUSEPORT
	classListen                // a listener: SO_REUSEADDR does not count
	classPicked                // the engine picked the port for an active open
)

// bucket counts the bindings of one port and local address.
type bucket struct {
	slot
	next   uint32    // bucket of the same port
	count  [4]uint32 // by classReuseAddr (not of listeners) and classReusePort
	chosen uint32    // bindings whose port was not picked
	group  uint32    // listeners; 0: none
	port   uint16
	local  uint16 // any4, any6, anyDual or an address
	_      uint32
}

// anyDual is any6 of a socket that takes IPv4 too.
const anyDual = 0xffff

// newPorts makes a registry for at most limit buckets. The ephemeral range is
// low to high. busy is asked whether a connection exists.
func newPorts(m *memory, limit int, l *locals, k key, low, high uint16, busy func(*tuple) bool) (*ports, error) {
	p := &ports{locals: l, busy: busy, key: k, groups: make([][]uint32, 1)}
	p.setRange(low, high)
	var err error
	if p.buckets, err = newSlab[bucket](m, "ports", limit); err != nil {
		return nil, err
	}
	heads, err := m.region("port heads", 65536*4, 4, 0)
	if err != nil {
		return nil, err
	}
	bound, err := m.region("bound ports", 65536/8, 8, 0)
	if err != nil {
		return nil, err
	}
	p.heads, p.bound = sliceOf[uint32](heads), sliceOf[uint64](bound)
	return p, p.crowds.init(m)
}

// setRange sets the range that ports are picked from.
func (p *ports) setRange(low, high uint16) {
	p.low, p.span = uint32(low), uint32(high)-uint32(low)+1
}

// where returns the local address of the bucket that counts b.
func (b *binding) where() uint16 {
	if b.local == any6 && b.dual {
		return anyDual
	}
	return b.local
}

// slotOf returns the index into bucket.count for a class.
func slotOf(class uint8) uint8 {
	if class&classListen != 0 {
		return class & classReusePort
	}
	return class & (classReuseAddr | classReusePort)
}

// overlap reports whether two local addresses have one in common.
func (p *ports) overlap(a, b uint16) bool {
	if a == b || a == anyDual || b == anyDual {
		return true
	}
	if a > any6 && b > any6 {
		return false
	}
	if a > any6 {
		a, b = b, a
	}
	if b <= any6 {
		return false // 0.0.0.0 and ::
	}
	return p.is4(b) == (a == any4)
}

func (p *ports) is4(local uint16) bool { return p.locals.addrs[local].is4() }

// find returns the bucket of a port and local address.
func (p *ports) find(port, local uint16) *bucket {
	for i := p.heads[port]; i != 0; {
		k := p.buckets.at(i)
		if k.local == local {
			return k
		}
		i = k.next
	}
	return nil
}

// conflict reports whether somebody else's use of the port forbids b.
func (p *ports) conflict(b binding) bool {
	at := b.where()
	for i := p.heads[b.port]; i != 0; {
		k := p.buckets.at(i)
		if p.overlap(k.local, at) && k.forbids(b.class) {
			return true
		}
		i = k.next
	}
	return false
}

// forbids reports whether one of the bindings in k and a new one of the given
// class do not both permit the other.
func (k *bucket) forbids(class uint8) bool {
	for other, n := range k.count {
		if n != 0 && uint8(other)&class&(classReuseAddr|classReusePort) == 0 {
			return true
		}
	}
	return false
}

// hold counts b without asking whether it conflicts: what a listener accepts
// holds its port too. It returns false if there is no bucket left.
func (p *ports) hold(b binding) bool {
	k := p.find(b.port, b.where())
	if k == nil {
		var i uint32
		if i, k = p.buckets.alloc(); k == nil {
			return false
		}
		k.port, k.local, k.next = b.port, b.where(), p.heads[b.port]
		p.heads[b.port] = i
	}
	k.count[slotOf(b.class)]++
	if b.class&classPicked == 0 {
		k.chosen++
		p.bound[b.port/64] |= 1 << (b.port % 64)
	}
	return true
}

// drop ends b, which was held with the same class.
func (p *ports) drop(b binding) {
	k := p.find(b.port, b.where())
	if k == nil || k.count[slotOf(b.class)] == 0 {
		panic("tcp: drop of a port that is not held")
	}
	k.count[slotOf(b.class)]--
	if b.class&classPicked == 0 {
		k.chosen--
	}
	if k.chosen == 0 || k.count == [4]uint32{} {
		p.prune(b.port)
	}
}

// prune removes what nobody uses of a port.
func (p *ports) prune(port uint16) {
	chosen := false
	for at := &p.heads[port]; *at != 0; {
		i := *at
		k := p.buckets.at(i)
		if k.count == [4]uint32{} {
			*at = k.next
			p.buckets.free(i)
			continue
		}
		chosen = chosen || k.chosen != 0
		at = &k.next
	}
	if !chosen && p.bound[port/64]&(1<<(port%64)) != 0 {
		p.bound[port/64] &^= 1 << (port % 64)
		p.crowds.forget(port)
	}
}

// bind holds b unless it conflicts: then it returns false (EADDRINUSE).
func (p *ports) bind(b binding) bool { return !p.conflict(b) && p.hold(b) }

// bindAny finds a port that nobody uses at overlapping addresses, whatever they
// permit, and holds it: bind to port 0. It returns false if there is none.
func (p *ports) bindAny(b *binding) bool {
	at := b.where()
	p.draw++
	first := uint32(p.key.prf(p.draw, uint64(at), 1)) % p.span
	for n := range p.span {
		port := uint16(p.low + (first+n)%p.span)
		if !p.held(port, at) {
			b.port = port
			return p.hold(*b)
		}
	}
	return false
}

// held reports whether anybody uses a port at an overlapping address.
func (p *ports) held(port, at uint16) bool {
	for i := p.heads[port]; i != 0; {
		k := p.buckets.at(i)
		if p.overlap(k.local, at) {
			return true
		}
		i = k.next
	}
	return false
}

// reclass changes what a held binding permits: an option was set. b becomes
// what it is now.
func (p *ports) reclass(b *binding, class uint8) {
	old := *b
	b.class = class
	p.hold(*b) // the bucket is there
	p.drop(old)
}

// move gives a held binding another local address: a socket bound to a wildcard
// was connected. It returns false if there is no bucket left.
func (p *ports) move(b *binding, local uint16) bool {
	old := *b
	b.local, b.dual = local, false
	if !p.hold(*b) {
		*b = old
		return false
	}
	p.drop(old)
	return true
}

// listen makes a held binding that of a listener with the given index. It
// returns false if another listener, or a socket that does not permit it, has
// the port (EADDRINUSE).
func (p *ports) listen(b *binding, index uint32) bool {
	was := *b
	p.drop(was)
	now := was
	now.class |= classListen
	if p.conflict(now) {
		p.hold(was)
		return false
	}
	if !p.hold(now) {
		return false
	}
	*b = now
	k := p.find(b.port, b.where())
	if k.group == 0 {
		if n := len(p.vacant); n > 0 {
			k.group, p.vacant = p.vacant[n-1], p.vacant[:n-1]
		} else {
			k.group = uint32(len(p.groups))
			p.groups = append(p.groups, nil)
		}
	}
	p.groups[k.group] = append(p.groups[k.group], index)
	return true
}

// unlisten takes a listener off its binding, which stays held. The last of a
// group takes its place there, as in Linux.
func (p *ports) unlisten(b *binding, index uint32) {
	k := p.find(b.port, b.where())
	if k == nil || k.group == 0 {
		panic("tcp: unlisten of a port nobody listens on")
	}
	g := p.groups[k.group]
	for i, x := range g {
		if x == index {
			g[i] = g[len(g)-1]
			p.groups[k.group] = g[:len(g)-1]
			break
		}
	}
	if len(p.groups[k.group]) == 0 {
		p.vacant = append(p.vacant, k.group)
		k.group = 0
	}
	p.reclass(b, b.class&^classListen)
}

// listener returns the listener that a SYN for the local end of t is for, or 0:
// one of the address itself before one of a wildcard, one of the family before
// one of both. hash chooses within a SO_REUSEPORT group.
func (p *ports) listener(t *tuple, hash uint32) uint32 {
	wild := uint16(any6)
	if p.is4(t.local) {
		wild = any4
	}
	best, rank := uint32(0), 0
	for i := p.heads[t.lport]; i != 0; {
		k := p.buckets.at(i)
		if k.group != 0 {
			r := 0
			switch k.local {
			case t.local:
				r = 3
			case wild:
				r = 2
			case anyDual:
				r = 1
			}
			if r > rank {
				best, rank = k.group, r
			}
		}
		i = k.next
	}
	if best == 0 {
		return 0
	}
	g := p.groups[best]
	n, _ := bits.Mul32(hash, uint32(len(g)))
	return g[n]
}
