// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"errors"
	"maps"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// groups are the multicast groups that say when an answer may have changed.
var groups = []uint{
	unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH, unix.RTNLGRP_NEXTHOP, unix.RTNLGRP_IPV6_IFINFO,
	unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV4_RULE,
	unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV6_RULE,
}

// inbox is what follow has heard since run looked last. It is bounded: what is
// too much to note is noted as a loss, and run reads again what it cares for.
type inbox struct {
	mu         sync.Mutex
	neighbours map[netip.Addr]neighInfo // on our interface; nud is NUD_NONE for a deleted one
	routes     routeChanges
	link       bool // our interface
	otherLink  bool // another interface
	lost       bool
}

// routeChanges says which routes may have changed.
type routeChanges struct {
	all      bool
	prefixes map[netip.Prefix]struct{}
}

// add notes a destination.
func (c *routeChanges) add(p netip.Prefix) {
	switch {
	case c.all:
	case len(c.prefixes) >= maxPrefixes:
		c.addAll()
	default:
		if c.prefixes == nil {
			c.prefixes = make(map[netip.Prefix]struct{})
		}
		c.prefixes[p] = struct{}{}
	}
}

func (c *routeChanges) addAll() { c.all, c.prefixes = true, nil }

func (c *routeChanges) merge(o routeChanges) {
	if o.all {
		c.addAll()
	}
	for p := range o.prefixes {
		c.add(p)
	}
}

func (c *routeChanges) empty() bool { return !c.all && len(c.prefixes) == 0 }

// matcher returns a function that reports whether the route to an address may
// have changed. Its cost depends on how many prefix lengths there are, not on
// how many prefixes.
func (c *routeChanges) matcher() func(netip.Addr) bool {
	if c.all {
		return func(netip.Addr) bool { return true }
	}
	var has [2][129]bool
	for p := range c.prefixes {
		has[b2i(p.Addr().Is4())][p.Bits()] = true
	}
	var lengths [2][]int
	for i := range has {
		for bits, ok := range has[i] {
			if ok {
				lengths[i] = append(lengths[i], bits)
			}
		}
	}
	prefixes := maps.Clone(c.prefixes)
	return func(ip netip.Addr) bool {
		ip = ip.WithZone("")
		for _, bits := range lengths[b2i(ip.Is4())] {
			p, err := ip.Prefix(bits)
			if _, ok := prefixes[p]; ok && err == nil {
				return true
			}
		}
		return false
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// follow hears what the kernel says, until the feed is closed.
func (t *Table) follow() {
	defer t.ended.Done()
	for {
		b, err := t.feed.receive()
		select {
		case <-t.done:
			return
		default:
		}
		switch {
		case errors.Is(err, errLost):
			t.inbox.lose()
		case err != nil:
			// Such as ENOMEM: what was missed is read again.
			t.log.Error("follow routes and neighbours", "err", err)
			t.inbox.lose()
			select {
			case <-t.done:
				return
			case <-time.After(retryAfter):
			}
		default:
			if !t.inbox.hear(b, t.index) {
				continue
			}
		}
		t.ring()
	}
}

func (in *inbox) lose() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.lost = true
}

// hear notes the messages in b that matter to the interface index, and reports
// whether there were any.
func (in *inbox) hear(b []byte, index int) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	heard := false
	for m := range messages(b) {
		switch m.kind {
		case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
			n, ok := parseNeigh(m.body)
			if !ok || n.index != index {
				continue
			}
			if m.kind == unix.RTM_DELNEIGH {
				n = neighInfo{index: n.index, ip: n.ip}
			}
			if len(in.neighbours) >= maxNeighbours {
				in.lost = true
			} else {
				if in.neighbours == nil {
					in.neighbours = make(map[netip.Addr]neighInfo)
				}
				in.neighbours[n.ip] = n
			}
		case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
			if r, err := parseRoute(m.body); err == nil {
				in.routes.add(r.dst)
			} else {
				in.routes.addAll()
			}
		case unix.RTM_NEWLINK, unix.RTM_DELLINK:
			l, err := parseLink(m.body)
			if err == nil && l.index != index {
				in.otherLink = true
			} else {
				in.link = true
			}
		case unix.RTM_NEWADDR, unix.RTM_DELADDR, unix.RTM_NEWRULE, unix.RTM_DELRULE,
			unix.RTM_NEWNEXTHOP, unix.RTM_DELNEXTHOP:
			in.routes.addAll()
		default:
			continue
		}
		heard = true
	}
	return heard
}

// heard is the content of an inbox.
type heard struct {
	neighbours            map[netip.Addr]neighInfo
	routes                routeChanges
	link, otherLink, lost bool
}

// take empties the inbox.
func (in *inbox) take() heard {
	in.mu.Lock()
	defer in.mu.Unlock()
	h := heard{in.neighbours, in.routes, in.link, in.otherLink, in.lost}
	in.neighbours, in.routes, in.link, in.otherLink, in.lost = nil, routeChanges{}, false, false, false
	return h
}
