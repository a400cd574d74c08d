// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"math"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"netcon/dataplane/stream"
)

// state is what a socket is to its owner; gVisor's state is finer.
type state uint8

const (
	unconnected state = iota // new or bound
	listening
	connecting // Connect said EINPROGRESS, nothing was reported yet
	connected  // established; stays so while halves close
	failed     // Failed was reported or returned; the pair is the owner's again
	orphan     // closed by the owner, TCP goes on
	gone       // nothing is left
)

// socket is one endpoint of gVisor and what we know of it.
type socket struct {
	st     *Stack
	handle stream.Handle // 0 for an orphan
	user   uint64
	family stream.Family
	state  state
	ep     tcpip.Endpoint
	wq     *waiter.Queue
	entry  waiter.Entry
	pair   *stream.Pair
	flow   flow
	opts   options

	// For readyQueue, under its lock.
	queued bool
	next   *socket

	// For orphanList.
	older, newer *socket

	synTimer   tcpip.Timer // ends an active open before gVisor would
	synExpired atomic.Bool // set by synTimer

	fatal     syscall.Errno // ends an active open
	soft      syscall.Errno // what an ICMP error said, in case of a timeout
	died      syscall.Errno // why gVisor ended the connection, when it said so
	backlog   int           // granted to a listener
	window    int           // OptRecvBuffer of a listener
	bound     bool
	pinned    bool // bound by Bind
	starving  bool // in Stack.starved
	shutWrite bool // FIN after the Tx ring is drained
	finSent   bool // gVisor was told to close the sending half
	shutRead  bool // what comes in is thrown away
	dry       bool // bytes may wait in gVisor for room in the Rx ring
	stalled   bool // in Stack.stalled
	unread    int  // bytes in gVisor's receive queue, as last seen
	chargedRx int  // what Stack.usedRx counts for this socket
	chargedTx int  // the same of usedTx
}

// slot holds a socket; gen tells a stale handle from its successor.
type slot struct {
	k   *socket
	gen uint32
}

// events is what gVisor tells a socket.
const events = waiter.ReadableEvents | waiter.WritableEvents | waiter.EventHUp | waiter.EventErr

// NotifyEvent implements waiter.EventListener. It runs on goroutines of gVisor,
// with locks of the endpoint held: the socket is looked at in Poll.
func (k *socket) NotifyEvent(waiter.EventMask) {
	k.st.ready.push(k)
}

// get returns the socket a handle names, nil for a stale handle.
func (s *Stack) get(h stream.Handle) *socket {
	i := uint32(h)
	if int(i) >= len(s.slots) {
		return nil
	}
	if sl := &s.slots[i]; sl.gen == uint32(h>>32) {
		return sl.k
	}
	return nil
}

// insert gives k a handle.
func (s *Stack) insert(k *socket) {
	var i uint32
	if n := len(s.free); n > 0 {
		i = s.free[n-1]
		s.free = s.free[:n-1]
	} else {
		i = uint32(len(s.slots))
		s.slots = append(s.slots, slot{gen: 1})
	}
	sl := &s.slots[i]
	sl.k = k
	k.handle = stream.Handle(i) | stream.Handle(sl.gen)<<32
	s.nSockets.Add(1)
}

// remove makes the handle of k stale.
func (s *Stack) remove(k *socket) {
	i := uint32(k.handle)
	sl := &s.slots[i]
	sl.k = nil
	if sl.gen++; sl.gen == 0 {
		sl.gen = 1
	}
	s.free = append(s.free, i)
	k.handle = 0
	s.nSockets.Add(-1)
	s.unstarve()
}

// unstarve has listeners accept again whose Accept met the limit.
func (s *Stack) unstarve() {
	for i, l := range s.starved {
		l.starving = false
		s.ready.push(l)
		s.starved[i] = nil
	}
	s.starved = s.starved[:0]
}

