// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"netcon/dataplane/stream"
)

// id returns the addresses and ports of a socket.
func (k *socket) id() stack.TransportEndpointID {
	return k.ep.Info().(*stack.TransportEndpointInfo).ID
}

func (k *socket) tcpState() tcp.EndpointState { return tcp.EndpointState(k.ep.State()) }

// Shutdown implements stream.Engine. The sending half closes in Poll, when the
// Tx ring is drained. The receiving half is closed by us alone, as in Linux:
// the peer is not told, and what it sends is acknowledged and thrown away.
func (s *Stack) Shutdown(h stream.Handle, how stream.How) (errno syscall.Errno) {
	if d := s.datagramsOf(h); d != nil {
		return d.Shutdown(h, how)
	}
	k, errno := s.lookup(h)
	if errno != 0 {
		return errno
	}
	defer s.guard("shutdown", &errno)
	switch k.state {
	case connected:
		k.shutWrite = k.shutWrite || how&stream.ShutWrite != 0
		k.shutRead = k.shutRead || how&stream.ShutRead != 0
		s.ready.push(k)
	case connecting:
		return errnoOf(k.ep.Shutdown(tcpip.ShutdownRead | tcpip.ShutdownWrite))
	case listening:
		if how&stream.ShutRead != 0 {
			return errnoOf(k.ep.Shutdown(tcpip.ShutdownRead))
		}
	default:
		return syscall.ENOTCONN
	}
	return 0
}

// Close implements stream.Engine. What TCP still has to do goes on without an
// owner; there may be as many such orphans as sockets, then the oldest is
// reset.
func (s *Stack) Close(h stream.Handle) {
	if d := s.datagramsOf(h); d != nil {
		s.closeDatagram(d, h)
		return
	}
	k, errno := s.lookup(h)
	if errno != 0 {
		return
	}
	defer s.contain("close")
	if k.tookNot() {
		s.abandon(k)
		return
	}
	s.detach(k)
	k.ep.Close()
	if !k.over() {
		s.orphans.push(k)
		if s.orphans.n > s.cfg.Limits.Connections {
			s.abortOrphan(s.orphans.oldest)
		}
		s.nOrphans.Store(int64(s.orphans.n))
		return
	}
	s.release(k)
}

// tookNot reports whether bytes were received that the owner did not take.
// Those that are still in gVisor are its own business.
func (k *socket) tookNot() bool {
	p := k.pair
	return p != nil && k.state == connected && !p.Rx.Broken() && p.Rx.Room() < p.Rx.Cap()
}

// Abort implements stream.Engine.
func (s *Stack) Abort(h stream.Handle) {
	if d := s.datagramsOf(h); d != nil {
		s.closeDatagram(d, h)
		return
	}
	k, errno := s.lookup(h)
	if errno != 0 {
		return
	}
	defer s.contain("abort")
	if k.state == connected && k.pair != nil {
		s.push(k) // goes out before the RST, as far as there is room
	}
	s.abandon(k)
}

// abandon ends a socket with RST.
func (s *Stack) abandon(k *socket) {
	s.detach(k)
	k.ep.Abort()
	s.release(k)
}

// detach takes a socket away from its owner.
func (s *Stack) detach(k *socket) {
	s.remove(k)
	k.stopSynTimer()
	k.pair = nil
	if k.backlog != 0 {
		s.backlogs -= k.backlog
		k.backlog = 0
		s.nHalfOpen.Store(int64(s.backlogs))
	}
	k.state = orphan
}

func (k *socket) stopSynTimer() {
	if k.synTimer != nil {
		k.synTimer.Stop()
		k.synTimer = nil
	}
}

// over reports whether gVisor is done with the socket.
func (k *socket) over() bool {
	switch k.tcpState() {
	case tcp.StateClose, tcp.StateError:
		return true
	}
	return false
}

// release lets go of a socket that gVisor is done with. It may still lie in the
// ready queue, which skips it.
func (s *Stack) release(k *socket) {
	k.wq.EventUnregister(&k.entry)
	s.unfollow(k)
	k.state = gone
}

// abortOrphan ends an orphan before TCP is done with it.
func (s *Stack) abortOrphan(k *socket) {
	s.orphans.remove(k)
	k.ep.Abort()
	s.release(k)
}

// orphanList is the orphans in the order of their Close.
type orphanList struct {
	oldest, newest *socket
	n              int
}

func (l *orphanList) push(k *socket) {
	k.older = l.newest
	if l.newest != nil {
		l.newest.newer = k
	} else {
		l.oldest = k
	}
	l.newest = k
	l.n++
}

func (l *orphanList) remove(k *socket) {
	if k.older != nil {
		k.older.newer = k.newer
	} else {
		l.oldest = k.newer
	}
	if k.newer != nil {
		k.newer.older = k.older
	} else {
		l.newest = k.older
	}
	k.older, k.newer = nil, nil
	l.n--
}

// Stop implements stream.Engine. The connections a listener holds unaccepted
// are reset as well. What of gVisor has to be waited for is waited for by a
// goroutine.
func (s *Stack) Stop(out stream.Output) {
	if s.stop {
		return
	}
	if s.death.Load() == nil {
		s.abortAll()
	}
	if out != nil && s.death.Load() == nil {
		for s.Transmit(out, txQueuePackets) > 0 {
		}
	}
	s.stop = true
	s.quiet.Store(true)
	s.slots, s.free, s.starved, s.stalled = nil, nil, nil, nil
	s.flows, s.orphans = nil, orphanList{}
	s.nSockets.Store(0)
	s.nOrphans.Store(0)
	if s.death.Load() == nil {
		go s.tearDown()
	}
}

func (s *Stack) abortAll() {
	defer s.contain("stop")
	s.gro.Flush()
	for i := range s.slots {
		if k := s.slots[i].k; k != nil {
			s.abandon(k)
		}
	}
	for s.orphans.oldest != nil {
		s.abortOrphan(s.orphans.oldest)
	}
}

// tearDown ends gVisor's goroutines.
func (s *Stack) tearDown() {
	defer s.contain("stop")
	s.gv.Close()
	s.gv.Wait()
	var rest [64]*stack.PacketBuffer
	for {
		n := s.link.take(rest[:])
		if n == 0 {
			return
		}
		for _, p := range rest[:n] {
			p.DecRef()
		}
	}
}
