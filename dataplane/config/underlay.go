// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"
	"time"

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

// Bounds of an underlay of kind xdp: UMEM frames per receive queue, and how long
// the kernel polls a device for us at a time.
const (
	minFrames     = 512
	defaultFrames = 4096
	maxFrames     = 1 << 16
	maxBusyPoll   = time.Millisecond
)

// maxSendSockets bounds the source ports over which flows are spread.
const maxSendSockets = 64

// underlay reads [underlay].
func (r *reader) underlay(t *table) {
	u := &r.cfg.Underlay
	u.Kind = Kind(t.choice("kind", string(KindUDP), []string{string(KindUDP), string(KindXDP)}))
	const accepted = "an address of this host, the VTEP"
	if n := t.get("address", unstable.String, accepted); n != nil {
		u.Address = t.address(n, "address")
	} else if !t.has("address") {
		t.fail(t.line, "address: missing (%s)", accepted)
	}
	u.Port = uint16(t.integer("port", wire.VXLANPort, 1, 65535))
	if u.Kind == KindXDP {
		r.xdp(t, u)
	} else {
		u.SendSockets = int(t.integer("send_sockets", 4, 1, maxSendSockets))
	}
	t.onlyWith(KindXDP, u.Kind, "interface", "attach", "zero_copy", "busy_poll", "frames")
	t.onlyWith(KindUDP, u.Kind, "send_sockets")
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

// xdp reads what only an underlay of that kind has.
func (r *reader) xdp(t *table, u *Underlay) {
	const accepted = "the name of a network device, 1 to 15 bytes"
	if n := t.get("interface", unstable.String, accepted); n != nil {
		if !validDevice(n.text) {
			t.fail(n.line, "interface %s: not the name of a device (%s)", n.show(), accepted)
		} else {
			u.Interface = n.text
		}
	}
	u.Attach = t.choice("attach", "auto", []string{"auto", "native", "generic"})
	u.ZeroCopy = t.choice("zero_copy", "auto", []string{"auto", "on", "off"})
	u.BusyPoll = t.duration("busy_poll", 0, 0, maxBusyPoll)
	u.Frames = int(t.integer("frames", defaultFrames, minFrames, maxFrames))
	if u.Frames&(u.Frames-1) != 0 {
		t.fail(t.n.keys["frames"].line, "frames %d: not a power of two (%d to %d)", u.Frames, minFrames, maxFrames)
	}
}

// validDevice is dev_valid_name of the kernel, and no control characters.
func validDevice(s string) bool {
	return s != "" && len(s) < 16 && s != "." && s != ".." &&
		!strings.ContainsFunc(s, func(c rune) bool { return c == '/' || c == ':' || c <= ' ' || c == 0x7f })
}

// onlyWith reports keys that have no meaning for an underlay of kind.
func (t *table) onlyWith(owner, kind Kind, keys ...string) {
	if kind == owner {
		return
	}
	for _, key := range keys {
		if t.has(key) {
			t.known = append(t.known, key)
			t.fail(t.n.keys[key].line, "%s: only for kind %q", key, owner)
		}
	}
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
