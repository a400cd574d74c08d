// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// floor is the change below which nothing is a regression, however quiet the
// machine was.
const floor = 0.05

// Compare writes what changed from one results file to another, and reports
// whether anything got worse beyond noise: the median by 5% or more, and all of
// the later file's rounds worse than all of the earlier's. Ratios to the baseline
// are compared where there are any, because they do not know how fast the machine
// was on the day.
func Compare(w io.Writer, pathA, pathB string) (worse bool, err error) {
	a, err := Load(pathA)
	if err != nil {
		return false, err
	}
	b, err := Load(pathB)
	if err != nil {
		return false, err
	}
	var out strings.Builder
	fmt.Fprintf(&out, "A: %s, commit %s\nB: %s, commit %s\n\n", a.Facts.When, orDash(a.Facts.Commit), b.Facts.When, orDash(b.Facts.Commit))
	out.WriteString("| workload | system | what | A | B | change | verdict |\n|---|---|---|---|---|---|---|\n")
	before := summarise(a.Samples)
	for _, y := range summarise(b.Samples) {
		i := slices.IndexFunc(before, func(x *Row) bool { return x.Workload == y.Workload && x.System == y.System })
		if i < 0 {
			continue
		}
		for _, c := range changes(before[i], y) {
			worse = worse || c.verdict == regression
			fmt.Fprintf(&out, "| %s | %s | %s | %s | %s | %s | %s |\n", y.Workload, y.System, c.what,
				c.a.text(), c.b.text(), c.text(), c.verdict)
		}
	}
	_, err = io.WriteString(w, out.String())
	return worse, err
}

// change is what became of one figure.
type change struct {
	what    string
	a, b    Spread
	less    bool // is better
	verdict string
}

// Verdicts.
const (
	regression  = "**regression**"
	improvement = "improvement"
	noise       = "noise"
)

func changes(x, y *Row) (list []change) {
	add := func(what string, a, b Spread, less bool) {
		if a.N == 0 && b.N == 0 {
			return
		}
		c := change{what: what, a: a, b: b, less: less}
		c.verdict = c.judge()
		list = append(list, c)
	}
	switch {
	case y.Value.N == 0 && x.Value.N > 0:
		return []change{{what: x.Unit + ", no longer measured", a: x.Value, verdict: regression}}
	case x.Ratio.N > 0 && y.Ratio.N > 0:
		add("ratio to "+Baseline, x.Ratio, y.Ratio, y.Less)
	case y.System == Baseline:
		return nil // what others are compared with
	default:
		add(y.Unit, x.Value, y.Value, y.Less)
	}
	if x.CPURatio.N > 0 && y.CPURatio.N > 0 {
		add("CPU per "+orText(y.Per, "request")+", ratio", x.CPURatio, y.CPURatio, true)
	}
	return list
}

func (c change) judge() string {
	if c.a.N == 0 || c.a.Median == 0 || c.b.N == 0 {
		return noise
	}
	change := c.b.Median/c.a.Median - 1
	if c.less {
		change = -change
	}
	apartWorse, apartBetter := c.b.Most < c.a.Least, c.b.Least > c.a.Most
	if c.less {
		apartWorse, apartBetter = apartBetter, apartWorse
	}
	switch {
	case change <= -floor && apartWorse:
		return regression
	case change >= floor && apartBetter:
		return improvement
	}
	return noise
}

func (c change) text() string {
	if c.a.Median == 0 || c.b.N == 0 {
		return nothing
	}
	return fmt.Sprintf("%+.1f%%", 100*(c.b.Median/c.a.Median-1))
}

func (s Spread) text() string {
	if s.N == 0 {
		return nothing
	}
	return fmt.Sprintf("%s (%s to %s)", number(s.Median), number(s.Least), number(s.Most))
}
