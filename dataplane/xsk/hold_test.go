// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"bytes"
	"testing"
	"time"

	"netcon/dataplane/frame"
	"netcon/dataplane/nexthop"
	"netcon/dataplane/stat"
	"netcon/dataplane/wire"
	"netcon/internal/testenv"
)

// heldLink is a link to a table that the test controls, and its peer.
func heldLink(t *testing.T, mtu int) (*Link, *Link, *fixedHops) {
	t.Helper()
	a, b := cable(t, mtu, 1)
	l := a.open(t, Config{}).Links()[0]
	table := &fixedHops{state: nexthop.Pending, mtu: mtu, gen: 1}
	table.to.MTU = mtu
	mac := wire.MAC{}
	copy(mac[:], parseMAC(t, b.ns.MAC(t, b.dev)))
	table.to.Dst = mac
	copy(table.to.Src[:], parseMAC(t, a.ns.MAC(t, a.dev)))
	l.table = table
	l.Flush()
	return l, b.open(t, Config{}).Links()[0], table
}

func heldFrames(l *Link) int { return l.queues[0].frames.Count(frame.Held) }

// What waits goes out in order once the next hop is known, and no more waits
// than may.
func TestHoldAndRelease(t *testing.T) {
	l, peer, table := heldLink(t, 1500)
	b := addr("10.9.0.2")
	for i := range 20 {
		put(l, b, 1, payload(i, 100+i))
	}
	flushed(t, l)
	if got := heldFrames(l); got != maxHeldVTEP || drops(l, stat.DropNextHopQueue) != 20-maxHeldVTEP {
		t.Fatalf("%d frames wait, drops %v", got, allDrops(l))
	}
	l.Flush() // the same generation: nothing is looked up
	if count(l, stat.TxFrames) != 0 {
		t.Fatal("something was sent")
	}
	table.state, table.gen = nexthop.Resolved, 2
	flushed(t, l)
	f := receive(t, peer, maxHeldVTEP)
	for i, p := range f.data {
		if !bytes.Equal(p, payload(i, 100+i)) {
			t.Errorf("payload %d is another", i)
		}
	}
	if heldFrames(l) != 0 || l.held != 0 || count(l, stat.TxFrames) != maxHeldVTEP {
		t.Errorf("%d wait, %d sent", l.held, count(l, stat.TxFrames))
	}
}

// All VTEPs together are bounded as well, and those that cannot be reached give
// their frames back.
func TestHoldManyVTEPs(t *testing.T) {
	l, _, table := heldLink(t, 1500)
	for i := range 100 {
		put(l, addr("10.9.0.3").Next(), 1, payload(i, 10)) // 10.9.0.4
		a := addr("10.9.1.0")
		for range i % 10 {
			a = a.Next()
		}
		put(l, a, 1, payload(i, 10))
	}
	if l.held != maxHeld || heldFrames(l) != maxHeld {
		t.Errorf("%d wait, want %d", l.held, maxHeld)
	}
	dropped := drops(l, stat.DropNextHopQueue)
	if dropped != 200-maxHeld {
		t.Errorf("%d dropped, want %d", dropped, 200-maxHeld)
	}
	table.state, table.gen = nexthop.Unreachable, 2
	l.Flush()
	if got := drops(l, stat.DropNextHop); l.held != 0 || heldFrames(l) != 0 || got != maxHeld {
		t.Errorf("%d wait, %d dropped", l.held, got)
	}
	put(l, addr("10.9.0.2"), 1, payload(1, 10))
	if got := drops(l, stat.DropNextHop); got != maxHeld+1 {
		t.Errorf("to an unreachable VTEP: %d dropped, want %d", got, maxHeld+1)
	}
}

// Payloads that span frames wait as well; the way may turn out to be too narrow.
func TestHoldLarge(t *testing.T) {
	l, peer, table := heldLink(t, 9000)
	b := addr("10.9.0.2")
	for i := range 4 {
		put(l, b, 1, payload(i, 8900))
	}
	put(l, b, 1, payload(9, 10))
	if got := heldFrames(l); got != 13 {
		t.Errorf("%d frames wait, want 13", got)
	}
	table.state, table.gen = nexthop.Resolved, 2
	flushed(t, l)
	for i, p := range receive(t, peer, 5).data {
		if want := payload(i, 8900); i < 4 && !bytes.Equal(p, want) {
			t.Errorf("payload %d of %d bytes is another", i, len(p))
		}
	}
	table.state, table.gen = nexthop.Pending, 3
	l.Flush()
	put(l, b, 1, payload(0, 8900))
	put(l, b, 1, payload(1, 100))
	table.state, table.gen, table.to.MTU = nexthop.Resolved, 4, 1500
	flushed(t, l)
	receive(t, peer, 1)
	if got := drops(l, stat.DropUnderlayMTU); got != 1 || heldFrames(l) != 0 {
		t.Errorf("%d dropped for the MTU, %d wait", got, heldFrames(l))
	}
}

// The device goes down while frames wait.
func TestHoldThenDown(t *testing.T) {
	l, _, table := heldLink(t, 1500)
	put(l, addr("10.9.0.2"), 1, payload(0, 100))
	table.down, table.gen = true, 2
	l.Flush()
	put(l, addr("10.9.0.2"), 1, payload(0, 100))
	if got := drops(l, stat.DropUnderlayError); got != 2 || heldFrames(l) != 0 {
		t.Errorf("drops %v, %d wait", allDrops(l), heldFrames(l))
	}
}

// With the real table: the neighbour appears later, the worker sleeps on FD
// until then, and the frames go out without anybody sending again.
func TestHoldWakesWorker(t *testing.T) {
	a, b := cable(t, 1500, 1)
	testenv.Run(t, b.ns, "ip", "link", "set", b.dev, "arp", "off") // does not answer
	l := a.open(t, Config{}).Links()[0]
	peer := b.open(t, Config{}).Links()[0]
	put(l, b.a4, 1, payload(1, 100))
	flushed(t, l)
	if heldFrames(l) != 1 {
		t.Fatalf("%d frames wait, drops %v", heldFrames(l), allDrops(l))
	}
	// Until it is quiet: the table tells about its first snapshots.
	for readable(l.FD(), 200*time.Millisecond) {
		l.Recv(new(frames), 10)
		l.Flush()
	}
	if heldFrames(l) != 1 {
		t.Fatalf("%d frames wait, drops %v", heldFrames(l), allDrops(l))
	}
	testenv.Run(t, a.ns, "ip", "neigh", "replace", b.a4.String(), "lladdr", b.ns.MAC(t, b.dev), "dev", a.dev, "nud", "permanent")
	if !readable(l.FD(), 5*time.Second) {
		t.Fatal("nobody woke the worker")
	}
	flushed(t, l)
	if f := receive(t, peer, 1); !bytes.Equal(f.data[0], payload(1, 100)) {
		t.Error("another payload")
	}
}

// A VTEP that does not answer at all leaves Pending, and the frame is dropped.
func TestHoldThenUnreachable(t *testing.T) {
	a, _ := cable(t, 1500, 1)
	l := a.open(t, Config{}).Links()[0]
	put(l, addr("10.9.0.77"), 1, payload(1, 100))
	flushed(t, l)
	testenv.WaitFor(t, 10*time.Second, func() bool {
		readable(l.FD(), 100*time.Millisecond)
		l.Recv(new(frames), 10)
		l.Flush()
		return drops(l, stat.DropNextHop) == 1
	}, "the end of waiting")
	if heldFrames(l) != 0 {
		t.Errorf("%d frames wait", heldFrames(l))
	}
}
