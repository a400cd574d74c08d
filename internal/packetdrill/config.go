// SPDX-License-Identifier: Apache-2.0

package packetdrill

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Config says how scripts are run. DefaultConfig and Set make one.
type Config struct {
	// Strict adds rules that packetdrill does not have: PSH, the order of
	// options and the limits of segments have to be as the script says, the
	// script has to mention every packet that the machine sends up to its
	// last event, and timers have no slack of 12.5%.
	Strict bool

	// Trace is called with every packet, call and note; nil: nobody wants
	// to know.
	Trace func(at time.Duration, line string)

	Defines map[string]string

	ipv6      bool // on the wire
	mapped    bool // AF_INET6 sockets with IPv4 on the wire
	local     netip.Addr
	remote    netip.Addr
	gateway   netip.Addr
	bits      int // length of the on-link prefix
	bindPort  uint16
	connPort  uint16
	mtu       int
	tolerance time.Duration
	percent   float64
	ecrScaled bool
	tick      time.Duration // of TS val; 0: not compared
	dryRun    bool
	nonFatal  bool
	set       map[string]bool // by the command line
}

// DefaultConfig is packetdrill's.
func DefaultConfig() Config {
	return Config{
		Defines: map[string]string{}, bindPort: 8080, connPort: 8080, mtu: 1500,
		tolerance: 4 * time.Millisecond, percent: 12.5,
	}
}

// Set sets one of packetdrill's options, without the leading dashes. What the
// command line sets wins over what a script says.
func (c *Config) Set(name, value string) error {
	if err := c.apply(name, value); err != nil {
		return err
	}
	set := map[string]bool{name: true}
	for k := range c.set {
		set[k] = true
	}
	c.set = set
	return nil
}

// script applies the options of a script.
func (c *Config) script(s *Script) error {
	for _, o := range s.Options {
		if c.set[o.Name] {
			continue
		}
		if err := c.apply(o.Name, o.Value); err != nil {
			return &Error{File: s.File, Line: o.Line, Text: err.Error(), Script: true}
		}
	}
	return c.complete()
}

func (c *Config) apply(name, value string) (err error) {
	bad := func() error { return fmt.Errorf("bad --%s=%s", name, value) }
	number := func(least, most int) int {
		v, e := strconv.Atoi(value)
		if e != nil || v < least || v > most {
			err = fmt.Errorf("bad --%s=%s (want %d to %d)", name, value, least, most)
		}
		return v
	}
	addr := func() netip.Addr {
		text, _, _ := strings.Cut(value, "/")
		a, e := netip.ParseAddr(text)
		if e != nil {
			err = bad()
		}
		return a
	}
	switch name {
	case "ip_version":
		c.ipv6, c.mapped = value == "ipv6", value == "ipv4-mapped-ipv6"
		if !c.ipv6 && !c.mapped && value != "ipv4" {
			return bad()
		}
	case "bind_port":
		c.bindPort = uint16(number(1, 65535))
	case "connect_port":
		c.connPort = uint16(number(1, 65535))
	case "remote_ip":
		c.remote = addr()
	case "local_ip":
		c.local = addr()
	case "gateway_ip":
		c.gateway = addr()
	case "netmask_ip":
		m := addr()
		if err == nil && !m.Is4() {
			return bad()
		}
		c.bits = 0
		for _, b := range m.AsSlice() {
			for ; b&0x80 != 0; b <<= 1 {
				c.bits++
			}
		}
	case "mss":
		number(1, 65535) // what a NIC that merged packets would tell
	case "mtu":
		c.mtu = number(576, 65535)
	case "tolerance_usecs":
		c.tolerance = time.Duration(number(0, 1e9)) * time.Microsecond
	case "tolerance_percent":
		if c.percent, err = strconv.ParseFloat(value, 64); err != nil || c.percent < 0 {
			return bad()
		}
	case "tcp_ts_ecr_scaled":
		c.ecrScaled = true
	case "tcp_ts_tick_usecs":
		c.tick = time.Duration(number(0, 1e9)) * time.Microsecond
	case "dry_run":
		c.dryRun = true
	case "non_fatal":
		c.nonFatal = strings.Contains(value, "packet")
	case "strict_segments":
		c.Strict = true
	case "define":
		k, v, ok := strings.Cut(value, "=")
		if !ok {
			return bad()
		}
		c.Defines[k] = v
	case "code_command", "code_format", "code_sockopt", "init_scripts", "speed", "send_omit_free", "debug", "verbose", "is_anyip":
		// Nothing to choose here.
	case "wire_client", "wire_server", "wire_server_ip", "wire_server_at", "wire_server_port", "wire_client_dev",
		"wire_server_dev", "so_filename", "so_flags":
		return fmt.Errorf("--%s is not supported: the machine under test lives in this process", name)
	default:
		return fmt.Errorf("unknown option --%s", name)
	}
	return err
}

// complete fills in what nobody said. The addresses are packetdrill's.
func (c *Config) complete() error {
	local, remote, gateway, bits := "192.168.0.2", "192.0.2.1", "192.168.0.1", 16
	if c.ipv6 {
		local, remote, gateway, bits = "fd3d:fa7b:d17d::2", "2001:db8::1", "fd3d:fa7b:d17d::1", 48
	}
	for _, a := range []struct {
		addr *netip.Addr
		text string
	}{{&c.local, local}, {&c.remote, remote}, {&c.gateway, gateway}} {
		if !a.addr.IsValid() {
			*a.addr = netip.MustParseAddr(a.text)
		}
		if a.addr.Is4() == c.ipv6 {
			return fmt.Errorf("address %s is of another family than --ip_version", a.addr)
		}
	}
	if c.bits == 0 || c.ipv6 {
		c.bits = bits
	}
	if c.gateway == c.local { // packetdrill's tunnel has its gateway at home
		c.gateway = c.local.Next()
	}
	if c.Strict && !c.set["tolerance_percent"] {
		c.percent = 0
	}
	return nil
}

// sockAddr returns an address of the wire as sockets see it.
func (c *Config) sockAddr(a netip.Addr) netip.Addr {
	if c.mapped && a.Is4() {
		return netip.AddrFrom16(a.As16())
	}
	return a
}
