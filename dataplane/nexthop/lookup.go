// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"fmt"
	"net/netip"
	"sync"

	"netcon/dataplane/wire"
)

// Hop is what an outer frame to a VTEP needs to know.
type Hop struct {
	Dst, Src wire.MAC // of the next hop, of our device
	MTU      int      // largest outer IP packet, in bytes
}

// State says what a Hop is worth.
type State uint8

// The states.
const (
	Pending     State = iota // no answer yet: ask again later
	Resolved                 // the Hop is valid
	Unreachable              // there is no way now; Entries says why
)

var stateNames = [...]string{Pending: "pending", Resolved: "resolved", Unreachable: "unreachable"}

// String returns the state's name.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// MarshalText returns what String does, for JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (s *State) UnmarshalText(text []byte) error {
	for i, name := range stateNames {
		if name == string(text) {
			*s = State(i)
			return nil
		}
	}
	return fmt.Errorf("state of a next hop %q (want one of %q)", text, stateNames)
}

// Lookup returns the next hop to a VTEP. IPv4-mapped addresses are to be
// unmapped first. The Hop is zero unless Resolved. A VTEP that is not known
// yet is Pending and will be resolved. Lookup is safe on any goroutine, never
// waits and does not allocate.
func (t *Table) Lookup(vtep netip.Addr) (Hop, State) {
	a := t.now.Load().find(vtep)
	if a == nil {
		return Hop{}, t.want(vtep)
	}
	// Read before written: the mark is shared by all workers.
	if !a.used.Load() {
		a.used.Store(true)
	}
	return a.hop, a.state
}

// Generation returns a number that grows with every snapshot.
func (t *Table) Generation() uint64 { return t.now.Load().generation }

// Up reports whether the interface is up and has a carrier.
func (t *Table) Up() bool { return t.now.Load().up }

// MTU returns the largest IP packet that the interface takes, in bytes.
func (t *Table) MTU() int { return t.now.Load().mtu }

// want asks for a VTEP that no snapshot has.
func (t *Table) want(vtep netip.Addr) State {
	if !t.trackable(vtep) {
		return Unreachable
	}
	if t.wanted.add(vtep) {
		t.ring()
	}
	return Pending
}

// trackable reports whether vtep can have a next hop at all. What cannot is
// not worth a place in the table.
func (t *Table) trackable(vtep netip.Addr) bool {
	return vtep.IsValid() && vtep.Is4() == t.local.Is4() && !vtep.Is4In6() &&
		!vtep.IsUnspecified() && !vtep.IsMulticast() && !vtep.IsLoopback() && vtep != limitedBroadcast
}

var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// wishes is a bounded set of VTEPs that wait to be taken into the table.
type wishes struct {
	mu   sync.Mutex
	n    int
	list [maxWishes]netip.Addr // guarded by mu, as is n
}

// add notes a VTEP and reports whether it is new. It gives up rather than wait
// for another goroutine, or if there is no room: the next packet asks again.
func (w *wishes) add(vtep netip.Addr) bool {
	if !w.mu.TryLock() {
		return false
	}
	defer w.mu.Unlock()
	for _, a := range w.list[:w.n] {
		if a == vtep {
			return false
		}
	}
	if w.n == len(w.list) {
		return false
	}
	w.list[w.n] = vtep
	w.n++
	return true
}

// take moves what was noted to the end of list.
func (w *wishes) take(list []netip.Addr) []netip.Addr {
	w.mu.Lock()
	defer w.mu.Unlock()
	list = append(list, w.list[:w.n]...)
	clear(w.list[:w.n])
	w.n = 0
	return list
}
