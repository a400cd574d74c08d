// SPDX-License-Identifier: Apache-2.0

package fib

import (
	"cmp"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"netcon/dataplane/wire"
)

// Port is the place of a local container: its worker and its index there.
type Port struct{ Worker, Index int32 }

// Host is a static entry: a MAC behind a VTEP, and the IP address that resolves
// to it. The zero VTEP means that the host's place is not known: frames to it
// are flooded, and its address is not learned.
type Host struct {
	IP   netip.Addr
	MAC  wire.MAC
	VTEP netip.Addr
}

// Member is a container of this host.
type Member struct {
	MAC  wire.MAC
	Port Port
}

// Network describes one virtual network to New.
type Network struct {
	VNI      uint32
	Name     string
	VTEPs    []netip.Addr // where frames come from and are replicated to
	Learn    bool         // frames are accepted from any VTEP, and replicated to it
	LearnMax int          // learned addresses; 0 means DefaultLearnMax
	Hosts    []Host
	Members  []Member
}

// Table holds the Snapshot in force. The zero value holds nil.
type Table struct {
	p atomic.Pointer[Snapshot]
}

// Load returns the Snapshot in force; nil, which knows no network, before the
// first Store.
func (t *Table) Load() *Snapshot { return t.p.Load() }

// Store puts s in force.
func (t *Table) Store(s *Snapshot) { t.p.Store(s) }

// Snapshot is the forwarding state of all networks, immutable but for learning.
type Snapshot struct {
	byVNI map[uint32]*Net
	nets  []*Net // by rising VNI
}

// New builds a Snapshot. old may be nil; what its networks learned is carried
// over where it still holds.
func New(networks []Network, old *Snapshot) (*Snapshot, error) {
	if err := validate(networks); err != nil {
		return nil, err
	}
	s := &Snapshot{byVNI: make(map[uint32]*Net, len(networks))}
	for i := range networks {
		n := newNet(&networks[i])
		if from := old.Network(n.vni); from != nil {
			n.inherit(from.learned)
		}
		s.byVNI[n.vni] = n
		s.nets = append(s.nets, n)
	}
	slices.SortFunc(s.nets, func(a, b *Net) int { return cmp.Compare(a.vni, b.vni) })
	return s, nil
}

// Network returns the network with that VNI, or nil.
func (s *Snapshot) Network(vni uint32) *Net {
	if s == nil {
		return nil
	}
	return s.byVNI[vni]
}

// Networks returns all networks by rising VNI. The slice is shared.
func (s *Snapshot) Networks() []*Net {
	if s == nil {
		return nil
	}
	return s.nets
}

// Expire forgets what has aged, and stops replicating to VTEPs from which
// nothing is learned any more. Lookups do without it; to be called every few
// seconds, off the workers.
func (s *Snapshot) Expire(now time.Duration) {
	for _, n := range s.Networks() {
		n.learned.expire(now)
	}
}
