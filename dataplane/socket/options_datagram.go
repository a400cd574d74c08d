// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"encoding/binary"
	"net/netip"
	"syscall"

	"netcon/dataplane/stream"
	"netcon/shm"

	"golang.org/x/sys/unix"
)

const (
	solUDP    = unix.IPPROTO_UDP
	solRaw    = unix.SOL_RAW
	solICMPv6 = unix.SOL_ICMPV6

	icmpFilter   = 1
	icmp6Filter  = 1
	ipv6Checksum = 7
)

// datagramOptions is what datagram sockets have otherwise than knownOptions says,
// or besides.
func datagramOptions() []option {
	return []option{
		{level: sol, name: unix.SO_SNDBUF, class: own, toEngine: true, engine: stream.OptSendBuffer, def: maxBuffer / 2, min: 4608 / 2, get: getBuffer, set: setBuffer},
		{level: sol, name: unix.SO_SNDBUFFORCE, class: own, set: forceDatagramSendBuffer},
		{level: sol, name: unix.SO_RCVBUF, class: own, toEngine: true, engine: stream.OptRecvBuffer, def: maxBuffer / 2, min: 2304 / 2, get: getBuffer, set: setDatagramBuffer},
		{level: sol, name: unix.SO_RCVBUFFORCE, class: own, set: setDatagramBuffer},
		{level: sol, name: unix.SO_BROADCAST, class: engine, boolean: true, engine: stream.OptBroadcast},
		{level: sol, name: unix.SO_KEEPALIVE, boolean: true},
		{level: sol, name: unix.SO_LINGER, class: own, def: -1, get: getLinger, set: setLinger},

		{level: ip4, name: unix.IP_TOS, class: engine, engine: stream.OptTOS, min: lo, max: hi, fix: func(v int32) int32 { return v & 0xff }},
		{level: ip4, name: unix.IP_MTU_DISCOVER, class: engine, engine: stream.OptMTUDiscover, def: unix.IP_PMTUDISC_WANT, max: 5},
		{level: ip4, name: unix.IP_RECVERR, class: engine, boolean: true, engine: stream.OptRecvErr},
		{level: ip4, name: unix.IP_MTU, class: own, get: getDatagramMTU},
		{level: ip4, name: unix.IP_HDRINCL, class: own, get: getZero},
		{level: ip4, name: unix.IP_MULTICAST_TTL, class: engine, engine: stream.OptMulticastTTL, def: 1, min: -1, max: 255, fix: fixMulticastHops},
		{level: ip4, name: unix.IP_MULTICAST_LOOP, class: engine, boolean: true, engine: stream.OptMulticastLoop, def: 1},
		{level: ip4, name: unix.IP_MULTICAST_ALL, class: engine, engine: stream.OptMulticastAll, def: 1, max: 1},
		{level: ip4, name: unix.IP_MULTICAST_IF, class: own, get: getMulticastIF, set: setMulticastIF},
		{level: ip4, name: unix.IP_ADD_MEMBERSHIP, class: own, set: joinIPv4},
		{level: ip4, name: unix.IP_DROP_MEMBERSHIP, class: own, set: leaveIPv4},
		{level: ip4, name: unix.MCAST_JOIN_GROUP, class: own, set: joinGroup},
		{level: ip4, name: unix.MCAST_LEAVE_GROUP, class: own, set: leaveGroup},

		{level: ip6, name: unix.IPV6_TCLASS, class: engine, engine: stream.OptTOS, min: -1, max: 255, fix: fixDatagramClass},
		{level: ip6, name: unix.IPV6_MTU_DISCOVER, class: engine, engine: stream.OptMTUDiscover, def: unix.IPV6_PMTUDISC_WANT, max: 5},
		{level: ip6, name: unix.IPV6_RECVERR, class: engine, boolean: true, engine: stream.OptRecvErr},
		{level: ip6, name: unix.IPV6_MTU, class: own, get: getDatagramMTU, set: setMTU},
		{level: ip6, name: unix.IPV6_MULTICAST_HOPS, class: engine, engine: stream.OptMulticastTTL, def: 1, min: -1, max: 255, fix: fixMulticastHops},
		{level: ip6, name: unix.IPV6_MULTICAST_LOOP, class: engine, engine: stream.OptMulticastLoop, def: 1, max: 1},
		{level: ip6, name: unix.IPV6_MULTICAST_IF, class: own, get: getInt, set: setMulticastIF6},
		{level: ip6, name: unix.IPV6_JOIN_GROUP, class: own, set: joinIPv6},
		{level: ip6, name: unix.IPV6_LEAVE_GROUP, class: own, set: leaveIPv6},
		{level: ip6, name: unix.MCAST_JOIN_GROUP, class: own, set: joinGroup},
		{level: ip6, name: unix.MCAST_LEAVE_GROUP, class: own, set: leaveGroup},

		// There is no cork to take out.
		{level: solUDP, name: unix.UDP_CORK, class: own, get: getZero, set: setNotSupported},

		{level: solRaw, name: icmpFilter, class: own, get: getFilter4, set: setFilter4},
		{level: solRaw, name: ipv6Checksum, class: own, get: getICMPv6Checksum, set: setICMPv6Checksum},
		{level: solICMPv6, name: icmp6Filter, class: own, get: getFilter6, set: setFilter6},
	}
}

