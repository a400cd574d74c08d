// SPDX-License-Identifier: Apache-2.0

package datagram

import (
	"syscall"

	"netcon/dataplane/stream"
)

// Sizes of a receive queue in bytes: what a new socket has, which is half of
// Linux's net.core.rmem_default, and the range. As in Linux twice the value
// counts, and what a datagram is charged includes what it costs.
const (
	defaultRecvBuffer = 212992 / 2
	minBuffer         = 1152
	maxRecvBuffer     = 4 << 20
)

// IP_MTU_DISCOVER, as in linux/in.h.
const (
	discoverDont = iota
	discoverWant
	discoverDo
	discoverProbe
	discoverInterface
	discoverOmit
)

// known is the options of datagram sockets.
const known = 1<<stream.OptReuseAddr | 1<<stream.OptReusePort | 1<<stream.OptSendBuffer | 1<<stream.OptRecvBuffer |
	1<<stream.OptTOS | 1<<stream.OptTTL | 1<<stream.OptV6Only | 1<<stream.OptBroadcast | 1<<stream.OptMulticastTTL |
	1<<stream.OptMulticastLoop | 1<<stream.OptMulticastAll | 1<<stream.OptMTUDiscover | 1<<stream.OptMTU |
	1<<stream.OptRecvErr

// option returns the socket of a handle if it has the option.
func (s *Stack) option(h stream.Handle, o stream.Option) (*socket, syscall.Errno) {
	k := s.get(h)
	switch {
	case k == nil:
		return nil, syscall.EBADF
	case o >= stream.NumOptions, known>>o&1 == 0, o == stream.OptV6Only && k.family != stream.IPv6:
		return nil, syscall.ENOPROTOOPT
	}
	return k, 0
}

// SetOption implements SetOption of stream.Engine.
func (s *Stack) SetOption(h stream.Handle, o stream.Option, v int) syscall.Errno {
	k, e := s.option(h, o)
	if e != 0 {
		return e
	}
	switch o {
	case stream.OptMTU:
		return syscall.ENOPROTOOPT
	case stream.OptTTL:
		if v == -1 {
			v = 64 // Linux: back to the default
		}
	case stream.OptMulticastTTL:
		if v == -1 {
			v = 1
		}
	case stream.OptTOS:
		if v == -1 {
			v = 0
		}
	case stream.OptRecvBuffer, stream.OptSendBuffer:
		v = min(max(v, minBuffer), maxRecvBuffer)
	case stream.OptV6Only:
		if k.inTable {
			return syscall.EINVAL
		}
	}
	if !o.Takes(v) {
		return syscall.EINVAL
	}
	k.value[o] = int32(v)
	return 0
}

// Option implements Option of stream.Engine.
func (s *Stack) Option(h stream.Handle, o stream.Option) (int, syscall.Errno) {
	k, e := s.option(h, o)
	if e != 0 {
		return 0, e
	}
	if o == stream.OptMTU {
		if !k.remote.IsValid() {
			return 0, syscall.ENOTCONN
		}
		return s.mtuTo(k, k.remote.Addr(), s.reach(k.remote.Addr())), 0
	}
	return int(k.value[o]), 0
}
