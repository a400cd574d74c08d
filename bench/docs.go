// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// What is between these lines of a page is a report's.
const (
	docsBegin = "<!-- figures: written by make bench-docs -->\n"
	docsEnd   = "<!-- end of figures -->\n"
)

// Document writes a results file into a page, between the lines that are there for
// it, and the plots that tell most into a directory beside it that has the page's
// name.
func Document(path, page string) error {
	res, err := Load(path)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(page)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInput, err)
	}
	before, rest, ok := strings.Cut(string(text), docsBegin)
	_, after, ended := strings.Cut(rest, docsEnd)
	if !ok || !ended {
		return fmt.Errorf("%w: %s: has no lines %q and %q, between which figures go", ErrInput, page, strings.TrimSpace(docsBegin), strings.TrimSpace(docsEnd))
	}
	dir := strings.TrimSuffix(page, filepath.Ext(page))
	for _, ext := range []string{".svg", ".png"} { // of an earlier run
		old, _ := filepath.Glob(filepath.Join(dir, "*"+ext))
		for _, name := range old {
			if err := os.Remove(name); err != nil {
				return err
			}
		}
	}
	plots, err := Plot(res, dir, telling)
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString(before + docsBegin + "\n")
	if err := Report(&b, res, plots); err != nil {
		return err
	}
	b.WriteString("\n" + docsEnd + after)
	return os.WriteFile(page, []byte(b.String()), 0o644)
}

// telling reports whether a picture belongs into a page: those of workloads that
// compare all systems, and what connections cost that are held.
func telling(workload, kind string) bool {
	w := workloads[workload]
	switch {
	case workload == overviewPlot:
		return true
	case w == nil:
		return false
	case workload == "held":
		return kind != "values" && kind != "latency"
	case kind == "latency":
		return slices.Contains([]string{"pingpong-1", "pingpong-64", "nginx-1k"}, workload)
	}
	return w.Form == Quick
}

// everyPlot is for who wants all of them.
func everyPlot(string, string) bool { return true }
