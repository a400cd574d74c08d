// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"net/netip"
	"time"

	"netcon/dataplane/stream"
)

// Bounds of the flows of a Set. A flow that is idle ends no sooner than RFC 4787
// section 4.3 lets it.
const (
	maxFlows = 16384
	flowIdle = 2 * time.Minute
)

// flowKey is who sent a datagram to a published port, and the container's port it
// went to.
type flowKey struct {
	remote netip.AddrPort // not in IPv6 form if it is of IPv4
	port   uint16
}

// flow is by which way an answer goes back.
type flow struct {
	key   flowKey
	via   Publication
	at    stream.HostPlace
	heard time.Time // or answered

	older, newer int32 // by heard; -1: none
}

// flows is the flows of a Set, the oldest first: bounded, and of the ones that were
// not used for longest as many as there is room for.
type flows struct {
	index          map[flowKey]int32
	slots          []flow
	free           []int32
	oldest, newest int32
}

func (f *flows) init() { f.index, f.oldest, f.newest = map[flowKey]int32{}, -1, -1 }

func (f *flows) unlink(i int32) {
	s := &f.slots[i]
	if s.older >= 0 {
		f.slots[s.older].newer = s.newer
	} else {
		f.oldest = s.newer
	}
	if s.newer >= 0 {
		f.slots[s.newer].older = s.older
	} else {
		f.newest = s.older
	}
}

func (f *flows) append(i int32) {
	f.slots[i].older, f.slots[i].newer = f.newest, -1
	if f.newest >= 0 {
		f.slots[f.newest].newer = i
	} else {
		f.oldest = i
	}
	f.newest = i
}

func (f *flows) end(i int32) {
	f.unlink(i)
	delete(f.index, f.slots[i].key)
	f.slots[i] = flow{}
	f.free = append(f.free, i)
}

// hear notes that a datagram came, and reports whether a flow that was not idle
// had to end for it.
func (f *flows) hear(key flowKey, via Publication, at stream.HostPlace, now time.Time) (evicted bool) {
	i, ok := f.index[key]
	if ok {
		f.unlink(i)
	} else {
		for f.oldest >= 0 && now.Sub(f.slots[f.oldest].heard) >= flowIdle {
			f.end(f.oldest)
		}
		if len(f.index) == maxFlows {
			evicted = true
			f.end(f.oldest)
		}
		if len(f.free) == 0 {
			f.free = append(f.free, int32(len(f.slots)))
			f.slots = append(f.slots, flow{})
		}
		i = f.free[len(f.free)-1]
		f.free = f.free[:len(f.free)-1]
		f.index[key] = i
	}
	s := &f.slots[i]
	s.key, s.via, s.at, s.heard = key, via, at, now
	f.append(i)
	return evicted
}

// find returns a flow that is not idle.
func (f *flows) find(key flowKey, now time.Time) *flow {
	i, ok := f.index[key]
	if !ok || now.Sub(f.slots[i].heard) >= flowIdle {
		return nil
	}
	return &f.slots[i]
}

// answered notes that a flow is in use.
func (f *flows) answered(s *flow, now time.Time) {
	i := f.index[s.key]
	f.unlink(i)
	s.heard = now
	f.append(i)
}

// drop ends a flow, if there is one.
func (f *flows) drop(key flowKey) {
	if i, ok := f.index[key]; ok {
		f.end(i)
	}
}

// dropVia ends the flows of a published port.
func (f *flows) dropVia(via Publication) {
	for _, i := range f.index {
		if f.slots[i].via == via {
			f.end(i)
		}
	}
}
