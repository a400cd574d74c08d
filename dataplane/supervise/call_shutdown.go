// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"
	"netcon/shm"
)

// listen carries out listen(2).
func (v *virtual) listen() syscall.Errno {
	if v.mark == shm.MarkShut {
		v.drain()
	}
	r := v.request(shm.OpListen)
	r.Value = int32(v.intArg(1))
	_, e := v.ask(r)
	if e == 0 && v.mark != shm.MarkListen {
		e = v.move(shm.MarkListen)
	}
	return e
}

// shutdown carries out shutdown(2): the daemon is asked first, and when it agrees
// the same is done to the pair. A listener ends without that: it may listen again
// (preload/shutdown.c).
func (v *virtual) shutdown() syscall.Errno {
	how := v.intArg(1)
	if how < unix.SHUT_RD || how > unix.SHUT_RDWR {
		return unix.EINVAL
	}
	r := v.request(shm.OpShutdown)
	r.Value = int32(how)
	if v.mark == shm.MarkListen && how != unix.SHUT_WR {
		_ = launch.SetMark(v.fd, shm.MarkShut)
		v.drain()
	}
	_, e := v.ask(r)
	switch {
	case e != 0 && e != launch.Gone:
		return e
	case v.mark == shm.MarkListen:
		return 0
	}
	return launch.Errno(unix.Shutdown(v.fd, how))
}
