// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Workload is what programs do over a system.
type Workload struct {
	Name     string
	About    string
	Rank     int    // its place in the order
	Unit     string // of what is compared
	Less     bool   // is better
	Per      string // what processor time is given per
	Programs []string
	Form     Form     // the shortest form it belongs to
	Systems  []string // which it compares; Baseline and Default always, and in the quick form only those
	More     []string // which it compares in the longest form
	Faults   string   // what its traffic meets on the way
	UDP      bool     // is what it talks, not TCP

	// Calibrated says that the client's part of the processor time is measured,
	// so that the server's side can be given alone.
	Calibrated bool

	// Fresh says that every sample has a system of its own, which nothing has
	// used before: what memory it took once it does not give back.
	Fresh bool

	// Takes is how long a turn takes with samples of a length; nil: what
	// echoload takes once.
	Takes func(time.Duration) time.Duration

	// Serve starts the server and waits until it is ready; nil: there is none.
	Serve func(context.Context, *Bed) error

	// Run takes one sample of about d, between m.Begin and m.End.
	Run func(ctx context.Context, b *Bed, m *Meter, d time.Duration) error
}

// Bed is a system that is up, with a server.
type Bed struct {
	*Site
	*Pair
	Serving *Process
	Scratch map[string]float64 // a workload's own, from sample to sample
}

// Form is how much is run.
type Form int

// The forms, each with what the one before it has.
const (
	Quick Form = iota
	Full
	All
)

func (f Form) String() string { return [...]string{"quick", "full", "all"}[f] }

var workloads = map[string]*Workload{}

func registerWorkload(list ...*Workload) bool {
	for _, w := range list {
		workloads[w.Name] = w
	}
	return true
}

// ordered returns the workloads in order.
func ordered() []*Workload {
	return slices.SortedFunc(maps.Values(workloads), func(a, b *Workload) int {
		return cmp.Or(cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.Name, b.Name))
	})
}

// WorkloadList describes the workloads, a line each.
func WorkloadList() string {
	var b strings.Builder
	for _, w := range ordered() {
		fmt.Fprintf(&b, "  %-20s %-5s  %s\n", w.Name, w.Form, w.About)
	}
	return b.String()
}

// pickWorkloads returns the workloads of given names, or prefixes of names, or
// those of a form.
func pickWorkloads(names []string, form Form) (list []*Workload, err error) {
	if len(names) == 0 {
		return slices.DeleteFunc(ordered(), func(w *Workload) bool { return w.Form > form }), nil
	}
	for _, name := range names {
		found := false
		for _, w := range ordered() {
			if w.Name == name || strings.HasPrefix(w.Name, name+"-") {
				list, found = append(list, w), true
			}
		}
		if !found {
			var known []string
			for _, w := range ordered() {
				known = append(known, w.Name)
			}
			return nil, fmt.Errorf("%w: workload %q: unknown (one of %s)", ErrInput, name, strings.Join(known, ", "))
		}
	}
	return list, nil
}

// The ports that servers listen on: some systems have to be told before.
const (
	echoPort  = 7001
	httpPort  = 8080
	redisPort = 6379
	iperfPort = 5201
)

var servedPorts = []int{echoPort, httpPort, redisPort, iperfPort}

// serve starts the server program and waits until it prints ready.
func (b *Bed) serve(ctx context.Context, ready string, argv ...string) (err error) {
	if b.Serving, err = b.On(b.Server, filepath.Base(argv[0]), argv...); err != nil {
		return err
	}
	return b.Serving.Await(ctx, ready)
}

// tool is one of our own programs.
func (b *Bed) tool(name string) string { return filepath.Join(b.Tools.Dir, name) }

// serveEcho starts echod.
func serveEcho(args ...string) func(context.Context, *Bed) error {
	return func(ctx context.Context, b *Bed) error {
		return b.serve(ctx, "ready", slices.Concat([]string{b.tool("echod"), b.Server.Bind.String(), strconv.Itoa(echoPort)}, args)...)
	}
}

// loadGrace is how much longer than asked for a client may take.
const loadGrace = 30 * time.Second

// load runs echoload as the measured client.
func (b *Bed) load(ctx context.Context, m *Meter, d time.Duration, port int, args ...string) (r loadReport, err error) {
	warmup := max(100*time.Millisecond, d/4)
	ctx, cancel := context.WithTimeoutCause(ctx, d+warmup+loadGrace, fmt.Errorf("echoload does not end"))
	defer cancel()
	argv := slices.Concat([]string{
		b.tool("echoload"), b.Server.Addr.String(), strconv.Itoa(port),
		"-time", strconv.FormatInt(d.Milliseconds(), 10), "-warmup", strconv.FormatInt(warmup.Milliseconds(), 10),
	}, args)
	p, err := b.On(b.Client, "echoload", argv...)
	if err != nil {
		return r, err
	}
	defer b.forget(p)
	if err := p.Await(ctx, "measuring"); err != nil {
		return r, err
	}
	if err := m.Begin(p); err != nil {
		return r, err
	}
	if err := p.Wait(ctx); err != nil {
		return r, fmt.Errorf("echoload: %w: %s", err, lastLine(p.Text()))
	}
	if err := m.End(); err != nil {
		return r, err
	}
	return parseLoad(p.Text())
}
