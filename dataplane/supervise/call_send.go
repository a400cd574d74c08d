// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"
)

// sendAtOnce is what one sendto with an address sends at most; the program sees a
// short count.
const sendAtOnce = 1 << 16

// sending is a sendto, which may wait for room.
type sending struct {
	waiting
	data  []byte
	flags int
}

// sendTo carries out sendto(2) with an address, which TCP ignores and a pair
// refuses.
func (v *virtual) sendTo() error {
	s := &sending{waiting: waiting{virtual: *v}, flags: v.intArg(3)}
	var e syscall.Errno
	if s.data, e = v.read(v.arg(1), int(min(v.arg(2), sendAtOnce))); e != 0 {
		v.end(0, e)
		return nil
	}
	return s.tryOrWait(s, s.flags, unix.EPOLLOUT)
}

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
