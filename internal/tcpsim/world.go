// SPDX-License-Identifier: Apache-2.0

package tcpsim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"time"

	"netcon/dataplane/stream"
)

// End is what a stack of a run is to be.
type End struct {
	Name    string
	Addr    netip.Prefix
	MTU     int
	Seed    [32]byte
	Variant uint64 // random bits: which features are on
	Cookies bool   // SYN cookies always
	Peer    bool   // the other end is gVisor

	Connections int  // at most so many at a time
	Crowd       bool // there are many
}

// Config says what is simulated.
type Config struct {
	New     func(End) (stream.Clocked, error) // nil: gVisor on both ends
	Check   func(stream.Clocked) error        // invariants of a stack, after every event; nil: none
	Records func(stream.Clocked) int          // connections and their remains; nil: not counted
	Tune    func(stream.Clocked, End) error   // makes a running stack that of another variant; nil: Retuned is left out
	Trace   io.Writer                         // what happens, a line each; nil: nothing

	// GVisor says that one run in so many has gVisor on one end; 0: none.
	GVisor int
}

// Result is what a run did.
type Result struct {
	Steps, Packets, Bytes, Sockets int
	Faults                         [NumFaults]int // how often each struck
	Time                           time.Duration  // virtual
	GVisor                         bool
}

// Kinds returns how many kinds of faults the run met.
func (r *Result) Kinds() (n int) {
	for _, c := range r.Faults {
		if c > 0 {
			n++
		}
	}
	return n
}

// Memory is what runs on one goroutine share, to save allocation.
type Memory struct {
	rings   [32][][]byte
	packets [][]byte
}

// world is one run.
type world struct {
	cfg   *Config
	plan  *plan
	mem   *Memory
	now   time.Duration
	queue queue
	hosts [2]host
	clock [2]time.Duration // what a host's clock is ahead of now
	links [2]link
	back  [2][][]byte // packets that a host gets back
	tap   tap
	users []*user

	clients map[uint64]*user
	scratch []byte
	res     Result
	err     error
	kinds   int // of faults that were met
	same    int // steps at the same time
}

// Bounds of a run.
const (
	maxSteps  = 400_000
	maxSame   = 5_000
	afterCalm = 2000 * second // by then everything is over, TIME-WAIT included

	// gVisor keeps a timeout that has backed off to 120 s until it measures a
	// round trip, which it cannot when all it sends is retransmissions: where a
	// ring is smaller than the window that was offered before it came, one of
	// 2 KiB is filled per timeout.
	afterCalmGVisor = 10_000 * second
)

// Run simulates one seed.
func Run(seed uint64, cfg *Config, mem *Memory) (res Result, err error) {
	gvisor := 0
	switch {
	case cfg.New == nil:
		gvisor = 2
	case cfg.GVisor > 0 && seed%uint64(cfg.GVisor) == 0:
		gvisor = 1
	}
	w := &world{
		cfg: cfg, mem: mem, plan: newPlan(seed, gvisor), clients: map[uint64]*user{}, scratch: make([]byte, 32<<10),
	}
	w.res.GVisor = gvisor > 0
	w.tap = tap{w: w, flows: map[uint64]*half{}}
	defer func() {
		for _, h := range w.hosts {
			if h != nil {
				h.stop()
			}
		}
		for _, a := range w.queue.a {
			w.release(a.packet)
		}
		if err != nil {
			err = fmt.Errorf("at %v: %w", w.now, err)
		}
		w.res.Time = w.now
		res = w.res
	}()
	if err := w.build(); err != nil {
		return w.res, err
	}
	for {
		more, err := w.step()
		if err == nil {
			err = w.err
		}
		if err != nil || !more {
			return w.res, err
		}
	}
}

// build makes hosts, links, listeners and users.
func (w *world) build() error {
	w.describe()
	for i := range w.hosts {
		w.links[i].init(w, i)
		w.clock[i] = w.plan.hosts[i].start
		h, err := w.newHost(i)
		if err != nil {
			return err
		}
		w.hosts[i] = h
		w.hosts[i].advance(w.clock[i])
	}
	if w.plan.want[TimeOfWrap] {
		w.met(TimeOfWrap)
	}
	if w.plan.want[Backlog] {
		w.met(Backlog)
	}
	if w.plan.want[Crowd] {
		w.met(Crowd)
	}
	for i, h := range w.hosts {
		u := w.newUser(i)
		u.listener, u.name = true, fmt.Sprintf("%s:%d", []string{"A", "B"}[i], listenPort)
		u.rnd = rand.New(rand.NewPCG(w.plan.seed, uint64(i)))
		var errno error
		if s, e := h.open(u); e == 0 {
			u.sock = s
			if e = h.bind(s, netip.AddrPortFrom(w.plan.addr(i), listenPort)); e == 0 {
				e = h.listen(s, w.plan.hosts[i].backlog)
			}
			if e != 0 {
				errno = e
			}
		} else {
			errno = e
		}
		if errno != nil {
			return fmt.Errorf("listener: %w", errno)
		}
		w.res.Sockets++
	}
	for i := range w.plan.conns {
		c := &w.plan.conns[i]
		w.client(c, c.client, 0)
		if c.simul != 0 {
			w.client(c, 1-c.client, 1)
		}
	}
	return nil
}

