// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// Sizes of pictures.
const (
	plotWidth  = 16 * vg.Centimeter
	plotHeight = 9 * vg.Centimeter
)

// Plot draws those pictures of a results file that are wanted into a directory,
// as SVG and PNG, and returns the names of the SVGs by workload, as seen from the
// directory above.
func Plot(res *Results, dir string, wanted func(workload, kind string) bool) (map[string][]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	byWorkload := map[string][]*Row{}
	var order []string
	rows := summarise(res.Samples)
	for _, r := range rows {
		if byWorkload[r.Workload] == nil {
			order = append(order, r.Workload)
		}
		byWorkload[r.Workload] = append(byWorkload[r.Workload], r)
	}
	plots := map[string][]string{}
	save := func(p *plot.Plot, workload, file string, height vg.Length) error {
		for _, ext := range []string{".svg", ".png"} {
			if err := p.Save(plotWidth, height, filepath.Join(dir, file+ext)); err != nil {
				return err
			}
		}
		plots[workload] = append(plots[workload], filepath.Join(filepath.Base(dir), file+".svg"))
		return nil
	}
	all, err := drawOverview(rows)
	if err != nil {
		return nil, fmt.Errorf("draw the overview: %w", err)
	}
	if all != nil && wanted(overviewPlot, "") {
		if err := save(all, overviewPlot, overviewPlot, 2*plotHeight); err != nil {
			return nil, err
		}
	}
	for _, name := range order {
		rows := slices.DeleteFunc(byWorkload[name], func(r *Row) bool { return r.Value.N == 0 })
		if len(rows) == 0 {
			continue
		}
		for _, draw := range []struct {
			kind string
			make func(string, []*Row) (*plot.Plot, error)
		}{{"values", bars}, {"latency", distributions}, {"memory", heldMemory}, {"rate", heldRate}} {
			if !wanted(name, draw.kind) {
				continue
			}
			p, err := draw.make(name, rows)
			if err != nil {
				return nil, fmt.Errorf("draw %s of %s: %w", draw.kind, name, err)
			}
			if p == nil {
				continue
			}
			if err := save(p, name, name+"-"+draw.kind, plotHeight); err != nil {
				return nil, err
			}
		}
	}
	return plots, nil
}

// margin is before the names on an axis, whose width is underestimated.
const margin = "  "

// bars draws a workload's medians with their ranges.
func bars(name string, rows []*Row) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = name
	p.X.Label.Text = rows[0].Unit
	p.X.Min, p.X.Tick.Marker = 0, plain{}
	values := make(plotter.Values, len(rows))
	names := make([]string, len(rows))
	ranges := spreads{}
	for i, r := range rows {
		k := len(rows) - 1 - i // the first on top
		values[k], names[k] = r.Value.Median, margin+r.System
		ranges.XYs = append(ranges.XYs, plotter.XY{X: r.Value.Median, Y: float64(k)})
		ranges.XErrors = append(ranges.XErrors, struct{ Low, High float64 }{r.Value.Median - r.Value.Least, r.Value.Most - r.Value.Median})
	}
	chart, err := plotter.NewBarChart(values, vg.Points(14))
	if err != nil {
		return nil, err
	}
	chart.Horizontal, chart.Color, chart.LineStyle.Width = true, plotutil.SoftColors[2], 0
	whiskers, err := plotter.NewXErrorBars(ranges)
	if err != nil {
		return nil, err
	}
	p.Add(chart, whiskers)
	p.NominalY(names...)
	p.X.Max *= 1.05
	p.Y.Min, p.Y.Max = -0.5, float64(len(rows))-0.5
	return p, nil
}

// spreads are points with ranges.
type spreads struct {
	plotter.XYs
	plotter.XErrors
}

