// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// stopGrace is how long a process has between SIGTERM and SIGKILL.
const stopGrace = 3 * time.Second

// startGrace is how long a server may take until it is ready.
const startGrace = 20 * time.Second

// Process is a program that a site started, in a process group of its own.
type Process struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	done chan struct{}
	err  error // valid after done

	mu    sync.Mutex
	text  bytes.Buffer
	grown chan struct{} // closed and made again when text grows
}

// Start starts a program in a namespace, with words before it.
func (s *Site) Start(name, ns string, prefix []string, argv ...string) (*Process, error) {
	p := &Process{name: name, done: make(chan struct{}), grown: make(chan struct{})}
	p.cmd = s.command(ns, slices.Concat(prefix, argv))
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.WaitDelay = time.Second
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	s.procs = append(s.procs, p)
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// On starts a program on a side.
func (s *Site) On(side *Side, name string, argv ...string) (*Process, error) {
	return s.Start(name, side.NS, side.Prefix, argv...)
}

// forget ends a process, which the site then no longer keeps.
func (s *Site) forget(p *Process) {
	p.Stop()
	s.procs = slices.DeleteFunc(s.procs, func(q *Process) bool { return q == p })
}

// Write keeps what the program prints.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text.Write(b)
	close(p.grown)
	p.grown = make(chan struct{})
	return len(b), nil
}

// Text returns what the program has printed.
func (p *Process) Text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// Group is the program's process group.
func (p *Process) Group() int { return p.cmd.Process.Pid }

// Await waits until the program has printed something.
func (p *Process) Await(ctx context.Context, text string) error {
	return p.AwaitFor(ctx, startGrace, text)
}

// AwaitFor is Await with more patience.
func (p *Process) AwaitFor(ctx context.Context, patience time.Duration, text string) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		p.mu.Lock()
		found, grown := strings.Contains(p.text.String(), text), p.grown
		p.mu.Unlock()
		if found {
			return nil
		}
		select {
		case <-grown:
		case <-p.done:
			if strings.Contains(p.Text(), text) {
				return nil
			}
			return fmt.Errorf("%s ended: %w: %s", p.name, orEnd(p.err), lastLine(p.Text()))
		case <-late.C:
			return fmt.Errorf("%s did not print %q within %v: %s", p.name, text, patience, lastLine(p.Text()))
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Wait waits for the end of the program and kills it when the context ends.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		p.kill(unix.SIGKILL)
		<-p.done
		return context.Cause(ctx)
	}
}

// Running reports whether the program has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Stop ends the program and its group.
func (p *Process) Stop() {
	if p.Running() {
		p.kill(unix.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(stopGrace):
			p.kill(unix.SIGKILL)
			<-p.done
		}
	}
}

func (p *Process) kill(sig unix.Signal) {
	if p.Running() {
		_ = unix.Kill(-p.Group(), sig)
	}
}

func orEnd(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// until tries something again until it succeeds.
func until(ctx context.Context, what string, ready func() error) error {
	deadline := time.Now().Add(startGrace)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not ready after %v: %w", what, startGrace, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
