// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"
	"netcon/shm"
)

// Filler makes the application's end not writable while a connect runs; see
// preload/connect.c, which says when it may be sent.
const (
	fillSpan   = 14 * 4096
	fillRounds = 1024
)

var zeros [fillSpan]byte

// fill sends filler until poll says not writable, and returns how much.
func (v *virtual) fill() (sent uint32) {
	for range fillRounds {
		n, err := unix.SendmsgN(v.fd, zeros[:], nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err != nil || n == 0 {
			break
		}
		sent += uint32(n)
		p := []unix.PollFd{{Fd: int32(v.fd), Events: unix.POLLOUT}}
		if ready, err := unix.Poll(p, 0); err != nil || ready == 0 || p[0].Revents&unix.POLLOUT == 0 {
			break
		}
	}
	return sent
}

// connecting is a connect that waits for its outcome.
type connecting struct {
	virtual
	request shm.Request
	reply   int // where the outcome comes
	until   time.Time
	late    syscall.Errno // the error at the deadline
}

// connect carries out connect(2), by the table in preload/connect.c.
func (v *virtual) connect() error {
	r := v.request(shm.OpConnect)
	length := v.intArg(2)
	var e syscall.Errno
	if r.Addr, e = v.readSockaddr(v.arg(1), length); e != 0 {
		v.end(0, e)
		return nil
	}
	r.Value = int32(length)
	if r.Addr.Family == unix.AF_UNSPEC {
		v.end(0, v.disconnect(r))
		return nil
	}
	switch v.mark {
	case shm.MarkListen:
		v.end(0, unix.EISCONN)
		return nil
	case shm.MarkShut:
		v.drain()
		fallthrough
	case shm.MarkFresh, shm.MarkTimed:
		e = v.move(shm.MarkUsed)
	default:
		e = v.probe(r)
	}
	switch {
	case v.blocks() && (e == 0 || e == unix.EALREADY):
		return v.connectWaiting(r, e)
	case e == 0:
		r.Filler = v.fill()
		fallthrough
	case e == unix.EISCONN:
		_, e = v.ask(r)
	}
	v.end(0, e)
	return nil
}

// probe asks what a connect would find, without starting one.
func (v *virtual) probe(r *shm.Request) syscall.Errno {
	r.Flags = shm.FlagProbe
	reply, e := v.ask(r)
	r.Flags = 0
	if e == unix.ECONNABORTED && reply.Value != 0 {
		e = v.revive()
		r.Cookie = launch.Cookie(v.fd)
	}
	return e
}

// disconnect dissolves what there is.
func (v *virtual) disconnect(r *shm.Request) syscall.Errno {
	if _, e := v.ask(r); e != 0 {
		return e
	}
	v.drain()
	return v.move(shm.MarkTimed)
}

// connectWaiting starts an attempt, or joins the one that runs.
func (v *virtual) connectWaiting(r *shm.Request, running syscall.Errno) error {
	r.Flags = shm.FlagWait
	reply, e := v.requests.Begin(r, -1)
	if e != 0 {
		v.end(0, e)
		return nil
	}
	c := &connecting{virtual: *v, request: *r, reply: reply, late: unix.EINPROGRESS}
	if running != 0 {
		c.late = running
	}
	_ = unix.SetNonblock(reply, true)
	c.until = v.deadline(unix.SO_SNDTIMEO)
	return v.parking.add(c)
}

func (c *connecting) waitsFor() (int, uint32) { return c.reply, unix.EPOLLIN }

// try ends the call with its outcome.
func (c *connecting) try() bool {
	_, e := launch.Answer(c.reply)
	if e == unix.EAGAIN {
		return false
	}
	c.end(0, e)
	return true
}

// interrupt ends the call, if there is a reason to. The attempt goes on, and poll
// must not find the socket writable before its outcome is known.
func (c *connecting) interrupt() bool {
	e := interruption(&c.target, c.until, c.late)
	if e == 0 {
		return false
	}
	c.request.Flags = shm.FlagHold
	_, held := c.ask(&c.request)
	// From here on the daemon cannot tell an outcome that nobody would read:
	// the next connect is told.
	_ = unix.Shutdown(c.reply, unix.SHUT_RD)
	_, outcome := launch.Answer(c.reply)
	if held == unix.EALREADY {
		// Also where the outcome came just then: or the daemon would read
		// nothing from the connection, ever.
		c.request.Flags = shm.FlagFilled
		if outcome == launch.Gone {
			c.request.Filler = c.fill()
		}
		_, _ = c.ask(&c.request)
	}
	if outcome != launch.Gone {
		e = outcome
	}
	c.end(0, e)
	return true
}

func (c *connecting) close() {
	_ = unix.Close(c.reply)
	c.virtual.close()
}