// newEndpoint gives k a fresh endpoint with its options.
func (s *Stack) newEndpoint(k *socket) syscall.Errno {
	proto := header.IPv4ProtocolNumber
	if k.family == stream.IPv6 {
		proto = header.IPv6ProtocolNumber
	}
	k.wq = new(waiter.Queue)
	ep, err := s.gv.NewEndpoint(tcp.ProtocolNumber, proto, k.wq)
	if err != nil {
		return errnoOf(err)
	}
	k.ep = ep
	k.entry = waiter.Entry{}
	k.entry.Init(k, events)
	k.wq.EventRegister(&k.entry)
	return 0
}

// Open implements stream.Engine.
func (s *Stack) Open(family stream.Family, user uint64) (h stream.Handle, errno syscall.Errno) {
	if s.off() {
		return 0, syscall.ENETDOWN
	}
	if family != stream.IPv4 && family != stream.IPv6 {
		return 0, syscall.EAFNOSUPPORT
	}
	if s.Sockets() >= s.cfg.Limits.Connections {
		return 0, syscall.EMFILE
	}
	defer s.guard("open", &errno)
	k := &socket{st: s, user: user, family: family}
	k.opts.init(s)
	if e := s.newEndpoint(k); e != 0 {
		return 0, e
	}
	s.insert(k)
	return k.handle, 0
}

// guard is contain for a call that returns an error number.
func (s *Stack) guard(where string, errno *syscall.Errno) {
	if cause := recover(); cause != nil {
		s.kill(where, cause)
		*errno = syscall.ENETDOWN
	}
}

// Bind implements stream.Engine.
func (s *Stack) Bind(h stream.Handle, local netip.AddrPort) (errno syscall.Errno) {
	if d := s.datagramsOf(h); d != nil {
		return d.Bind(h, local)
	}
	k, errno := s.lookup(h)
	if errno != 0 {
		return errno
	}
	if k.state != unconnected || k.bound {
		return syscall.EINVAL
	}
	full, ok := toFull(k.family, local)
	if !ok {
		return syscall.EAFNOSUPPORT
	}
	defer s.guard("bind", &errno)
	switch a := local.Addr(); {
	case a.Is4In6() && k.opts.value[stream.OptV6Only] != 0:
		return syscall.EINVAL
	case a.IsUnspecified():
		full.Addr = tcpip.Address{}
	case a.Unmap().IsUnspecified(): // ::ffff:0.0.0.0, which gVisor knows
	case a.Unmap().IsMulticast():
		return syscall.EADDRNOTAVAIL
	}
	if err := k.ep.Bind(full); err != nil {
		return errnoOf(err)
	}
	k.bound, k.pinned = true, true
	return 0
}

// lookup returns the socket of a handle, or why it cannot be used.
func (s *Stack) lookup(h stream.Handle) (*socket, syscall.Errno) {
	if s.off() {
		return nil, syscall.ENETDOWN
	}
	k := s.get(h)
	if k == nil {
		return nil, syscall.EBADF
	}
	return k, 0
}

// leastBacklog is what a listener gets however little of Limits.HalfOpen is left.
func (s *Stack) leastBacklog() int { return max(16, s.cfg.Limits.HalfOpen/32) }

// maxBacklog is Linux's default somaxconn.
const maxBacklog = 4096

// Listen implements stream.Engine. gVisor keeps half-open connections up to the
// backlog and answers further SYNs with cookies. A listener gets at most half of
// what Limits.HalfOpen has left, so that one with a large backlog leaves something
// to the next.
func (s *Stack) Listen(h stream.Handle, backlog int) (errno syscall.Errno) {
	if s.datagramsOf(h) != nil {
		return syscall.EOPNOTSUPP
	}
	k, errno := s.lookup(h)
	if errno != 0 {
		return errno
	}
	if k.state != unconnected && k.state != listening {
		return syscall.EINVAL
	}
	defer s.guard("listen", &errno)
	want := min(max(backlog, 1), maxBacklog)
	room := s.cfg.Limits.HalfOpen - (s.backlogs - k.backlog)
	want = min(want, max((room+1)/2, s.leastBacklog()))
	// One more than the backlog, as Linux counts, and because gVisor would
	// use cookies for all connections otherwise.
	if err := k.ep.Listen(want + 1); err != nil {
		if k.state == listening {
			return 0 // more connections wait than the new backlog holds
		}
		return errnoOf(err)
	}
	if k.state != listening {
		k.state, k.bound = listening, true
		k.unchargeListener()
	}
	s.backlogs += want - k.backlog
	k.backlog = want
	s.nHalfOpen.Store(int64(s.backlogs))
	return 0
}

