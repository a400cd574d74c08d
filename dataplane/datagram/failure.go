// SPDX-License-Identifier: Apache-2.0

package datagram

import (
	"syscall"

	"netcon/dataplane/stream"
	"netcon/dataplane/wire"
)

// Codes of destination unreachable.
const (
	portUnreachable4 = 3
	portUnreachable6 = 4
)

// verdict is what a code means to a socket.
type verdict struct {
	err  syscall.Errno
	hard bool
}

// unreachable4 is what each code of an ICMPv4 destination unreachable means
// (RFC 792, RFC 1122 section 3.2.2.1; icmp_err_convert in the kernel's
// net/ipv4/icmp.c).
var unreachable4 = [16]verdict{
	0:  {syscall.ENETUNREACH, false},
	1:  {syscall.EHOSTUNREACH, false},
	2:  {syscall.ENOPROTOOPT, true},
	3:  {syscall.ECONNREFUSED, true},
	4:  {syscall.EMSGSIZE, true},
	5:  {syscall.EOPNOTSUPP, false},
	6:  {syscall.ENETUNREACH, true},
	7:  {syscall.EHOSTDOWN, true},
	8:  {syscall.ENONET, true},
	9:  {syscall.ENETUNREACH, true},
	10: {syscall.EHOSTUNREACH, true},
	11: {syscall.ENETUNREACH, false},
	12: {syscall.EHOSTUNREACH, false},
	13: {syscall.EHOSTUNREACH, true},
	14: {syscall.EHOSTUNREACH, true},
	15: {syscall.EHOSTUNREACH, true},
}

// unreachable6 is the same for ICMPv6 (RFC 4443 section 3.1; tab_unreach in
// the kernel's net/ipv6/icmp.c).
var unreachable6 = [7]verdict{
	0: {syscall.ENETUNREACH, false},
	1: {syscall.EACCES, true},
	2: {syscall.EHOSTUNREACH, false},
	3: {syscall.EHOSTUNREACH, false},
	4: {syscall.ECONNREFUSED, true},
	5: {syscall.EACCES, true},
	6: {syscall.EACCES, true},
}

// failureOf returns what an ICMP error means; err is 0 if it is none that
// sockets are told of.
func failureOf(m wire.ICMP, v6 bool) (f failure) {
	f.cause = stream.Cause{Origin: originICMP4, Type: m.Type(), Code: m.Code()}
	var v verdict
	if v6 {
		f.cause.Origin = originICMP6
		v = meaning6(m)
		if v.err == syscall.EMSGSIZE {
			f.cause.Info = min(m.MTU6(), 1<<20)
		}
	} else {
		v = meaning4(m)
		if v.err == syscall.EMSGSIZE {
			f.cause.Info = uint32(m.MTU())
		}
	}
	f.err, f.hard = v.err, v.hard
	return f
}

func meaning4(m wire.ICMP) verdict {
	switch m.Type() {
	case wire.ICMPv4Unreachable:
		if int(m.Code()) < len(unreachable4) {
			return unreachable4[m.Code()]
		}
		return verdict{syscall.EHOSTUNREACH, false}
	case wire.ICMPv4TimeExceeded:
		return verdict{syscall.EHOSTUNREACH, false}
	case wire.ICMPv4ParamProblem:
		return verdict{syscall.EPROTO, true}
	}
	return verdict{}
}

func meaning6(m wire.ICMP) verdict {
	switch m.Type() {
	case wire.ICMPv6Unreachable:
		if int(m.Code()) < len(unreachable6) {
			return unreachable6[m.Code()]
		}
		return verdict{syscall.EPROTO, true}
	case wire.ICMPv6PacketTooBig:
		return verdict{syscall.EMSGSIZE, false}
	case wire.ICMPv6TimeExceeded:
		return verdict{syscall.EHOSTUNREACH, false}
	case wire.ICMPv6ParamProblem:
		return verdict{syscall.EPROTO, true}
	}
	return verdict{}
}
