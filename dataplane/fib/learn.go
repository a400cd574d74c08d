// SPDX-License-Identifier: Apache-2.0

package fib

import (
	"cmp"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"netcon/dataplane/stat"
)

// Bounds of learning, per network.
const (
	DefaultLearnMax = 4096              // addresses
	Age             = 300 * time.Second // without a frame, then an address is forgotten
	LearnRate       = 1000              // new and moved addresses per second
	LearnBurst      = 1000              // of them at once
	LearnedVTEPs    = 64                // VTEPs replicated to because of learning

	refreshEvery = time.Second             // so that busy addresses do not bounce a cache line
	tokenEvery   = time.Second / LearnRate // one more may be learned
	sweepMax     = 4096                    // buckets looked through at once for room
	expireChunk  = 512                     // buckets per hold of the mutex in expire
)

// learned is the learned addresses of one network.
type learned struct {
	buckets []atomic.Pointer[entry] // length is a power of two
	xor     uint64                  // secret, with mul: senders cannot choose
	mul     uint64                  // addresses that share a chain; odd
	shift   uint                    // 64 - log2(len(buckets))
	max     int

	flood atomic.Pointer[[]netip.Addr]
	count atomic.Int64
	quiet atomic.Int64 // before this time nothing new is learned; spares the mutex

	mu       sync.Mutex
	tokens   int
	refilled time.Duration
	hand     int           // the bucket where the next sweep starts
	noneAged time.Duration // until then every entry is known to be fresh
	vteps    []netip.Addr  // configured
	peers    []peer        // learned from and replicated to
}

// entry is one learned address. Everything but seen and next is immutable; next
// is written under the mutex.
type entry struct {
	key  uint64
	vtep netip.Addr
	peer bool // counted in peers
	seen atomic.Int64
	next atomic.Pointer[entry]
}

// peer is a VTEP that is replicated to because refs entries lie behind it.
type peer struct {
	vtep netip.Addr
	refs int
}

func newLearned(limit int, vteps []netip.Addr) *learned {
	log := max(4, bits.Len(uint(limit-1)))
	t := &learned{
		buckets: make([]atomic.Pointer[entry], 1<<log),
		xor:     rand.Uint64(),
		mul:     rand.Uint64() | 1,
		shift:   uint(64 - log),
		max:     limit,
		tokens:  LearnBurst,
		vteps:   vteps,
	}
	t.publish()
	return t
}

func (t *learned) bucket(k uint64) *atomic.Pointer[entry] {
	return &t.buckets[(k^t.xor)*t.mul>>t.shift]
}

// find returns the entry of k, aged or not, or nil.
func (t *learned) find(k uint64) *entry {
	for e := t.bucket(k).Load(); e != nil; e = e.next.Load() {
		if e.key == k {
			return e
		}
	}
	return nil
}

func (e *entry) aged(now time.Duration) bool { return now-time.Duration(e.seen.Load()) > Age }

func (e *entry) refresh(now time.Duration) {
	if now-time.Duration(e.seen.Load()) >= refreshEvery {
		e.seen.Store(int64(now))
	}
}

// learn notes a new or moved address. Every attempt costs a token, successful
// or not: what a sender can make this host spend here is bounded by LearnRate.
func (t *learned) learn(k uint64, vtep netip.Addr, now time.Duration) stat.Reason {
	if int64(now) < t.quiet.Load() {
		return stat.DropLearnLimit
	}
	t.mu.Lock()
	defer t.mu.Unlock()

	at := t.bucket(k)
	e := at.Load()
	for e != nil && e.key != k {
		at = &e.next
		e = at.Load()
	}
	if e != nil && e.vtep == vtep {
		e.refresh(now) // another worker was faster
		return stat.Accepted
	}
	if !t.take(now) {
		return stat.DropLearnLimit
	}
	if e != nil {
		at.Store(e.next.Load())
		t.forget(e)
	} else if !t.room(now) {
		return stat.DropLearnLimit
	}
	t.insert(k, vtep, now)
	return stat.Accepted
}

// take takes a token.
func (t *learned) take(now time.Duration) bool {
	if n := int((now - t.refilled) / tokenEvery); n > 0 {
		t.tokens = min(t.tokens+n, LearnBurst)
		t.refilled += time.Duration(n) * tokenEvery
	}
	if t.tokens == 0 {
		t.quiet.Store(int64(t.refilled + tokenEvery))
		return false
	}
	t.tokens--
	return true
}

