// SPDX-License-Identifier: Apache-2.0

package faults

import "sync/atomic"

// Report is what an Injector did. At any moment
//
//	Seen + Duplicated = Out + Dropped + Overflowed + Queued
type Report struct {
	Faults     string `json:"faults"`     // the configuration, as ParseConfig reads it
	Seen       uint64 `json:"seen"`       // frames pushed
	Out        uint64 `json:"out"`        // frames popped
	Dropped    uint64 `json:"dropped"`    // frames dropped on purpose
	Duplicated uint64 `json:"duplicated"` // extra copies made
	Reordered  uint64 `json:"reordered"`  // frames out that at least one later frame overtook
	Corrupted  uint64 `json:"corrupted"`  // frames with one bit flipped
	Delayed    uint64 `json:"delayed"`    // frames that had to wait for delay, jitter or the line
	Overflowed uint64 `json:"overflowed"` // frames that found no room
	Queued     uint64 `json:"queued"`     // frames held now
}

// WireReport is what the command faultwire did.
type WireReport struct {
	AToB DirectionReport `json:"a_to_b"`
	BToA DirectionReport `json:"b_to_a"`
}

// DirectionReport is what happened between reading frames from one interface
// and writing them to the other.
type DirectionReport struct {
	Report
	Received    uint64 `json:"received"`     // frames read from the interface, super-frames counted once
	SuperFrames uint64 `json:"super_frames"` // GSO frames cut into wire frames
	Unsegmented uint64 `json:"unsegmented"`  // GSO frames of a kind that cannot be cut, lost
	KernelDrops uint64 `json:"kernel_drops"` // frames the socket buffer had no room for, lost
	TooBig      uint64 `json:"too_big"`      // frames larger than the outgoing MTU, lost
	SendErrors  uint64 `json:"send_errors"`  // frames the outgoing interface refused, lost
}

// counts are the live values of a Report: written by the injector's thread,
// read by anyone.
type counts struct {
	seen, out, dropped, duplicated, reordered, corrupted, delayed, overflowed atomic.Uint64

	queued atomic.Uint64
}

// Report returns what the injector did so far. While the injector runs on
// another thread the fields may be a few frames apart.
func (i *Injector) Report() Report {
	c := &i.counts
	return Report{
		Faults:     i.cfg.String(),
		Seen:       c.seen.Load(),
		Out:        c.out.Load(),
		Dropped:    c.dropped.Load(),
		Duplicated: c.duplicated.Load(),
		Reordered:  c.reordered.Load(),
		Corrupted:  c.corrupted.Load(),
		Delayed:    c.delayed.Load(),
		Overflowed: c.overflowed.Load(),
		Queued:     c.queued.Load(),
	}
}
