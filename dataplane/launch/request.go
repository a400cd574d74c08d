// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/shm"
)

// Gone is the error where the daemon, or a socket in it, is gone. The kernel has
// no such number.
const Gone = syscall.Errno(4096)

// Requests asks the dataplane about virtual sockets, on an attach socket. Its
// methods are safe from any goroutine.
type Requests struct {
	mu     sync.Mutex
	attach *Attachment // replaced when the daemon was started again
}

// NewRequests returns the requests of an attachment, which is theirs from here on.
func NewRequests(a *Attachment) *Requests { return &Requests{attach: a} }

// NewRequest begins a request about the socket with a cookie.
func NewRequest(op uint16, cookie uint64) *shm.Request {
	return &shm.Request{Magic: shm.Magic, Op: op, Cookie: cookie}
}

// Close closes the attach socket.
func (q *Requests) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return unix.Close(q.attach.FD)
}

// Call asks and waits for the answer, which is never nil; pass goes along, if it is
// not negative.
func (q *Requests) Call(r *shm.Request, pass int) (*shm.Reply, syscall.Errno) {
	reply, e := q.once(r, pass)
	if e == Gone && q.renew() {
		return q.once(r, pass)
	}
	return reply, e
}

func (q *Requests) once(r *shm.Request, pass int) (*shm.Reply, syscall.Errno) {
	fd, e := q.send(r, pass)
	if e != 0 {
		return &shm.Reply{}, e
	}
	defer unix.Close(fd)
	return Answer(fd)
}

// Begin asks, and returns the descriptor where the answer comes, which is the
// caller's to close. Where the daemon was started again it attaches again.
func (q *Requests) Begin(r *shm.Request, pass int) (int, syscall.Errno) {
	fd, e := q.send(r, pass)
	if e == Gone && q.renew() {
		return q.send(r, pass)
	}
	return fd, e
}

func (q *Requests) send(r *shm.Request, pass int) (int, syscall.Errno) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, unix.ENOBUFS
	}
	fds := []int{pair[1]}
	if pass >= 0 {
		fds = append(fds, pass)
	}
	q.mu.Lock()
	for {
		err = unix.Sendmsg(q.attach.FD, shm.RequestBytes(r), unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			break
		}
	}
	q.mu.Unlock()
	_ = unix.Close(pair[1])
	switch err {
	case nil:
		return pair[0], 0
	case unix.ETOOMANYREFS, unix.ENOBUFS, unix.ENOMEM:
		_ = unix.Close(pair[0])
		return -1, unix.ENOBUFS
	}
	_ = unix.Close(pair[0])
	return -1, Gone
}

// Answer reads the answer, which is never nil. EAGAIN: fd does not block, and there
// is none yet. Gone: there will be none, or the cookie names no socket.
func Answer(fd int) (*shm.Reply, syscall.Errno) {
	reply := new(shm.Reply)
	for {
		n, err := ReadRecord(fd, shm.ReplyBytes(reply))
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return reply, unix.EAGAIN
		case err != nil, n != shm.SizeofReply, reply.Magic != shm.Magic, reply.Error == shm.NotOurs:
			return &shm.Reply{}, Gone
		case reply.Error < 0 || reply.Error > 511:
			return reply, unix.EPROTO
		}
		return reply, syscall.Errno(reply.Error)
	}
}

// ReadRecord reads one record, and returns its length also if it is longer than p.
//
// A read that waits asks the kernel's queue first and for the end afterwards
// (unix_dgram_recvmsg, __skb_wait_for_more_packets). Where it is held up in
// between, a record and the end behind it both arrive unseen, and it reports an
// end before the record. The record was there before the end: a second read has
// it.
func ReadRecord(fd int, p []byte) (int, error) {
	n, _, err := unix.Recvfrom(fd, p, unix.MSG_TRUNC)
	if n == 0 && err == nil {
		n, _, err = unix.Recvfrom(fd, p, unix.MSG_TRUNC|unix.MSG_DONTWAIT)
	}
	return n, err
}

// renew attaches again if the attach socket is dead.
func (q *Requests) renew() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := []unix.PollFd{{Fd: int32(q.attach.FD)}}
	if n, _ := unix.Poll(p, 0); n == 0 || p[0].Revents&(unix.POLLHUP|unix.POLLERR) == 0 {
		return false
	}
	next, err := Attach(q.attach.Socket, q.attach.Container)
	if err != nil {
		return false
	}
	unix.CloseOnExec(next.FD)
	_ = unix.Close(q.attach.FD)
	q.attach = next
	return true
}
