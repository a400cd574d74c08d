// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// samples makes what a workload with two systems gives: values round by round.
func samples(workload string, less bool, base, ours []float64) (list []*Sample) {
	for i := range base {
		for _, x := range []struct {
			system string
			value  float64
		}{{Baseline, base[i]}, {Default, ours[i]}} {
			list = append(list, &Sample{
				Workload: workload, System: x.system, Round: i, Value: x.value, Unit: "requests/s", Less: less, Requests: 1, Per: "request",
				CPU: &CPU{Machine: 10}, Path: &Path{Valid: true},
				Latency: &Latency{How: "closed loop", P50: 10, P99: 20, Max: 30, Curve: [][2]float64{{1, 5}, {10, 6}, {25, 8}, {50, 10}, {75, 12}, {90, 15}, {95, 17}, {99, 20}}},
			})
		}
	}
	return list
}

func save(t *testing.T, name string, list []*Sample) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	var b bytes.Buffer
	if err := Write(&b, Record{Facts: &Facts{When: "now", Commit: name, Command: []string{"x", "bench"}}}); err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if err := Write(&b, Record{Sample: s}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// Ratios are of the same round: that the machine was twice as fast in one of
// them does not show.
func TestRatiosAreOfTheRound(t *testing.T) {
	rows := summarise(samples("w", false, []float64{100, 200, 400}, []float64{50, 100, 200}))
	if len(rows) != 2 || rows[1].System != Default {
		t.Fatalf("%+v", rows)
	}
	if r := rows[1].Ratio; r != (Spread{0.5, 0.5, 0.5, 3}) {
		t.Errorf("ratio %+v", r)
	}
	if v := rows[1].Value; v != (Spread{50, 100, 200, 3}) {
		t.Errorf("value %+v", v)
	}
	if rows[0].Ratio.N != 0 {
		t.Errorf("the baseline has a ratio to itself: %+v", rows[0].Ratio)
	}
}

// What failed, and what is invalid, is not counted and not hidden.
func TestInvalidSamplesDoNotCount(t *testing.T) {
	list := samples("w", false, []float64{100, 100}, []float64{900, 50})
	list[1].Path = &Path{Why: []string{"the kernel's TCP carried 5 segments"}}
	list[2].Error = "it broke"
	rows := summarise(list)
	if r := rows[1]; r.Value.N != 1 || r.Value.Median != 50 || len(r.Invalid) != 1 || r.Ratio.N != 0 {
		t.Errorf("%+v", r)
	}
	var b bytes.Buffer
	if err := Report(&b, &Results{Samples: list}, nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"others **invalid**", "the kernel's TCP carried 5 segments", "it broke"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the report does not say %q:\n%s", want, b.String())
		}
	}
}

func TestCompare(t *testing.T) {
	steady := []float64{100, 100, 100, 100, 100}
	before := save(t, "a", samples("w", false, steady, []float64{50, 51, 49, 50, 52}))
	for name, c := range map[string]struct {
		after []*Sample
		worse bool
		says  string
	}{
		"same":         {samples("w", false, steady, []float64{50, 51, 49, 50, 52}), false, noise},
		"within noise": {samples("w", false, steady, []float64{45, 51, 44, 46, 49}), false, noise},
		"slower":       {samples("w", false, steady, []float64{40, 41, 39, 40, 42}), true, regression},
		"faster":       {samples("w", false, steady, []float64{60, 61, 59, 60, 62}), false, improvement},
		// The machine is half as fast, for both.
		"slower machine": {samples("w", false, []float64{50, 50, 50, 50, 50}, []float64{25, 25.5, 24.5, 25, 26}), false, noise},
		// 2% are never a regression, however sure.
		"a little": {samples("w", false, steady, []float64{48.9, 48.9, 48.9, 48.9, 48.9}), false, noise},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			worse, err := Compare(&b, before, save(t, "b", c.after))
			if err != nil || worse != c.worse || !strings.Contains(b.String(), "| "+c.says+" |") {
				t.Errorf("worse %v (%v), want %v and %q:\n%s", worse, err, c.worse, c.says, b.String())
			}
		})
	}
	t.Run("less is better", func(t *testing.T) {
		a := save(t, "a", samples("w", true, steady, []float64{50, 51, 49, 50, 52}))
		for value, want := range map[float64]bool{80: true, 30: false} {
			worse, err := Compare(new(bytes.Buffer), a, save(t, "b", samples("w", true, steady, []float64{value, value, value, value, value})))
			if err != nil || worse != want {
				t.Errorf("from 50 to %v: worse %v (%v)", value, worse, err)
			}
		}
	})
	t.Run("more processor time", func(t *testing.T) {
		after := samples("w", false, steady, []float64{50, 51, 49, 50, 52})
		for _, s := range after {
			if s.System == Default {
				s.CPU.Machine = 12
			}
		}
		if worse, err := Compare(new(bytes.Buffer), before, save(t, "b", after)); err != nil || !worse {
			t.Errorf("20%% more: worse %v (%v)", worse, err)
		}
	})
	t.Run("broken", func(t *testing.T) {
		after := samples("w", false, steady, steady)
		for _, s := range after {
			if s.System == Default {
				s.Error = "it broke"
			}
		}
		if worse, err := Compare(new(bytes.Buffer), before, save(t, "b", after)); err != nil || !worse {
			t.Errorf("nothing measured any more: worse %v (%v)", worse, err)
		}
	})
	t.Run("no file", func(t *testing.T) {
		if _, err := Compare(new(bytes.Buffer), before, "/nonexistent.json"); !errors.Is(err, ErrInput) {
			t.Error(err)
		}
		bad := filepath.Join(t.TempDir(), "bad")
		if err := os.WriteFile(bad, []byte("{"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Compare(new(bytes.Buffer), before, bad); !errors.Is(err, ErrInput) {
			t.Error(err)
		}
	})
}

// Tables have as many cells in every line as in the first, and every picture is
// there twice.
func TestRender(t *testing.T) {
	list := samples("pingpong-64", false, []float64{100, 110}, []float64{50, 60})
	broken := *list[1]
	broken.System, broken.Error = "netcon+underlay=udp", "it | broke\nfor good"
	heldSample := &Sample{
		Workload: "held", System: Baseline, Value: 8000, Unit: "bytes/connection", Less: true, Path: &Path{Valid: true},
		HeldCurve: []*Held{{Memory: Memory{Connections: 1000, Slab: 8000}, Rate: 5000}, {Memory: Memory{Connections: 4000, Slab: 9000}, Rate: 4000}}, Memory: &Memory{Connections: 4000, Slab: 9000},
	}
	path := save(t, "r", append(list, &broken, heldSample))
	dir := t.TempDir()
	if err := Render(path, dir, new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, reportFile))
	if err != nil {
		t.Fatal(err)
	}
	cells := 0
	for line := range strings.Lines(string(text)) {
		n := strings.Count(line, "|")
		if n > 0 && cells > 0 && n != cells {
			t.Errorf("%d cells instead of %d: %s", n, cells, line)
		}
		cells = n
	}
	for _, name := range []string{"pingpong-64-values", "pingpong-64-latency", "held-values", "held-memory", "held-rate"} {
		if !strings.Contains(string(text), "(plots/"+name+".svg)") {
			t.Errorf("the report does not show %s", name)
		}
		for _, ext := range []string{".svg", ".png"} {
			if b, err := os.ReadFile(filepath.Join(dir, "plots", name+ext)); err != nil || len(b) < 500 {
				t.Errorf("%s%s: %d bytes (%v)", name, ext, len(b), err)
			}
		}
	}
}

