// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/frame"
	"netcon/dataplane/nexthop"
	"netcon/dataplane/stat"
	"netcon/internal/testenv"
)

// carried keeps the next hop that the real table found and the device up, so
// that frames reach the socket whatever the device does.
func carried(t *testing.T, l *Link, h *host) *fixedHops {
	t.Helper()
	resolved(t, l, h.a4)
	to, _ := l.table.Lookup(h.a4)
	table := &fixedHops{to: to, state: nexthop.Resolved, mtu: l.table.MTU()}
	l.table = table
	l.Flush()
	return table
}

// quiet returns how often a worker that sleeps on FD wakes within a time.
func quiet(l *Link, d time.Duration) (wakes int) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		if readable(l.FD(), time.Until(end)) {
			wakes++
			l.Recv(new(frames), 64)
			for range 100 {
				if !l.Flush() {
					break
				}
				wakes++
			}
		}
	}
	return wakes
}

// While the device is down frames stay in the transmit ring, nobody spins, and
// they go when it is up again.
func TestDeviceDownAndUp(t *testing.T) {
	a, b := cable(t, 1500, 1)
	d := a.open(t, Config{})
	l := d.Links()[0]
	peer := b.open(t, Config{}).Links()[0]
	carried(t, l, b)
	testenv.Run(t, a.ns, "ip", "link", "set", a.dev, "down")
	for i := range 10 {
		put(l, b.a4, 1, payload(i, 100))
	}
	if l.Flush() {
		t.Error("Flush wants more while the device is down")
	}
	q := l.queues[0]
	if tr := trouble(q.drive.trouble.Load()); tr != down || q.frames.Count(frame.Tx) != 10 || q.tx.pending() != 10 {
		t.Errorf("trouble %q, %d frames in tx, %d pending", tr, q.frames.Count(frame.Tx), q.tx.pending())
	}
	if r := d.Report(); r.Queues[0].Trouble != "the device is down" || r.Queues[0].Frames.Tx != 10 {
		t.Errorf("report %+v", r.Queues[0])
	}
	kicks := q.drive.kicks
	if n := quiet(l, 2500*time.Millisecond); n > 50 || q.drive.kicks-kicks > 50 {
		t.Errorf("%d wakes and %d kicks while the device is down", n, q.drive.kicks-kicks)
	}
	testenv.Run(t, a.ns, "ip", "link", "set", a.dev, "up")
	testenv.WaitFor(t, 5*time.Second, func() bool {
		readable(l.FD(), 100*time.Millisecond)
		l.Recv(new(frames), 64)
		l.Flush()
		return q.tx.pending() == 0
	}, "the frames to go")
	// The device took them; without a carrier yet it may have dropped some.
	lost := drops(l, stat.DropUnderlayError)
	f := receive(t, peer, 10-lost)
	for i, p := range f.data {
		if !bytes.Equal(p, payload(i+lost, 100)) {
			t.Errorf("payload %d is another", i)
		}
	}
	put(l, b.a4, 1, payload(77, 100))
	flushed(t, l)
	if f := receive(t, peer, 1); !bytes.Equal(f.data[0], payload(77, 100)) {
		t.Error("another payload after the flap")
	}
}

// With the real table a link that is down refuses frames at once, and works
// again when it is up.
func TestLinkFlap(t *testing.T) {
	for _, end := range []string{"own", "peer's"} {
		a, b := cable(t, 1500, 1)
		l := a.open(t, Config{}).Links()[0]
		peer := b.open(t, Config{}).Links()[0]
		flapped := a
		if end == "peer's" {
			flapped = b
		}
		for range 3 {
			resolved(t, l, b.a4)
			testenv.Run(t, flapped.ns, "ip", "link", "set", flapped.dev, "down")
			testenv.WaitFor(t, 5*time.Second, func() bool { l.Flush(); return !l.up }, "the link to be down")
			before := drops(l, stat.DropUnderlayError)
			put(l, b.a4, 1, payload(1, 100))
			if l.Flush() || drops(l, stat.DropUnderlayError) != before+1 {
				t.Errorf("%s end down: drops %v", end, allDrops(l))
			}
			testenv.Run(t, flapped.ns, "ip", "link", "set", flapped.dev, "up")
			resolved(t, l, b.a4)
			testenv.WaitFor(t, 5*time.Second, func() bool {
				put(l, b.a4, 1, payload(2, 100))
				l.Flush()
				f := new(frames)
				readable(peer.FD(), 50*time.Millisecond)
				peer.Recv(f, 100)
				peer.Flush()
				return len(f.data) > 0
			}, "a frame to pass after the flap")
		}
	}
}

