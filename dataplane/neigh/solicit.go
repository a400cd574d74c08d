// SPDX-License-Identifier: Apache-2.0

package neigh

import (
	"net/netip"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
)

// ndPacketLen is a solicitation or advertisement with its one option.
const ndPacketLen = wire.IPv6Len + wire.NDLen + wire.NDOptLLLen

// solicit asks for e once more: everyone while INCOMPLETE, e itself in PROBE.
func (t *Table) solicit(e *entry, now time.Duration) {
	e.tries++
	t.arm(e, now+retransTimer)
	src, unicast := t.source(e.ip), e.state == probe
	if e.ip.Is4() {
		mac := wire.Broadcast
		if unicast {
			mac = e.mac
		}
		t.sendARP(mac, wire.ARPRequest, src, wire.MAC{}, e.ip)
		return
	}
	mac, dst := e.mac, e.ip
	if !unicast {
		dst = wire.SolicitedNode(e.ip)
		mac = wire.MulticastMAC(dst)
	}
	t.sendND(mac, wire.ICMPv6NeighSolicit, 0, src, dst, e.ip)
}

// Announce tells everyone our addresses, now and once more a second later
// (RFC 5227 section 2.3, RFC 4861 section 7.2.6).
func (t *Table) Announce(now time.Duration) {
	t.now = now
	t.announceAt = now + announceWait
	t.announceAll()
}

func (t *Table) announceAll() {
	for i := range t.locals {
		t.announce(t.locals[i].ip)
	}
}

// announce tells everyone that ip is ours: an ARP request for itself, or an
// unsolicited advertisement with the override flag.
func (t *Table) announce(ip netip.Addr) {
	if ip.Is4() {
		t.sendARP(wire.Broadcast, wire.ARPRequest, ip, wire.MAC{}, ip)
		return
	}
	all := netip.IPv6LinkLocalAllNodes()
	t.sendND(wire.MulticastMAC(all), wire.ICMPv6NeighAdvert, wire.NAFlagOverride, ip, all, ip)
}

// defend answers a claim to one of our addresses, rarely enough that two hosts
// which both defend do not storm (RFC 5227 section 2.4).
func (t *Table) defend(l *local, now time.Duration) {
	if now-l.defended >= defendInterval {
		l.defended = now
		t.announce(l.ip)
	}
}

func (t *Table) sendARP(dst wire.MAC, op uint16, spa netip.Addr, tha wire.MAC, tpa netip.Addr) {
	b := t.pool.get(wire.ARPLen)
	wire.PutARP(b, op, t.mac, spa, tha, tpa)
	t.stat.Count(stat.ARPTx)
	t.out.Send(dst, wire.EtherTypeARP, b)
	t.pool.put(b)
}

func (t *Table) sendND(mac wire.MAC, typ, flags uint8, src, dst, target netip.Addr) {
	opt := uint8(wire.NDOptSourceLL)
	if typ == wire.ICMPv6NeighAdvert {
		opt = wire.NDOptTargetLL
	}
	b := t.pool.get(ndPacketLen)
	n := wire.PutND(b[wire.IPv6Len:], typ, flags, target, opt, t.mac, src, dst)
	wire.PutIPv6(b, src, dst, wire.ProtoICMPv6, 255, n)
	t.stat.Count(stat.NDTx)
	t.out.Send(mac, wire.EtherTypeIPv6, b[:wire.IPv6Len+n])
	t.pool.put(b)
}
