// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What a turn takes besides its samples, and a system until it is up. Measured
// on two cores.
const (
	turnOverhead  = 350 * time.Millisecond
	setUpOverhead = 1500 * time.Millisecond
	profileTime   = 2 * time.Second // besides the sample
)

// loads is what a turn of several samples by echoload takes.
func loads(samples float64) func(time.Duration) time.Duration {
	return func(d time.Duration) time.Duration { return time.Duration(samples * 1.25 * float64(d)) }
}

// wholeSeconds is what a turn takes of a program that knows no parts of seconds,
// followed by samples by echoload.
func wholeSeconds(samples float64) func(time.Duration) time.Duration {
	return func(d time.Duration) time.Duration {
		return time.Duration(math.Ceil(d.Seconds()))*time.Second + loads(samples)(d)
	}
}

// turn is what one turn of a workload takes.
func (w *Workload) turn(d time.Duration) time.Duration {
	if w.Takes == nil {
		return loads(1)(d) + turnOverhead
	}
	return w.Takes(d) + turnOverhead
}

// turns is how many turns there are in a plan, besides the profiles.
func (o *Options) turns(p plan) int { return len(p.systems)*o.Rounds + o.calibrations(p.Workload) }

// profiles is how many profiles a plan has.
func (o *Options) profiles(p plan) (n int) {
	if o.Profile == "" {
		return 0
	}
	for _, s := range p.systems {
		if s.Name() == Default || len(o.Systems) > 0 {
			n++
		}
	}
	return n
}

// estimate is how long a plan takes.
func (o *Options) estimate(plans []plan) (d time.Duration) {
	up := map[string]bool{}
	for _, p := range plans {
		d += time.Duration(o.turns(p)+o.profiles(p)) * p.turn(o.Time)
		d += time.Duration(o.profiles(p)) * profileTime
		for _, s := range p.systems {
			if key := s.Name() + p.Faults; !up[key] && key != alone {
				up[key] = true
				d += setUpOverhead
			}
		}
	}
	return d
}

// progress is a bar with the time left; where nobody watches, a line for each
// workload.
type progress struct {
	w        io.Writer
	terminal bool
	start    time.Time
	time     time.Duration // of a sample
	total    time.Duration // as estimated
	done     time.Duration // of it
	now      time.Duration // what the turn that runs takes of it
	workload string
}

func newProgress(w io.Writer, plans []plan, o *Options) *progress {
	p := &progress{w: w, start: time.Now(), time: o.Time, total: o.estimate(plans)}
	if f, ok := w.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		p.terminal = err == nil
	}
	return p
}

// barWidth is how long the bar is.
const barWidth = 24

// step begins the next turn.
func (p *progress) step(w *Workload, system string) {
	p.done = min(p.total, p.done+p.now)
	p.now = w.turn(p.time)
	if p.w == nil {
		return
	}
	share := float64(p.done) / float64(max(1, p.total))
	left := p.total - p.done
	if share > 0.02 {
		left = time.Duration(float64(time.Since(p.start)) * (1 - share) / share)
	}
	full := int(barWidth * share)
	bar := strings.Repeat("#", full) + strings.Repeat(".", barWidth-full)
	switch {
	case p.terminal:
		fmt.Fprintf(p.w, "\r[%s] %3.0f%%  %s left  %-22s %-30.30s", bar, 100*share, left.Round(time.Second), w.Name, system)
	case w.Name != p.workload:
		fmt.Fprintf(p.w, "[%s] %3.0f%%  %s left  %s\n", bar, 100*share, left.Round(time.Second), w.Name)
	}
	p.workload = w.Name
}

// say writes a line that stays.
func (p *progress) say(line string) {
	if p.w != nil {
		p.end()
		fmt.Fprintln(p.w, line)
	}
}

func (p *progress) end() {
	if p.w != nil && p.terminal {
		fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", 110))
	}
}

// PlanList describes what would be run: every workload with the systems that it
// compares, and how long all of it takes.
func (o *Options) PlanList() (string, error) {
	plans, err := o.choose()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	turns := 0
	for _, p := range plans {
		var names []string
		for _, s := range p.systems {
			names = append(names, s.Name())
		}
		turns += o.turns(p) + o.profiles(p)
		fmt.Fprintf(&b, "  %-20s %s\n", p.Name, strings.Join(slices.Compact(names), ", "))
	}
	fmt.Fprintf(&b, "%d turns, samples of %v: about %v.\n", turns, o.Time, o.estimate(plans).Round(time.Second))
	return b.String(), nil
}
