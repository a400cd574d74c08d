// SPDX-License-Identifier: Apache-2.0

//go:build interop

package tcphost_test

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// matrixReport writes what TestMatrix finds: a line for every transfer as it
// ends, a table of medians at the end.
type matrixReport struct {
	path  string   // of both files without their suffixes; "": none
	lines *os.File // JSON lines
	table strings.Builder
	begin time.Time
	load  string // when it began
}

func newMatrixReport(t *testing.T, path string) *matrixReport {
	t.Helper()
	r := &matrixReport{path: path, begin: time.Now(), load: loadAverage()}
	r.table.WriteString("| loss | RTT | line | flows | Linux to Linux | engine to Linux | ratio | Linux to engine | ratio |\n" +
		"|---|---|---|---|---|---|---|---|---|\n")
	if path != "" {
		f, err := os.Create(path + ".jsonl")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		r.lines = f
	}
	return r
}

// loadAverage returns what /proc/loadavg says of the last minute.
func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Fields(string(b))[0]
}

// transfer notes one transfer.
func (r *matrixReport) transfer(t *testing.T, lane string, c cell, seed int, o outcome) {
	t.Helper()
	fmt.Fprintf(os.Stderr, "\tseed %d, %s: %.2f Mbit/s, %d retransmitted, the wire dropped %d and overflowed %d\n",
		seed, lane, o.goodput/1e6, o.retransmitted, o.wire.AToB.Dropped, o.wire.AToB.Overflowed)
	for _, e := range o.ends {
		if e.Stats != nil && len(e.Stats.Drops) > 0 {
			fmt.Fprintf(os.Stderr, "\t\tthe engine dropped %v\n", e.Stats.Drops)
		}
	}
	if r.lines == nil {
		return
	}
	var bytes int64
	for _, f := range o.ends[1].Flows {
		bytes += f.Bytes
	}
	err := json.NewEncoder(r.lines).Encode(struct {
		Lane          string  `json:"lane"`
		Loss          string  `json:"loss"`
		RTT           float64 `json:"rtt_ms"`
		Faults        string  `json:"faults"`
		Flows         int     `json:"flows"`
		Seconds       float64 `json:"seconds"`
		Seed          int     `json:"seed"`
		Goodput       float64 `json:"goodput_mbit"`
		Bytes         int64   `json:"bytes"`
		Retransmitted uint32  `json:"retransmitted"`
		Frames        uint64  `json:"frames"`
		Dropped       uint64  `json:"dropped"`
		Overflowed    uint64  `json:"overflowed"`
		DroppedBack   uint64  `json:"dropped_back"`
		Load          string  `json:"load"`
	}{
		lane, c.loss, c.rtt.Seconds() * 1e3, c.faults(seed), c.flows, c.time.Seconds(), seed, o.goodput / 1e6, bytes,
		o.retransmitted, o.wire.AToB.Seen, o.wire.AToB.Dropped, o.wire.AToB.Overflowed, o.wire.BToA.Dropped, loadAverage(),
	})
	if err != nil {
		t.Error(err)
	}
}

// row adds a cell's line to the table: of each lane the median, least and most.
func (r *matrixReport) row(c cell, got [][]float64) {
	wire := "200 Mbit/s"
	if c.open {
		wire = "none"
	}
	fmt.Fprintf(&r.table, "| %s | %d ms | %s | %d |", c.loss, c.rtt.Milliseconds(), wire, c.flows)
	base := median(got[0])
	for i, v := range got {
		fmt.Fprintf(&r.table, " %.1f (%.1f to %.1f) |", median(v), slices.Min(v), slices.Max(v))
		if i > 0 {
			fmt.Fprintf(&r.table, " **%.2f** |", median(v)/base)
		}
	}
	r.table.WriteString("\n")
}

// end prints the table and under which conditions it came about.
func (r *matrixReport) end(t *testing.T) {
	t.Helper()
	release := "unknown"
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		release = unix.ByteSliceToString(u.Release[:])
	}
	s := fmt.Sprintf("%s\nGoodput in Mbit/s; Linux %s, %d processors, load average %s before and %s after, %v.\n",
		r.table.String(), release, runtime.NumCPU(), r.load, loadAverage(), time.Since(r.begin).Round(time.Second))
	fmt.Fprint(os.Stderr, s)
	if r.path != "" {
		if err := os.WriteFile(r.path+".md", []byte(s), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// median returns the middle of v, which is not empty.
func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
