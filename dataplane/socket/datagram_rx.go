// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"slices"
	"syscall"
	"time"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

// wantsTime is what makes it necessary to ask for the time.
const wantsTime = shm.WantStamp | shm.WantStampNS | shm.WantStampNew | shm.WantStampNSNew

// toAppDatagrams hands over what the engine has received, about most datagrams,
// and reports whether there may be more.
func (t *Set) toAppDatagrams(s *sock, most int) (more bool) {
	b := t.burst
	for got := 0; s.has(fReceive); {
		if got >= most {
			return true
		}
		n := 0
		for n < burstSize {
			length, e := t.datagrams.Receive(s.handle, &t.dmsg, b.payload[n])
			if e == unix.EAGAIN {
				length, e = t.receiveOut(s, &t.dmsg, b.payload[n])
			}
			if e != 0 {
				s.flags &^= fReceive
				break
			}
			if e == 0 && t.dmsg.Err == 0 {
				t.heardOnNetwork(s, t.dmsg.Remote)
			}
			if s.dgram.far.IsValid() && t.dmsg.Err == 0 && t.dmsg.Remote != s.dgram.far {
				continue // it is connected, to a peer that the engine does not know
			}
			if t.dmsg.Err != 0 {
				t.report(s, &t.dmsg, b.payload[n][:min(length, shm.PayloadMax)])
				b.setError(n, t.dmsg.Err, t.dmsg.Cause.Quiet)
			} else {
				t.address(s, n, min(length, shm.PayloadMax))
			}
			n++
		}
		t.deliverBurst(s, n)
		got += n
	}
	return false
}

// address fills in the header of the datagram at place i of the burst, which
// t.dmsg describes.
func (t *Set) address(s *sock, i, length int) {
	m, h := &t.dmsg, &t.burst.header[i]
	s.dgram.lost = m.Drops
	*h = shm.Datagram{
		Magic: shm.Magic, Flags: s.dgram.wants, Drops: s.dgram.drops + m.Drops, Cookie: s.cookie,
		Remote: encodeAddr(m.Remote, s.family), Ttl: m.TTL, Tos: m.TOS,
	}
	if m.Local.IsValid() {
		h.Local = encodeIP(m.Local, s.family)
		h.Local.Scope = interfaceOf(m.Local)
	}
	if m.Remote.Addr().IsLinkLocalUnicast() && m.Remote.Addr().Is6() {
		h.Remote.Scope = deviceIndex
	}
	if s.dgram.wants&wantsTime != 0 {
		h.Time = uint64(time.Now().UnixNano())
	}
	t.burst.set(i, length)
}

// deliverBurst writes the first n records of the burst to the pair. What it has
// no room for is lost.
func (t *Set) deliverBurst(s *sock, n int) {
	b := t.burst
	for first := 0; first < n; {
		k, e := b.send(s.fd, first, n)
		switch e {
		case 0:
			for i := first; i < first+k; i++ {
				if b.header[i].Error == 0 && b.header[i].Flags&shm.DatagramEvent == 0 {
					t.stat.Count(stat.DatagramsToApp)
					t.stat.Add(stat.AppRx, uint64(b.length(i)))
					s.rx += uint64(b.length(i))
				}
			}
			first += k
		case unix.EINTR:
		case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM:
			t.stat.DropN(stat.DropSocketQueue, uint64(n-first))
			s.dgram.drops += uint32(n - first)
			return
		default: // it reads no more, or is closed
			return
		}
	}
}

// tellError makes the application's next call fail.
func (t *Set) tellError(s *sock, e syscall.Errno) {
	t.single.setError(0, e, false)
	for {
		if _, e := t.single.send(s.fd, 0, 1); e != unix.EINTR {
			return // a full pair has enough to tell
		}
	}
}

// report puts an error of the network into the socket's error queue, if it has
// asked for one.
func (t *Set) report(s *sock, m *stream.Message, quoted []byte) {
	if t.value(s, rowRecvErr) == 0 && t.value(s, rowRecvErr6) == 0 || len(s.dgram.errors) >= maxErrors {
		return
	}
	s.dgram.errors = append(s.dgram.errors, reported{
		errno: m.Err, cause: m.Cause, to: m.Remote,
		quoted: slices.Clone(quoted[:min(len(quoted), maxQuoted)]),
	})
}
