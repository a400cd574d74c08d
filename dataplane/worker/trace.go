// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"net/netip"
	"slices"
	"time"

	"netcon/dataplane/stream"
	"netcon/dataplane/trace"
	"netcon/dataplane/vxlan"
	"netcon/dataplane/wire"
)

// tracer shows what passes a worker to the traces that run. A worker has none
// while there is no trace.
type tracer struct {
	w      *Worker
	taps   []*trace.Tap
	tapped stream.Tapped // nil: the underlay shows no outer frames of its own
	outer  bool          // some trace wants outer frames
}

// Trace shows t what passes the workers, from before it returns until stop
// returns. It must not be called on a worker's thread.
func (g *Group) Trace(t *trace.Trace) (stop func()) {
	for i, w := range g.workers {
		w.Do(func() { w.startTrace(t.Tap(i)) })
	}
	return func() {
		for i, w := range g.workers {
			stopped := false
			w.Do(func() {
				w.stopTrace(t.Tap(i))
				stopped = true
			})
			if !stopped {
				<-w.ended // which lets go of all
			}
		}
	}
}

// Tapped reports whether traces show outer frames as they lie on the wire, as
// opposed to with rebuilt headers.
func (g *Group) Tapped() bool {
	_, ok := g.workers[0].underlay.(stream.Tapped)
	return ok
}

func (w *Worker) startTrace(p *trace.Tap) {
	if w.tracer == nil {
		w.tracer = &tracer{w: w}
		w.tracer.tapped, _ = w.underlay.(stream.Tapped)
	}
	for _, s := range w.shards {
		if s != nil {
			p.Know(s.index, s.traced())
		}
	}
	w.tracer.taps = append(w.tracer.taps, p)
	w.tracer.update()
}

func (w *Worker) stopTrace(p *trace.Tap) {
	t := w.tracer
	if t == nil {
		return
	}
	t.taps = slices.DeleteFunc(t.taps, func(x *trace.Tap) bool { return x == p })
	if len(t.taps) == 0 {
		w.tracer = nil
	}
	t.update()
}

// update follows a change of the taps.
func (t *tracer) update() {
	was := t.outer
	t.outer = slices.ContainsFunc(t.taps, (*trace.Tap).WantsOuter)
	switch {
	case t.tapped == nil || t.outer == was:
	case t.outer:
		t.tapped.SetTap(t)
	default:
		t.tapped.SetTap(nil)
	}
}

// know tells the traces of a container that is new.
func (t *tracer) know(s *Shard) {
	for _, p := range t.taps {
		p.Know(s.index, s.traced())
	}
}

func (s *Shard) traced() trace.Container {
	return trace.Container{Name: s.cfg.Name, VNI: s.vni, MAC: s.mac, Addrs: s.cfg.Addrs}
}

// now is the time of one frame: the worker's own is that of the turn.
func (t *tracer) now() time.Duration { return time.Since(t.w.epoch) }

// inner shows a frame that a container sends, or is given.
func (t *tracer) inner(s *Shard, out bool, eth wire.Ethernet) {
	now := t.now()
	for _, p := range t.taps {
		p.Inner(now, s.index, out, eth)
	}
}

// datagram shows an encapsulated frame of an underlay that cannot.
func (t *tracer) datagram(out bool, vtep netip.Addr, payload []byte) {
	if !t.outer || t.tapped != nil {
		return
	}
	now := t.now()
	for _, p := range t.taps {
		p.Datagram(now, out, vtep, payload)
	}
}

// wire shows both layers of what a container sends to a VTEP: n bytes of packet
// in the underlay's room.
func (t *tracer) wire(s *Shard, vtep netip.Addr, room []byte, n int) {
	payload := room[:vxlan.Headroom+n]
	t.inner(s, true, wire.Ethernet(payload[wire.VXLANLen:]))
	t.datagram(true, vtep, payload)
}

// Outer implements stream.Tap.
func (t *tracer) Outer(out bool, frame []byte) {
	now := t.now()
	for _, p := range t.taps {
		p.Outer(now, out, frame)
	}
}