// unchargeListener makes the receive buffer of a listener so large that what
// gVisor charges it for and never takes back (listens in rx.go; here it is about
// the container's own loopback interface) does not fill it. The charge is an int32,
// so it stays below.
func (k *socket) unchargeListener() {
	so := k.ep.SocketOptions()
	k.window = int(so.GetReceiveBufferSize())
	so.SetReceiveBufferSize(math.MaxInt32, false)
}

// Accept implements stream.Engine. EMFILE: the container has no socket left;
// Acceptable is reported again when it has.
func (s *Stack) Accept(h stream.Handle, user uint64) (n stream.Handle, errno syscall.Errno) {
	if s.datagramsOf(h) != nil {
		return 0, syscall.EOPNOTSUPP
	}
	k, errno := s.lookup(h)
	if errno != 0 {
		return 0, errno
	}
	if k.state != listening {
		return 0, syscall.EINVAL
	}
	if s.Sockets() >= s.cfg.Limits.Connections {
		if !k.starving {
			k.starving = true
			s.starved = append(s.starved, k)
		}
		return 0, syscall.EMFILE
	}
	defer s.guard("accept", &errno)
	ep, wq, err := k.ep.Accept(nil)
	if err != nil {
		return 0, errnoOf(err)
	}
	c := &socket{st: s, user: user, family: k.family, state: connected, ep: ep, wq: wq, bound: true}
	c.opts.inherit(k)
	c.entry.Init(c, events)
	c.wq.EventRegister(&c.entry)
	s.insert(c)
	c.opts.apply(c)
	s.follow(c)
	// What happened before the registration was not told.
	s.ready.push(c)
	if k.ep.Readiness(waiter.ReadableEvents) != 0 {
		s.ready.push(k)
	}
	return c.handle, 0
}

// Connect implements stream.Engine.
func (s *Stack) Connect(h stream.Handle, remote netip.AddrPort) (errno syscall.Errno) {
	if d := s.datagramsOf(h); d != nil {
		return d.Connect(h, remote)
	}
	k, errno := s.lookup(h)
	if errno != 0 {
		return errno
	}
	defer s.guard("connect", &errno)
	switch k.state {
	case connecting:
		return syscall.EALREADY
	case connected, listening:
		return syscall.EISCONN
	case failed:
		if e := s.renew(k); e != 0 {
			return e
		}
	}
	full, ok := toFull(k.family, remote)
	if !ok {
		return syscall.EAFNOSUPPORT
	}
	switch a := remote.Addr(); {
	case a.Unmap().IsMulticast() || a.Unmap() == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return syscall.ENETUNREACH
	case a.Is4() && a.IsUnspecified(), a.Is4In6() && a.Unmap().IsUnspecified():
		full, _ = toFull(k.family, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), remote.Port()))
	case a.IsUnspecified():
		full.Addr = header.IPv6Loopback
	}
	switch err := k.ep.Connect(full).(type) {
	case nil, *tcpip.ErrConnectStarted:
	case *tcpip.ErrHostUnreachable:
		return syscall.ENETUNREACH
	case *tcpip.ErrNoPortAvailable:
		return syscall.EADDRNOTAVAIL
	default:
		return errnoOf(err)
	}
	k.state, k.bound = connecting, true
	s.follow(k)
	if n := k.opts.value[stream.OptSynCount]; n < maxSynRetries {
		// gVisor ignores the option. It waits 1 s, and twice as long
		// after every SYN; this comes just before one SYN too many.
		k.synTimer = s.clock.AfterFunc(time.Duration(1<<(n+1)-1)*time.Second-20*time.Millisecond, func() {
			k.synExpired.Store(true)
			s.ready.push(k)
		})
	}
	return syscall.EINPROGRESS
}

