// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Tools says where programs are.
type Tools struct {
	Exe  string // netcon
	Shim string // the preload library
	Dir  string // echod and echoload
}

// Site is everything that one run makes. Whatever it is has the site's id in its
// name or its environment, so that it can be found and removed by others.
type Site struct {
	Tools
	ID  string
	Dir string // scratch, readable by anyone

	namespaces []string
	procs      []*Process
	wires      []*Process // faultwires
	reaper     *reaper
}

// idPrefix begins the id of every site, and so the name of every namespace.
const idPrefix = "ncb-"

// scratchPrefix begins the name of every site's directory.
const scratchPrefix = "netcon-bench-"

// markVariable is in the environment of everything that a site starts.
const markVariable = "NETCON_BENCH_SITE"

// NewSite removes what sites of dead processes left and begins a new one.
func NewSite(tools Tools) (*Site, error) {
	if err := sweepDead(); err != nil {
		return nil, fmt.Errorf("remove what an earlier run left: %w", err)
	}
	start, err := startTime(os.Getpid())
	if err != nil {
		return nil, err
	}
	s := &Site{Tools: tools, ID: fmt.Sprintf("%s%d-%d", idPrefix, os.Getpid(), start)}
	if s.reaper, err = startReaper(tools.Exe, s.ID); err != nil {
		return nil, err
	}
	s.Dir = filepath.Join(os.TempDir(), scratchPrefix+s.ID)
	if err := os.Mkdir(s.Dir, 0o755); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close removes everything, and ends when it is gone.
func (s *Site) Close() error {
	for i := len(s.procs) - 1; i >= 0; i-- {
		s.procs[i].Stop()
	}
	err := sweep(s.ID)
	return errors.Join(err, s.reaper.stop())
}

// Namespace makes a network namespace with its loopback up.
func (s *Site) Namespace(ctx context.Context, hint string) (string, error) {
	name := fmt.Sprintf("%s-%d-%s", s.ID, len(s.namespaces), hint)
	s.namespaces = append(s.namespaces, name)
	if err := s.ip(ctx, "netns add "+name, "-n "+name+" link set lo up"); err != nil {
		return "", err
	}
	// What every namespace has: enough ports for short connections, backlogs
	// that hold a burst.
	return name, s.sysctl(name,
		"net.ipv4.ip_local_port_range", "1100 65535",
		"net.ipv4.tcp_tw_reuse", "1",
		"net.core.somaxconn", "4096",
		"net.ipv4.tcp_max_syn_backlog", "4096",
		"net.ipv6.conf.default.disable_ipv6", "1")
}

// sysctl sets pairs of names and values in a namespace.
func (s *Site) sysctl(ns string, pairs ...string) error {
	return inNamespace(ns, func() error {
		for i := 0; i+1 < len(pairs); i += 2 {
			path := "/proc/sys/" + strings.ReplaceAll(pairs[i], ".", "/")
			if err := os.WriteFile(path, []byte(pairs[i+1]), 0); err != nil {
				return fmt.Errorf("set %s: %w", pairs[i], err)
			}
		}
		return nil
	})
}

// ip runs ip(8) once for each line.
func (s *Site) ip(ctx context.Context, lines ...string) error {
	for _, line := range lines {
		if _, err := s.Output(ctx, "", append([]string{"ip"}, strings.Fields(line)...)...); err != nil {
			return err
		}
	}
	return nil
}

// Veth joins two namespaces: name is the device in both. With faults, a wire in
// a namespace of its own is between them.
func (s *Site) Veth(ctx context.Context, l Link, nsA, nsB, name, addrA, addrB string) error {
	if l.Faults == "" {
		return s.ip(ctx,
			fmt.Sprintf("-n %s link add %s type veth peer name %s netns %s", nsA, name, name, nsB),
			fmt.Sprintf("-n %s addr add %s dev %s", nsA, addrA, name),
			fmt.Sprintf("-n %s addr add %s dev %s", nsB, addrB, name),
			fmt.Sprintf("-n %s link set %s up", nsA, name),
			fmt.Sprintf("-n %s link set %s up", nsB, name))
	}
	wire, err := s.Namespace(ctx, "wire")
	if err != nil {
		return err
	}
	for _, e := range []struct{ ns, addr, end string }{{nsA, addrA, "wa"}, {nsB, addrB, "wb"}} {
		if err := s.ip(ctx,
			fmt.Sprintf("-n %s link add %s type veth peer name %s netns %s", e.ns, name, e.end, wire),
			fmt.Sprintf("-n %s addr add %s dev %s", e.ns, e.addr, name),
			fmt.Sprintf("-n %s link set %s up", e.ns, name),
			fmt.Sprintf("-n %s link set %s up", wire, e.end)); err != nil {
			return err
		}
	}
	p, err := s.Start("faultwire", wire, nil, filepath.Join(s.Tools.Dir, "faultwire"), "-a", "wa", "-b", "wb", "-faults", l.Faults)
	if err != nil {
		return err
	}
	s.wires = append(s.wires, p)
	return p.Await(ctx, "ready")
}

// command prepares a program in a namespace, "" being ours.
func (s *Site) command(ns string, argv []string) *exec.Cmd {
	if ns != "" {
		argv = append([]string{"ip", "netns", "exec", ns}, argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = s.Dir
	cmd.Env = append(os.Environ(), markVariable+"="+s.ID)
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	return cmd
}

// outputTimeout bounds programs that set something up.
const outputTimeout = 30 * time.Second

// Output runs a program that ends soon.
func (s *Site) Output(ctx context.Context, ns string, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, outputTimeout)
	defer cancel()
	p, err := s.Start(filepath.Base(argv[0]), ns, nil, argv...)
	if err != nil {
		return "", err
	}
	defer s.forget(p)
	if err := p.Wait(ctx); err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, lastLine(p.Text()))
	}
	return p.Text(), nil
}

// inNamespace runs f on a thread in a namespace, "" being ours.
func inNamespace(ns string, f func() error) error {
	if ns == "" {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine and takes the
		// foreign namespace with it.
		runtime.LockOSThread()
		done <- func() error {
			fd, err := unix.Open("/run/netns/"+ns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("open namespace %s: %w", ns, err)
			}
			defer func() { _ = unix.Close(fd) }()
			if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter namespace %s: %w", ns, err)
			}
			return f()
		}()
	}()
	return <-done
}
