// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"netcon/bpf"
	"netcon/dataplane/stat"
	"netcon/internal/testenv"
)

func TestChannelsCheck(t *testing.T) {
	for _, tt := range []struct {
		c       channels
		workers int
		want    string
	}{
		{channels{rx: 1, tx: 1}, 1, ""},
		{channels{rx: 4, tx: 4}, 3, ""},
		{
			channels{rx: 1, tx: 1, maxRx: 8, maxTx: 8, combined: true},
			4,
			"4 workers, and eth0 has 1 receive queues: each worker needs one (configure 1 workers, or ethtool -L eth0 combined 4)",
		},
		{
			channels{rx: 2, tx: 2, maxRx: 2, maxTx: 2, combined: true},
			4,
			"(configure 2 workers, or ethtool -L eth0 combined 4, of which the device has 2)",
		},
		{channels{rx: 4, tx: 2, maxRx: 4, maxTx: 4}, 3, "has 2 transmit queues: each worker needs one (configure 2 workers, or ethtool -L eth0 rx 3 tx 3)"},
	} {
		err := tt.c.check("eth0", tt.workers)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v, %d workers: %v, want %q", tt.c, tt.workers, err, tt.want)
		}
	}
}

func TestQueues(t *testing.T) {
	a, _ := cable(t, 1500, 4)
	queues := func() (n int) {
		a.ns.Do(t, func() {
			var err error
			if n, err = Queues(a.dev); err != nil {
				t.Error(err)
			}
			if _, err := Queues("nosuch"); err == nil {
				t.Error("queues of a device that is not there")
			}
		})
		return n
	}
	if n := queues(); n != 4 {
		t.Errorf("%d queues, want 4", n)
	}
	testenv.NeedTools(t, "ethtool")
	testenv.Run(t, a.ns, "ethtool", "-L", a.dev, "rx", "2", "tx", "2")
	if n := queues(); n != 2 {
		t.Errorf("%d queues, want 2", n)
	}
}

// sysfs shows the devices of the namespace in which it was mounted: the one of
// the test itself.
func TestSysfsChannels(t *testing.T) {
	a, _ := cable(t, 1500, 1)
	if _, ok := sysfsChannels("lo", 1); !ok {
		t.Error("no queues of lo")
	}
	a.ns.Do(t, func() {
		if c, ok := sysfsChannels(a.dev, 2); ok {
			t.Errorf("%+v of another namespace's device", c)
		}
	})
}

func TestTooManyWorkers(t *testing.T) {
	a, _ := cable(t, 1500, 2)
	_, err := a.try(t, Config{Workers: 3})
	if want := "open xdp underlay ifa: 3 workers, and ifa has 2 receive queues: each worker needs one (configure 2 workers, or ethtool -L ifa rx 3 tx 3, of which the device has 2)"; fmt.Sprint(err) != want {
		t.Errorf("%v, want %q", err, want)
	}
}

// All queues are bound, whoever owns them: nothing of many flows gets lost, and
// what workers send leaves through their own queues.
func TestManyQueues(t *testing.T) {
	for _, mode := range modes {
		for _, tt := range []struct{ queues, workers int }{{1, 1}, {2, 1}, {2, 2}, {4, 1}, {4, 2}, {4, 3}, {4, 4}} {
			t.Run(fmt.Sprintf("%v/queues=%d/workers=%d", mode, tt.queues, tt.workers), func(t *testing.T) {
				testManyQueues(t, mode, tt.queues, tt.workers)
			})
		}
	}
}

