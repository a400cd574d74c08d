// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Options are what is asked for.
type Options struct {
	Tools
	Version   string
	Form      Form
	Rounds    int           // how often every system has its turn
	Time      time.Duration // of a sample
	Systems   []string      // instead of those that a workload compares
	Workloads []string      // names, or their beginnings; instead of the form's
	Profile   string        // a directory for what perf sees of daemons; "": it does not look
	Progress  io.Writer     // nil: none
}

// plan is one workload with the systems that it compares.
type plan struct {
	*Workload
	systems []System
}

// choose returns what is asked for.
func (o *Options) choose() ([]plan, error) {
	list, err := pickWorkloads(o.Workloads, o.Form)
	if err != nil {
		return nil, err
	}
	switch {
	case o.Rounds < 1 || o.Rounds > 1000:
		return nil, fmt.Errorf("%w: %d rounds: out of range (1 to 1000)", ErrInput, o.Rounds)
	case o.Time < 100*time.Millisecond || o.Time > 10*time.Minute:
		return nil, fmt.Errorf("%w: samples of %v: out of range (100ms to 10m)", ErrInput, o.Time)
	}
	checked := map[string]System{}
	var plans []plan
	for _, w := range list {
		p := plan{Workload: w}
		for _, name := range o.compared(w) {
			if checked[name] == nil {
				if checked[name], err = ParseSystem(name); err != nil {
					return nil, err
				}
			}
			p.systems = append(p.systems, checked[name])
		}
		plans = append(plans, p)
	}
	return plans, nil
}

// plan checks everything that can be checked before anything is made.
func (o *Options) plan() ([]plan, error) {
	plans, err := o.choose()
	if err != nil {
		return nil, err
	}
	checked := map[string]bool{}
	for _, p := range plans {
		for _, s := range p.systems {
			if !checked[s.Name()] {
				if err := s.Check(o.Tools); err != nil {
					return nil, err
				}
				checked[s.Name()] = true
			}
		}
		if err := need("workload "+p.Name, p.Programs...); err != nil {
			return nil, err
		}
	}
	if o.Profile != "" {
		if err := need("-profile", "perf"); err != nil {
			return nil, err
		}
	}
	if os.Geteuid() != 0 || !hasNetAdmin() {
		return nil, fmt.Errorf("%w: network namespaces take root with CAP_SYS_ADMIN and CAP_NET_ADMIN (uid is %d)", ErrInput, os.Geteuid())
	}
	for _, f := range []string{o.Exe, o.Shim, filepath.Join(o.Dir, "echod"), filepath.Join(o.Dir, "echoload"), filepath.Join(o.Dir, "faultwire")} {
		if _, err := os.Stat(f); err != nil {
			return nil, fmt.Errorf("%w: %s is missing (make build bench-tools)", ErrInput, f)
		}
	}
	return plans, need("the harness", "ip", "ethtool")
}

// compared returns the names of the systems that a workload compares, the
// baseline first.
func (o *Options) compared(w *Workload) []string {
	if len(w.Systems) == 1 && w.Systems[0] == alone {
		return []string{alone}
	}
	if len(o.Systems) > 0 {
		return o.Systems
	}
	names := []string{Baseline, Default}
	if o.Form == Quick {
		return names
	}
	list := w.Systems
	if o.Form == All {
		list = slices.Concat(list, w.More)
	}
	for _, n := range list {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// hasNetAdmin reports whether we may make namespaces and devices.
func hasNetAdmin() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return false
	}
	const want = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_SYS_ADMIN
	return data[0].Effective&want == want
}

