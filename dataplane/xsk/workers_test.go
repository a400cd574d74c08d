// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"netcon/internal/testenv"
)

// Workers on threads of their own, sleeping on FD as the product's do, with
// somebody who reads reports and rings. Half of the payloads are echoed.
func TestWorkersConcurrently(t *testing.T) {
	a, b := cable(t, 1500, 2)
	da := a.open(t, Config{Workers: 2, Frames: 512})
	db := b.open(t, Config{Workers: 2, Frames: 512})
	for _, l := range da.Links() {
		resolved(t, l, b.a4)
	}
	for _, l := range db.Links() {
		resolved(t, l, a.a4)
	}
	var stop atomic.Bool
	var came, back atomic.Int64
	var wg sync.WaitGroup
	run := func(l *Link, sink *pingPong) {
		sink.l = l
		for !stop.Load() {
			if sink.serve {
				for i := range 8 {
					put(l, b.a4, uint32(i), payload(i, 200))
				}
			}
			l.Recv(sink, 64)
			if !l.Flush() {
				readable(l.FD(), 5*time.Millisecond)
			}
		}
	}
	for i := range 2 {
		wg.Go(func() { run(da.Links()[i], &pingPong{serve: true, count: &back}) })
		wg.Go(func() { run(db.Links()[i], &pingPong{count: &came}) })
	}
	wg.Go(func() {
		for !stop.Load() {
			da.Report()
			da.ring()
			db.ring()
			time.Sleep(time.Millisecond)
		}
	})
	testenv.WaitFor(t, 20*time.Second, func() bool { return came.Load() > 5000 && back.Load() > 5000 }, "5,000 echoes")
	stop.Store(true)
	wg.Wait()
	for _, d := range []*Device{da, db} {
		conserved(t, d)
	}
}

// pingPong counts what comes, and sends it back unless it is who began.
type pingPong struct {
	l     *Link
	serve bool
	count *atomic.Int64
}

func (p *pingPong) Frame(src netip.Addr, payload []byte) {
	p.count.Add(1)
	if !p.serve {
		put(p.l, src, 1, payload)
	}
}

// A link-local VTEP takes its zone from the device.
func TestLinkLocal(t *testing.T) {
	a, b := cable(t, 1500, 1)
	testenv.Run(t, nil, "ip", "-n", a.ns.Name(), "addr", "add", "fe80::1/64", "dev", a.dev, "nodad")
	testenv.Run(t, nil, "ip", "-n", b.ns.Name(), "addr", "add", "fe80::2/64", "dev", b.dev, "nodad")
	la := a.open(t, Config{Local: netip.MustParseAddrPort("[fe80::1%ifa]:4789")}).Links()[0]
	lb := b.open(t, Config{Local: netip.MustParseAddrPort("[fe80::2%ifb]:4789")}).Links()[0]
	resolved(t, la, addr("fe80::2"))
	put(la, addr("fe80::2%ifa"), 1, payload(1, 100))
	put(la, addr("fe80::2"), 1, payload(2, 100))
	flushed(t, la)
	if f := receive(t, lb, 2); f.src[0] != addr("fe80::1") {
		t.Errorf("from %s", f.src[0])
	}
}

// The kernel polls the device for us; on a veth that finds nothing that would
// not come by itself, and must not harm.
func TestBusyPoll(t *testing.T) {
	a, b := cable(t, 1500, 1)
	da := a.open(t, Config{BusyPoll: 50 * time.Microsecond})
	la, lb := da.Links()[0], b.open(t, Config{BusyPoll: 50 * time.Microsecond}).Links()[0]
	if r := da.Report(); !r.BusyPoll {
		t.Error("busy polling is off")
	}
	resolved(t, la, b.a4)
	for i := range 200 {
		put(la, b.a4, 1, payload(i, 100))
		flushed(t, la)
	}
	receive(t, lb, 200)
	wakeups := lb.queues[0].drive.wakeups
	lb.Flush()
	if lb.queues[0].drive.wakeups != wakeups+1 {
		t.Error("the kernel was not asked to poll")
	}
}
