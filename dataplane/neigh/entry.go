// SPDX-License-Identifier: Apache-2.0

package neigh

import (
	"container/heap"
	"math"
	"net/netip"
	"time"

	"netcon/dataplane/wire"
)

// state is the reachability of a neighbour (RFC 4861 section 7.3.2).
type state uint8

const (
	incomplete state = iota // asked for; packets may be held
	reachable               // confirmed within reachableTime
	stale                   // known, not confirmed, not in use
	delay                   // in use, waiting for a confirmation by itself
	probe                   // asking it by unicast
	failed                  // did not answer; remembered for a while

	numStates
)

var stateNames = [numStates]string{"INCOMPLETE", "REACHABLE", "STALE", "DELAY", "PROBE", "FAILED"}

// Protocol constants (RFC 4861 section 10, RFC 5227 section 1.1; Linux
// neigh_parms where the RFCs have none).
const (
	retransTimer   = time.Second       // between requests
	reachableTime  = 30 * time.Second  // BaseReachableTime, not randomized
	delayTime      = 5 * time.Second   // DELAY_FIRST_PROBE_TIME
	staleTime      = 300 * time.Second // unused STALE entries are collected
	failedTime     = 3 * time.Second   // negative hold
	retryInterval  = time.Second       // from a failure to the next attempt
	lockTime       = time.Second       // Linux arp locktime
	defendInterval = 10 * time.Second  // DEFEND_INTERVAL
	announceWait   = time.Second       // between the two announcements

	maxSolicits = 3 // MAX_MULTICAST_SOLICIT, MAX_UNICAST_SOLICIT
)

// Never is the deadline of an idle table.
const Never = time.Duration(math.MaxInt64)

// never is a point in time long before any other.
const never = time.Duration(math.MinInt64 / 2)

// dwell is how long an entry stays in a state before its timer acts.
var dwell = [numStates]time.Duration{
	incomplete: retransTimer, reachable: reachableTime, stale: staleTime,
	delay: delayTime, probe: retransTimer, failed: failedTime,
}

// entry is one neighbour. Every entry is in Table.entries and Table.timers;
// those that may be evicted are in one list. Only INCOMPLETE holds packets.
type entry struct {
	ip     netip.Addr
	gen    uint32 // counts the neighbours this struct has been
	mac    wire.MAC
	state  state
	tries  uint8 // requests sent in INCOMPLETE or PROBE
	router bool

	used     time.Duration // last Lookup, or never
	updated  time.Duration // entered the state, or was confirmed in it
	learned  time.Duration // mac was recorded
	deadline time.Duration

	pos        int // in Table.timers
	in         *list
	prev, next *entry

	held      [][]byte // oldest first
	heldBytes int
}

// resolved reports whether e.mac may be used.
func (e *entry) resolved() bool { return e.state != incomplete && e.state != failed }

// create returns a new entry for ip, which has none; nil if the table is full
// and nothing may be evicted. The caller enters a state at once.
func (t *Table) create(ip netip.Addr, now time.Duration) *entry {
	if len(t.entries) >= t.max {
		victim := t.unused.head
		if victim == nil {
			victim = t.failed.head
		}
		if victim == nil {
			victim = t.stale.head
		}
		if victim == nil {
			return nil
		}
		t.remove(victim)
	}
	var e *entry
	if n := len(t.free); n > 0 {
		e, t.free = t.free[n-1], t.free[:n-1]
	} else {
		e = new(entry)
	}
	*e = entry{ip: ip, gen: e.gen, used: never, learned: never, updated: now, deadline: now}
	t.entries[ip] = e
	heap.Push(&t.timers, e)
	return e
}

// remove forgets e, which holds no packets.
func (t *Table) remove(e *entry) {
	e.in.unlink(e)
	heap.Remove(&t.timers, e.pos)
	delete(t.entries, e.ip)
	e.gen++
	t.free = append(t.free, e)
}

// enter puts e into state s and starts that state's timer.
func (t *Table) enter(e *entry, s state, now time.Duration) {
	e.in.unlink(e)
	e.state, e.updated = s, now
	switch {
	case s == failed:
		e.mac = wire.MAC{}
		t.failed.insert(e)
	case s == stale && e.used == never:
		t.unused.insert(e)
	case s == stale:
		t.stale.insert(e)
	}
	t.arm(e, now+dwell[s])
}

// record notes that e has address mac and is in state s, and sends what waited
// for it.
func (t *Table) record(e *entry, mac wire.MAC, s state, now time.Duration) {
	if e.mac != mac {
		e.mac, e.learned = mac, now
	}
	t.enter(e, s, now)
	t.release(e)
}

// hint notes that e may have address mac, from a packet that is no answer to
// us: news makes it STALE, a repetition changes nothing (RFC 4861 section
// 7.2.3).
func (t *Table) hint(e *entry, mac wire.MAC, now time.Duration) {
	if !e.resolved() || e.mac != mac {
		t.record(e, mac, stale, now)
	}
}

// list is entries in the order of their last use, then of insertion. The nil
// list holds nothing.
type list struct{ head, tail *entry }

// insert puts e, which is in no list, behind all that were used before it.
func (l *list) insert(e *entry) {
	p := l.tail
	for p != nil && p.used > e.used {
		p = p.prev
	}
	e.in, e.prev = l, p
	if p == nil {
		e.next, l.head = l.head, e
	} else {
		e.next, p.next = p.next, e
	}
	if e.next == nil {
		l.tail = e
	} else {
		e.next.prev = e
	}
}

// unlink takes e out of the list it is in, if any.
func (l *list) unlink(e *entry) {
	if l == nil {
		return
	}
	if e.prev == nil {
		l.head = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		l.tail = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.in, e.prev, e.next = nil, nil, nil
}
