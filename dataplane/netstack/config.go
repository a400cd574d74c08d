// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"fmt"
	"net/netip"
	"time"

	"netcon/dataplane/stat"
)

// Limits bounds what one stack may hold. A zero field means its default.
type Limits struct {
	Connections   int // open sockets, listeners included; default 16,384
	HalfOpen      int // sum of the listeners' backlogs; default 4,096
	BufferBytes   int // bytes queued in both directions; default 256 MiB
	FragmentBytes int // fragments accepted per reassembly time; default 4 MiB
}

// Config says what a Stack is. Zero fields mean defaults.
type Config struct {
	Name string // of the container, for messages
	MTU  int    // of the network: the largest IP packet in bytes, 1,280 (IPv4 only: 576) to 65,535

	Addrs    []netip.Prefix // own addresses, each with its on-link prefix
	Gateway4 netip.Addr     // default route; invalid: only on-link destinations
	Gateway6 netip.Addr

	Limits Limits
	Stat   *stat.Block // written on the worker's thread; a private one if nil

	// Doorbell says that Busy became true. It is called from any goroutine,
	// some of which hold locks of the stack: it must not call back.
	Doorbell func()

	TimeWait   time.Duration // default 5 s
	SynRetries int           // retransmissions of a SYN, 1 to 6; default 6 (127 s)
}

// Buffer sizes of a connection in bytes: what a new one has, and the range
// within which options and automatic tuning move.
const (
	minBuffer     = 4 << 10
	defaultBuffer = 256 << 10
	maxBuffer     = 4 << 20
)

// maxSynRetries is how often gVisor retransmits a SYN before it gives up.
const maxSynRetries = 6

// minRTO is the shortest retransmission timeout. It has to exceed the delayed
// acknowledgments of peers, 40 ms in Linux when the round trip time is short.
const minRTO = 100 * time.Millisecond

// minMTU is the smallest MTU that carries IPv6, RFC 8200 section 5.
const minMTU = 1280

func (c *Config) complete() error {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&c.Limits.Connections, 16384)
	def(&c.Limits.HalfOpen, 4096)
	def(&c.Limits.BufferBytes, 256<<20)
	def(&c.Limits.FragmentBytes, 4<<20)
	def(&c.SynRetries, maxSynRetries)
	c.SynRetries = min(c.SynRetries, maxSynRetries)
	if c.TimeWait <= 0 {
		c.TimeWait = 5 * time.Second
	}
	if c.Stat == nil {
		c.Stat = new(stat.Block)
	}
	if c.Doorbell == nil {
		c.Doorbell = func() {}
	}
	if len(c.Addrs) == 0 {
		return fmt.Errorf("stack %q: no address", c.Name)
	}
	least := minPathMTU4
	for _, p := range c.Addrs {
		a := p.Addr()
		if !p.IsValid() || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() {
			return fmt.Errorf("address %s of stack %q: not a unicast address with a prefix length", p, c.Name)
		}
		if a.Is6() {
			least = minMTU
		}
	}
	if c.MTU < least || c.MTU > 65535 {
		return fmt.Errorf("mtu %d of stack %q (want %d to 65535)", c.MTU, c.Name, least)
	}
	if g := c.Gateway4; g.IsValid() && !g.Is4() {
		return fmt.Errorf("gateway %s of stack %q: not an IPv4 address", g, c.Name)
	}
	if g := c.Gateway6; g.IsValid() && (!g.Is6() || g.Is4In6()) {
		return fmt.Errorf("gateway %s of stack %q: not an IPv6 address", g, c.Name)
	}
	return nil
}

// Usage is how much of its limits a stack uses.
type Usage struct {
	Sockets       int // open, of Limits.Connections
	Orphans       int // closed by their owner, not yet by TCP; TIME_WAIT included
	HalfOpen      int // granted backlogs, of Limits.HalfOpen
	BufferBytes   int // of Limits.BufferBytes
	FragmentBytes int // of Limits.FragmentBytes
}
