// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"time"
)

// Diff compares c with the configuration that runs, old, and says what a reload
// does in sentences for people: what is applied to the running daemon, and what
// has to wait for a restart of the daemon or of a container. Both are empty if
// nothing changed.
//
// Applied: networks and containers that come or go, and of those that stay
// vteps, learn, static hosts, the resolvers, uids, missing, policy and publish. Everything else
// waits.
func (c *Config) Diff(old *Config) (applicable, restart []string) {
	d := differ{now: c, was: old, stay: map[string][]string{}, wasContainers: old.byName(), nowContainers: c.byName()}
	for i := range c.Containers {
		k := &c.Containers[i]
		if o := d.wasContainers[k.Name]; o != nil && o.Network == k.Network {
			d.stay[k.Network] = append(d.stay[k.Network], fmt.Sprintf("container %q", k.Name))
		}
	}
	d.daemon()
	d.networks()
	d.containers()
	return d.applicable, d.restart
}

// differ collects sentences.
type differ struct {
	now, was            *Config
	applicable, restart []string

	wasContainers, nowContainers map[string]*Container
	stay                         map[string][]string // by network: the containers in it before and after
}

func (d *differ) apply(format string, args ...any) {
	d.applicable = append(d.applicable, fmt.Sprintf(format, args...))
}

// wait says that object needs a restart if what differs.
func (d *differ) wait(object, what string, was, now any) {
	if !reflect.DeepEqual(was, now) {
		d.restart = append(d.restart, fmt.Sprintf("restart of %s: %s %s, was %s", object, what, show(now), show(was)))
	}
}

// show returns a value for people.
func show(v any) string {
	switch v := v.(type) {
	case netip.Addr:
		if !v.IsValid() {
			return "none"
		}
	case time.Duration:
		return showDuration(v)
	}
	return fmt.Sprint(v)
}

// showWorker returns the worker a container is pinned to.
func showWorker(n int) string {
	if n == AnyWorker {
		return "any"
	}
	return strconv.Itoa(n)
}

func (d *differ) daemon() {
	const daemon = "the daemon"
	was, now := &d.was.Daemon, &d.now.Daemon
	d.wait(daemon, "runtime_dir", was.RuntimeDir, now.RuntimeDir)
	d.wait(daemon, "workers", was.Workers, now.Workers)
	d.wait(daemon, "cpus", was.CPUs, now.CPUs)
	d.wait(daemon, "idle", was.Idle, now.Idle)
	d.wait(daemon, "spin", was.Spin, now.Spin)
	if !slices.Equal(was.Resolvers, now.Resolvers) {
		d.apply("the daemon: resolvers %v, was %v", now.Resolvers, was.Resolvers)
	}
	wasU, nowU := &d.was.Underlay, &d.now.Underlay
	d.wait(daemon, "underlay kind", wasU.Kind, nowU.Kind)
	d.wait(daemon, "underlay address", wasU.Address, nowU.Address)
	d.wait(daemon, "underlay port", wasU.Port, nowU.Port)
	d.wait(daemon, "underlay mtu", wasU.MTU, nowU.MTU)
	d.wait(daemon, "underlay send_sockets", wasU.SendSockets, nowU.SendSockets)
	d.wait(daemon, "underlay interface", wasU.Interface, nowU.Interface)
	d.wait(daemon, "underlay attach", wasU.Attach, nowU.Attach)
	d.wait(daemon, "underlay zero_copy", wasU.ZeroCopy, nowU.ZeroCopy)
	d.wait(daemon, "underlay busy_poll", wasU.BusyPoll, nowU.BusyPoll)
	d.wait(daemon, "underlay frames", wasU.Frames, nowU.Frames)
}

