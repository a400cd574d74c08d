// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrNoEnforce says that the kernel makes no empty network namespace for this
// user.
var ErrNoEnforce = errors.New("no empty network namespace")

// killedBySignal is what a shell adds to the number of a signal.
const killedBySignal = 128

// ExecEnforced is Exec in an empty network namespace, so that network calls
// which do not go through the preload library fail. With CAP_SYS_ADMIN it
// returns only if that fails. Otherwise the namespace belongs to a new user
// namespace, which a process with threads cannot enter: the program runs as a
// child, and its exit status is returned.
func ExecEnforced(path string, argv, env []string) (status int, err error) {
	// The thread that leaves the namespace is the one that becomes the program.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	switch err := unix.Unshare(unix.CLONE_NEWNET); {
	case err == nil:
		return 0, Exec(path, argv, env)
	case !errors.Is(err, unix.EPERM):
		return 0, fmt.Errorf("enforce: %w: %w", ErrNoEnforce, err)
	}
	return runEnforced(path, argv, env)
}

// runEnforced runs the program as a child in a user namespace of its own, as the
// same user. It dies with us; signals sent to us are passed on.
func runEnforced(path string, argv, env []string) (status int, err error) {
	own := func(id int) []syscall.SysProcIDMap {
		return []syscall.SysProcIDMap{{ContainerID: id, HostID: id, Size: 1}}
	}
	c := exec.Cmd{
		Path: path, Args: argv, Env: env, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		SysProcAttr: &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
			UidMappings: own(os.Getuid()), GidMappings: own(os.Getgid()),
			Pdeathsig: unix.SIGKILL,
		},
	}
	// What a terminal sends to its foreground, it sends to the child as well: it
	// must not end us, and is not passed on. Ignoring it would make the child ignore it, while
	// what is handled here has its default there. What we were started to ignore
	// (nohup) stays so in both.
	signals, terminal := make(chan os.Signal, 16), make(chan os.Signal, 16)
	handle(terminal, unix.SIGINT, unix.SIGQUIT, unix.SIGWINCH)
	handle(signals, unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGCONT)
	defer signal.Stop(signals)
	defer signal.Stop(terminal)
	if err := c.Start(); err != nil {
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EACCES) {
			return 0, fmt.Errorf("enforce: %w: %w (it takes root, or user namespaces for all: "+
				"sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)",
				ErrNoEnforce, errors.Unwrap(err))
		}
		return 0, fmt.Errorf("exec %s: %w", path, err)
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case s := <-signals:
				_ = c.Process.Signal(s)
			case s := <-terminal:
				if !inForeground() {
					_ = c.Process.Signal(s)
				}
			case <-done:
				return
			}
		}
	}()
	err = c.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case !errors.As(err, &exit):
		return 0, fmt.Errorf("exec %s: %w", path, err)
	}
	if w, ok := exit.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return killedBySignal + int(w.Signal()), nil
	}
	return exit.ExitCode(), nil
}

// inForeground reports whether we are in the foreground of a terminal.
func inForeground() bool {
	tty, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(tty)
	group, err := unix.IoctlGetInt(tty, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// handle is signal.Notify for those of the signals that are not ignored.
func handle(to chan os.Signal, signals ...os.Signal) {
	for _, s := range signals {
		if !signal.Ignored(s) {
			signal.Notify(to, s)
		}
	}
}