// Without a carrier the device takes frames and drops them: each is counted.
func TestNoCarrier(t *testing.T) {
	a, b := cable(t, 1500, 1)
	l := a.open(t, Config{}).Links()[0]
	carried(t, l, b)
	testenv.Run(t, b.ns, "ip", "link", "set", b.dev, "down")
	const n = 100
	for i := range n {
		put(l, b.a4, 1, payload(i, 100))
	}
	flushed(t, l)
	flushed(t, l)
	if got := drops(l, stat.DropUnderlayError); got != n || count(l, stat.TxFrames) != 0 || count(l, stat.TxBytes) != 0 {
		t.Errorf("%d dropped, %d sent, %d bytes; want %d dropped", got, count(l, stat.TxFrames), count(l, stat.TxBytes), n)
	}
	if c := l.queues[0].frames.Counts(); c[frame.Tx] != 0 {
		t.Errorf("frames %v", c)
	}
}

// The device is removed below us: nothing crashes, nobody spins, the operator is
// told once, and closing is clean.
func TestDeviceRemoved(t *testing.T) {
	for _, through := range []string{"table", "socket"} {
		a, b := cable(t, 1500, 2)
		d := a.open(t, Config{})
		l := d.Links()[0]
		if through == "socket" {
			carried(t, l, b)
		}
		testenv.Run(t, a.ns, "ip", "link", "del", a.dev)
		for range 3 {
			for i := range 50 {
				put(l, b.a4, uint32(i), payload(i, 100))
			}
			if l.Flush() && through == "table" {
				t.Error("Flush wants more of a device that is gone")
			}
		}
		if n := quiet(l, 2500*time.Millisecond); n > 100 {
			t.Errorf("%s: %d wakes of a device that is gone", through, n)
		}
		if through == "socket" {
			if tr := trouble(l.queues[0].drive.trouble.Load()); tr != failed {
				t.Errorf("trouble %q", tr)
			}
			testenv.WaitFor(t, 5*time.Second, func() bool { return strings.Contains(a.logs.String(), "was removed") }, "the log: %s", a.logs)
			if n := strings.Count(a.logs.String(), "was removed"); n != 1 {
				t.Errorf("told %d times:\n%s", n, a.logs)
			}
		}
		d.Report()
		conserved(t, d)
		if err := d.Close(); err != nil {
			t.Errorf("%s: %v", through, err)
		}
	}
}

// The kernel may change the MTU below us: smaller refuses frames, larger lets
// more through only as far as frames fit our buffers.
func TestMTUChange(t *testing.T) {
	a, b := cable(t, 1500, 1)
	d := a.open(t, Config{})
	l := d.Links()[0]
	setMTU := func(mtu string, want int) {
		t.Helper()
		for _, h := range []*host{a, b} {
			if _, err := testenv.Try(h.ns, testenv.RunTimeout, "ip", "link", "set", h.dev, "mtu", mtu); err != nil {
				t.Logf("the kernel refuses: %v", err)
			}
		}
		testenv.WaitFor(t, 5*time.Second, func() bool { l.Flush(); return l.mtu == want && d.MTU() == want }, "MTU %d of %d", want, l.mtu)
		resolved(t, l, b.a4)
	}
	largest := func(mtu int) {
		t.Helper()
		before := drops(l, stat.DropUnderlayMTU)
		put(l, b.a4, 1, make([]byte, mtu-28))
		put(l, b.a4, 1, make([]byte, mtu-27))
		flushed(t, l)
		if got := drops(l, stat.DropUnderlayMTU) - before; got != 1 {
			t.Errorf("MTU %d: %d of two dropped, all drops %v", mtu, got, allDrops(l))
		}
	}
	resolved(t, l, b.a4)
	largest(1500)
	setMTU("1400", 1400)
	largest(1400)
	setMTU("1500", 1500)
	largest(1500)
	setMTU("2500", l.dev.shape.mtu)
	largest(l.dev.shape.mtu)
}

