// SPDX-License-Identifier: Apache-2.0

package config

import (
	"github.com/pelletier/go-toml/v2/unstable"

	"netcon/dataplane/wire"
)

// Smallest MTUs: what every host must take (RFC 791), and what every IPv6 link
// must carry (RFC 8200 section 5).
const (
	minMTUIPv4 = 576
	minMTUIPv6 = 1280
	maxMTU     = 65535
)

// maxSendSockets bounds the source ports over which flows are spread.
const maxSendSockets = 64

// underlay reads [underlay].
func (r *reader) underlay(t *table) {
	u := &r.cfg.Underlay
	u.Kind = t.choice("kind", "udp", []string{"udp"}, "xdp")
	const accepted = "an address of this host, the VTEP"
	if n := t.get("address", unstable.String, accepted); n != nil {
		u.Address = t.address(n, "address")
	} else if !t.has("address") {
		t.fail(t.line, "address: missing (%s)", accepted)
	}
	u.Port = uint16(t.integer("port", wire.VXLANPort, 1, 65535))
	u.SendSockets = int(t.integer("send_sockets", 4, 1, maxSendSockets))
	if n := t.get("mtu", unstable.Integer, "an integer, 0: derived from the device"); n != nil {
		r.underlayLine = n.line
		low := int64(u.minMTU(false))
		v, ok := n.integer()
		switch {
		case !ok || v != 0 && (v < low || v > maxMTU):
			t.fail(n.line, "mtu %s: out of range (0, or %d to %d)", n.show(), low, maxMTU)
		default:
			u.MTU = int(v)
		}
	}
	t.done()
}

// minMTU returns the smallest MTU under which the smallest inner packets fit.
func (u *Underlay) minMTU(innerIPv6 bool) int {
	inner := minMTUIPv4
	if innerIPv6 {
		inner = minMTUIPv6
	}
	if low := inner + u.Overhead(); !u.Address.Is6() || low > minMTUIPv6 {
		return low
	}
	return minMTUIPv6
}

// underlayMTU checks the MTU against the networks that were read.
func (r *reader) underlayMTU() {
	u := &r.cfg.Underlay
	low := u.minMTU(true)
	if u.MTU == 0 || u.MTU >= low {
		return
	}
	for i := range r.cfg.Networks {
		if n := &r.cfg.Networks[i]; n.hasIPv6() {
			r.fail(r.underlayLine, "underlay: mtu %d: out of range (0, or %d to %d: network %q has an IPv6 subnet)", u.MTU, low, maxMTU, n.Name)
			return
		}
	}
}
