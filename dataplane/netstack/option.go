// SPDX-License-Identifier: Apache-2.0

package netstack

import (
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"

	"netcon/dataplane/stream"
)

// options is the values a socket was given, or the defaults.
type options struct {
	value [stream.NumStreamOptions]int32
	set   uint32 // bit per option that was set
}

// Defaults are Linux's.
func (o *options) init(s *Stack) {
	o.value[stream.OptKeepIdle] = 7200
	o.value[stream.OptKeepInterval] = 75
	o.value[stream.OptKeepCount] = 9
	o.value[stream.OptQuickAck] = 1
	o.value[stream.OptSynCount] = int32(s.cfg.SynRetries)
	o.value[stream.OptLinger2] = 60
	o.value[stream.OptSendBuffer] = defaultBuffer
	o.value[stream.OptRecvBuffer] = defaultBuffer
	o.value[stream.OptTTL] = 64
	o.value[stream.OptLinger] = -1
}

// inherit takes the options of a listener over.
func (o *options) inherit(listener *socket) { *o = listener.opts }

// apply gives an endpoint the options that were set.
func (o *options) apply(k *socket) {
	for opt := range stream.NumStreamOptions {
		if o.set&(1<<opt) != 0 {
			// The value was accepted before.
			k.setOption(opt, int(o.value[opt]))
		}
	}
}

// SetOption implements stream.Engine. OptDeferAccept is left to the sockets:
// gVisor holds back a connection that ends without a byte as well.
func (s *Stack) SetOption(h stream.Handle, opt stream.Option, v int) (errno syscall.Errno) {
	if d := s.datagramsOf(h); d != nil {
		return d.SetOption(h, opt, v)
	}
	k, errno := s.lookup(h)
	if errno != 0 {
		return errno
	}
	if opt >= stream.NumStreamOptions || opt == stream.OptDeferAccept {
		return syscall.ENOPROTOOPT
	}
	switch opt {
	case stream.OptTTL:
		if v == -1 {
			v = 64 // Linux: back to the default
		}
	case stream.OptTOS:
		if v == -1 {
			v = 0
		}
	case stream.OptSendBuffer, stream.OptRecvBuffer:
		v = min(max(v, minBuffer), maxBuffer)
	case stream.OptMaxSeg:
		if v != 0 && v < minMSS {
			return syscall.EINVAL
		}
	case stream.OptV6Only:
		if k.family != stream.IPv6 {
			return syscall.ENOPROTOOPT
		}
		if k.bound {
			return syscall.EINVAL
		}
	}
	if !opt.Takes(v) {
		return syscall.EINVAL
	}
	defer s.guard("set option", &errno)
	if e := k.setOption(opt, v); e != 0 {
		return e
	}
	k.opts.value[opt] = int32(v)
	k.opts.set |= 1 << opt
	return 0
}

// setOption gives an option to gVisor. OptQuickAck, OptNotSentLowat and
// OptSynCount mean nothing to gVisor and are only kept; OptSynCount is Connect's.
func (k *socket) setOption(opt stream.Option, v int) syscall.Errno {
	so, on := k.ep.SocketOptions(), v != 0
	switch opt {
	case stream.OptReuseAddr:
		so.SetReuseAddress(on)
	case stream.OptReusePort:
		so.SetReusePort(on)
	case stream.OptKeepAlive:
		so.SetKeepAlive(on)
	case stream.OptKeepIdle:
		o := tcpip.KeepaliveIdleOption(time.Duration(v) * time.Second)
		return errnoOf(k.ep.SetSockOpt(&o))
	case stream.OptKeepInterval:
		o := tcpip.KeepaliveIntervalOption(time.Duration(v) * time.Second)
		return errnoOf(k.ep.SetSockOpt(&o))
	case stream.OptKeepCount:
		return errnoOf(k.ep.SetSockOptInt(tcpip.KeepaliveCountOption, v))
	case stream.OptNoDelay:
		so.SetDelayOption(!on)
	case stream.OptCork:
		so.SetCorkOption(on)
	case stream.OptQuickAck:
		so.SetQuickAck(on)
	case stream.OptMaxSeg:
		if on {
			return errnoOf(k.ep.SetSockOptInt(tcpip.MaxSegOption, v))
		}
	case stream.OptUserTimeout:
		o := tcpip.TCPUserTimeoutOption(time.Duration(v) * time.Millisecond)
		return errnoOf(k.ep.SetSockOpt(&o))
	case stream.OptLinger2:
		o := tcpip.TCPLingerTimeoutOption(time.Duration(v) * time.Second)
		return errnoOf(k.ep.SetSockOpt(&o))
	case stream.OptSendBuffer:
		so.SetSendBufferSize(int64(v), true)
	case stream.OptRecvBuffer:
		so.SetReceiveBufferSize(int64(v), true)
		if k.state == listening {
			k.unchargeListener()
		}
	case stream.OptTOS:
		return errnoOf(k.ep.SetSockOptInt(tcpip.IPv4TOSOption, v))
	case stream.OptTTL:
		k.ep.SetSockOptInt(tcpip.IPv4TTLOption, v)
		k.ep.SetSockOptInt(tcpip.IPv6HopLimitOption, v)
	case stream.OptV6Only:
		so.SetV6Only(on)
	case stream.OptLinger:
		so.SetLinger(tcpip.LingerOption{Enabled: v >= 0, Timeout: time.Duration(max(v, 0)) * time.Second})
	}
	return 0
}

// Option implements stream.Engine.
func (s *Stack) Option(h stream.Handle, opt stream.Option) (v int, errno syscall.Errno) {
	if d := s.datagramsOf(h); d != nil {
		return d.Option(h, opt)
	}
	k, errno := s.lookup(h)
	if errno != 0 {
		return 0, errno
	}
	if opt >= stream.NumStreamOptions || opt == stream.OptDeferAccept {
		return 0, syscall.ENOPROTOOPT
	}
	defer s.guard("option", &errno)
	switch opt {
	case stream.OptV6Only:
		if k.family != stream.IPv6 {
			return 0, syscall.ENOPROTOOPT
		}
	case stream.OptSendBuffer:
		return int(k.ep.SocketOptions().GetSendBufferSize()), 0
	case stream.OptRecvBuffer:
		if k.state == listening {
			return k.window, 0
		}
		return int(k.ep.SocketOptions().GetReceiveBufferSize()), 0
	case stream.OptMaxSeg:
		if k.state == connected {
			return k.mss(), 0
		}
		if k.opts.value[opt] == 0 {
			return 536, 0
		}
	}
	return int(k.opts.value[opt]), 0
}
