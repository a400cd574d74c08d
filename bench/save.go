// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// The files of a run.
const (
	resultsFile = "results.json"
	reportFile  = "report.md"
	microFile   = "micro.txt" // for benchstat
)

// Save measures and leaves results, tables and plots in a directory, which it
// makes once everything that was asked for makes sense. What was measured until
// an interruption is kept.
func Save(ctx context.Context, o Options, dir string, out io.Writer) error {
	if _, err := o.plan(); err != nil {
		return err
	}
	start := time.Now()
	if err := os.MkdirAll(filepath.Join(dir, o.Profile), 0o755); err != nil {
		return err
	}
	if o.Profile != "" {
		o.Profile = filepath.Join(dir, o.Profile)
	}
	path := filepath.Join(dir, resultsFile)
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = Run(ctx, o, func(r Record) error { return Write(f, r) })
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := Render(path, dir, out); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "\nIn %s after %v: %s, %s and plots.\n", dir, time.Since(start).Round(time.Second), resultsFile, reportFile)
	return err
}

// Render makes the tables and plots of a results file, and prints the tables.
func Render(path, dir string, out io.Writer) error {
	res, err := Load(path)
	if err != nil {
		return err
	}
	plots, err := Plot(res, filepath.Join(dir, "plots"), everyPlot)
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, reportFile))
	if err != nil {
		return err
	}
	if err := errors.Join(Report(f, res, plots), f.Close()); err != nil {
		return err
	}
	var micro strings.Builder
	for _, s := range res.Samples {
		micro.WriteString(s.Text)
	}
	if micro.Len() > 0 {
		if err := os.WriteFile(filepath.Join(dir, microFile), []byte(micro.String()), 0o644); err != nil {
			return err
		}
	}
	return Report(out, res, nil)
}
