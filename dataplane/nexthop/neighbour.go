// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"errors"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"netcon/dataplane/wire"
)

// claim says what we did to the kernel's entry, and so what has to be undone.
type claim uint8

const (
	none   claim = iota // it is somebody else's
	made                // we made it, or an earlier daemon did
	raised              // it was there, and we had the kernel keep it resolved
)

// neighbour is a next hop on our interface, as the kernel knows it.
type neighbour struct {
	ip     netip.Addr
	refs   int // VTEPs behind it
	claim  claim
	mac    wire.MAC
	nud    uint16 // NUD_
	kept   bool   // the kernel keeps it resolved
	failed bool   // did not answer, and has not since
	trying bool   // there is an entry that is not usable
	waits  bool   // for its turn to be tried
	err    string // why there is no entry; "" if there is or can be
	wanted bool   // used lately; set and cleared by sweep
	tried  time.Time
}

const (
	nudUsable = netlink.NUD_REACHABLE | netlink.NUD_STALE | netlink.NUD_DELAY | netlink.NUD_PROBE |
		netlink.NUD_PERMANENT | netlink.NUD_NOARP
	nudFixed = netlink.NUD_PERMANENT | netlink.NUD_NOARP
)

// usable reports whether frames can be sent to the neighbour.
func (nb *neighbour) usable() bool { return nb.nud&nudUsable != 0 && !nb.mac.IsZero() }

// neighbour returns the neighbour ip, which is followed from now on.
func (t *Table) neighbour(ip netip.Addr, now time.Time) *neighbour {
	nb := t.neighbours[ip]
	if nb == nil {
		nb = &neighbour{ip: ip}
		t.neighbours[ip] = nb
		t.ensure(nb, now)
	}
	return nb
}

// setNeighbour makes nb the next hop of v. A neighbour that nobody needs any
// more is let go.
func (t *Table) setNeighbour(v *vtep, nb *neighbour) {
	old := v.nb
	if old == nb {
		return
	}
	if nb != nil {
		nb.refs++
	}
	v.nb = nb
	if old == nil {
		return
	}
	if old.refs--; old.refs == 0 {
		delete(t.neighbours, old.ip)
		t.setTrying(old, false)
		_ = t.release(old) // logged
	}
}

// setTrying notes whether the kernel holds an entry for nb in vain.
func (t *Table) setTrying(nb *neighbour, trying bool) {
	if trying != nb.trying {
		nb.trying = trying
		t.trying += 2*b2i(trying) - 1
	}
}

// take notes what the kernel says of a neighbour.
func (t *Table) take(nb *neighbour, n neighInfo) {
	nb.mac, nb.nud, nb.kept = n.mac, n.nud, n.managed
	t.setTrying(nb, n.nud != netlink.NUD_NONE && !nb.usable())
	if nb.usable() {
		nb.failed, nb.waits, nb.err = false, false, ""
	} else if n.nud&netlink.NUD_FAILED != 0 {
		nb.failed = true
	}
	if n.nud&nudFixed != 0 {
		nb.claim = none // somebody has decided
		if n.mac.IsZero() {
			nb.err = "the neighbour entry has no Ethernet address"
		}
	}
	t.touched = true
}

// attendNeighbour takes in a message about a neighbour.
func (t *Table) attendNeighbour(nb *neighbour, n neighInfo, now time.Time) {
	t.take(nb, n)
	if t.lost(nb) {
		t.remake(nb, now)
	}
}

// lost reports whether an entry has gone that was good for something.
func (t *Table) lost(nb *neighbour) bool {
	return t.lacking(nb) && !nb.failed && !nb.waits && nb.err == ""
}

// remake has an entry that was lost made again; not at once if it was made a
// moment ago: two programs may be fighting over it.
func (t *Table) remake(nb *neighbour, now time.Time) {
	if next := nb.tried.Add(retryAfter); !now.Before(next) {
		t.ensure(nb, now)
	} else {
		t.tendAt(next)
	}
}

// tendAt has tendNeighbours called at that time, or earlier.
func (t *Table) tendAt(at time.Time) {
	if t.timers.tend.IsZero() || at.Before(t.timers.tend) {
		t.timers.tend = at
	}
}

// lacking reports whether the kernel has no entry, or one that it does not keep
// resolved though it could.
func (t *Table) lacking(nb *neighbour) bool {
	return nb.nud&nudFixed == 0 && (nb.nud == netlink.NUD_NONE || t.managed && !nb.kept)
}

// ensure has the kernel resolve the neighbour, and reads what it knows.
func (t *Table) ensure(nb *neighbour, now time.Time) {
	if !t.link.up() {
		return // all are made when it comes up
	}
	nb.tried, nb.waits, nb.err, t.touched = now, false, "", true
	n, err := t.kernel.neigh(t.index, nb.ip)
	switch {
	case err != nil:
	case n.ip.IsValid():
		n, err = t.adopt(nb, n)
	case t.trying >= maxTrying:
		nb.waits = true
		t.tendAt(now.Add(turnEvery))
	default:
		n, err = t.create(nb)
	}
	if err != nil {
		nb.err = neighText(err)
		return
	}
	t.take(nb, n)
}

