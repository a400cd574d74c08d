// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

var _ = registerSystem(&systemKind{
	name: "userspace-tun", about: "wireguard-go on both ends: a user-space overlay on TUN, encrypted; every packet passes the kernel twice",
	make: func(string, map[string]string) System { return userspaceTUN{} },
})

type userspaceTUN struct{}

func (userspaceTUN) Name() string { return "userspace-tun" }

func (userspaceTUN) Check(Tools) error {
	if err := need("system userspace-tun", "wireguard-go", "wg", "ip", "ethtool"); err != nil {
		return err
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return fmt.Errorf("%w: system userspace-tun: no TUN devices: %w", ErrInput, err)
	}
	return nil
}

// wireguardPort is where both ends listen.
const wireguardPort = 51820

func (userspaceTUN) Up(ctx context.Context, s *Site, l Link) (*Pair, error) {
	server, client, err := s.hosts(ctx, l)
	if err != nil {
		return nil, err
	}
	ends := []struct {
		ns            string
		inner, remote netip.Addr
		vtep          netip.Addr // the other's
		private, pub  string
	}{{ns: server, inner: serverAddr, remote: clientAddr, vtep: clientVTEP}, {ns: client, inner: clientAddr, remote: serverAddr, vtep: serverVTEP}}
	p := &Pair{}
	for i := range ends {
		e := &ends[i]
		if e.private, err = s.Output(ctx, "", "wg", "genkey"); err != nil {
			return nil, err
		}
		path := filepath.Join(s.Dir, e.ns+".key")
		if err := os.WriteFile(path, []byte(e.private), 0o600); err != nil {
			return nil, err
		}
		if e.pub, err = s.Output(ctx, "", "sh", "-c", "wg pubkey <"+path); err != nil {
			return nil, err
		}
	}
	for i, e := range ends {
		device := wireguardDevice(os.Getpid(), fmt.Sprintf("%d-%d", len(s.namespaces), i))
		conf := fmt.Sprintf("[Interface]\nPrivateKey = %s\nListenPort = %d\n\n[Peer]\nPublicKey = %s\nEndpoint = %s:%d\nAllowedIPs = %s/32\n",
			strings.TrimSpace(e.private), wireguardPort, strings.TrimSpace(ends[1-i].pub), e.vtep, wireguardPort, e.remote)
		path := filepath.Join(s.Dir, device+".conf")
		if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
			return nil, err
		}
		daemon, err := s.Start("wireguard-go", e.ns, []string{"env", "LOG_LEVEL=error"}, "wireguard-go", "-f", device)
		if err != nil {
			return nil, err
		}
		p.Carriers = append(p.Carriers, daemon)
		if err := until(ctx, "wireguard-go", func() error {
			if !daemon.Running() {
				return fmt.Errorf("it ended: %s", lastLine(daemon.Text()))
			}
			_, err := os.Stat(wireguardSocket(device))
			return err
		}); err != nil {
			return nil, err
		}
		if _, err := s.Output(ctx, e.ns, "wg", "setconf", device, path); err != nil {
			return nil, err
		}
		if err := s.ip(ctx,
			fmt.Sprintf("-n %s addr add %s/24 dev %s", e.ns, e.inner, device),
			fmt.Sprintf("-n %s link set %s mtu 1420 up", e.ns, device)); err != nil {
			return nil, err
		}
		if err := s.tune(ctx, e.ns); err != nil {
			return nil, err
		}
		side := &Side{NS: e.ns, Bind: e.inner, Addr: e.inner, Kernel: true, Devices: []string{device}}
		if i == 0 {
			p.Server = side
		} else {
			p.Client = side
		}
	}
	return p, nil
}

// wireguardDevice names a device of a bench: it has the name to itself on the
// whole machine, and in the bench, because its socket is not in the namespace.
func wireguardDevice(pid int, which string) string { return fmt.Sprintf("wg%d-%s", pid, which) }

// wireguardSocket is where wireguard-go listens, and what it leaves behind when
// it is killed.
func wireguardSocket(device string) string { return "/var/run/wireguard/" + device + ".sock" }