func TestConfiguredMTU(t *testing.T) {
	a, b := cable(t, 1500, 1)
	if _, err := a.try(t, Config{MTU: 1501}); err == nil || !strings.Contains(err.Error(), "ip link set ifa mtu 1501") {
		t.Errorf("an MTU above the device's: %v", err)
	}
	d := a.open(t, Config{MTU: 1000})
	l := d.Links()[0]
	resolved(t, l, b.a4)
	put(l, b.a4, 1, make([]byte, 1000-28))
	put(l, b.a4, 1, make([]byte, 1000-27))
	flushed(t, l)
	if d.MTU() != 1000 || drops(l, stat.DropUnderlayMTU) != 1 || count(l, stat.TxFrames) != 1 {
		t.Errorf("MTU %d, drops %v", d.MTU(), allDrops(l))
	}
	// It bounds what is sent, not what is received.
	peer := b.open(t, Config{}).Links()[0]
	resolved(t, peer, a.a4)
	put(peer, a.a4, 1, payload(1, 1472))
	flushed(t, peer)
	receive(t, l, 1)
}

// A burst that is larger than all frames: what does not fit is dropped and
// counted, the rest arrives, and no frame is lost.
func TestMoreThanAllFrames(t *testing.T) {
	a, b := cable(t, 1500, 1)
	l := a.open(t, Config{Frames: minFrames}).Links()[0]
	peer := b.open(t, Config{}).Links()[0]
	table := carried(t, l, b)
	testenv.Run(t, a.ns, "ip", "link", "set", a.dev, "down") // nothing leaves
	const n = 3 * minFrames
	for i := range n {
		put(l, b.a4, 1, payload(i, 100))
	}
	l.Flush()
	if got := drops(l, stat.DropUnderlayFull); got != n-minFrames/2 {
		t.Errorf("%d dropped, want %d: %v", got, n-minFrames/2, allDrops(l))
	}
	if b := l.Reserve(b.a4, 1, 1000); len(b) != 1000 {
		t.Errorf("Reserve gives %d bytes", len(b))
	}
	l.Commit()
	testenv.Run(t, a.ns, "ip", "link", "set", a.dev, "up")
	testenv.WaitFor(t, 5*time.Second, func() bool {
		l.bell.ring()
		l.Flush()
		return l.queues[0].tx.pending() == 0
	}, "the frames to go")
	receive(t, peer, minFrames/2-drops(l, stat.DropUnderlayError))
	// While it is up, the kernel is called in between, and all fit.
	_ = table
	before := drops(l, stat.DropUnderlayFull)
	for i := range n {
		put(l, b.a4, 1, payload(i, 100))
	}
	flushed(t, l)
	receive(t, peer, n)
	if got := drops(l, stat.DropUnderlayFull) - before; got != 0 {
		t.Errorf("%d dropped", got)
	}
}

