// SPDX-License-Identifier: Apache-2.0

package udplink

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"netcon/dataplane/stat"
)

const (
	// maxPayload is the largest UDP payload over IPv4: 65,535 less the IP and
	// UDP headers. It bounds frames and trains, over IPv6 as well.
	maxPayload = 65535 - 20 - 8

	defaultSendSockets = 4
	defaultBuffer      = 4 << 20
	maxSendSockets     = 256
)

// Config says what Open opens.
type Config struct {
	// Local is the VTEP's address and port. Port 0 asks the kernel for one;
	// Link.Local tells which.
	Local netip.AddrPort
	// Workers is how many Links share Local.
	Workers int
	// SendSockets is the number of outer source ports per worker; 0 means 4.
	SendSockets int
	// MTU is the largest UDP payload in bytes that will be reserved, from the
	// VXLAN header on; 0 means the largest there is.
	MTU int
	// Stats has one block per worker.
	Stats []*stat.Block
	// RecvBuffer and SendBuffer are the kernel's socket buffers in bytes; 0
	// means 4 MiB. The kernel may grant less: see Features.
	RecvBuffer, SendBuffer int
	// DisableOffload turns UDP_SEGMENT and UDP_GRO off.
	DisableOffload bool
}

func (c *Config) check() error {
	c.Local = netip.AddrPortFrom(c.Local.Addr().Unmap(), c.Local.Port())
	switch addr := c.Local.Addr(); {
	case !addr.IsValid():
		return errors.New("open udp underlay: no local address")
	case addr.IsUnspecified():
		return fmt.Errorf("open udp underlay %s: wildcard address (give the VTEP's own address)", c.Local)
	case addr.IsMulticast():
		return fmt.Errorf("open udp underlay %s: multicast address", c.Local)
	}
	if c.SendSockets == 0 {
		c.SendSockets = defaultSendSockets
	}
	if c.MTU == 0 {
		c.MTU = maxPayload
	}
	if c.RecvBuffer == 0 {
		c.RecvBuffer = defaultBuffer
	}
	if c.SendBuffer == 0 {
		c.SendBuffer = defaultBuffer
	}
	switch {
	case c.Workers < 1 || len(c.Stats) != c.Workers:
		return fmt.Errorf("open udp underlay %s: %d workers with %d stat blocks", c.Local, c.Workers, len(c.Stats))
	case c.SendSockets < 1 || c.SendSockets > maxSendSockets:
		return fmt.Errorf("open udp underlay %s: %d send sockets per worker (1 to %d)", c.Local, c.SendSockets, maxSendSockets)
	case c.MTU < 1 || c.MTU > maxPayload:
		return fmt.Errorf("open udp underlay %s: MTU %d (1 to %d)", c.Local, c.MTU, maxPayload)
	case slices.Contains(c.Stats, nil):
		return fmt.Errorf("open udp underlay %s: a worker without stat block", c.Local)
	case c.RecvBuffer < 0 || c.SendBuffer < 0:
		return fmt.Errorf("open udp underlay %s: negative buffer size", c.Local)
	}
	return nil
}

// Open opens the links of all workers. Either all are open or none.
func Open(cfg Config) ([]*Link, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	scope, err := scopeID(cfg.Local.Addr())
	if err != nil {
		return nil, err
	}
	links := make([]*Link, 0, cfg.Workers)
	fail := func(err error) ([]*Link, error) {
		for _, l := range links {
			_ = l.Close()
		}
		return nil, err
	}
	for w := range cfg.Workers {
		l := newLink(cfg, scope, cfg.Stats[w])
		links = append(links, l)
		if err := l.openReceiver(w); err != nil {
			return fail(err)
		}
		cfg.Local = l.local
	}
	// After all receive sockets: an ephemeral port must not take the VTEP's.
	for _, l := range links {
		if err := l.openSenders(); err != nil {
			return fail(err)
		}
	}
	return links, nil
}
