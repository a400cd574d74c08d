// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"fmt"
	"math"
	"math/bits"
	"time"
)

// wheel is a hierarchical timing wheel (Varghese, Lauck 1987) on indices: one
// deadline per index. Whoever has several timers keeps the earliest of them
// here.
//
// A tick is 2^18 ns, about a quarter of a millisecond. Deadlines are rounded up
// to ticks: nothing fires early, except that deadlines more than wheelHorizon
// ahead fire then.
//
// There are four levels of 256 buckets, one for each byte of the tick count. An
// index lies on the level of the highest byte in which its deadline differs from
// now. A bucket of level 0 is one tick; when time comes to a bucket of another
// level, what lies in it moves to lower levels, at most three times in all.
//
// Timers of connections are mostly moved away again before they fire, and
// further into the future. So an index stays in the bucket where it lies when it
// is disarmed, or armed for later: when the time of the bucket comes, it is
// looked at and put where it belongs then, or nowhere. Only arming for a time
// before that of the bucket moves it at once.
type wheel struct {
	nodes    []timer
	heads    [wheelLevels][wheelBuckets]uint32 // the index put in last; 0: none
	occupied [wheelLevels][wheelBuckets / 64]uint64
	tick     int64 // what lies before it is done; never after now
	now      int64 // in ticks
	count    int   // indices that are armed
	linked   int   // indices that lie in a bucket
}

// timer is what the wheel knows of an index. 12 bytes.
type timer struct {
	next     uint32 // in the bucket; the bucket's number in the high byte
	prev     uint32 // in the bucket; the level and the flags in the high byte
	deadline uint32 // in ticks
}

const (
	wheelLevels  = 4
	wheelBuckets = 256

	wheelShift   = 18
	wheelHorizon = 1 << 30 // ticks, 3.2 days

	timerIndex  = 1<<24 - 1 // of next and prev
	timerArmed  = 1 << 31   // of prev
	timerLinked = 1 << 30   // of prev
)

// newWheel makes a wheel for indices up to limit in a region of m.
func newWheel(m *memory, name string, limit int) (*wheel, error) {
	if limit < 1 || limit > maxRecords {
		return nil, fmt.Errorf("wheel %q of %d timers (want 1 to %d)", name, limit, maxRecords)
	}
	b, err := m.region(name, (limit+1)*12, 12, 0)
	if err != nil {
		return nil, err
	}
	return &wheel{nodes: sliceOf[timer](b)}, nil
}

// arm sets the deadline of index i, whether it had one or not. A deadline that
// has passed is due at once.
func (w *wheel) arm(i uint32, at time.Duration) {
	t := int64(at >> wheelShift)
	if at&(1<<wheelShift-1) != 0 {
		t++
	}
	t = min(max(t, w.tick), w.now+wheelHorizon, w.tick+2*wheelHorizon-1)
	n := &w.nodes[i]
	n.deadline = uint32(t)
	if n.prev&timerArmed == 0 {
		n.prev |= timerArmed
		w.count++
	}
	if n.prev&timerLinked != 0 {
		if w.start(n.prev>>24&(wheelLevels-1), n.next>>24) <= t {
			return
		}
		w.unlink(n)
	}
	w.link(i, n)
}

// disarm takes the deadline of index i away, if it had one.
func (w *wheel) disarm(i uint32) {
	if n := &w.nodes[i]; n.prev&timerArmed != 0 {
		n.prev &^= timerArmed
		w.count--
	}
}

// armed reports whether index i has a deadline.
func (w *wheel) armed(i uint32) bool { return w.nodes[i].prev&timerArmed != 0 }

// advance tells the time, which starts anywhere and never goes back.
func (w *wheel) advance(now time.Duration) {
	w.now = int64(now >> wheelShift)
	if w.linked == 0 {
		w.tick = w.now
	}
}

