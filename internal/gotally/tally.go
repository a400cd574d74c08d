// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// tally is what one lane of tests came to.
type tally struct {
	Ran     int      // passed and failed
	Failed  []string // names; packages that did not build included
	Skipped []string // names, with the reason if it is known
}

// verdict returns an error if the lane did not succeed.
func (t *tally) verdict() error {
	switch {
	case len(t.Failed) > 0:
		return fmt.Errorf("%d failed", len(t.Failed))
	case t.Ran+len(t.Skipped) == 0:
		return errors.New("no test was run")
	}
	return nil
}

func (t *tally) write(path string) error {
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// sum prints what failed and was skipped in all files, and the totals.
func sum(w io.Writer, files []string, root bool) error {
	var all tally
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var t tally
		if err := json.Unmarshal(text, &t); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		all.Ran += t.Ran
		all.Failed = append(all.Failed, t.Failed...)
		all.Skipped = append(all.Skipped, t.Skipped...)
	}
	for _, name := range all.Skipped {
		fmt.Fprintln(w, "skipped:", name)
	}
	for _, name := range all.Failed {
		fmt.Fprintln(w, "FAILED:", name)
	}
	fmt.Fprintf(w, "ran %d skipped %d\n", all.Ran, len(all.Skipped))
	if root && len(all.Skipped) > 0 && len(all.Failed) == 0 {
		return fmt.Errorf("%d skipped although running as root", len(all.Skipped))
	}
	return all.verdict()
}
