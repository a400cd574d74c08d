// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"sync"

	"golang.org/x/sys/unix"
)

// janitor closes fds that may not be closed on the worker's thread: the last
// close of a TCP socket with SO_LINGER, or of a file of a FUSE file system,
// sleeps as long as its maker likes. The goroutine exists only while there is
// something to close. A container that blocks its janitor blocks its own
// requests (foreignBacklog) and nobody else's.
type janitor struct {
	mu      sync.Mutex
	fds     []int32
	backlog int // including the one being closed
	running bool
}

// close takes over fd.
func (j *janitor) close(fd int32) {
	j.mu.Lock()
	j.fds = append(j.fds, fd)
	j.backlog++
	start := !j.running
	j.running = true
	j.mu.Unlock()
	if start {
		go j.run()
	}
}

// behind reports whether too many fds wait.
func (j *janitor) behind() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.backlog > foreignBacklog
}

func (j *janitor) run() {
	for {
		j.mu.Lock()
		if len(j.fds) == 0 {
			j.running = false
			j.mu.Unlock()
			return
		}
		fd := j.fds[0]
		j.fds = j.fds[1:]
		j.mu.Unlock()
		closeFD(fd)
		j.mu.Lock()
		j.backlog--
		j.mu.Unlock()
	}
}

// closeStream closes our end of a pair. What lies in it unread may carry fds,
// which closing would close: where the kernel cannot keep them out
// (SO_PASSRIGHTS), the janitor does it.
func (t *Set) closeStream(fd int32) {
	if !t.noRights && queued(fd) > 0 {
		t.janitor.close(fd)
		return
	}
	closeFD(fd)
}

// closeReply closes a reply socket: one that holds records of the application
// is the janitor's, as above. SHUT_RD keeps further ones out.
func (t *Set) closeReply(fd int32) {
	shutdown(fd, unix.SHUT_RD)
	if queued(fd) > 0 {
		t.janitor.close(fd)
		return
	}
	closeFD(fd)
}
