// SPDX-License-Identifier: Apache-2.0

package packetdrill

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stream"
)

// message is the arguments of a call that moves bytes.
type message struct {
	n       int   // bytes
	flags   int64 // of the call
	control *Expr // msg_control
	got     int64 // msg_flags, as the script has it; -1: not said
	inMsg   bool
}

// message reads the arguments behind the descriptor of any reading or writing
// call.
func (r *runner) message(c *Call) (m message, err error) {
	m.got = -1
	flagsAt := -1
	switch c.Name {
	case "read", "write":
		err = r.args(c, 3, 3)
	case "readv", "writev":
		if err = r.args(c, 3, 3); err == nil {
			m.n, err = r.iovec(c.Args[1])
		}
		return m, err
	case "recv", "send":
		flagsAt, err = 3, r.args(c, 4, 4)
	case "recvfrom", "sendto":
		flagsAt, err = 3, r.args(c, 6, 6)
	case "recvmsg", "sendmsg":
		if err = r.args(c, 3, 3); err != nil {
			return m, err
		}
		if m.flags, err = r.eval(c.Args[2]); err != nil {
			return m, err
		}
		return m, r.msghdr(c.Args[1], &m)
	}
	if err != nil {
		return m, err
	}
	n, err := r.eval(c.Args[2])
	if err != nil {
		return m, err
	}
	if m.n = int(n); n < 0 || n > stream.MaxRing {
		return m, r.unsupported("%s of %d bytes", c.Name, n)
	}
	if flagsAt > 0 {
		m.flags, err = r.eval(c.Args[flagsAt])
	}
	return m, err
}

// iovec adds up [{..., 100}, {..., 200}].
func (r *runner) iovec(e Expr) (n int, err error) {
	if e.Kind != exprList {
		return 0, r.unsupported("want [{..., length}, ...]")
	}
	for _, v := range e.List {
		if v.Kind != exprList || len(v.List) != 2 {
			return 0, r.unsupported("want {..., length}")
		}
		l, err := r.eval(v.List[1])
		if err != nil {
			return 0, err
		}
		n += int(l)
	}
	return n, nil
}

