// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"math"
	"syscall"

	"netcon/dataplane/stream"

	"golang.org/x/sys/unix"
)

// class says what becomes of an option.
type class uint8

const (
	kept   class = iota // stored and returned
	engine              // the engine has it; stored as well, for a second handle
	own                 // a pair of functions here
	none                // refused with errno both ways
)

// option is one row of the table. Of class kept and engine it is an int.
type option struct {
	level, name int32
	class       class
	toEngine    bool // of own: what is stored is what the engine is told
	boolean     bool // any value but 0 is 1
	engine      stream.Option
	def         int32 // until it is set, and where the engine does not know
	min, max    int32 // EINVAL outside
	fix         func(v int32) int32
	get         func(t *Set, s *sock, row int, out []byte) (int, syscall.Errno)
	set         func(t *Set, s *sock, row int, in []byte) syscall.Errno
	errno       syscall.Errno // of none
}

const (
	lo = math.MinInt32
	hi = math.MaxInt32
)

const (
	sol = unix.SOL_SOCKET
	tcp = unix.IPPROTO_TCP
	ip4 = unix.IPPROTO_IP
	ip6 = unix.IPPROTO_IPV6
)

// Names that x/sys does not export.
const (
	soOriginalDst    = 80
	soRcvPriority    = 82
	tcpRepairWindow  = 29
	ipv6AddrForm     = 1
	ipv6FlowInfo     = 11
	ipv6FlowInfoSend = 33
)

