// SPDX-License-Identifier: Apache-2.0

// Command netcon runs unmodified programs on private user-space TCP/IP stacks.
//
// It turns flags into calls of package dataplane and answers into text; there
// is no logic here. The command table below is the list of what it can do.
// Answers go to stdout, everything else to stderr. Exit status: 0 ok, 1 failed,
// 2 bad usage or bad configuration, 3 checked and not so; exec's is that of the program it runs.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	exitNotSo  = 3 // checked, and not so
)

// command is one row of the table.
type command struct {
	name  string
	args  string // as the usage line shows them
	short string
	help  string // what it does, with examples
	run   func(c *call) error
}

// call is one invocation of a command.
type call struct {
	cmd    *command
	flags  *flag.FlagSet
	args   []string // as given, before flags are parsed
	stdout io.Writer
	stderr io.Writer
}

// errUsage marks errors that end with exitUsage.
var errUsage = errors.New("usage")

func commands() []*command {
	return []*command{upCommand, checkCommand, execCommand, statusCommand, socketsCommand, statsCommand, traceCommand, tuneCommand, demoCommand, benchCommand, versionCommand}
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run finds the command and runs it, and returns the exit status.
func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		usage(stderr)
		return exitUsage
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		usage(stdout)
		return exitOK
	}
	for _, cmd := range append(commands(), superviseCommand, benchReapCommand) {
		if cmd.name == args[0] {
			return cmd.execute(args[1:], stdout, stderr)
		}
	}
	fmt.Fprintf(stderr, "netcon: unknown command %q (see netcon --help)\n", args[0])
	return exitUsage
}

func (cmd *command) execute(args []string, stdout, stderr io.Writer) int {
	c := &call{
		cmd: cmd, args: args, stdout: stdout, stderr: stderr,
		flags: flag.NewFlagSet(cmd.name, flag.ContinueOnError),
	}
	c.flags.SetOutput(io.Discard)
	c.flags.Usage = func() {}
	err := cmd.run(c)
	var status exitStatus
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, flag.ErrHelp):
		c.help(stdout)
		return exitOK
	case errors.As(err, &status):
		return int(status)
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "netcon %s: %s (see netcon %s --help)\n", cmd.name, strings.TrimPrefix(err.Error(), "usage: "), cmd.name)
		return exitUsage
	}
	for _, line := range strings.Split(err.Error(), "\n") {
		fmt.Fprintf(stderr, "netcon: %s\n", line)
	}
	return exitFailed
}

// exitStatus is an error whose text was printed already.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// parse parses the flags and checks that between least and most arguments
// remain; most < 0 is no bound.
func (c *call) parse(least, most int) error {
	if err := c.flags.Parse(c.args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	switch n := c.flags.NArg(); {
	case n < least:
		return fmt.Errorf("%w: missing argument: %s", errUsage, c.cmd.args)
	case most >= 0 && n > most:
		return fmt.Errorf("%w: unexpected argument %q", errUsage, c.flags.Arg(most))
	}
	return nil
}

func (c *call) help(w io.Writer) {
	fmt.Fprintf(w, "usage: netcon %s %s\n\n%s\n", c.cmd.name, c.cmd.args, strings.TrimSpace(c.cmd.help))
	first := true
	c.flags.VisitAll(func(f *flag.Flag) {
		if first {
			fmt.Fprint(w, "\nFlags:\n")
			first = false
		}
		value, text := flag.UnquoteUsage(f)
		if value != "" {
			value = " " + value
		}
		fmt.Fprintf(w, "  %-18s %s\n", "-"+f.Name+value, text)
	})
}

func usage(w io.Writer) {
	fmt.Fprint(w, `netcon runs unmodified programs on private user-space TCP/IP stacks.

usage: netcon COMMAND [flags] [arguments]

`)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-9s %s\n", c.name, c.short)
	}
	fmt.Fprint(w, `
A first look:
  netcon demo                          two daemons, nginx and curl, real traffic
  netcon up -c netcon.toml             run the dataplane
  netcon exec -n web -- nginx          run nginx with its network in container "web"
  netcon status                        see what runs

netcon COMMAND --help says more.
`)
}
