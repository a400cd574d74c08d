// SPDX-License-Identifier: Apache-2.0

package packetdrill

import (
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stream"
)

func (r *runner) sysSocket(c *Call) (try, time.Duration, error) {
	if err := r.args(c, 3, 3); err != nil {
		return nil, 0, err
	}
	domain := int64(unix.AF_INET)
	if r.cfg.ipv6 || r.cfg.mapped {
		domain = unix.AF_INET6
	}
	domain, err := r.arg(c, 0, domain)
	if err != nil {
		return nil, 0, err
	}
	typ, err := r.arg(c, 1, unix.SOCK_STREAM)
	if err != nil {
		return nil, 0, err
	}
	proto, err := r.arg(c, 2, unix.IPPROTO_TCP)
	if err != nil {
		return nil, 0, err
	}
	if typ&^(unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC) != unix.SOCK_STREAM || proto != unix.IPPROTO_TCP && proto != 0 {
		return nil, 0, r.unsupported("sockets that are not TCP are not supported")
	}
	family := stream.IPv4
	if domain == unix.AF_INET6 {
		family = stream.IPv6
	}
	fd, err := r.newFD(c)
	if err != nil {
		return nil, 0, err
	}
	h, e := r.m.Open(family, uint64(len(r.socks)))
	if e != 0 {
		return now(failed(e)), forever, nil
	}
	s := r.newSock()
	s.h, s.fd, s.nonblock = h, fd, typ&unix.SOCK_NONBLOCK != 0
	r.files[fd] = s
	r.cur = nil
	return now(result{n: int64(fd)}), forever, nil
}

// addrArg returns the address that an argument names; def if it is "...".
func (r *runner) addrArg(e Expr, def netip.AddrPort) (netip.AddrPort, error) {
	if e.Kind == exprEllipsis {
		return def, nil
	}
	if e.Kind != exprStruct {
		return def, r.unsupported("want {sa_family = AF_INET, sin_port = htons(80), sin_addr = inet_addr(\"192.0.2.1\")}")
	}
	addr, port := def.Addr(), int64(0)
	for _, f := range e.Fld {
		var err error
		switch f.Name {
		case "sa_family":
			continue
		case "sin_port", "sin6_port":
			if port, err = r.eval(f.Value); err != nil {
				return def, err
			}
		case "sin_addr", "sin6_addr":
			v := f.Value
			if v.Kind == exprWord && v.Text == "INADDR_ANY" {
				addr = netip.IPv4Unspecified()
				continue
			}
			if v.Kind != exprCall || len(v.List) != 1 || v.List[0].Kind != exprString {
				return def, r.unsupported("%s: want inet_addr(\"192.0.2.1\")", f.Name)
			}
			if addr, err = netip.ParseAddr(v.List[0].Text); err != nil {
				return def, r.unsupported("%s: %v", f.Name, err)
			}
		default:
			return def, r.unsupported("member %s of an address is not known", f.Name)
		}
	}
	return netip.AddrPortFrom(addr, uint16(port)), nil
}

func (r *runner) sysBind(c *Call) (try, time.Duration, error) {
	s, e, err := r.sockArg(c)
	if err == nil {
		err = r.args(c, 3, 3)
	}
	if err != nil || s == nil {
		return now(failed(e)), forever, err
	}
	at, err := r.addrArg(c.Args[1], netip.AddrPortFrom(r.cfg.sockAddr(r.cfg.local), r.cfg.bindPort))
	if err != nil {
		return nil, 0, err
	}
	e = r.m.Bind(s.h, at)
	if e == 0 {
		s.local = r.m.Local(s.h)
	}
	return now(status(e)), forever, nil
}

func (r *runner) sysListen(c *Call) (try, time.Duration, error) {
	s, e, err := r.sockArg(c)
	if err == nil {
		err = r.args(c, 2, 2)
	}
	if err != nil || s == nil {
		return now(failed(e)), forever, err
	}
	backlog, err := r.eval(c.Args[1])
	if err != nil {
		return nil, 0, err
	}
	if s.state != sockIdle && s.state != sockListening {
		return now(failed(syscall.EINVAL)), forever, nil
	}
	if e = r.m.Listen(s.h, int(backlog)); e == 0 {
		s.state, s.local = sockListening, r.m.Local(s.h)
	}
	return now(status(e)), forever, nil
}