// room reports whether one more entry may be added, having looked for aged ones
// if the table is full.
func (t *learned) room(now time.Duration) bool {
	if int(t.count.Load()) < t.max {
		return true
	}
	if now <= t.noneAged {
		return false
	}
	n := min(len(t.buckets), sweepMax)
	oldest := t.sweep(n, now)
	if n == len(t.buckets) {
		t.noneAged = oldest + Age
	}
	return int(t.count.Load()) < t.max
}

// sweep forgets aged entries in the next n buckets and returns the oldest time
// at which one of the others was seen.
func (t *learned) sweep(n int, now time.Duration) (oldest time.Duration) {
	oldest = now
	for range n {
		at := &t.buckets[t.hand]
		for e := at.Load(); e != nil; e = at.Load() {
			if e.aged(now) {
				at.Store(e.next.Load())
				t.forget(e)
				continue
			}
			oldest = min(oldest, time.Duration(e.seen.Load()))
			at = &e.next
		}
		t.hand = (t.hand + 1) & (len(t.buckets) - 1)
	}
	return oldest
}

// insert adds an entry whose key is not in the table.
func (t *learned) insert(k uint64, vtep netip.Addr, seen time.Duration) {
	e := &entry{key: k, vtep: vtep, peer: t.join(vtep)}
	e.seen.Store(int64(seen))
	b := t.bucket(k)
	e.next.Store(b.Load())
	b.Store(e)
	t.count.Add(1)
}

// forget accounts for an entry that was unlinked. Its next stays as it is, for
// readers that stand on it.
func (t *learned) forget(e *entry) {
	t.count.Add(-1)
	if !e.peer {
		return
	}
	for i := range t.peers {
		if t.peers[i].vtep == e.vtep {
			t.peers[i].refs--
			return
		}
	}
	panic("fib: a learned address outlived its vtep")
}

// join counts one more entry behind vtep and reports whether it is counted:
// configured VTEPs are not, nor those for which there is no room.
func (t *learned) join(vtep netip.Addr) bool {
	for i := range t.peers {
		if t.peers[i].vtep == vtep {
			t.peers[i].refs++
			return true
		}
	}
	if slices.Contains(t.vteps, vtep) {
		return false
	}
	if len(t.peers) == LearnedVTEPs {
		t.dropIdlePeers()
		if len(t.peers) == LearnedVTEPs {
			return false
		}
	}
	t.peers = append(t.peers, peer{vtep: vtep, refs: 1})
	t.publish()
	return true
}

// dropIdlePeers forgets VTEPs behind which nothing is left. It is lazy, so that
// an address that moves to and fro does not rebuild the list each time.
func (t *learned) dropIdlePeers() (dropped bool) {
	n := len(t.peers)
	t.peers = slices.DeleteFunc(t.peers, func(p peer) bool { return p.refs == 0 })
	return len(t.peers) != n
}

// publish makes a new replication list.
func (t *learned) publish() {
	list := make([]netip.Addr, 0, len(t.vteps)+len(t.peers))
	list = append(list, t.vteps...)
	for _, p := range t.peers {
		list = append(list, p.vtep)
	}
	t.flood.Store(&list)
}

// expire looks through the whole table, a chunk at a time so that a worker that
// learns does not wait long.
func (t *learned) expire(now time.Duration) {
	for done := 0; done < len(t.buckets); done += expireChunk {
		t.mu.Lock()
		t.sweep(min(expireChunk, len(t.buckets)), now)
		t.mu.Unlock()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dropIdlePeers() {
		t.publish()
	}
}

// memory is an entry as it was when it was copied.
type memory struct {
	key  uint64
	vtep netip.Addr
	seen time.Duration
}

// copy returns the entries, the freshest first, and the state of the rate
// limit.
func (t *learned) copy() (entries []memory, tokens int, refilled time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.buckets {
		for e := t.buckets[i].Load(); e != nil; e = e.next.Load() {
			entries = append(entries, memory{e.key, e.vtep, time.Duration(e.seen.Load())})
		}
	}
	slices.SortFunc(entries, func(a, b memory) int { return cmp.Compare(b.seen, a.seen) })
	return entries, t.tokens, t.refilled
}
