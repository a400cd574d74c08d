// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"net/netip"
	"sync/atomic"
	"time"

	"netcon/dataplane/wire"
)

// Tap is a worker's end of a trace. It belongs to the worker's thread.
type Tap struct {
	t     *Trace
	ring  *ring
	cells []*cell // by shard index; nil: not shown
	outer *cell   // nil: not shown
}

// cell counts the frames of one interface on one worker. Only the worker
// writes.
type cell struct {
	iface    uint32
	lost     uint32 // dropped since the last one that was not
	captured atomic.Uint64
	dropped  atomic.Uint64
}

// WantsOuter reports whether outer frames are to be shown.
func (p *Tap) WantsOuter() bool { return p.outer != nil }

// Know says that a container is at that index of the worker's shards from now
// on.
func (p *Tap) Know(shard int32, c Container) {
	for int(shard) >= len(p.cells) {
		p.cells = append(p.cells, nil)
	}
	p.cells[shard] = p.t.know(c)
}

// Inner shows the Ethernet frame that the container at an index of the worker's
// shards sent, or is given. now is the worker's clock.
func (p *Tap) Inner(now time.Duration, shard int32, out bool, frame []byte) {
	if int(shard) >= len(p.cells) {
		return
	}
	if c := p.cells[shard]; c != nil && p.t.cfg.Direction.wants(out) {
		p.put(c, now, out, 0, nil, frame, p.t.cfg.Snaplen)
	}
}

// Outer shows a frame as it lies on the wire.
func (p *Tap) Outer(now time.Duration, out bool, frame []byte) {
	if p.outer == nil || !p.t.cfg.Direction.wants(out) {
		return
	}
	if k := p.t.only.Load(); k != nil {
		payload, ok := payloadOf(frame)
		if !ok || !k.matches(out, payload) {
			return
		}
	}
	p.put(p.outer, now, out, 0, nil, frame, p.t.cfg.Snaplen)
}

// Datagram shows the UDP payload of an outer frame, from or to another VTEP, of
// an underlay that does not see the frame itself.
func (p *Tap) Datagram(now time.Duration, out bool, vtep netip.Addr, payload []byte) {
	if p.outer == nil || !p.t.cfg.Direction.wants(out) || vtep.Is4() != p.t.cfg.VTEP.Addr().Is4() {
		return
	}
	if k := p.t.only.Load(); k != nil && !k.matches(out, payload) {
		return
	}
	addr := vtep.As16()
	p.put(p.outer, now, out, recordRebuild, addr[:], payload, p.t.cfg.Snaplen-p.t.rebuilt)
}

// put captures at most snap bytes of a frame.
func (p *Tap) put(c *cell, now time.Duration, out bool, flags uint32, head, frame []byte, snap int) {
	if out {
		flags |= recordOut
	}
	rec := record{time: int64(now), iface: c.iface, flags: flags, whole: uint32(len(frame)), lost: c.lost}
	if !p.ring.put(&rec, head, frame[:min(len(frame), snap)]) {
		c.lost++
		c.dropped.Store(c.dropped.Load() + 1)
		return
	}
	c.lost = 0
	c.captured.Store(c.captured.Load() + 1)
	if p.ring.full() {
		select {
		case p.t.wake <- struct{}{}:
		default:
		}
	}
}

// Container is a container that is traced.
type Container struct {
	Name  string
	VNI   uint32
	MAC   wire.MAC
	Addrs []netip.Prefix // for the interface's description
}