func (r *runner) sysAccept(c *Call) (try, time.Duration, error) {
	s, e, err := r.sockArg(c)
	if err == nil {
		err = r.args(c, 3, 4)
	}
	if err != nil || s == nil {
		return now(failed(e)), forever, err
	}
	flags := int64(0)
	if len(c.Args) == 4 {
		if flags, err = r.eval(c.Args[3]); err != nil {
			return nil, 0, err
		}
	}
	if s.state != sockListening {
		return now(failed(syscall.EINVAL)), forever, nil
	}
	fd, err := r.newFD(c)
	if err != nil {
		return nil, 0, err
	}
	return func(last bool) (result, bool) {
		k, e := s.held, syscall.Errno(0)
		if s.held = nil; k == nil {
			k, e = r.fetch(s)
		}
		switch {
		case e == syscall.EAGAIN && !last && !s.nonblock && s.state == sockListening:
			return result{}, false
		case e != 0:
			return failed(e), true
		}
		k.fd, k.nonblock = fd, flags&unix.SOCK_NONBLOCK != 0
		r.files[fd] = k
		r.attach(k)
		r.m.RxRoom(k.h)
		return result{n: int64(fd)}, true
	}, timeout(s.rcvTimeo), nil
}

// fetch takes a connection off a listener.
func (r *runner) fetch(s *sock) (*sock, syscall.Errno) {
	h, e := r.m.Accept(s.h, uint64(len(r.socks)))
	if e != 0 {
		s.acceptable = false
		return nil, e
	}
	k := r.newSock()
	k.h, k.state, k.answered, k.tried = h, sockConnected, true, true
	k.sndbuf, k.rcvbuf, k.linger, k.notSentLowat = s.sndbuf, s.rcvbuf, s.linger, s.notSentLowat
	k.sndTimeo, k.rcvTimeo, k.rcvLowat, k.inq = s.sndTimeo, s.rcvTimeo, s.rcvLowat, s.inq
	k.local = r.m.Local(h)
	if remote, e := r.m.Remote(h); e == 0 {
		k.remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	}
	for _, f := range r.flows {
		if f.sock == nil && !f.gone && f.remote == k.remote && f.local.Port() == k.local.Port() {
			f.sock, k.flow = k, f
			r.cur = f
		}
	}
	return k, 0
}

// timeout turns SO_RCVTIMEO into patience.
func timeout(d time.Duration) time.Duration {
	if d == 0 {
		return forever
	}
	return d
}

func (r *runner) sysConnect(c *Call) (try, time.Duration, error) {
	s, e, err := r.sockArg(c)
	if err == nil {
		err = r.args(c, 3, 3)
	}
	if err != nil || s == nil {
		return now(failed(e)), forever, err
	}
	if c.Args[1].Kind == exprWord || c.Args[1].Kind == exprStruct && len(c.Args[1].Fld) == 1 {
		return nil, 0, r.unsupported("connect that dissolves a connection (AF_UNSPEC) is not supported")
	}
	to, err := r.addrArg(c.Args[1], netip.AddrPortFrom(r.cfg.sockAddr(r.cfg.remote), r.cfg.connPort))
	if err != nil {
		return nil, 0, err
	}
	begun := false
	if s.state == sockIdle {
		s.remote = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
		if s.tried {
			s.pair.Init() // that of a try that failed
		}
		r.attach(s)
		s.state, s.tried, begun = sockConnecting, true, true
		if e := r.m.Connect(s.h, to); e != 0 && e != syscall.EINPROGRESS {
			s.state = sockIdle
			return now(failed(e)), forever, nil
		}
	}
	// What follows is __inet_stream_connect.
	return func(last bool) (result, bool) {
		switch {
		case s.state == sockListening || s.answered:
			return failed(syscall.EISCONN), true
		case s.state == sockConnecting && !s.nonblock && !last:
			return result{}, false
		case s.state == sockConnecting && begun:
			return failed(syscall.EINPROGRESS), true
		case s.state == sockConnecting:
			return failed(syscall.EALREADY), true
		case s.state == sockDead:
			s.state = sockIdle // it may try again
			if e := s.takeError(); e != 0 {
				return failed(e), true
			}
			return failed(syscall.ECONNABORTED), true
		}
		s.answered = true
		return result{}, true
	}, timeout(s.sndTimeo), nil
}

