// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"math"
	"slices"
)

// Spread is several values of one thing.
type Spread struct {
	Least, Median, Most float64
	N                   int
}

func spread(v []float64) (s Spread) {
	if s.N = len(v); s.N == 0 {
		return s
	}
	v = slices.Sorted(slices.Values(v))
	s.Least, s.Most, s.Median = v[0], v[s.N-1], v[s.N/2]
	if s.N%2 == 0 {
		s.Median = (v[s.N/2-1] + v[s.N/2]) / 2
	}
	return s
}

// Row is one system in one workload: its samples that count, and what became of
// the others.
type Row struct {
	Workload, System string
	Unit, Per        string
	Less             bool
	Samples          []*Sample // those that count
	Value            Spread
	Ratio            Spread // to the baseline, round by round; N is 0 without
	CPU, CPURatio    Spread // of the machine per request, and its ratio
	Invalid          []string
	Failed           []string
	Marks            []string // of more than half of the samples
}

// summarise makes the rows, in the order of the samples.
func summarise(samples []*Sample) (rows []*Row) {
	for _, s := range samples {
		r := rowOf(rows, s.Workload, s.System)
		if r == nil {
			r = &Row{Workload: s.Workload, System: s.System, Unit: s.Unit, Per: s.Per, Less: s.Less}
			rows = append(rows, r)
		}
		switch {
		case s.Error != "":
			r.Failed = append(r.Failed, s.Error)
		case !s.OK():
			r.Invalid = append(r.Invalid, s.Path.Why...)
		default:
			r.Samples = append(r.Samples, s)
		}
	}
	for _, r := range rows {
		base := rowOf(rows, r.Workload, Baseline)
		var values, ratios, cpu, cpuRatios []float64
		marks := map[string]int{}
		for _, s := range r.Samples {
			values = append(values, s.Value)
			if s.CPU != nil {
				cpu = append(cpu, s.CPU.Machine)
			}
			for _, m := range s.Marks {
				marks[kindOf(m)]++
			}
			if base == nil || base == r {
				continue
			}
			b := base.round(s.Round)
			if b == nil {
				continue
			}
			if v := s.Value / b.Value; b.Value > 0 && !math.IsInf(v, 0) {
				ratios = append(ratios, v)
			}
			if s.CPU != nil && b.CPU != nil && b.CPU.Machine > 0 {
				cpuRatios = append(cpuRatios, s.CPU.Machine/b.CPU.Machine)
			}
		}
		r.Value, r.Ratio, r.CPU, r.CPURatio = spread(values), spread(ratios), spread(cpu), spread(cpuRatios)
		for m, n := range marks {
			if 2*n > len(r.Samples) {
				r.Marks = append(r.Marks, m)
			}
		}
		slices.Sort(r.Marks)
	}
	return rows
}

// rowOf returns a system's row in a workload, or nil.
func rowOf(rows []*Row, workload, system string) *Row {
	i := slices.IndexFunc(rows, func(r *Row) bool { return r.Workload == workload && r.System == system })
	if i < 0 {
		return nil
	}
	return rows[i]
}

// round returns the sample of a round, or nil.
func (r *Row) round(n int) *Sample {
	i := slices.IndexFunc(r.Samples, func(s *Sample) bool { return s.Round == n })
	if i < 0 {
		return nil
	}
	return r.Samples[i]
}

// kindOf is a mark without its figures.
func kindOf(mark string) string {
	for i, c := range mark {
		if c == ':' {
			return mark[:i]
		}
	}
	return mark
}

// median returns the median of what f gives of the samples that have it.
func (r *Row) median(f func(*Sample) (float64, bool)) (float64, bool) {
	var v []float64
	for _, s := range r.Samples {
		if x, ok := f(s); ok {
			v = append(v, x)
		}
	}
	return spread(v).Median, len(v) > 0
}

// latencyOf makes of a figure of a distribution one of a sample, cpuOf of one of
// the processor time: for median.
func latencyOf(f func(*Latency) float64) func(*Sample) (float64, bool) {
	return func(s *Sample) (float64, bool) {
		l := s.latency()
		if l == nil {
			return 0, false
		}
		return f(l), f(l) > 0
	}
}

func cpuOf(f func(*CPU) float64) func(*Sample) (float64, bool) {
	return func(s *Sample) (float64, bool) {
		if s.CPU == nil {
			return 0, false
		}
		return f(s.CPU), true
	}
}

// serverSide is the processor time without the client's, where that is known.
func (s *Sample) serverSide() (float64, bool) {
	if s.CPU == nil || s.CPU.ServerSide == nil {
		return 0, false
	}
	return *s.CPU.ServerSide, true
}

// latency is the distribution to compare: paced, if there is one.
func (s *Sample) latency() *Latency {
	if s.Paced != nil {
		return s.Paced
	}
	return s.Latency
}
