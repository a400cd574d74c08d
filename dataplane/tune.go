// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"net"
	"net/netip"

	"netcon/dataplane/config"
	"netcon/tuning"
)

// TuningOf returns what a host should be tuned for to run a configuration.
func TuningOf(cfg *config.Config) (tuning.Config, error) {
	u := &cfg.Underlay
	t := tuning.Config{
		CPUs: cfg.Daemon.CPUs, Workers: cfg.Daemon.Workers, XDP: u.Kind == config.KindXDP,
		BusyPoll: u.BusyPoll != 0, IPv6: u.Address.Is6(),
	}
	for i := range cfg.Networks {
		t.InnerMTU = max(t.InnerMTU, cfg.Networks[i].MTU)
	}
	var err error
	t.Device, err = underlayDevice(u)
	return t, err
}

// deviceOf returns the network device that holds an address.
func deviceOf(addr netip.Addr) (string, error) {
	devices, err := net.Interfaces()
	if err != nil {
		return "", fmt.Errorf("list network devices: %w", err)
	}
	for i := range devices {
		addrs, err := devices[i].Addrs()
		if err != nil {
			continue // it went away meanwhile
		}
		for _, a := range addrs {
			if p, ok := a.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(p.IP); ok && ip.Unmap() == addr {
					return devices[i].Name, nil
				}
			}
		}
	}
	return "", fmt.Errorf("underlay address %s: no network device of this host has it (ip addr add %s dev DEVICE)", addr, addr)
}
