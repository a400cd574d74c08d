// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Report writes a results file as Markdown. plots names pictures to show by
// workload; nil: none.
func Report(w io.Writer, res *Results, plots map[string][]string) error {
	var b strings.Builder
	f := &res.Facts
	fmt.Fprintf(&b, "`%s`, %s, netcon %s, commit %s.\n", f.commandLine(), f.When, f.Version, orDash(f.Commit))
	fmt.Fprintf(&b, "Linux %s, %d x %s, %.1f GB; load average before: %s.\n", f.Kernel, f.CPUs, orDash(f.Machine), float64(f.MemoryKB)/1e6, f.Load)
	fmt.Fprintf(&b, "%d rounds, %.3g s a sample; %s form. Ratios to %s within a round: least / **median** / most.\n", f.Rounds, f.Seconds, f.Form, Baseline)
	rows := summarise(res.Samples)
	last := ""
	for _, r := range rows {
		if r.Workload != last {
			last = r.Workload
			heading(&b, r)
			for _, p := range plots[r.Workload] {
				fmt.Fprintf(&b, "![%s](%s)\n\n", r.Workload, p)
			}
			fmt.Fprintf(&b, "| system | %s | ratio | p50, us | p99 | p99.9 | max | CPU us per %s | server | daemons | kernel | calls server, daemon | path | notes |\n", r.Unit, orText(r.Per, "request"))
			b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
		}
		row(&b, r)
	}
	b.WriteString("\nProgram versions: ")
	var v []string
	for _, name := range slices.Sorted(maps.Keys(f.Programs)) {
		v = append(v, f.Programs[name])
	}
	fmt.Fprintf(&b, "%s.\n", strings.Join(v, "; "))
	_, err := io.WriteString(w, b.String())
	return err
}

func heading(b *strings.Builder, r *Row) {
	fmt.Fprintf(b, "\n### %s\n\n", r.Workload)
	if w := workloads[r.Workload]; w != nil {
		fmt.Fprintf(b, "What: %s.", w.About)
		if r.Less {
			b.WriteString(" Less is better.")
		}
		b.WriteString("\n\n")
	}
}

func row(b *strings.Builder, r *Row) {
	fmt.Fprintf(b, "| %s | ", r.System)
	if r.Value.N == 0 {
		why := append(slices.Clone(r.Failed), r.Invalid...)
		path := "-"
		if len(r.Invalid) > 0 {
			path = "**invalid**"
		}
		fmt.Fprintf(b, "- | - | - | - | - | - | - | - | - | - | - | %s | %s |\n", path, cell(why[0]))
		return
	}
	fmt.Fprintf(b, "%s (%s to %s) | ", number(r.Value.Median), number(r.Value.Least), number(r.Value.Most))
	if r.Ratio.N > 0 {
		fmt.Fprintf(b, "%.2f **%.2f** %.2f | ", r.Ratio.Least, r.Ratio.Median, r.Ratio.Most)
	} else {
		b.WriteString("- | ")
	}
	lat := func(f func(*Latency) float64) string {
		v, ok := r.median(func(s *Sample) (float64, bool) {
			l := s.latency()
			if l == nil {
				return 0, false
			}
			return f(l), f(l) > 0
		})
		return numberOr(v, ok)
	}
	fmt.Fprintf(b, "%s | %s | %s | %s | ",
		lat(func(l *Latency) float64 { return l.P50 }), lat(func(l *Latency) float64 { return l.P99 }),
		lat(func(l *Latency) float64 { return l.P999 }), lat(func(l *Latency) float64 { return l.Max }))
	cpu := func(f func(*CPU) float64) string {
		v, ok := r.median(func(s *Sample) (float64, bool) {
			if s.CPU == nil {
				return 0, false
			}
			return f(s.CPU), true
		})
		return numberOr(v, ok)
	}
	machine := cpu(func(c *CPU) float64 { return c.Machine })
	if r.CPURatio.N > 0 {
		machine += fmt.Sprintf(" (x %.2f)", r.CPURatio.Median)
	}
	fmt.Fprintf(b, "%s | %s | %s | %s | ", machine, cpu(func(c *CPU) float64 { return c.Server }),
		cpu(func(c *CPU) float64 { return c.Carriers }), cpu(func(c *CPU) float64 { return c.Kernel }))
	fmt.Fprintf(b, "%s | %s | %s |\n", r.calls(), r.path(), cell(strings.Join(r.notes(), "; ")))
}

func (r *Row) calls() string {
	get := func(f func(*Calls) float64) string {
		v, ok := r.median(func(s *Sample) (float64, bool) {
			if s.Calls == nil || s.Calls.Missing != "" {
				return 0, false
			}
			return f(s.Calls), true
		})
		return numberOr(v, ok)
	}
	return get(func(c *Calls) float64 { return c.Server }) + ", " + get(func(c *Calls) float64 { return c.Carriers })
}

// path says how many samples were proved.
func (r *Row) path() string {
	switch {
	case len(r.Invalid) > 0:
		return fmt.Sprintf("%d proved, others **invalid**", len(r.Samples))
	case r.Samples[0].Path == nil:
		return "-"
	}
	return "proved"
}

// notes is what else has to be known of a row.
func (r *Row) notes() []string {
	notes := slices.Clone(r.Marks)
	if len(r.Failed) > 0 {
		notes = append(notes, fmt.Sprintf("%d samples failed: %s", len(r.Failed), r.Failed[0]))
	}
	if len(r.Invalid) > 0 {
		notes = append(notes, r.Invalid[0])
	}
	if v, ok := r.median(func(s *Sample) (float64, bool) {
		if s.CPU == nil || s.CPU.ServerSide == nil {
			return 0, false
		}
		return *s.CPU.ServerSide, true
	}); ok {
		notes = append(notes, "server side "+number(v)+" us")
	}
	if v, ok := r.median(func(s *Sample) (float64, bool) { return float64(s.Errors), s.Errors > 0 }); ok {
		notes = append(notes, number(v)+" errors")
	}
	keys := map[string]bool{}
	for _, s := range r.Samples {
		for k := range s.Extra {
			keys[k] = true
		}
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		v, _ := r.median(func(s *Sample) (float64, bool) { x, ok := s.Extra[k]; return x, ok })
		notes = append(notes, k+" "+number(v))
	}
	return notes
}

// number writes three or four digits that matter.
func number(v float64) string {
	switch a := max(v, -v); {
	case a == 0:
		return "0"
	case a >= 1e6:
		return fmt.Sprintf("%.2fM", v/1e6)
	case a >= 1e4:
		return fmt.Sprintf("%.1fk", v/1e3)
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func numberOr(v float64, ok bool) string {
	if !ok {
		return "-"
	}
	return number(v)
}

func orDash(s string) string { return orText(s, "-") }

func orText(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// cell is text in a table.
func cell(s string) string {
	return strings.NewReplacer("|", "/", "\n", " ").Replace(s)
}
