// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// NetNS is a named network namespace. A nil NetNS is the namespace the test
// runs in.
type NetNS struct{ name string }

var namespaces atomic.Uint32

// NewNetNS makes a network namespace with its loopback up, without duplicate
// address detection, router solicitation or ping restrictions. Its name is
// unique; hint, if given, is part of it. When the test ends, processes that
// still run in it are killed and it is removed.
func NewNetNS(t testing.TB, hint ...string) *NetNS {
	t.Helper()
	NeedRoot(t)
	name := fmt.Sprintf("nct-%d-%d", os.Getpid(), namespaces.Add(1))
	if len(hint) > 0 {
		name += "-" + strings.Join(hint, "-")
	}
	Run(t, nil, "ip", "netns", "add", name)
	ns := &NetNS{name: name}
	t.Cleanup(func() {
		ns.killAll(t)
		if _, err := Try(nil, RunTimeout, "ip", "netns", "del", name); err != nil {
			t.Errorf("remove namespace: %v", err)
		}
	})
	Run(t, nil, "ip", "-n", name, "link", "set", "lo", "up")
	ns.Sysctl(t, "net.ipv6.conf.all.accept_dad", "0")
	ns.Sysctl(t, "net.ipv6.conf.default.accept_dad", "0")
	ns.Sysctl(t, "net.ipv6.conf.default.accept_ra", "0")
	ns.Sysctl(t, "net.ipv6.conf.default.router_solicitations", "0")
	ns.Sysctl(t, "net.ipv4.ping_group_range", "0 2147483647")
	return ns
}

// Name returns the name under /run/netns, or "" of a nil namespace.
func (ns *NetNS) Name() string {
	if ns == nil {
		return ""
	}
	return ns.name
}

// Prefix returns the words before a command that runs in the namespace. The
// process id of such a command is the command's own.
func (ns *NetNS) Prefix() []string {
	if ns == nil {
		return nil
	}
	return []string{"ip", "netns", "exec", ns.name}
}

// ip runs ip(8) on the namespace.
func (ns *NetNS) ip(t testing.TB, args ...string) string {
	t.Helper()
	cmd := []string{"ip"}
	if ns != nil {
		cmd = append(cmd, "-n", ns.name)
	}
	return Run(t, nil, append(cmd, args...)...)
}

// Sysctl writes a setting of the namespace. A nil namespace is refused: tests
// do not change the host.
func (ns *NetNS) Sysctl(t testing.TB, key, value string) {
	t.Helper()
	if ns == nil {
		t.Fatalf("set %s: not in the namespace of the test itself", key)
	}
	path := "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
	ns.Do(t, func() {
		if err := os.WriteFile(path, []byte(value), 0); err != nil {
			t.Errorf("set %s to %s: %v", key, value, err)
		}
	})
}

// Do runs f in the namespace, on a thread that nothing else uses, and returns
// when f has. Sockets that f opens stay in the namespace. f must not end the
// test (t.Fatal); goroutines it starts run in the test's own namespace.
func (ns *NetNS) Do(t testing.TB, f func()) {
	t.Helper()
	if ns == nil {
		f()
		return
	}
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine and takes the
		// foreign namespace with it.
		runtime.LockOSThread()
		defer close(done)
		fd, err := unix.Open("/run/netns/"+ns.name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			done <- fmt.Errorf("open namespace %s: %w", ns.name, err)
			return
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter namespace %s: %w", ns.name, err)
			return
		}
		f()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// pids returns the processes in the namespace, without the test itself.
func (ns *NetNS) pids() (pids []int, err error) {
	out, err := Try(nil, RunTimeout, "ip", "netns", "pids", ns.name)
	if err != nil {
		return nil, err
	}
	for _, s := range strings.Fields(out) {
		pid, err := strconv.Atoi(s)
		if err != nil {
			return nil, fmt.Errorf("parse pid %q: %w", s, err)
		}
		if pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// killAll ends what still runs in the namespace. The namespace is this test's
// own, and so is everything in it.
func (ns *NetNS) killAll(t testing.TB) {
	t.Helper()
	gone := poll(5*time.Second, func() bool {
		pids, err := ns.pids()
		if err != nil {
			t.Error(err)
			return true
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				t.Errorf("kill %d in namespace %s: %v", pid, ns.name, err)
			}
		}
		return len(pids) == 0
	})
	if !gone {
		t.Errorf("namespace %s still has processes after SIGKILL", ns.name)
	}
}
