// SPDX-License-Identifier: Apache-2.0

package frame

import "fmt"

// Ledger counts the frames of one UMEM by owner and hands out the free ones.
type Ledger struct {
	counts Counts
	free   []uint32 // a stack; its length is counts[Free]

	// Nil unless checked.
	owners []Owner
	fault  func(error)
}

// New returns a ledger of n frames, all of them free. Frame 0 is handed out
// first.
func New(n int) *Ledger {
	l := &Ledger{free: make([]uint32, n)}
	for i := range l.free {
		l.free[i] = uint32(n - 1 - i)
	}
	l.counts[Free] = n
	return l
}

// NewChecked is New, and calls fault whenever a call names an owner that is not
// the frame's, or no frame of the UMEM. The call then changes nothing.
func NewChecked(n int, fault func(error)) *Ledger {
	l := New(n)
	l.owners = make([]Owner, n)
	l.fault = fault
	return l
}

// Get takes a free frame for owner to, or returns false if there is none.
func (l *Ledger) Get(to Owner) (uint32, bool) {
	n := len(l.free)
	if n == 0 {
		return 0, false
	}
	f := l.free[n-1]
	if l.owners != nil && !l.check(f, Free, to) {
		return 0, false
	}
	l.free = l.free[:n-1]
	l.counts[Free]--
	l.counts[to]++
	return f, true
}

// Put frees frame f of owner from.
func (l *Ledger) Put(f uint32, from Owner) {
	if l.owners != nil && !l.check(f, from, Free) {
		return
	}
	l.free = append(l.free, f)
	l.counts[from]--
	l.counts[Free]++
}

// Move gives frame f of owner from to owner to. Neither is Free.
func (l *Ledger) Move(f uint32, from, to Owner) {
	if l.owners != nil && !l.check(f, from, to) {
		return
	}
	l.counts[from]--
	l.counts[to]++
}

// Count returns how many frames o owns.
func (l *Ledger) Count(o Owner) int { return l.counts[o] }

// Counts returns how many frames each owner has.
func (l *Ledger) Counts() Counts { return l.counts }

// check notes that f goes from one owner to another, or reports why it cannot.
func (l *Ledger) check(f uint32, from, to Owner) bool {
	switch {
	case int(f) >= len(l.owners):
		l.fault(fmt.Errorf("move frame %d from %s to %s: the UMEM has %d frames", f, from, to, len(l.owners)))
	case l.owners[f] != from:
		l.fault(fmt.Errorf("move frame %d from %s to %s: its owner is %s", f, from, to, l.owners[f]))
	default:
		l.owners[f] = to
		return true
	}
	return false
}

// Verify walks all frames of a checked ledger and returns what does not agree:
// counts, the stack of free frames, or the sum.
func (l *Ledger) Verify() error {
	if l.owners == nil {
		return nil
	}
	var counts Counts
	for _, o := range l.owners {
		counts[o]++
	}
	if counts != l.counts {
		return fmt.Errorf("frames by owner: %v were counted, there are %v", l.counts, counts)
	}
	if len(l.free) != counts[Free] {
		return fmt.Errorf("%d frames on the free stack, %d free", len(l.free), counts[Free])
	}
	seen := make([]bool, len(l.owners))
	for _, f := range l.free {
		if l.owners[f] != Free {
			return fmt.Errorf("frame %d on the free stack: its owner is %s", f, l.owners[f])
		}
		if seen[f] {
			return fmt.Errorf("frame %d is on the free stack twice", f)
		}
		seen[f] = true
	}
	return nil
}
