// SPDX-License-Identifier: Apache-2.0

package tcphost

import (
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/neigh"
	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/dataplane/tcp"
	"netcon/dataplane/wire"
)

// Budgets of one turn.
const (
	readBudget = 64  // frames
	sendBudget = 256 // packets
	pollBudget = 256 // events
)

// Defaults of a Config's zero fields.
const (
	DefaultMTU      = 1500
	DefaultRing     = 256 << 10
	DefaultPatience = 30 * time.Second
)

// Config is what a Host is made from.
type Config struct {
	Device string         // interface in the namespace of the thread that calls New
	Addrs  []netip.Prefix // own addresses, each with its on-link prefix
	MTU    int            // 0: DefaultMTU
	Tuning *tcp.Tuning    // nil: DefaultTuning
	Limits tcp.Limits
	Ring   int // bytes of each of a connection's two rings, a power of two; 0: DefaultRing

	// Static are neighbours that need no resolution.
	Static map[netip.Addr]wire.MAC

	// Patience bounds every call that waits; 0: DefaultPatience.
	Patience time.Duration
}

// Host is an engine on a wire.
type Host struct {
	cfg    Config
	engine *tcp.Engine
	link   *link
	stat   stat.Block
	start  time.Time
	wake   int // eventfd
	done   chan struct{}

	mu      sync.Mutex
	closed  bool
	asleep  time.Duration // until when the goroutine sleeps, 0: it does not
	sockets map[uint64]*socket
	last    uint64   // the newest socket's number
	rings   [][]byte // unused ring memory
	overrun uint64
}

// New opens the interface and starts the host.
func New(cfg Config) (*Host, error) {
	if cfg.MTU == 0 {
		cfg.MTU = DefaultMTU
	}
	if cfg.Ring == 0 {
		cfg.Ring = DefaultRing
	}
	if cfg.Patience == 0 {
		cfg.Patience = DefaultPatience
	}
	h := &Host{cfg: cfg, start: time.Now(), done: make(chan struct{}), sockets: map[uint64]*socket{}}
	p, err := openPort(cfg.Device)
	if err != nil {
		return nil, err
	}
	h.engine, err = tcp.New(tcp.Config{
		Name: cfg.Device, MTU: cfg.MTU, Addrs: cfg.Addrs, Limits: cfg.Limits, Tuning: cfg.Tuning, Stat: &h.stat,
	})
	if err != nil {
		p.close()
		return nil, err
	}
	h.link = &link{port: p, engine: h.engine, stat: &h.stat, mtu: cfg.MTU}
	h.link.neigh = neigh.New(neigh.Config{
		MAC: p.mac, Addrs: cfg.Addrs, Sender: h.link, Stat: &h.stat,
		Static: func(ip netip.Addr) (wire.MAC, bool) {
			m, ok := cfg.Static[ip]
			return m, ok
		},
	})
	if h.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		p.close()
		h.engine.Stop(nil)
		return nil, fmt.Errorf("create eventfd: %w", err)
	}
	h.tell()
	go h.run()
	return h, nil
}

// MAC returns the link-layer address.
func (h *Host) MAC() wire.MAC { return h.link.port.mac }

// Close ends the host; every connection is reset.
func (h *Host) Close() {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return
	}
	h.closed = true
	for _, s := range h.sockets {
		s.cond.Broadcast()
	}
	h.kick()
	h.mu.Unlock()
	<-h.done
	h.engine.Stop(h.link)
	h.link.port.close()
	unix.Close(h.wake)
}

// Stats is what a host counted.
type Stats struct {
	stat.Snapshot
	Unsent  uint64 // frames that the kernel did not take
	Overrun uint64 // frames that arrived and found no room
}

// Stats returns what was counted so far.
func (h *Host) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.overrun += h.link.port.overrun()
	}
	h.stat.Publish()
	return Stats{stat.Read(&h.stat), h.link.port.unsent, h.overrun}
}

// tell tells everybody the time.
func (h *Host) tell() {
	h.link.now = time.Since(h.start)
	h.engine.Advance(h.link.now)
}

// enter begins a call.
func (h *Host) enter() {
	h.mu.Lock()
	if !h.closed {
		h.tell()
	}
}

// leave ends a call: what it queued leaves.
func (h *Host) leave() {
	h.turn()
	h.mu.Unlock()
}

// turn moves what the engine has ready, and sees to it that the goroutine wakes
// up in time.
func (h *Host) turn() {
	if h.closed {
		return
	}
	for h.engine.Busy() {
		h.engine.Poll(h, pollBudget)
		h.engine.Transmit(h.link, sendBudget)
	}
	if h.asleep > h.next() {
		h.kick()
	}
}

// next returns when a timer is due.
func (h *Host) next() time.Duration { return min(h.engine.Next(), h.link.neigh.Next()) }

func (h *Host) kick() {
	h.asleep = 0
	unix.Write(h.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// run receives frames and runs timers until Close.
func (h *Host) run() {
	runtime.LockOSThread()
	defer close(h.done)
	fds := []unix.PollFd{{Fd: int32(h.link.port.fd), Events: unix.POLLIN}, {Fd: int32(h.wake), Events: unix.POLLIN}}
	var word [8]byte
	for {
		h.mu.Lock()
		if h.closed {
			h.mu.Unlock()
			return
		}
		h.asleep = 0
		more := h.receive()
		h.link.neigh.Tick(h.link.now)
		h.turn()
		wait := h.next() - time.Since(h.start)
		if more {
			wait = 0
		}
		h.asleep = h.link.now + max(wait, 0)
		if wait > math.MaxInt64/2 {
			h.asleep = math.MaxInt64
		}
		h.mu.Unlock()
		if wait <= 0 {
			continue
		}
		ts := unix.NsecToTimespec(int64(min(wait, time.Hour)))
		unix.Ppoll(fds, &ts, nil)
		unix.Read(h.wake, word[:])
	}
}

// receive delivers a burst of frames and reports whether more may wait.
func (h *Host) receive() (more bool) {
	h.tell()
	n := 0
	for ; n < readBudget; n++ {
		eth := h.link.port.read()
		if eth == nil {
			break
		}
		h.link.input(eth)
	}
	h.engine.EndBurst()
	return n == readBudget
}

// Established implements stream.Events.
func (h *Host) Established(user uint64) { h.happened(user, func(s *socket) { s.established = true }) }

// Failed implements stream.Events.
func (h *Host) Failed(user uint64, err syscall.Errno) {
	h.happened(user, func(s *socket) { s.err = err })
}

// Acceptable implements stream.Events.
func (h *Host) Acceptable(user uint64) { h.happened(user, nil) }

// Readable implements stream.Events.
func (h *Host) Readable(user uint64) { h.happened(user, nil) }

// Writable implements stream.Events.
func (h *Host) Writable(user uint64) { h.happened(user, nil) }

func (h *Host) happened(user uint64, f func(s *socket)) {
	s := h.sockets[user]
	if s == nil {
		return
	}
	if f != nil {
		f(s)
	}
	s.cond.Broadcast()
}

var _ stream.Events = (*Host)(nil)
