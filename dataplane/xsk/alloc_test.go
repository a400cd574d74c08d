// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"fmt"
	"testing"
	"time"

	"netcon/dataplane/nexthop"
	"netcon/dataplane/stat"
)

// Neither sending nor receiving allocates, in one buffer or several, with frames
// that are refused among them.
func TestAllocs(t *testing.T) {
	for _, mtu := range []int{1500, 9000} {
		t.Run(fmt.Sprint("mtu=", mtu), func(t *testing.T) {
			a, b := cable(t, mtu, 1)
			tx := a.open(t, Config{}).Links()[0]
			rx := b.open(t, Config{}).Links()[0]
			resolved(t, tx, b.a4)
			sink, small, large := new(tally), innerFrame(100), innerFrame(mtu-28)
			if n := testing.AllocsPerRun(200, func() {
				for i := range 20 {
					put(tx, b.a4, uint32(i), small)
					put(tx, b.a4, uint32(i), large)
				}
				tx.Reserve(b.a4, 1, mtu-27)
				tx.Commit()
				for tx.Flush() {
				}
				for got := 0; got < 40; {
					k := rx.Recv(sink, 40-got)
					rx.Flush()
					if got += k; k == 0 && !readable(rx.FD(), time.Second) {
						t.Fatal("nothing arrived")
					}
				}
			}); n != 0 {
				t.Errorf("%v allocations per burst", n)
			}
			if sink.frames < 8000 || drops(tx, stat.DropUnderlayMTU) < 200 {
				t.Errorf("measured %d frames", sink.frames)
			}
		})
	}
}

// Waiting for a next hop does not allocate either.
func TestHoldAllocs(t *testing.T) {
	l, _, table := heldLink(t, 1500)
	p, vtep := innerFrame(100), addr("10.9.0.2")
	gen := table.gen
	if n := testing.AllocsPerRun(200, func() {
		table.state = nexthop.Pending
		gen++
		table.gen = gen
		l.Flush()
		for range 20 {
			put(l, vtep, 1, p)
		}
		table.state = nexthop.Resolved
		gen++
		table.gen = gen
		for l.Flush() {
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if count(l, stat.TxFrames) < 200*maxHeldVTEP {
		t.Errorf("%d frames were sent", count(l, stat.TxFrames))
	}
}
