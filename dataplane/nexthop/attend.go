// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// attend takes in what follow heard. Neighbours and our interface count at
// once, routes after a while: they tend to change in crowds.
func (t *Table) attend(now time.Time) {
	h := t.inbox.take()
	if h.lost {
		t.reportLoss(now)
		h.routes.addAll()
	}
	if due(&t.timers.link, now) || h.link || h.lost {
		t.attendLink(now)
	}
	for ip, n := range h.neighbours {
		if nb := t.neighbours[ip]; nb != nil {
			t.attendNeighbour(nb, n, now)
		}
	}
	switch tend := due(&t.timers.tend, now); {
	case h.lost:
		t.rereadNeighbours(now)
	case tend:
		t.tendNeighbours(now, false)
	}
	if h.otherLink {
		// IPv4 routes go with their interface without a word. What leaves by
		// ours is not affected.
		for _, v := range t.vteps {
			if v.why != "" {
				t.stale.push(v)
			}
		}
	}
	t.attendRoutes(h.routes, now)
}

// reportLoss logs that messages were lost.
func (t *Table) reportLoss(now time.Time) {
	if t.logLimit.take(now) {
		t.log.Warn("netlink messages were lost: reading again", "interface", t.link.name)
	}
}

// attendRoutes has the routes asked for again that may have changed.
func (t *Table) attendRoutes(c routeChanges, now time.Time) {
	t.dirty.merge(c)
	if !t.dirty.empty() && t.timers.debounce.IsZero() {
		t.timers.debounce = now.Add(debounce)
	}
	if !due(&t.timers.debounce, now) {
		return
	}
	match := t.dirty.matcher()
	t.dirty = routeChanges{}
	for _, v := range t.vteps {
		if match(v.addr) {
			t.stale.push(v)
		}
	}
}

// attendLink takes in that our interface may have changed.
func (t *Table) attendLink(now time.Time) {
	before, vrf := t.link, t.vrf
	switch err := t.readLink(); {
	case errors.Is(err, unix.ENODEV):
		t.link.flags = 0 // it is gone
	case err != nil:
		t.log.Error("read interface", "interface", before.name, "err", err)
		t.timers.link = now.Add(retryAfter)
		return
	}
	t.touched = true
	up := t.link.up()
	if up != before.up() {
		t.log.Info("underlay interface changed state", "interface", t.link.name, "up", up)
	}
	if up && (!before.up() || t.vrf != vrf) {
		// While it was down the kernel forgot routes and neighbours.
		t.rereadNeighbours(now)
		t.dirty.addAll()
	}
}

// readLink reads our interface, and the VRF that it may belong to.
func (t *Table) readLink() error {
	l, err := t.kernel.link(t.index)
	if err != nil {
		return err
	}
	if l.index != t.index {
		return errors.New("another interface was answered for")
	}
	vrf := 0
	if l.master != 0 {
		if m, err := t.kernel.link(l.master); err == nil && m.kind == "vrf" {
			vrf = l.master
		}
	}
	t.link, t.vrf = l, vrf
	return nil
}

// linkMTU returns the largest IP packet of the underlay that the interface
// takes.
func (t *Table) linkMTU() int {
	if t.local.Is6() && t.link.mtu6 != 0 {
		return min(t.link.mtu, t.link.mtu6)
	}
	return t.link.mtu
}
