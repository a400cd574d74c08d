// SPDX-License-Identifier: Apache-2.0

package packetdrill

import (
	"fmt"
	"math"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// result is what a system call returned.
type result struct {
	n     int64
	errno syscall.Errno

	// check compares what the call stored in its arguments; nil: nothing.
	check func() error
}

func failed(e syscall.Errno) result { return result{n: -1, errno: e} }

// status is the result of a call that succeeds with 0.
func status(e syscall.Errno) result {
	if e != 0 {
		return failed(e)
	}
	return result{}
}

// try does what a system call does. It returns false if the call has to wait;
// last says that it waits no longer.
type try func(last bool) (result, bool)

// now is a call that never waits.
func now(res result) try { return func(bool) (result, bool) { return res, true } }

// pending is a system call that waits.
type pending struct {
	ev      *Event
	start   time.Duration
	end     time.Duration // when the script says that it returns
	timeout time.Duration // when it stops waiting by itself
	try     try
	done    bool
}

// forever is a timeout that never comes.
const forever = time.Duration(math.MaxInt64)

// handler reads the arguments of a call and returns what to do, and after which
// time to stop waiting.
type handler func(r *runner, c *Call) (try, time.Duration, error)

// handlers are the system calls.
var handlers map[string]handler

func init() {
	handlers = map[string]handler{
		"socket": (*runner).sysSocket, "bind": (*runner).sysBind, "listen": (*runner).sysListen,
		"accept": (*runner).sysAccept, "accept4": (*runner).sysAccept, "connect": (*runner).sysConnect,
		"shutdown": (*runner).sysShutdown, "close": (*runner).sysClose,
		"getsockname": (*runner).sysName, "getpeername": (*runner).sysName,
		"read": (*runner).sysRead, "readv": (*runner).sysRead, "recv": (*runner).sysRead, "recvfrom": (*runner).sysRead,
		"recvmsg": (*runner).sysRead,
		"write":   (*runner).sysWrite, "writev": (*runner).sysWrite, "send": (*runner).sysWrite, "sendto": (*runner).sysWrite,
		"sendmsg":    (*runner).sysWrite,
		"setsockopt": (*runner).sysSetOption, "getsockopt": (*runner).sysGetOption,
		"fcntl": (*runner).sysFcntl, "ioctl": (*runner).sysIoctl,
		"poll": (*runner).sysPoll, "epoll_create": (*runner).sysEpollCreate, "epoll_create1": (*runner).sysEpollCreate,
		"epoll_ctl": (*runner).sysEpollCtl, "epoll_wait": (*runner).sysEpollWait,
	}
}

// call starts the system call of an event. Its relative times are to base.
func (r *runner) call(ev *Event, base time.Duration) error {
	c := ev.Call
	h, ok := handlers[c.Name]
	if !ok {
		return r.unsupported("system call %s is not supported", c.Name)
	}
	do, patience, err := h(r, c)
	if err != nil {
		return err
	}
	p := &pending{ev: ev, start: r.now, end: c.End, timeout: forever, try: do}
	if ev.When.Relative {
		p.end += base
	}
	if patience < forever-r.now {
		p.timeout = r.now + patience
	}
	if err := r.attempt(p); err != nil {
		return err
	}
	if p.done {
		return r.settle()
	}
	r.wait = append(r.wait, p)
	if c.Blocking {
		r.trace("%s...", c)
		return r.settle()
	}
	// It may be over at this moment yet: a connection to the machine itself.
	p.end = r.now
	if err := r.settle(); err != nil {
		return err
	}
	if !p.done {
		r.line = ev.Line
		return r.fail("%s blocks: expected %s", c.Name, r.wanted(c))
	}
	return nil
}

// attempt tries a call that may have to wait.
func (r *runner) attempt(p *pending) error {
	res, done := p.try(r.now >= p.timeout)
	if !done {
		return nil
	}
	p.done = true
	line := r.line
	r.line = p.ev.Line
	defer func() { r.line = line }()
	if err := r.verify(p.ev.Call, res); err != nil {
		return err
	}
	if p.ev.Call.Blocking && (r.now < p.end-r.cfg.tolerance || r.now > p.end+r.slack(p)) {
		return r.fail("timing error: %s should return at %s and returned at %s; tolerance %s",
			p.ev.Call.Name, seconds(p.end), seconds(r.now), seconds(r.slack(p)))
	}
	return nil
}

// slack is how much later than expected a call may return.
func (r *runner) slack(p *pending) time.Duration {
	return max(r.cfg.tolerance, time.Duration(float64(p.end-p.start)*r.cfg.percent/100))
}

// progress tries the calls that wait, and reports whether one went on.
func (r *runner) progress() (moved bool, err error) {
	rest := r.wait[:0]
	for _, p := range r.wait {
		if err := r.attempt(p); err != nil {
			return false, err
		}
		if p.done {
			moved = true
			continue
		}
		if r.now > p.end+r.slack(p) {
			r.line = p.ev.Line
			return false, r.fail("%s should have returned at %s; it is %s and it still blocks", p.ev.Call.Name, seconds(p.end), seconds(r.now))
		}
		rest = append(rest, p)
	}
	r.wait = rest
	return moved, nil
}

// finishCalls waits for calls that outlive the script's events.
func (r *runner) finishCalls() error {
	for len(r.wait) > 0 {
		end := r.now
		for _, p := range r.wait {
			end = max(end, p.end+r.slack(p)+time.Microsecond)
		}
		if err := r.sleep(end); err != nil {
			return err
		}
	}
	return nil
}

// verify compares what a call returned with what the script says.
func (r *runner) verify(c *Call, res result) error {
	got := r.described(res)
	if c.Result.Kind != exprEllipsis {
		want, err := r.eval(c.Result)
		if err != nil {
			return err
		}
		if want != res.n {
			return r.fail("%s: expected %s, got %s", c.Name, r.wanted(c), got)
		}
	}
	if c.Errno != "" {
		want, ok := errnoByName[c.Errno]
		if !ok {
			return r.unsupported("error %s is not known", c.Errno)
		}
		if want != res.errno {
			return r.fail("%s: expected %s, got %s", c.Name, r.wanted(c), got)
		}
	}
	r.trace("%s = %s", c, got)
	if res.check != nil {
		return res.check()
	}
	return nil
}

func (r *runner) wanted(c *Call) string {
	text := "..."
	if v, err := r.eval(c.Result); err == nil {
		text = fmt.Sprint(v)
	}
	if c.Errno != "" {
		text += " " + c.Errno
	}
	return text
}

func (r *runner) described(res result) string {
	if res.errno != 0 {
		return fmt.Sprintf("%d %s (%v)", res.n, unix.ErrnoName(res.errno), res.errno)
	}
	return fmt.Sprint(res.n)
}

// errnoByName maps EAGAIN to its number.
var errnoByName = func() map[string]syscall.Errno {
	m := map[string]syscall.Errno{}
	for e := syscall.Errno(1); e < 134; e++ {
		if name := unix.ErrnoName(e); name != "" {
			m[name] = e
		}
	}
	m["EWOULDBLOCK"] = syscall.EAGAIN
	m["ENOTSUPP"] = 524
	return m
}()

// args verifies how many arguments a call has.
func (r *runner) args(c *Call, least, most int) error {
	if n := len(c.Args); n < least || n > most {
		return r.unsupported("%s has %d arguments (want %d to %d)", c.Name, n, least, most)
	}
	return nil
}

// arg returns an argument's number, def if it is "...".
func (r *runner) arg(c *Call, i int, def int64) (int64, error) {
	if c.Args[i].Kind == exprEllipsis {
		return def, nil
	}
	return r.eval(c.Args[i])
}

// sockArg returns the socket that the first argument names. A nil socket comes
// with the error that the call returns.
func (r *runner) sockArg(c *Call) (*sock, syscall.Errno, error) {
	if len(c.Args) == 0 {
		return nil, 0, r.unsupported("%s without a descriptor", c.Name)
	}
	fd, err := r.eval(c.Args[0])
	if err != nil {
		return nil, 0, err
	}
	f, ok := r.files[int(fd)]
	if !ok {
		return nil, syscall.EBADF, nil
	}
	s, ok := f.(*sock)
	if !ok {
		return nil, syscall.ENOTSOCK, nil
	}
	return s, 0, nil
}

// newFD returns the descriptor for a new file: the script's number, so that a
// script need not know what else is open.
func (r *runner) newFD(c *Call) (int, error) {
	if c.Result.Kind == exprInt && c.Result.Int >= 0 {
		fd := int(c.Result.Int)
		if r.files[fd] != nil {
			return 0, r.unsupported("%s returns descriptor %d, which is open", c.Name, fd)
		}
		return fd, nil
	}
	fd := 3
	for r.files[fd] != nil {
		fd++
	}
	return fd, nil
}
