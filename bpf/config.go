// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"
)

const (
	// MaxPorts is how many different ports a Program takes: MAX_PORTS of
	// overlay.c.
	MaxPorts = 8

	maxQueues = 1 << 16
)

// Config says which datagrams are the overlay's.
type Config struct {
	// VTEP is the outer destination address. A zone is not looked at: the
	// interface is the one that Attach names.
	VTEP netip.Addr
	// Ports are the outer UDP destination ports, 1 to MaxPorts of them.
	Ports []uint16
	// Queues is the number of receive queues of the interface.
	Queues int
	// Frags lets the driver hand over frames that span several buffers (Linux
	// 5.18). Without it many drivers refuse native mode for MTUs beyond about
	// 3,500 bytes.
	Frags bool
}

func (c *Config) check() error {
	c.VTEP = c.VTEP.Unmap().WithZone("")
	c.Ports = slices.Compact(slices.Sorted(slices.Values(c.Ports)))
	switch {
	case !c.VTEP.IsValid():
		return errors.New("no VTEP address")
	case c.VTEP.IsUnspecified():
		return fmt.Errorf("VTEP %s: wildcard address (give the VTEP's own address)", c.VTEP)
	case c.VTEP.IsMulticast():
		return fmt.Errorf("VTEP %s: multicast address", c.VTEP)
	case len(c.Ports) < 1 || len(c.Ports) > MaxPorts:
		return fmt.Errorf("%d UDP ports (1 to %d)", len(c.Ports), MaxPorts)
	case c.Ports[0] == 0:
		return errors.New("UDP port 0 (1 to 65535)")
	case c.Queues < 1 || c.Queues > maxQueues:
		return fmt.Errorf("%d receive queues (1 to %d)", c.Queues, maxQueues)
	}
	return nil
}

// apply writes c into the constants, the map size and the flags of the program
// that is going to be loaded. Addresses and ports are in network byte order.
func (c *Config) apply(spec *ebpf.CollectionSpec) error {
	var vtep [16]byte
	copy(vtep[:], c.VTEP.AsSlice())
	var ports [2 * MaxPorts]byte
	for i, p := range c.Ports {
		binary.BigEndian.PutUint16(ports[2*i:], p)
	}
	version := uint8(6)
	if c.VTEP.Is4() {
		version = 4
	}
	for name, value := range map[string]any{
		overlayVarIpVersion: version,
		overlayVarVtep:      vtep[:],
		overlayVarPorts:     ports[:],
		overlayVarPortCount: uint8(len(c.Ports)),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return err
		}
	}
	spec.Maps[overlayMapSockets].MaxEntries = uint32(c.Queues)
	if c.Frags {
		spec.Programs[overlayProgNetconOverlay].Flags |= hasFrags
	}
	return nil
}
