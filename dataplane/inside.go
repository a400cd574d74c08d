// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"
	"netcon/shm"
)

// insideTimeout bounds what the daemon waits for a connection of its own inside a
// container.
const insideTimeout = 2 * time.Second

// dialInside connects to a place on the container's network as one of its programs
// would, with a virtual socket: network is udp or tcp.
func (n *nameservice) dialInside(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	attach, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	q := launch.NewRequests(&launch.Attachment{FD: attach[0]})
	defer q.Close() // what was opened stays
	if !n.worker.Do(func() { n.shard.Set().Adopt(attach[1], int32(os.Getpid()), uint32(os.Getuid()), 0) }) {
		_ = unix.Close(attach[1])
		return nil, unix.ESHUTDOWN
	}
	kind, pairKind := int32(unix.SOCK_STREAM), unix.SOCK_STREAM
	if network == "udp" {
		kind, pairKind = unix.SOCK_DGRAM, unix.SOCK_SEQPACKET
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, pairKind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	f := os.NewFile(uintptr(pair[0]), network)
	defer f.Close()
	err = openInside(ctx, q, pair, kind, to)
	_ = unix.Close(pair[1])
	if err != nil {
		return nil, err
	}
	c, err := net.FileConn(f)
	if err == nil && network == "udp" {
		c = &insideDatagrams{Conn: c}
	}
	return c, err
}

// openInside makes a virtual socket of a pair and connects it.
func openInside(ctx context.Context, q *launch.Requests, pair [2]int, kind int32, to netip.AddrPort) error {
	cookie := launch.Cookie(pair[0])
	r := launch.NewRequest(shm.OpSocket, cookie)
	r.Family, r.Level = unix.AF_INET6, kind
	r.Addr.Port = to.Port()>>8 | to.Port()<<8
	if ip := to.Addr(); ip.Is4() {
		r.Family = unix.AF_INET
		v4 := ip.As4()
		copy(r.Addr.Ip[:], v4[:])
	} else {
		r.Addr.Ip = ip.As16()
	}
	if _, e := q.Call(r, pair[1]); e != 0 {
		return os.NewSyscallError("socket", e)
	}
	r.Op, r.Flags, r.Addr.Family = shm.OpConnect, shm.FlagWait, r.Family
	reply, e := q.Begin(r, -1)
	if e != 0 {
		return os.NewSyscallError("connect", e)
	}
	defer unix.Close(reply)
	wait := insideTimeout
	if end, ok := ctx.Deadline(); ok {
		wait = max(time.Millisecond, min(wait, time.Until(end)))
	}
	tv := unix.NsecToTimeval(wait.Nanoseconds())
	if err := unix.SetsockoptTimeval(reply, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if _, e := launch.Answer(reply); e != 0 {
		return os.NewSyscallError("connect", e)
	}
	return nil
}

// insideDatagrams is a connected UDP socket of a container: every datagram has a
// header before it.
type insideDatagrams struct{ net.Conn }

// Write sends one datagram.
func (c *insideDatagrams) Write(b []byte) (int, error) {
	h := shm.Datagram{Magic: shm.Magic}
	if _, err := c.Conn.Write(append(shm.DatagramBytes(&h), b...)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Read receives one datagram, or the error that one met.
func (c *insideDatagrams) Read(b []byte) (int, error) {
	buf := make([]byte, shm.SizeofDatagram+shm.PayloadMax)
	for {
		n, err := c.Conn.Read(buf)
		if err != nil {
			return 0, err
		}
		var h shm.Datagram
		switch copy(shm.DatagramBytes(&h), buf[:n]); {
		case n < shm.SizeofDatagram || h.Magic != shm.Magic:
			return 0, errors.New("a datagram without a header")
		case h.Error != 0:
			return 0, os.NewSyscallError("read", unix.Errno(h.Error))
		case h.Flags&shm.DatagramEvent == 0:
			return copy(b, buf[shm.SizeofDatagram:n]), nil
		}
	}
}
