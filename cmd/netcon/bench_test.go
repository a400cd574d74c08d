// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"netcon/bench"
)

// results writes a results file in which our default reaches some values, in
// rounds, and the baseline always 100.
func results(t *testing.T, dir, name string, values ...float64) string {
	t.Helper()
	var b bytes.Buffer
	records := []bench.Record{{Facts: &bench.Facts{When: "then", Commit: name, Command: []string{"netcon", "bench"}, Rounds: len(values)}}}
	for i, v := range values {
		for _, s := range []bench.Sample{{System: bench.Baseline, Value: 100}, {System: bench.Default, Value: v}} {
			s.Workload, s.Round, s.Unit, s.Path = "pingpong-64", i, "requests/s", &bench.Path{Valid: true}
			records = append(records, bench.Record{Sample: &s})
		}
	}
	records = append(records, bench.Record{Profile: &bench.Profile{
		Workload: "pingpong-64", System: bench.Default, Samples: 100, Parts: []bench.Share{{Name: "TCP in gVisor", Percent: 100}},
	}})
	if err := bench.Write(&b, records...); err != nil {
		t.Fatal(err)
	}
	return write(t, filepath.Join(dir, name), b.String(), 0o644)
}

// A regression beyond noise ends with status 3; noise and improvements do not.
func TestBenchCompare(t *testing.T) {
	dir := t.TempDir()
	slow, fast := results(t, dir, "slow", 40, 41, 39), results(t, dir, "fast", 50, 51, 49)
	between := results(t, dir, "between", 45, 52, 44)
	for _, c := range []struct {
		a, b   string
		status int
		says   string
	}{{fast, slow, 3, "| **regression** |"}, {slow, fast, 0, "| improvement |"}, {fast, between, 0, "| noise |"}} {
		status, stdout, stderr := try("bench", "compare", c.a, c.b)
		if status != c.status || !strings.Contains(stdout, c.says) || stderr != "" {
			t.Errorf("%s to %s: status %d, want %d and %q:\n%s%s", c.a, c.b, status, c.status, c.says, stdout, stderr)
		}
	}
}

// A page gets the tables, plots and paragraphs of a results file between its
// lines, and as often as one likes; the rest stays.
func TestBenchDocs(t *testing.T) {
	dir := t.TempDir()
	file := results(t, dir, "r", 50, 51, 49)
	const begin, end = "<!-- figures: written by make bench-docs -->\n", "<!-- end of figures -->\n"
	page := write(t, filepath.Join(dir, "page.md"), "before\n"+begin+"old\n"+end+"after\n", 0o644)
	var first string
	for range 2 {
		if status, stdout, stderr := try("bench", "report", "-docs", page, file); status != 0 || stdout+stderr != "" {
			t.Fatalf("status %d: %s%s", status, stdout, stderr)
		}
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		for _, want := range []string{"### pingpong-64", "0.49 **0.50** 0.51", "100% TCP in gVisor", "(page/overview.svg)", "worse in every round `pingpong-64` (x 0.50)"} {
			if !strings.Contains(text, want) {
				t.Errorf("the page does not say %q:\n%s", want, text)
			}
		}
		if !strings.HasPrefix(text, "before\n"+begin) || !strings.HasSuffix(text, end+"after\n") || strings.Contains(text, "old") {
			t.Errorf("the page is not what it was around the figures:\n%s", text)
		}
		if first != "" && text != first {
			t.Error("the same file makes another page")
		}
		first = text
	}
	for _, name := range []string{"overview", "pingpong-64-values"} {
		for _, ext := range []string{"svg", "png"} {
			if _, err := os.Stat(fmt.Sprintf("%s/page/%s.%s", dir, name, ext)); err != nil {
				t.Error(err)
			}
		}
	}
	bare := write(t, filepath.Join(dir, "bare.md"), "text\n", 0o644)
	for _, missing := range []string{bare, filepath.Join(dir, "none.md")} {
		if status, _, stderr := try("bench", "report", "-docs", missing, file); status != 2 || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: status %d: %s", missing, status, stderr)
		}
	}
}
