// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"
	"netcon/shm"
)

// eGone is the error where the daemon, or a socket in it, is gone.
const eGone = syscall.Errno(4096)

// daemon asks the dataplane on an attach socket.
type daemon struct {
	mu     sync.Mutex
	attach *launch.Attachment // replaced when the daemon was started again
}

func newRequest(op uint16, cookie uint64) *shm.Request {
	return &shm.Request{Magic: shm.Magic, Op: op, Cookie: cookie}
}

// call asks and waits for the answer; pass goes along, if it is not negative.
func (d *daemon) call(r *shm.Request, pass int) (*shm.Reply, syscall.Errno) {
	var reply *shm.Reply
	fd, e := d.begin(r, pass)
	if e == 0 {
		reply, e = finish(fd)
		_ = unix.Close(fd)
	}
	if e == eGone && d.renew() {
		if fd, e = d.begin(r, pass); e == 0 {
			reply, e = finish(fd)
			_ = unix.Close(fd)
		}
	}
	if reply == nil {
		reply = &shm.Reply{}
	}
	return reply, e
}

// begin asks, and returns where the answer comes.
func (d *daemon) begin(r *shm.Request, pass int) (int, syscall.Errno) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, unix.ENOBUFS
	}
	fds := []int{pair[1]}
	if pass >= 0 {
		fds = append(fds, pass)
	}
	d.mu.Lock()
	for {
		err = unix.Sendmsg(d.attach.FD, shm.RequestBytes(r), unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			break
		}
	}
	d.mu.Unlock()
	_ = unix.Close(pair[1])
	switch err {
	case nil:
		return pair[0], 0
	case unix.ETOOMANYREFS, unix.ENOBUFS, unix.ENOMEM:
		_ = unix.Close(pair[0])
		return -1, unix.ENOBUFS
	}
	_ = unix.Close(pair[0])
	return -1, eGone
}

// finish reads the answer. EAGAIN: fd does not block, and there is none yet.
func finish(fd int) (*shm.Reply, syscall.Errno) {
	reply := new(shm.Reply)
	for {
		n, _, err := unix.Recvfrom(fd, shm.ReplyBytes(reply), unix.MSG_TRUNC)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return nil, unix.EAGAIN
		case err != nil, n != shm.SizeofReply, reply.Magic != shm.Magic, reply.Error == shm.NotOurs:
			return nil, eGone
		case reply.Error < 0 || reply.Error > 511:
			return reply, unix.EPROTO
		}
		return reply, syscall.Errno(reply.Error)
	}
}

// renew attaches again if the attach socket is dead.
func (d *daemon) renew() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := []unix.PollFd{{Fd: int32(d.attach.FD)}}
	if n, _ := unix.Poll(p, 0); n == 0 || p[0].Revents&(unix.POLLHUP|unix.POLLERR) == 0 {
		return false
	}
	next, err := launch.Attach(d.attach.Socket, d.attach.Container)
	if err != nil {
		return false
	}
	unix.CloseOnExec(next.FD)
	_ = unix.Close(d.attach.FD)
	d.attach = next
	return true
}
