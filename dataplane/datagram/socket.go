// SPDX-License-Identifier: Apache-2.0

package datagram

import (
	"net/netip"
	"syscall"

	"netcon/dataplane/stream"
)

// socket is one datagram socket.
type socket struct {
	st     *Stack
	handle stream.Handle // 0 once closed
	user   uint64
	family stream.Family
	proto  stream.Protocol

	local     netip.Addr     // as bound or chosen by Connect; unspecified: any
	source    netip.Addr     // what Connect chose; differs from local if that is a group
	port      uint16         // local; the identifier of Ping
	remote    netip.AddrPort // valid while connected
	inTable   bool           // bound to a port
	pinned    bool           // local is what Bind asked for
	pinPort   bool           // port is what Bind asked for
	shutRead  bool
	shutWrite bool

	value  [stream.NumOptions]int32
	filter stream.ICMPFilter
	groups []netip.Addr // joined

	queue ring   // of received records
	armed bool   // Receive said EAGAIN: Readable is owed
	drops uint32 // that the queue had no room for

	// For readyList.
	queued   bool
	writable bool // Writable is owed
	blocked  bool // in Stack.blocked
	next     *socket

	peerNext *socket // the next older socket with the same addresses and ports
}

// init sets what Linux sets at first.
func (k *socket) init() {
	k.local = any4
	if k.family == stream.IPv6 {
		k.local = any6
	}
	k.value[stream.OptRecvBuffer] = defaultRecvBuffer
	k.value[stream.OptSendBuffer] = defaultRecvBuffer
	k.value[stream.OptTTL] = 64
	k.value[stream.OptMulticastTTL] = 1
	k.value[stream.OptMulticastLoop] = 1
	k.value[stream.OptMulticastAll] = 1
	k.value[stream.OptMTUDiscover] = discoverWant
	if k.proto != stream.UDP {
		k.value[stream.OptReuseAddr] = 1 // INET_PROTOSW_REUSE
	}
}

func (k *socket) on(o stream.Option) bool { return k.value[o] != 0 }

// anyAddr is the wildcard of the socket's family.
func (k *socket) anyAddr() netip.Addr {
	if k.family == stream.IPv6 {
		return any6
	}
	return any4
}

// Bind implements Bind of stream.Engine.
func (s *Stack) Bind(h stream.Handle, at netip.AddrPort) syscall.Errno {
	k := s.get(h)
	if k == nil {
		return syscall.EBADF
	}
	local, e := k.inward(at.Addr())
	if e != 0 {
		return e
	}
	if k.family == stream.IPv6 && local.Is4() && k.v6only() {
		return syscall.EINVAL
	}
	active := k.inTable || k.remote.IsValid()
	if active && (k.proto == stream.Raw || k.proto == stream.UDP && k.family == stream.IPv6) {
		return syscall.EINVAL // else Linux looks at the address first
	}
	switch {
	case local.IsUnspecified(), s.mine(local):
	case local.IsMulticast(), local.Is4() && s.isBroadcast(local):
		if k.proto == stream.Ping {
			return syscall.EADDRNOTAVAIL
		}
	default:
		return syscall.EADDRNOTAVAIL
	}
	if active {
		return syscall.EINVAL
	}
	k.local = local
	if k.proto != stream.Raw && !s.bind(k, at.Port()) {
		k.local = k.anyAddr()
		return syscall.EADDRINUSE
	}
	k.pinned = !local.IsUnspecified()
	if k.pinned && local.Is6() {
		k.value[stream.OptV6Only] = 1 // as in Linux
	}
	k.pinPort = at.Port() != 0
	return 0
}

// autobind gives an unbound socket a port, which it keeps even if the call that
// needed it fails, as in Linux.
func (s *Stack) autobind(k *socket) syscall.Errno {
	if !k.inTable && k.proto != stream.Raw && !s.bind(k, 0) {
		return syscall.EADDRINUSE
	}
	return 0
}

// Connect implements Connect of stream.Engine.
func (s *Stack) Connect(h stream.Handle, to netip.AddrPort) syscall.Errno {
	k := s.get(h)
	if k == nil {
		return syscall.EBADF
	}
	if e := s.autobind(k); e != 0 {
		return e
	}
	remote, e := k.inward(to.Addr())
	if e != 0 {
		return e
	}
	remote, reach, e := s.destination(k, remote, netip.Addr{})
	if e != 0 {
		return e
	}
	local, e := s.sourceOf(k, remote, reach, netip.Addr{})
	if e != 0 {
		return e
	}
	s.unlist(k)
	if k.wildcard() {
		k.local = local
	}
	k.source = local
	k.remote = netip.AddrPortFrom(remote, to.Port())
	s.list(k)
	return 0
}

