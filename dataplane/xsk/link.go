// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"net/netip"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
)

// Link is one worker's underlay: some of the device's queues. It implements
// stream.Underlay and stream.Tapped.
type Link struct {
	dev      *Device
	index    int
	stats    *stat.Block
	table    nextHops
	outer    outerParser
	overhead int      // bytes of outer IP and UDP header
	queues   []*queue // all that it receives from
	senders  []*queue // of them, those that it sends to
	first    int      // the queue that the next Recv starts with
	bell     bell
	alert    alert
	tap      stream.Tap
	closed   bool

	// What holds for one turn of the worker.
	turn       uint64
	generation uint64
	up         bool
	mtu        int // largest outer IP packet to send
	rxMTU      int // and to receive
	hops       [maxHops]hop
	lastHop    *hop // one of them, or nil

	pend    pending
	out     chain  // of the last Commit
	scratch []byte // for payloads that are refused or span several frames
	linear  []byte // a sent frame in one piece; nil until needed

	// The first held of holds wait for next hops, and were looked at last with
	// the table's generation heldAt.
	holds  [maxHeld]chain
	held   int
	heldAt uint64

	// Not counted yet, see countSent.
	sentFrames, sentBytes uint64
	kicks, lost, owed     uint64
}

var (
	_ stream.Underlay = (*Link)(nil)
	_ stream.Tapped   = (*Link)(nil)
)

func newLink(d *Device, index int) (*Link, error) {
	l := &Link{
		dev: d, index: index, stats: d.cfg.Stats[index], table: d.table,
		outer: outerParser{
			local: d.cfg.Local.Addr().WithZone(""), port: d.cfg.Local.Port(), unfinished: d.cfg.Unfinished,
		},
		overhead: overheadOf(d.cfg.Local.Addr()),
		scratch:  make([]byte, payloadOffset+maxPacket),
	}
	if err := l.bell.open(); err != nil {
		return nil, err
	}
	l.mtu, l.rxMTU = d.limit, d.shape.mtu
	l.newTurn()
	return l, nil
}

// add gives the link another queue.
func (l *Link) add(q *queue) error {
	l.queues = append(l.queues, q)
	if q.sends {
		l.senders = append(l.senders, q)
	}
	return l.bell.watch(q.fd)
}

// Local returns the VTEP's address and port.
func (l *Link) Local() netip.AddrPort { return l.dev.cfg.Local }

// FD is readable when a queue has frames, or when something that frames wait
// for has changed.
func (l *Link) FD() int { return l.bell.epoll }

// SetTap shows t every frame from now on, received and sent; nil shows nobody.
func (l *Link) SetTap(t stream.Tap) { l.tap = t }

// Close leaves the link's queues to the host and closes their sockets; what was
// not flushed is lost. The worker must not be inside another call. When the last
// link is closed the device is. Closing again does nothing.
func (l *Link) Close() error { return l.dev.closeLink(l) }
