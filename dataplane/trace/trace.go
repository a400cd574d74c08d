// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Sizes.
const (
	MinSnaplen  = 64        // room for rebuilt outer headers
	MaxSnaplen  = 256 << 10 // every frame is shorter
	DefaultRing = 4 << 20   // bytes per worker
)

// Times of the reader.
const (
	flushEvery = 50 * time.Millisecond // how often it looks without being told
	holdBack   = 5 * time.Millisecond  // how long it waits for older frames of other workers
)

// writeBytes is how much the reader gathers before it writes.
const writeBytes = 64 << 10

// Config says what a trace shows.
type Config struct {
	Layers    Layer
	Direction Direction
	Container string // show this one's frames only; empty: all
	Snaplen   int    // bytes of a frame, MinSnaplen to MaxSnaplen
	Count     uint64 // packets after which the trace ends; 0: no limit

	Workers    int
	Containers []Container    // that are there when the trace begins
	VTEP       netip.AddrPort // ours, for outer headers that are rebuilt
	Rebuilt    bool           // say in the stream that outer headers are rebuilt
	Ring       int            // bytes per worker, a power of two; 0: DefaultRing
	// Now is the clock of the workers.
	Now func() time.Duration
	// Application is the program's name and version, for the stream.
	Application string
}

// Trace is one trace. See the package comment.
type Trace struct {
	cfg     Config
	rebuilt int   // length of rebuilt outer headers
	wall    int64 // wall clock less the workers' clock, nanoseconds
	start   int64 // wall clock, nanoseconds
	taps    []*Tap
	wake    chan struct{} // some ring is more than half full
	only    atomic.Pointer[place]
	buf     []byte // gathered, to be written
	dirty   bool   // something was written and not flushed
	written uint64 // packets
	told    int    // interfaces described in the stream

	mu     sync.Mutex
	ifaces []*iface
}

// iface is a pcapng interface. Its index is its number.
type iface struct {
	name, description string
	container         bool // as opposed to the underlay
	cells             []*cell
}

// Summary is what became of a trace.
type Summary struct {
	Packets uint64 // written
	Dropped uint64 // found their ring full
}

// New makes a trace. Each worker is to be given its Tap.
func New(cfg Config) (*Trace, error) {
	if cfg.Snaplen < MinSnaplen || cfg.Snaplen > MaxSnaplen {
		return nil, fmt.Errorf("snaplen %d (want %d to %d)", cfg.Snaplen, MinSnaplen, MaxSnaplen)
	}
	if cfg.Ring == 0 {
		cfg.Ring = DefaultRing
	}
	t := &Trace{
		cfg: cfg, rebuilt: rebuilt6, wake: make(chan struct{}, 1),
		buf: make([]byte, 0, writeBytes+MaxSnaplen),
	}
	if cfg.VTEP.Addr().Is4() {
		t.rebuilt = rebuilt4
	}
	now := cfg.Now()
	t.start = time.Now().UnixNano()
	t.wall = t.start - int64(now)
	if cfg.Container != "" {
		t.only.Store(&place{vni: math.MaxUint32}) // nobody, until it is known
	}
	for _, c := range cfg.Containers {
		t.know(c)
	}
	underlay := uint32(len(t.ifaces))
	if cfg.Layers&Outer != 0 {
		t.ifaces = append(t.ifaces, &iface{name: "underlay", description: t.describeUnderlay()})
	}
	for range cfg.Workers {
		r, err := newRing(cfg.Ring)
		if err != nil {
			t.Close()
			return nil, err
		}
		p := &Tap{t: t, ring: r}
		if cfg.Layers&Outer != 0 {
			p.outer = t.cell(underlay)
		}
		t.taps = append(t.taps, p)
	}
	return t, nil
}

func (t *Trace) describeUnderlay() string {
	s := fmt.Sprintf("encapsulated frames of VTEP %v", t.cfg.VTEP)
	if t.cfg.Rebuilt {
		s += "; outer headers are rebuilt: no MAC addresses, no source port"
		if t.cfg.VTEP.Addr().Is4() {
			s += ", no UDP checksum"
		}
	}
	return s
}

// know returns a new cell for a container, or nil if it is not shown.
func (t *Trace) know(c Container) *cell {
	if t.cfg.Container != "" {
		if c.Name != t.cfg.Container {
			return nil
		}
		t.only.Store(&place{c.VNI, c.MAC})
	}
	if t.cfg.Layers&Inner == 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.ifaces, func(f *iface) bool { return f.container && f.name == c.Name })
	if i < 0 {
		i = len(t.ifaces)
		var b strings.Builder
		fmt.Fprintf(&b, "container, VNI %d, %v", c.VNI, c.MAC)
		for _, a := range c.Addrs {
			fmt.Fprintf(&b, ", %v", a)
		}
		t.ifaces = append(t.ifaces, &iface{name: c.Name, description: b.String(), container: true})
	}
	return t.cell(uint32(i))
}

