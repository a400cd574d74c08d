// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// profile takes one more sample of a workload over each system that carries the
// traffic in user space, with perf looking on, and leaves what took the time as
// text. The sample is not kept: perf costs time itself.
func (r *runner) profile(ctx context.Context, w *Workload, turns []*turn) error {
	for _, t := range turns {
		if t.err != nil || len(t.bed.Carriers) == 0 {
			continue
		}
		m := &Meter{bed: t.bed, profile: filepath.Join(r.site.Dir, "perf.data")}
		if err := r.measure(ctx, w, m); err != nil {
			return fmt.Errorf("profile %s over %s: %w", w.Name, t.name, err)
		}
		if m.perf == nil {
			continue // nothing was measured
		}
		var text strings.Builder
		for _, order := range [][]string{{"--no-children", "--percent-limit", "1"}, {"--children", "--percent-limit", "3"}} {
			argv := append([]string{"perf", "report", "-i", m.profile, "-g", "none", "--sort", "sym", "--stdio"}, order...)
			out, err := r.site.Output(ctx, "", argv...)
			if err != nil {
				return err
			}
			fmt.Fprintf(&text, "%s\n\n%s\n", strings.Join(argv[2:], " "), out)
		}
		name := w.Name + "-" + strings.NewReplacer("+", "-", "=", "-").Replace(t.name) + ".txt"
		if err := os.WriteFile(filepath.Join(r.Profile, name), []byte(text.String()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// startProfile has perf look at what carries the traffic.
func (m *Meter) startProfile() (err error) {
	if m.profile == "" {
		return nil
	}
	var threads []string
	for _, g := range m.groups().carriers {
		for _, tid := range threadsOf(g) {
			threads = append(threads, strconv.Itoa(tid))
		}
	}
	m.perf, err = m.bed.Start("perf", "", nil, "perf", "record", "-q", "-g", "-o", m.profile, "-t", strings.Join(threads, ","))
	return err
}

// stopProfile has perf write what it saw.
func (m *Meter) stopProfile() {
	if m.perf != nil {
		m.bed.forget(m.perf)
	}
}
