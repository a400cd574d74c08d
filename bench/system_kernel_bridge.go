// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"net/netip"
)

var _ = registerSystem(&systemKind{
	name: "kernel-bridge", about: "two containers of one host: two veths on a bridge",
	make: func(string, map[string]string) System { return kernelBridge{} },
})

type kernelBridge struct{}

func (kernelBridge) Name() string      { return "kernel-bridge" }
func (kernelBridge) Check(Tools) error { return need("system kernel-bridge", "ip", "ethtool") }

func (kernelBridge) Up(ctx context.Context, s *Site, _ Link) (*Pair, error) {
	host, err := s.Namespace(ctx, "host")
	if err != nil {
		return nil, err
	}
	if err := s.ip(ctx,
		fmt.Sprintf("-n %s link add br0 type bridge", host),
		fmt.Sprintf("-n %s link set br0 up", host)); err != nil {
		return nil, err
	}
	p := &Pair{}
	for _, e := range []struct {
		name string
		addr netip.Addr
		side **Side
	}{{"server", serverAddr, &p.Server}, {"client", clientAddr, &p.Client}} {
		ns, err := s.Namespace(ctx, e.name)
		if err != nil {
			return nil, err
		}
		if err := s.ip(ctx,
			fmt.Sprintf("-n %s link add eth0 type veth peer name %s netns %s", ns, e.name, host),
			fmt.Sprintf("-n %s link set %s master br0 up", host, e.name),
			fmt.Sprintf("-n %s addr add %s/24 dev eth0", ns, e.addr),
			fmt.Sprintf("-n %s link set eth0 up", ns)); err != nil {
			return nil, err
		}
		if err := s.tune(ctx, ns); err != nil {
			return nil, err
		}
		*e.side = &Side{NS: ns, Bind: e.addr, Addr: e.addr, Kernel: true, Devices: []string{"eth0"}}
	}
	return p, nil
}
