// SPDX-License-Identifier: Apache-2.0

package tcp_test

import (
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"netcon/dataplane/stream"
	"netcon/dataplane/tcp"
	"netcon/internal/tcpsim"
)

var (
	simRuns  = flag.Int("sim.runs", simDefault, "simulated runs")
	simFirst = flag.Uint64("sim.first", 1, "seed of the first run")
	simSeed  = flag.Uint64("sim.seed", 0, "run this seed only")
	simStop  = flag.Bool("sim.stop", false, "stop at the first run that fails")
	simTrace = flag.Bool("sim.trace", false, "print what happens in the run of -sim.seed")
)

// gvisorShare is how many runs there are for one with gVisor on one end.
const gvisorShare = 16

// simEngine makes an engine for the simulation.
func simEngine(end tcpsim.End) (stream.Clocked, error) {
	t, odds := simTuning(end)
	n := end.Connections
	limits := tcp.Limits{Connections: n, HalfOpen: n, Orphans: n, TimeWait: n}
	if odds(8) && !end.Crowd {
		limits.TimeWait = 1 // where FINs are lost and many go, some need one
	}
	return tcp.New(tcp.Config{
		Name: end.Name, MTU: end.MTU, Addrs: []netip.Prefix{end.Addr}, Seed: end.Seed, Tuning: &t,
		Limits: limits,
	})
}

// simTuning returns what the variant says: it turns features off.
func simTuning(end tcpsim.End) (t tcp.Tuning, odds func(n uint64) bool) {
	t = tcp.DefaultTuning()
	v := end.Variant
	// one in n.
	odds = func(n uint64) bool {
		hit := v%n == 0
		v /= n
		return hit
	}
	t.SACK = !odds(5)
	t.Timestamps = !odds(5)
	t.WindowScaling = !odds(5)
	t.RACK = !odds(5)
	t.EarlyRetrans = !odds(5)
	t.FRTO = !odds(5)
	t.Cubic = !odds(5)
	t.HyStart = !odds(5)
	t.SlowStartAfterIdle = !odds(5)
	if odds(2) {
		t.ECN = 1
	}
	if odds(4) {
		t.MTUProbing = 2
	}
	if end.Cookies {
		t.SynCookies = 2
	}
	if odds(10) {
		t.InitialCwnd = 1
	}
	// A handshake must not fail by bad luck.
	t.SynRetries = 10
	t.SynAckRetries = 10
	if odds(2) {
		t.ChallengeAckLimit = -1
	}
	return t, odds
}

func simConfig() *tcpsim.Config {
	return &tcpsim.Config{
		New:     simEngine,
		Check:   func(e stream.Clocked) error { return e.(*tcp.Engine).Check() },
		Records: func(e stream.Clocked) int { return e.(*tcp.Engine).Records() },
		Tune: func(e stream.Clocked, end tcpsim.End) error {
			t, _ := simTuning(end)
			return e.(*tcp.Engine).Tune(t)
		},
		GVisor: gvisorShare,
	}
}

// simTotals sums up what runs did.
type simTotals struct {
	mu      sync.Mutex
	runs    int
	packets int
	bytes   int
	faults  [tcpsim.NumFaults]int // runs that met each
	failed  []string
}

func (s *simTotals) add(r *tcpsim.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs++
	s.packets += r.Packets
	s.bytes += r.Bytes
	for f, n := range r.Faults {
		if n > 0 {
			s.faults[f]++
		}
	}
}

func (s *simTotals) broke() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.failed) > 0
}

// TestSimulation runs engines against each other, and against gVisor, on a
// network where everything goes wrong. A run that fails is replayed with
// -sim.seed, and printed with -sim.trace.
func TestSimulation(t *testing.T) {
	if *simSeed != 0 {
		cfg := simConfig()
		if *simTrace {
			cfg.Trace = os.Stdout
		}
		res, err := tcpsim.Run(*simSeed, cfg, &tcpsim.Memory{})
		if err != nil {
			t.Fatalf("seed %d: %v", *simSeed, err)
		}
		t.Logf("%+v", res)
		return
	}
	runs := *simRuns
	if testing.Short() {
		runs = min(runs, 200)
	}
	told := 0
	totals := simulate(runs, func(s *simTotals, since time.Duration) {
		for ; told < min(len(s.failed), 20); told++ {
			t.Log(s.failed[told])
		}
		t.Logf("%d of %d runs, %d failed, %.0f runs/s", s.runs, runs, len(s.failed), float64(s.runs)/since.Seconds())
	})
	for i, f := range totals.failed {
		if i == 20 {
			t.Errorf("and %d more", len(totals.failed)-i)
			break
		}
		t.Error(f)
	}
	var met []string
	for f, n := range totals.faults {
		met = append(met, fmt.Sprintf("%s %d", tcpsim.Fault(f), n))
		if n == 0 && runs >= 1000 && !*simStop {
			t.Errorf("no run met %s", tcpsim.Fault(f))
		}
	}
	t.Logf("%d runs, %d packets, %d bytes; runs that met each fault: %s", totals.runs, totals.packets, totals.bytes, strings.Join(met, ", "))
}

// simulate runs seeds on every processor and reports progress about every ten
// seconds.
func simulate(runs int, progress func(*simTotals, time.Duration)) *simTotals {
	totals := &simTotals{}
	start := time.Now()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			var mem tcpsim.Memory
			cfg := simConfig()
			for {
				i := next.Add(1) - 1
				if i >= int64(runs) || *simStop && totals.broke() {
					return
				}
				seed := *simFirst + uint64(i)
				if err := simulateOne(seed, cfg, &mem, totals); err != nil {
					totals.mu.Lock()
					totals.failed = append(totals.failed, fmt.Sprintf(
						"seed %d: %v\n\treplay: go test ./dataplane/tcp -run TestSimulation -sim.seed %d -sim.trace", seed, err, seed))
					totals.mu.Unlock()
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return totals
		case <-tick.C:
			totals.mu.Lock()
			progress(totals, time.Since(start))
			totals.mu.Unlock()
		}
	}
}

// simulateOne runs a seed and holds it to what a run has to be.
func simulateOne(seed uint64, cfg *tcpsim.Config, mem *tcpsim.Memory, totals *simTotals) (err error) {
	defer func() {
		if p := recover(); p != nil {
			buf := make([]byte, 4096)
			err = fmt.Errorf("panic: %v\n%s", p, buf[:runtime.Stack(buf, false)])
		}
	}()
	res, err := tcpsim.Run(seed, cfg, mem)
	totals.add(&res)
	if err == nil && (res.Kinds() < 3 || res.Sockets < 4 || res.Bytes < 64<<10) {
		err = fmt.Errorf("too little happened: %d kinds of faults, %d sockets, %d bytes", res.Kinds(), res.Sockets, res.Bytes)
	}
	return err
}

// TestSimulationReplays: a seed does the same again, packet by packet.
func TestSimulationReplays(t *testing.T) {
	for seed := uint64(1); seed <= 16; seed++ {
		var traces [2]strings.Builder
		for i := range traces {
			cfg := simConfig()
			cfg.Trace = io.Writer(&traces[i])
			tcpsim.Run(seed, cfg, &tcpsim.Memory{})
		}
		if traces[0].Len() < 1000 || traces[0].String() != traces[1].String() {
			t.Errorf("seed %d: two runs differ", seed)
		}
	}
}