// datagramIndex finds a row of datagramOptions by level and name.
var datagramIndex = make(map[[2]int32]int)

// Rows of datagram sockets that are used by name.
var rowDatagramRecvBuffer, rowDatagramSendBuffer, rowRecvErr, rowRecvErr6 int

// wanted says which options ask for which control messages.
var wanted []struct {
	row int
	bit uint32
}

func indexDatagramOptions() {
	base := len(optionTable)
	optionTable = append(optionTable, datagramOptions()...)
	for i := base; i < len(optionTable); i++ {
		datagramIndex[[2]int32{optionTable[i].level, optionTable[i].name}] = i
	}
	rowDatagramRecvBuffer = datagramIndex[[2]int32{sol, unix.SO_RCVBUF}]
	rowDatagramSendBuffer = datagramIndex[[2]int32{sol, unix.SO_SNDBUF}]
	rowRecvErr = datagramIndex[[2]int32{ip4, unix.IP_RECVERR}]
	rowRecvErr6 = datagramIndex[[2]int32{ip6, unix.IPV6_RECVERR}]
	for _, w := range []struct {
		level, name int32
		bit         uint32
	}{
		{ip4, unix.IP_PKTINFO, shm.WantPktInfo},
		{ip4, unix.IP_RECVTTL, shm.WantTTL},
		{ip4, unix.IP_RECVTOS, shm.WantTOS},
		{ip4, unix.IP_RECVORIGDSTADDR, shm.WantOrigDst},
		{ip6, unix.IPV6_RECVPKTINFO, shm.WantPktInfo6},
		{ip6, unix.IPV6_RECVHOPLIMIT, shm.WantHopLimit},
		{ip6, unix.IPV6_2292HOPLIMIT, shm.WantHopLimitOld},
		{ip6, unix.IPV6_RECVTCLASS, shm.WantTClass},
		{ip6, unix.IPV6_RECVORIGDSTADDR, shm.WantOrigDst6},
		{sol, unix.SO_TIMESTAMP_OLD, shm.WantStamp},
		{sol, unix.SO_TIMESTAMPNS_OLD, shm.WantStampNS},
		{sol, unix.SO_TIMESTAMP_NEW, shm.WantStampNew},
		{sol, unix.SO_TIMESTAMPNS_NEW, shm.WantStampNSNew},
		{sol, unix.SO_RXQ_OVFL, shm.WantOverflow},
	} {
		wanted = append(wanted, struct {
			row int
			bit uint32
		}{optionIndex[[2]int32{w.level, w.name}], w.bit})
	}
}

// wants is what a socket asked to be told with each datagram.
func (t *Set) wants(s *sock) (bits uint32) {
	for _, w := range wanted {
		if s.isSet(w.row) && t.value(s, w.row) != 0 {
			bits |= w.bit
		}
	}
	return bits
}

