// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"fmt"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	"netcon/dataplane/hostnet"
	"netcon/dataplane/neigh"
	"netcon/dataplane/rtnetlink"
	"netcon/dataplane/socket"
	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
)

// ShardConfig describes a container's place on a worker.
type ShardConfig struct {
	Name               string
	VNI                uint32
	MAC                wire.MAC
	MTU                int // of the inner network
	Addrs              []netip.Prefix
	Gateway4, Gateway6 netip.Addr
	Subnets            []netip.Prefix // of the network
	WayOut             bool           // what is not on the network goes to the host's stack
	NoDatagrams        uint16         // a port; see socket.Config
	Listen             socket.ListenFunc
	Resolver           socket.Resolver
	MaxSockets         int
	RingBytes          int // bound of pump ring memory

	// NewEngine makes the shard's engine, again after each death. The
	// engine rings doorbell, from any goroutine, when it becomes busy, and
	// counts in the given block.
	NewEngine func(counts *stat.Block, doorbell func()) (stream.Engine, error)
}

// mortal is an engine that can tell that it is beyond use.
type mortal interface {
	Dead() (reason string, dead bool)
}

// Pauses between deaths of an engine.
const (
	restartMin = 100 * time.Millisecond
	restartMax = 10 * time.Second
	restartOld = time.Minute // a life this long forgets earlier deaths
)

// reuseAfter is how long the index of a shard that is gone stays unused: until
// nobody holds a forwarding snapshot or a hand-over record that names it. A
// group frame would otherwise reach a container of another network.
const reuseAfter = time.Second

// freed is an index that was in use until at.
type freed struct {
	index int32
	at    time.Duration
}

// Shard is a container's place on a worker. Everything belongs to the worker's
// thread but rung.
type Shard struct {
	w      *Worker
	index  int32
	cfg    ShardConfig
	vni    uint32
	mac    wire.MAC
	mtu    int
	stat   stat.Block
	engine stream.Engine
	host   *hostnet.Engine
	neigh  *neigh.Table
	set    *socket.Set
	out    output

	queued  bool // among the worker's runs
	inBurst bool // among the worker's bursts
	removed bool
	dead    bool // the engine is discarded, a new one is due at restartAt

	born         time.Duration
	restartAt    time.Duration
	restartPause time.Duration

	rung atomic.Bool
}

// AddShard makes a container's place on the worker. It runs on the worker's
// thread, or before Run.
func (w *Worker) AddShard(cfg ShardConfig) (*Shard, error) {
	s := &Shard{w: w, cfg: cfg, vni: cfg.VNI, mac: cfg.MAC, mtu: cfg.MTU, index: int32(len(w.shards))}
	e, err := s.newEngine()
	if err != nil {
		s.removed = true // its doorbell may have been rung
		return nil, fmt.Errorf("start stack of container %q: %w", cfg.Name, err)
	}
	w.now = time.Since(w.epoch)
	if len(w.freed) > 0 && w.now-w.freed[0].at >= reuseAfter {
		s.index, w.freed = w.freed[0].index, w.freed[1:]
	}
	s.engine = e
	s.host = hostnet.New(hostPoller{s}, &s.stat)
	var addrs []netip.Addr
	for _, p := range cfg.Addrs {
		addrs = append(addrs, p.Addr())
	}
	s.set = socket.New(socket.Config{
		Container: cfg.Name, Engine: e, Poller: shardPoller{s}, Stat: &s.stat,
		Host: s.host, Networks: cfg.Subnets, Gateway4: cfg.Gateway4.IsValid(), Gateway6: cfg.Gateway6.IsValid(),
		Addresses: addrs, NoDatagrams: cfg.NoDatagrams, Listen: cfg.Listen, Resolver: cfg.Resolver,
		Buffers: w.buffers, MaxSockets: cfg.MaxSockets, MaxBuffers: max(cfg.RingBytes/socket.BufferSize, 2),
		Interfaces: rtnetlink.New(rtnetlink.Config{
			MAC: cfg.MAC, MTU: cfg.MTU, Addrs: cfg.Addrs, Gateway4: cfg.Gateway4, Gateway6: cfg.Gateway6,
		}),
	})
	s.set.SetWayOut(cfg.WayOut)
	s.neigh = s.newNeigh()
	if int(s.index) == len(w.shards) {
		w.shards = append(w.shards, s)
	} else {
		w.shards[s.index] = s
	}
	s.born = w.now
	if w.tracer != nil {
		w.tracer.know(s)
	}
	return s, nil
}

// newEngine makes an engine; a panic in doing so is an error.
func (s *Shard) newEngine() (e stream.Engine, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return s.cfg.NewEngine(&s.stat, func() { s.w.ring(s) })
}

func (s *Shard) newNeigh() *neigh.Table {
	return neigh.New(neigh.Config{
		MAC: s.cfg.MAC, Addrs: s.cfg.Addrs, Gateway4: s.cfg.Gateway4, Gateway6: s.cfg.Gateway6,
		Static: s.staticMAC, Sender: s, Stat: &s.stat,
	})
}

// Index returns the shard's place on its worker, for fib.Port.
func (s *Shard) Index() int32 { return s.index }

// Worker returns the worker the shard is on.
func (s *Shard) Worker() *Worker { return s.w }

// Name returns the container's name.
func (s *Shard) Name() string { return s.cfg.Name }

// Stat returns the container's counters.
func (s *Shard) Stat() *stat.Block { return &s.stat }

// Set returns the shard's application sockets, for the worker's thread.
func (s *Shard) Set() *socket.Set { return s.set }

// Neighbours returns the shard's neighbour entries, for the worker's thread.
func (s *Shard) Neighbours() []neigh.Entry { return s.neigh.Entries() }

