// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"encoding/binary"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"
	"netcon/shm"
)

// hearing is a receive, which may wait for a datagram; recvmmsg waits for as many as
// the program has room for.
type hearing struct {
	waiting // until: of the next datagram

	d       *datagram
	m       message // the first one
	waits   bool
	done    int       // datagrams received
	overall time.Time // the time limit of recvmmsg, looked at after each datagram
}

// msgWaitForOne is MSG_WAITFORONE.
const msgWaitForOne = 0x10000

// receiveDatagram carries out recvfrom, recvmsg and recvmmsg.
func (v *virtual) receiveDatagram(d *datagram) error {
	if total, _ := v.messages(); total == 0 {
		v.end(0, 0)
		return nil
	}
	m, e := v.readMessage(0)
	switch {
	case e != 0:
		v.end(0, e)
		return nil
	case m.flags&unix.MSG_OOB != 0 && d.icmp:
		v.end(0, unix.EOPNOTSUPP)
		return nil
	case m.flags&unix.MSG_ERRQUEUE != 0:
		v.receiveError(d, &m)
		return nil
	}
	h := &hearing{waiting: waiting{virtual: *v}, d: d, m: m, waits: m.flags&unix.MSG_DONTWAIT == 0 && v.blocks()}
	if h.overall, e = h.limit(); e != 0 {
		v.end(0, e)
		return nil
	}
	return h.tryOrWait(h, m.flags, unix.EPOLLIN)
}

// limit reads the time limit of recvmmsg; zero: none.
func (h *hearing) limit() (t time.Time, e syscall.Errno) {
	if h.call.nr != unix.SYS_RECVMMSG || h.arg(4) == 0 {
		return t, 0
	}
	b, e := h.read(h.arg(4), 16)
	if e != 0 {
		return t, e
	}
	seconds, rest := int64(binary.NativeEndian.Uint64(b)), int64(binary.NativeEndian.Uint64(b[8:]))
	if seconds < 0 || rest < 0 || rest >= 1e9 {
		return t, unix.EINVAL
	}
	const longest = 1 << 30 // seconds: time.Duration has room for more
	return time.Now().Add(time.Duration(min(seconds, longest))*time.Second + time.Duration(rest)), 0
}

func (h *hearing) try() bool {
	if h.done == 0 {
		if e := h.d.take(); e != 0 {
			h.end(0, e)
			return true
		}
	}
	total, list := h.messages()
	for h.done < total {
		m, e := h.m, syscall.Errno(0)
		if h.done > 0 {
			m, e = h.readMessage(h.done)
		}
		n := 0
		if e == 0 {
			n, e = h.one(&m)
		}
		switch {
		case e == unix.EAGAIN && h.waits && (h.done == 0 || m.flags&msgWaitForOne == 0):
			return false
		case e != 0:
			h.stop(e)
			return true
		case !list:
			h.end(int64(n), 0)
			return true
		}
		h.done++
		h.until = h.deadline(unix.SO_RCVTIMEO)
		if !h.overall.IsZero() && time.Now().After(h.overall) {
			break
		}
	}
	h.stop(0)
	return true
}

// stop ends the call; what was received is told first.
func (h *hearing) stop(e syscall.Errno) {
	if h.done > 0 {
		e = 0
	}
	h.end(int64(h.done), e)
}

// one receives one message.
func (h *hearing) one(m *message) (int, syscall.Errno) {
	b := make([]byte, m.size(longestDatagram))
	control := make([]byte, unix.CmsgSpace(4))
	n, controlLen, flags, _, err := unix.Recvmsg(h.fd, b, control, h.m.flags&(unix.MSG_PEEK|unix.MSG_TRUNC)|unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return 0, launch.Errno(err)
	}
	header := headerOf(control[:controlLen])
	told := controls{room: m.controlRoom}
	told.putDatagram(&header, h.d.six)
	e := h.hand(m, b[:min(n, len(b))], &header.Remote, &told, flags&unix.MSG_TRUNC)
	if e == 0 && m.length != 0 {
		e = h.writeLen(m.length, n)
	}
	return n, e
}

// hand gives the program what was received.
func (v *virtual) hand(m *message, b []byte, from *shm.Addr, told *controls, flags int) syscall.Errno {
	for _, s := range m.spans {
		part := b[:min(uint64(len(b)), s.size)]
		if e := v.write(s.base, part); e != 0 {
			return e
		}
		b = b[len(part):]
	}
	if m.name != 0 && from.Family != 0 {
		if e := v.writeSockaddr(from, m.name, m.nameLen, m.nameRoom); e != 0 {
			return e
		}
	}
	if m.header == 0 {
		return 0
	}
	if told.truncated {
		flags |= unix.MSG_CTRUNC
	}
	if e := v.write(m.control, told.b); e != 0 {
		return e
	}
	rest := binary.NativeEndian.AppendUint64(nil, uint64(len(told.b)))
	return v.write(m.header+msgControlLen, binary.NativeEndian.AppendUint32(rest, uint32(flags)))
}

// interrupt ends the call also for an error of the network: with that nothing
// comes into the pair.
func (h *hearing) interrupt() bool {
	if h.done == 0 {
		if e := h.d.take(); e != 0 {
			h.end(0, e)
			return true
		}
	}
	e := interruption(&h.target, h.until, unix.EAGAIN)
	if e != 0 {
		h.stop(e)
	}
	return e != 0
}
