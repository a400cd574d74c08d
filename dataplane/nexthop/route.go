// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// way returns the neighbour that the route to a VTEP leads to, and the MTU of
// the route (0: the interface's), or why there is none.
func (t *Table) way(vtep netip.Addr) (via netip.Addr, mtu int, err error) {
	if !t.zoneOK(vtep) {
		return via, 0, fmt.Errorf("zone %s is not %s", vtep.Zone(), t.link.name)
	}
	// The question does not name our interface: the kernel would answer with
	// a neighbour there even if no route leads to it.
	q := query{dst: vtep.WithZone(""), src: t.local, dport: t.port, oif: t.vrf}
	if q.dst.Is6() && q.dst.IsLinkLocalUnicast() {
		q.oif = t.index // every interface has a route to these
	}
	r, err := t.kernel.route(q)
	if err == nil && r.kind == unix.RTN_UNICAST && r.oif != t.index {
		r = t.otherLeg(q, r)
	}
	switch {
	case err != nil:
		return via, 0, t.explain(q, err)
	case r.kind != unix.RTN_UNICAST:
		return via, 0, errors.New(kindText(r.kind))
	case r.oif != t.index:
		return via, 0, fmt.Errorf("the route leaves by %s, not by %s", t.linkName(r.oif), t.link.name)
	case r.encap:
		return via, 0, errors.New("the route has an encapsulation of its own")
	case r.via.IsValid():
		return r.via, r.mtu, nil
	}
	return q.dst, r.mtu, nil
}

// otherLeg answers for a multipath route of which the kernel picked a leg that
// is not ours: with the one that is. Without one the answer r holds.
func (t *Table) otherLeg(q query, r routeInfo) routeInfo {
	q.match = true
	m, err := t.kernel.route(q)
	if err != nil {
		return r
	}
	i := slices.IndexFunc(m.legs, func(l leg) bool { return l.oif == t.index && !l.dead })
	if i < 0 {
		return r
	}
	l := m.legs[i]
	r = routeInfo{kind: unix.RTN_UNICAST, oif: l.oif, via: l.via, mtu: m.mtu, encap: l.encap}
	// That was the route of the table. The path MTU that the kernel learned
	// comes with an answer for the destination; that of IPv6 heeds the
	// interface only without a source.
	q.match, q.oif = false, t.index
	if q.dst.Is6() {
		q.src = netip.Addr{}
	}
	if exact, err := t.kernel.route(q); err == nil && exact.oif == r.oif && exact.via == r.via {
		r.mtu = exact.mtu
	}
	return r
}

// explain says why the kernel denied a route.
func (t *Table) explain(q query, err error) error {
	switch {
	case errors.Is(err, unix.EHOSTUNREACH):
		return errors.New(kindText(unix.RTN_UNREACHABLE))
	case errors.Is(err, unix.EACCES):
		return errors.New(kindText(unix.RTN_PROHIBIT))
	case !errors.Is(err, unix.ENETUNREACH) && !errors.Is(err, unix.EINVAL):
		return fmt.Errorf("ask for the route: %w", err)
	}
	// IPv4 gives these for a source address that is not the host's, too.
	own, e := t.kernel.route(query{dst: q.src, oif: q.oif})
	switch {
	case q.src.Is4() && (e != nil || own.kind != unix.RTN_LOCAL):
		return fmt.Errorf("%s is not an address of this host", q.src)
	case errors.Is(err, unix.EINVAL):
		return errors.New(kindText(unix.RTN_BLACKHOLE))
	}
	return errors.New("no route")
}

// kindText describes a route that leads to no neighbour.
func kindText(kind uint8) string {
	switch kind {
	case unix.RTN_LOCAL:
		return "an address of this host"
	case unix.RTN_BROADCAST:
		return "a broadcast address"
	case unix.RTN_ANYCAST:
		return "an anycast address of this host"
	case unix.RTN_MULTICAST:
		return "a multicast address"
	case unix.RTN_BLACKHOLE:
		return "a blackhole route"
	case unix.RTN_UNREACHABLE:
		return "an unreachable route"
	case unix.RTN_PROHIBIT:
		return "a prohibit route"
	}
	return fmt.Sprintf("a route of type %d", kind)
}

// linkName returns the name of an interface.
func (t *Table) linkName(index int) string {
	if l, err := t.kernel.link(index); err == nil && l.name != "" {
		return l.name
	}
	return "interface " + strconv.Itoa(index)
}