func (r *runner) msghdr(e Expr, m *message) (err error) {
	if e.Kind != exprStruct {
		return r.unsupported("want {msg_name(...)=..., msg_iov(1)=[{..., length}], msg_flags=0}")
	}
	m.inMsg = true
	for _, f := range e.Fld {
		switch f.Name {
		case "msg_name":
		case "msg_iov":
			m.n, err = r.iovec(f.Value)
		case "msg_flags":
			m.got, err = r.eval(f.Value)
		case "msg_control":
			v := f.Value
			m.control = &v
		default:
			err = r.unsupported("member %s of a message is not known", f.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) sysRead(c *Call) (try, time.Duration, error) {
	s, e, err := r.sockArg(c)
	if err != nil || s == nil {
		return now(failed(e)), forever, err
	}
	m, err := r.message(c)
	if err != nil {
		return nil, 0, err
	}
	if m.flags&unix.MSG_ERRQUEUE != 0 {
		return now(failed(syscall.EAGAIN)), forever, nil // nothing is ever queued
	}
	if m.flags&unix.MSG_OOB != 0 {
		// There is no out-of-band byte: urgent data is ordinary data.
		return now(failed(syscall.EINVAL)), forever, nil
	}
	if m.n == 0 && !m.inMsg {
		return now(result{}), forever, nil
	}
	nonblock := s.nonblock || m.flags&unix.MSG_DONTWAIT != 0
	target := 1
	if m.flags&unix.MSG_WAITALL != 0 {
		target = m.n
	} else if s.rcvLowat > 1 {
		target = min(s.rcvLowat, m.n)
	}
	taken := 0
	// What follows is tcp_recvmsg.
	return func(last bool) (result, bool) {
		if s.state == sockListening || s.state == sockIdle {
			return failed(syscall.ENOTCONN), true
		}
		n, bad := r.take(s, m.n-taken, m.flags)
		if bad != nil {
			return result{n: int64(n), check: func() error { return bad }}, true
		}
		taken += n
		peek := m.flags&unix.MSG_PEEK != 0
		if taken > 0 && (taken >= target || taken == m.n || peek || nonblock || last || s.eof() || s.rdShut || s.err != 0 || s.state == sockDead) {
			return result{n: int64(taken), check: r.checkMessage(s, m)}, true
		}
		switch {
		case s.eof():
			return result{check: r.checkMessage(s, m)}, true
		case s.err != 0:
			return failed(s.takeError()), true
		case s.rdShut:
			return result{check: r.checkMessage(s, m)}, true
		case s.state == sockDead:
			// tcp_done shut both halves.
			return result{check: r.checkMessage(s, m)}, true
		case nonblock || last:
			return failed(syscall.EAGAIN), true
		}
		return result{}, false
	}, timeout(s.rcvTimeo), nil
}

// take reads up to n bytes and verifies that they are what the script sent.
func (r *runner) take(s *sock, n int, flags int64) (int, error) {
	if n == 0 || s.pair.Rx.Len() == 0 {
		return 0, nil
	}
	first, second := s.pair.Rx.Peek()
	first = first[:min(len(first), n)]
	second = second[:min(len(second), n-len(first))]
	at, content := s.read, contentIn
	if a := s.remote.Addr(); a == r.cfg.local || a.IsLoopback() {
		content = contentOut // another call of the script wrote it
	}
	for _, span := range [][]byte{first, second} {
		for _, b := range span {
			if b != content(at) {
				return 0, r.fail("byte %d of the received stream is %#x, and %#x was sent", at, b, content(at))
			}
			at++
		}
	}
	if flags&unix.MSG_PEEK == 0 {
		s.pair.Rx.Release(len(first) + len(second))
		s.read = at
		r.m.RxRoom(s.h)
	}
	return len(first) + len(second), nil
}

// checkMessage compares what recvmsg stores beside bytes.
func (r *runner) checkMessage(s *sock, m message) func() error {
	if !m.inMsg {
		return nil
	}
	inq := int64(s.pair.Rx.Len())
	if inq == 0 && s.eof() {
		inq = 1 // tcp_inq_hint
	}
	return func() error {
		if m.got > 0 {
			return r.fail("recvmsg: expected msg_flags %#x, got 0", m.got)
		}
		want := 0
		if m.control != nil {
			want = len(m.control.List)
		}
		got := 0
		if s.inq {
			got = 1
		}
		if want != got {
			return r.fail("recvmsg: expected %d control messages, got %d", want, got)
		}
		if got == 0 {
			return nil
		}
		for _, f := range m.control.List[0].Fld {
			v, err := r.eval(f.Value)
			if err != nil {
				return err
			}
			has, ok := map[string]int64{"cmsg_level": unix.SOL_TCP, "cmsg_type": unix.TCP_CM_INQ, "cmsg_data": inq}[f.Name]
			if !ok {
				return r.unsupported("member %s of a control message is not known", f.Name)
			}
			if v != has {
				return r.fail("recvmsg: expected %s %d, got %d", f.Name, v, has)
			}
		}
		return nil
	}
}

func (r *runner) sysWrite(c *Call) (try, time.Duration, error) {
	s, e, err := r.sockArg(c)
	if err != nil || s == nil {
		return now(failed(e)), forever, err
	}
	m, err := r.message(c)
	if err != nil {
		return nil, 0, err
	}
	for flag, name := range map[int64]string{
		unix.MSG_ZEROCOPY: "MSG_ZEROCOPY", unix.MSG_FASTOPEN: "MSG_FASTOPEN", unix.MSG_EOR: "MSG_EOR", unix.MSG_OOB: "MSG_OOB",
	} {
		if m.flags&flag != 0 {
			return nil, 0, r.unsupported("%s with %s is not supported", c.Name, name)
		}
	}
	if m.control != nil && len(m.control.List) > 0 {
		return nil, 0, r.unsupported("%s with control messages is not supported", c.Name)
	}
	nonblock := s.nonblock || m.flags&unix.MSG_DONTWAIT != 0
	given, blocked := 0, false
	// What follows is tcp_sendmsg.
	return func(last bool) (result, bool) {
		if s.state == sockConnecting {
			if nonblock || last {
				return failed(syscall.EAGAIN), true
			}
			return result{}, false
		}
		if s.err != 0 || s.wrShut || s.state != sockConnected {
			if given > 0 {
				return result{n: int64(given)}, true
			}
			if e := s.takeError(); e != 0 {
				return failed(e), true
			}
			return failed(syscall.EPIPE), true
		}
		if blocked && !last && !s.writable() {
			return result{}, false // sk_stream_write_space wakes nobody before
		}
		given += r.put(s, m.n-given, m.flags&unix.MSG_MORE != 0)
		switch {
		case given == m.n:
			return result{n: int64(given)}, true
		case !nonblock && !last:
			s.noSpace, blocked = true, true
			return result{}, false
		case given > 0:
			s.noSpace = true
			return result{n: int64(given)}, true
		}
		s.noSpace = true
		return failed(syscall.EAGAIN), true
	}, timeout(s.sndTimeo), nil
}

// put writes up to n bytes. Under TCP_NOTSENT_LOWAT there is no room for more
// than the limit that was not sent.
func (r *runner) put(s *sock, n int, more bool) int {
	total := 0
	for total < n {
		if s.notSentLowat > 0 && s.notSent() >= s.notSentLowat {
			break
		}
		part := min(n-total, s.room())
		if s.notSentLowat > 0 {
			part = min(part, s.notSentLowat) // then look again at what was sent
		}
		if part == 0 {
			break
		}
		first, second := s.pair.Tx.Reserve()
		first = first[:min(len(first), part)]
		second = second[:min(len(second), part-len(first))]
		for _, span := range [][]byte{first, second} {
			for i := range span {
				span[i] = contentOut(s.wrote)
				s.wrote++
			}
		}
		s.pair.Tx.Publish(part)
		total += part
		if more && !s.more {
			// Bytes wait for more, as under TCP_CORK.
			s.more = true
			r.m.SetOption(s.h, stream.OptCork, 1)
		}
		if s.notSentLowat > 0 && total < n {
			r.m.TxReady(s.h)
			r.m.Transmit((*port)(r), 64)
		}
	}
	if total > 0 {
		r.m.TxReady(s.h)
	}
	if !more && s.more && total == n {
		s.more = false
		if !s.cork {
			r.m.SetOption(s.h, stream.OptCork, 0)
		}
	}
	return total
}