// newHost makes host i, which is nil if that fails.
func (w *world) newHost(i int) (host, error) {
	if w.plan.hosts[i].gvisor {
		h, err := newGVisorHost(w, i)
		if err != nil {
			return nil, err
		}
		return h, nil
	}
	h, err := newEngineHost(w, i)
	if err != nil {
		return nil, err
	}
	return h, nil
}

// client makes the user that opens end e of a connection on a host.
func (w *world) client(c *connPlan, at, e int) {
	u := w.newUser(at)
	u.conn, u.plan, u.peer = c, c.ends[e], c.ends[1-e]
	u.client = e == 0
	u.connectAt, u.wake = c.at, c.at
	u.name = fmt.Sprintf("%s:?", []string{"A", "B"}[at])
	u.rnd = rand.New(rand.NewPCG(w.plan.seed, uint64(0x75736572+len(w.users))))
	w.res.Sockets++
}

func (w *world) newUser(at int) *user {
	u := &user{w: w, at: at, host: w.hosts[at], wake: never, connectAt: never}
	w.users = append(w.users, u)
	return u
}

// met counts a fault.
func (w *world) met(f Fault) {
	if w.res.Faults[f] == 0 {
		w.kinds++
	}
	w.res.Faults[f]++
}

// calm reports whether the faults are over: at the planned time, or a while
// later if hardly anything has happened by then.
func (w *world) calm() bool {
	return w.now >= w.plan.calm && (w.kinds >= 3 || w.now >= w.plan.calm+30*second)
}

// fragile reports whether a connection may be reset while it is opened: with SYN
// cookies the listener knows nothing of it, and takes a segment that comes
// before the one that completes the handshake for a stray one, as Linux does.
func (w *world) fragile(c *connPlan) bool {
	server := 1 - c.client
	if c.own {
		server = c.client
	}
	h := &w.plan.hosts[server]
	return c.simul == 0 && (h.cookies || h.backlog < len(w.plan.conns))
}

func (w *world) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// step goes to the next time at which something happens.
func (w *world) step() (more bool, err error) {
	if w.res.Steps++; w.res.Steps > maxSteps {
		return false, fmt.Errorf("more than %d steps", maxSteps)
	}
	next := w.queue.next()
	alive := 0
	for _, u := range w.users {
		if !u.done {
			next = min(next, max(u.wake, w.now))
			if !u.listener {
				alive++
			}
		}
	}
	for i, h := range w.hosts {
		if t := h.next(); t != never {
			next = min(next, max(t-w.clock[i], w.now))
		}
		if p := &w.plan.hosts[i]; p.jump > 0 {
			next = min(next, p.jumpAt)
		}
		if p := &w.plan.hosts[i]; p.tuneAt > 0 {
			next = min(next, p.tuneAt)
		}
	}
	if alive == 0 {
		if next = min(next, w.closeListeners()); next == never {
			return false, w.over()
		}
	}
	switch {
	case next == never && w.waitsForGVisor():
		return false, nil
	case next == never:
		return false, fmt.Errorf("deadlock: nothing happens any more%s", w.waiting())
	case next > w.plan.calm+w.patience():
		return false, fmt.Errorf("not over %v after the last fault%s", w.patience(), w.waiting())
	case next > w.now:
		w.same = 0
	default:
		if w.same++; w.same > maxSame {
			return false, fmt.Errorf("time stands still%s", w.waiting())
		}
	}
	w.now = max(next, w.now)
	return true, w.turn()
}

// retune turns the knobs of a host while it runs.
func (w *world) retune(i int) error {
	h, ok := w.hosts[i].(*engineHost)
	if !ok || w.cfg.Tune == nil {
		return nil
	}
	w.met(Retuned)
	w.tracef("%c: is tuned anew", 'A'+i)
	h.touch()
	h.end.Variant = w.plan.hosts[i].tuned
	return w.cfg.Tune(h.e, h.end)
}

// patience is how long after the last fault everything is over.
func (w *world) patience() time.Duration {
	if w.res.GVisor {
		return afterCalmGVisor
	}
	return afterCalm
}

