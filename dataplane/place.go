// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/dataplane/config"
	"netcon/dataplane/fib"
	"netcon/dataplane/launch"
	"netcon/dataplane/netstack"
	"netcon/dataplane/socket"
	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/worker"
	"netcon/shm"
)

// addContainer makes a container's stack on its worker: the configured one, or
// the one with the fewest containers. d.mu is held, or Run has not begun.
func (d *Dataplane) addContainer(cfg *config.Config, k *config.Container) error {
	n := cfg.Network(k.Network)
	mtu := d.innerMTU(n)
	if least := leastMTU(k); mtu < least {
		return fmt.Errorf("container %q: the underlay leaves an MTU of %d bytes (its addresses need %d)", k.Name, mtu, least)
	}
	w := d.leastLoaded()
	if k.Worker != config.AnyWorker {
		all := d.group.Workers()
		if k.Worker >= len(all) {
			return fmt.Errorf("container %q: worker %d: there are %d, one for each receive queue (ethtool -L sets their number)", k.Name, k.Worker, len(all))
		}
		w = all[k.Worker]
	}
	c := &container{Container: *k, network: n, mtu: mtu}
	var addrs []netip.Prefix
	for _, a := range k.Addresses {
		subnet, _ := n.Subnet(a)
		addrs = append(addrs, netip.PrefixFrom(a, subnet.Bits()))
	}
	names := &nameservice{d: d, network: n.Name, worker: w}
	shard := worker.ShardConfig{
		Name: k.Name, VNI: n.VNI, MAC: k.MAC, MTU: mtu, Addrs: addrs,
		Gateway4: n.Gateway4, Gateway6: n.Gateway6, MaxSockets: k.Limits.Connections,
		RingBytes: int(k.Limits.BufferBytes),
		Subnets:   n.Subnets, WayOut: k.Policy == config.PolicyHost, NoDatagrams: d.cfg.Underlay.Port, Listen: d.listenFor, Resolver: names,
		NewEngine: func(counts *stat.Block, doorbell func()) (stream.Engine, error) {
			return netstack.New(netstack.Config{
				Name: k.Name, MTU: mtu, Addrs: addrs, Gateway4: n.Gateway4, Gateway6: n.Gateway6,
				Limits: netstack.Limits{
					Connections: k.Limits.Connections, HalfOpen: k.Limits.HalfOpen,
					BufferBytes: int(k.Limits.BufferBytes), FragmentBytes: int(k.Limits.FragmentBytes),
				},
				Stat: counts, Doorbell: doorbell, TimeWait: k.TimeWait, SynRetries: k.SynRetries,
			})
		},
	}
	var failed error
	add := func() {
		c.shard, failed = w.AddShard(shard)
		names.shard = c.shard
	}
	if err := d.onWorker(w, add); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	d.containers = append(d.containers, c)
	return nil
}

// onWorker runs f on w's thread, or here as long as there is none.
func (d *Dataplane) onWorker(w *worker.Worker, f func()) error {
	if d.control == nil {
		f()
		return nil
	}
	if !w.Do(f) {
		return fmt.Errorf("worker %d: %w", w.Index(), unix.ESHUTDOWN)
	}
	return nil
}

// leastMTU returns what IP demands of a link (RFC 791, RFC 8200 section 5).
func leastMTU(k *config.Container) int {
	for _, a := range k.Addresses {
		if a.Is6() {
			return 1280
		}
	}
	return 576
}

func (d *Dataplane) leastLoaded() *worker.Worker {
	load := make([]int, len(d.group.Workers()))
	for _, c := range d.containers {
		load[c.shard.Worker().Index()]++
	}
	best := 0
	for i, n := range load {
		if n < load[best] {
			best = i
		}
	}
	return d.group.Workers()[best]
}

// storeFIB puts the forwarding snapshot of a configuration in force.
func (d *Dataplane) storeFIB(cfg *config.Config) error {
	var networks []fib.Network
	var places []place
	for i := range cfg.Networks {
		n := &cfg.Networks[i]
		f := fib.Network{VNI: n.VNI, Name: n.Name, VTEPs: n.VTEPs, Learn: n.Learn}
		for _, h := range n.Hosts {
			f.Hosts = append(f.Hosts, fib.Host{IP: h.IP, MAC: h.MAC, VTEP: h.VTEP})
		}
		for _, c := range d.containers {
			if c.Network == n.Name {
				f.Members = append(f.Members, fib.Member{MAC: c.MAC, Port: fib.Port{
					Worker: int32(c.shard.Worker().Index()), Index: c.shard.Index(),
				}})
				places = append(places, place{mac: c.MAC, worker: c.shard.Worker().Index()})
			}
		}
		networks = append(networks, f)
	}
	s, err := fib.New(networks, d.fib.Load())
	if err != nil {
		return err
	}
	d.fib.Store(s)
	if err := d.underlay.steer(places); err != nil {
		// Frames still arrive, by one more hand-over.
		d.log.Warn("frames are not steered to their workers", "error", err)
	}
	return nil
}

// admit decides about a process tree that wants to attach, and hands it to its
// container's worker.
func (d *Dataplane) admit(p socket.Peer) (socket.Admission, syscall.Errno) {
	d.mu.Lock()
	c := d.find(p.Container)
	d.mu.Unlock()
	switch {
	case c == nil:
		return socket.Admission{}, syscall.ENOENT
	case !c.MayAttach(p.UID):
		d.log.Warn("attach refused", "container", c.Name, "uid", p.UID, "pid", p.PID)
		return socket.Admission{}, syscall.EPERM
	}
	a := socket.Admission{Container: c.Name, Missing: shm.MissingFail}
	if c.Missing == config.MissingKernel {
		a.Missing = shm.MissingKernel
	}
	// While the peer waits for the answer it holds its end, and what it says of
	// another's sockets does not count.
	inode := p.Inode
	if !launch.Holds(p.PID, inode) {
		inode = 0
	}
	a.Adopt = func(fd int) {
		if !c.shard.Worker().Do(func() { c.shard.Set().Adopt(fd, p.PID, p.UID, inode) }) {
			_ = unix.Close(fd)
		}
	}
	return a, 0
}
