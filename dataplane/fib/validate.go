// SPDX-License-Identifier: Apache-2.0

package fib

import (
	"errors"
	"fmt"
	"net/netip"

	"netcon/dataplane/wire"
)

// maxLearnMax bounds the configured LearnMax.
const maxLearnMax = 1 << 20

func validate(networks []Network) error {
	names := make(map[uint32]string, len(networks))
	for i := range networks {
		n := &networks[i]
		if n.VNI > wire.VNIMax {
			return fmt.Errorf("network %q: vni %d (want 0 to %d)", n.Name, n.VNI, wire.VNIMax)
		}
		if other, dup := names[n.VNI]; dup {
			return fmt.Errorf("network %q: duplicate vni %d (network %q has it)", n.Name, n.VNI, other)
		}
		names[n.VNI] = n.Name
		if err := n.validate(); err != nil {
			return fmt.Errorf("network %q: %w", n.Name, err)
		}
	}
	return nil
}

func (n *Network) validate() error {
	if n.LearnMax < 0 || n.LearnMax > maxLearnMax {
		return fmt.Errorf("learn limit %d (want 0 to %d)", n.LearnMax, maxLearnMax)
	}
	vteps := make(map[netip.Addr]bool, len(n.VTEPs))
	for _, v := range n.VTEPs {
		if err := checkAddr(v); err != nil {
			return fmt.Errorf("vtep %s: %w", v, err)
		}
		if vteps[v] {
			return fmt.Errorf("duplicate vtep %s", v)
		}
		vteps[v] = true
	}
	members := make(map[wire.MAC]bool, len(n.Members))
	for _, m := range n.Members {
		if err := checkMAC(m.MAC); err != nil {
			return fmt.Errorf("member %s: %w", m.MAC, err)
		}
		if members[m.MAC] {
			return fmt.Errorf("duplicate member mac %s", m.MAC)
		}
		if m.Port.Worker < 0 || m.Port.Index < 0 {
			return fmt.Errorf("member %s: negative port %d/%d", m.MAC, m.Port.Worker, m.Port.Index)
		}
		members[m.MAC] = true
	}
	return n.validateHosts()
}

func (n *Network) validateHosts() error {
	ips := make(map[netip.Addr]bool, len(n.Hosts))
	places := make(map[wire.MAC]netip.Addr, len(n.Hosts))
	for _, h := range n.Hosts {
		if err := checkAddr(h.IP); err != nil {
			return fmt.Errorf("host %s: %w", h.IP, err)
		}
		if err := checkMAC(h.MAC); err != nil {
			return fmt.Errorf("host %s: mac %s: %w", h.IP, h.MAC, err)
		}
		if ips[h.IP] {
			return fmt.Errorf("duplicate host %s", h.IP)
		}
		ips[h.IP] = true
		if !h.VTEP.IsValid() {
			continue
		}
		if err := checkAddr(h.VTEP); err != nil {
			return fmt.Errorf("host %s: vtep %s: %w", h.IP, h.VTEP, err)
		}
		// One MAC may have several addresses, but it is in one place.
		if p, ok := places[h.MAC]; ok && p != h.VTEP {
			return fmt.Errorf("host %s: duplicate mac %s (behind vtep %s and %s)", h.IP, h.MAC, p, h.VTEP)
		}
		places[h.MAC] = h.VTEP
	}
	return nil
}

func checkAddr(a netip.Addr) error {
	switch {
	case !a.IsValid():
		return errors.New("not an address")
	case a.Is4In6():
		return fmt.Errorf("an IPv4-mapped address (want %s)", a.Unmap())
	case !isPlace(a):
		return errors.New("not a unicast address")
	}
	return nil
}

func checkMAC(m wire.MAC) error {
	switch {
	case m.IsZero():
		return errors.New("a zero mac")
	case m.IsGroup():
		return errors.New("a group mac")
	}
	return nil
}

// isPlace reports whether a can be the address of one host.
func isPlace(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && a != limitedBroadcast
}

var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
