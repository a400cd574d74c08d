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

// hearing is a receive that waits for a datagram.
type hearing struct {
	virtual
	d     *datagram
	m     message // the first one
	until time.Time
}

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
	h := &hearing{virtual: *v, d: d, m: m}
	if h.try() {
		return nil
	}
	if m.flags&unix.MSG_DONTWAIT != 0 || !v.blocks() {
		v.end(0, unix.EAGAIN)
		return nil
	}
	h.until = v.deadline(unix.SO_RCVTIMEO)
	return v.parking.add(h)
}

func (h *hearing) waitsFor() (int, uint32) { return h.fd, unix.EPOLLIN }

func (h *hearing) try() bool {
	if e := h.d.take(); e != 0 {
		h.end(0, e)
		return true
	}
	n, e := h.one(&h.m)
	if e == unix.EAGAIN {
		return false
	}
	// What else is there, if the program has room for it.
	total, list := h.messages()
	done := 1
	for e == 0 && done < total {
		m, bad := h.readMessage(done)
		if bad == 0 {
			_, bad = h.one(&m)
		}
		if bad != 0 {
			break
		}
		done++
	}
	if list {
		n = done
	}
	h.end(int64(n), e)
	return true
}

// one receives one message.
func (h *hearing) one(m *message) (int, syscall.Errno) {
	b := make([]byte, m.size())
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
	if e := h.d.take(); e != 0 {
		h.end(0, e)
		return true
	}
	return h.endIfInterrupted(h.until)
}