// cell makes a cell of an interface. t.mu is held, or nobody else has t.
func (t *Trace) cell(i uint32) *cell {
	c := &cell{iface: i}
	t.ifaces[i].cells = append(t.ifaces[i].cells, c)
	return c
}

// Tap returns the end of the worker of that index.
func (t *Trace) Tap(worker int) *Tap { return t.taps[worker] }

// Copy writes the stream to w until ctx ends or Count packets are written. It
// calls flush when frames should be on their way.
func (t *Trace) Copy(ctx context.Context, w io.Writer, flush func() error) error {
	t.buf = appendSection(t.buf[:0], runtime.GOARCH, runtime.GOOS, t.cfg.Application)
	t.describe()
	if err := t.push(w, flush); err != nil {
		return err
	}
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for t.left() > 0 {
		before := time.Duration(math.MaxInt64)
		select {
		case <-ctx.Done():
			return nil
		case <-t.wake:
		case <-tick.C:
			if len(t.taps) > 1 {
				before = t.cfg.Now() - holdBack
			}
		}
		if err := t.drain(w, before); err != nil {
			return err
		}
		if err := t.push(w, flush); err != nil {
			return err
		}
	}
	return nil
}

// Finish writes what is left and the statistics, after every worker has let go
// of its Tap.
func (t *Trace) Finish(w io.Writer, flush func() error) (s Summary, err error) {
	err = t.drain(w, math.MaxInt64)
	t.describe()
	stop := t.wall + int64(t.cfg.Now())
	t.mu.Lock()
	for i, f := range t.ifaces {
		var captured, dropped uint64
		for _, c := range f.cells {
			captured += c.captured.Load()
			dropped += c.dropped.Load()
		}
		s.Dropped += dropped
		t.buf = appendStatistics(t.buf, uint32(i), t.start, stop, captured+dropped, dropped)
	}
	t.mu.Unlock()
	if err == nil {
		err = t.push(w, flush)
	}
	s.Packets = t.written
	return s, err
}

// Close gives the memory back.
func (t *Trace) Close() {
	for _, p := range t.taps {
		p.ring.close()
	}
}

// left returns how many packets may still be written.
func (t *Trace) left() uint64 {
	if t.cfg.Count == 0 {
		return math.MaxUint64
	}
	return t.cfg.Count - t.written
}

// drain writes the frames that are in the rings now and are older than before,
// the oldest first.
func (t *Trace) drain(w io.Writer, before time.Duration) error {
	limits := make([]uint64, len(t.taps))
	for i, p := range t.taps {
		p.ring.crowded.Store(false)
		limits[i] = p.ring.limit()
	}
	for t.left() > 0 {
		oldest := -1
		var rec record
		var data []byte
		for i, p := range t.taps {
			if r, d, ok := p.ring.peek(limits[i]); ok && (oldest < 0 || r.time < rec.time) {
				oldest, rec, data = i, r, d
			}
		}
		if oldest < 0 || rec.time > int64(before) {
			return nil
		}
		t.packet(&rec, data)
		t.taps[oldest].ring.release(len(data))
		if len(t.buf) >= writeBytes {
			if err := t.write(w); err != nil {
				return err
			}
		}
	}
	return nil
}

// packet adds a captured frame to what is to be written.
func (t *Trace) packet(rec *record, data []byte) {
	if int(rec.iface) >= t.told {
		t.describe()
	}
	out, whole, ns := rec.flags&recordOut != 0, int(rec.whole), t.wall+rec.time
	var headers [rebuilt6]byte
	before := headers[:0]
	if rec.flags&recordRebuild != 0 {
		src, dst := netip.AddrFrom16([16]byte(data)), t.cfg.VTEP.Addr()
		if data = data[rebuiltAddrLen:]; dst.Is4() {
			src = src.Unmap()
		}
		if out {
			src, dst = dst, src
		}
		before = appendRebuilt(before, src, dst, t.cfg.VTEP.Port(), whole, data)
		whole += len(before)
	}
	captured, at := len(before)+len(data), len(t.buf)
	t.buf = beginPacket(t.buf, rec.iface, ns, captured, whole)
	t.buf = append(append(t.buf, before...), data...)
	t.buf = endPacket(t.buf, at, captured, out, rec.lost)
	t.written++
}

// describe adds the descriptions of interfaces that the stream does not have
// yet.
func (t *Trace) describe() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ; t.told < len(t.ifaces); t.told++ {
		f := t.ifaces[t.told]
		t.buf = appendInterface(t.buf, f.name, f.description, t.cfg.Snaplen)
	}
}

// write writes what was gathered.
func (t *Trace) write(w io.Writer) error {
	_, err := w.Write(t.buf)
	t.buf, t.dirty = t.buf[:0], true
	return err
}

// push writes what was gathered and flushes what was written.
func (t *Trace) push(w io.Writer, flush func() error) error {
	if len(t.buf) > 0 {
		if err := t.write(w); err != nil {
			return err
		}
	}
	if !t.dirty {
		return nil
	}
	t.dirty = false
	return flush()
}
