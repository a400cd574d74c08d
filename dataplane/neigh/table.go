// SPDX-License-Identifier: Apache-2.0

package neigh

import (
	"net/netip"
	"slices"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// DefaultMaxEntries bounds a table whose Config does not.
const DefaultMaxEntries = 1024

// Config is what a Table is made from.
type Config struct {
	// MAC is the container's own link-layer address.
	MAC wire.MAC
	// Addrs are the container's own addresses; the prefix is the on-link
	// subnet.
	Addrs []netip.Prefix
	// Gateway4 and Gateway6 are the next hops to everything off-link. Zero
	// means none. A gateway is on-link even outside every subnet.
	Gateway4, Gateway6 netip.Addr
	// Static answers for neighbours that need no resolution; may be nil. It
	// is asked on every Lookup, so that its answers may change at any time:
	// it must be cheap and must not allocate.
	Static func(ip netip.Addr) (wire.MAC, bool)
	// Sender transmits.
	Sender Sender
	// Stat counts; nil counts nowhere.
	Stat *stat.Block
	// MaxEntries bounds the table; 0 means DefaultMaxEntries.
	MaxEntries int
}

// Sender is the way out of a Table.
type Sender interface {
	// Send transmits an Ethernet frame from our MAC. payload is an ARP
	// packet, an IPv6 packet, or an IP packet that was held; it is valid
	// only during the call. Send must not call the Table.
	Send(dst wire.MAC, etherType uint16, payload []byte)

	// Undeliverable gives back a held IP packet whose next hop did not
	// answer. It is counted. packet is valid only during the call.
	Undeliverable(packet []byte)
}

// local is one of the container's own addresses.
type local struct {
	ip        netip.Addr
	subnet    netip.Prefix
	broadcast netip.Addr    // of an IPv4 subnet that has one, else zero
	defended  time.Duration // when the address was last defended, or never
}

// Table is the neighbours of one container.
type Table struct {
	mac      wire.MAC
	locals   []local
	gw4, gw6 netip.Addr // zero if the container has no address of the family
	has4     bool
	has6     bool
	static   func(netip.Addr) (wire.MAC, bool)
	out      Sender
	stat     *stat.Block
	max      int

	cache   [cacheSlots]slot
	entries map[netip.Addr]*entry
	timers  timers   // every entry, by deadline
	free    []*entry // removed entries, at most max

	// What may be evicted, in the order in which it is. Each list is in the
	// order of last use.
	unused list // STALE, never looked up
	failed list // FAILED
	stale  list // STALE, was used

	pending    *entry // of the last Lookup that returned Pending
	pendingGen uint32

	pool pool
	held int // bytes of buffers in all queues

	announceAt time.Duration // when Announce repeats, or Never
	now        time.Duration // of the last call, for Entries
}

// New returns an empty table. It sends nothing: Announce does.
func New(cfg Config) *Table {
	t := &Table{
		mac: cfg.MAC, static: cfg.Static, out: cfg.Sender, stat: cfg.Stat, max: cfg.MaxEntries,
		entries: make(map[netip.Addr]*entry), announceAt: Never,
	}
	if t.stat == nil {
		t.stat = new(stat.Block)
	}
	if t.max <= 0 {
		t.max = DefaultMaxEntries
	}
	for _, p := range cfg.Addrs {
		if !p.IsValid() {
			continue
		}
		t.locals = append(t.locals, local{
			ip: p.Addr(), subnet: p.Masked(), broadcast: broadcast(p), defended: never,
		})
		t.has4 = t.has4 || p.Addr().Is4()
		t.has6 = t.has6 || p.Addr().Is6()
	}
	if t.has4 && cfg.Gateway4.Is4() {
		t.gw4 = cfg.Gateway4
	}
	if t.has6 && cfg.Gateway6.Is6() {
		t.gw6 = cfg.Gateway6.WithZone("")
	}
	return t
}

// broadcast returns the broadcast address of an IPv4 subnet. A /31 (RFC 3021)
// and a /32 have none.
func broadcast(p netip.Prefix) netip.Addr {
	if !p.Addr().Is4() || p.Bits() > 30 {
		return netip.Addr{}
	}
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

// own returns the local with address ip, or nil.
func (t *Table) own(ip netip.Addr) *local {
	for i := range t.locals {
		if t.locals[i].ip == ip {
			return &t.locals[i]
		}
	}
	return nil
}

// isBroadcast reports whether ip is an IPv4 broadcast address here.
func (t *Table) isBroadcast(ip netip.Addr) bool {
	if ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return true
	}
	for i := range t.locals {
		if t.locals[i].broadcast == ip {
			return true
		}
	}
	return false
}

// onLink reports whether ip is a neighbour.
func (t *Table) onLink(ip netip.Addr) bool {
	for i := range t.locals {
		if t.locals[i].subnet.Contains(ip) {
			return true
		}
	}
	return ip == t.gw4 || ip == t.gw6 || t.has6 && ip.Is6() && ip.IsLinkLocalUnicast()
}

// source returns the own address from which to ask for ip: one of its subnet,
// else any of its family. The family has one: New drops gateways without.
func (t *Table) source(ip netip.Addr) netip.Addr {
	var fallback netip.Addr
	for i := range t.locals {
		l := &t.locals[i]
		if l.subnet.Contains(ip) || ip.Is6() && ip.IsLinkLocalUnicast() && l.ip.IsLinkLocalUnicast() {
			return l.ip
		}
		if !fallback.IsValid() && l.ip.Is4() == ip.Is4() {
			fallback = l.ip
		}
	}
	return fallback
}

// staticMAC asks Config.Static.
func (t *Table) staticMAC(ip netip.Addr) (wire.MAC, bool) {
	if t.static == nil {
		return wire.MAC{}, false
	}
	return t.static(ip)
}

// Entry is one neighbour as shown to people.
type Entry struct {
	IP     netip.Addr
	MAC    wire.MAC      // zero while INCOMPLETE or FAILED
	State  string        // as in RFC 4861 section 7.3.2, or FAILED
	Age    time.Duration // since it entered the state, or was last confirmed
	Router bool          // its last advertisement had the router flag
	Held   int           // packets that wait for it
}

// Entries returns the neighbours in the order of their addresses. It allocates:
// for status only.
func (t *Table) Entries() []Entry {
	es := make([]Entry, 0, len(t.timers))
	for _, e := range t.timers {
		es = append(es, Entry{
			IP: e.ip, MAC: e.mac, State: stateNames[e.state], Age: max(0, t.now-e.updated),
			Router: e.router, Held: len(e.held),
		})
	}
	slices.SortFunc(es, func(a, b Entry) int { return a.IP.Compare(b.IP) })
	return es
}
