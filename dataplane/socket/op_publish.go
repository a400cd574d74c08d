// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"net/netip"
	"syscall"

	"netcon/shm"

	"golang.org/x/sys/unix"
)

// maxAskedFor is how many published ports one process tree may ask for.
const maxAskedFor = 64

// ListenFunc listens for a program at an address of the host, if it may.
// With datagrams it is a UDP socket.
type ListenFunc func(pid int32, uid uint32, datagrams bool, local netip.AddrPort) (fd int, e syscall.Errno)

// tree is the published ports that a process tree asked for. They end when the
// process that asked has ended, and no process holds the attach socket: some
// programs close every descriptor they did not open.
type tree struct {
	set      *Set
	pidfd    int32 // -1: it has ended
	attached bool
	ports    []Publication
}

// opPublish publishes a port for as long as the process tree lives.
func (t *Set) opPublish(a *attached, r *shm.Request, pid int32, uid uint32) syscall.Errno {
	family, ok := familyOf(r.Addr.Family)
	if !ok {
		return unix.EAFNOSUPPORT
	}
	local, e := decodeAddr(&r.Addr, family)
	switch {
	case e != 0:
		return e
	case r.Value < 1 || r.Value > 65535 || local.Port() == 0 || local.Addr().Is4In6():
		return unix.EINVAL
	case r.Option != 0 && r.Option != unix.IPPROTO_TCP && r.Option != unix.IPPROTO_UDP:
		return unix.EPROTONOSUPPORT
	case t.cfg.Listen == nil:
		return unix.EOPNOTSUPP
	case a.tree != nil && len(a.tree.ports) == maxAskedFor:
		return unix.EMFILE
	}
	datagrams, publish := r.Option == unix.IPPROTO_UDP, t.Publish
	if datagrams {
		publish = t.PublishDatagrams
	}
	fd, e := t.cfg.Listen(pid, uid, datagrams, local)
	if e != 0 {
		return e
	}
	id, e := publish(fd, family, uint16(r.Value))
	if e != 0 {
		return e
	}
	t.published[len(t.published)-1].pid = pid
	if a.tree == nil {
		a.tree = t.plant(pid)
	}
	a.tree.ports = append(a.tree.ports, id)
	return 0
}

// plant begins a tree with the process that asks, which waits for the answer.
func (t *Set) plant(pid int32) *tree {
	r := &tree{set: t, pidfd: -1, attached: true}
	t.trees[r] = struct{}{}
	if fd, err := unix.PidfdOpen(int(pid), 0); err == nil {
		if t.cfg.Poller.Add(fd, r) != nil {
			closeFD(int32(fd))
		} else {
			r.pidfd = int32(fd)
		}
	}
	return r
}

// Ready says that the process has ended.
func (r *tree) Ready(uint32) {
	r.dropPidfd()
	r.settle()
}

// detached says that no process holds the attach socket any more.
func (r *tree) detached() {
	r.attached = false
	r.settle()
}

func (r *tree) settle() {
	if r.attached || r.pidfd >= 0 {
		return
	}
	for _, id := range r.ports {
		r.set.Unpublish(id)
	}
	r.ports = nil
	delete(r.set.trees, r)
}

func (r *tree) dropPidfd() {
	if r.pidfd >= 0 {
		r.set.cfg.Poller.Remove(int(r.pidfd), r)
		closeFD(r.pidfd)
		r.pidfd = -1
	}
}
