// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"
	"netcon/shm"
)

// supervisor serves the programs under one filter.
type supervisor struct {
	notify   int
	requests *launch.Requests
	toKernel bool // sockets are the kernel's while the daemon is gone
	parking  *parking
	relay    *relay
	threads  threads
}

// serve answers calls until the last process under the filter has ended.
func serve(notify int, a *launch.Attachment, missing launch.Missing) error {
	setSyncWakeUp(notify)
	s := &supervisor{notify: notify, requests: launch.NewRequests(a), toKernel: missing == launch.MissingKernel}
	var err error
	if s.parking, err = newParking(notify); err != nil {
		return err
	}
	if s.relay, err = newRelay(); err != nil {
		return err
	}
	go s.relay.run()
	failed := make(chan error, 1)
	go func() { failed <- s.loop() }()
	select {
	case err = <-failed:
	case err = <-s.parking.run():
	}
	return err
}

// loop takes one call after the other.
func (s *supervisor) loop() error {
	runtime.LockOSThread() // one thread for the kernel to switch to
	hasten()
	for {
		t := target{notify: s.notify, threads: &s.threads}
		switch e := receive(s.notify, &t.call); e {
		case 0:
			s.dispatch(&t)
		case unix.EINTR, unix.ENOENT: // ENOENT: the caller was killed
		default:
			return fmt.Errorf("receive seccomp notification: %w", e)
		}
	}
}

// dispatch carries out one call.
func (s *supervisor) dispatch(t *target) {
	if t.call.nr == unix.SYS_SOCKET {
		s.socket(t)
		return
	}
	if t.call.nr == unix.SYS_GETSOCKOPT && t.intArg(1) == shm.ProbeLevel {
		probe(t)
		return
	}
	fd, e := t.fd(t.intArg(0))
	if e != 0 {
		t.pass() // the kernel knows best what is wrong with it
		return
	}
	v := virtual{supervisor: s, target: *t, fd: fd, mark: markOf(fd)}
	if v.mark == shm.MarkNetlink {
		v.netlink()
		return
	}
	if t.call.nr == unix.SYS_IOCTL && isInterfaceRequest(uint32(t.arg(1))) {
		v.interfaceRequest()
		v.close()
		return
	}
	if v.mark == shm.MarkPlain {
		if v.datagram() != errParked {
			v.close()
		}
		return
	}
	if v.mark == 0 {
		v.pass()
		v.close()
		return
	}
	if e := v.control(); e != errParked {
		v.close()
	}
}

// errParked says that somebody else ends the call, later.
var errParked = errors.New("parked")

// control carries out a call on a virtual socket.
func (v *virtual) control() error {
	switch v.call.nr {
	case unix.SYS_BIND:
		v.end(0, v.bind())
	case unix.SYS_LISTEN:
		v.end(0, v.listen())
	case unix.SYS_CONNECT:
		return v.connect()
	case unix.SYS_ACCEPT:
		return v.accept(0)
	case unix.SYS_ACCEPT4:
		return v.accept(v.intArg(3))
	case unix.SYS_SHUTDOWN:
		v.end(0, v.shutdown())
	case unix.SYS_GETSOCKNAME:
		v.end(0, v.getsockname())
	case unix.SYS_GETPEERNAME:
		v.end(0, v.getpeername())
	case unix.SYS_GETSOCKOPT:
		v.getsockopt()
	case unix.SYS_SETSOCKOPT:
		v.end(0, v.setsockopt())
	case unix.SYS_SENDTO:
		if v.arg(4) != 0 {
			return v.sendTo()
		}
		v.pass()
	case unix.SYS_RECVFROM:
		return v.receive(v.intArg(3))
	case unix.SYS_RECVMSG:
		return v.receive(v.intArg(2))
	case unix.SYS_SENDMSG:
		v.pass()
	case unix.SYS_IOCTL:
		if v.arg(1) == fionread {
			v.pass()
		} else {
			v.end(0, v.outq())
		}
	default:
		v.pass()
	}
	return nil
}

// public turns an error of ours into one the program knows.
func public(e syscall.Errno) syscall.Errno {
	if e == launch.Gone {
		return unix.ENETDOWN
	}
	return e
}
