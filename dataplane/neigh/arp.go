// SPDX-License-Identifier: Apache-2.0

package neigh

import (
	"net/netip"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// ARP takes an ARP packet from an Ethernet frame of src. The reason is returned
// for the caller to count. DropNeighTableFull means that the request was
// answered, but not learned from.
func (t *Table) ARP(src wire.MAC, payload []byte, now time.Duration) stat.Reason {
	t.now = now
	t.stat.Count(stat.ARPRx)
	a, ok := wire.ParseARP(payload)
	if !ok || (a.Op() != wire.ARPRequest && a.Op() != wire.ARPReply) {
		return stat.DropARPInvalid
	}
	mac, spa, tpa := a.SenderMAC(), a.SenderIP(), a.TargetIP()
	if mac != src || mac.IsGroup() || mac.IsZero() || mac == t.mac || tpa.IsMulticast() {
		return stat.DropARPInvalid
	}
	request := a.Op() == wire.ARPRequest
	if spa.IsUnspecified() && request {
		// A probe (RFC 5227 section 2.1.1): the answer is how the prober
		// learns that the address is taken. There is nobody to learn.
		if t.own(tpa) != nil {
			t.sendARP(mac, wire.ARPReply, tpa, mac, spa)
		}
		return stat.Accepted
	}
	if l := t.own(spa); l != nil {
		t.defend(l, now)
		return stat.DropARPInvalid
	}
	if !neighbour4(spa) || t.isBroadcast(spa) || !t.onLink(spa) {
		return stat.DropARPInvalid
	}
	r := stat.Accepted
	forUs := t.own(tpa) != nil
	if e := t.entries[spa]; e != nil {
		t.mergeARP(e, a, forUs, now)
	} else if request && forUs {
		r = t.learn(spa, mac, now)
	}
	if request && forUs {
		t.sendARP(mac, wire.ARPReply, tpa, mac, spa)
	}
	return r
}

// neighbour4 reports whether ip may be a host's IPv4 address.
func neighbour4(ip netip.Addr) bool {
	return !ip.IsUnspecified() && !ip.IsMulticast() && !ip.IsLoopback()
}

// mergeARP updates e from a valid packet of its address.
func (t *Table) mergeARP(e *entry, a wire.ARP, forUs bool, now time.Duration) {
	mac := a.SenderMAC()
	gratuitous := a.SenderIP() == a.TargetIP()
	if e.resolved() && e.mac != mac && !gratuitous && now-e.learned < lockTime {
		return
	}
	if a.Op() == wire.ARPReply && forUs && a.TargetMAC() == t.mac {
		t.record(e, mac, reachable, now)
	} else {
		t.hint(e, mac, now)
	}
}

// learn makes a STALE entry from a request to us.
func (t *Table) learn(ip netip.Addr, mac wire.MAC, now time.Duration) stat.Reason {
	if _, ok := t.staticMAC(ip); ok {
		return stat.Accepted
	}
	e := t.create(ip, now)
	if e == nil {
		return stat.DropNeighTableFull
	}
	t.record(e, mac, stale, now)
	return stat.Accepted
}
