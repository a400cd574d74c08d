// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"encoding/binary"
	"syscall"

	"netcon/dataplane/stat"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

// maxControlFDs is SCM_MAX_FD: all that can come with one record. Room is kept
// for every one of them, so that none is closed by the kernel on our thread.
const maxControlFDs = 253

// controlRoom is the room for control messages: credentials and fds.
const controlRoom = 32 + 16 + 4*maxControlFDs + 12

// attached is the attach socket of one process tree.
type attached struct {
	set     *Set
	fd      int32
	pid     int32
	uid     uint32
	inode   uint32 // of the peer's end, 0: not known
	queued  bool
	waiting bool  // for the janitor, until resume
	tree    *tree // ports that were published for it; nil: none
}

// Ready notes that requests arrived.
func (a *attached) Ready(uint32) { a.ready() }

func (a *attached) ready() {
	if !a.queued && a.fd >= 0 {
		a.queued = true
		a.set.ctlQueue = append(a.set.ctlQueue, a)
	}
}

// control answers requests of the attach sockets that are ready, about budget
// of them, and returns how many it read.
func (t *Set) control(budget int) (done int) {
	list := t.ctlQueue
	if len(list) == 0 {
		return 0
	}
	t.ctlQueue = t.ctlSpare[:0]
	for i, a := range list {
		if done >= budget {
			t.ctlQueue = append(t.ctlQueue, list[i:]...)
			break
		}
		a.queued = false
		if a.fd < 0 {
			continue
		}
		n, more := t.requests(a, min(visitRequests, budget-done))
		done += n
		if more {
			a.ready()
		}
	}
	clear(list)
	t.ctlSpare = list
	return done
}

// requests answers up to max requests of one attach socket.
func (t *Set) requests(a *attached, max int) (done int, more bool) {
	for done < max {
		if t.janitor.behind() {
			if !a.waiting {
				a.waiting = true
				t.putAside(0)
			}
			return done, false
		}
		n, control, flags, e := t.msg.recvControl(a.fd, shm.RequestBytes(&t.req))
		switch {
		case e == unix.EINTR:
			continue
		case e == unix.EAGAIN:
			return done, false
		case e != 0, n == 0 && len(control) == 0:
			t.detach(a) // the whole tree is gone
			return done, false
		}
		done++
		pid, uid := t.parseControl(a, control)
		t.request(a, pid, uid, n == shm.SizeofRequest && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) == 0)
		t.fds = t.fds[:0] // each has an owner now, or is closed
	}
	return done, true
}

// parseControl fills t.fds with the fds that came along and returns who sent
// them.
func (t *Set) parseControl(a *attached, b []byte) (pid int32, uid uint32) {
	pid, uid = a.pid, a.uid
	t.fds = t.fds[:0]
	for len(b) >= unix.SizeofCmsghdr {
		l := int(binary.NativeEndian.Uint64(b))
		level, typ := binary.NativeEndian.Uint32(b[8:]), binary.NativeEndian.Uint32(b[12:])
		if l < unix.SizeofCmsghdr || l > len(b) {
			break
		}
		data := b[unix.SizeofCmsghdr:l]
		if level == unix.SOL_SOCKET {
			switch typ {
			case unix.SCM_RIGHTS:
				for ; len(data) >= 4; data = data[4:] {
					t.fds = append(t.fds, int32(binary.NativeEndian.Uint32(data)))
				}
			case unix.SCM_CREDENTIALS:
				if len(data) >= unix.SizeofUcred {
					pid, uid = int32(binary.NativeEndian.Uint32(data)), binary.NativeEndian.Uint32(data[4:])
				}
			}
		}
		b = b[min(len(b), (l+7)&^7):]
	}
	return pid, uid
}