// knownOptions is every option we know. Everything else is ENOPROTOOPT: never
// EOPNOTSUPP, which Java and node do not ignore. Timeouts, SO_PEEK_OFF and what
// else works natively on the pair never gets here.
func knownOptions() []option {
	return []option{
		// SOL_SOCKET
		{level: sol, name: unix.SO_ERROR, class: own, get: getError},
		{level: sol, name: unix.SO_TYPE, class: own, get: getType},
		{level: sol, name: unix.SO_DOMAIN, class: own, get: getDomain},
		{level: sol, name: unix.SO_PROTOCOL, class: own, get: getProtocol},
		{level: sol, name: unix.SO_ACCEPTCONN, class: own, get: getAcceptConn},
		{level: sol, name: unix.SO_COOKIE, class: own, get: getCookie},
		{level: sol, name: unix.SO_PEERCRED, class: own, get: getPeerCred},
		{level: sol, name: unix.SO_MEMINFO, class: own, get: getMemInfo},
		{level: sol, name: unix.SO_LINGER, class: own, toEngine: true, engine: stream.OptLinger, def: -1, get: getLinger, set: setLinger},
		{level: sol, name: unix.SO_SNDBUF, class: own, toEngine: true, engine: stream.OptSendBuffer, def: 16384 / 2, min: 4608 / 2, get: getBuffer, set: setBuffer},
		{level: sol, name: unix.SO_SNDBUFFORCE, class: own, set: forceSendBuffer},
		{level: sol, name: unix.SO_RCVBUF, class: own, toEngine: true, engine: stream.OptRecvBuffer, def: 131072 / 2, min: 2304 / 2, get: getBuffer, set: setBuffer},
		{level: sol, name: unix.SO_RCVBUFFORCE, class: own, set: forceRecvBuffer},
		{level: sol, name: unix.SO_BINDTODEVICE, class: own, get: getDevice, set: setDevice},
		{level: sol, name: unix.SO_MAX_PACING_RATE, class: own, def: -1, get: getPacing, set: setPacing},
		{level: sol, name: unix.SO_ZEROCOPY, class: own, get: getInt, set: setNotSupported},
		{level: sol, name: unix.SO_REUSEADDR, class: engine, boolean: true, engine: stream.OptReuseAddr},
		{level: sol, name: unix.SO_REUSEPORT, class: engine, boolean: true, engine: stream.OptReusePort},
		{level: sol, name: unix.SO_KEEPALIVE, class: engine, boolean: true, engine: stream.OptKeepAlive},
		{level: sol, name: unix.SO_SNDLOWAT, class: own, get: getOne},
		{level: sol, name: unix.SO_RCVLOWAT, def: 1, min: lo, max: hi, fix: fixLowat},
		{level: sol, name: unix.SO_DEBUG, boolean: true},
		{level: sol, name: unix.SO_DONTROUTE, boolean: true},
		{level: sol, name: unix.SO_BROADCAST, boolean: true},
		{level: sol, name: unix.SO_OOBINLINE, boolean: true},
		{level: sol, name: unix.SO_NO_CHECK, boolean: true},
		{level: sol, name: unix.SO_BSDCOMPAT, class: own, get: getZero, set: setAccepted},
		{level: sol, name: unix.SO_PASSCRED, boolean: true},
		{level: sol, name: unix.SO_PASSSEC, boolean: true},
		{level: sol, name: unix.SO_TIMESTAMP_OLD, boolean: true},
		{level: sol, name: unix.SO_TIMESTAMPNS_OLD, boolean: true},
		{level: sol, name: unix.SO_TIMESTAMP_NEW, boolean: true},
		{level: sol, name: unix.SO_TIMESTAMPNS_NEW, boolean: true},
		{level: sol, name: unix.SO_TIMESTAMPING_OLD, max: hi},
		{level: sol, name: unix.SO_TIMESTAMPING_NEW, max: hi},
		{level: sol, name: unix.SO_RXQ_OVFL, boolean: true},
		{level: sol, name: unix.SO_WIFI_STATUS, boolean: true},
		{level: sol, name: unix.SO_SELECT_ERR_QUEUE, boolean: true},
		{level: sol, name: unix.SO_LOCK_FILTER, boolean: true},
		{level: sol, name: unix.SO_PREFER_BUSY_POLL, boolean: true},
		{level: sol, name: unix.SO_PRIORITY, min: lo, max: hi},
		{level: sol, name: soRcvPriority, boolean: true},
		{level: sol, name: unix.SO_MARK, min: lo, max: hi},
		{level: sol, name: unix.SO_RCVMARK, boolean: true},
		{level: sol, name: unix.SO_INCOMING_CPU, def: -1, min: lo, max: hi},
		{level: sol, name: unix.SO_BUSY_POLL, max: hi},
		{level: sol, name: unix.SO_BUSY_POLL_BUDGET, max: math.MaxUint16},
		{level: sol, name: unix.SO_BUF_LOCK, max: 3},
		{level: sol, name: unix.SO_RESERVE_MEM, max: hi},
		{level: sol, name: unix.SO_TXREHASH, def: 1, min: -1, max: 1},
		{level: sol, name: unix.SO_PEERGROUPS, class: own, get: getNoData},
		{level: sol, name: unix.SO_PEERPIDFD, class: own, get: getNoData},
		{level: sol, name: unix.SO_DETACH_FILTER, class: own, set: setNoEntry},
		{level: sol, name: unix.SO_DETACH_REUSEPORT_BPF, class: own, set: setInvalid},

		// IPPROTO_TCP
		{level: tcp, name: unix.TCP_NODELAY, class: engine, boolean: true, engine: stream.OptNoDelay},
		{level: tcp, name: unix.TCP_CORK, class: engine, boolean: true, engine: stream.OptCork},
		{level: tcp, name: unix.TCP_MAXSEG, class: own, toEngine: true, engine: stream.OptMaxSeg, get: getMaxSeg, set: setMaxSeg},
		{level: tcp, name: unix.TCP_KEEPIDLE, class: engine, engine: stream.OptKeepIdle, def: 7200, min: 1, max: 32767},
		{level: tcp, name: unix.TCP_KEEPINTVL, class: engine, engine: stream.OptKeepInterval, def: 75, min: 1, max: 32767},
		{level: tcp, name: unix.TCP_KEEPCNT, class: engine, engine: stream.OptKeepCount, def: 9, min: 1, max: 127},
		{level: tcp, name: unix.TCP_SYNCNT, class: engine, engine: stream.OptSynCount, def: 6, min: 1, max: 127},
		{level: tcp, name: unix.TCP_LINGER2, class: engine, engine: stream.OptLinger2, def: 60, min: lo, max: hi, fix: fixLinger2},
		{level: tcp, name: unix.TCP_DEFER_ACCEPT, class: engine, engine: stream.OptDeferAccept, min: lo, max: hi, fix: fixDeferAccept},
		{level: tcp, name: unix.TCP_WINDOW_CLAMP, max: hi},
		{level: tcp, name: unix.TCP_INFO, class: own, get: getTCPInfo},
		{level: tcp, name: unix.TCP_QUICKACK, class: engine, boolean: true, engine: stream.OptQuickAck, def: 1},
		{level: tcp, name: unix.TCP_CONGESTION, class: own, get: getCongestion, set: setCongestion},
		{level: tcp, name: unix.TCP_CC_INFO, class: own, get: getEmpty},
		{level: tcp, name: unix.TCP_THIN_LINEAR_TIMEOUTS, max: 1},
		{level: tcp, name: unix.TCP_THIN_DUPACK, class: own, get: getZero, set: setFlag},
		{level: tcp, name: unix.TCP_USER_TIMEOUT, class: engine, engine: stream.OptUserTimeout, max: hi},
		{level: tcp, name: unix.TCP_FASTOPEN, max: hi},
		{level: tcp, name: unix.TCP_FASTOPEN_NO_COOKIE, max: 1},
		{level: tcp, name: unix.TCP_FASTOPEN_CONNECT, class: own, get: getInt, set: setNotSupported},
		{level: tcp, name: unix.TCP_TIMESTAMP, max: hi},
		{level: tcp, name: unix.TCP_NOTSENT_LOWAT, class: engine, engine: stream.OptNotSentLowat, min: lo, max: hi},
		{level: tcp, name: unix.TCP_INQ, max: 1},
		{level: tcp, name: unix.TCP_ULP, class: own, get: getEmpty, set: setULP},
		{level: tcp, name: unix.TCP_REPAIR, class: none, errno: unix.EPERM},
		{level: tcp, name: unix.TCP_REPAIR_QUEUE, class: none, errno: unix.EPERM},
		{level: tcp, name: unix.TCP_REPAIR_OPTIONS, class: none, errno: unix.EPERM},
		{level: tcp, name: unix.TCP_QUEUE_SEQ, class: none, errno: unix.EPERM},
		{level: tcp, name: tcpRepairWindow, class: none, errno: unix.EPERM},

		// IPPROTO_IP, on sockets of both families
		{level: ip4, name: unix.IP_TOS, class: engine, engine: stream.OptTOS, min: lo, max: hi, fix: fixTOS},
		{level: ip4, name: unix.IP_TTL, class: own, toEngine: true, engine: stream.OptTTL, def: 64, get: getHops, set: setHops},
		{level: ip4, name: unix.IP_OPTIONS, class: own, get: getEmpty, set: setIPOptions},
		{level: ip4, name: unix.IP_RECVOPTS, boolean: true},
		{level: ip4, name: unix.IP_RETOPTS, boolean: true},
		{level: ip4, name: unix.IP_PKTINFO, boolean: true},
		{level: ip4, name: unix.IP_MTU_DISCOVER, def: unix.IP_PMTUDISC_WANT, max: 5},
		{level: ip4, name: unix.IP_RECVERR, boolean: true},
		{level: ip4, name: unix.IP_RECVERR_RFC4884, boolean: true},
		{level: ip4, name: unix.IP_RECVTTL, boolean: true},
		{level: ip4, name: unix.IP_RECVTOS, boolean: true},
		{level: ip4, name: unix.IP_MTU, class: own, get: getMTU},
		{level: ip4, name: unix.IP_FREEBIND, boolean: true},
		{level: ip4, name: unix.IP_TRANSPARENT, boolean: true},
		{level: ip4, name: unix.IP_RECVORIGDSTADDR, boolean: true},
		{level: ip4, name: unix.IP_MINTTL, max: 255},
		{level: ip4, name: unix.IP_BIND_ADDRESS_NO_PORT, boolean: true},
		{level: ip4, name: unix.IP_RECVFRAGSIZE, class: own, get: getZero, set: setInvalid},
		{level: ip4, name: unix.IP_LOCAL_PORT_RANGE, min: lo, max: hi},
		{level: ip4, name: unix.IP_UNICAST_IF, max: hi},
		{level: ip4, name: unix.IP_MULTICAST_TTL, class: own, def: 1, get: getInt, set: setInvalid},
		{level: ip4, name: unix.IP_MULTICAST_LOOP, boolean: true, def: 1},
		{level: ip4, name: unix.IP_MULTICAST_ALL, def: 1, max: 1},
		{level: ip4, name: unix.IP_PROTOCOL, class: own, get: getZero},
		{level: ip4, name: unix.IP_ADD_MEMBERSHIP, class: none, errno: unix.EPROTO},
		{level: ip4, name: unix.IP_DROP_MEMBERSHIP, class: none, errno: unix.EPROTO},
		{level: ip4, name: soOriginalDst, class: none, errno: unix.ENOENT},

		// IPPROTO_IPV6
		{level: ip6, name: unix.IPV6_V6ONLY, class: own, toEngine: true, engine: stream.OptV6Only, get: getInt, set: setV6Only},
		{level: ip6, name: unix.IPV6_TCLASS, class: engine, engine: stream.OptTOS, min: -1, max: 255, fix: fixTrafficClass},
		{level: ip6, name: unix.IPV6_UNICAST_HOPS, class: own, toEngine: true, engine: stream.OptTTL, def: 64, get: getHops, set: setHops},
		{level: ip6, name: unix.IPV6_MULTICAST_HOPS, class: own, def: 1, get: getInt},
		{level: ip6, name: unix.IPV6_MULTICAST_LOOP, def: 1, max: 1},
		{level: ip6, name: unix.IPV6_MTU_DISCOVER, def: unix.IPV6_PMTUDISC_WANT, max: 5},
		{level: ip6, name: unix.IPV6_MTU, class: own, get: getMTU, set: setMTU},
		{level: ip6, name: unix.IPV6_RECVERR, boolean: true},
		{level: ip6, name: unix.IPV6_RECVPKTINFO, boolean: true},
		{level: ip6, name: unix.IPV6_RECVHOPLIMIT, boolean: true},
		{level: ip6, name: unix.IPV6_2292HOPLIMIT, boolean: true},
		{level: ip6, name: unix.IPV6_RECVHOPOPTS, boolean: true},
		{level: ip6, name: unix.IPV6_RECVRTHDR, boolean: true},
		{level: ip6, name: unix.IPV6_RECVDSTOPTS, boolean: true},
		{level: ip6, name: unix.IPV6_RECVPATHMTU, boolean: true},
		{level: ip6, name: unix.IPV6_RECVTCLASS, boolean: true},
		{level: ip6, name: unix.IPV6_RECVORIGDSTADDR, boolean: true},
		{level: ip6, name: unix.IPV6_DONTFRAG, boolean: true},
		{level: ip6, name: unix.IPV6_AUTOFLOWLABEL, boolean: true, def: 1},
		{level: ip6, name: ipv6FlowInfo, boolean: true},
		{level: ip6, name: ipv6FlowInfoSend, boolean: true},
		{level: ip6, name: unix.IPV6_ADDR_PREFERENCES, max: hi},
		{level: ip6, name: unix.IPV6_MINHOPCOUNT, max: 255},
		{level: ip6, name: unix.IPV6_FREEBIND, boolean: true},
		{level: ip6, name: unix.IPV6_TRANSPARENT, boolean: true},
		{level: ip6, name: unix.IPV6_UNICAST_IF, max: hi},
		{level: ip6, name: unix.IPV6_JOIN_GROUP, class: none, errno: unix.EPROTO},
		{level: ip6, name: unix.IPV6_LEAVE_GROUP, class: none, errno: unix.EPROTO},
		{level: ip6, name: ipv6AddrForm, class: none, errno: unix.ENOTCONN},
		{level: ip6, name: soOriginalDst, class: none, errno: unix.ENOENT},
	}
}

// optionTable is knownOptions; a sock's settings refer to its rows.
var optionTable []option

// optionIndex finds a row by level and name.
var optionIndex = make(map[[2]int32]int)

// Rows that are used by name.
var rowSendBuffer, rowRecvBuffer, rowV6Only, rowDeferAccept, rowLinger, rowDevice int

func init() { // the rows' functions refer to these in turn
	optionTable = knownOptions()
	for i := range optionTable {
		optionIndex[[2]int32{optionTable[i].level, optionTable[i].name}] = i
	}
	rowSendBuffer = optionIndex[[2]int32{sol, unix.SO_SNDBUF}]
	rowRecvBuffer = optionIndex[[2]int32{sol, unix.SO_RCVBUF}]
	rowLinger = optionIndex[[2]int32{sol, unix.SO_LINGER}]
	rowDevice = optionIndex[[2]int32{sol, unix.SO_BINDTODEVICE}]
	rowDeferAccept = optionIndex[[2]int32{tcp, unix.TCP_DEFER_ACCEPT}]
	indexDatagramOptions()
	rowV6Only = optionIndex[[2]int32{ip6, unix.IPV6_V6ONLY}]
}