// Disconnect implements Disconnect of stream.Datagrams.
func (s *Stack) Disconnect(h stream.Handle) syscall.Errno {
	k := s.get(h)
	if k == nil {
		return syscall.EBADF
	}
	s.unlist(k)
	k.remote = netip.AddrPort{}
	if !k.pinned {
		k.local, k.source = k.anyAddr(), netip.Addr{}
	}
	s.list(k)
	if !k.pinPort {
		s.unbind(k)
	}
	return 0
}

// Shutdown implements Shutdown of stream.Engine.
func (s *Stack) Shutdown(h stream.Handle, how stream.How) syscall.Errno {
	k := s.get(h)
	if k == nil {
		return syscall.EBADF
	}
	k.shutRead = k.shutRead || how&stream.ShutRead != 0
	k.shutWrite = k.shutWrite || how&stream.ShutWrite != 0
	if !k.remote.IsValid() {
		return syscall.ENOTCONN
	}
	return 0
}

// Local implements Local of stream.Engine.
func (s *Stack) Local(h stream.Handle) netip.AddrPort {
	k := s.get(h)
	if k == nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(k.outward(k.local), k.port)
}

// Remote implements Remote of stream.Engine. As in Linux a peer of port 0 is
// not shown.
func (s *Stack) Remote(h stream.Handle) (netip.AddrPort, syscall.Errno) {
	k := s.get(h)
	switch {
	case k == nil:
		return netip.AddrPort{}, syscall.EBADF
	case k.remote.Port() == 0:
		return netip.AddrPort{}, syscall.ENOTCONN
	}
	return netip.AddrPortFrom(k.outward(k.remote.Addr()), k.remote.Port()), 0
}

// The most groups a socket is a member of: igmp_max_memberships of Linux for
// IPv4, and a bound where Linux has one in bytes for IPv6.
const (
	maxGroups4 = 20
	maxGroups6 = 64
)

// Join implements Join of stream.Datagrams.
func (s *Stack) Join(h stream.Handle, group netip.Addr) syscall.Errno {
	k := s.get(h)
	if k == nil {
		return syscall.EBADF
	}
	g, e := k.inward(group)
	if e != 0 || !g.IsMulticast() {
		return syscall.EINVAL
	}
	if g.Is4() && !s.has4 || g.Is6() && !s.has6 {
		return syscall.ENODEV
	}
	n := 0
	for _, have := range k.groups {
		if have == g {
			return syscall.EADDRINUSE
		}
		if have.Is4() == g.Is4() {
			n++
		}
	}
	if g.Is4() && n >= maxGroups4 || n >= maxGroups6 {
		return syscall.ENOBUFS
	}
	k.groups = append(k.groups, g)
	s.members[g]++
	return 0
}

// Leave implements Leave of stream.Datagrams.
func (s *Stack) Leave(h stream.Handle, group netip.Addr) syscall.Errno {
	k := s.get(h)
	if k == nil {
		return syscall.EBADF
	}
	g, e := k.inward(group)
	if e != 0 || !g.IsMulticast() {
		return syscall.EINVAL
	}
	for i, have := range k.groups {
		if have == g {
			k.groups = append(k.groups[:i], k.groups[i+1:]...)
			s.leave(g)
			return 0
		}
	}
	return syscall.EADDRNOTAVAIL
}

func (s *Stack) leave(g netip.Addr) {
	if s.members[g]--; s.members[g] == 0 {
		delete(s.members, g)
	}
}

// joined reports whether what is sent to the group is for the socket, by
// Linux's ip_mc_sf_allow: without IP_MULTICAST_ALL only what it joined itself.
func (k *socket) joined(group netip.Addr) bool {
	for _, g := range k.groups {
		if g == group {
			return true
		}
	}
	// Linux sets IP_MULTICAST_ALL for IPv4 sockets only.
	return k.on(stream.OptMulticastAll) && (k.family == stream.IPv4 || group.Is6())
}

// Filter implements Filter of stream.Datagrams.
func (s *Stack) Filter(h stream.Handle, f *stream.ICMPFilter) syscall.Errno {
	k := s.get(h)
	switch {
	case k == nil:
		return syscall.EBADF
	case k.proto != stream.Raw:
		return syscall.EOPNOTSUPP
	}
	k.filter = *f
	return 0
}
