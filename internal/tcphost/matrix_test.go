// SPDX-License-Identifier: Apache-2.0

//go:build interop

package tcphost_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"netcon/internal/tcphost"
	"netcon/internal/testenv"
	"netcon/internal/testenv/faults"
)

// line is the wire of most cells: fast enough for TCP to have something to find
// out, slow enough for processors not to be what is measured.
const line = "rate=200mbit,queue=30ms"

// socketBuffer holds more than the bandwidth-delay product of every cell and
// the line's queue: 200 Mbit/s for 130 ms are 3.3 MB.
const socketBuffer = 4 << 20

// cell is one combination of loss and delay.
type cell struct {
	loss  string // of frames, each way
	rtt   time.Duration
	flows int // several where loss, not the line, limits one: the mean of many
	time  time.Duration
	// together says that the lanes run at the same time, so that what else the
	// machine does meets all alike: where they are too slow to disturb one
	// another.
	together bool
	// open says that the wire has no line rate: processors limit.
	open bool
}

func (c cell) String() string {
	s := fmt.Sprintf("loss=%s,rtt=%v,flows=%d", c.loss, c.rtt, c.flows)
	if c.open {
		s += ",open"
	}
	return s
}

func (c cell) faults(seed int) string {
	s := fmt.Sprintf("drop=%s,delay=%v,seed=%d", c.loss, c.rtt/2, seed)
	if !c.open {
		s = line + "," + s
	}
	return s
}

// unsent bounds what a sender has written and not sent when its time is over.
func (c cell) unsent() int {
	if c.flows >= 8 {
		return 32 << 10
	}
	return 128 << 10
}

// matrixRuns is how often every lane runs a cell.
const matrixRuns = 5

// cells are all combinations. The more chance there is in one, the more flows it
// has and the longer it takes.
var cells = []cell{
	{loss: "0%", flows: 1, time: 1500 * time.Millisecond},
	{loss: "0%", rtt: 20 * time.Millisecond, flows: 1, time: 2 * time.Second},
	{loss: "0%", rtt: 100 * time.Millisecond, flows: 1, time: 3500 * time.Millisecond},
	{loss: "0.1%", flows: 1, time: 1500 * time.Millisecond},
	{loss: "0.1%", rtt: 20 * time.Millisecond, flows: 4, time: 2500 * time.Millisecond},
	{loss: "0.1%", rtt: 100 * time.Millisecond, flows: 4, time: 5 * time.Second, together: true},
	{loss: "1%", flows: 1, time: 1500 * time.Millisecond},
	{loss: "1%", rtt: 20 * time.Millisecond, flows: 4, time: 4 * time.Second, together: true},
	{loss: "1%", rtt: 100 * time.Millisecond, flows: 8, time: 5 * time.Second, together: true},
	{loss: "5%", flows: 1, time: 2500 * time.Millisecond},
	{loss: "5%", flows: 4, time: 2500 * time.Millisecond},
	{loss: "5%", rtt: 20 * time.Millisecond, flows: 8, time: 4 * time.Second, together: true},
	{loss: "5%", rtt: 100 * time.Millisecond, flows: 16, time: 5 * time.Second, together: true},
	{loss: "0%", flows: 1, time: 1500 * time.Millisecond, open: true},
	{loss: "0.1%", flows: 1, time: 1500 * time.Millisecond, open: true},
	{loss: "1%", flows: 1, time: 1500 * time.Millisecond, open: true},
}

// lane is two hosts and a wire between them. A host with a native engine has no
// address that its kernel knows.
//
//	a: e0 192.0.2.1 ◄─ veth ─► wa faultwire wb ◄─ veth ─► e0 192.0.2.2 :b
type lane struct {
	name   string
	native [2]bool
	ns     [2]*testenv.NetNS
	mac    [2]string
	wire   *testenv.NetNS
	programs
}

type programs struct {
	host, faultwire string
	before          []string // what every command line begins with
}

var laneAddrs = [2]string{"192.0.2.1", "192.0.2.2"}

