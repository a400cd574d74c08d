// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"time"

	"golang.org/x/sys/unix"
)

// waiting is what calls share that wait for their socket, where they have to.
type waiting struct {
	virtual
	events uint32    // of epoll
	until  time.Time // SO_RCVTIMEO or SO_SNDTIMEO; zero: none
}

// tryOrWait carries out c, which w is part of, now or when there are events.
func (w *waiting) tryOrWait(c parked, flags int, events uint32) error {
	if c.try() {
		return nil
	}
	if flags&unix.MSG_DONTWAIT != 0 || !w.blocks() {
		w.end(0, unix.EAGAIN)
		return nil
	}
	limit := unix.SO_RCVTIMEO
	if events == unix.EPOLLOUT {
		limit = unix.SO_SNDTIMEO
	}
	w.events, w.until = events, w.deadline(limit)
	return w.parking.add(c)
}

func (w *waiting) waitsFor() (int, uint32) { return w.fd, w.events }

func (w *waiting) interrupt() bool {
	e := interruption(&w.target, w.until, unix.EAGAIN)
	if e != 0 {
		w.end(0, e)
	}
	return e != 0
}
