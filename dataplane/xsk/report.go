// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"netcon/bpf"
	"netcon/dataplane/frame"
	"netcon/dataplane/nexthop"
)

// Report is the state of a device.
type Report struct {
	Interface   string            `json:"interface"`
	Local       string            `json:"local"`
	Mode        string            `json:"mode"`               // native or generic
	Fallback    string            `json:"fallback,omitempty"` // why not native
	ZeroCopy    bool              `json:"zero_copy"`          // on all queues
	MultiBuffer bool              `json:"multi_buffer"`       // frames may span several buffers
	BusyPoll    bool              `json:"busy_poll"`
	FrameSize   int               `json:"frame_size"`
	MTU         int               `json:"mtu"` // largest outer IP packet
	Up          bool              `json:"up"`
	Queues      []QueueReport     `json:"queues"`
	Verdicts    map[string]uint64 `json:"verdicts"` // of the XDP program, by name
	NextHops    []nexthop.Entry   `json:"next_hops"`
}

// QueueReport is the state of one queue.
type QueueReport struct {
	Queue    int          `json:"queue"`
	Worker   int          `json:"worker"`
	Sends    bool         `json:"sends"`
	ZeroCopy bool         `json:"zero_copy"`
	Trouble  string       `json:"trouble,omitempty"` // why it does not send
	Rings    RingsReport  `json:"rings"`
	Frames   FramesReport `json:"frames"`
	Kernel   KernelReport `json:"kernel"`
	Kicks    uint64       `json:"kicks"`   // system calls to send
	Again    uint64       `json:"again"`   // of them, those that did not take all
	Wakeups  uint64       `json:"wakeups"` // system calls to receive
	Strange  uint64       `json:"strange"` // nonsense found in rings
}

// RingsReport is how many entries lie in each ring, of how many.
type RingsReport struct {
	Size       int `json:"size"` // of each ring
	Fill       int `json:"fill"`
	Rx         int `json:"rx"`
	Tx         int `json:"tx"`
	Completion int `json:"completion"`
}

// FramesReport is who has how many frames; Total is their sum.
type FramesReport struct {
	Total      int `json:"total"`
	Free       int `json:"free"`
	Fill       int `json:"fill"`       // the kernel, to receive into
	Rx         int `json:"rx"`         // the worker, received
	Reserved   int `json:"reserved"`   // the worker, to send
	Held       int `json:"held"`       // waiting for a next hop
	Tx         int `json:"tx"`         // in the transmit ring
	Completion int `json:"completion"` // being sent, or in the completion ring
}

// KernelReport is what the kernel counted on the socket (XDP_STATISTICS).
type KernelReport struct {
	RxDropped      uint64 `json:"rx_dropped"`
	RxInvalid      uint64 `json:"rx_invalid_descs"`
	TxInvalid      uint64 `json:"tx_invalid_descs"`
	RxRingFull     uint64 `json:"rx_ring_full"`
	FillRingEmpty  uint64 `json:"rx_fill_ring_empty_descs"`
	TxRingEmpty    uint64 `json:"tx_ring_empty_descs"`
	RxDroppedLarge uint64 `json:"rx_dropped_large"` // of RxDropped: too large for a buffer
}

// Report returns the state of the device. It may be called from any goroutine;
// what a worker counts is as of its last Flush.
func (d *Device) Report() Report {
	// Before the lock: it waits for the table's goroutine.
	hops := d.table.Entries()
	d.mu.RLock()
	defer d.mu.RUnlock()
	r := Report{
		Interface: d.cfg.Interface, Local: d.cfg.Local.String(), Mode: d.program.Mode().String(), MultiBuffer: d.shape.multi,
		FrameSize: d.shape.frameSize, MTU: d.MTU(), Up: d.table.Up(),
		Queues: []QueueReport{}, Verdicts: map[string]uint64{}, NextHops: []nexthop.Entry{},
	}
	if err := d.program.Fallback(); err != nil {
		r.Fallback = err.Error()
	}
	if d.closed {
		return r
	}
	r.NextHops = append(r.NextHops, hops...)
	if c, err := d.program.Counters(); err == nil {
		for v, n := range c {
			r.Verdicts[bpf.Verdict(v).String()] = n
		}
	}
	byNumber := make([]*QueueReport, d.rx)
	for _, l := range d.links {
		for _, q := range l.queues {
			x := q.report(l.index)
			byNumber[q.number] = &x
			r.BusyPoll = r.BusyPoll || q.sock.busyPoll
		}
	}
	r.ZeroCopy = true
	for _, x := range byNumber {
		if x != nil {
			r.Queues = append(r.Queues, *x)
			r.ZeroCopy = r.ZeroCopy && x.ZeroCopy
		}
	}
	r.ZeroCopy = r.ZeroCopy && len(r.Queues) > 0
	return r
}

func (q *queue) report(worker int) QueueReport {
	size := len(q.fill.entries)
	f := q.board.read()
	r := QueueReport{
		Queue: q.number, Worker: worker, Sends: q.sends, ZeroCopy: q.sock.zeroCopy,
		Trouble: trouble(q.drive.trouble.Load()).String(),
		Rings: RingsReport{
			Size: size, Fill: q.fill.level(size), Rx: q.rx.level(size), Tx: q.tx.level(size), Completion: q.completion.level(size),
		},
		Kicks: f.kicks, Again: f.again, Wakeups: f.wakeups, Strange: f.strange,
	}
	if f.broken {
		r.Trouble = "broken ring"
	}
	inRing := min(r.Rings.Tx, f.frames[frame.Tx])
	r.Frames = FramesReport{
		Total: f.frames.Sum(), Free: f.frames[frame.Free], Fill: f.frames[frame.Fill], Rx: f.frames[frame.Rx],
		Reserved: f.frames[frame.Reserved], Held: f.frames[frame.Held], Tx: inRing, Completion: f.frames[frame.Tx] - inRing,
	}
	if s, err := q.sock.lib.Stats(); err == nil {
		k := s.KernelStats
		r.Kernel = KernelReport{
			RxDropped: k.Rx_dropped, RxInvalid: k.Rx_invalid_descs, TxInvalid: k.Tx_invalid_descs,
			RxRingFull: k.Rx_ring_full, FillRingEmpty: k.Rx_fill_ring_empty_descs, TxRingEmpty: k.Tx_ring_empty_descs,
			RxDroppedLarge: k.Rx_dropped - min(k.Rx_dropped, k.Rx_fill_ring_empty_descs),
		}
	}
	return r
}

// String returns what an operator reads, "" if there is none.
func (t trouble) String() string {
	switch t {
	case untroubled:
		return ""
	case stuck:
		return "the device takes nothing"
	case down:
		return "the device is down"
	case failed:
		return "the device does not send"
	}
	return "unknown"
}
