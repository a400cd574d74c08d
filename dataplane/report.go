// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net/netip"
	"os"
	"slices"
	"time"

	"netcon/dataplane/launch"
	"netcon/dataplane/socket"
	"netcon/dataplane/stat"
)

// Status returns what runs.
func (d *Dataplane) Status() Status {
	// All of /proc is read for the programs, which no reload has to wait for.
	d.mu.Lock()
	dir := d.cfg.Daemon.RuntimeDir
	attached := map[uint32]string{}
	for _, c := range d.containers {
		c.shard.Worker().Do(func() {
			for _, inode := range c.shard.Set().Attached() {
				attached[inode] = c.Name
			}
		})
	}
	d.mu.Unlock()
	running := launch.Processes(AttachPath(dir), attached)
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Status{
		Version: Version(), PID: os.Getpid(), UptimeSec: time.Since(d.began).Seconds(),
		RuntimeDir: d.cfg.Daemon.RuntimeDir,
		Underlay: UnderlayStatus{
			Kind: string(d.cfg.Underlay.Kind), MTU: d.underlay.mtu(),
			Address:  netip.AddrPortFrom(d.cfg.Underlay.Address, d.cfg.Underlay.Port).String(),
			Features: d.underlay.features(),
		},
		Workers: []WorkerStatus{}, Networks: []NetworkStatus{}, Containers: []ContainerStatus{}, Processes: []ProcessStatus{},
	}
	members := map[string]int{}
	on := map[int]int{}
	for _, c := range d.containers {
		members[c.Network]++
		on[c.shard.Worker().Index()]++
		s.Containers = append(s.Containers, c.status())
		s.Processes = append(s.Processes, c.processes(running)...)
	}
	for i, w := range d.group.Workers() {
		b := w.Stat()
		s.Workers = append(s.Workers, WorkerStatus{
			Index: i, CPU: w.CPU(), Containers: on[i], RxFrames: b.Get(stat.RxFrames),
			TxFrames: b.Get(stat.TxFrames), Turns: b.Get(stat.Turns), Sleeps: b.Get(stat.Sleeps),
		})
	}
	snapshot := d.fib.Load()
	for i := range d.cfg.Networks {
		n := &d.cfg.Networks[i]
		x := NetworkStatus{
			Name: n.Name, VNI: n.VNI, MTU: d.innerMTU(n), Learn: n.Learn,
			Members: members[n.Name], Subnets: texts(n.Subnets), VTEPs: texts(n.VTEPs),
		}
		if f := snapshot.Network(n.VNI); f != nil {
			x.Learned = f.Learned()
		}
		s.Networks = append(s.Networks, x)
	}
	return s
}

func (c *container) status() ContainerStatus {
	b := c.shard.Stat()
	s := ContainerStatus{
		Name: c.Name, Network: c.Network, Policy: string(c.Policy), Addresses: texts(c.Addresses), MAC: c.MAC.String(), MTU: c.mtu,
		Worker: c.shard.Worker().Index(), Engine: c.Engine, Mode: c.Mode,
		BytesIn: b.Get(stat.AppRx), BytesOut: b.Get(stat.AppTx), Restarts: b.Get(stat.Restarts),
		Neighbours: []Neighbour{},
	}
	c.shard.Worker().Do(func() {
		s.Sockets = c.shard.Set().Len()
		s.Published = publishedPorts(c.shard.Set().Published())
		for _, e := range c.shard.Neighbours() {
			s.Neighbours = append(s.Neighbours, Neighbour{
				IP: e.IP.String(), MAC: e.MAC.String(), State: e.State, AgeSec: e.Age.Seconds(),
			})
		}
	})
	return s
}

// processes describes those of the running programs that are in the container.
func (c *container) processes(running []launch.Running) []ProcessStatus {
	sockets := map[int32]int{}
	c.shard.Worker().Do(func() {
		for _, i := range c.shard.Set().Sockets() {
			sockets[i.PID]++
		}
	})
	var list []ProcessStatus
	for _, r := range running {
		if r.Container != c.Name {
			continue
		}
		p := ProcessStatus{
			Container: c.Name, PID: r.PID, UID: r.UID, Command: r.Command, Reason: r.Why,
			Mechanism: string(r.Mechanism), Mode: c.Mode, Sockets: sockets[r.PID],
		}
		if r.Mechanism == "" {
			p.Mechanism, p.Mode = "none", ""
		}
		list = append(list, p)
	}
	return list
}

// Sockets returns the applications' sockets, by container.
func (d *Dataplane) Sockets() []Socket {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := []Socket{}
	for _, c := range d.containers {
		var infos []socket.Info
		c.shard.Worker().Do(func() { infos = c.shard.Set().Sockets() })
		for _, i := range infos {
			all = append(all, Socket{Container: c.Name, Info: i})
		}
	}
	return all
}

// Stats returns all counters.
func (d *Dataplane) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Stats{Workers: []stat.Snapshot{}, Containers: map[string]stat.Snapshot{}, Control: stat.Read(&d.controlStat)}
	if !d.ended {
		s.Underlay = d.underlay.report()
	}
	all := []*stat.Block{&d.controlStat}
	for _, w := range d.group.Workers() {
		all = append(all, w.Stat())
		s.Workers = append(s.Workers, stat.Read(w.Stat()))
	}
	for _, c := range d.containers {
		all = append(all, c.shard.Stat())
		s.Containers[c.Name] = stat.Read(c.shard.Stat())
	}
	s.Total = stat.Read(all...)
	return s
}

func texts[T interface{ String() string }](values []T) []string {
	out := slices.Grow([]string{}, len(values))
	for _, v := range values {
		out = append(out, v.String())
	}
	return out
}