// Engine returns the shard's engine, for the worker's thread.
func (s *Shard) Engine() stream.Engine { return s.engine }

// Announce tells the network where the container is. It runs on the worker's
// thread once the forwarding snapshot knows the shard.
func (s *Shard) Announce() {
	s.guard(func() { s.neigh.Announce(s.w.now) })
	s.w.nextTick = 0
}

// Remove ends the shard. It runs on the worker's thread.
func (s *Shard) Remove() {
	if s.removed {
		return
	}
	s.end()
	s.removed = true
	s.w.shards[s.index] = nil
	s.w.freed = append(s.w.freed, freed{s.index, s.w.now})
}

func (s *Shard) staticMAC(ip netip.Addr) (wire.MAC, bool) {
	if n := s.w.fib.Load().Network(s.vni); n != nil {
		return n.StaticMAC(ip)
	}
	return wire.MAC{}, false
}

// input takes one inner frame addressed to the container or to a group.
func (s *Shard) input(eth wire.Ethernet, verified bool) {
	if s.dead {
		s.stat.Drop(stat.DropContainerGone)
		return
	}
	if dst := eth.Dst(); dst != s.mac && !dst.IsGroup() {
		// Handed over for a container that was removed meanwhile.
		s.stat.Drop(stat.DropNotForUs)
		return
	}
	defer s.contain()
	if s.w.tracer != nil {
		s.w.tracer.inner(s, false, eth)
	}
	if !s.inBurst {
		s.inBurst = true
		s.w.bursts = append(s.w.bursts, s)
	}
	payload := eth.Payload()
	switch eth.Type() {
	case wire.EtherTypeARP:
		s.stat.Drop(s.neigh.ARP(eth.Src(), payload, s.w.now))
	case wire.EtherTypeIPv6:
		if p, ok := wire.ParseIPv6(payload); ok && p.NextHeader() == wire.ProtoICMPv6 {
			if consumed, r := s.neigh.ND(eth.Src(), p, s.w.now); consumed {
				s.stat.Drop(r)
				return
			}
		}
		s.engine.Deliver(payload, verified)
	case wire.EtherTypeIPv4:
		s.engine.Deliver(payload, verified)
	default:
		s.stat.Drop(stat.DropEtherType)
	}
}

// run gives the shard a turn and reports whether it wants another one.
func (s *Shard) run(budget int) (again bool) {
	if s.dead {
		return false
	}
	defer s.contain()
	again = s.engine.Poll(s.set, budget)
	if s.host.Busy() {
		again = s.host.Poll(s.set, budget) || again
	}
	again = s.set.Work(budget) || again
	again = s.engine.Transmit(s, budget) >= budget || again
	if m, ok := s.engine.(mortal); ok {
		if reason, dead := m.Dead(); dead {
			s.die(reason, nil)
			return false
		}
	}
	return again || s.engine.Busy() || s.host.Busy()
}

// tick runs what waits for time to pass.
func (s *Shard) tick() {
	if s.dead {
		if s.w.now >= s.restartAt {
			s.restart()
		}
		return
	}
	s.guard(func() {
		s.neigh.Tick(s.w.now)
		// The engine may have been given back packets.
		if s.set.Timeout() == 0 || s.engine.Busy() {
			s.w.schedule(s)
		}
	})
}

// next returns when tick has something to do.
func (s *Shard) next() time.Duration {
	if s.dead {
		return s.restartAt
	}
	next := s.neigh.Next()
	if d := s.set.Timeout(); d >= 0 {
		next = min(next, s.w.now+d)
	}
	return next
}

// end closes the shard's sockets and stops its engine.
func (s *Shard) end() {
	defer s.contain()
	s.set.Close()
	s.host.Shut()
	if !s.dead {
		s.engine.Stop(s)
	}
	s.stat.Publish()
}

// guard runs f and contains a panic in it to this shard.
func (s *Shard) guard(f func()) {
	defer s.contain()
	f()
}

// contain is deferred around whatever runs for one shard.
func (s *Shard) contain() {
	if r := recover(); r != nil {
		s.die(fmt.Sprint(r), debug.Stack())
	}
}

// die discards the shard's engine: its sockets fail and a new engine is due
// after a pause that grows with repeated deaths. Nobody calls the old one any
// more, not even to list sockets: its locks may be held for ever.
func (s *Shard) die(reason string, stack []byte) {
	if s.dead || s.removed {
		return
	}
	s.dead = true
	s.guard(func() { s.set.Restart(nil) })
	go discard(s.engine)
	s.restartPause = min(max(s.restartPause*2, restartMin), restartMax)
	if s.w.now-s.born > restartOld {
		s.restartPause = restartMin
	}
	s.restartAt = s.w.now + s.restartPause
	s.w.nextTick = min(s.w.nextTick, s.restartAt)
	s.stat.Count(stat.Restarts)
	s.w.log.Error("stack discarded", "container", s.cfg.Name, "reason", reason,
		"restart_in", s.restartPause, "stack", string(stack))
}

// discard stops an engine that nobody uses any more. Its state may be beyond
// repair, so it runs aside and whatever happens to it is of no interest.
func discard(e stream.Engine) {
	defer func() { _ = recover() }()
	e.Stop(nil)
}

// restart gives the shard a new engine, and neighbours: the table may have been
// what panicked.
func (s *Shard) restart() {
	e, err := s.newEngine()
	if err != nil {
		s.restartAt = s.w.now + restartMax
		s.w.log.Error("restart stack", "container", s.cfg.Name, "error", err)
		return
	}
	s.engine, s.dead, s.born = e, false, s.w.now
	s.neigh = s.newNeigh()
	s.guard(func() { s.set.Restart(e) })
	s.w.schedule(s)
	s.w.log.Info("stack restarted", "container", s.cfg.Name)
}
