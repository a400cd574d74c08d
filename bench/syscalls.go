// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// enterEvent is the tracepoint that every system call passes.
const enterEvent = "/sys/kernel/tracing/events/raw_syscalls/sys_enter/id"

// callCounter counts the system calls of process groups.
type callCounter struct{ fds []int }

// countCalls begins to count what the threads of process groups call, and those
// that they start from now on.
func countCalls(groups []int) (*callCounter, error) {
	b, err := os.ReadFile(enterEvent)
	if err != nil {
		return nil, fmt.Errorf("system calls are not counted: %w", err)
	}
	id, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", enterEvent, err)
	}
	c := &callCounter{}
	for _, group := range groups {
		for _, tid := range threadsOf(group) {
			attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_TRACEPOINT, Config: id, Bits: unix.PerfBitInherit}
			attr.Size = unix.PERF_ATTR_SIZE_VER0
			fd, err := unix.PerfEventOpen(&attr, tid, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
			if err == unix.ESRCH {
				continue // it ended
			}
			if err != nil {
				c.stop()
				return nil, fmt.Errorf("system calls are not counted: perf_event_open: %w", err)
			}
			c.fds = append(c.fds, fd)
		}
	}
	return c, nil
}

// stop returns how many calls there were.
func (c *callCounter) stop() (n uint64) {
	for _, fd := range c.fds {
		var b [8]byte
		if k, err := unix.Read(fd, b[:]); err == nil && k == len(b) {
			n += binary.NativeEndian.Uint64(b[:])
		}
		_ = unix.Close(fd)
	}
	c.fds = nil
	return n
}

// threadsOf returns the threads of a process group.
func threadsOf(group int) (tids []int) {
	paths, _ := filepath.Glob("/proc/[0-9]*")
	for _, path := range paths {
		pid, _ := strconv.Atoi(filepath.Base(path))
		if p, err := readStat(pid); err != nil || p.group != group {
			continue
		}
		tasks, _ := filepath.Glob(path + "/task/*")
		for _, task := range tasks {
			tid, _ := strconv.Atoi(filepath.Base(task))
			tids = append(tids, tid)
		}
	}
	return tids
}