// renew gives a socket whose active open failed a new endpoint, bound as the
// old one was if its owner bound it: in Linux such a socket may try again.
func (s *Stack) renew(k *socket) syscall.Errno {
	var local tcpip.FullAddress
	rebind := k.pinned
	if rebind {
		local, _ = k.ep.GetLocalAddress()
	}
	s.unfollow(k)
	k.wq.EventUnregister(&k.entry)
	k.ep.Close()
	if e := s.newEndpoint(k); e != 0 {
		return e
	}
	k.state, k.bound = unconnected, false
	k.fatal, k.soft, k.died = 0, 0, 0
	k.finSent, k.shutWrite, k.shutRead, k.dry = false, false, false, false
	k.synExpired.Store(false)
	k.opts.apply(k)
	if rebind {
		if err := k.ep.Bind(local); err != nil {
			return errnoOf(err)
		}
		k.bound = true
	}
	return 0
}

// follow makes the connection of k known as a flow.
func (s *Stack) follow(k *socket) {
	id := k.id()
	l, r := id.LocalAddress, id.RemoteAddress
	var key flowKey
	if l.Len() == 4 {
		a, b := l.As4(), r.As4()
		key = flowKey4(a[:], b[:], id.LocalPort, id.RemotePort)
	} else {
		a, b := l.As16(), r.As16()
		key = flowKey6(a[:], b[:], id.LocalPort, id.RemotePort)
	}
	k.flow = flow{key: key, known: true, mtu: s.cfg.MTU}
	s.flows[key] = k
}

// unfollow forgets the flow of k and what it was charged.
func (s *Stack) unfollow(k *socket) {
	if k.flow.known {
		if s.flows[k.flow.key] == k {
			delete(s.flows, k.flow.key)
		}
		k.flow.known = false
	}
	s.usedRx -= k.chargedRx
	s.usedTx -= k.chargedTx
	k.chargedRx, k.chargedTx, k.unread = 0, 0, 0
}

// Attach implements stream.Engine.
func (s *Stack) Attach(h stream.Handle, p *stream.Pair) {
	if k, errno := s.lookup(h); errno == 0 && k.state != failed {
		k.pair = p
		s.ready.push(k)
	}
}

// TxReady implements stream.Engine.
func (s *Stack) TxReady(h stream.Handle) {
	if k, errno := s.lookup(h); errno == 0 {
		s.ready.push(k)
	}
}

// RxRoom implements stream.Engine.
func (s *Stack) RxRoom(h stream.Handle) {
	k, errno := s.lookup(h)
	if errno != 0 || !k.dry || k.state != connected || k.pair == nil {
		return
	}
	defer s.contain("rx room")
	s.pull(k)
	k.recharge()
	if k.over() {
		s.ready.push(k) // the end may have waited for these bytes
	}
}

// Local implements stream.Engine.
func (s *Stack) Local(h stream.Handle) (a netip.AddrPort) {
	if d := s.datagramsOf(h); d != nil {
		return d.Local(h)
	}
	k, errno := s.lookup(h)
	if errno != 0 {
		return netip.AddrPort{}
	}
	defer s.contain("local")
	full, _ := k.ep.GetLocalAddress()
	return fromFull(k.family, full)
}

// Remote implements stream.Engine.
func (s *Stack) Remote(h stream.Handle) (a netip.AddrPort, errno syscall.Errno) {
	if d := s.datagramsOf(h); d != nil {
		return d.Remote(h)
	}
	k, errno := s.lookup(h)
	if errno != 0 {
		return netip.AddrPort{}, errno
	}
	if k.state != connected {
		return netip.AddrPort{}, syscall.ENOTCONN
	}
	defer s.guard("remote", &errno)
	id := k.id()
	return fromFull(k.family, tcpip.FullAddress{Addr: id.RemoteAddress, Port: id.RemotePort}), 0
}