func (r *runner) sysShutdown(c *Call) (try, time.Duration, error) {
	s, e, err := r.sockArg(c)
	if err == nil {
		err = r.args(c, 2, 2)
	}
	if err != nil || s == nil {
		return now(failed(e)), forever, err
	}
	how, err := r.eval(c.Args[1])
	if err != nil {
		return nil, 0, err
	}
	if how < unix.SHUT_RD || how > unix.SHUT_RDWR {
		return now(failed(syscall.EINVAL)), forever, nil
	}
	halves := [...]stream.How{stream.ShutRead, stream.ShutWrite, stream.ShutRead | stream.ShutWrite}[how]
	if s.state == sockDead || s.state == sockIdle {
		return now(failed(syscall.ENOTCONN)), forever, nil
	}
	if e = r.m.Shutdown(s.h, halves); e == 0 {
		s.rdShut = s.rdShut || halves&stream.ShutRead != 0
		if halves&stream.ShutWrite != 0 && !s.wrShut {
			s.wrShut = true
			s.pair.TxEOF.Store(true)
			r.m.TxReady(s.h)
		}
		s.wake(unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLHUP)
	}
	return now(status(e)), forever, nil
}

// Numbers of states in struct tcp_info.
const (
	stateFinWait1 = 4
	stateClosing  = 11
	stateLastAck  = 9
)

func (r *runner) sysClose(c *Call) (try, time.Duration, error) {
	if err := r.args(c, 1, 1); err != nil {
		return nil, 0, err
	}
	fd, err := r.eval(c.Args[0])
	if err != nil {
		return nil, 0, err
	}
	f, ok := r.files[int(fd)]
	if !ok {
		return now(failed(syscall.EBADF)), forever, nil
	}
	delete(r.files, int(fd))
	s, ok := f.(*sock)
	if !ok {
		return now(result{}), forever, nil
	}
	for _, i := range s.items {
		i.gone = true
	}
	finish := func() (result, bool) {
		if !s.closedByOwner {
			s.closedByOwner = true
			if s.flow != nil {
				s.flow.gone = true
			}
			if s.held != nil {
				r.m.Abort(s.held.h)
			}
			r.m.Close(s.h)
		}
		return result{}, true
	}
	if s.linger <= 0 || s.nonblock || s.state != sockConnected || s.pair.Rx.Len() > 0 {
		return func(bool) (result, bool) { return finish() }, forever, nil
	}
	// SO_LINGER: wait until the peer has acknowledged the FIN.
	if !s.wrShut {
		s.wrShut = true
		r.m.Shutdown(s.h, stream.ShutWrite)
	}
	return func(last bool) (result, bool) {
		var info stream.Info
		r.m.Info(s.h, &info)
		waiting := info.State == stateFinWait1 || info.State == stateClosing || info.State == stateLastAck || info.State == 1 || info.State == 8
		if waiting && !last && s.state == sockConnected {
			return result{}, false
		}
		return finish()
	}, time.Duration(s.linger) * time.Second, nil
}

// sysName is getsockname and getpeername. The addresses are compared if the
// script names them.
func (r *runner) sysName(c *Call) (try, time.Duration, error) {
	s, e, err := r.sockArg(c)
	if err == nil {
		err = r.args(c, 3, 3)
	}
	if err != nil || s == nil {
		return now(failed(e)), forever, err
	}
	at := r.m.Local(s.h)
	if c.Name == "getpeername" {
		if at, e = r.m.Remote(s.h); e != 0 {
			return now(failed(e)), forever, nil
		}
	}
	want, err := r.addrArg(c.Args[1], at)
	if err != nil {
		return nil, 0, err
	}
	return now(result{check: func() error {
		if want != at {
			return r.fail("%s: expected %v, got %v", c.Name, want, at)
		}
		return nil
	}}), forever, nil
}