// The client's histogram, in C, and the library's agree to a thousandth.
func TestDistribution(t *testing.T) {
	r := &loadReport{}
	for ns := int64(1000); ns <= 1_000_000; ns += 1000 {
		r.Latency = append(r.Latency, [2]int64{ns, 3})
	}
	l, err := r.distribution("x")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ got, want float64 }{{l.P50, 500}, {l.P90, 900}, {l.P99, 990}, {l.P999, 999}, {l.Max, 1000}, {l.Mean, 500.5}} {
		if math.Abs(c.got-c.want) > c.want/900 {
			t.Errorf("%v us, want %v: %+v", c.got, c.want, l)
		}
	}
	if l.Count != 3000 || len(l.Curve) != len(curve) {
		t.Errorf("%+v", l)
	}
	if l, err := (&loadReport{}).distribution("x"); l != nil || err != nil {
		t.Errorf("of nothing: %v (%v)", l, err)
	}
}

// What processes have used and where it went: those that ended are not counted
// twice.
func TestSpent(t *testing.T) {
	ms := time.Millisecond
	before := usage{at: 0, idle: 0, procs: []procStat{
		{pid: 10, parent: 1, group: 10, used: 100 * ms},                // the server
		{pid: 11, parent: 10, group: 10, used: 500 * ms},               // its child, which ends
		{pid: 20, parent: 1, group: 20, used: 5 * ms},                  // a daemon
		{pid: 30, parent: 1, group: 30, used: 50 * ms, children: 0},    // a stranger
		{pid: 31, parent: 30, group: 30, used: 9000 * ms, children: 0}, // its child, which ends
		{pid: 40, parent: kthreadd, used: 10 * ms},
	}}
	after := usage{at: int64(time.Second), idle: 0, procs: []procStat{
		{pid: 10, parent: 1, group: 10, used: 200 * ms, children: 520 * ms},
		{pid: 20, parent: 1, group: 20, used: 55 * ms},
		{pid: 30, parent: 1, group: 30, used: 60 * ms, children: 9010 * ms},
		{pid: 40, parent: kthreadd, used: 90 * ms},
		{pid: 50, parent: 1, group: 50, used: 70 * ms}, // the client, of which more is known
	}}
	s := after.since(before, groups{server: []int{10}, carriers: []int{20}}, 50, 80*ms)
	for name, c := range map[string]struct{ got, want float64 }{
		"server": {s.Server, 0.120}, "carriers": {s.Carriers, 0.050}, "client": {s.Client, 0.080}, "foreign": {s.Foreign, 0.020},
		"parts": {s.Server + s.Client + s.Carriers + s.Kernel + s.Harness + s.Foreign, s.Machine},
	} {
		if math.Abs(c.got-c.want) > 1e-9 {
			t.Errorf("%s: %v s, want %v", name, c.got, c.want)
		}
	}
}
