// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"
)

// sendAtOnce is what one sendto with an address sends at most; the program sees a
// short count.
const sendAtOnce = 1 << 16

// sending is a sendto that waits for room.
type sending struct {
	virtual
	data  []byte
	flags int
	until time.Time
}

// sendTo carries out sendto(2) with an address, which TCP ignores and a pair
// refuses.
func (v *virtual) sendTo() error {
	s := &sending{virtual: *v, flags: v.intArg(3)}
	var e syscall.Errno
	if s.data, e = v.read(v.arg(1), int(min(v.arg(2), sendAtOnce))); e != 0 {
		v.end(0, e)
		return nil
	}
	if s.try() {
		return nil
	}
	if s.flags&unix.MSG_DONTWAIT != 0 || !v.blocks() {
		v.end(0, unix.EAGAIN)
		return nil
	}
	s.until = v.deadline(unix.SO_SNDTIMEO)
	return v.parking.add(s)
}

func (s *sending) waitsFor() (int, uint32) { return s.fd, unix.EPOLLOUT }

func (s *sending) try() bool {
	n, err := unix.SendmsgN(s.fd, s.data, nil, nil, s.flags|unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	if err == unix.EAGAIN {
		return false
	}
	if err == unix.EPIPE && s.flags&unix.MSG_NOSIGNAL == 0 && s.valid() {
		_ = unix.Tgkill(s.process(), s.tid(), unix.SIGPIPE)
	}
	s.end(int64(max(n, 0)), launch.Errno(err))
	return true
}

func (s *sending) interrupt() bool {
	return s.endIfInterrupted(s.until)
}
