// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"os"
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestThreads: a thread's process is found, and descriptors are its own, also
// where its number was another's before.
func TestThreads(t *testing.T) {
	type result struct{ tid, process int }
	var all threads
	done, release := make(chan result), make(chan struct{})
	defer close(release)
	for range 2 { // one of them at least is not the first thread
		go func() {
			runtime.LockOSThread()
			done <- result{unix.Gettid(), all.process(unix.Gettid())}
			<-release
		}()
	}
	a, b := <-done, <-done
	for _, r := range []result{a, b} {
		if r.process != os.Getpid() {
			t.Errorf("thread %d is of process %d, want %d", r.tid, r.process, os.Getpid())
		}
	}

	file, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, tid := range []int{a.tid, os.Getpid()} {
		all.known[tid] = thread{fd: pidfdOfEnded(t), process: 1}
		fd, e := all.get(tid, int(file.Fd()))
		if e != 0 {
			t.Fatalf("descriptor of thread %d: %v", tid, e)
		}
		var mine, its unix.Stat_t
		if unix.Fstat(fd, &its) != nil || unix.Fstat(int(file.Fd()), &mine) != nil || mine.Rdev != its.Rdev {
			t.Errorf("descriptor of thread %d is another file", tid)
		}
		_ = unix.Close(fd)
		all.known[tid] = thread{fd: pidfdOfEnded(t), process: 1}
		if p := all.process(tid); p != os.Getpid() {
			t.Errorf("thread %d is of process %d", tid, p)
		}
	}
	if _, e := all.get(a.tid, 1<<20); e != unix.EBADF {
		t.Errorf("a number that nothing has: %v", e)
	}
}

// pidfdOfEnded is a descriptor of a process that has ended.
func pidfdOfEnded(t *testing.T) int {
	t.Helper()
	c := exec.Command("true")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(c.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	return fd
}

// TestThreadsBound: what is remembered has a bound.
func TestThreadsBound(t *testing.T) {
	all := threads{known: map[int]thread{}}
	for i := range threadsMax {
		all.known[-1-i] = thread{fd: -1}
	}
	all.process(os.Getpid())
	if len(all.known) != 1 {
		t.Errorf("%d are remembered", len(all.known))
	}
}
