// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane"
)

// traceGrace is how long the end of a trace may take once it was asked for: the
// reader of the output may have stopped.
const traceGrace = 2 * time.Second

var traceCommand = &command{
	name: "trace", args: "[-n CONTAINER] [-layer inner|outer|both] [-c COUNT] [-d DURATION] [-w FILE]",
	short: "live packets as pcapng, for tshark and Wireshark",
	help: `
Writes the frames that pass the daemon to standard output, live, as pcapng.
Inner frames are what the containers' stacks send and are given, one interface
per container; outer frames are what travels between hosts.

  netcon trace -n web | tshark -r -
  netcon trace -n web | tshark -r - -Y http
  netcon trace -layer outer | tshark -r - -d udp.port==4789,vxlan
  netcon trace -n web -d 10s -w web.pcapng
  ssh host netcon trace | wireshark -k -i -

A reader that is too slow loses frames and slows nothing down; how many is said
at the end, and in the stream. The trace ends on Ctrl-C, when its reader goes
away and when the daemon ends, with status 0.`,
	run: runTrace,
}

func runTrace(c *call) error {
	var o dataplane.TraceOptions
	c.flags.StringVar(&o.Container, "n", "", "only this `CONTAINER`; default: all")
	c.flags.StringVar(&o.Layer, "layer", "inner", "`inner`, outer or both")
	c.flags.StringVar(&o.Direction, "Q", "inout", "`in` (to containers, from the wire), out or inout")
	c.flags.IntVar(&o.Snaplen, "snaplen", dataplane.DefaultSnaplen, "keep this many `BYTES` of each frame")
	c.flags.Uint64Var(&o.Count, "c", 0, "end after `COUNT` packets")
	c.flags.DurationVar(&o.Duration, "d", 0, "end after `DURATION`, like 10s")
	file := c.flags.String("w", "-", "write to `FILE`; -: standard output")
	quiet := c.flags.Bool("q", false, "do not print a summary at the end")
	dir := runtimeDirFlag(c)
	if err := c.parse(0, 0); err != nil {
		return err
	}
	if err := o.Check(); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	out := c.stdout
	if *file != "-" {
		f := &traceFile{path: *file}
		defer f.close()
		out = f
	} else if f, ok := out.(*os.File); ok && isTerminal(f) {
		return fmt.Errorf("%w: standard output is a terminal (pipe it: netcon trace | tshark -r -, or keep it: -w FILE)", errUsage)
	}
	// A reader that goes away is an error of a write, not the end of us.
	signal.Ignore(syscall.SIGPIPE)
	defer signal.Reset(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	s, err := trace(ctx, dataplane.NewClient(*dir), o, out)
	switch {
	case errors.Is(err, syscall.EPIPE):
		return nil // nobody is left to be told
	case errors.Is(err, errTraceCut):
		fmt.Fprintf(c.stderr, "netcon: %v\n", err)
		return nil
	case err == nil && !*quiet:
		printTraceSummary(c.stderr, s)
	}
	return err
}

// errTraceCut is the end of a trace whose output nobody takes.
var errTraceCut = errors.New("the reader of the trace has stopped reading: its end is missing")

// traceFile is made once there is something to write.
type traceFile struct {
	path string
	file *os.File
}

func (f *traceFile) Write(b []byte) (n int, err error) {
	if f.file == nil {
		// What programs say to each other is not for everybody.
		if f.file, err = os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
			return 0, err
		}
	}
	return f.file.Write(b)
}

func (f *traceFile) close() {
	if f.file != nil {
		_ = f.file.Close()
	}
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// trace traces until it is over or, once ctx has ended, no longer than
// traceGrace.
func trace(ctx context.Context, client *dataplane.Client, o dataplane.TraceOptions, w io.Writer) (dataplane.TraceSummary, error) {
	var s dataplane.TraceSummary
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		s, err = client.Trace(ctx, o, w)
	}()
	select {
	case <-done:
		return s, err
	case <-ctx.Done():
	}
	select {
	case <-done:
		return s, err
	case <-time.After(traceGrace):
		return dataplane.TraceSummary{}, errTraceCut
	}
}

func printTraceSummary(w io.Writer, s dataplane.TraceSummary) {
	text := fmt.Sprintf("netcon: %d packets, %d dropped", s.Packets, s.Dropped)
	if s.Dropped > 0 {
		text += " (the reader was too slow)"
	}
	if s.End == dataplane.TraceEndDaemon {
		text += ", until the daemon ended"
	}
	fmt.Fprintln(w, text)
}
