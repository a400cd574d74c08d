// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stat"
	"netcon/shm"
)

const (
	maxNetlinks   = 1024 // sockets of a container that ask for interfaces
	visitNetlinks = 8    // datagrams of one of them in a turn
)

// netlink is our end of a socket that asks for interfaces. It has no part in the
// network: its answers are in Config.Interfaces.
type netlink struct {
	set    *Set
	fd     int32
	cookie uint64
	port   uint32
	queued bool
}

// opNetlink registers a socket that asks for interfaces.
func (t *Set) opNetlink(r *shm.Request, fd int32) syscall.Errno {
	t.noRights = setSockInt(fd, soPassRights, 0) == 0
	if r.Cookie == 0 || t.netlinks[r.Cookie] != nil || t.byCookie[r.Cookie] != nil || t.cfg.Interfaces == nil {
		t.stat.Drop(stat.DropControlMalformed)
		t.janitor.close(fd)
		return unix.EINVAL
	}
	n := &netlink{set: t, fd: fd, cookie: r.Cookie, port: uint32(r.Value)}
	if len(t.netlinks) >= maxNetlinks || t.cfg.Poller.Add(int(fd), n) != nil {
		t.closeStream(fd)
		return unix.ENOBUFS
	}
	t.netlinks[r.Cookie] = n
	n.Ready(0) // it may have been written to
	return 0
}

// control answers a request about the socket.
func (n *netlink) control(r *shm.Request, reply *shm.Reply) syscall.Errno {
	switch r.Op {
	case shm.OpBind:
		if r.Addr.Family != unix.AF_NETLINK {
			return unix.EINVAL
		}
		if r.Addr.Scope != 0 {
			n.port = r.Addr.Scope
		}
	case shm.OpGetsockname:
		reply.Addr = shm.Addr{Family: unix.AF_NETLINK, Scope: n.port}
	default:
		return unix.EOPNOTSUPP
	}
	return 0
}

// Ready notes that there is something to answer.
func (n *netlink) Ready(uint32) {
	if !n.queued && n.fd >= 0 {
		n.queued = true
		n.set.nlQueue = append(n.set.nlQueue, n)
	}
}

// answerNetlinks answers the sockets that are ready.
func (t *Set) answerNetlinks() {
	list := t.nlQueue
	t.nlQueue = nil
	for _, n := range list {
		n.queued = false
		if n.fd >= 0 {
			n.visit()
		}
	}
}

func (n *netlink) visit() {
	t := n.set
	for range visitNetlinks {
		m, e := recv(n.fd, t.scratch)
		switch {
		case e == unix.EINTR:
			continue
		case e == unix.EAGAIN:
			return
		case e != 0, m == 0 && hungUp(n.fd):
			t.closeNetlink(n)
			return
		}
		// Who does not read its answers loses them, as from the kernel.
		t.cfg.Interfaces.Answer(t.scratch[:m], n.port, func(b []byte) { _, _ = send(n.fd, b) })
	}
	n.Ready(0)
}

func (t *Set) closeNetlink(n *netlink) {
	t.cfg.Poller.Remove(int(n.fd), n)
	t.closeStream(n.fd)
	n.fd = -1
	delete(t.netlinks, n.cookie)
}
