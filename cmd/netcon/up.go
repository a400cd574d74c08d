// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"netcon/dataplane"
	"netcon/dataplane/config"
)

const defaultConfig = "/etc/netcon/netcon.toml"

var upCommand = &command{
	name: "up", args: "[-c FILE]", short: "run the dataplane",
	help: `
Runs the dataplane in the foreground until SIGTERM or SIGINT. SIGHUP reads the
configuration again, applies what can be applied and says what cannot. Under
systemd it tells when it is ready (Type=notify).

  netcon up -c netcon.toml
  netcon check netcon.toml && kill -HUP $(pidof netcon)`,
	run: runUp,
}

func runUp(c *call) error {
	file := c.flags.String("c", defaultConfig, "the configuration `FILE`")
	verbose := c.flags.Bool("v", false, "log more")
	if err := c.parse(0, 0); err != nil {
		return err
	}
	cfg, err := config.Load(*file)
	if err != nil {
		return badConfig(c, err)
	}
	level := slog.LevelInfo
	if *verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(c.stderr, &slog.HandlerOptions{Level: level}))

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)

	d, err := dataplane.New(cfg, dataplane.Options{Log: log})
	if err != nil {
		return err
	}
	go func() {
		for range hup {
			reload(d, *file, log)
		}
	}()
	return d.Run(ctx)
}

// reload applies a changed configuration; a bad one changes nothing.
func reload(d *dataplane.Dataplane, file string, log *slog.Logger) {
	cfg, err := config.Load(file)
	if err != nil {
		log.Error("configuration not reloaded", "error", err)
		return
	}
	if err := d.Reload(cfg); err != nil {
		log.Error("configuration not fully reloaded", "error", err)
	}
}

// badConfig prints each error of a configuration on a line of its own.
func badConfig(c *call, err error) error {
	fmt.Fprintln(c.stderr, err)
	return exitStatus(exitUsage)
}

var checkCommand = &command{
	name: "check", args: "FILE", short: "validate a configuration",
	help: `
Validates FILE without privileges and without touching anything. Prints one line
per error, with file and line number, and ends with status 2 if there is any.

  netcon check netcon.toml`,
	run: func(c *call) error {
		asJSON := c.flags.Bool("json", false, "print the configuration with its defaults as JSON")
		if err := c.parse(1, 1); err != nil {
			return err
		}
		cfg, err := config.Load(c.flags.Arg(0))
		if err != nil {
			return badConfig(c, err)
		}
		if *asJSON {
			return encodeJSON(c.stdout, cfg)
		}
		fmt.Fprintf(c.stdout, "%s: ok: %d networks, %d containers, underlay %s %s\n", c.flags.Arg(0),
			len(cfg.Networks), len(cfg.Containers), cfg.Underlay.Kind, cfg.Underlay.Address)
		for i := range cfg.Containers {
			printWayOut(c.stdout, &cfg.Containers[i])
		}
		return nil
	},
}

// printWayOut says of a container what leads out of its network, and into it.
func printWayOut(w io.Writer, k *config.Container) {
	if k.Policy != config.PolicyIsolated {
		fmt.Fprintf(w, "  container %q: policy %s\n", k.Name, k.Policy)
	}
	for _, p := range k.Publish {
		fmt.Fprintf(w, "  container %q: publishes %s\n", k.Name, p)
	}
}

var demoCommand = &command{
	name: "demo", args: "", short: "the two-minute tour: real programs, real traffic",
	help: `
Builds two hosts on loopback addresses, runs stock nginx in a container of one
and stock curl in a container of the other, moves 100 MB, and shows where the
traffic went. It needs no privileges: started as root it goes on as an ordinary
user. It cleans up, also on Ctrl-C.

  netcon demo`,
	run: runDemo,
}

func runDemo(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err := demoTour(ctx, c)
	if ctx.Err() != nil && err != nil {
		return errors.New("demo: interrupted")
	}
	return err
}
