// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"netcon/dataplane/wire"
)

// maxSubnets bounds the subnets of a network.
const maxSubnets = 16

// networkRead is what later tables are checked against.
type networkRead struct {
	*Network
	line   int
	broken bool // a subnet was refused: membership cannot be judged
	ips    map[netip.Addr]owner
	macs   map[wire.MAC]owner
}

// owner is who has an address.
type owner struct {
	object string
	line   int
	vtep   netip.Addr // of a static host
}

// network reads one [[network]].
func (r *reader) network(src *node, number int) {
	t := r.table(src, "network", 0)
	nr := &networkRead{
		Network: &Network{Name: t.name(number)}, line: t.line,
		ips: map[netip.Addr]owner{}, macs: map[wire.MAC]owner{},
	}
	r.vni(t, nr)
	r.subnets(t, nr)
	r.vteps(t, nr)
	nr.Learn = t.flag("learn", false)
	nr.Gateway4 = r.gateway(t, nr, "gateway4", "IPv4")
	nr.Gateway6 = r.gateway(t, nr, "gateway6", "IPv6")
	r.networkMTU(t, nr)
	for i, h := range t.tables("host") {
		r.staticHost(h, i, t.object, nr)
	}
	t.done()
	r.cfg.Networks = append(r.cfg.Networks, *nr.Network)
	if nr.Name == "" {
		return
	}
	if first := r.networks[nr.Name]; first != nil {
		t.fail(t.n.keys["name"].line, "name %q: used twice (also on line %d)", nr.Name, first.line)
		return
	}
	r.networks[nr.Name] = nr
}

func (r *reader) vni(t *table, nr *networkRead) {
	if !t.has("vni") {
		t.known = append(t.known, "vni")
		t.fail(t.line, "vni: missing (an integer, 0 to %d)", wire.VNIMax)
		return
	}
	v := t.integer("vni", -1, 0, wire.VNIMax)
	if v < 0 {
		return
	}
	nr.VNI = uint32(v)
	line := t.n.keys["vni"].line
	if first, ok := r.vnis[nr.VNI]; ok {
		t.fail(line, "vni %d: used twice (also on line %d)", v, first)
		return
	}
	r.vnis[nr.VNI] = line
}

func (r *reader) subnets(t *table, nr *networkRead) {
	const accepted = "subnets, like \"10.42.0.0/24\" or \"fd42::/64\""
	items := t.list("subnets", "subnet", unstable.String, accepted)
	switch {
	case len(items) > maxSubnets:
		t.fail(t.n.keys["subnets"].line, "subnets: %d of them (at most %d)", len(items), maxSubnets)
		nr.broken = true
		return
	case len(items) == 0:
		nr.broken = true
		if !t.has("subnets") {
			t.fail(t.line, "subnets: missing (a list of %s)", accepted)
		} else if n := t.n.keys["subnets"]; n.kind == unstable.Array && len(n.items) == 0 {
			t.fail(n.line, "subnets: empty (a list of %s)", accepted)
		}
		return
	}
	for _, n := range items {
		p, ok := t.subnet(n)
		if !ok {
			nr.broken = true
			continue
		}
		for _, q := range nr.Subnets {
			if p.Overlaps(q) {
				t.fail(n.line, "subnet %q: overlaps %q (an address must lie in one subnet)", p.String(), q.String())
				ok = false
				break
			}
		}
		if ok {
			nr.Subnets = append(nr.Subnets, p)
		}
	}
	nr.broken = nr.broken || len(items) < len(t.n.keys["subnets"].items)
}

// subnet parses n as a range of unicast addresses.
func (t *table) subnet(n *node) (netip.Prefix, bool) {
	const accepted = "like \"10.42.0.0/24\" or \"fd42::/64\""
	p, err := netip.ParsePrefix(n.text)
	if err != nil {
		t.fail(n.line, "subnet %s: not a subnet (%s)", n.show(), accepted)
		return p, false
	}
	a, reason := p.Addr(), ""
	switch {
	case a.Is4In6():
		reason = "IPv4 addresses in IPv6 form"
	case p.Bits() == 0 || p.Masked().Addr().IsUnspecified():
		reason = "holds the unspecified address"
	case a.IsMulticast():
		reason = "multicast addresses"
	case a.IsLoopback():
		reason = "loopback addresses"
	case p != p.Masked():
		t.fail(n.line, "subnet %s: has host bits set (did you mean %q?)", n.show(), p.Masked())
		return p, false
	default:
		return p, true
	}
	t.fail(n.line, "subnet %s: %s (unicast subnets, %s)", n.show(), reason, accepted)
	return p, false
}

func (r *reader) vteps(t *table, nr *networkRead) {
	seen := map[netip.Addr]bool{}
	for _, n := range t.list("vteps", "vtep", unstable.String, "addresses of the other hosts") {
		a := r.vtep(t, n)
		switch {
		case !a.IsValid():
			continue
		case seen[a]:
			t.fail(n.line, "vtep %s: twice", n.show())
			continue
		}
		seen[a] = true
		nr.VTEPs = append(nr.VTEPs, a)
	}
}

