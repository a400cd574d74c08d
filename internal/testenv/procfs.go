// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// FDs returns how many file descriptors a process has open.
func FDs(t testing.TB, pid int) int {
	t.Helper()
	d, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatalf("count fds of %d: %v", pid, err)
	}
	if pid == os.Getpid() {
		return len(d) - 1 // the directory itself
	}
	return len(d)
}

// RSS returns the resident memory of a process in bytes.
func RSS(t testing.TB, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatalf("read memory of %d: %v", pid, err)
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		t.Fatalf("memory of %d: %q", pid, b)
	}
	pages, err := strconv.ParseInt(f[1], 10, 64)
	if err != nil {
		t.Fatalf("memory of %d: %v", pid, err)
	}
	return pages * int64(os.Getpagesize())
}

// clockTick is the unit of times in /proc: USER_HZ is 100 wherever Go runs.
const clockTick = 10 * time.Millisecond

// CPU returns the processor time that a process has used, in user and kernel,
// all threads and in steps of 10 ms.
func CPU(t testing.TB, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatalf("read processor time of %d: %v", pid, err)
	}
	// The second field, the program's name, may hold anything up to the last
	// parenthesis; utime and stime are fields 14 and 15.
	s := string(b)
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(f) < 13 {
		t.Fatalf("processor time of %d: %q", pid, b)
	}
	var ticks int64
	for _, v := range f[11:13] {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			t.Fatalf("processor time of %d: %v", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick
}
