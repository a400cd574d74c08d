// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/dataplane/config"
	"netcon/dataplane/resolve"
	"netcon/dataplane/worker"
)

// resolvConf is where the host, and a program in a container, finds its
// nameservers.
const resolvConf = "/etc/resolv.conf"

// setNames tells the resolver who is on which network, and whom to ask for the
// rest. d.mu is held, or Run has not begun.
func (d *Dataplane) setNames(cfg *config.Config) {
	servers, search := resolve.ReadConf(resolvConf)
	nameservers := map[netip.Addr]bool{}
	for _, s := range servers {
		nameservers[s.Addr().Unmap()] = true
	}
	if len(cfg.Daemon.Resolvers) > 0 {
		servers = nil
		for _, ip := range cfg.Daemon.Resolvers {
			const dns = 53
			servers = append(servers, netip.AddrPortFrom(ip, dns))
		}
	}
	var networks []resolve.Network
	for i := range cfg.Networks {
		n := &cfg.Networks[i]
		x := resolve.Network{Name: n.Name, Subnets: n.Subnets}
		for _, c := range d.containers {
			if c.Network == n.Name {
				x.Members = append(x.Members, resolve.Member{Name: c.Name, Addrs: c.Addresses})
			}
		}
		networks = append(networks, x)
	}
	d.resolver.Set(resolve.NewNames(networks), &resolve.Forward{Servers: servers, Search: search})
	d.nameservers.Store(&nameservers)
}

// nameservice answers the questions of one container: a goroutine asks, the
// worker answers.
type nameservice struct {
	d       *Dataplane
	network string
	worker  *worker.Worker
	shard   *worker.Shard // set before anybody can ask
	streams atomic.Int32  // that are open
}

// maxStreams is how many TCP connections to nameservers a container may have.
const maxStreams = 32

func (n *nameservice) asker(host bool) resolve.Asker {
	return resolve.Asker{Network: n.network, Host: host, Dial: n.dialInside}
}

// Nameserver implements socket.Resolver.
func (n *nameservice) Nameserver(ip netip.Addr) bool { return (*n.d.nameservers.Load())[ip] }

// Query implements socket.Resolver.
func (n *nameservice) Query(query []byte, host bool, answer func([]byte)) {
	go func() {
		msg := n.d.resolver.Answer(context.Background(), n.asker(host), query, true)
		n.worker.Do(func() { answer(msg) })
	}()
}

// Stream implements socket.Resolver.
func (n *nameservice) Stream(host bool) (int, syscall.Errno) {
	if n.streams.Add(1) > maxStreams {
		n.streams.Add(-1)
		return -1, unix.ECONNREFUSED
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		n.streams.Add(-1)
		return -1, unix.ENOBUFS
	}
	f := os.NewFile(uintptr(pair[1]), "queries")
	c, err := net.FileConn(f)
	_ = f.Close()
	if err != nil {
		n.streams.Add(-1)
		_ = unix.Close(pair[0])
		return -1, unix.ENOBUFS
	}
	go func() {
		defer n.streams.Add(-1)
		n.d.resolver.Serve(context.Background(), n.asker(host), c)
	}()
	return pair[0], 0
}

// Addresses implements socket.Resolver.
func (n *nameservice) Addresses(name string, v4, v6, host bool, answer func([]netip.Addr, syscall.Errno)) {
	go func() {
		addrs, out := n.d.resolver.Addresses(context.Background(), n.asker(host), name, v4, v6)
		n.worker.Do(func() { answer(addrs, outcomes[out]) })
	}()
}

// Name implements socket.Resolver.
func (n *nameservice) Name(ip netip.Addr, host bool, answer func(string, syscall.Errno)) {
	go func() {
		name, out := n.d.resolver.Name(context.Background(), n.asker(host), ip)
		n.worker.Do(func() { answer(name, outcomes[out]) })
	}()
}

// outcomes are the errors of shm/abi.h.
var outcomes = [...]syscall.Errno{
	resolve.Found: 0, resolve.NoName: unix.ENOENT, resolve.NoData: unix.ENODATA, resolve.TryAgain: unix.EAGAIN,
}
