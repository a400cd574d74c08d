// SPDX-License-Identifier: Apache-2.0

package neigh

import (
	"encoding/binary"
	"net/netip"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// Verdict is what Lookup says about a destination.
type Verdict uint8

// The verdicts.
const (
	// Found: send to the MAC.
	Found Verdict = iota
	// Pending: the next hop is being resolved; put the packet into Hold.
	Pending
	// NoRoute: outside every subnet, and no gateway of that family. Not
	// counted.
	NoRoute
	// Unreachable: the next hop failed lately, or the table has no room to
	// resolve it. Counted, as DropNeighFailed or DropNeighTableFull; the
	// caller drops the packet and reports it to the stack.
	Unreachable
)

// cacheSlots is the size of the direct-mapped cache before the map. Power of
// two.
const (
	cacheBits  = 6
	cacheSlots = 1 << cacheBits
)

// slot remembers the next hop's entry of one destination. It counts while the
// entry has the same generation.
type slot struct {
	dst netip.Addr
	e   *entry
	gen uint32
}

func slotOf(a netip.Addr) uint64 {
	b := a.As16()
	return binary.BigEndian.Uint64(b[8:]) * 0x9e3779b97f4a7c15 >> (64 - cacheBits)
}

// cached returns the entry of dst's next hop if the cache knows it.
func (t *Table) cached(dst netip.Addr) *entry {
	s := &t.cache[slotOf(dst)]
	if s.e == nil || s.dst != dst || s.gen != s.e.gen {
		return nil
	}
	return s.e
}

// remember puts the entry of dst's next hop into the cache.
func (t *Table) remember(dst netip.Addr, e *entry) {
	t.cache[slotOf(dst)] = slot{dst: dst, e: e, gen: e.gen}
}

// Lookup says where a packet to dst goes. Group and broadcast addresses, static
// neighbours and our own addresses are Found at once; an unknown next hop gets
// an entry and is asked for right here. Looking up a STALE neighbour starts its
// probing (RFC 4861 section 7.3.3).
func (t *Table) Lookup(dst netip.Addr, now time.Duration) (wire.MAC, Verdict) {
	e := t.cached(dst)
	if e == nil {
		var mac wire.MAC
		var v Verdict
		if e, mac, v = t.route(dst, now); e == nil {
			return mac, v
		}
	} else if t.static != nil {
		if mac, ok := t.static(e.ip); ok {
			return mac, Found
		}
	}
	// A listed entry's used is its place in the list: it changes only on the
	// way out.
	switch e.state {
	case reachable, delay, probe:
		e.used = now
		return e.mac, Found
	case stale:
		t.enter(e, delay, now)
		e.used = now
		return e.mac, Found
	case failed:
		if now-e.updated < retryInterval {
			t.stat.Drop(stat.DropNeighFailed)
			return wire.MAC{}, Unreachable
		}
		e.tries = maxSolicits - 1
		t.enter(e, incomplete, now)
		t.solicit(e, now)
	}
	e.used = now
	t.pending, t.pendingGen = e, e.gen
	return wire.MAC{}, Pending
}

// route is Lookup behind the cache: the entry of dst's next hop, or nil and
// what there is to say without one.
func (t *Table) route(dst netip.Addr, now time.Duration) (*entry, wire.MAC, Verdict) {
	if !dst.IsValid() || dst.Is4In6() || dst.IsUnspecified() || dst.IsLoopback() ||
		dst.Is4() && !t.has4 || dst.Is6() && !t.has6 {
		return nil, wire.MAC{}, NoRoute
	}
	if dst.IsMulticast() {
		return nil, wire.MulticastMAC(dst), Found
	}
	if dst.Is4() && t.isBroadcast(dst) {
		return nil, wire.Broadcast, Found
	}
	if t.own(dst) != nil {
		return nil, t.mac, Found
	}
	hop, ok := t.nextHop(dst)
	if !ok {
		return nil, wire.MAC{}, NoRoute
	}
	if mac, ok := t.staticMAC(hop); ok {
		return nil, mac, Found
	}
	e := t.entries[hop]
	if e == nil {
		if e = t.create(hop, now); e == nil {
			t.stat.Drop(stat.DropNeighTableFull)
			return nil, wire.MAC{}, Unreachable
		}
		t.enter(e, incomplete, now)
		t.solicit(e, now)
	}
	t.remember(dst, e)
	return e, wire.MAC{}, Pending
}

// nextHop returns dst if it is on-link, else the gateway of its family.
func (t *Table) nextHop(dst netip.Addr) (netip.Addr, bool) {
	dst = dst.WithZone("")
	if t.onLink(dst) {
		return dst, true
	}
	if dst.Is4() {
		return t.gw4, t.gw4.IsValid()
	}
	return t.gw6, t.gw6.IsValid()
}

// Confirm says that a packet which is plausible forward progress arrived from
// src: the next hop to src, if it is known and resolved, is REACHABLE (RFC 4861
// section 7.3.1).
func (t *Table) Confirm(src netip.Addr, now time.Duration) {
	e := t.cached(src)
	if e == nil {
		if len(t.entries) == 0 {
			return
		}
		hop, ok := t.nextHop(src)
		if !ok {
			return
		}
		if e = t.entries[hop]; e == nil {
			return
		}
		t.remember(src, e)
	}
	switch e.state {
	case reachable:
		e.updated = now
	case stale, delay, probe:
		t.enter(e, reachable, now)
	}
}
