// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stream"
)

// kernelName is an option's name in the kernel.
type kernelName struct{ level, name int }

// names are the options that are the kernel's as they are. Those about ports are
// not there, because no port is bound, nor OptLinger, which would make a close
// sleep.
var names = map[stream.Option]kernelName{
	stream.OptKeepAlive:    {unix.SOL_SOCKET, unix.SO_KEEPALIVE},
	stream.OptKeepIdle:     {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE},
	stream.OptKeepInterval: {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL},
	stream.OptKeepCount:    {unix.IPPROTO_TCP, unix.TCP_KEEPCNT},
	stream.OptNoDelay:      {unix.IPPROTO_TCP, unix.TCP_NODELAY},
	stream.OptCork:         {unix.IPPROTO_TCP, unix.TCP_CORK},
	stream.OptQuickAck:     {unix.IPPROTO_TCP, unix.TCP_QUICKACK},
	stream.OptMaxSeg:       {unix.IPPROTO_TCP, unix.TCP_MAXSEG},
	stream.OptUserTimeout:  {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT},
	stream.OptSynCount:     {unix.IPPROTO_TCP, unix.TCP_SYNCNT},
	stream.OptLinger2:      {unix.IPPROTO_TCP, unix.TCP_LINGER2},
	stream.OptSendBuffer:   {unix.SOL_SOCKET, unix.SO_SNDBUF},
	stream.OptRecvBuffer:   {unix.SOL_SOCKET, unix.SO_RCVBUF},
	stream.OptNotSentLowat: {unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT},
}

// name returns the kernel's name of an option for a socket of this family.
func (c *conn) name(opt stream.Option) (kernelName, bool) {
	switch {
	case opt == stream.OptTOS && c.family == stream.IPv6:
		return kernelName{unix.IPPROTO_IPV6, unix.IPV6_TCLASS}, true
	case opt == stream.OptTOS:
		return kernelName{unix.IPPROTO_IP, unix.IP_TOS}, true
	case opt == stream.OptTTL && c.family == stream.IPv6:
		return kernelName{unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS}, true
	case opt == stream.OptTTL:
		return kernelName{unix.IPPROTO_IP, unix.IP_TTL}, true
	}
	n, ok := names[opt]
	return n, ok
}

// SetOption implements stream.Sockets.
func (e *Engine) SetOption(h stream.Handle, opt stream.Option, v int) syscall.Errno {
	c := e.lookup(h)
	if c == nil {
		return unix.EBADF
	}
	if opt == stream.OptLinger {
		c.linger = int32(v)
		return 0
	}
	n, ok := c.name(opt)
	if !ok || c.joined {
		return unix.ENOPROTOOPT
	}
	if err := unix.SetsockoptInt(c.fd, n.level, n.name, v); err != nil {
		return errnoOf(err)
	}
	return 0
}

// Option implements stream.Sockets.
func (e *Engine) Option(h stream.Handle, opt stream.Option) (int, syscall.Errno) {
	c := e.lookup(h)
	if c == nil {
		return 0, unix.EBADF
	}
	if opt == stream.OptLinger {
		return int(c.linger), 0
	}
	n, ok := c.name(opt)
	if !ok || c.joined {
		return 0, unix.ENOPROTOOPT
	}
	v, err := unix.GetsockoptInt(c.fd, n.level, n.name)
	if err != nil {
		return 0, errnoOf(err)
	}
	if opt == stream.OptSendBuffer || opt == stream.OptRecvBuffer {
		v /= 2
	}
	return v, 0
}

// Bits of tcpi_options, include/uapi/linux/tcp.h.
const (
	tcpiTimestamps = 1 << iota
	tcpiSACK
	tcpiWindowScale
)

// Info implements stream.Sockets.
func (e *Engine) Info(h stream.Handle, info *stream.Info) {
	const closed = 7
	*info = stream.Info{State: closed}
	c := e.lookup(h)
	if c == nil {
		return
	}
	if c.joined {
		const established = 1
		info.State = established
		return
	}
	i, scales, ok := tcpInfo(c.fd)
	if !ok {
		return
	}
	micros := func(n uint32) time.Duration { return time.Duration(n) * time.Microsecond }
	*info = stream.Info{
		State:       i.State,
		SendScale:   scales & 15,
		RecvScale:   scales >> 4,
		Timestamps:  i.Options&tcpiTimestamps != 0,
		SACK:        i.Options&tcpiSACK != 0,
		WindowScale: i.Options&tcpiWindowScale != 0,
		RTO:         micros(i.Rto),
		RTT:         micros(i.Rtt),
		RTTVar:      micros(i.Rttvar),
		SendMSS:     i.Snd_mss,
		RecvMSS:     i.Rcv_mss,
		MTU:         i.Pmtu,
		Cwnd:        i.Snd_cwnd,
		Ssthresh:    i.Snd_ssthresh,
		Unacked:     i.Unacked,
		Lost:        i.Lost,
		Retrans:     i.Retrans,
		Reord:       i.Reordering,

		TotalRetrans:  i.Total_retrans,
		BytesAcked:    i.Bytes_acked,
		BytesReceived: i.Bytes_received,
		SegsOut:       i.Segs_out,
		SegsIn:        i.Segs_in,
		SendWind:      i.Snd_wnd,
	}
	if c.state == stListening {
		return
	}
	if n, err := unix.IoctlGetInt(c.fd, unix.SIOCOUTQ); err == nil {
		info.SendQueue = uint32(n)
	}
	if n, err := unix.IoctlGetInt(c.fd, unix.SIOCINQ); err == nil {
		info.RecvQueue = uint32(n)
	}
}
