// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"net/netip"
)

// The world of every system: outer and inner addresses of server and client.
var (
	serverVTEP = netip.MustParseAddr("192.0.2.1")
	clientVTEP = netip.MustParseAddr("192.0.2.2")
	serverAddr = netip.MustParseAddr("10.77.0.1")
	clientAddr = netip.MustParseAddr("10.77.0.2")
)

const vni = 77

var _ = registerSystem(&systemKind{
	name: Baseline, about: "the kernel's vxlan device on both ends of a veth: the baseline",
	params: map[string][]string{"tuned": {"yes", "no"}, "offloads": {"on", "off"}, "receive": {"softirq", "threads"}},
	make: func(name string, p map[string]string) System {
		return &kernelVXLAN{name: name, tuned: p["tuned"] == "yes", offloads: p["offloads"] == "on", threads: p["receive"] == "threads"}
	},
})

type kernelVXLAN struct {
	name                     string
	tuned, offloads, threads bool
}

func (k *kernelVXLAN) Name() string      { return k.name }
func (k *kernelVXLAN) Check(Tools) error { return need("system "+k.name, "ip", "ethtool") }

func (k *kernelVXLAN) Up(ctx context.Context, s *Site, l Link) (*Pair, error) {
	server, client, err := s.hosts(ctx, l)
	if err != nil {
		return nil, err
	}
	for _, e := range []struct {
		ns         string
		self, peer netip.Addr
		inner      netip.Addr
	}{{server, serverVTEP, clientVTEP, serverAddr}, {client, clientVTEP, serverVTEP, clientAddr}} {
		if err := s.vxlan(ctx, e.ns, e.self, e.peer, e.inner); err != nil {
			return nil, err
		}
		if k.tuned {
			if err := s.tune(ctx, e.ns); err != nil {
				return nil, err
			}
		}
		if !k.offloads {
			if err := s.noOffloads(ctx, e.ns, "eth0", "vx0"); err != nil {
				return nil, err
			}
		}
	}
	p := &Pair{
		Server:         &Side{NS: server, Bind: serverAddr, Addr: serverAddr, Kernel: true, Devices: []string{"vx0"}},
		Client:         &Side{NS: client, Bind: clientAddr, Addr: clientAddr, Kernel: true, Devices: []string{"vx0"}},
		BaselineClient: k.tuned && k.offloads && !k.threads,
	}
	if k.threads {
		if p.threads.server, err = s.receiveThreads(ctx, server, "eth0"); err != nil {
			return nil, err
		}
		p.threads.client, err = s.receiveThreads(ctx, client, "eth0")
	}
	return p, err
}

// hosts makes two namespaces joined by a veth, eth0 on both sides.
func (s *Site) hosts(ctx context.Context, l Link) (server, client string, err error) {
	if server, err = s.Namespace(ctx, "server"); err != nil {
		return "", "", err
	}
	if client, err = s.Namespace(ctx, "client"); err != nil {
		return "", "", err
	}
	return server, client, s.Veth(ctx, l, server, client, "eth0", serverVTEP.String()+"/24", clientVTEP.String()+"/24")
}

// vxlan makes the kernel's vxlan device vx0.
func (s *Site) vxlan(ctx context.Context, ns string, self, peer, inner netip.Addr) error {
	return s.ip(ctx,
		fmt.Sprintf("-n %s link add vx0 mtu 1450 type vxlan id %d dstport 4789 local %s remote %s", ns, vni, self, peer),
		fmt.Sprintf("-n %s addr add %s/24 dev vx0", ns, inner),
		fmt.Sprintf("-n %s link set vx0 up", ns))
}

// tune is what one does to a host of this kind: room for windows, and receive
// merging on the veth.
func (s *Site) tune(ctx context.Context, ns string) error {
	if err := s.sysctl(ns, "net.ipv4.tcp_rmem", "4096 131072 16777216", "net.ipv4.tcp_wmem", "4096 65536 16777216"); err != nil {
		return err
	}
	_, err := s.Output(ctx, ns, "ethtool", "-K", "eth0", "gro", "on")
	return err
}

// noOffloads has every frame cross as it would a wire without help.
func (s *Site) noOffloads(ctx context.Context, ns string, devices ...string) error {
	for _, d := range devices {
		if _, err := s.Output(ctx, ns, "ethtool", "-K", d, "tso", "off", "gso", "off", "gro", "off", "tx", "off"); err != nil {
			return err
		}
	}
	return nil
}
