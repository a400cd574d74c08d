// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"netcon/bpf"
	"netcon/dataplane/stat"
)

// Choice says whether a feature is wanted.
type Choice uint8

// The choices.
const (
	Auto Choice = iota // if it is there
	On                 // or fail
	Off                // never
)

// String returns the name of the choice.
func (c Choice) String() string {
	switch c {
	case Auto:
		return "auto"
	case On:
		return "on"
	case Off:
		return "off"
	}
	return "unknown"
}

const (
	defaultFrames = 4096
	minFrames     = 128
	maxFrames     = 1 << 16

	// maxBusyPoll bounds how long one system call may poll the driver.
	maxBusyPoll = 10 * time.Millisecond
)

// Config says what Open opens.
type Config struct {
	// Interface is the device, in the network namespace of the thread that
	// calls Open.
	Interface string
	// Local is the VTEP's address and port. The host holds the address, on
	// this device or another. Port 0 asks the kernel for one; Device.Local
	// tells which.
	Local netip.AddrPort
	// Workers is how many Links share the device's receive queues.
	Workers int
	// Mode is where the XDP program runs.
	Mode bpf.Mode
	// ZeroCopy says whether the driver is to receive into our memory and send
	// from it.
	ZeroCopy Choice
	// BusyPoll lets system calls of the worker poll the driver for up to that
	// long; 0 leaves it to interrupts.
	BusyPoll time.Duration
	// MTU is the largest outer IP packet in bytes; 0 means the device's. It
	// is no larger than the device's.
	MTU int
	// Frames is the number of frames per queue, half of them for receiving: a
	// power of two from 128 to 65,536; 0 means 4,096.
	Frames int
	// Unfinished says that the device passes frames on inside one host (veth
	// and its like), so that peers leave checksums to hardware that does not
	// exist. A UDP checksum that is the bare sum of the pseudo-header is then
	// accepted.
	Unfinished bool
	// Stats has one block per worker.
	Stats []*stat.Block
	// Log takes what an operator should know; nil means slog.Default.
	Log *slog.Logger
}

func (c *Config) check() error {
	c.Local = netip.AddrPortFrom(c.Local.Addr().Unmap(), c.Local.Port())
	if c.Frames == 0 {
		c.Frames = defaultFrames
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	switch addr := c.Local.Addr(); {
	case c.Interface == "":
		return errors.New("no interface")
	case !addr.IsValid():
		return errors.New("no local address")
	case addr.IsUnspecified():
		return fmt.Errorf("local address %s is a wildcard (give the VTEP's own address)", addr)
	case addr.IsMulticast():
		return fmt.Errorf("local address %s is multicast", addr)
	case c.Workers < 1 || len(c.Stats) != c.Workers:
		return fmt.Errorf("%d workers with %d stat blocks", c.Workers, len(c.Stats))
	case slices.Contains(c.Stats, nil):
		return errors.New("a worker without stat block")
	case c.Mode > bpf.Generic:
		return fmt.Errorf("mode %d (auto, native or generic)", c.Mode)
	case c.ZeroCopy > Off:
		return fmt.Errorf("zero copy %d (auto, on or off)", c.ZeroCopy)
	case c.Mode == bpf.Generic && c.ZeroCopy == On:
		return errors.New("zero copy in generic mode (it needs native mode)")
	case c.BusyPoll < 0 || c.BusyPoll > maxBusyPoll:
		return fmt.Errorf("busy poll for %v (0 to %v)", c.BusyPoll, maxBusyPoll)
	case c.MTU < 0 || c.MTU > 65535:
		return fmt.Errorf("MTU %d (1 to 65535, or 0 for the device's)", c.MTU)
	case c.Frames < minFrames || c.Frames > maxFrames || c.Frames&(c.Frames-1) != 0:
		return fmt.Errorf("%d frames per queue (a power of two from %d to %d)", c.Frames, minFrames, maxFrames)
	}
	return nil
}
