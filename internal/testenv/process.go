// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// RunTimeout bounds Run.
	RunTimeout = 30 * time.Second

	// stopGrace is how long a process has between SIGTERM and SIGKILL.
	stopGrace = 3 * time.Second

	// maxOutput bounds what is kept of a process's output: the end of it.
	maxOutput = 256 << 10
)

// Run runs a command in a namespace until it ends, and returns its standard
// output. A failure, or more than RunTimeout, ends the test.
func Run(t testing.TB, ns *NetNS, cmd ...string) string {
	t.Helper()
	out, err := Try(ns, RunTimeout, cmd...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Try runs a command in a namespace for at most timeout and returns its
// standard output. The error names the command and quotes its output.
func Try(ns *NetNS, timeout time.Duration, cmd ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	argv := append(ns.Prefix(), cmd...)
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	ownGroup(c)
	c.Cancel = func() error { return killGroup(c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("timed out after %v", timeout)
	}
	if err != nil {
		err = fmt.Errorf("run %q: %w\n%s%s", strings.Join(argv, " "), err, stderr.Bytes(), stdout.Bytes())
	}
	return stdout.String(), err
}

// ownGroup makes the command the leader of a process group of its own, so that
// it can be ended together with its children.
func ownGroup(c *exec.Cmd) {
	if c.SysProcAttr == nil {
		c.SysProcAttr = &syscall.SysProcAttr{}
	}
	c.SysProcAttr.Setpgid = true
}

// killGroup signals the process group of a leader that ownGroup made.
func killGroup(pid int, sig syscall.Signal) error {
	err := syscall.Kill(-pid, sig)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// Process is a command that runs beside the test.
type Process struct {
	cmd  *exec.Cmd
	name string
	done chan struct{} // closed when the process has been waited for
	err  error         // valid after done

	mu     sync.Mutex
	stdout []byte
	both   []byte
}

// Start starts a command in a namespace. When the command ends, children that
// outlive it are killed; when the test ends, all are, and the output is logged
// if the test failed.
func Start(t testing.TB, ns *NetNS, cmd ...string) *Process {
	t.Helper()
	argv := append(ns.Prefix(), cmd...)
	return StartCmd(t, exec.Command(argv[0], argv[1:]...))
}

// StartCmd is Start for a command with an environment, a directory or files of
// its own. Its standard output and error are captured.
func StartCmd(t testing.TB, c *exec.Cmd) *Process {
	t.Helper()
	p := &Process{cmd: c, name: strings.Join(c.Args, " "), done: make(chan struct{})}
	ownGroup(c)
	c.Stdout, c.Stderr = capture{p, true}, capture{p, false}
	c.WaitDelay = time.Second
	if err := c.Start(); err != nil {
		t.Fatalf("start %q: %v", p.name, err)
	}
	go func() {
		AwaitExit(p.Pid())
		// Now the leader is a zombie, and the group's number cannot be anyone
		// else's: the time to end children that outlived it.
		killGroup(p.Pid(), syscall.SIGKILL)
		p.err = c.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		<-p.done
		if t.Failed() {
			t.Logf("output of %q (%v):\n%s", p.name, p.err, p.Output())
		}
	})
	return p
}

// AwaitExit waits until a child has ended and leaves it to be waited for, so that
// its number is not given to another.
func AwaitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// kill ends the process and its group at once, unless it has ended.
func (p *Process) kill() {
	if p.Running() {
		killGroup(p.Pid(), syscall.SIGKILL)
	}
}

// capture is one output stream of a process.
type capture struct {
	p      *Process
	stdout bool
}

func (c capture) Write(b []byte) (int, error) {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	c.p.both = keepEnd(append(c.p.both, b...))
	if c.stdout {
		c.p.stdout = keepEnd(append(c.p.stdout, b...))
	}
	return len(b), nil
}

func keepEnd(b []byte) []byte {
	if len(b) > 2*maxOutput {
		b = append(b[:0], b[len(b)-maxOutput:]...)
	}
	return b
}

// Pid returns the process id, which is also that of its process group.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Output returns what the process wrote to standard output and error.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.both)
}

// Stdout returns what the process wrote to standard output.
func (p *Process) Stdout() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.stdout)
}

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Signal signals the process, not its group.
func (p *Process) Signal(t testing.TB, sig os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatalf("send %v to %q: %v", sig, p.name, err)
	}
}

// Wait waits for the end of the process and returns how it ended, nil for exit
// status 0. It ends the test after timeout.
func (p *Process) Wait(t testing.TB, timeout time.Duration) error {
	t.Helper()
	select {
	case <-p.done:
		return p.err
	case <-time.After(timeout):
		t.Fatalf("%q still runs after %v", p.name, timeout)
		return nil
	}
}

// Stop asks the process to end, with SIGTERM, and kills its group when it has
// not after three seconds. It returns how the process ended.
func (p *Process) Stop() error {
	if p.Running() {
		p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(stopGrace):
		}
	}
	p.kill()
	<-p.done
	return p.err
}

// WaitOutput waits until the process has written text, and ends the test when
// the process ends without it or time is up.
func (p *Process) WaitOutput(t testing.TB, timeout time.Duration, text string) {
	t.Helper()
	found := func() bool { return strings.Contains(p.Output(), text) }
	poll(timeout, func() bool { return found() || !p.Running() })
	if !found() {
		t.Fatalf("%q did not write %q within %v (running: %v)", p.name, text, timeout, p.Running())
	}
}
