// SPDX-License-Identifier: Apache-2.0

package nexthop

import "time"

// publish puts a new snapshot in force if anything in it has changed. One that
// follows another closely waits, so that many changes cost one snapshot.
func (t *Table) publish(now time.Time) {
	t.timers.publish = time.Time{}
	t.touched = due(&t.timers.patience, now) || t.touched
	old := t.now.Load()
	if old != nil && !t.touched {
		return
	}
	if next := t.published.Add(time.Duration(len(t.vteps)) * publishPer); now.Before(next) {
		t.timers.publish = next
		return
	}
	t.touched = false
	t.timers.patience = time.Time{}

	up, mtu := t.link.up(), t.linkMTU()
	same := old != nil && old.up == up && old.mtu == mtu && old.n == len(t.vteps)
	for ip, v := range t.vteps {
		before := v.state
		t.decide(v, now)
		if same {
			a := old.find(ip)
			same = a != nil && a.used == v.mark && a.hop == v.hop && a.state == v.state
		}
		if v.state != before {
			t.report(v, before, now)
		}
	}
	if same {
		return
	}
	s := newSnapshot(len(t.vteps), t.seed)
	s.generation, s.up, s.mtu = 1, up, mtu
	if old != nil {
		s.generation = old.generation + 1
	}
	for ip, v := range t.vteps {
		s.add(answer{vtep: ip, hop: v.hop, state: v.state, used: v.mark})
	}
	t.now.Store(s)
	t.published = now
	if old != nil && t.changed != nil {
		t.changed()
	}
}

// decide gives v its answer. Without a definite one the last answer holds, for
// as long as the patience.
func (t *Table) decide(v *vtep, now time.Time) {
	state, reason := Pending, ""
	switch nb := v.nb; {
	case !t.link.up() && v.state != Pending:
		v.waits = time.Time{}
		t.keep(v)
		return
	case !t.link.up():
		reason = "the interface is down"
	case v.why != "":
		state, reason = Unreachable, v.why
	case nb == nil:
		reason = "the route has not been asked for yet"
	case nb.usable():
		state = Resolved
	case nb.err != "":
		state, reason = Unreachable, nb.err
	case nb.failed:
		state, reason = Unreachable, nb.ip.String()+" does not answer"
	case nb.waits:
		reason = "too many next hops do not answer"
	default:
		reason = nb.ip.String() + " has not answered yet"
	}
	if state == Pending {
		if v.waits.IsZero() {
			v.waits = now
		}
		until := v.waits.Add(patience)
		if now.Before(until) {
			if t.timers.patience.IsZero() || until.Before(t.timers.patience) {
				t.timers.patience = until
			}
			if v.state == Pending {
				v.reason = reason
			}
			t.keep(v)
			return
		}
		state = Unreachable
	}
	v.waits = time.Time{}
	v.state, v.reason, v.hop = state, reason, Hop{}
	if state == Resolved {
		v.hop.Dst = v.nb.mac
		t.keep(v)
	}
}

// keep leaves v the next hop that it has. What is our own follows the
// interface all the same.
func (t *Table) keep(v *vtep) {
	if v.state != Resolved {
		return
	}
	v.hop.Src, v.hop.MTU = t.link.mac, t.linkMTU()
	if v.mtu != 0 {
		v.hop.MTU = min(v.hop.MTU, v.mtu)
	}
}

// report logs that the answer for v has become another. A network may know
// many VTEPs, or claim to: the log is told of a few per second.
func (t *Table) report(v *vtep, before State, now time.Time) {
	if v.state == Resolved && before == Pending {
		return
	}
	if !t.logLimit.take(now) {
		t.unlogged++
		return
	}
	args := []any{"vtep", v.addr, "interface", t.link.name}
	if t.unlogged != 0 {
		args = append(args, "unlogged", t.unlogged)
		t.unlogged = 0
	}
	if v.state == Resolved {
		t.log.Info("vtep is reachable again", args...)
		return
	}
	t.log.Warn("vtep is unreachable", append(args, "reason", v.reason)...)
}
