// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"fmt"

	"golang.org/x/sys/unix"

	"netcon/dataplane/hostnet"
	"netcon/dataplane/socket"
)

// Slots of the epoll set that are not sockets.
const (
	slotUnderlay = -1
	slotDoorbell = -2
)

// socketEvents is what a socket is watched for, edge-triggered.
const socketEvents = unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET

// watch is one watched socket. gen tells an event for this use of the slot from
// one that was already fetched for an earlier use.
type watch struct {
	handler socket.Handler
	shard   *Shard
	fd      int
	gen     int32
}

// poller is the worker's epoll set.
type poller struct {
	epfd    int
	watches []watch
	free    []int32
	slots   map[int]int32 // fd to slot
	events  [256]unix.EpollEvent
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll set: %w", err)
	}
	return &poller{epfd: fd, slots: map[int]int32{}}, nil
}

// addFixed watches the underlay or the doorbell, level-triggered.
func (p *poller) addFixed(fd int, slot int32) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: slot}
	if err := unix.EpollCtl(p.epfd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("watch fd %d: %w", fd, err)
	}
	return nil
}

func (p *poller) add(fd int, s *Shard, h socket.Handler) error {
	var slot int32
	if n := len(p.free); n > 0 {
		slot = p.free[n-1]
		p.free = p.free[:n-1]
	} else {
		slot = int32(len(p.watches))
		p.watches = append(p.watches, watch{})
	}
	w := &p.watches[slot]
	events := uint32(socketEvents)
	if in, ok := h.(socket.InputHandler); ok && in.InputOnly() {
		events &^= unix.EPOLLOUT
	}
	ev := unix.EpollEvent{Events: events, Fd: slot, Pad: w.gen}
	if err := unix.EpollCtl(p.epfd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		p.free = append(p.free, slot)
		return fmt.Errorf("watch socket fd %d: %w", fd, err)
	}
	w.handler, w.shard, w.fd = h, s, fd
	p.slots[fd] = slot
	return nil
}

func (p *poller) remove(fd int) {
	slot, ok := p.slots[fd]
	if !ok {
		return
	}
	// An application may hold a reference to the same open file, and then
	// closing our fd would not take it out of the set.
	_ = unix.EpollCtl(p.epfd, unix.EPOLL_CTL_DEL, fd, nil)
	delete(p.slots, fd)
	w := &p.watches[slot]
	*w = watch{gen: w.gen + 1}
	p.free = append(p.free, slot)
}

// wait fetches events, for at most timeout milliseconds (-1: for ever). It
// goes through Syscall, never RawSyscall: a sleeping thread must not hold up
// the garbage collector.
func (p *poller) wait(timeout int) []unix.EpollEvent {
	n, err := unix.EpollWait(p.epfd, p.events[:], timeout)
	if err != nil || n < 0 {
		return nil // EINTR: the next turn asks again
	}
	return p.events[:n]
}

// shardPoller is the socket.Poller of one shard: a ready socket makes its shard
// run.
type shardPoller struct{ s *Shard }

func (p shardPoller) Add(fd int, h socket.Handler) error { return p.s.w.poller.add(fd, p.s, h) }

func (p shardPoller) Remove(fd int, _ socket.Handler) { p.s.w.poller.remove(fd) }

// hostPoller is the hostnet.Poller of one shard.
type hostPoller struct{ s *Shard }

func (p hostPoller) Add(fd int, h hostnet.Handler) error { return p.s.w.poller.add(fd, p.s, h) }

func (p hostPoller) Remove(fd int, _ hostnet.Handler) { p.s.w.poller.remove(fd) }