func (d *differ) networks() {
	for i := range d.was.Networks {
		if was := &d.was.Networks[i]; d.now.Network(was.Name) == nil {
			d.apply("network %q: removed", was.Name)
		}
	}
	for i := range d.now.Networks {
		now := &d.now.Networks[i]
		was := d.was.Network(now.Name)
		if was == nil {
			d.apply("network %q: added", now.Name)
			continue
		}
		if !sameSet(was.VTEPs, now.VTEPs) {
			d.apply("network %q: vteps %v, was %v", now.Name, now.VTEPs, was.VTEPs)
		}
		if was.Learn != now.Learn {
			d.apply("network %q: learn %t, was %t", now.Name, now.Learn, was.Learn)
		}
		if !sameSet(was.Hosts, now.Hosts) {
			d.apply("network %q: %d static hosts, was %d", now.Name, len(now.Hosts), len(was.Hosts))
		}
		d.segment(was, now)
	}
}

// segment compares what a stack is built from. It concerns the containers that
// are in the network before and after; with none, it is applied.
func (d *differ) segment(was, now *Network) {
	objects := d.stay[now.Name]
	for _, f := range []struct {
		what     string
		was, now any
	}{
		{"vni", was.VNI, now.VNI},
		{"subnets", was.Subnets, now.Subnets},
		{"gateway4", was.Gateway4, now.Gateway4},
		{"gateway6", was.Gateway6, now.Gateway6},
		{"mtu", was.MTU, now.MTU},
	} {
		what := fmt.Sprintf("network %q: %s", now.Name, f.what)
		for _, o := range objects {
			d.wait(o, what, f.was, f.now)
		}
		if len(objects) == 0 && !reflect.DeepEqual(f.was, f.now) {
			d.apply("%s %v, was %v", what, show(f.now), show(f.was))
		}
	}
}

func (d *differ) containers() {
	for i := range d.was.Containers {
		if was := &d.was.Containers[i]; d.nowContainers[was.Name] == nil {
			d.apply("container %q: removed", was.Name)
		}
	}
	for i := range d.now.Containers {
		now := &d.now.Containers[i]
		was := d.wasContainers[now.Name]
		if was == nil {
			d.apply("container %q: added", now.Name)
			continue
		}
		if !sameSet(was.UIDs, now.UIDs) {
			d.apply("container %q: uids %v, was %v", now.Name, now.UIDs, was.UIDs)
		}
		if was.Missing != now.Missing {
			d.apply("container %q: missing %s, was %s (programs started from now on)", now.Name, now.Missing, was.Missing)
		}
		if was.Policy != now.Policy {
			d.apply("container %q: policy %s, was %s (sockets that connect from now on)", now.Name, now.Policy, was.Policy)
		}
		if !sameSet(was.Publish, now.Publish) {
			d.apply("container %q: publish %v, was %v", now.Name, now.Publish, was.Publish)
		}
		object := fmt.Sprintf("container %q", now.Name)
		d.wait(object, "limits.connections", was.Limits.Connections, now.Limits.Connections)
		d.wait(object, "limits.half_open", was.Limits.HalfOpen, now.Limits.HalfOpen)
		d.wait(object, "limits.buffer_bytes", was.Limits.BufferBytes, now.Limits.BufferBytes)
		d.wait(object, "limits.fragment_bytes", was.Limits.FragmentBytes, now.Limits.FragmentBytes)
		d.wait(object, "network", was.Network, now.Network)
		d.wait(object, "addresses", was.Addresses, now.Addresses)
		d.wait(object, "mac", was.MAC, now.MAC)
		d.wait(object, "worker", showWorker(was.Worker), showWorker(now.Worker))
		d.wait(object, "engine", was.Engine, now.Engine)
		d.wait(object, "mode", was.Mode, now.Mode)
		d.wait(object, "syn_retries", was.SynRetries, now.SynRetries)
		d.wait(object, "time_wait", was.TimeWait, now.TimeWait)
	}
}

// byName returns the containers by name.
func (c *Config) byName() map[string]*Container {
	m := make(map[string]*Container, len(c.Containers))
	for i := range c.Containers {
		m[c.Containers[i].Name] = &c.Containers[i]
	}
	return m
}

// sameSet reports whether a and b have the same members, in any order.
func sameSet[T comparable](a, b []T) bool {
	members := make(map[T]bool, len(a))
	for _, v := range a {
		members[v] = false
	}
	for _, v := range b {
		if _, ok := members[v]; !ok {
			return false
		}
		members[v] = true
	}
	for _, found := range members {
		if !found {
			return false
		}
	}
	return true
}