// setDatagramBuffer sets SO_RCVBUF: what the pair holds for an application that
// does not read.
func setDatagramBuffer(t *Set, s *sock, _ int, in []byte) syscall.Errno {
	if e := setBuffer(t, s, rowDatagramRecvBuffer, in); e != 0 {
		return e
	}
	_ = setSockInt(s.fd, unix.SO_SNDBUF, t.value(s, rowDatagramRecvBuffer))
	return 0
}

func forceDatagramSendBuffer(t *Set, s *sock, _ int, in []byte) syscall.Errno {
	return setBuffer(t, s, rowDatagramSendBuffer, in)
}

// fixDatagramClass: -1 is the default. The ECN bits pass.
func fixDatagramClass(v int32) int32 { return max(0, v) }

// fixMulticastHops: -1 is the default.
func fixMulticastHops(v int32) int32 {
	if v < 0 {
		return 1
	}
	return v
}

func getDatagramMTU(t *Set, s *sock, _ int, out []byte) (int, syscall.Errno) {
	v, e := t.engine.Option(s.handle, stream.OptMTU)
	if e != 0 {
		return 0, e
	}
	return putInt(out, int32(v))
}

// getMulticastIF is the address that stands for the interface.
func getMulticastIF(_ *Set, s *sock, _ int, out []byte) (int, syscall.Errno) {
	clear(out[:4])
	if a := s.dgram.source.Unmap(); a.Is4() {
		copy(out, a.AsSlice())
	}
	return 4, 0
}

// setMulticastIF takes struct in_addr, ip_mreq or ip_mreqn.
func setMulticastIF(_ *Set, s *sock, _ int, in []byte) syscall.Errno {
	var a [4]byte
	var index uint32
	switch {
	case len(in) >= 12:
		copy(a[:], in[4:])
		index = binary.NativeEndian.Uint32(in[8:])
	case len(in) >= 8:
		copy(a[:], in[4:])
	case len(in) >= 4:
		copy(a[:], in)
	default:
		return unix.EINVAL
	}
	switch {
	case index > deviceIndex:
		return unix.EADDRNOTAVAIL
	case a == [4]byte{}:
		s.dgram.source = netip.Addr{}
		return 0
	}
	s.dgram.source = netip.AddrFrom4(a)
	if s.family == stream.IPv6 {
		s.dgram.source = netip.AddrFrom16(s.dgram.source.As16())
	}
	return 0
}

func setMulticastIF6(t *Set, s *sock, row int, in []byte) syscall.Errno {
	v, e := intValue(&optionTable[row], in)
	switch {
	case e != 0:
		return e
	case v < 0 || v > deviceIndex:
		return unix.ENODEV
	}
	return t.put(s, row, v)
}

// groupIPv4 reads struct ip_mreq or ip_mreqn.
func groupIPv4(in []byte) (netip.Addr, syscall.Errno) {
	if len(in) < 8 {
		return netip.Addr{}, unix.EINVAL
	}
	if len(in) >= 12 && binary.NativeEndian.Uint32(in[8:]) > deviceIndex {
		return netip.Addr{}, unix.ENODEV
	}
	return netip.AddrFrom4([4]byte(in[:4])), 0
}

// groupIPv6 reads struct ipv6_mreq.
func groupIPv6(in []byte) (netip.Addr, syscall.Errno) {
	switch {
	case len(in) < 20:
		return netip.Addr{}, unix.EINVAL
	case binary.NativeEndian.Uint32(in[16:]) > deviceIndex:
		return netip.Addr{}, unix.ENODEV
	}
	return netip.AddrFrom16([16]byte(in[:16])), 0
}

// groupAny reads struct group_req.
func groupAny(s *sock, in []byte) (netip.Addr, syscall.Errno) {
	if len(in) < 136 {
		return netip.Addr{}, unix.EINVAL
	}
	if binary.NativeEndian.Uint32(in) > deviceIndex {
		return netip.Addr{}, unix.ENODEV
	}
	switch in = in[8:]; binary.NativeEndian.Uint16(in) {
	case unix.AF_INET:
		return netip.AddrFrom4([4]byte(in[4:8])), 0
	case unix.AF_INET6:
		if s.family == stream.IPv6 {
			return netip.AddrFrom16([16]byte(in[8:24])), 0
		}
	}
	return netip.Addr{}, unix.EADDRNOTAVAIL
}

