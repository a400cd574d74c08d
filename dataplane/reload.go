// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"slices"

	"netcon/dataplane/config"
)

// Reload applies what can be applied of a changed configuration, logs each
// change, and logs what has to wait for a restart. A container that cannot be
// added does not keep the rest from being applied; networks that contradict
// each other, or what runs, change nothing.
func (d *Dataplane) Reload(next *config.Config) error {
	notify(d.log, reloading())
	defer notify(d.log, "READY=1")
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return errors.New("reload: the daemon has ended")
	}

	applied, waiting := next.Diff(d.cfg)
	cfg := merge(d.cfg, next)
	opened, err := d.openPorts(cfg)
	if err != nil {
		return err
	}
	var errs []error

	// Frames stop finding a container before it goes, and start finding a
	// new one after it came.
	was := d.containers
	var gone []*container
	d.containers = nil
	for _, c := range was {
		if slices.ContainsFunc(cfg.Containers, func(k config.Container) bool { return k.Name == c.Name }) {
			d.containers = append(d.containers, c)
		} else {
			gone = append(gone, c)
		}
	}
	if err := d.storeFIB(cfg); err != nil {
		d.containers = was
		opened.close()
		return err
	}
	for _, c := range gone {
		errs = append(errs, d.onWorker(c.shard.Worker(), c.shard.Remove))
	}
	for i := range cfg.Containers {
		k := &cfg.Containers[i]
		j := slices.IndexFunc(d.containers, func(c *container) bool { return c.Name == k.Name })
		if j >= 0 {
			// Who is being admitted just now looks at the old one, which
			// does not change.
			c := *d.containers[j]
			c.Container, c.network = *k, cfg.Network(k.Network)
			d.containers[j] = &c
			errs = append(errs, d.onWorker(c.shard.Worker(), func() { c.shard.Set().SetWayOut(k.Policy == config.PolicyHost) }))
			continue
		}
		if err := d.addContainer(cfg, k); err != nil {
			errs = append(errs, err)
			continue
		}
		c := d.containers[len(d.containers)-1]
		if err := d.storeFIB(cfg); err != nil {
			// One that waits for a restart still has its address.
			d.containers = d.containers[:len(d.containers)-1]
			errs = append(errs, fmt.Errorf("container %q: %w", k.Name, err), d.onWorker(c.shard.Worker(), c.shard.Remove))
			continue
		}
		errs = append(errs, d.onWorker(c.shard.Worker(), c.shard.Announce))
	}
	errs = append(errs, d.publish(cfg, opened))
	d.setNames(cfg)
	d.cfg = cfg
	for _, s := range applied {
		d.log.Info("reloaded", "change", s)
	}
	for _, s := range waiting {
		d.log.Warn("not reloaded", "needs", s)
	}
	if len(applied)+len(waiting) == 0 {
		d.log.Info("reloaded", "change", "none")
	}
	return errors.Join(errs...)
}

// merge returns the configuration that runs after a reload: next, but for what
// has to wait, which stays as it was.
func merge(was, next *config.Config) *config.Config {
	m := *next
	m.Daemon, m.Underlay = was.Daemon, was.Underlay
	m.Daemon.Resolvers = next.Daemon.Resolvers
	m.Networks = slices.Clone(next.Networks)
	m.Containers = slices.Clone(next.Containers)
	for i := range m.Containers {
		k := &m.Containers[i]
		j := slices.IndexFunc(was.Containers, func(o config.Container) bool { return o.Name == k.Name })
		if j < 0 {
			if k.Worker >= was.Daemon.Workers {
				k.Worker = config.AnyWorker
			}
			continue
		}
		stays := was.Containers[j]
		stays.UIDs, stays.Missing, stays.Policy, stays.Publish = k.UIDs, k.Missing, k.Policy, k.Publish
		*k = stays
		// A segment with containers in it stays what they were built from.
		o := was.Network(stays.Network)
		if n := m.Network(stays.Network); n != nil {
			n.VNI, n.Subnets, n.Gateway4, n.Gateway6, n.MTU = o.VNI, o.Subnets, o.Gateway4, o.Gateway6, o.MTU
		} else {
			m.Networks = append(m.Networks, *o)
		}
	}
	return &m
}