// request carries out the request in t.req with the fds in t.fds. whole says
// that it arrived complete.
func (t *Set) request(a *attached, pid int32, uid uint32, whole bool) {
	replyFD, socketFD := int32(-1), int32(-1)
	if len(t.fds) > 0 && isUnixSocket(t.fds[0], unix.SOCK_SEQPACKET) {
		replyFD = t.fds[0]
	}
	r := &t.req
	want := 1
	if r.Op == shm.OpSocket || r.Op == shm.OpRevive || r.Op == shm.OpNetlink {
		want = 2
		if len(t.fds) == 2 && isUnixSocket(t.fds[1], pairKind(r)) {
			socketFD = t.fds[1]
		}
	}
	t.reply = shm.Reply{}
	good := whole && r.Magic == shm.Magic && r.Op >= shm.OpSocket && r.Op < shm.OpEnd &&
		len(t.fds) == want && replyFD >= 0 && (want == 1 || socketFD >= 0)
	if !good {
		t.stat.Drop(stat.DropControlMalformed)
		for _, fd := range t.fds {
			if fd != replyFD {
				t.janitor.close(fd)
			}
		}
		if replyFD >= 0 {
			t.answer(replyFD, unix.EINVAL)
		}
		return
	}
	if r.Op == shm.OpSocket {
		t.answer(replyFD, t.opSocket(r, socketFD, pid, uid))
		return
	}
	if r.Op == shm.OpRevive {
		t.answer(replyFD, t.opRevive(r, socketFD, pid, uid))
		return
	}
	if r.Op == shm.OpResolve {
		t.opResolve(r, replyFD)
		return
	}
	if r.Op == shm.OpPublish {
		t.answer(replyFD, t.opPublish(a, r, pid, uid))
		return
	}
	if r.Op == shm.OpNetlink {
		t.answer(replyFD, t.opNetlink(r, socketFD))
		return
	}
	s := t.byCookie[r.Cookie]
	if n := t.netlinks[r.Cookie]; n != nil {
		t.answer(replyFD, n.control(r, &t.reply))
		return
	}
	if s == nil {
		t.answerGone(replyFD, r)
		return
	}
	if s.dgram != nil {
		t.answer(replyFD, t.datagramRequest(s, r))
		return
	}
	switch r.Op {
	case shm.OpBind:
		t.answer(replyFD, t.opBind(s, r))
	case shm.OpListen:
		t.answer(replyFD, t.opListen(s, r))
	case shm.OpConnect:
		t.opConnect(s, r, replyFD)
	case shm.OpShutdown:
		t.answer(replyFD, t.opShutdown(s, r))
	case shm.OpGetsockname:
		t.answer(replyFD, t.opGetsockname(s))
	case shm.OpGetpeername:
		t.answer(replyFD, t.opGetpeername(s))
	case shm.OpGetsockopt:
		t.answer(replyFD, t.opGetsockopt(s, r))
	case shm.OpSetsockopt:
		t.answer(replyFD, t.opSetsockopt(s, r))
	case shm.OpTakeError:
		t.answer(replyFD, t.opTakeError(s, r))
	case shm.OpOutq:
		t.answer(replyFD, t.opOutq(s, r))
	default: // of datagram sockets
		t.answer(replyFD, unix.EOPNOTSUPP)
	}
}

// answer sends t.reply with an error number and closes the reply socket. A
// reply that does not fit is the application's loss: the socket was fresh.
func (t *Set) answer(fd int32, e syscall.Errno) { t.answerValue(fd, int32(e)) }

// answerValue reports whether the reply was taken.
func (t *Set) answerValue(fd int32, e int32) bool {
	t.stat.Count(stat.ControlCalls)
	t.reply.Magic, t.reply.Error = shm.Magic, e
	_, err := send(fd, shm.ReplyBytes(&t.reply))
	t.closeReply(fd)
	return err == 0
}

// detach forgets an attach socket; its sockets live on until they are closed.
func (t *Set) detach(a *attached) {
	t.cfg.Poller.Remove(int(a.fd), a)
	// Requests that lie in it unread carry fds of any kind.
	t.janitor.close(a.fd)
	a.fd = -1
	if a.tree != nil {
		a.tree.detached()
	}
	delete(t.attached, a)
}

// isUnixSocket checks what an application says is one end of a pair.
func isUnixSocket(fd int32, kind int32) bool {
	if d, e := sockInt(fd, unix.SO_DOMAIN); e != 0 || d != unix.AF_UNIX {
		return false
	}
	if k, e := sockInt(fd, unix.SO_TYPE); e != 0 || k != kind {
		return false
	}
	l, e := sockInt(fd, unix.SO_ACCEPTCONN)
	return e == 0 && l == 0
}