// due returns an index whose deadline has passed, and disarms it. It returns 0
// when there is none, or when it has spent *budget: each index looked at, due
// or only moved, costs one. So the cost of a step is bounded whatever the time
// did.
func (w *wheel) due(budget *int) uint32 {
	for {
		level, bucket, start, ok := w.first()
		if !ok || start > w.now {
			w.tick = w.now
			return 0
		}
		if *budget <= 0 {
			return 0
		}
		*budget--
		w.tick = start
		i := w.heads[level][bucket]
		n := &w.nodes[i]
		w.unlink(n)
		switch {
		case n.prev&timerArmed == 0:
		case int32(n.deadline-uint32(w.tick)) <= 0:
			n.prev &^= timerArmed
			w.count--
			return i
		default:
			w.link(i, n)
		}
	}
}

// next returns a time before which nothing is due and at which due has
// something to do, even if that is only to move indices: it may be earlier than
// the earliest deadline, never later. It is the largest Duration when nothing is
// armed.
func (w *wheel) next() time.Duration {
	if w.count == 0 {
		return never
	}
	_, _, start, _ := w.first()
	return time.Duration(start << wheelShift)
}

// never is the largest Duration.
const never = time.Duration(math.MaxInt64)

// start returns the tick at which the time of a bucket comes, the present one if
// it has come.
func (w *wheel) start(level, bucket uint32) int64 {
	shift := level * 8
	at := w.tick >> shift
	// A bucket is never a whole round away. Only the last level goes round:
	// on others what lies ahead differs from now in the byte of that level
	// and in none above.
	ahead := int64(uint8(bucket) - uint8(at))
	if ahead == 0 {
		return w.tick
	}
	return (at + ahead) << shift
}

// first returns the bucket whose time comes first, and when.
func (w *wheel) first() (level, bucket uint32, start int64, ok bool) {
	// What lies where time has come to, from the top: the levels below cannot
	// tell what will come down to them.
	for level = wheelLevels - 1; level > 0; level-- {
		bucket = uint32(w.tick>>(level*8)) & (wheelBuckets - 1)
		if w.occupied[level][bucket/64]&(1<<(bucket%64)) != 0 {
			return level, bucket, w.tick, true
		}
	}
	for level = range wheelLevels {
		now := uint32(w.tick>>(level*8)) & (wheelBuckets - 1)
		if bucket, ok = w.scan(level, now); ok {
			return level, bucket, w.start(level, bucket), true
		}
	}
	return 0, 0, 0, false
}

// scan returns the first bucket of a level that is not empty, from the given
// one on and around.
func (w *wheel) scan(level, from uint32) (uint32, bool) {
	o := &w.occupied[level]
	at := from / 64
	if m := o[at] &^ (1<<(from%64) - 1); m != 0 {
		return at*64 + uint32(bits.TrailingZeros64(m)), true
	}
	for k := uint32(1); k <= wheelBuckets/64; k++ {
		if at = (from/64 + k) % (wheelBuckets / 64); o[at] != 0 {
			return at*64 + uint32(bits.TrailingZeros64(o[at])), true
		}
	}
	return 0, false
}

// link puts an index where its deadline belongs.
func (w *wheel) link(i uint32, n *timer) {
	level := uint32(bits.Len32(n.deadline^uint32(w.tick))+7) / 8
	if level > 0 {
		level--
	}
	bucket := n.deadline >> (level * 8) & (wheelBuckets - 1)
	w.linked++
	head := w.heads[level][bucket]
	n.next = head | bucket<<24
	n.prev = n.prev&timerArmed | timerLinked | level<<24
	if head != 0 {
		h := &w.nodes[head]
		h.prev = h.prev&^timerIndex | i
	}
	w.heads[level][bucket] = i
	w.occupied[level][bucket/64] |= 1 << (bucket % 64)
}

// unlink takes an index out of its bucket.
func (w *wheel) unlink(n *timer) {
	w.linked--
	next, prev := n.next&timerIndex, n.prev&timerIndex
	if next != 0 {
		h := &w.nodes[next]
		h.prev = h.prev&^timerIndex | prev
	}
	if prev != 0 {
		h := &w.nodes[prev]
		h.next = h.next&^timerIndex | next
	} else {
		level, bucket := n.prev>>24&(wheelLevels-1), n.next>>24
		w.heads[level][bucket] = next
		if next == 0 {
			w.occupied[level][bucket/64] &^= 1 << (bucket % 64)
		}
	}
	n.prev &= timerArmed
	n.next = 0
}
