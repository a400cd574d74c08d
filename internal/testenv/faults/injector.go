// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"netcon/dataplane/wire"
)

const (
	// maxBytes bounds the bytes an Injector holds.
	maxBytes = 64 << 20

	// reorderWait bounds how long a reordered frame waits for later ones, on
	// top of the time that so many frames take on the line.
	reorderWait = 10 * time.Millisecond
)

// label is what travels with a frame beside its bytes.
type label struct {
	vtep netip.Addr
	flow uint32
}

// entry is one frame in the queue.
type entry struct {
	label
	frame   []byte
	at      time.Duration // when it may leave
	reorder bool

	// Of a held frame: how many frames had left when it was held, and when
	// it leaves even if too few overtake it.
	heldAfter uint64
	until     time.Duration
}

// Injector applies the faults of one Config to a sequence of frames.
type Injector struct {
	counts

	cfg  Config
	skip int // bytes at the front that are never corrupted
	eth  int // offset of the Ethernet header whose checksums matter
	rng  *rand.PCG

	fifo queue // at does not decrease
	held queue // until does not decrease, nor does heldAfter
	pool pool
	last []byte // given out by Pop, back to the pool at the next

	bytes int           // of all frames in fifo and held
	free  time.Duration // when the line has sent what it was given
	lastT time.Duration // the newest entry's at
	lastU time.Duration // the newest held entry's until
	left  uint64        // frames that left the fifo, held ones not counted
}

// New returns an injector for Ethernet frames. It panics if cfg is not valid.
func New(cfg Config) *Injector { return newInjector(cfg, 0) }

// NewEncap returns an injector for UDP payloads from the VXLAN header on. It
// panics if cfg is not valid.
func NewEncap(cfg Config) *Injector { return newInjector(cfg, wire.VXLANLen) }

func newInjector(cfg Config, eth int) *Injector {
	if err := cfg.Validate(); err != nil {
		panic(fmt.Sprintf("faults: %v", err))
	}
	i := &Injector{cfg: cfg, eth: eth, skip: eth + wire.EthernetLen, rng: rand.NewPCG(cfg.Seed, 0x6e6574636f6e)}
	if i.cfg.ReorderBy == 0 {
		i.cfg.ReorderBy = DefaultReorderBy
	}
	if i.cfg.Limit == 0 {
		i.cfg.Limit = DefaultLimit
	}
	if i.cfg.Queue == 0 {
		i.cfg.Queue = DefaultQueue
	}
	return i
}

// uniform returns the next random value from [0, 1).
func (i *Injector) uniform() float64 { return float64(i.rng.Uint64()>>11) / (1 << 53) }

// Push gives the injector a frame at time now, which does not go backwards.
func (i *Injector) Push(frame []byte, now time.Duration) { i.push(frame, label{}, now) }

func (i *Injector) push(frame []byte, l label, now time.Duration) {
	i.seen.Add(1)
	// Always the same draws: see the package comment.
	drop := i.uniform() < i.cfg.Drop
	dup := i.uniform() < i.cfg.Duplicate
	reorder := i.uniform() < i.cfg.Reorder
	corrupt := i.uniform() < i.cfg.Corrupt
	bit := i.uniform()
	jitter, dupJitter := i.uniform(), i.uniform()

	if drop {
		i.dropped.Add(1)
		return
	}
	if !i.room(len(frame)) || (i.cfg.Rate > 0 && i.free-now > i.cfg.Queue) {
		i.overflowed.Add(1)
		return
	}
	e := i.enqueue(frame, l, jitter, now)
	e.reorder = reorder
	if corrupt && len(frame) > i.skip && FinishChecksums(e.frame[i.eth:]) {
		body := e.frame[i.skip:]
		n := int(bit * float64(len(body)*8))
		body[n/8] ^= 1 << (n % 8)
		i.corrupted.Add(1)
	}
	// The copy is whole and in order: one fault each.
	if dup && i.room(len(frame)) {
		i.enqueue(frame, l, dupJitter, now)
		i.duplicated.Add(1)
	}
}

func (i *Injector) room(n int) bool {
	return i.fifo.len()+i.held.len() < i.cfg.Limit && i.bytes+n <= maxBytes
}

// enqueue schedules a copy of frame. The entry is valid until the next enqueue.
func (i *Injector) enqueue(frame []byte, l label, jitter float64, now time.Duration) *entry {
	at := now
	if i.cfg.Rate > 0 {
		i.free = max(i.free, now) + i.lineTime(len(frame))
		at = i.free
	}
	at += i.cfg.Delay + time.Duration(jitter*float64(i.cfg.Jitter))
	i.lastT = max(i.lastT, at)
	if i.lastT > now {
		i.delayed.Add(1)
	}
	b := i.pool.get(len(frame))
	copy(b, frame)
	i.bytes += len(b)
	i.queued.Add(1)
	return i.fifo.push(entry{label: l, frame: b, at: i.lastT})
}

// lineTime returns how long n bytes occupy the line.
func (i *Injector) lineTime(n int) time.Duration {
	if i.cfg.Rate == 0 {
		return 0
	}
	return time.Duration(float64(n) * 8 * float64(time.Second) / float64(i.cfg.Rate))
}

// Pop returns a frame that may leave at time now, or false. The frame is the
// caller's until the next Pop.
func (i *Injector) Pop(now time.Duration) (frame []byte, ok bool) {
	frame, _, ok = i.pop(now)
	return frame, ok
}

func (i *Injector) pop(now time.Duration) ([]byte, label, bool) {
	if i.last != nil {
		i.pool.put(i.last)
		i.last = nil
	}
	for {
		if h := i.held.head(); h != nil && (i.left-h.heldAfter >= uint64(i.cfg.ReorderBy) || h.until <= now) {
			if i.left > h.heldAfter {
				i.reordered.Add(1)
			}
			return i.emit(i.held.pop())
		}
		f := i.fifo.head()
		if f == nil || f.at > now {
			return nil, label{}, false
		}
		e := i.fifo.pop()
		if !e.reorder {
			i.left++
			return i.emit(e)
		}
		wait := reorderWait + min(maxSpan, time.Duration(i.cfg.ReorderBy)*min(maxSpan, i.lineTime(len(e.frame))))
		i.lastU = max(i.lastU, e.at+wait)
		e.heldAfter, e.until = i.left, i.lastU
		i.held.push(e)
	}
}

func (i *Injector) emit(e entry) ([]byte, label, bool) {
	i.bytes -= len(e.frame)
	i.last = e.frame
	i.queued.Add(^uint64(0))
	i.out.Add(1)
	return e.frame, e.label, true
}

// Next returns when Pop is worth calling again, or false if nothing is held.
// The time may have passed already.
func (i *Injector) Next() (time.Duration, bool) {
	f, h := i.fifo.head(), i.held.head()
	switch {
	case f == nil && h == nil:
		return 0, false
	case h == nil:
		return f.at, true
	case i.left-h.heldAfter >= uint64(i.cfg.ReorderBy):
		return 0, true
	case f == nil:
		return h.until, true
	}
	return min(f.at, h.until), true
}
