// SPDX-License-Identifier: Apache-2.0

package fib

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// Kind says where a frame goes.
type Kind uint8

// The kinds.
const (
	Flood  Kind = iota // to every VTEP of Replicate
	Local              // to the container at Dest.Port
	Remote             // to Dest.VTEP
)

// String returns the kind's name.
func (k Kind) String() string {
	switch k {
	case Flood:
		return "flood"
	case Local:
		return "local"
	case Remote:
		return "remote"
	}
	return "unknown"
}

// Dest is where a frame goes. Port is valid for Local, VTEP for Remote.
type Dest struct {
	Kind Kind
	Port Port
	VTEP netip.Addr
}

// Net is the forwarding state of one network.
type Net struct {
	vni     uint32
	name    string
	members []Member
	vteps   []netip.Addr
	accepts map[netip.Addr]struct{}
	places  map[uint64]Dest // members and static hosts, by key(MAC)
	static  map[netip.Addr]wire.MAC
	open    bool // frames are taken from any VTEP
	learned *learned
}

func newNet(c *Network) *Net {
	n := &Net{
		vni:     c.VNI,
		name:    c.Name,
		open:    c.Learn,
		members: slices.Clone(c.Members),
		vteps:   slices.Clone(c.VTEPs),
		accepts: make(map[netip.Addr]struct{}, len(c.VTEPs)),
		places:  make(map[uint64]Dest, len(c.Hosts)+len(c.Members)),
		static:  make(map[netip.Addr]wire.MAC, len(c.Hosts)),
	}
	for _, v := range c.VTEPs {
		n.accepts[v] = struct{}{}
	}
	for _, h := range c.Hosts {
		n.static[h.IP] = h.MAC
		if h.VTEP.IsValid() {
			n.accepts[h.VTEP] = struct{}{}
			n.places[key(h.MAC)] = Dest{Kind: Remote, VTEP: h.VTEP}
		} else if _, known := n.places[key(h.MAC)]; !known {
			n.places[key(h.MAC)] = Dest{Kind: Flood}
		}
	}
	// Last: a local member wins over a static host with its MAC, so that one
	// list of hosts can serve all hosts.
	for _, m := range c.Members {
		n.places[key(m.MAC)] = Dest{Kind: Local, Port: m.Port}
	}
	limit := c.LearnMax
	if limit == 0 {
		limit = DefaultLearnMax
	}
	n.learned = newLearned(limit, n.vteps)
	return n
}

// key returns m as a number: the map and hash key.
func key(m wire.MAC) uint64 {
	return uint64(binary.BigEndian.Uint32(m[:4]))<<16 | uint64(binary.BigEndian.Uint16(m[4:]))
}

// VNI returns the network's identifier.
func (n *Net) VNI() uint32 { return n.vni }

// Name returns the network's name.
func (n *Net) Name() string { return n.name }

// Members returns the containers of this host. The slice is shared.
func (n *Net) Members() []Member { return n.members }

// Accepts reports whether frames from vtep are taken: it is a configured VTEP,
// the VTEP of a static host, or any unicast address if the network learns VTEPs.
func (n *Net) Accepts(vtep netip.Addr) bool {
	if n.open {
		return isPlace(vtep)
	}
	_, ok := n.accepts[vtep]
	return ok
}

// Lookup returns where a frame to mac goes.
func (n *Net) Lookup(mac wire.MAC, now time.Duration) Dest {
	if mac.IsGroup() {
		return Dest{}
	}
	k := key(mac)
	if d, ok := n.places[k]; ok {
		return d
	}
	if e := n.learned.find(k); e != nil && !e.aged(now) {
		return Dest{Kind: Remote, VTEP: e.vtep}
	}
	return Dest{}
}

// IsLocal reports whether mac is a container of this host.
func (n *Net) IsLocal(mac wire.MAC) bool { return n.places[key(mac)].Kind == Local }

// StaticMAC returns the MAC of a static host, whose address needs no
// resolution.
func (n *Net) StaticMAC(ip netip.Addr) (wire.MAC, bool) {
	m, ok := n.static[ip]
	return m, ok
}

// Replicate returns the VTEPs that get a copy of every flooded frame: the
// configured ones and, if the network learns VTEPs, those learned from. The
// slice is shared.
func (n *Net) Replicate() []netip.Addr {
	if n.open {
		return *n.learned.flood.Load()
	}
	return n.vteps
}

// Learn notes that mac sent a frame from vtep, which the network accepts. It
// does nothing for addresses that are not to be learned: group and zero
// addresses, local members and static hosts. DropLearnLimit says that a
// new or moved address was not noted; it is no verdict on the frame.
func (n *Net) Learn(mac wire.MAC, vtep netip.Addr, now time.Duration) stat.Reason {
	t, k := n.learned, key(mac)
	if e := t.find(k); e != nil && e.vtep == vtep {
		e.refresh(now)
		return stat.Accepted
	}
	if k == 0 || mac.IsGroup() || !n.Accepts(vtep) {
		return stat.Accepted
	}
	if _, static := n.places[k]; static {
		return stat.Accepted
	}
	return t.learn(k, vtep, now)
}

// Learned returns how many addresses are held, aged ones that have not yet made
// room included.
func (n *Net) Learned() int {
	return int(n.learned.count.Load())
}

// inherit takes over what was learned before, the freshest first, except for
// addresses that became local or static, or whose VTEP is not accepted any more.
func (n *Net) inherit(from *learned) {
	entries, tokens, refilled := from.copy()
	n.learned.tokens, n.learned.refilled = tokens, refilled
	for _, e := range entries {
		if n.Learned() == n.learned.max {
			return
		}
		if _, static := n.places[e.key]; !static && n.Accepts(e.vtep) {
			n.learned.insert(e.key, e.vtep, e.seen)
		}
	}
}
