// SPDX-License-Identifier: Apache-2.0

//go:build ignore

// Input of cgo -godefs; see generate.go.
package shm

/*
#include "abi.h"
*/
import "C"

// The contract's constants and records; abi.h says what they mean.
const (
	Magic   = C.NC_MAGIC
	NameMax = C.NC_NAME_MAX
	OptMax  = C.NC_OPT_MAX

	MissingFail   = C.NC_MISSING_FAIL
	MissingKernel = C.NC_MISSING_KERNEL

	OpSocket      = C.NC_SOCKET
	OpBind        = C.NC_BIND
	OpListen      = C.NC_LISTEN
	OpConnect     = C.NC_CONNECT
	OpShutdown    = C.NC_SHUTDOWN
	OpGetsockname = C.NC_GETSOCKNAME
	OpGetpeername = C.NC_GETPEERNAME
	OpGetsockopt  = C.NC_GETSOCKOPT
	OpSetsockopt  = C.NC_SETSOCKOPT
	OpTakeError   = C.NC_TAKE_ERROR
	OpOutq        = C.NC_OUTQ
	OpRevive      = C.NC_REVIVE
	OpVerdict     = C.NC_VERDICT
	OpErrorQueue  = C.NC_ERROR_QUEUE
	OpPublish     = C.NC_PUBLISH
	OpNetlink     = C.NC_NETLINK
	OpResolve     = C.NC_RESOLVE
	OpEnd         = C.NC_OP_END

	FlagWait   = C.NC_F_WAIT
	FlagProbe  = C.NC_F_PROBE
	FlagHold   = C.NC_F_HOLD
	FlagFilled = C.NC_F_FILLED
	NotOurs    = C.NC_NOT_OURS

	FlagSupervised = C.NC_F_SUPERVISED

	ProbeLevel  = C.NC_PROBE_LEVEL
	ProbeAnswer = C.NC_PROBE_ANSWER

	MarkFresh  = C.NC_MARK_FRESH
	MarkTimed  = C.NC_MARK_TIMED
	MarkUsed   = C.NC_MARK_USED
	MarkListen = C.NC_MARK_LISTEN
	MarkShut   = C.NC_MARK_SHUT

	MarkDatagram = C.NC_MARK_DATAGRAM
	MessageOwn   = C.NC_MSG_OWN
	MarkSix      = C.NC_MARK_SIX
	MarkPeer     = C.NC_MARK_PEER
	MarkMute     = C.NC_MARK_MUTE
	MarkPing     = C.NC_MARK_PING
	MarkRaw      = C.NC_MARK_RAW

	DatagramTTL    = C.NC_D_TTL
	DatagramTOS    = C.NC_D_TOS
	DatagramReport = C.NC_D_REPORT
	DatagramEvent  = C.NC_D_EVENT

	WantPktInfo     = C.NC_D_WANT_PKTINFO
	WantTTL         = C.NC_D_WANT_TTL
	WantTOS         = C.NC_D_WANT_TOS
	WantOrigDst     = C.NC_D_WANT_ORIGDST
	WantPktInfo6    = C.NC_D_WANT_PKTINFO6
	WantHopLimit    = C.NC_D_WANT_HOPLIMIT
	WantTClass      = C.NC_D_WANT_TCLASS
	WantStamp       = C.NC_D_WANT_STAMP
	WantStampNS     = C.NC_D_WANT_STAMPNS
	WantStampNew    = C.NC_D_WANT_STAMP_NEW
	WantStampNSNew  = C.NC_D_WANT_STAMPNS_NEW
	WantOverflow    = C.NC_D_WANT_OVERFLOW
	WantOrigDst6    = C.NC_D_WANT_ORIGDST6
	WantHopLimitOld = C.NC_D_WANT_HOPLIMIT_OLD

	PayloadMax = C.NC_PAYLOAD_MAX

	MarkNetlink = C.NC_MARK_NETLINK
	MarkPlain   = C.NC_MARK_PLAIN

	SizeofAddr    = C.sizeof_struct_nc_addr
	SizeofAttach  = C.sizeof_struct_nc_attach
	SizeofRequest = C.sizeof_struct_nc_request
	SizeofReply   = C.sizeof_struct_nc_reply
	SizeofAccept  = C.sizeof_struct_nc_accept
	SizeofFound   = C.sizeof_struct_nc_found

	SizeofDatagram = C.sizeof_struct_nc_datagram
	SizeofCause    = C.sizeof_struct_nc_cause
)

type (
	Addr    C.struct_nc_addr
	Attach  C.struct_nc_attach
	Request C.struct_nc_request
	Reply   C.struct_nc_reply
	Accept  C.struct_nc_accept
	Found   C.struct_nc_found

	Datagram C.struct_nc_datagram
	Cause    C.struct_nc_cause
)
