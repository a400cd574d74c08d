// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// find looks a program up where ordinary users' PATHs do not lead, too.
func find(name string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("the demo needs %s (install what is missing with: make deps)", name)
}

// writeNoise writes size bytes that do not compress, into a file and a hash.
func writeNoise(path string, h hash.Hash, size int64) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	noise := rand.NewChaCha8([32]byte{77})
	_, err = io.CopyN(io.MultiWriter(f, h), noise, size)
	return errors.Join(err, f.Close())
}

// start starts a program in a process group of its own, with its output in a
// log file whose path it returns.
func (t *tour) start(ctx context.Context, name string, argv ...string) (log string, err error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	log = t.path(name + ".log")
	f, err := os.Create(log)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = f, f, t.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("start %s: %w", name, err)
	}
	t.procs = append(t.procs, cmd)
	return log, nil
}

// wait waits until ready, and gives up with the log's end.
func (t *tour) wait(ctx context.Context, name, log string, ready func() error) error {
	deadline := time.Now().Add(startup)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(log)
			return fmt.Errorf("%s did not start: %w\n%s", name, err, strings.TrimSpace(string(text)))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends what was started, last first, and waits for it.
func (t *tour) stop() error {
	var errs []error
	for i := len(t.procs) - 1; i >= 0; i-- {
		cmd := t.procs[i]
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(5*time.Second, func() {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		})
		err := cmd.Wait()
		if !late.Stop() {
			errs = append(errs, fmt.Errorf("end %s: it had to be killed", filepath.Base(cmd.Path)))
		} else if err != nil && cmd.ProcessState.ExitCode() > 0 {
			errs = append(errs, fmt.Errorf("end %s: %w", strings.Join(cmd.Args[:2], " "), err))
		}
	}
	return errors.Join(errs...)
}