// turn does everything that is due now.
func (w *world) turn() error {
	for i, h := range w.hosts {
		if p := &w.plan.hosts[i]; p.jump > 0 && w.now >= p.jumpAt {
			w.tracef("%c: the clock jumps by %v", 'A'+i, p.jump)
			w.clock[i] += p.jump
			p.jump = 0
			w.met(ClockJump)
		}
		if p := &w.plan.hosts[i]; p.tuneAt > 0 && w.now >= p.tuneAt {
			p.tuneAt = 0
			if err := w.retune(i); err != nil {
				return err
			}
		}
		h.advance(w.now + w.clock[i])
	}
	var inBurst [2]int
	for w.queue.next() <= w.now {
		a := w.queue.pop()
		h := w.hosts[a.to]
		w.arrived(a.to, a.packet)
		h.deliver(a.packet, w.plan.local)
		w.spoil(a.packet)
		if err := w.check(a.to); err != nil {
			return err
		}
		if inBurst[a.to]++; inBurst[a.to] >= w.plan.hosts[a.to].burst {
			h.endBurst()
			inBurst[a.to] = 0
		}
	}
	for i, h := range w.hosts {
		if inBurst[i] > 0 {
			h.endBurst()
		}
	}
	for range 1000 {
		for i, h := range w.hosts {
			for _, p := range w.back[i] {
				h.undeliverable(p)
				w.spoil(p)
			}
			w.back[i] = w.back[i][:0]
			if err := h.poll((*user).act); err != nil {
				return err
			}
			if err := w.check(i); err != nil {
				return err
			}
		}
		// Users may be added on the way.
		for i := 0; i < len(w.users); i++ {
			if u := w.users[i]; !u.done && u.wake <= w.now {
				if err := u.act(); err != nil {
					return fmt.Errorf("%s: %w", u.name, err)
				}
				w.hosts[u.at].touch()
				if err := w.check(u.at); err != nil {
					return fmt.Errorf("after %s: %w", u.name, err)
				}
			}
		}
		busy := false
		for i, h := range w.hosts {
			h.transmit()
			if err := w.check(i); err != nil {
				return err
			}
			busy = busy || h.busy() || len(w.back[i]) > 0
		}
		if w.err != nil {
			return w.err
		}
		if !busy {
			return nil
		}
	}
	return fmt.Errorf("always busy")
}

func (w *world) check(i int) error {
	if err := w.hosts[i].check(); err != nil {
		return fmt.Errorf("host %c: %w", 'A'+i, err)
	}
	return nil
}

// closeListeners ends what does not end by itself, and returns when that is.
func (w *world) closeListeners() time.Duration {
	at := never
	for _, u := range w.users {
		if u.listener && !u.done {
			u.closing = true
			u.wake = w.now
			at = w.now
		}
	}
	return at
}

// over checks what is left when nothing happens any more.
func (w *world) over() error {
	for _, h := range w.hosts {
		if err := h.rest(); err != nil {
			return err
		}
	}
	for _, u := range w.users {
		if u.conn == nil || u.conn.closed || u.conn.broken || !u.plan.end.orderly() || !u.peer.end.orderly() {
			continue
		}
		if u.sent != u.plan.bytes || u.got != u.peer.bytes {
			return fmt.Errorf("%s: %d of %d bytes sent, %d of %d read", u.name, u.sent, u.plan.bytes, u.got, u.peer.bytes)
		}
	}
	return nil
}

// waitsForGVisor reports whether all that is missing is bytes of a gVisor that
// has stopped to send: it loses its retransmission timer in about one run of
// three thousand.
func (w *world) waitsForGVisor() bool {
	for _, u := range w.users {
		if u.done || u.listener {
			continue
		}
		if _, ok := u.host.(*gvHost); !ok && (!w.plan.hosts[1-u.at].gvisor || u.sock == nil || !u.attached || !u.host.acked(u.sock)) {
			return false
		}
	}
	return true
}

// waiting names the users that are not done.
func (w *world) waiting() (s string) {
	for _, u := range w.users {
		if !u.done && !u.listener {
			s += fmt.Sprintf("; %s: %d of %d bytes sent, %d of %d read", u.name, u.sent, u.plan.bytes, u.got, u.peer.bytes)
		}
	}
	return s
}

// sent takes a packet from a host.
func (w *world) sent(from int, p []byte) {
	w.res.Packets++
	w.left(from, p)
	if err := w.tap.see(from, p); err != nil {
		w.fail(fmt.Errorf("host %c sends: %w", 'A'+from, err))
	}
	w.links[from].send(p)
}

// drop ends a packet.
func (w *world) drop(from int, p []byte, why string) {
	w.note(from, p, why)
	w.release(p)
}

// packetSize is what small packets are given.
const packetSize = 2048

// buffer returns room for a packet of n bytes.
func (w *world) buffer(n int) []byte {
	if n > packetSize {
		return make([]byte, n)
	}
	if k := len(w.mem.packets); k > 0 {
		b := w.mem.packets[k-1]
		w.mem.packets = w.mem.packets[:k-1]
		return b[:n]
	}
	return make([]byte, n, packetSize)
}

// release takes a buffer back.
func (w *world) release(p []byte) {
	if cap(p) == packetSize {
		w.mem.packets = append(w.mem.packets, p[:0])
	}
}

// spoil overwrites a packet that was delivered: it is not the stack's any more.
func (w *world) spoil(p []byte) {
	for b := p; len(b) > 0; {
		b = b[copy(b, junk[:]):]
	}
	w.release(p)
}
