// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"fmt"
	"net/netip"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
)

// Engine is the TCP of one container shard. It implements stream.Clocked.
type Engine struct {
	cfg  Config
	tun  *Tuning
	stat *stat.Block
	key  secrets

	now time.Duration // as Advance told it
	us  uint32        // the same in microseconds
	ms  uint32        // and in milliseconds

	mem       *memory
	conns     *slab[conn]
	works     *slab[work]
	runs      *slab[run]
	holes     *slab[span]
	halfs     *slab[halfOpen]
	waits     *slab[timeWait]
	table     *table // connections of all three kinds
	wheel     *wheel // of conns
	ports     *ports
	locals    locals
	opts      optsets
	pairs     pairs
	listeners []*listener // by conn.link of a listener; 0 unused
	stashes   stashes

	tx     fifo // connections with something to send
	events fifo // sockets with something to report
	burst  fifo // connections that received something in this burst
	reply  replies
	echoes echoes
	loop   loopback

	halfQueue [maxSynAckTries + 1]queue // half-open connections by retransmissions, oldest first
	waitQueue queue                     // TIME-WAIT, oldest first

	sockets int    // connections and other sockets with an owner, or waiting for Accept
	orphans int    // connections that TCP is not done with and nobody owns
	cookies uint64 // SYN cookies sent

	challenges challenges
	icmpLimit  limiter
	resets     limiter
	ipID       uint16
	afterWait  uint32 // what the next initial sequence number is to be above; 0: nothing

	// Knobs in microseconds.
	minRTO, maxRTO, initialRTO uint32

	in      datagram // scratch of Deliver
	seg     segment
	news    news
	out     header // scratch of Transmit
	void    []byte // where packets to nowhere are written
	stopped bool
}

var _ stream.Clocked = (*Engine)(nil)

// New makes an engine.
func New(cfg Config) (*Engine, error) {
	cfg.Addrs = append([]netip.Prefix(nil), cfg.Addrs...)
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg, stat: cfg.Stat, key: newSecrets(&cfg.Seed)}
	e.setTuning(*cfg.Tuning)
	e.listeners = []*listener{nil}
	e.locals.init(cfg.Addrs)
	e.opts.init(e.defaultOptions())
	e.stashes.init(cfg.Limits.BufferBytes)
	if err := e.allocate(); err != nil {
		if e.mem != nil {
			e.mem.close()
		}
		return nil, fmt.Errorf("engine %q: %w", cfg.Name, err)
	}
	return e, nil
}

// allocate makes the slabs.
func (e *Engine) allocate() (err error) {
	if e.mem, err = newMemory(e.cfg.Name); err != nil {
		return err
	}
	l := e.cfg.Limits
	// Sockets, orphans and what waits for Accept.
	conns := min(l.Connections+l.Orphans+64, maxRecords-64)
	fail := func(e error) {
		if err == nil {
			err = e
		}
	}
	var e1 error
	e.conns, e1 = newSlab[conn](e.mem, "conns", conns)
	fail(e1)
	e.works, e1 = newSlab[work](e.mem, "works", conns)
	fail(e1)
	e.runs, e1 = newSlab[run](e.mem, "runs", min(2*conns+4*maxRuns, maxRecords))
	fail(e1)
	e.holes, e1 = newSlab[span](e.mem, "ranges", min(conns+4*maxRanges, maxRecords))
	fail(e1)
	e.halfs, e1 = newSlab[halfOpen](e.mem, "half open", l.HalfOpen)
	fail(e1)
	e.waits, e1 = newSlab[timeWait](e.mem, "time wait", l.TimeWait)
	fail(e1)
	e.table, e1 = newTable(e.mem, "table", conns+l.HalfOpen+l.TimeWait)
	fail(e1)
	e.wheel, e1 = newWheel(e.mem, "timers", conns)
	fail(e1)
	buckets := min(2*conns+l.TimeWait+64, 65536*4, maxRecords)
	e.ports, e1 = newPorts(e.mem, buckets, &e.locals, e.key.port, e.tun.EphemeralLow, e.tun.EphemeralHigh, e.busy)
	fail(e1)
	return err
}

// setTuning makes t what the engine works by.
func (e *Engine) setTuning(t Tuning) {
	e.tun = &t
	e.minRTO, e.maxRTO, e.initialRTO = micros(t.MinRTO), micros(t.MaxRTO), micros(t.InitialRTO)
	e.challenges = newChallenges(e.key.isn, t.ChallengeAckLimit)
	e.icmpLimit = newLimiter(1000, 50, e.now)
	e.resets = newLimiter(-1, 0, e.now)
}

// Tune changes the tuning of a running engine. What a connection took from it
// when it was opened stays.
func (e *Engine) Tune(t Tuning) error {
	if err := t.check(e.cfg.Name); err != nil {
		return err
	}
	e.setTuning(t)
	e.ports.setRange(t.EphemeralLow, t.EphemeralHigh)
	return nil
}

func micros(d time.Duration) uint32 { return uint32(d / time.Microsecond) }

// setClock sets the time.
func (e *Engine) setClock(now time.Duration) {
	e.now = now
	e.us = uint32(now / time.Microsecond)
	e.ms = uint32(now / time.Millisecond)
}

// Kinds of values in the table.
const (
	kindConn = iota << 30
	kindHalf
	kindWait

	kindMask = 3 << 30
)

// find returns what the table has for a tuple, 0 for nothing.
func (e *Engine) find(t *tuple) uint32 {
	for it := e.table.find(e.key.table.hash(t)); it.next(); {
		v := it.value()
		if e.tupleOf(v).equal(t) {
			return v
		}
	}
	return 0
}

// tupleOf returns the tuple of a value of the table.
func (e *Engine) tupleOf(v uint32) *tuple {
	switch i := v &^ kindMask; v & kindMask {
	case kindHalf:
		return &e.halfs.at(i).tuple
	case kindWait:
		return &e.waits.at(i).tuple
	default:
		return &e.conns.at(i).tuple
	}
}

// busy reports whether a tuple is in use and may not be taken.
func (e *Engine) busy(t *tuple) bool {
	v := e.find(t)
	if v == 0 {
		return false
	}
	return v&kindMask != kindWait || !e.reusable(e.waits.at(v&^kindMask))
}

// pairs are the pairs that owners attached, by connection. They are the only
// pointers there are per connection.
type pairs [][]*stream.Pair

const pairChunk = 1024

func (p pairs) get(i uint32) *stream.Pair {
	if c := int(i / pairChunk); c < len(p) && p[c] != nil {
		return p[c][i%pairChunk]
	}
	return nil
}

func (p *pairs) set(i uint32, pair *stream.Pair) {
	c := int(i / pairChunk)
	for len(*p) <= c {
		*p = append(*p, nil)
	}
	if (*p)[c] == nil {
		if pair == nil {
			return
		}
		(*p)[c] = make([]*stream.Pair, pairChunk)
	}
	(*p)[c][i%pairChunk] = pair
}

// queue is a list of records that are due in the order in which they came.
type queue struct{ head, tail uint32 }
