// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"

	"netcon/dataplane/wire"
)

// errnoOf maps an error of gVisor to the kernel's number for it. Some calls
// mean another number by the same error; they translate before or after.
func errnoOf(err tcpip.Error) syscall.Errno {
	switch err.(type) {
	case nil:
		return 0
	case *tcpip.ErrAborted:
		return syscall.EPIPE
	case *tcpip.ErrAddressFamilyNotSupported:
		return syscall.EAFNOSUPPORT
	case *tcpip.ErrAlreadyBound, *tcpip.ErrInvalidEndpointState, *tcpip.ErrInvalidOptionValue,
		*tcpip.ErrInvalidPortRange, *tcpip.ErrMalformedHeader, *tcpip.ErrUnknownProtocol:
		return syscall.EINVAL
	case *tcpip.ErrAlreadyConnected:
		return syscall.EISCONN
	case *tcpip.ErrAlreadyConnecting:
		return syscall.EALREADY
	case *tcpip.ErrBadAddress, *tcpip.ErrBadBuffer:
		return syscall.EFAULT
	case *tcpip.ErrBadLocalAddress:
		return syscall.EADDRNOTAVAIL
	case *tcpip.ErrBroadcastDisabled:
		return syscall.EACCES
	case *tcpip.ErrClosedForReceive, *tcpip.ErrClosedForSend:
		return syscall.EPIPE
	case *tcpip.ErrConnectStarted:
		return syscall.EINPROGRESS
	case *tcpip.ErrConnectionAborted:
		return syscall.ECONNABORTED
	case *tcpip.ErrConnectionRefused:
		return syscall.ECONNREFUSED
	case *tcpip.ErrConnectionReset:
		return syscall.ECONNRESET
	case *tcpip.ErrDestinationRequired:
		return syscall.EDESTADDRREQ
	case *tcpip.ErrDuplicateAddress:
		return syscall.EEXIST
	case *tcpip.ErrHostDown:
		return syscall.EHOSTDOWN
	case *tcpip.ErrHostUnreachable:
		return syscall.EHOSTUNREACH
	case *tcpip.ErrMessageTooLong:
		return syscall.EMSGSIZE
	case *tcpip.ErrNetworkUnreachable:
		return syscall.ENETUNREACH
	case *tcpip.ErrNoBufferSpace:
		return syscall.ENOBUFS
	case *tcpip.ErrNoNet:
		return syscall.ENONET
	case *tcpip.ErrNoPortAvailable, *tcpip.ErrPortInUse:
		return syscall.EADDRINUSE
	case *tcpip.ErrNoSuchFile:
		return syscall.ENOENT
	case *tcpip.ErrNotConnected:
		return syscall.ENOTCONN
	case *tcpip.ErrNotPermitted:
		return syscall.EPERM
	case *tcpip.ErrNotSupported:
		return syscall.EOPNOTSUPP
	case *tcpip.ErrQueueSizeNotSupported:
		return syscall.ENOTTY
	case *tcpip.ErrTimeout:
		return syscall.ETIMEDOUT
	case *tcpip.ErrUnknownDevice, *tcpip.ErrUnknownNICID:
		return syscall.ENODEV
	case *tcpip.ErrUnknownProtocolOption:
		return syscall.ENOPROTOOPT
	case *tcpip.ErrWouldBlock:
		return syscall.EAGAIN
	}
	return syscall.EIO
}

// unreachable4 is what each code of an ICMPv4 destination unreachable means to
// a socket (RFC 792, RFC 1122 section 3.2.2.1; icmp_err_convert in the
// kernel's net/ipv4/icmp.c).
var unreachable4 = [16]syscall.Errno{
	0:  syscall.ENETUNREACH,
	1:  syscall.EHOSTUNREACH,
	2:  syscall.ENOPROTOOPT,
	3:  syscall.ECONNREFUSED,
	4:  syscall.EMSGSIZE,
	5:  syscall.EOPNOTSUPP,
	6:  syscall.ENETUNREACH,
	7:  syscall.EHOSTDOWN,
	8:  syscall.ENONET,
	9:  syscall.ENETUNREACH,
	10: syscall.EHOSTUNREACH,
	11: syscall.ENETUNREACH,
	12: syscall.EHOSTUNREACH,
	13: syscall.EHOSTUNREACH,
	14: syscall.EHOSTUNREACH,
	15: syscall.EHOSTUNREACH,
}

// unreachable6 is the same for ICMPv6 (RFC 4443 section 3.1; tab_unreach in
// the kernel's net/ipv6/icmp.c).
var unreachable6 = [7]syscall.Errno{
	0: syscall.ENETUNREACH,
	1: syscall.EACCES,
	2: syscall.EHOSTUNREACH,
	3: syscall.EHOSTUNREACH,
	4: syscall.ECONNREFUSED,
	5: syscall.EACCES,
	6: syscall.EACCES,
}

// errnoOfICMP4 returns what an ICMPv4 error other than fragmentation needed
// means, 0 if the message is no error.
func errnoOfICMP4(m wire.ICMP) syscall.Errno {
	switch m.Type() {
	case wire.ICMPv4Unreachable:
		if int(m.Code()) < len(unreachable4) {
			return unreachable4[m.Code()]
		}
		return syscall.EHOSTUNREACH
	case wire.ICMPv4TimeExceeded:
		return syscall.EHOSTUNREACH
	case wire.ICMPv4ParamProblem:
		return syscall.EPROTO
	}
	return 0
}

// errnoOfICMP6 is errnoOfICMP4 for ICMPv6, packet too big left aside.
func errnoOfICMP6(m wire.ICMP) syscall.Errno {
	switch m.Type() {
	case wire.ICMPv6Unreachable:
		if int(m.Code()) < len(unreachable6) {
			return unreachable6[m.Code()]
		}
		return syscall.EPROTO
	case wire.ICMPv6TimeExceeded:
		return syscall.EHOSTUNREACH
	case wire.ICMPv6ParamProblem:
		return syscall.EPROTO
	}
	return 0
}