func joinIPv4(t *Set, s *sock, _ int, in []byte) syscall.Errno {
	return t.join(s, true)(groupIPv4(in))
}

func leaveIPv4(t *Set, s *sock, _ int, in []byte) syscall.Errno {
	return t.join(s, false)(groupIPv4(in))
}

func joinIPv6(t *Set, s *sock, _ int, in []byte) syscall.Errno {
	return t.join(s, true)(groupIPv6(in))
}

func leaveIPv6(t *Set, s *sock, _ int, in []byte) syscall.Errno {
	return t.join(s, false)(groupIPv6(in))
}

func joinGroup(t *Set, s *sock, _ int, in []byte) syscall.Errno {
	return t.join(s, true)(groupAny(s, in))
}

func leaveGroup(t *Set, s *sock, _ int, in []byte) syscall.Errno {
	return t.join(s, false)(groupAny(s, in))
}

// join returns what makes a socket a member of a group, or ends that.
func (t *Set) join(s *sock, member bool) func(netip.Addr, syscall.Errno) syscall.Errno {
	return func(group netip.Addr, e syscall.Errno) syscall.Errno {
		switch {
		case e != 0:
			return e
		case member:
			return t.datagrams.Join(s.handle, group)
		}
		return t.datagrams.Leave(s.handle, group)
	}
}

// setFilter4 follows raw_seticmpfilter, setFilter6 rawv6_seticmpfilter: what is
// shorter changes a part.
func setFilter4(t *Set, s *sock, _ int, in []byte) syscall.Errno {
	if s.dgram.proto != stream.Raw || s.family != stream.IPv4 {
		return unix.ENOPROTOOPT
	}
	var word [4]byte
	binary.NativeEndian.PutUint32(word[:], s.dgram.filter[0])
	copy(word[:], in)
	s.dgram.filter[0] = binary.NativeEndian.Uint32(word[:])
	return t.datagrams.Filter(s.handle, &s.dgram.filter)
}

func getFilter4(_ *Set, s *sock, _ int, out []byte) (int, syscall.Errno) {
	switch {
	case s.family != stream.IPv4:
		return 0, unix.ENOPROTOOPT
	case s.dgram.proto != stream.Raw:
		return 0, unix.EOPNOTSUPP
	}
	return putInt(out, int32(s.dgram.filter[0]))
}

func setFilter6(t *Set, s *sock, _ int, in []byte) syscall.Errno {
	if s.dgram.proto != stream.Raw || s.family != stream.IPv6 {
		return unix.ENOPROTOOPT
	}
	var words [4 * len(stream.ICMPFilter{})]byte
	for i, w := range s.dgram.filter {
		binary.NativeEndian.PutUint32(words[4*i:], w)
	}
	copy(words[:], in)
	for i := range s.dgram.filter {
		s.dgram.filter[i] = binary.NativeEndian.Uint32(words[4*i:])
	}
	return t.datagrams.Filter(s.handle, &s.dgram.filter)
}

func getFilter6(_ *Set, s *sock, _ int, out []byte) (int, syscall.Errno) {
	if s.dgram.proto != stream.Raw || s.family != stream.IPv6 {
		return 0, unix.ENOPROTOOPT
	}
	for i, w := range s.dgram.filter {
		binary.NativeEndian.PutUint32(out[4*i:], w)
	}
	return 4 * len(s.dgram.filter), 0
}

// The stack writes the checksum of ICMPv6, where it belongs.
func setICMPv6Checksum(_ *Set, s *sock, row int, in []byte) syscall.Errno {
	const offset = 2
	if s.dgram.proto != stream.Raw || s.family != stream.IPv6 {
		return unix.ENOPROTOOPT
	}
	if v, e := intValue(&optionTable[row], in); e != 0 || v != offset {
		return unix.EINVAL
	}
	return 0
}

func getICMPv6Checksum(_ *Set, s *sock, _ int, out []byte) (int, syscall.Errno) {
	if s.dgram.proto != stream.Raw || s.family != stream.IPv6 {
		return 0, unix.ENOPROTOOPT
	}
	return putInt(out, 2)
}
