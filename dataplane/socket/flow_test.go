// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"net/netip"
	"testing"
	"time"

	"netcon/dataplane/stream"
)

func testFlow(i int) flowKey {
	return flowKey{netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i >> 16)}), uint16(i)), 53}
}

// TestFlows: a flow ends when it was idle for long, when the table is full and
// nobody was idle for longer, and with its port.
func TestFlows(t *testing.T) {
	var f flows
	f.init()
	now := time.Now()
	at := stream.HostPlace{IP: netip.MustParseAddr("198.51.100.1")}
	for i := range maxFlows {
		if f.hear(testFlow(i), 1, at, now.Add(time.Duration(i))) {
			t.Fatalf("flow %d had no room", i)
		}
	}
	later := now.Add(time.Second)
	if s := f.find(testFlow(0), later); s == nil || s.via != 1 || s.at != at {
		t.Fatalf("%+v", s)
	} else {
		f.answered(s, later)
	}
	if !f.hear(testFlow(maxFlows), 2, at, later) {
		t.Error("one more than there is room for ended no other")
	}
	for i, want := range map[int]bool{0: true, 1: false, 2: true, maxFlows: true} {
		if got := f.find(testFlow(i), later) != nil; got != want {
			t.Errorf("flow %d: %t", i, got)
		}
	}
	if f.hear(testFlow(2), 3, at, later) || f.find(testFlow(2), later).via != 3 {
		t.Error("a flow did not move to another port")
	}
	f.dropVia(3)
	if f.find(testFlow(2), later) != nil || len(f.index) != maxFlows-1 {
		t.Error("a flow outlived its port")
	}

	idle := now.Add(flowIdle + time.Millisecond)
	if f.find(testFlow(3), idle) != nil || f.find(testFlow(0), idle) == nil {
		t.Error("who was idle is found, or who was not is not")
	}
	if f.hear(testFlow(5), 1, at, idle) {
		t.Error("it ended who was not idle")
	}
	if f.hear(testFlow(maxFlows+1), 1, at, idle); len(f.index) != 4 || len(f.slots) != maxFlows {
		t.Errorf("%d flows are left, in %d places", len(f.index), len(f.slots))
	}
	for _, i := range []int{0, 5, maxFlows, maxFlows + 1} {
		f.drop(testFlow(i))
		f.drop(testFlow(i))
	}
	if len(f.index) != 0 || f.oldest != -1 || f.newest != -1 || len(f.free) != maxFlows {
		t.Errorf("%d flows, %d %d, %d free", len(f.index), f.oldest, f.newest, len(f.free))
	}
}
