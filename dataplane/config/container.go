// SPDX-License-Identifier: Apache-2.0

package config

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"

	"netcon/dataplane/wire"
)

// Bounds of a container's limits. A buffer or fragment store smaller than one
// datagram could never pass it on.
const (
	maxConnections   = 1 << 24
	minBufferBytes   = 64 << 10
	maxBufferBytes   = 1 << 40
	minFragmentBytes = 64 << 10
	maxFragmentBytes = 1 << 30

	// maxSuggested is how many names are compared with one that is unknown.
	maxSuggested = 256
)

// container reads one [[container]].
func (r *reader) container(src *node, number int) {
	t := r.table(src, "container", 0)
	c := Container{Name: t.name(number)}
	if c.Name != "" {
		if first, ok := r.containers[c.Name]; ok {
			t.fail(t.n.keys["name"].line, "name %q: used twice (also on line %d)", c.Name, first)
		} else {
			r.containers[c.Name] = t.line
		}
	}
	nr := r.networkOf(t, &c)
	r.addresses(t, &c, nr)
	mac, line := t.mac("mac")
	if !t.has("mac") && nr != nil && len(c.Addresses) > 0 {
		mac = DeriveMAC(nr.VNI, c.Addresses[0])
	}
	if nr != nil && !mac.IsZero() {
		nr.takeMAC(t, line, mac, netip.Addr{})
	}
	c.MAC = mac
	c.UIDs = r.uids(t)
	c.Worker = int(t.integer("worker", AnyWorker, 0, int64(r.cfg.Daemon.Workers)-1))
	c.Missing = Missing(t.choice("missing", string(MissingFail), []string{string(MissingFail), string(MissingKernel)}))
	c.Policy = Policy(t.choice("policy", string(PolicyIsolated), []string{string(PolicyIsolated), string(PolicyHost)}))
	c.Publish = r.publications(t)
	c.Engine = t.choice("engine", "gvisor", []string{"gvisor"}, "native")
	c.Mode = t.choice("mode", "pump", []string{"pump"}, "ring")
	c.SynRetries = int(t.integer("syn_retries", 6, 1, 127))
	c.TimeWait = t.duration("time_wait", 5*time.Second, 0, 4*time.Minute)
	limits := t.sub("limits", "[container.limits]")
	limits.object = t.object + ": limits"
	c.Limits = r.limits(limits)
	t.done()
	r.cfg.Containers = append(r.cfg.Containers, c)
}

// networkOf returns the container's network, or nil if that was reported.
func (r *reader) networkOf(t *table, c *Container) *networkRead {
	n := t.required("network", "the name of a [[network]]")
	if n == nil {
		return nil
	}
	c.Network = n.text
	if nr := r.networks[n.text]; nr != nil {
		return nr
	}
	hint := "the name of a [[network]]"
	if len(r.networks) <= maxSuggested {
		if s := suggest(n.text, slices.Sorted(maps.Keys(r.networks))); s != "" {
			hint = fmt.Sprintf("did you mean %q?", s)
		}
	}
	t.fail(n.line, "network %s: not defined (%s)", n.show(), hint)
	return nil
}

func (r *reader) addresses(t *table, c *Container, nr *networkRead) {
	const accepted = "addresses inside the network's subnets"
	for _, n := range t.list("addresses", "address", unstable.String, accepted) {
		a := t.address(n, "address")
		if !a.IsValid() {
			continue
		}
		if nr != nil && (!r.inside(t, n, "address", a, nr) || !nr.takeIP(t, n.line, "address", a)) {
			continue
		}
		c.Addresses = append(c.Addresses, a)
	}
	if !t.has("addresses") {
		t.fail(t.line, "addresses: missing (a list of %s)", accepted)
	} else if n := t.n.keys["addresses"]; n.kind == unstable.Array && len(n.items) == 0 {
		t.fail(n.line, "addresses: empty (a list of %s)", accepted)
	}
}

// uids returns who may attach; the default is whoever runs the daemon.
func (r *reader) uids(t *table) []uint32 {
	const most = math.MaxUint32 - 1 // (uid_t)-1 is no user
	items := t.list("uids", "uid", unstable.Integer, "user numbers")
	if !t.has("uids") {
		return []uint32{uint32(r.host.uid)}
	}
	uids := []uint32{}
	for _, n := range items {
		v, ok := n.integer()
		if !ok || v < 0 || v > most {
			t.fail(n.line, "uid %s: out of range (0 to %d)", n.show(), int64(most))
			continue
		}
		uids = append(uids, uint32(v))
	}
	return uids
}

// limits reads [container.limits].
func (r *reader) limits(t *table) Limits {
	var l Limits
	l.Connections = int(t.integer("connections", 16384, 1, maxConnections))
	l.HalfOpen = int(t.integer("half_open", int64(min(4096, l.Connections)), 1, int64(l.Connections)))
	l.BufferBytes = t.size("buffer_bytes", 256<<20, minBufferBytes, maxBufferBytes)
	l.FragmentBytes = t.size("fragment_bytes", 4<<20, minFragmentBytes, maxFragmentBytes)
	t.done()
	return l
}

// DeriveMAC returns the link-layer address of a container that was given none.
// It is the same on every host: the first six bytes of the SHA-256 of the VNI
// (four bytes, big endian) and the container's first address (4 or 16 bytes),
// with the bit "locally administered" set and the bit "group" cleared.
func DeriveMAC(vni uint32, first netip.Addr) wire.MAC {
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint32(nil, vni), first.AsSlice()...))
	m := wire.MAC(sum[:6])
	m[0] = m[0]&^1 | 2
	return m
}
