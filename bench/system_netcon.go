// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"netcon/dataplane"
	"netcon/dataplane/config"
)

var _ = registerSystem(&systemKind{
	name: Default, about: "netcon on the server's side; the peer is a stock kernel's vxlan device, or netcon too",
	params: map[string][]string{
		"underlay": {"xdp", "udp"}, "engine": {"gvisor", "native"}, "mode": {"pump", "ring"}, "peer": {"kernel", "netcon"},
	},
	make: func(name string, p map[string]string) System {
		return &netcon{name: name, underlay: p["underlay"], engine: p["engine"], mode: p["mode"], peer: p["peer"]}
	},
})

type netcon struct{ name, underlay, engine, mode, peer string }

func (n *netcon) Name() string { return n.name }

// Check asks the configuration's own reader, so that what does not exist yet is
// said where it is known.
func (n *netcon) Check(Tools) error {
	const file = "netcon.toml"
	if _, err := config.Parse(file, []byte(n.configuration("/run/netcon", serverVTEP, clientVTEP, "server", serverAddr))); err != nil {
		return fmt.Errorf("%w: system %s: %s", ErrInput, n.name, strings.TrimPrefix(lastLine(err.Error()), file+":"))
	}
	return nil
}

func (n *netcon) Up(ctx context.Context, s *Site, l Link) (*Pair, error) {
	server, client, err := s.hosts(ctx, l)
	if err != nil {
		return nil, err
	}
	p := &Pair{BaselineClient: n.peer == "kernel"}
	if p.Server, err = n.host(ctx, s, p, server, serverVTEP, clientVTEP, serverAddr); err != nil {
		return nil, err
	}
	if n.peer == "netcon" {
		p.Client, err = n.host(ctx, s, p, client, clientVTEP, serverVTEP, clientAddr)
		return p, err
	}
	p.Client = &Side{NS: client, Bind: clientAddr, Addr: clientAddr, Kernel: true, Devices: []string{"vx0"}}
	if err := s.vxlan(ctx, client, clientVTEP, serverVTEP, clientAddr); err != nil {
		return nil, err
	}
	return p, s.tune(ctx, client)
}

// host runs a daemon with one container in a namespace.
func (n *netcon) host(ctx context.Context, s *Site, p *Pair, ns string, self, peer, inner netip.Addr) (*Side, error) {
	run := filepath.Join(s.Dir, ns)
	conf := run + ".toml"
	const container = "bench"
	if err := os.WriteFile(conf, []byte(n.configuration(run, self, peer, container, inner)), 0o600); err != nil {
		return nil, err
	}
	daemon, err := s.Start("netcon up", ns, nil, s.Exe, "up", "-c", conf)
	if err != nil {
		return nil, err
	}
	p.Carriers = append(p.Carriers, daemon)
	client := dataplane.NewClient(run)
	if err := until(ctx, "netcon up", func() error {
		if !daemon.Running() {
			return fmt.Errorf("it ended: %s", lastLine(daemon.Text()))
		}
		_, err := client.Status()
		return err
	}); err != nil {
		return nil, err
	}
	return &Side{
		NS: ns, Prefix: []string{s.Exe, "exec", "-run", run, "-n", container, "--"}, Bind: inner, Addr: inner,
		OuterUDP: n.underlay == "udp", Daemon: &Daemon{Client: client, Container: container},
	}, nil
}

func (n *netcon) configuration(run string, self, peer netip.Addr, container string, inner netip.Addr) string {
	return fmt.Sprintf(`[daemon]
runtime_dir = %q

[underlay]
kind = %q
address = %q

[[network]]
name = "bench"
vni = %d
subnets = [%q]
vteps = [%q]

[[container]]
name = %q
network = "bench"
addresses = [%q]
engine = %q
mode = %q
`, run, n.underlay, self, vni, netip.PrefixFrom(inner, 24).Masked(), peer, container, inner, n.engine, n.mode)
}