// Run measures, and gives every record to keep as soon as there is one. It
// removes what it made before it returns, also when the context ends.
func Run(ctx context.Context, o Options, keep func(Record) error) (err error) {
	plans, err := o.plan()
	if err != nil {
		return err
	}
	facts := readFacts(&o)
	if err := keep(Record{Facts: &facts}); err != nil {
		return err
	}
	site, err := NewSite(o.Tools)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, site.Close()) }()
	r := &runner{Options: o, site: site, keep: keep, up: map[string]*Pair{}, progress: newProgress(o.Progress, plans, &o)}
	defer r.progress.end()
	for _, p := range plans {
		if err := r.workload(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

type runner struct {
	Options
	site     *Site
	keep     func(Record) error
	up       map[string]*Pair // by name of the system and faults
	progress *progress
}

// turn is one system within a workload.
type turn struct {
	system System
	name   string
	bed    *Bed
	fails  int
	err    error // it takes part no more
}

// mostFails is how often a system may fail in a workload before it takes part no
// more: what hangs takes half a minute each time.
const mostFails = 2

// workload runs one workload: all systems up, a server on each, rounds.
func (r *runner) workload(ctx context.Context, p plan) error {
	var turns []*turn
	for _, s := range p.systems {
		t := &turn{system: s, name: s.Name()}
		turns = append(turns, t)
		if err := r.raise(ctx, p, t); err != nil {
			t.err = err
			s := &Sample{Workload: p.Name, System: t.name, Unit: p.Unit, Less: p.Less, Per: p.Per, Error: err.Error()}
			if err := r.keep(Record{Sample: s}); err != nil {
				return err
			}
		}
	}
	defer func() {
		for _, t := range turns {
			r.lower(p, t)
		}
	}()
	var share float64
	if r.calibrations(p.Workload) > 0 {
		var err error
		if share, err = r.clientShare(ctx, p); ctx.Err() != nil {
			return context.Cause(ctx)
		} else if err != nil {
			r.progress.say(fmt.Sprintf("%s: the client is not calibrated: %v", p.Name, err))
		}
	}
	for round := range r.Rounds {
		var samples []*Sample
		for _, t := range turns {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			r.progress.step(p.Workload, t.name)
			if t.err != nil {
				continue
			}
			samples = append(samples, r.sample(ctx, p, t, round))
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx) // what failed for that says nothing
		}
		calibrate(share, samples, turns)
		for _, s := range samples {
			if err := r.keep(Record{Sample: s}); err != nil {
				return err
			}
		}
	}
	if r.Profile != "" {
		return r.profile(ctx, p.Workload, turns)
	}
	return nil
}

// raise brings up a turn's system with a server on it.
func (r *runner) raise(ctx context.Context, p plan, t *turn) (err error) {
	var pair *Pair
	if link := (Link{Faults: p.Faults}); p.Fresh {
		pair, err = t.system.Up(ctx, r.site, link)
	} else {
		pair, err = r.pair(ctx, t.system, link)
	}
	if err != nil {
		return err
	}
	t.bed = &Bed{Site: r.site, Pair: pair, Scratch: map[string]float64{}}
	if p.Serve == nil {
		return nil
	}
	return p.Serve(ctx, t.bed)
}

// lower ends a turn's server, and the system if it was up for this turn alone.
func (r *runner) lower(p plan, t *turn) {
	if t.bed == nil {
		return
	}
	if t.bed.Serving != nil {
		r.site.forget(t.bed.Serving)
	}
	if p.Fresh {
		for _, c := range t.bed.Carriers {
			r.site.forget(c)
		}
	}
	t.bed = nil
}

// pair returns a system that is up; it stays up.
func (r *runner) pair(ctx context.Context, s System, l Link) (*Pair, error) {
	key := s.Name() + " " + l.Faults
	if r.up[key] == nil {
		pair, err := s.Up(ctx, r.site, l)
		if err != nil {
			return nil, err
		}
		r.up[key] = pair
	}
	return r.up[key], nil
}

// sample takes one sample. One that fails is a sample, too.
func (r *runner) sample(ctx context.Context, p plan, t *turn, round int) *Sample {
	var err error
	if p.Fresh && round > 0 {
		r.lower(p, t)
		err = r.raise(ctx, p, t)
	}
	m := &Meter{bed: t.bed}
	m.Workload, m.System, m.Round = p.Name, t.name, round
	m.Unit, m.Less, m.Per = p.Unit, p.Less, p.Per
	if err == nil {
		err = r.measure(ctx, p.Workload, m)
	}
	if err != nil {
		m.Error = err.Error()
		if t.fails++; t.fails == mostFails {
			t.err = err
		}
	}
	return &m.Sample
}

func (r *runner) measure(ctx context.Context, w *Workload, m *Meter) error {
	if m.bed.Server == nil { // it brings its own
		if err := w.Run(ctx, m.bed, m, r.Time); err != nil {
			return err
		}
		m.finish()
		return nil
	}
	before, err := m.bed.look()
	if err != nil {
		return err
	}
	if err := w.Run(ctx, m.bed, m, r.Time); err != nil {
		return err
	}
	after, err := m.bed.look()
	if err != nil {
		return err
	}
	m.finish()
	m.Path = m.bed.prove(before, after, m.Bytes, w.UDP)
	return nil
}
