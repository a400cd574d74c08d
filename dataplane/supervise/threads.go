// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"
)

// pidfdThread is PIDFD_THREAD, Linux 6.9: a descriptor of one thread.
const pidfdThread = unix.O_EXCL

// threadsMax bounds how many threads are remembered.
const threadsMax = 256

// threads remembers descriptors of the threads that made calls. A number is used
// again when its thread has ended; a descriptor is of the one thread, and tells of
// its end.
type threads struct {
	mu    sync.Mutex
	known map[int]thread
}

type thread struct {
	fd      int // pidfd
	process int
}

// open makes a descriptor of the thread; on kernels that have none, of its process.
func open(tid int) (t thread, e syscall.Errno) {
	t.process = tid
	// The first thread of a process has its number.
	fd, err := unix.PidfdOpen(tid, 0)
	if err != nil {
		t.process = processOf(tid)
		fd, err = unix.PidfdOpen(tid, pidfdThread)
	}
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.PidfdOpen(t.process, 0)
	}
	t.fd = fd
	return t, launch.Errno(err)
}

// processOf returns the number of the process that a thread is of.
func processOf(tid int) int {
	b, _ := os.ReadFile("/proc/" + strconv.Itoa(tid) + "/status")
	_, after, _ := strings.Cut(string(b), "\nTgid:")
	line, _, _ := strings.Cut(after, "\n")
	if n, err := strconv.Atoi(strings.TrimSpace(line)); err == nil {
		return n
	}
	return tid
}

// of returns what is known of a thread. The caller holds the lock.
func (t *threads) of(tid int, fresh bool) (thread, syscall.Errno) {
	if x, ok := t.known[tid]; ok {
		if !fresh {
			return x, 0
		}
		_ = unix.Close(x.fd)
		delete(t.known, tid)
	}
	x, e := open(tid)
	if e != 0 {
		return x, e
	}
	if len(t.known) >= threadsMax {
		for tid, old := range t.known {
			_ = unix.Close(old.fd)
			delete(t.known, tid)
		}
	}
	if t.known == nil {
		t.known = map[int]thread{}
	}
	t.known[tid] = x
	return x, 0
}

// get returns a descriptor of our own for number n of the thread's.
func (t *threads) get(tid, n int) (int, syscall.Errno) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, fresh := range []bool{false, true} {
		x, e := t.of(tid, fresh)
		if e != 0 {
			return -1, e
		}
		fd, err := unix.PidfdGetfd(x.fd, n, 0)
		if err == nil {
			return fd, 0
		}
		if err != unix.ESRCH || fresh {
			return -1, launch.Errno(err)
		}
	}
	return -1, unix.ESRCH
}

// process returns the number of the thread's process.
func (t *threads) process(tid int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	x, e := t.of(tid, false)
	if e == 0 && polled(x.fd, unix.POLLIN) != 0 { // it has ended
		x, e = t.of(tid, true)
	}
	if e != 0 {
		return tid
	}
	return x.process
}
