// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"math/bits"
	"time"
)

// pick chooses t.lport for an active open and holds it: the binding is {t.lport,
// t.local, classPicked}. It returns false if every port of the range is in use
// towards that destination, or bound (EADDRNOTAVAIL).
//
// It is the double-hash algorithm of RFC 6056 section 3.3.4: every destination
// has its own sequence of ports, at an offset nobody else knows. Where the next
// ports are busy, a map of those known to be (crowd) is made for the
// destination, so that each is looked at once, not once for every open.
func (p *ports) pick(t *tuple, now time.Duration) bool {
	t.lport = 0
	f := p.key.hash13(t.remote.hi, t.remote.lo, t.word())
	offset := uint32(f) % p.span
	cursor := &p.cursors[f>>40%cursors]
	c := p.crowds.find(f)
	if c == nil {
		for range sparse {
			at := (offset + uint32(*cursor)) % p.span
			*cursor++
			t.lport = uint16(p.low + at)
			if p.free(t) {
				return p.holdPicked(t)
			}
		}
		c = p.crowds.make(f)
	}
	port := p.low + (offset+uint32(*cursor))%p.span
	for {
		var ok bool
		if port, ok = c.clear(port, p.low, p.span); !ok {
			break
		}
		c.set(port)
		if t.lport = uint16(port); p.free(t) {
			*cursor = uint16(port - p.low + p.span - offset%p.span + 1)
			return p.holdPicked(t)
		}
	}
	// What was busy when it was looked at may be reusable by now, without
	// that somebody said so (RFC 6191): look again, but not all the time.
	if now-c.full >= time.Second {
		*c = crowd{full: now}
	}
	t.lport = 0
	return false
}

// sparse is how many busy ports in a row make a crowd.
const sparse = 8

// free reports whether the local end of t may be used for a connection to its
// remote end.
func (p *ports) free(t *tuple) bool {
	if p.bound[t.lport/64]&(1<<(t.lport%64)) != 0 {
		for i := p.heads[t.lport]; i != 0; {
			k := p.buckets.at(i)
			if k.chosen != 0 && p.overlap(k.local, t.local) {
				return false
			}
			i = k.next
		}
	}
	return !p.busy(t)
}

func (p *ports) holdPicked(t *tuple) bool {
	return p.hold(binding{port: t.lport, local: t.local, class: classPicked})
}

// freed is told of every tuple that no connection has any more.
func (p *ports) freed(t *tuple) {
	if p.crowds.used == 0 || uint32(t.lport)-p.low >= p.span {
		return
	}
	u := *t
	u.lport = 0
	if c := p.crowds.find(p.key.hash13(u.remote.hi, u.remote.lo, u.word())); c != nil {
		c.bits[t.lport/64] &^= 1 << (t.lport % 64)
	}
}

// crowd is a destination that many ports are in use towards, with those that
// are known to be. A bit that is not set says nothing.
type crowd struct {
	full time.Duration // when the map was found full last
	bits [65536 / 64]uint64
}

// crowds are the destinations for which there is a map, by hash. One more takes
// the place of another: that only makes it slow.
type crowds struct {
	hash [crowdMost]uint64
	maps []crowd
	used int
}

// crowdMost is how many maps of crowdBytes there may be.
const (
	crowdMost  = 64
	crowdBytes = 8 + 65536/8
)

func (c *crowds) init(m *memory) error {
	b, err := m.region("port crowds", crowdMost*crowdBytes, crowdBytes, 0)
	c.maps = sliceOf[crowd](b)
	return err
}

// forget says that a port is no longer bound: it may be free anywhere.
func (c *crowds) forget(port uint16) {
	if c.used == 0 {
		return
	}
	for i := range c.maps {
		if c.hash[i] != 0 {
			c.maps[i].bits[port/64] &^= 1 << (port % 64)
		}
	}
}

func (c *crowds) find(hash uint64) *crowd {
	if i := hash % crowdMost; c.hash[i] == hash {
		return &c.maps[i]
	}
	return nil
}

func (c *crowds) make(hash uint64) *crowd {
	i := hash % crowdMost
	if c.hash[i] == 0 {
		c.used++
	} else {
		c.maps[i] = crowd{}
	}
	c.hash[i] = hash
	return &c.maps[i]
}

func (c *crowd) set(port uint32) { c.bits[port/64] |= 1 << (port % 64) }

// clear returns the first port from at on, within the span ports from low on
// and around, whose bit is not set.
func (c *crowd) clear(at, low, span uint32) (uint32, bool) {
	if n, ok := c.clearIn(at, low+span); ok {
		return n, true
	}
	return c.clearIn(low, at)
}

// clearIn returns the first port from at to before end whose bit is not set.
func (c *crowd) clearIn(at, end uint32) (uint32, bool) {
	for at < end {
		w := ^c.bits[at/64] &^ (1<<(at%64) - 1)
		if w != 0 {
			at = at&^63 + uint32(bits.TrailingZeros64(w))
			return at, at < end
		}
		at = at&^63 + 64
	}
	return 0, false
}