func newLane(t *testing.T, name string, p programs, a, b bool) *lane {
	t.Helper()
	l := &lane{name: name, native: [2]bool{a, b}, wire: testenv.NewNetNS(t, "wire"), programs: p}
	l.wire.Sysctl(t, "net.ipv6.conf.default.disable_ipv6", "1")
	for i := range l.ns {
		ns := testenv.NewNetNS(t, "host")
		ns.Sysctl(t, "net.ipv6.conf.default.disable_ipv6", "1")
		addr := ""
		if !l.native[i] {
			addr = laneAddrs[i] + "/24"
			// What one run learned must not help the next.
			ns.Sysctl(t, "net.ipv4.tcp_no_metrics_save", "1")
		}
		port := []string{"wa", "wb"}[i]
		testenv.Veth(t, ns, "e0", addr, l.wire, port, "", 0)
		ns.NoOffload(t, "e0")
		l.wire.NoOffload(t, port)
		l.ns[i], l.mac[i] = ns, ns.MAC(t, "e0")
	}
	for i := range l.ns {
		if !l.native[i] {
			// The loss of an ARP packet would cost a second.
			testenv.Run(t, l.ns[i], "ip", "neigh", "add", laneAddrs[1-i], "lladdr", l.mac[1-i], "dev", "e0")
		}
	}
	return l
}

// host starts one end of a transfer.
func (l *lane) host(t *testing.T, i int, args ...string) *testenv.Process {
	t.Helper()
	args = append(append(slices.Clone(l.before), l.programs.host, "-at", laneAddrs[1]+":5000", "-buffer", strconv.Itoa(socketBuffer)), args...)
	if l.native[i] {
		args = append(args, "-device", "e0", "-addr", laneAddrs[i]+"/24", "-peer", laneAddrs[1-i]+"="+l.mac[1-i])
	} else {
		args = append(args, "-control", "cubic")
	}
	return testenv.Start(t, l.ns[i], args...)
}

// outcome is what one run showed.
type outcome struct {
	goodput       float64 // bit/s
	retransmitted uint32
	wire          faults.WireReport
	ends          [2]tcphost.Report
}

// transfer is one that runs.
type transfer struct {
	l    *lane
	c    cell
	wire testenv.Wire
	ends [2]*testenv.Process
}

// start starts a transfer from a to b.
func (l *lane) start(t *testing.T, c cell, seed int) *transfer {
	t.Helper()
	x := &transfer{l: l, c: c}
	cmd := append(slices.Clone(l.before), l.faultwire, "-a", "wa", "-b", "wb", "-json", "-faults", c.faults(seed))
	x.wire = testenv.Wire{Process: testenv.Start(t, l.wire, cmd...), NS: l.wire}
	x.wire.WaitOutput(t, 10*time.Second, "ready")
	args := []string{"-flows", strconv.Itoa(c.flows), "-time", c.time.String()}
	if c.loss != "0%" {
		// Otherwise what lies in the buffer takes longer than the run.
		args = append(args, "-unsent", strconv.Itoa(c.unsent()))
	}
	x.ends[1] = l.host(t, 1, append(args, "-receive")...)
	x.ends[1].WaitOutput(t, 10*time.Second, "ready")
	x.ends[0] = l.host(t, 0, append(args, "-send")...)
	return x
}

// finish waits for the end of a transfer.
func (x *transfer) finish(t *testing.T) (o outcome) {
	t.Helper()
	name := fmt.Sprintf("%s, %v", x.l.name, x.c)
	for i, p := range x.ends {
		testenv.WaitFor(t, x.c.time+2*time.Minute, func() bool { return strings.Contains(p.Stdout(), "\n") || !p.Running() }, "%s: end %d", name, i)
		if err := json.Unmarshal([]byte(p.Stdout()), &o.ends[i]); err != nil {
			t.Fatalf("%s: report of end %d: %v\n%s", name, i, err, p.Output())
		}
	}
	for i, p := range x.ends {
		if err := p.Stop(); err != nil {
			t.Errorf("%s: end %d: %v\n%s", name, i, err, p.Output())
		}
		if s := o.ends[i].Stats; s != nil && s.Unsent+s.Overrun != 0 {
			t.Errorf("%s: end %d lost %d frames sending and %d receiving", name, i, s.Unsent, s.Overrun)
		}
	}
	o.wire = x.wire.Report(t)
	var sent, received int64
	for i := range x.c.flows {
		// The ends count their flows in the order of their own handshakes.
		sent += o.ends[0].Flows[i].Bytes
		received += o.ends[1].Flows[i].Bytes
		o.goodput += float64(o.ends[1].Flows[i].Counted) * 8 / x.c.time.Seconds()
		o.retransmitted += o.ends[0].Flows[i].Retransmitted
	}
	if sent == 0 || sent != received {
		t.Errorf("%s: %d bytes of %d", name, received, sent)
	}
	return o
}