func testManyQueues(t *testing.T, mode bpf.Mode, queues, workers int) {
	a, b := cable(t, 1500, queues)
	d := a.open(t, Config{Mode: mode, Workers: workers})
	peer := b.open(t, Config{Mode: mode, Workers: queues})
	r := d.Report()
	if len(r.Queues) != queues {
		t.Fatalf("%d queues are bound, want %d", len(r.Queues), queues)
	}
	const n = 400
	for _, l := range peer.Links() {
		resolved(t, l, a.a4)
	}
	// Each of the peer's links sends through its own queue, and so arrives on
	// the queue of that number.
	for i := range n {
		put(peer.Links()[i%queues], a.a4, uint32(i), payload(i, 100))
	}
	for _, l := range peer.Links() {
		flushed(t, l)
	}
	seen := map[uint32]bool{}
	deadline := time.Now().Add(5 * time.Second)
	for len(seen) < n && time.Now().Before(deadline) {
		for _, l := range d.Links() {
			f := new(frames)
			if l.Recv(f, 7) == 0 {
				readable(l.FD(), time.Millisecond)
			}
			l.Flush()
			for _, p := range f.data {
				i := binary.BigEndian.Uint32(p)
				if seen[i] || !bytes.Equal(p, payload(int(i), 100)) {
					t.Fatalf("payload %d came twice, or is another", i)
				}
				seen[i] = true
			}
		}
	}
	if len(seen) != n {
		t.Fatalf("%d of %d payloads came", len(seen), n)
	}
	if mode == bpf.Native {
		for _, l := range d.Links() {
			if count(l, stat.RxFrames) == 0 {
				t.Errorf("worker %d got nothing", l.index)
			}
		}
	}
	if c := d.Report().Verdicts[bpf.PassNoSocket.String()]; c != 0 {
		t.Errorf("%d frames found no socket", c)
	}
}

// Flows of one worker spread over its queues, and each stays on one.
func TestSenderOfFlow(t *testing.T) {
	a, _ := cable(t, 1500, 4)
	l := a.open(t, Config{}).Links()[0]
	used := map[*queue]int{}
	for flow := range uint32(1000) {
		q := l.sender(flow)
		used[q]++
		if q != l.sender(flow) {
			t.Fatal("a flow moved")
		}
	}
	for _, q := range l.queues {
		if used[q] < 100 {
			t.Errorf("queue %d sends %d of 1,000 flows", q.number, used[q])
		}
	}
}

// A queue that arrives with fewer transmit queues than receive queues only
// receives.
func TestFewerTransmitQueues(t *testing.T) {
	testenv.NeedTools(t, "ethtool")
	a, b := cable(t, 1500, 4)
	testenv.Run(t, a.ns, "ethtool", "-L", a.dev, "tx", "1")
	if _, err := a.try(t, Config{Workers: 2}); err == nil || !strings.Contains(err.Error(), "1 transmit queues") {
		t.Errorf("two workers on one transmit queue: %v", err)
	}
	l := a.open(t, Config{}).Links()[0]
	if len(l.queues) != 4 || len(l.senders) != 1 {
		t.Fatalf("%d queues, %d to send", len(l.queues), len(l.senders))
	}
	peer := b.open(t, Config{}).Links()[0]
	resolved(t, l, b.a4)
	for i := range 100 {
		put(l, b.a4, uint32(i), payload(i, 50))
	}
	flushed(t, l)
	receive(t, peer, 100)
}

func TestConfigCheck(t *testing.T) {
	good := func() Config {
		return Config{
			Interface: "eth0", Local: netip.MustParseAddrPort("10.9.0.1:4789"), Workers: 1, Stats: []*stat.Block{{}},
		}
	}
	c := good()
	if err := c.check(); err != nil || c.Frames != defaultFrames || c.Log == nil {
		t.Errorf("%v, %+v", err, c)
	}
	for want, change := range map[string]func(c *Config){
		"no interface":           func(c *Config) { c.Interface = "" },
		"no local address":       func(c *Config) { c.Local = netip.AddrPort{} },
		"is a wildcard":          func(c *Config) { c.Local = netip.MustParseAddrPort("[::]:4789") },
		"is multicast":           func(c *Config) { c.Local = netip.MustParseAddrPort("224.0.0.1:4789") },
		"0 workers":              func(c *Config) { c.Workers = 0 },
		"2 workers with 1 stat":  func(c *Config) { c.Workers = 2 },
		"without stat block":     func(c *Config) { c.Stats[0] = nil },
		"mode 9":                 func(c *Config) { c.Mode = 9 },
		"zero copy 9":            func(c *Config) { c.ZeroCopy = 9 },
		"needs native mode":      func(c *Config) { c.Mode, c.ZeroCopy = bpf.Generic, On },
		"busy poll for 1s":       func(c *Config) { c.BusyPoll = time.Second },
		"MTU 70000":              func(c *Config) { c.MTU = 70000 },
		"100 frames":             func(c *Config) { c.Frames = 100 },
		"64 frames":              func(c *Config) { c.Frames = 64 },
		"131072 frames":          func(c *Config) { c.Frames = 1 << 17 },
		"busy poll for -1ns (0 ": func(c *Config) { c.BusyPoll = -1 },
	} {
		c := good()
		change(&c)
		if err := c.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
