// SPDX-License-Identifier: Apache-2.0

package xsk

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// bell is one descriptor that is readable when any queue of a link has frames,
// or when somebody rang: an epoll set with the queues' sockets and an eventfd.
type bell struct {
	epoll, event int
	rung         atomic.Bool
	held         bool    // readable until let go; the worker's, as is buf
	buf          [8]byte // what is read from the eventfd

	mu     sync.Mutex // over closing the eventfd while somebody rings
	closed bool
}

// one is what is written to an eventfd: any number but 0 does, in either byte
// order.
var one = [8]byte{1}

func (b *bell) open() error {
	b.epoll, b.event = -1, -1
	var err error
	if b.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("create epoll set: %w", err)
	}
	if b.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return errors.Join(fmt.Errorf("create eventfd: %w", err), b.close())
	}
	if err := b.watch(b.event); err != nil {
		return errors.Join(err, b.close())
	}
	return nil
}

// watch makes the bell readable when fd is.
func (b *bell) watch(fd int) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if err := unix.EpollCtl(b.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("watch fd %d: %w", fd, err)
	}
	return nil
}

// unwatch takes back what watch did.
func (b *bell) unwatch(fd int) error {
	return unix.EpollCtl(b.epoll, unix.EPOLL_CTL_DEL, fd, nil)
}

// ring makes the bell readable until it is answered, from any goroutine. It
// does not wait.
func (b *bell) ring() {
	if b.rung.Swap(true) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.sound()
	}
}

// answer reports whether somebody rang since the last time, on the worker's
// thread.
func (b *bell) answer() bool {
	if !b.rung.Load() {
		return false
	}
	// The mark is taken away last: who rings before that does not write, but
	// the caller has not looked at anything yet either.
	if !b.held {
		b.clear()
	}
	b.rung.Store(false)
	return true
}

// hold keeps the bell readable, on the worker's thread.
func (b *bell) hold() {
	b.held = true
	b.sound()
}

// letGo ends hold. Who rang meanwhile is heard.
func (b *bell) letGo() {
	b.held = false
	b.clear()
	if b.rung.Load() {
		b.sound() // it was cleared as well
	}
}

func (b *bell) sound() {
	_, _ = unix.Write(b.event, one[:])
}

func (b *bell) clear() {
	_, _ = unix.Read(b.event, b.buf[:])
}

func (b *bell) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	var errs []error
	for _, fd := range []*int{&b.event, &b.epoll} {
		if *fd >= 0 {
			errs = append(errs, unix.Close(*fd))
			*fd = -1
		}
	}
	return errors.Join(errs...)
}
