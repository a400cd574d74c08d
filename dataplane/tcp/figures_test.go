// SPDX-License-Identifier: Apache-2.0

package tcp

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"netcon/dataplane/stream"
)

// wirePath is Ethernet's: checksums computed and verified by both ends.
var wirePath = stream.Path{Max: 1500, Checksums: true}

// figurePairs is how often two sides alternate.
const figurePairs = 5

// alternate runs a and b by turns within one run, each for about length, and
// returns their rates and the ratios, pair by pair.
func alternate(length time.Duration, a, b func() (work float64)) (rateA, rateB, ratio []float64) {
	rate := func(f func() float64) float64 {
		runtime.GC()
		start, work := time.Now(), 0.0
		for time.Since(start) < length {
			work += f()
		}
		return work / time.Since(start).Seconds()
	}
	rate(a) // warm up
	rate(b)
	for range figurePairs {
		x, y := rate(a), rate(b)
		rateA, rateB, ratio = append(rateA, x), append(rateB, y), append(ratio, x/y)
	}
	slices.Sort(rateA)
	slices.Sort(rateB)
	slices.Sort(ratio)
	return rateA, rateB, ratio
}

// report gives medians, and the ratio's range.
func report(b *testing.B, unit string, scale float64, rateA, rateB, ratio []float64) {
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(rateA[figurePairs/2]*scale, "native-"+unit)
	b.ReportMetric(rateB[figurePairs/2]*scale, "gvisor-"+unit)
	b.ReportMetric(ratio[0], "ratio-min")
	b.ReportMetric(ratio[figurePairs/2], "ratio-median")
	b.ReportMetric(ratio[len(ratio)-1], "ratio-max")
}

// BenchmarkAgainstGVisor compares both ends of connections in one process, on one
// core, pair by pair.
//
//	go test ./dataplane/tcp -run xxx -bench AgainstGVisor -benchtime 1x
func BenchmarkAgainstGVisor(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, n := range []int{1, 64, 1000} {
		b.Run(fmt.Sprintf("requests/%d", n), func(b *testing.B) {
			ours := newBenchPair(b, wirePath, n)
			ours.open(b, n, true, 16<<10)
			theirs := newGVPair(b, n, 64<<10)
			x, y, ratio := alternate(time.Second, func() float64 { ours.requests(0, n); return float64(n) },
				func() float64 { theirs.requests(); return float64(n) })
			report(b, "requests/s", 1, x, y, ratio)
		})
	}
	b.Run("bulk", func(b *testing.B) {
		ours := newBenchPair(b, wirePath, 1)
		ours.open(b, 1, true, 1<<20)
		theirs := newGVPair(b, 1, 1<<20)
		x, y, ratio := alternate(time.Second, func() float64 { ours.bulk(16 << 20); return 16 << 20 },
			func() float64 { theirs.bulk(16 << 20); return 16 << 20 })
		report(b, "Gbit/s", 8e-9, x, y, ratio)
	})
}

// bulk moves at least n bytes over the first connection.
func (p *benchPair) bulk(n int) {
	got := 0
	p.onRead = func(u uint64) {
		if u>>32 != 0 {
			got += take(&p.pb[0].Rx)
			p.b.RxRoom(p.cb[0])
		}
	}
	p.onWrite = func(u uint64) {
		if u>>32 == 0 && put(&p.pa[0].Tx, 1<<20) > 0 {
			p.a.TxReady(p.ca[0])
		}
	}
	for turns := 0; got < n; turns++ {
		p.onWrite(0)
		p.turn()
		if turns > 1<<20 {
			panic("bulk stands still")
		}
	}
}

// BenchmarkMillion holds 1,000,000 pairs of idle connections in one process: two
// million connections.
//
//	go test ./dataplane/tcp -run xxx -bench Million -benchtime 1x
func BenchmarkMillion(b *testing.B) {
	for _, n := range []int{1000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			runtime.GC()
			debug.FreeOSMemory()
			before := residentBytes(b)
			p := newBenchPair(b, wirePath, n)
			start := time.Now()
			p.open(b, n, false, 0)
			setup := time.Since(start)
			runtime.GC()
			debug.FreeOSMemory()
			handles := uint64(16 * n) // what the benchmark itself remembers
			grown := residentBytes(b) - before - handles
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(n)/setup.Seconds(), "pairs/s")
			b.ReportMetric(float64(grown)/1e6, "MB")
			b.ReportMetric(float64(grown)/float64(2*n), "B/connection")
			// What one request costs among so many: 1,000 connections, spread.
			p.attachSome(1000)
			p.requestsOf(1000)
			var gc runtime.MemStats
			runtime.ReadMemStats(&gc)
			cycles := gc.NumGC
			start = time.Now()
			const rounds = 500
			for range rounds {
				p.requestsOf(1000)
			}
			b.ReportMetric(float64(time.Since(start).Nanoseconds())/(rounds*1000), "ns/request")
			runtime.ReadMemStats(&gc)
			b.ReportMetric(float64(gc.NumGC-cycles), "gc-cycles")
			runtime.KeepAlive(p)
		})
	}
}

// attachSome gives n connections, spread over all, their rings.
func (p *benchPair) attachSome(n int) {
	mk := func(e *Engine, h stream.Handle) *stream.Pair {
		q := new(stream.Pair)
		q.Init()
		q.Tx.Attach(make([]byte, 4096))
		q.Rx.Attach(make([]byte, 4096))
		e.Attach(h, q)
		return q
	}
	all := len(p.ca)
	p.pa, p.pb = make([]*stream.Pair, all), make([]*stream.Pair, all)
	for i := range n {
		k := i * (all / n)
		p.pa[k], p.pb[k] = mk(p.a, p.ca[k]), mk(p.b, p.cb[k])
	}
	for range 4 {
		p.turn()
	}
}

// requestsOf has n connections, spread over all, do one request each.
func (p *benchPair) requestsOf(n int) {
	step := len(p.ca) / n
	answered := 0
	p.onRead = func(u uint64) {
		k := int(uint32(u))
		if u>>32 != 0 {
			if take(&p.pb[k].Rx) > 0 {
				p.b.RxRoom(p.cb[k])
				put(&p.pb[k].Tx, 64)
				p.b.TxReady(p.cb[k])
			}
		} else if take(&p.pa[k].Rx) > 0 {
			p.a.RxRoom(p.ca[k])
			answered++
		}
	}
	for i := range n {
		put(&p.pa[i*step].Tx, 64)
		p.a.TxReady(p.ca[i*step])
	}
	for turns := 0; answered < n; turns++ {
		p.turn()
		if turns > 100000 {
			panic("requests are not answered")
		}
	}
}

// residentBytes returns the process's resident memory, memfds included.
func residentBytes(tb testing.TB) uint64 {
	tb.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				tb.Fatal(err)
			}
			return kib << 10
		}
	}
	tb.Fatal("no VmRSS")
	return 0
}

// TestNoCollection: a million segments do not start the collector.
func TestNoCollection(t *testing.T) {
	p := newBenchPair(t, wirePath, 1)
	p.open(t, 1, true, 256<<10)
	p.bulk(1 << 20)
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	for segments := 0; segments < 1_000_000; segments += 12_000 {
		p.bulk(16 << 20)
	}
	runtime.ReadMemStats(&after)
	// The runtime starts one by itself every two minutes.
	idle := uint32(time.Since(start) / (2 * time.Minute))
	if n := after.NumGC - before.NumGC; n > idle {
		t.Errorf("%d cycles of the collector", n)
	}
}
