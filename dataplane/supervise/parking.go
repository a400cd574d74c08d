// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// parkTick is how often parked calls are looked at for signals, time limits and
// callers that were killed.
const parkTick = 50 * time.Millisecond

// parked is a call that waits for a descriptor.
type parked interface {
	// waitsFor returns a descriptor and the events of epoll to wait for.
	waitsFor() (fd int, events uint32)
	valid() bool
	// try ends the call, if what it waits for is there.
	try() bool
	// interrupt ends the call, if a signal or a time limit does.
	interrupt() bool
	close()
}

// parking is the calls that wait. Descriptors are watched one event at a time, so
// that the parked accepts of many processes do not all wake for one connection
// more often than the kernel's would.
type parking struct {
	epoll  int
	notify int
	wake   int // eventfd: the first call was parked

	mu    sync.Mutex
	next  int32
	calls map[int32]parked
}

// The keys of the supervisor's own descriptors; calls have positive ones.
const (
	keyNotify = -1
	keyWake   = -2
)

func newParking(notify int) (*parking, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll set: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("create eventfd: %w", err)
	}
	p := &parking{epoll: epoll, notify: notify, wake: wake, calls: map[int32]parked{}}
	// No events asked for: the end of the last process is told unasked.
	for fd, ev := range map[int]unix.EpollEvent{notify: {Fd: keyNotify}, wake: {Events: unix.EPOLLIN, Fd: keyWake}} {
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
			return nil, fmt.Errorf("watch supervisor's descriptors: %w", err)
		}
	}
	return p, nil
}

// add parks a call. It returns errParked: the call is not its caller's any more.
func (p *parking) add(c parked) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	if p.next <= 0 {
		p.next = 1
	}
	key := p.next
	p.calls[key] = c
	// A descriptor is in an epoll set once: the copies that pidfd_getfd made
	// are different numbers of one file, and so different entries.
	p.arm(unix.EPOLL_CTL_ADD, key, c)
	if len(p.calls) == 1 {
		_, _ = unix.Write(p.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
	return errParked
}

// run looks after parked calls. The channel yields nil when the last process
// under the filter has ended.
func (p *parking) run() <-chan error {
	done := make(chan error, 1)
	go func() { done <- p.watch() }()
	return done
}

func (p *parking) watch() error {
	events := make([]unix.EpollEvent, 64)
	looked := time.Now()
	for {
		timeout := -1
		p.mu.Lock()
		if len(p.calls) > 0 {
			timeout = int(parkTick.Milliseconds())
		}
		p.mu.Unlock()
		n, err := unix.EpollWait(p.epoll, events, timeout)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("wait for parked calls: %w", err)
		}
		for _, ev := range events[:max(n, 0)] {
			switch {
			case ev.Fd == keyNotify:
				return nil
			case ev.Fd == keyWake:
				var b [8]byte
				_, _ = unix.Read(p.wake, b[:])
			default:
				p.ready(ev.Fd)
			}
		}
		if time.Since(looked) >= parkTick {
			looked = time.Now()
			p.look()
		}
	}
}

// ready tries a call whose descriptor has something.
func (p *parking) ready(key int32) {
	p.mu.Lock()
	c := p.calls[key]
	p.mu.Unlock()
	if c == nil {
		return
	}
	// Who is gone must not take a connection along.
	if !c.valid() || c.try() {
		p.remove(key, c)
		return
	}
	p.arm(unix.EPOLL_CTL_MOD, key, c)
}

// arm watches a call's descriptor for one event.
func (p *parking) arm(op int, key int32, c parked) {
	fd, events := c.waitsFor()
	ev := unix.EpollEvent{Events: events | unix.EPOLLONESHOT, Fd: key}
	_ = unix.EpollCtl(p.epoll, op, fd, &ev)
}

// look ends the calls that a signal, a time limit or the caller's death ends.
func (p *parking) look() {
	p.mu.Lock()
	all := make(map[int32]parked, len(p.calls))
	for key, c := range p.calls {
		all[key] = c
	}
	p.mu.Unlock()
	for key, c := range all {
		if !c.valid() || c.interrupt() {
			p.remove(key, c)
		}
	}
}

func (p *parking) remove(key int32, c parked) {
	p.mu.Lock()
	delete(p.calls, key)
	p.mu.Unlock()
	fd, _ := c.waitsFor()
	_ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, fd, nil)
	c.close()
}
