// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"time"

	"golang.org/x/sys/unix"

	"netcon/bpf"
	"netcon/dataplane/stat"
)

// watchEvery is how often the watch looks.
const watchEvery = time.Second

// watch looks at a device from time to time, on a goroutine of its own: it
// counts what the kernel dropped, wakes workers whose queues are in trouble, and
// tells the operator once about each thing that is wrong.
type watch struct {
	quit, done chan struct{}

	dropped  []uint64 // by queue: oversized frames that the kernel dropped
	noSocket uint64
	told     map[string]bool
}

func (w *watch) start(d *Device) {
	w.quit, w.done = make(chan struct{}), make(chan struct{})
	w.told = map[string]bool{}
	w.dropped = make([]uint64, d.rx)
	go w.run(d)
}

// stop ends the watch and waits for it. A watch that was not started is ended.
func (w *watch) stop() {
	if w.quit != nil {
		close(w.quit)
		<-w.done
	}
}

func (w *watch) run(d *Device) {
	defer close(w.done)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		w.look(d)
		select {
		case <-w.quit:
			return
		case <-tick.C:
		}
	}
}

// look does one round.
func (w *watch) look(d *Device) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, l := range d.links {
		if l.closed {
			continue
		}
		for _, q := range l.queues {
			w.countDropped(d, l, q)
			w.lookAtTrouble(d, l, q)
		}
	}
	if d.tooBig.Load() {
		w.tooBig(d)
	}
	if c, err := d.program.Counters(); err == nil && c[bpf.PassNoSocket] > w.noSocket {
		w.noSocket = c[bpf.PassNoSocket]
		w.tell(d, "queue without socket", "frames arrive on a receive queue that had no socket (if its number was raised: restart)")
	}
}

// countDropped counts frames that the kernel did not pass on because they do not
// fit a buffer. It counts those for which the fill ring was empty in the same
// place.
func (w *watch) countDropped(d *Device, l *Link, q *queue) {
	s, err := q.sock.lib.Stats()
	if err != nil {
		return
	}
	k := s.KernelStats
	n := k.Rx_dropped - min(k.Rx_dropped, k.Rx_fill_ring_empty_descs)
	for ; w.dropped[q.number] < n; w.dropped[q.number]++ {
		l.stats.DropShared(stat.DropOuterTooBig)
		d.tooBig.Store(true)
	}
}

func (w *watch) tooBig(d *Device) {
	w.tell(d, "too big", "frames arrive that are larger than the MTU: the sender merges or segments in software, "+
		"which XDP in generic mode cannot take (on the peer: ethtool -K PEER gso off tso off gro off)", "mtu", d.MTU())
}

// lookAtTrouble wakes the worker of a queue that does not send, or whose driver
// wants to be woken to receive, so that it tries again.
func (w *watch) lookAtTrouble(d *Device, l *Link, q *queue) {
	if q.board.read().broken {
		w.tell(d, "broken", "a ring shared with the kernel makes no sense: restart", "queue", q.number)
	}
	switch trouble(q.drive.trouble.Load()) {
	case untroubled:
		if !q.fill.needsWakeup() {
			return
		}
	case stuck:
		w.tell(d, "stuck", "the device takes no frames", "queue", q.number)
	case failed:
		w.tell(d, "failed", "the device does not send: it was removed (restart when it is back), or is being set up anew",
			"queue", q.number, "error", unix.Errno(q.drive.errno.Load()))
	}
	l.bell.ring()
}

// tell logs a thing once.
func (w *watch) tell(d *Device, what, message string, args ...any) {
	if !w.told[what] {
		w.told[what] = true
		d.cfg.Log.Warn(message, append([]any{"interface", d.cfg.Interface}, args...)...)
	}
}
