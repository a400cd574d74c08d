// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"text/tabwriter"

	"netcon/dataplane"
	"netcon/dataplane/config"
	"netcon/tuning"
)

var tuneCommand = &command{
	name: "tune", args: "show|apply|revert [-c FILE] [-i DEVICE] [-json]", short: "what stands between this host and speed, and a way back",
	help: `
Compares this host with what a configuration needs: governors, interrupts,
queues, coalescing, timers, offloads, huge pages, cores. "show" changes nothing;
"apply" changes what a program can change, and writes down what it was; "revert"
puts everything back, also after a crash.

  netcon tune show -c netcon.toml         what it is, what it should be, and why
  netcon tune show -i eth0                for a device, without a configuration
  sudo netcon tune apply -c netcon.toml
  sudo netcon tune revert

What says "manual" is left to you: it needs a reboot, or others would notice. A
reboot undoes everything that apply did.`,
	run: runTune,
}

func runTune(c *call) error {
	if len(c.args) == 0 {
		return fmt.Errorf("%w: missing argument: show, apply or revert", errUsage)
	}
	action := c.args[0]
	switch action {
	case "show", "apply", "revert":
		c.args = c.args[1:]
	case "-h", "-help", "--help":
	default:
		return fmt.Errorf("%w: %q (want show, apply or revert)", errUsage, action)
	}
	file := c.flags.String("c", defaultConfig, "the configuration `FILE` to tune for")
	device := c.flags.String("i", "", "tune for AF_XDP on this `DEVICE` instead of a configuration")
	state := c.flags.String("state", tuning.DefaultState, "the `FILE` in which apply writes down what was")
	force := c.flags.Bool("force", false, "revert also what somebody else changed since")
	asJSON := c.flags.Bool("json", false, "print JSON")
	if err := c.parse(0, 0); err != nil {
		return err
	}
	if *force && action != "revert" {
		return fmt.Errorf("%w: -force is for revert", errUsage)
	}
	progress := func(r tuning.Result) { printResult(c.stderr, r) }
	if *asJSON {
		progress = nil
	}
	if action == "revert" {
		results, err := tuning.Revert(*state, *force, progress)
		return tuned(c, *asJSON, results, "put back", err)
	}
	cfg, err := tuneConfig(c, *file, *device)
	if err != nil {
		return err
	}
	if action == "apply" {
		results, err := tuning.Apply(cfg, *state, progress)
		return tuned(c, *asJSON, results, "changed", err)
	}
	settings, err := tuning.Survey(cfg)
	if err != nil {
		return err
	}
	if *asJSON {
		return encodeJSON(c.stdout, settings)
	}
	printSettings(c.stdout, settings)
	return nil
}

// tuneConfig says what to tune for.
func tuneConfig(c *call, file, device string) (tuning.Config, error) {
	if device != "" {
		if _, err := os.Stat("/sys/class/net/" + device); err != nil {
			return tuning.Config{}, fmt.Errorf("device %q: not on this host (ip link lists them)", device)
		}
		return tuning.Config{Device: device, Workers: min(2, runtime.NumCPU()), XDP: true}, nil
	}
	cfg, err := config.Load(file)
	if err != nil {
		return tuning.Config{}, badConfig(c, err)
	}
	return dataplane.TuningOf(cfg)
}

// tuned reports what became of the knobs. Anything refused is a failure.
func tuned(c *call, asJSON bool, results []tuning.Result, verb string, err error) error {
	if asJSON {
		if results == nil {
			results = []tuning.Result{}
		}
		if e := encodeJSON(c.stdout, results); e != nil {
			return e
		}
	}
	refused := 0
	for _, r := range results {
		if r.Problem != "" {
			refused++
		}
	}
	if !asJSON && err == nil {
		fmt.Fprintf(c.stdout, "%d of %d settings %s\n", len(results)-refused, len(results), verb)
	}
	if err == nil && refused > 0 {
		return exitStatus(exitFailed) // each was named
	}
	return err
}

func printResult(w io.Writer, r tuning.Result) {
	if r.Problem != "" {
		fmt.Fprintf(w, "netcon: %s: %s: %s\n", r.Name, r.Knob, r.Problem)
		return
	}
	fmt.Fprintf(w, "%s: %s, was %s\n", r.Name, shown(r.After), shown(r.Before))
}

func printSettings(w io.Writer, settings []tuning.Setting) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "SETTING\tNOW\tWANT\tVERDICT\n")
	for _, s := range settings {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", s.Name, shown(s.Now), shown(s.Want), s.Verdict)
	}
	_ = t.Flush()
	for _, v := range []struct {
		verdict tuning.Verdict
		title   string
	}{{tuning.Change, "netcon tune apply would change"}, {tuning.Manual, "Left to you"}} {
		first := true
		for _, s := range settings {
			if s.Verdict != v.verdict {
				continue
			}
			if first {
				fmt.Fprintf(w, "\n%s:\n", v.title)
				first = false
			}
			fmt.Fprintf(w, "  %s: %s\n      %s\n", s.Name, s.Reason, s.How)
		}
	}
}

// shown returns a value as a table shows it.
func shown(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
