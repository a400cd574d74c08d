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
	overview(&b, rows, plots[overviewPlot])
	for len(rows) > 0 {
		n := slices.IndexFunc(rows, func(r *Row) bool { return r.Workload != rows[0].Workload })
		if n < 0 {
			n = len(rows)
		}
		section(&b, rows[:n], plots[rows[0].Workload], res.Profiles)
		rows = rows[n:]
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

// section writes one workload.
func section(b *strings.Builder, rows []*Row, plots []string, profiles []*Profile) {
	fmt.Fprintf(b, "\n### %s\n\n", rows[0].Workload)
	if w := workloads[rows[0].Workload]; w != nil {
		fmt.Fprintf(b, "What: %s.", w.About)
		if w.Less {
			b.WriteString(" Less is better.")
		}
		b.WriteString("\n\n")
	}
	for _, p := range plots {
		fmt.Fprintf(b, "![%s](%s)\n\n", rows[0].Workload, p)
	}
	table := [][]string{{
		"system", rows[0].Unit, "ratio", "p50, us", "p90", "p99", "p99.9", "max", "CPU us per " + orText(rows[0].Per, "request"),
		"server", "daemons", "kernel", "server side", "calls: server", "calls: daemons", "path", "notes",
	}}
	for _, r := range rows {
		table = append(table, r.cells())
	}
	writeTable(b, table)
	for _, r := range rows {
		if r.listsFigures() {
			fmt.Fprintf(b, "\n| benchmark | %s |\n|---|---|\n%s\n", r.Unit, strings.Join(r.figures("| %s | %s |"), "\n"))
		}
	}
	for _, p := range profiles {
		if p.Workload == rows[0].Workload {
			fmt.Fprintf(b, "\n%s\n", p.paragraph(rowOf(rows, p.Workload, p.System)))
		}
	}
}

// nothing is in cells without a value.
const nothing = "-"

// writeTable writes a table without the columns that have no values.
func writeTable(b *strings.Builder, table [][]string) {
	kept := func(line []string) (list []string) {
		for k, text := range line {
			if slices.ContainsFunc(table[1:], func(l []string) bool { return l[k] != nothing }) {
				list = append(list, cell(text))
			}
		}
		return list
	}
	for i, line := range table {
		line = kept(line)
		fmt.Fprintf(b, "| %s |\n", strings.Join(line, " | "))
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(line)) + "|\n")
		}
	}
}

// cells are a row of the table.
func (r *Row) cells() []string {
	if r.Value.N == 0 {
		line := append([]string{r.System}, slices.Repeat([]string{nothing}, 14)...)
		path, why := nothing, slices.Concat(r.Failed, r.Invalid)
		if len(r.Invalid) > 0 {
			path = "**invalid**"
		}
		return append(line, path, why[0])
	}
	line := []string{r.System, r.Value.text(), r.Ratio.ratio()}
	add := func(f func(*Sample) (float64, bool)) { line = append(line, numberOr(r.median(f))) }
	for _, f := range []func(*Latency) float64{
		func(l *Latency) float64 { return l.P50 }, func(l *Latency) float64 { return l.P90 }, func(l *Latency) float64 { return l.P99 },
		func(l *Latency) float64 { return l.P999 }, func(l *Latency) float64 { return l.Max },
	} {
		add(latencyOf(f))
	}
	for _, f := range []func(*CPU) float64{
		func(c *CPU) float64 { return c.Machine }, func(c *CPU) float64 { return c.Server },
		func(c *CPU) float64 { return c.Carriers }, func(c *CPU) float64 { return c.Kernel },
	} {
		add(cpuOf(f))
	}
	if r.CPURatio.N > 0 {
		line[8] += fmt.Sprintf(" (x %.2f)", r.CPURatio.Median)
	}
	add((*Sample).serverSide)
	for _, f := range []func(*Calls) float64{func(c *Calls) float64 { return c.Server }, func(c *Calls) float64 { return c.Carriers }} {
		add(func(s *Sample) (float64, bool) {
			if s.Calls == nil || s.Calls.Missing != "" {
				return 0, false
			}
			return f(s.Calls), true
		})
	}
	return append(line, r.path(), orText(strings.Join(r.notes(), "; "), nothing))
}

// path says how many samples were proved.
func (r *Row) path() string {
	switch {
	case len(r.Invalid) > 0:
		return fmt.Sprintf("%d proved, others **invalid**", len(r.Samples))
	case r.Samples[0].Path == nil:
		return nothing
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
	if s := r.Samples[0]; s.Calls != nil && s.Calls.Missing != "" {
		notes = append(notes, s.Calls.Missing)
	}
	if v, ok := r.median(func(s *Sample) (float64, bool) { return float64(s.Errors), s.Errors > 0 }); ok {
		notes = append(notes, number(v)+" errors")
	}
	if !r.listsFigures() {
		notes = append(notes, r.figures("%s %s")...)
	}
	return notes
}

// figures are what a workload adds, each as format wants it.
func (r *Row) figures(format string) (list []string) {
	keys := map[string]bool{}
	for _, s := range r.Samples {
		for k := range s.Extra {
			keys[k] = true
		}
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		v, _ := r.median(func(s *Sample) (float64, bool) { x, ok := s.Extra[k]; return x, ok })
		list = append(list, fmt.Sprintf(format, k, number(v)))
	}
	return list
}

// listsFigures reports whether there are too many of them for a note.
func (r *Row) listsFigures() bool { return len(r.Samples) > 0 && r.Samples[0].Text != "" }

// ratio is how a spread of ratios is written.
func (s Spread) ratio() string {
	if s.N == 0 {
		return nothing
	}
	return fmt.Sprintf("%.2f **%.2f** %.2f", s.Least, s.Median, s.Most)
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
		return nothing
	}
	return number(v)
}

func orDash(s string) string { return orText(s, nothing) }

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
