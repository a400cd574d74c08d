// SPDX-License-Identifier: Apache-2.0

package bench

import "context"

var _ = registerSystem(&systemKind{
	name: "kernel-veth", about: "two namespaces and a veth, no overlay: what the kernel does at best",
	make: func(string, map[string]string) System { return kernelVeth{} },
})

type kernelVeth struct{}

func (kernelVeth) Name() string      { return "kernel-veth" }
func (kernelVeth) Check(Tools) error { return need("system kernel-veth", "ip", "ethtool") }

func (kernelVeth) Up(ctx context.Context, s *Site, l Link) (*Pair, error) {
	server, client, err := s.hosts(ctx, l)
	if err != nil {
		return nil, err
	}
	for _, ns := range []string{server, client} {
		if err := s.tune(ctx, ns); err != nil {
			return nil, err
		}
	}
	return &Pair{
		Server: &Side{NS: server, Bind: serverVTEP, Addr: serverVTEP, Kernel: true, Devices: []string{"eth0"}},
		Client: &Side{NS: client, Bind: clientVTEP, Addr: clientVTEP, Kernel: true, Devices: []string{"eth0"}},
	}, nil
}