// create makes an entry, and returns what the kernel made of it.
func (t *Table) create(nb *neighbour) (neighInfo, error) {
	created := t.kernel.create(t.index, nb.ip, t.managed)
	if created != nil && !errors.Is(created, unix.EEXIST) {
		return neighInfo{}, created
	}
	n, err := t.kernel.neigh(t.index, nb.ip)
	switch {
	case err != nil:
		return n, err
	case created != nil:
		return t.adopt(nb, n)
	}
	nb.claim = made
	if t.managed && !n.managed && n.protocol == protocol {
		t.managed = false
		t.log.Info("the kernel does not keep neighbours resolved (before Linux 5.16): asking it to, time and again")
	}
	return n, nil
}

// adopt decides what to do with an entry n that is already there, and returns
// what has become of it.
func (t *Table) adopt(nb *neighbour, n neighInfo) (neighInfo, error) {
	idle := n.nud&^netlink.NUD_FAILED == 0
	switch {
	case n.nud&nudFixed != 0:
		nb.claim = none
		return n, nil
	case n.managed && n.protocol == protocol:
		nb.claim = made
	case n.managed:
		// Somebody else keeps it, unless we did before.
	case n.protocol == protocol:
		nb.claim, idle = made, true
	default:
		nb.claim, idle = raised, true
	}
	if !idle {
		return n, nil
	}
	// Should the entry become permanent right now, this makes an ordinary one
	// of it again: the kernel has no question and demand in one.
	if err := t.kernel.use(t.index, nb.ip, t.managed); err != nil && !errors.Is(err, unix.ENOENT) {
		return n, err
	}
	// If it has gone meanwhile, there is a message about that.
	return t.kernel.neigh(t.index, nb.ip)
}

// neighText says why there is no neighbour entry.
func neighText(err error) string {
	switch {
	case errors.Is(err, unix.ENOBUFS):
		return "the kernel's neighbour table is full (raise net.ipv4.neigh.default.gc_thresh3 or that of ipv6)"
	case errors.Is(err, unix.EPERM):
		return "no permission to make a neighbour entry (need CAP_NET_ADMIN)"
	}
	return "make neighbour entry: " + err.Error()
}

// release undoes what was done to the kernel's entry, if it still is what we
// left.
func (t *Table) release(nb *neighbour) error {
	claim := nb.claim
	nb.claim = none
	if claim == none {
		return nil
	}
	n, err := t.kernel.neigh(t.index, nb.ip)
	switch {
	case err != nil, n.nud&nudFixed != 0, t.managed && !n.managed:
	case claim == made && n.protocol == protocol:
		err = t.kernel.remove(t.index, nb.ip)
	case claim == raised && t.managed:
		err = t.kernel.use(t.index, nb.ip, false)
	}
	if err == nil || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) {
		return nil // the entry may go, and the interface with it
	}
	t.log.Warn("give neighbour entry back", "neighbour", nb.ip, "interface", t.link.name, "err", err)
	return err
}

// releaseAll undoes everything, unless the kernel refuses.
func (t *Table) releaseAll() {
	for _, nb := range t.neighbours {
		if t.release(nb) != nil {
			return
		}
	}
}

// rereadNeighbours reads all neighbours again.
func (t *Table) rereadNeighbours(now time.Time) {
	for _, nb := range t.neighbours {
		nb.failed = false
		t.ensure(nb, now)
	}
}

// tendNeighbours makes again what was lost, and tries those whose turn it is.
// At a sweep it also retries what is wanted and does not work, and what the
// kernel does not keep resolved itself.
func (t *Table) tendNeighbours(now time.Time, sweep bool) {
	const busy = netlink.NUD_REACHABLE | netlink.NUD_INCOMPLETE | netlink.NUD_DELAY | netlink.NUD_PROBE
	waiting := false
	for _, nb := range t.neighbours {
		wanted := sweep && nb.wanted
		if sweep {
			nb.wanted = false
		}
		switch {
		case nb.waits && t.trying < maxTrying, wanted && nb.err != "", wanted && t.lacking(nb):
			t.ensure(nb, now)
		case t.lost(nb):
			t.remake(nb, now)
		case wanted && !t.managed && nb.nud&(nudFixed|busy) == 0:
			// If it has gone meanwhile, there is a message about that.
			_ = t.kernel.use(t.index, nb.ip, false)
		}
		waiting = waiting || nb.waits
	}
	if waiting && t.link.up() {
		t.makeRoom()
		t.tendAt(now.Add(turnEvery))
	}
}

// makeRoom gives up entries of ours that do not answer, for the sake of
// neighbours that wait. If they are wanted, a sweep tries them again.
func (t *Table) makeRoom() {
	for _, nb := range t.neighbours {
		if nb.failed && nb.trying && nb.claim == made && t.release(nb) == nil {
			t.take(nb, neighInfo{})
		}
	}
}