// vtep parses n as another host's underlay address.
func (r *reader) vtep(t *table, n *node) netip.Addr {
	a, own := t.address(n, "vtep"), r.cfg.Underlay.Address
	switch {
	case !a.IsValid() || !own.IsValid():
		return a
	case a.Is4() != own.Is4():
		t.fail(n.line, "vtep %s: not of the underlay's family (underlay address %s)", n.show(), own)
	case a == own:
		t.fail(n.line, "vtep %s: is our own address (addresses of the other hosts)", n.show())
	default:
		return a
	}
	return netip.Addr{}
}

func (r *reader) gateway(t *table, nr *networkRead, key, family string) netip.Addr {
	n := t.get(key, unstable.String, "an address inside a subnet")
	if n == nil {
		return netip.Addr{}
	}
	a := t.address(n, key)
	switch {
	case !a.IsValid():
	case a.Is6() != (family == "IPv6"):
		t.fail(n.line, "%s %s: not an %s address", key, n.show(), family)
	case r.inside(t, n, key, a, nr):
		return a
	}
	return netip.Addr{}
}

// inside reports whether a host of the network may have address a.
func (r *reader) inside(t *table, n *node, subject string, a netip.Addr, nr *networkRead) bool {
	p, ok := nr.Subnet(a)
	switch {
	case !ok && nr.broken:
		return false
	case !ok:
		list := make([]string, len(nr.Subnets))
		for i, s := range nr.Subnets {
			list[i] = s.String()
		}
		t.fail(n.line, "%s %s: outside the subnets of network %q (%s)", subject, n.show(), nr.Name, strings.Join(list, ", "))
		return false
	case p.Bits() >= a.BitLen()-1: // RFC 3021, RFC 6164
		return true
	case a == p.Addr() && a.Is4():
		t.fail(n.line, "%s %s: the network address of subnet %s", subject, n.show(), p)
	case a == p.Addr():
		t.fail(n.line, "%s %s: the router anycast address of subnet %s", subject, n.show(), p)
	case a.Is4() && !p.Contains(a.Next()):
		t.fail(n.line, "%s %s: the broadcast address of subnet %s", subject, n.show(), p)
	default:
		return true
	}
	return false
}

// networkMTU reads the MTU of inner IP packets.
func (r *reader) networkMTU(t *table, nr *networkRead) {
	u := &r.cfg.Underlay
	low, high, why := minMTUIPv4, maxMTU-u.Overhead(), ""
	if nr.hasIPv6() {
		low, why = minMTUIPv6, ": it has an IPv6 subnet"
	}
	if u.MTU != 0 {
		high = max(low, u.MTU-u.Overhead()) // underlayMTU reports one that is too small
	}
	n := t.get("mtu", unstable.Integer, "an integer, 0: derived from the underlay")
	if n == nil {
		return
	}
	v, ok := n.integer()
	switch {
	case ok && (v == 0 || v >= int64(low) && v <= int64(high)):
		nr.MTU = int(v)
	default:
		t.fail(n.line, "mtu %s: out of range (0, or %d to %d%s)", n.show(), low, high, why)
	}
}

// staticHost reads one [[network.host]].
func (r *reader) staticHost(src *node, number int, network string, nr *networkRead) {
	t := r.table(src, fmt.Sprintf("%s: host #%d", network, number+1), 0)
	var h Host
	good := true
	if n := t.required("ip", "an address inside a subnet"); n != nil {
		if h.IP = t.address(n, "ip"); h.IP.IsValid() {
			t.object = fmt.Sprintf("%s: host %s", network, h.IP)
			good = r.inside(t, n, "ip", h.IP, nr) && nr.takeIP(t, n.line, "ip", h.IP)
		}
	}
	if n := t.required("vtep", "the address of the host it is on"); n != nil {
		h.VTEP = r.vtep(t, n)
	}
	if t.required("mac", "its link-layer address") != nil {
		var line int
		h.MAC, line = t.mac("mac")
		good = good && !h.MAC.IsZero() && nr.takeMAC(t, line, h.MAC, h.VTEP)
	}
	t.done()
	if good {
		nr.Hosts = append(nr.Hosts, h)
	}
}

// required is get for a string that must be there.
func (t *table) required(key, accepted string) *node {
	n := t.get(key, unstable.String, accepted)
	if n == nil && !t.has(key) {
		t.fail(t.line, "%s: missing (%s)", key, accepted)
	}
	return n
}

// takeIP gives an address to t's object, which must be the first to want it.
func (nr *networkRead) takeIP(t *table, line int, subject string, a netip.Addr) bool {
	if first, ok := nr.ips[a]; ok {
		t.fail(line, "%s %q: used twice in network %q (also by %s on line %d)", subject, a.String(), nr.Name, first.object, first.line)
		return false
	}
	nr.ips[a] = owner{object: t.object, line: line}
	return true
}

// takeMAC gives a link-layer address to t's object. Static entries of one
// machine, which are those behind one VTEP, may share it.
func (nr *networkRead) takeMAC(t *table, line int, m wire.MAC, vtep netip.Addr) bool {
	first, ok := nr.macs[m]
	if ok && (!vtep.IsValid() || first.vtep != vtep) {
		t.fail(line, "mac %q: used twice in network %q (also by %s on line %d)", m.String(), nr.Name, first.object, first.line)
		return false
	}
	if !ok {
		nr.macs[m] = owner{object: t.object, line: line, vtep: vtep}
	}
	return true
}
