// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"net/netip"

	"netcon/dataplane/fib"
	"netcon/dataplane/stat"
	"netcon/dataplane/vxlan"
	"netcon/dataplane/wire"
)

// Frame takes one encapsulated frame from the underlay (stream.Sink).
func (w *Worker) Frame(src netip.Addr, payload []byte) {
	if w.tracer != nil {
		w.tracer.datagram(false, src, payload)
	}
	if src == w.vtep {
		w.stat.Drop(stat.DropUnknownVTEP)
		return
	}
	n, eth, r := vxlan.Decap(w.fib.Load(), src, payload)
	if r != stat.Accepted {
		w.stat.Drop(r)
		return
	}
	w.stat.Drop(n.Learn(eth.Src(), src, w.now))

	verified := w.partial && wire.Unfinished(eth.Payload())
	dst := eth.Dst()
	switch d := n.Lookup(dst, w.now); {
	case d.Kind == fib.Local:
		w.forward(d.Port, eth, verified)
	case dst.IsGroup():
		for _, m := range n.Members() {
			w.forward(m.Port, eth, verified)
		}
	default:
		// From the underlay, never back to it: split horizon.
		w.stat.Drop(stat.DropNotForUs)
	}
}

// forward gives an inner frame to a local container, on whichever worker it is.
func (w *Worker) forward(to fib.Port, eth wire.Ethernet, verified bool) {
	if int(to.Worker) != w.index {
		w.handOver(to, eth, verified)
	} else if s := w.shard(to.Index); s != nil {
		s.input(eth, verified)
	} else {
		w.stat.Drop(stat.DropContainerGone)
	}
}

// handOver gives an inner frame to a container through a hand-over ring; a
// worker has one to itself, too.
func (w *Worker) handOver(to fib.Port, eth wire.Ethernet, verified bool) {
	b := w.handoverTo(to.Worker).reserve(len(eth))
	if b == nil {
		w.stat.Drop(stat.DropHandoverFull)
		return
	}
	copy(b, eth)
	w.commitHandover(to, len(eth), verified)
}

func (w *Worker) shard(i int32) *Shard {
	if int(i) < len(w.shards) {
		return w.shards[i]
	}
	return nil
}

// handoverTo returns the ring to a worker.
func (w *Worker) handoverTo(to int32) *handover {
	h := w.out[to]
	if h == nil {
		h = newHandover()
		w.out[to] = h
		w.group.workers[to].in[w.index].Store(h)
	}
	return h
}

func (w *Worker) commitHandover(to fib.Port, n int, verified bool) {
	flags := uint32(0)
	if verified {
		flags = recordVerified
	}
	w.out[to.Worker].commit(n, to.Index, flags)
	if int(to.Worker) != w.index {
		w.stat.Count(stat.Handovers)
	}
}

// publishHandovers shows other workers what they were given this turn.
func (w *Worker) publishHandovers() {
	for to, h := range w.out {
		if h != nil && h.publish() {
			w.group.workers[to].Wake()
		}
	}
}

// takeHandovers delivers what other workers gave.
func (w *Worker) takeHandovers() (worked bool) {
	for from := range w.in {
		h := w.in[from].Load()
		if h == nil {
			continue
		}
		for range handoverBudget {
			frame, shard, flags := h.take()
			if frame == nil {
				break
			}
			worked = true
			if s := w.shard(shard); s != nil {
				s.input(wire.Ethernet(frame), flags&recordVerified != 0)
			} else {
				w.stat.Drop(stat.DropContainerGone)
			}
			h.release(frame)
		}
	}
	return worked
}

func (w *Worker) anyHandover() bool {
	for from := range w.in {
		if h := w.in[from].Load(); h != nil && !h.empty() {
			return true
		}
	}
	return false
}
