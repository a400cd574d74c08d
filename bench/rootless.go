// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"net/netip"
)

// rootless is a server in a namespace that only a user-space program connects
// with its host, and the host's addresses and ports stand for it.
type rootless struct {
	host  string // has a veth to the client, and the program
	guest string // has the server
	pair  *Pair
}

// newRootless makes everything but the program. device is what the program makes
// in the guest.
func newRootless(ctx context.Context, s *Site, l Link, device string) (*rootless, error) {
	host, client, err := s.hosts(ctx, l)
	if err != nil {
		return nil, err
	}
	// Such programs take their addresses from the default route's device.
	if err := s.ip(ctx, fmt.Sprintf("-n %s route add default via %s", host, clientVTEP)); err != nil {
		return nil, err
	}
	guest, err := s.Namespace(ctx, "guest")
	if err != nil {
		return nil, err
	}
	// pasta forwards nothing where there is no IPv6 at all.
	for _, ns := range []string{host, guest} {
		if err := s.sysctl(ns, "net.ipv6.conf.default.disable_ipv6", "0", "net.ipv6.conf.all.disable_ipv6", "0"); err != nil {
			return nil, err
		}
	}
	for _, ns := range []string{host, client} {
		if err := s.tune(ctx, ns); err != nil {
			return nil, err
		}
	}
	return &rootless{host: host, guest: guest, pair: &Pair{
		Server: &Side{NS: guest, Bind: netip.IPv4Unspecified(), Addr: serverVTEP, Kernel: true, Devices: []string{device}},
		Client: &Side{NS: client, Bind: clientVTEP, Addr: clientVTEP, Kernel: true, Devices: []string{"eth0"}},
	}}, nil
}

// start starts the program and waits until it has made its device.
func (r *rootless) start(ctx context.Context, s *Site, argv ...string) error {
	p, err := s.Start(argv[0], r.host, nil, argv...)
	if err != nil {
		return err
	}
	r.pair.Carriers = append(r.pair.Carriers, p)
	return until(ctx, argv[0], func() error {
		if !p.Running() {
			return fmt.Errorf("it ended: %s", lastLine(p.Text()))
		}
		v, err := r.pair.Server.look()
		if err != nil {
			return err
		}
		device := r.pair.Server.Devices[0]
		if _, ok := v.devices[device]; !ok {
			return fmt.Errorf("there is no %s yet", device)
		}
		return nil
	})
}
