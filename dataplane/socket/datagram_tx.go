// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"syscall"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

// fromAppDatagrams sends what the application wrote, about most datagrams, and
// reports whether more is to be sent now.
func (t *Set) fromAppDatagrams(s *sock, most int) (more bool) {
	if s.dgram.full || !t.sendHeld(s) {
		return false
	}
	b := t.burst
	for sent := 0; s.has(fCanRead) && !s.has(fTxEnd); {
		if sent >= most {
			return true
		}
		n, e := b.receive(s.fd)
		switch e {
		case 0:
		case unix.EINTR, unix.ECONNRESET: // closed with datagrams unread: ours come after
			continue
		case unix.EAGAIN:
			s.flags &^= fCanRead
			return false
		default:
			s.flags |= fTxEnd
			return false
		}
		for i := range n {
			if b.msgs[i].length == 0 && s.has(fRdHup) {
				s.flags |= fTxEnd // nothing follows
				break
			}
			t.fromApp1(s, i)
		}
		sent += n
		if s.dgram.full {
			return false
		}
		if n < burstSize && !s.has(fRdHup) {
			s.flags &^= fCanRead // what comes now is a new edge
		}
	}
	return false
}

// noHeader stands for the header of what was written past the library.
var noHeader shm.Datagram

// fromApp1 sends the datagram at place i of the burst.
func (t *Set) fromApp1(s *sock, i int) {
	m := &t.dmsg
	h, payload, whole := t.burst.at(i)
	var e syscall.Errno
	if plain := t.burst.plain(i); plain != nil && s.dgram.connected {
		h, payload, *m = &noHeader, plain, stream.Message{}
	} else if !whole {
		t.stat.Drop(stat.DropDatagramHeader)
		return
	} else {
		e = decodeDatagram(h, s.family, m)
	}
	switch {
	case e != 0:
		t.stat.Drop(stat.DropDatagramHeader)
	case s.dgram.full:
		t.holdDatagram(s, m, payload)
	default:
		if !m.Local.IsValid() && s.dgram.source.IsValid() && m.Remote.Addr().Unmap().IsMulticast() {
			m.Local = s.dgram.source
		}
		if e = t.sendDatagram(s, m, payload); e == unix.EAGAIN {
			s.dgram.full, e = true, 0
			t.holdDatagram(s, m, payload)
		}
	}
	switch {
	case h.Flags&shm.DatagramReport != 0:
		s.dgram.verdict = e
	case e != 0 && s.dgram.connected:
		t.tellError(s, e)
	}
}

// sendDatagram gives a datagram to the engine. EAGAIN: not now.
func (t *Set) sendDatagram(s *sock, m *stream.Message, payload []byte) syscall.Errno {
	var e syscall.Errno
	to := m.Remote
	if !to.IsValid() {
		to = s.dgram.far
	}
	back := t.flowOf(s, to)
	switch {
	case back != nil:
		e = t.sendBack(s, back, payload)
	case to.IsValid() && t.isNameserver(s, to):
		t.query(s, to, payload)
	case to.IsValid() && (t.isOut(s, to) || t.datagramsGoOut(s, to)):
		e = t.sendOut(s, to, payload)
	case to.IsValid() && to == s.dgram.far:
		e = unix.ENETUNREACH // who it is connected to was reached by a way that is gone
	default:
		e = t.datagrams.Send(s.handle, m, payload)
	}
	switch e {
	case 0:
		s.tx += uint64(len(payload))
		t.stat.Add(stat.AppTx, uint64(len(payload)))
		t.stat.Count(stat.DatagramsFromApp)
	case unix.EAGAIN:
	default:
		t.stat.Drop(stat.DropDatagramRefused)
	}
	return e
}

// holdDatagram keeps a datagram until the engine has room. It is the one place where
// sending allocates.
func (t *Set) holdDatagram(s *sock, m *stream.Message, payload []byte) {
	if t.held+len(payload) > maxHeld {
		t.stat.Drop(stat.DropDatagramHeld)
		return
	}
	t.held += len(payload)
	s.dgram.held = append(s.dgram.held, heldDatagram{msg: *m, payload: append([]byte(nil), payload...)})
}

// sendHeld sends what was held and reports whether nothing is left.
func (t *Set) sendHeld(s *sock) bool {
	d := s.dgram
	for len(d.held) > 0 {
		h := &d.held[0]
		switch e := t.sendDatagram(s, &h.msg, h.payload); {
		case e == unix.EAGAIN:
			d.full = true
			return false
		case e != 0 && d.connected:
			t.tellError(s, e)
		}
		t.held -= len(h.payload)
		*h = heldDatagram{}
		if d.held = d.held[1:]; len(d.held) == 0 {
			d.held = nil
		}
	}
	return true
}

// dropHeld forgets what a socket that ends did not send.
func (t *Set) dropHeld(s *sock) {
	if s.dgram == nil {
		return
	}
	for _, h := range s.dgram.held {
		t.held -= len(h.payload)
		t.stat.Drop(stat.DropDatagramHeld)
	}
	s.dgram.held = nil
}
