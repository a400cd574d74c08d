// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"netcon/bench"
	"netcon/dataplane"
	"netcon/dataplane/launch"
)

var benchCommand = &command{
	name: "bench", args: "[-quick|-all] [flags] | compare A B | report FILE", short: "measure netcon beside what else carries the same traffic",
	help: `
Builds hosts in network namespaces, connects them in several ways, has stock
programs talk over each in turn and reports rates, latencies, processor time and
which way the bytes really went. It takes root. It cleans up, however it ends.

  netcon bench -quick                        under two minutes
  netcon bench                               under thirty
  netcon bench -workloads nginx -systems kernel-vxlan,netcon,netcon+underlay=udp
  netcon bench -list                         what there is to choose from
  netcon bench compare A.json B.json         did anything get worse? 3: it did
  netcon bench report results.json           the tables and plots of a file again
  netcon bench report -docs docs/bench.md results.json

Results are JSON lines, a table in Markdown, and plots as SVG and PNG.`,
	run: runBench,
}

// benchReapCommand is not in the table that people see: bench starts it.
var benchReapCommand = &command{
	name: bench.ReapCommand, args: "SITE", short: "remove what a bench made, when it ends",
	help: "\nStarted by netcon bench, with the other end of its standard input.",
	run: func(c *call) error {
		if err := c.parse(1, 1); err != nil {
			return err
		}
		return benchError(bench.Reap(c.flags.Arg(0), os.Stdin))
	},
}

// Lengths of samples: the forms keep to their time with them.
const (
	quickTime = 400 * time.Millisecond
	fullTime  = time.Second
	allTime   = 5 * time.Second
)

func runBench(c *call) error {
	if len(c.args) > 0 {
		switch c.args[0] {
		case "compare":
			return benchCompare(c)
		case "report":
			return benchReport(c)
		}
	}
	quick := c.flags.Bool("quick", false, "the short form")
	all := c.flags.Bool("all", false, "everything, as long as it takes")
	systems := c.flags.String("systems", "", "compare these `SYSTEMS`, with commas between them")
	chosen := c.flags.String("workloads", "", "only these `WORKLOADS`, or those whose names begin so, with commas")
	rounds := c.flags.Int("rounds", 5, "how often every system has its turn")
	length := c.flags.Duration("time", 0, "`LENGTH` of a sample; by default that of the form")
	out := c.flags.String("o", "", "the `DIR`ectory for results; default build/bench/TIME")
	profile := c.flags.Bool("profile", false, "after the rounds have perf say where daemons spend their time, into profiles/")
	listed := c.flags.Bool("list", false, "list systems and workloads")
	if err := c.parse(0, 0); err != nil {
		return err
	}
	o := bench.Options{Version: dataplane.Version(), Rounds: *rounds, Time: *length, Systems: words(*systems), Workloads: words(*chosen), Progress: c.stderr}
	if *profile {
		o.Profile = "profiles"
	}
	var usual time.Duration
	switch {
	case *quick && *all:
		return fmt.Errorf("%w: -quick and -all exclude each other", errUsage)
	case *quick:
		o.Form, usual = bench.Quick, quickTime
	case *all:
		o.Form, usual = bench.All, allTime
	default:
		o.Form, usual = bench.Full, fullTime
	}
	if o.Time == 0 {
		o.Time = usual
	}
	if *listed {
		plan, err := o.PlanList()
		if err == nil {
			fmt.Fprintf(c.stdout, "Systems (NAME, or NAME+KEY=VALUE+...):\n%s\nWorkloads, and the shortest form that has them:\n%s\nThe %s form compares:\n%s",
				bench.SystemList(), bench.WorkloadList(), o.Form, plan)
		}
		return benchError(err)
	}
	var err error
	if o.Tools, err = benchTools(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	dir := *out
	if dir == "" {
		dir = filepath.Join("build", "bench", time.Now().UTC().Format("20060102-150405"))
	}
	if err := bench.Save(ctx, o, dir, c.stdout); err != nil {
		if ctx.Err() != nil {
			return errors.New("bench: interrupted; everything is removed")
		}
		return benchError(err)
	}
	return nil
}

// benchTools finds the programs that the bench runs.
func benchTools() (t bench.Tools, err error) {
	if t.Exe, err = os.Executable(); err != nil {
		return t, err
	}
	if t.Shim, err = launch.Shim(); err != nil {
		return t, err
	}
	t.Dir = filepath.Join(filepath.Dir(t.Exe), "bench-tools")
	return t, nil
}

func benchCompare(c *call) error {
	c.args = c.args[1:]
	if err := c.parse(2, 2); err != nil {
		return err
	}
	worse, err := bench.Compare(c.stdout, c.flags.Arg(0), c.flags.Arg(1))
	if err == nil && worse {
		return exitStatus(exitNotSo)
	}
	return benchError(err)
}

func benchReport(c *call) error {
	c.args = c.args[1:]
	out := c.flags.String("o", "", "the `DIR`ectory for plots and table; default the file's")
	page := c.flags.String("docs", "", "write into this `PAGE` instead, between the lines that are there for it")
	if err := c.parse(1, 1); err != nil {
		return err
	}
	if *page != "" {
		return benchError(bench.Document(c.flags.Arg(0), *page))
	}
	dir := *out
	if dir == "" {
		dir = filepath.Dir(c.flags.Arg(0))
	}
	return benchError(bench.Render(c.flags.Arg(0), dir, c.stdout))
}

// benchError ends with status 2 where what was asked for is at fault.
func benchError(err error) error {
	if errors.Is(err, bench.ErrInput) {
		return fmt.Errorf("%w: %s", errUsage, strings.TrimPrefix(err.Error(), bench.ErrInput.Error()+": "))
	}
	return err
}

func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' })
}
