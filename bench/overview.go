// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// overviewPlot names the picture of all workloads.
const overviewPlot = "overview"

// rivals are what our default is put beside in words.
var rivals = []string{Baseline, "kernel-veth", "kernel-bridge", "userspace-tun", "pasta", "slirp4netns"}

// against returns, round by round, a system's values over a rival's: above 1 the
// system is better, also where less is better.
func against(rows []*Row, workload, system, rival string) Spread {
	var ratios []float64
	a, b := rowOf(rows, workload, system), rowOf(rows, workload, rival)
	if a == nil || b == nil {
		return Spread{}
	}
	for _, s := range a.Samples {
		other := b.round(s.Round)
		if other == nil || s.Value <= 0 || other.Value <= 0 {
			continue
		}
		ratio := s.Value / other.Value
		if a.Less {
			ratio = 1 / ratio
		}
		ratios = append(ratios, ratio)
	}
	return spread(ratios)
}

// workloadsOf returns the workloads of rows, in order.
func workloadsOf(rows []*Row) (names []string) {
	for _, r := range rows {
		if !slices.Contains(names, r.Workload) {
			names = append(names, r.Workload)
		}
	}
	return names
}

// overview writes our default beside the baseline in all workloads, and in words
// where it loses.
func overview(b *strings.Builder, rows []*Row, plots []string) {
	table := [][]string{{
		"workload", "unit", Baseline, Default, "ratio", "p99, us: " + Baseline, "p99, us: " + Default,
		"CPU us: " + Baseline, "CPU us: " + Default, "x", "server side: " + Baseline, "server side: " + Default,
	}}
	for _, name := range workloadsOf(rows) {
		base, ours := rowOf(rows, name, Baseline), rowOf(rows, name, Default)
		if base == nil || ours == nil || base.Value.N == 0 || ours.Value.N == 0 {
			continue
		}
		line := []string{name, ours.Unit, number(base.Value.Median), number(ours.Value.Median), ours.Ratio.ratio()}
		both := func(f func(*Sample) (float64, bool)) {
			line = append(line, numberOr(base.median(f)), numberOr(ours.median(f)))
		}
		both(latencyOf(func(l *Latency) float64 { return l.P99 }))
		both(cpuOf(func(c *CPU) float64 { return c.Machine }))
		line = append(line, nothing)
		if ours.CPURatio.N > 0 {
			line[len(line)-1] = fmt.Sprintf("%.2f", ours.CPURatio.Median)
		}
		both((*Sample).serverSide)
		table = append(table, line)
	}
	if len(table) == 1 {
		return
	}
	fmt.Fprintf(b, "\n### At a glance\n\n`%s`, our default, beside `%s`; processor time is the machine's, per request.\n\n", Default, Baseline)
	writeTable(b, table)
	for _, p := range plots {
		fmt.Fprintf(b, "\n![%s](%s)\n", overviewPlot, p)
	}
	b.WriteString("\n")
	for _, rival := range rivals {
		if line := verdicts(rows, rival); line != "" {
			fmt.Fprintf(b, "* %s\n", line)
		}
	}
}

// verdicts says in which workloads our default is worse than a rival in every
// round, better in every round, or neither.
func verdicts(rows []*Row, rival string) string {
	var worse, better, neither []string
	for _, name := range workloadsOf(rows) {
		r := against(rows, name, Default, rival)
		text := fmt.Sprintf("`%s` (x %.2f)", name, r.Median)
		switch {
		case r.N == 0:
		case r.Most < 1:
			worse = append(worse, text)
		case r.Least > 1:
			better = append(better, text)
		default:
			neither = append(neither, text)
		}
	}
	var list []string
	for _, v := range []struct {
		what  string
		names []string
	}{{"worse in every round", worse}, {"better in every round", better}, {"neither", neither}} {
		if len(v.names) > 0 {
			list = append(list, v.what+" "+strings.Join(v.names, ", "))
		}
	}
	if len(list) == 0 {
		return ""
	}
	return fmt.Sprintf("Against `%s`: %s.", rival, strings.Join(list, "; "))
}

// drawOverview draws every workload's ratios to the baseline, with ranges, on one
// logarithmic axis; nil: there are none.
func drawOverview(rows []*Row) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = "rate, x of " + Baseline
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Legend.Top, p.Legend.Left = true, true
	var labels, systems []string
	for _, r := range rows {
		if r.Ratio.N == 0 || r.Less || r.Ratio.Least <= 0 {
			continue
		}
		if !slices.Contains(labels, r.Workload) {
			labels = append(labels, r.Workload)
		}
		if !slices.Contains(systems, r.System) {
			systems = append(systems, r.System)
		}
	}
	if len(labels) == 0 {
		return nil, nil
	}
	slices.Reverse(labels) // the first on top
	for i, system := range systems {
		points := spreads{}
		for _, r := range rows {
			k := slices.Index(labels, r.Workload)
			if r.System != system || k < 0 || r.Ratio.N == 0 || r.Ratio.Least <= 0 {
				continue
			}
			y := float64(k) + 0.7*(0.5-(float64(i)+0.5)/float64(len(systems)))
			points.XYs = append(points.XYs, plotter.XY{X: r.Ratio.Median, Y: y})
			points.XErrors = append(points.XErrors, struct{ Low, High float64 }{r.Ratio.Median - r.Ratio.Least, r.Ratio.Most - r.Ratio.Median})
		}
		dots, err := plotter.NewScatter(points.XYs)
		if err != nil {
			return nil, err
		}
		whiskers, err := plotter.NewXErrorBars(points)
		if err != nil {
			return nil, err
		}
		dots.Color, dots.Shape, dots.Radius = plotutil.Color(i), plotutil.Shape(i), vg.Points(2.5)
		whiskers.Color, whiskers.CapWidth = plotutil.Color(i), vg.Points(2)
		p.Add(whiskers, dots)
		p.Legend.Add(system, dots)
	}
	one, err := plotter.NewLine(plotter.XYs{{X: 1, Y: -0.5}, {X: 1, Y: float64(len(labels)) - 0.5}})
	if err != nil {
		return nil, err
	}
	p.Add(one)
	for i := range labels {
		labels[i] = margin + labels[i]
	}
	p.NominalY(labels...)
	// The legend stands above the first.
	p.Y.Min, p.Y.Max = -0.5, float64(len(labels))-0.5+0.45*float64(len(systems))
	return p, nil
}