func TestRefusedFrames(t *testing.T) {
	a, b := cable(t, 1500, 1)
	l := a.open(t, Config{}).Links()[0]
	resolved(t, l, b.a4)
	for _, tt := range []struct {
		name, dst string
		n         int
		reason    stat.Reason
	}{
		{"above the MTU", "10.9.0.2", 1473, stat.DropUnderlayMTU},
		{"above any datagram", "10.9.0.2", 1 << 20, stat.DropUnderlayMTU},
		{"other family", "fd09::2", 100, stat.DropUnderlayError},
		{"empty", "10.9.0.2", 0, stat.DropUnderlayError},
		{"negative", "10.9.0.2", -1, stat.DropUnderlayError},
	} {
		before := drops(l, tt.reason)
		room := l.Reserve(addr(tt.dst), 1, tt.n)
		if room == nil || len(room) != max(tt.n, 0) {
			t.Errorf("%s: room of %d bytes, want %d", tt.name, len(room), tt.n)
		}
		l.Commit()
		if got := drops(l, tt.reason) - before; got != 1 {
			t.Errorf("%s: counted %d times as %v", tt.name, got, tt.reason)
		}
	}
	// An IPv4-mapped address is the IPv4 address.
	put(l, addr("::ffff:10.9.0.2"), 1, payload(1, 10))
	flushed(t, l)
	if count(l, stat.TxFrames) != 1 {
		t.Errorf("drops %v", allDrops(l))
	}
	// A Reserve that nothing follows gives its frame back.
	for range 3 * defaultFrames {
		l.Reserve(b.a4, 1, 100)
	}
	l.Flush()
	if c := l.queues[0].frames.Counts(); c[frame.Reserved] != 0 || c[frame.Free] != defaultFrames/2-c[frame.Tx] {
		t.Errorf("frames %v", c)
	}
	defer func() {
		if recover() == nil {
			t.Error("Commit without Reserve passed")
		}
	}()
	l.Commit()
}

// Without the flag of the kernel there is no system call, and what it does not
// take is not asked for again and again.
func TestNeedWakeupHonoured(t *testing.T) {
	a, b := cable(t, 1500, 1)
	l := a.open(t, Config{}).Links()[0]
	resolved(t, l, b.a4)
	q := l.queues[0]
	if !q.tx.needsWakeup() {
		t.Fatal("the kernel does not want to be woken in copy mode")
	}
	flags := q.tx.flags.Load()
	q.tx.flags.Store(flags &^ unix.XDP_RING_NEED_WAKEUP)
	kicks := q.drive.kicks
	put(l, b.a4, 1, payload(1, 100))
	if !l.Flush() || q.drive.kicks != kicks || q.tx.pending() != 1 {
		t.Errorf("%d kicks, %d pending, or no other call is wanted", q.drive.kicks-kicks, q.tx.pending())
	}
	for l.Flush() {
	}
	if tr := trouble(q.drive.trouble.Load()); tr != stuck || q.drive.kicks != kicks {
		t.Errorf("%d kicks, trouble %q", q.drive.kicks-kicks, tr)
	}
	q.tx.flags.Store(flags)
	l.bell.ring()
	flushed(t, l)
	if q.drive.kicks != kicks+1 || q.tx.pending() != 0 || count(l, stat.TxCalls) != int(q.drive.kicks) {
		t.Errorf("%d kicks, %d pending", q.drive.kicks-kicks, q.tx.pending())
	}
	l.Flush()
	if q.drive.kicks != kicks+1 {
		t.Error("a kick for nothing")
	}
	// The same for receiving.
	wakeups := q.drive.wakeups
	q.fill.flags.Store(unix.XDP_RING_NEED_WAKEUP)
	peer := b.open(t, Config{}).Links()[0]
	resolved(t, peer, a.a4)
	put(peer, a.a4, 1, payload(1, 100))
	flushed(t, peer)
	receive(t, l, 1)
	if q.drive.wakeups == wakeups {
		t.Error("the kernel asked to be woken in vain")
	}
}

// A device that takes nothing and asks to try again is left alone after a while,
// and the watch rings.
func TestStuck(t *testing.T) {
	a, _ := cable(t, 1500, 1)
	l := a.open(t, Config{}).Links()[0]
	q := l.queues[0]
	for i := range maxFruitless {
		if more := q.fruitless(); more != (i < maxFruitless-1) {
			t.Fatalf("after %d: more is %v", i+1, more)
		}
	}
	if tr := trouble(q.drive.trouble.Load()); tr != stuck {
		t.Fatalf("trouble %q", tr)
	}
	for l.bell.answer() {
	}
	if !readable(l.FD(), 5*time.Second) {
		t.Fatal("nobody rang")
	}
	l.Flush()
	if tr := trouble(q.drive.trouble.Load()); tr != untroubled {
		t.Errorf("trouble %q", tr)
	}
}