// distributions draws the latency over how rare it is.
func distributions(name string, rows []*Row) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = name
	p.X.Label.Text, p.Y.Label.Text = "percentile", "latency, us"
	p.X.Tick.Marker, p.Y.Scale, p.Y.Tick.Marker = rarity{}, plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Legend.Top, p.Legend.Left = true, true
	drawn := 0
	for i, r := range rows {
		var xy plotter.XYs
		for k, percentile := range curve {
			v, ok := r.median(func(s *Sample) (float64, bool) {
				l := s.latency()
				if l == nil || len(l.Curve) <= k {
					return 0, false
				}
				return l.Curve[k][1], l.Curve[k][1] > 0
			})
			if ok {
				xy = append(xy, plotter.XY{X: nines(percentile), Y: v})
			}
		}
		if len(xy) == 0 {
			continue
		}
		line, err := plotter.NewLine(xy)
		if err != nil {
			return nil, err
		}
		line.Color, line.Dashes = plotutil.Color(i), plotutil.Dashes(i/7)
		p.Add(line)
		p.Legend.Add(r.System, line)
		drawn++
		if l := r.Samples[0].latency(); l != nil {
			p.Title.Text = name + ", " + l.How
		}
	}
	if drawn == 0 {
		return nil, nil
	}
	return p, nil
}

// nines is where a percentile stands on the axis: each nine is as wide.
func nines(percentile float64) float64 { return -math.Log10(1 - percentile/100) }

// plain labels an axis with whole figures where there are some.
type plain struct{}

func (plain) Ticks(least, most float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(least, most)
	for i := range ticks {
		if !ticks[i].IsMinor() {
			ticks[i].Label = strconv.FormatFloat(ticks[i].Value, 'f', -1, 64)
		}
	}
	return ticks
}

type rarity struct{}

func (rarity) Ticks(_, _ float64) (t []plot.Tick) {
	for _, p := range []float64{1, 50, 90, 99, 99.9, 99.99} {
		t = append(t, plot.Tick{Value: nines(p), Label: strconv.FormatFloat(p, 'f', -1, 64)})
	}
	return t
}

// heldMemory draws memory per connection over the connections that were held.
func heldMemory(name string, rows []*Row) (*plot.Plot, error) {
	return held(name, "bytes per connection", rows, func(h *Held) float64 { return h.Server + h.Shared + h.Carriers + h.Slab })
}

// heldRate draws what busy connections get done over the connections that were
// held meanwhile.
func heldRate(name string, rows []*Row) (*plot.Plot, error) {
	return held(name, fmt.Sprintf("requests/s of %d busy connections", activeConnections), rows, func(h *Held) float64 { return h.Rate })
}

// held draws a figure over the connections that were held, its median with its
// range.
func held(name, label string, rows []*Row, figure func(*Held) float64) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = name
	p.X.Label.Text, p.Y.Label.Text = "connections held", label
	p.X.Tick.Marker, p.Y.Tick.Marker = plain{}, plain{}
	p.Y.Min, p.Legend.Top = 0, true
	drawn := 0
	for i, r := range rows {
		points := map[int][]float64{}
		for _, s := range r.Samples {
			for _, h := range s.HeldCurve {
				points[h.Connections] = append(points[h.Connections], figure(h))
			}
		}
		var xy spreadsUp
		for _, c := range slices.Sorted(maps.Keys(points)) {
			v := spread(points[c])
			xy.XYs = append(xy.XYs, plotter.XY{X: float64(c), Y: v.Median})
			xy.YErrors = append(xy.YErrors, struct{ Low, High float64 }{v.Median - v.Least, v.Most - v.Median})
		}
		if len(xy.XYs) == 0 {
			continue
		}
		line, dots, err := plotter.NewLinePoints(xy.XYs)
		if err != nil {
			return nil, err
		}
		whiskers, err := plotter.NewYErrorBars(xy)
		if err != nil {
			return nil, err
		}
		line.Color, dots.Color, whiskers.Color = plotutil.Color(i), plotutil.Color(i), plotutil.Color(i)
		p.Add(line, dots, whiskers)
		p.Legend.Add(r.System, line, dots)
		drawn++
	}
	if drawn == 0 {
		return nil, nil
	}
	p.Y.Max *= 1.25 // the legend stands there
	return p, nil
}

// spreadsUp are points with ranges upwards and downwards.
type spreadsUp struct {
	plotter.XYs
	plotter.YErrors
}