func buildPrograms(t *testing.T) programs {
	t.Helper()
	testenv.Need(t, "CAP_NET_RAW")
	return programs{
		host:      testenv.Build(t, "netcon/internal/tcphost/cmd/tcphost"),
		faultwire: testenv.Build(t, "netcon/internal/testenv/faultwire"),
	}
}

// TestTransfers: the engine sends to the kernel and receives from it over a
// wire that loses and delays, and nothing is missing.
func TestTransfers(t *testing.T) {
	p := buildPrograms(t)
	lanes := []*lane{newLane(t, "engine to Linux", p, true, false), newLane(t, "Linux to engine", p, false, true)}
	for _, c := range []cell{
		{loss: "0%", flows: 1}, {loss: "1%", rtt: 20 * time.Millisecond, flows: 4}, {loss: "5%", rtt: 20 * time.Millisecond, flows: 4},
	} {
		c.time = time.Second
		var running []*transfer
		for _, l := range lanes {
			running = append(running, l.start(t, c, 7))
		}
		for _, x := range running {
			o := x.finish(t)
			t.Logf("%s, %v: %.1f Mbit/s, %d retransmitted", x.l.name, c, o.goodput/1e6, o.retransmitted)
		}
	}
}

// TestMatrix compares goodput with what two kernels reach over the same wire.
// It takes minutes: NETCON_INTEROP=long. NETCON_INTEROP_CELLS picks cells by a
// part of their name, NETCON_INTEROP_RUNS changes how often each is run, and
// NETCON_INTEROP_OUT is where the table (.md) and every transfer (.jsonl) go.
func TestMatrix(t *testing.T) {
	if os.Getenv("NETCON_INTEROP") != "long" {
		t.Skip("not asked for: NETCON_INTEROP=long")
	}
	runs := matrixRuns
	if v := os.Getenv("NETCON_INTEROP_RUNS"); v != "" {
		var err error
		if runs, err = strconv.Atoi(v); err != nil || runs < 1 {
			t.Fatalf("NETCON_INTEROP_RUNS is %q (want a number from 1 on)", v)
		}
	}
	chosen := slices.DeleteFunc(slices.Clone(cells), func(c cell) bool {
		return !strings.Contains(c.String(), os.Getenv("NETCON_INTEROP_CELLS"))
	})
	r := newMatrixReport(t, os.Getenv("NETCON_INTEROP_OUT"))
	p := buildPrograms(t)
	// Whoever waits for a processor is slow, whatever its TCP: real-time
	// priority for every process of every lane.
	testenv.NeedTools(t, "chrt")
	testenv.Need(t, "CAP_SYS_NICE")
	p.before = []string{"chrt", "-f", "5"}
	lanes := []*lane{
		newLane(t, "Linux to Linux", p, false, false),
		newLane(t, "engine to Linux", p, true, false),
		newLane(t, "Linux to engine", p, false, true),
	}
	for k, c := range chosen {
		fmt.Fprintf(os.Stderr, "cell %d of %d: %v\n", k+1, len(chosen), c)
		r.row(c, runCell(t, r, lanes, c, runs))
	}
	r.end(t)
}

// runCell runs one cell on every lane, runs times with a seed each, and returns
// the goodputs in Mbit/s. Lanes take turns, and another begins every time.
func runCell(t *testing.T, r *matrixReport, lanes []*lane, c cell, runs int) [][]float64 {
	t.Helper()
	got := make([][]float64, len(lanes))
	for run := range runs {
		running := make([]*transfer, len(lanes))
		finish := func(i int) {
			o := running[i].finish(t)
			got[i] = append(got[i], o.goodput/1e6)
			r.transfer(t, lanes[i].name, c, 1+run, o)
		}
		for k := range lanes {
			i := (run + k) % len(lanes)
			running[i] = lanes[i].start(t, c, 1+run)
			if !c.together {
				finish(i)
			}
		}
		for i := range lanes {
			if c.together {
				finish(i)
			}
		}
	}
	return got
}
