// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"net/netip"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"

	"netcon/dataplane/datagram"
	"netcon/dataplane/stream"
)

var _ stream.Datagrams = (*Stack)(nil)

// now tells the time to what has no clock.
func (s *Stack) now() time.Duration { return s.clock.NowMonotonic().Sub(tcpip.MonotonicTime{}) }

// datagramsOf returns the datagram sockets if the handle names one of them and
// the stack may be called.
func (s *Stack) datagramsOf(h stream.Handle) *datagram.Stack {
	if !datagram.IsHandle(h) || s.off() {
		return nil
	}
	return s.datagrams
}

// held returns the bytes of buffers that connections and datagrams hold.
func (s *Stack) held() int { return s.usedRx + s.usedTx + s.datagrams.Held() }

// room reports whether datagrams may hold n more bytes: they get half of the
// budget, so that a socket nobody reads leaves something to the connections.
func (s *Stack) room(n int) bool {
	limit := s.cfg.Limits.BufferBytes
	return s.datagrams.Held()+n <= limit/2 && s.held()+n <= limit
}

// OpenDatagram implements stream.Datagrams.
func (s *Stack) OpenDatagram(family stream.Family, proto stream.Protocol, user uint64) (stream.Handle, syscall.Errno) {
	if s.off() {
		return 0, syscall.ENETDOWN
	}
	if s.Sockets() >= s.cfg.Limits.Connections {
		return 0, syscall.EMFILE
	}
	h, errno := s.datagrams.Open(family, proto, user)
	if errno == 0 {
		s.nSockets.Add(1)
	}
	return h, errno
}

// closeDatagram is Close and Abort for datagram sockets.
func (s *Stack) closeDatagram(d *datagram.Stack, h stream.Handle) {
	before := d.Sockets()
	d.Close(h)
	if d.Sockets() != before {
		s.nSockets.Add(-1)
		s.unstarve()
	}
}

// Disconnect implements stream.Datagrams.
func (s *Stack) Disconnect(h stream.Handle) syscall.Errno {
	if d := s.datagramsOf(h); d != nil {
		return d.Disconnect(h)
	}
	return s.notDatagram(h)
}

// Send implements stream.Datagrams.
func (s *Stack) Send(h stream.Handle, m *stream.Message, payload []byte) syscall.Errno {
	if d := s.datagramsOf(h); d != nil {
		return d.Send(h, m, payload)
	}
	return s.notDatagram(h)
}

// Receive implements stream.Datagrams.
func (s *Stack) Receive(h stream.Handle, m *stream.Message, buf []byte) (int, syscall.Errno) {
	if d := s.datagramsOf(h); d != nil {
		return d.Receive(h, m, buf)
	}
	return 0, s.notDatagram(h)
}

// Join implements stream.Datagrams.
func (s *Stack) Join(h stream.Handle, group netip.Addr) syscall.Errno {
	if d := s.datagramsOf(h); d != nil {
		return d.Join(h, group)
	}
	return s.notDatagram(h)
}

// Leave implements stream.Datagrams.
func (s *Stack) Leave(h stream.Handle, group netip.Addr) syscall.Errno {
	if d := s.datagramsOf(h); d != nil {
		return d.Leave(h, group)
	}
	return s.notDatagram(h)
}

// Filter implements stream.Datagrams.
func (s *Stack) Filter(h stream.Handle, f *stream.ICMPFilter) syscall.Errno {
	if d := s.datagramsOf(h); d != nil {
		return d.Filter(h, f)
	}
	return s.notDatagram(h)
}

// notDatagram says why a handle is of no use where a datagram socket's is
// wanted.
func (s *Stack) notDatagram(h stream.Handle) syscall.Errno {
	if _, errno := s.lookup(h); errno != 0 {
		return errno
	}
	return syscall.EOPNOTSUPP
}
