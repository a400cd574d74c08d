// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ReapCommand is the command under which the reaper is started.
const ReapCommand = "bench-reap"

// reaper is a child that removes a site when its parent ends, however it ends.
// It is in a session of its own: what ends the parent does not reach it.
type reaper struct {
	cmd *exec.Cmd
	end io.Closer
}

func startReaper(exe, id string) (*reaper, error) {
	r := &reaper{cmd: exec.Command(exe, ReapCommand, id)}
	var err error
	if r.end, err = r.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	r.cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the reaper: %w", err)
	}
	return r, nil
}

// stop lets the reaper see the end, and waits for its own.
func (r *reaper) stop() error {
	return errors.Join(r.end.Close(), r.cmd.Wait())
}

// Reap is the reaper: it waits until nobody holds the other end of its standard
// input, and removes the site.
func Reap(id string, in io.Reader) error {
	if _, _, ok := parseID(id); !ok {
		return fmt.Errorf("%w: %q is no site", ErrInput, id)
	}
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGPIPE)
	_, _ = io.Copy(io.Discard, in)
	return sweep(id)
}

// parseID splits an id, or a name that starts with one.
func parseID(name string) (pid int, start uint64, ok bool) {
	rest, ok := strings.CutPrefix(name, idPrefix)
	f := strings.Split(rest, "-")
	if !ok || len(f) < 2 {
		return 0, 0, false
	}
	pid, err1 := strconv.Atoi(f[0])
	start, err2 := strconv.ParseUint(f[1], 10, 64)
	return pid, start, err1 == nil && err2 == nil && pid > 1
}

// sweepDead removes the sites of processes that are gone.
func sweepDead() error {
	var ids []string
	for _, pattern := range []string{"/run/netns/" + idPrefix + "*", filepath.Join(os.TempDir(), scratchPrefix+idPrefix+"*")} {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			name := strings.TrimPrefix(filepath.Base(path), scratchPrefix)
			pid, start, ok := parseID(name)
			if !ok {
				continue
			}
			if t, err := startTime(pid); err == nil && t == start {
				continue // it runs
			}
			if id := fmt.Sprintf("%s%d-%d", idPrefix, pid, start); !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	var errs []error
	for _, id := range ids {
		errs = append(errs, sweep(id))
	}
	return errors.Join(errs...)
}

// sweepGrace is how long killed processes may take to be gone.
const sweepGrace = 10 * time.Second

// sweep kills a site's processes and removes its namespaces and files. What is
// inside a namespace goes with it: devices, and XDP programs with their owner.
func sweep(id string) error {
	deadline := time.Now().Add(sweepGrace)
	for {
		namespaces, _ := filepath.Glob("/run/netns/" + id + "-*")
		pids := owned(id, namespaces)
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		if len(pids) == 0 {
			var errs []error
			for _, path := range namespaces {
				errs = append(errs, removeNamespace(path))
			}
			pid, _, _ := parseID(id)
			sockets, _ := filepath.Glob(wireguardSocket(wireguardDevice(pid, "*")))
			for _, path := range sockets {
				_ = os.Remove(path) // or somebody else does, just now
			}
			return errors.Join(append(errs, os.RemoveAll(filepath.Join(os.TempDir(), scratchPrefix+id)))...)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v of %s still run after SIGKILL", pids, id)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// removeNamespace is ip netns del; somebody else may do the same just now.
func removeNamespace(path string) error {
	out, err := exec.Command("ip", "netns", "del", filepath.Base(path)).CombinedOutput()
	if _, gone := os.Lstat(path); err == nil || errors.Is(gone, os.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("remove namespace %s: %w: %s", filepath.Base(path), err, bytes.TrimSpace(out))
}

// owned returns the living processes, without this one and its parent, that
// carry the site's mark or are in one of its namespaces.
func owned(id string, namespaces []string) (pids []int) {
	type inode struct{ dev, ino uint64 }
	inside := map[inode]bool{}
	for _, path := range namespaces {
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil {
			inside[inode{st.Dev, st.Ino}] = true
		}
	}
	mark := []byte(markVariable + "=" + id)
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range procs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if pid == os.Getpid() {
			continue
		}
		env, _ := os.ReadFile(dir + "/environ")
		var st unix.Stat_t
		in := unix.Stat(dir+"/ns/net", &st) == nil && inside[inode{st.Dev, st.Ino}]
		marked := slices.ContainsFunc(bytes.Split(env, []byte{0}), func(v []byte) bool { return bytes.Equal(v, mark) })
		if in || marked {
			pids = append(pids, pid)
		}
	}
	return pids
}

// startTime is when a process started, in ticks since boot; with its number it
// names a process for good.
func startTime(pid int) (uint64, error) {
	p, err := readStat(pid)
	return p.start, err
}
