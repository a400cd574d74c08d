// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Profile is where what carries the traffic spent its time in one sample.
type Profile struct {
	Workload string  `json:"workload"`
	System   string  `json:"system"`
	Samples  int     `json:"samples"`
	Parts    []Share `json:"parts,omitempty"`   // together all of it, the largest first
	Symbols  []Share `json:"symbols,omitempty"` // functions without what they call
	Callers  []Share `json:"callers,omitempty"` // and with it
	Error    string  `json:"error,omitempty"`
}

// Share is a part of a profile.
type Share struct {
	Name    string  `json:"name"`
	Percent float64 `json:"percent"`
}

// profileHertz is how often perf looks, on each processor. Where the machine has
// no counters, it is a timer that looks, and sees code with interrupts disabled
// only where they are enabled again.
const profileHertz = "1999"

// profile takes one more sample of a workload with perf looking at what carries
// the traffic: over our default, or over each system that was asked for by name.
// The sample's value is not kept: perf costs time itself.
func (r *runner) profile(ctx context.Context, w *Workload, turns []*turn) error {
	for _, t := range turns {
		if t.err != nil || t.bed == nil || len(t.bed.Carriers) == 0 || len(r.Systems) == 0 && t.name != Default {
			continue
		}
		r.progress.step(w, "profile of "+t.name)
		p, err := r.profileOne(ctx, w, t)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			p = &Profile{Error: err.Error()}
		}
		if p == nil {
			continue // nothing was measured
		}
		p.Workload, p.System = w.Name, t.name
		name := w.Name + "-" + strings.NewReplacer("+", "-", "=", "-").Replace(t.name) + ".txt"
		if err := os.WriteFile(filepath.Join(r.Profile, name), []byte(p.text()), 0o644); err != nil {
			return err
		}
		if err := r.keep(Record{Profile: p}); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) profileOne(ctx context.Context, w *Workload, t *turn) (*Profile, error) {
	m := &Meter{bed: t.bed, profile: filepath.Join(r.site.Dir, "perf.data")}
	if err := r.measure(ctx, w, m); err != nil || m.perf == nil {
		return nil, err
	}
	// Inlined functions would be looked up one by one.
	text, err := r.site.Output(ctx, "", "perf", "script", "--no-inline", "-i", m.profile, "-F", "ip,sym")
	if err != nil {
		return nil, err
	}
	return parseProfile(text)
}

// perfPatience is how long perf may take to begin, and to write what it saw.
const perfPatience = 30 * time.Second

// startProfile has perf look at what carries the traffic, and waits until it does.
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
	ends := [2]*os.File{} // where perf is told, and tells
	for i, suffix := range []string{".control", ".ack"} {
		path := m.profile + suffix
		if err := unix.Mkfifo(path, 0o600); err != nil && err != unix.EEXIST {
			return fmt.Errorf("make %s: %w", path, err)
		}
		if ends[i], err = os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0); err != nil {
			return err
		}
		defer func() { _ = ends[i].Close() }()
	}
	control := "fifo:" + ends[0].Name() + "," + ends[1].Name()
	m.perf, err = m.bed.Start("perf", "", nil, "perf", "record", "-q", "-g", "-F", profileHertz, "-o", m.profile,
		"--delay", "-1", "--control", control, "-t", strings.Join(threads, ","))
	if err != nil {
		return err
	}
	if _, err := ends[0].WriteString("enable\n"); err != nil {
		return err
	}
	if err := ends[1].SetReadDeadline(time.Now().Add(perfPatience)); err != nil {
		return err
	}
	if _, err := ends[1].Read(make([]byte, len("ack\n")+1)); err != nil {
		return fmt.Errorf("perf does not begin: %w: %s", err, lastLine(m.perf.Text()))
	}
	return nil
}

// stopProfile has perf write what it saw.
func (m *Meter) stopProfile() {
	if m.perf == nil {
		return
	}
	m.perf.kill(unix.SIGINT)
	select {
	case <-m.perf.done:
	case <-time.After(perfPatience):
	}
	m.bed.forget(m.perf)
}

// nameless is what perf calls functions without a name, and mostNameless how many
// percent of a profile may be in them.
const (
	nameless     = "[unknown]"
	mostNameless = 20
)

// mostSymbols bounds what is kept of a profile's functions.
const mostSymbols = 25

// parseProfile reads what perf script prints: stacks with an empty line between
// them, innermost first, each line an address and a name.
func parseProfile(text string) (*Profile, error) {
	p := &Profile{}
	parts, symbols, callers := map[string]int{}, map[string]int{}, map[string]int{}
	for block := range strings.SplitSeq(text, "\n\n") {
		var stack []string
		for line := range strings.Lines(block) {
			if _, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
				stack = append(stack, strings.TrimSpace(name))
			}
		}
		if len(stack) == 0 {
			continue
		}
		p.Samples++
		parts[partOf(stack).name]++
		symbols[stack[0]]++
		slices.Sort(stack)
		for _, name := range slices.Compact(stack) {
			callers[name]++
		}
	}
	if p.Samples == 0 {
		return nil, fmt.Errorf("perf saw it use no processor time")
	}
	if n := 100 * symbols[nameless] / p.Samples; n > mostNameless {
		return nil, fmt.Errorf("perf has no names for %d%% of it (was the program built again meanwhile?)", n)
	}
	p.Parts, p.Symbols, p.Callers = shares(parts, p.Samples), shares(symbols, p.Samples), shares(callers, p.Samples)
	p.Symbols = p.Symbols[:min(mostSymbols, len(p.Symbols))]
	p.Callers = p.Callers[:min(mostSymbols, len(p.Callers))]
	return p, nil
}

// shares makes percents of counts, the most first.
func shares(counts map[string]int, all int) (list []Share) {
	for name, n := range counts {
		list = append(list, Share{name, 100 * float64(n) / float64(all)})
	}
	slices.SortFunc(list, func(a, b Share) int {
		if a.Percent != b.Percent {
			return int(b.Percent*1e6 - a.Percent*1e6)
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list
}

// text is a profile to read.
func (p *Profile) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s over %s, %d samples of what carries the traffic\n", p.Workload, p.System, p.Samples)
	if p.Error != "" {
		fmt.Fprintf(&b, "\n%s\n", p.Error)
	}
	for _, list := range []struct {
		title  string
		shares []Share
	}{{"by part", p.Parts}, {"by function, without what it calls", p.Symbols}, {"by function, with what it calls", p.Callers}} {
		fmt.Fprintf(&b, "\n%s\n", list.title)
		for _, s := range list.shares {
			fmt.Fprintf(&b, "  %5.1f%%  %s\n", s.Percent, s.Name)
		}
	}
	return b.String()
}
