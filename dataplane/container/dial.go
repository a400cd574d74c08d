// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"
	"netcon/shm"
)

// Dial connects to an address; network is tcp or udp, or one of them with 4 or 6.
func (c *Container) Dial(network, address string) (net.Conn, error) {
	return c.DialContext(context.Background(), network, address)
}

// DialContext connects to an address; network is tcp or udp, or one of them with 4
// or 6. When ctx ends before, so does the attempt. What comes of udp is a
// *PacketConn that sends to this address, and receives from it alone.
func (c *Container) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	protocol := strings.TrimRight(network, "46")
	if protocol != "udp" {
		protocol = "tcp"
	}
	targets, err := c.resolve(ctx, protocol, network, address, false)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	var first error
	for _, to := range targets {
		var conn net.Conn
		var remote net.Addr
		if protocol == "udp" {
			remote = net.UDPAddrFromAddrPort(to)
			conn, err = c.dialPacket(to)
		} else {
			remote = net.TCPAddrFromAddrPort(to)
			conn, err = c.dial(ctx, to)
		}
		if err == nil {
			return conn, nil
		}
		err = &net.OpError{Op: "dial", Net: network, Addr: remote, Err: err}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

func (c *Container) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	fd, err := c.socket(family(to.Addr()))
	if err != nil {
		return nil, err
	}
	if err := c.connect(ctx, fd, to); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	local, remote := c.address(shm.OpGetsockname, fd), c.address(shm.OpGetpeername, fd)
	if remote == nil {
		remote = net.TCPAddrFromAddrPort(to)
	}
	return c.newConn(fd, local, remote)
}

// connect waits for the outcome of an attempt, or the end of ctx.
func (c *Container) connect(ctx context.Context, fd int, to netip.AddrPort) error {
	r := launch.NewRequest(shm.OpConnect, launch.Cookie(fd))
	r.Addr, r.Value = toAddr(to)
	r.Flags = shm.FlagWait
	if e := launch.SetMark(fd, shm.MarkUsed); e != 0 {
		return failure("connect", e)
	}
	if _, e, err := c.await(ctx, r); err != nil {
		return err
	} else if e != 0 {
		return failure("connect", e)
	}
	return nil
}

// await asks, and waits for the answer or the end of ctx.
func (c *Container) await(ctx context.Context, r *shm.Request) (*shm.Reply, syscall.Errno, error) {
	fd, e := c.requests.Begin(r, -1)
	if e != 0 {
		return nil, e, nil
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, 0, err
	}
	f := os.NewFile(uintptr(fd), "reply")
	defer f.Close()
	defer context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(past) })()
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, 0, err
	}
	var reply *shm.Reply
	err = raw.Read(func(fd uintptr) bool {
		reply, e = launch.Answer(int(fd))
		return e != unix.EAGAIN || reply.Magic == shm.Magic // that is the answer
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = context.Cause(ctx)
	}
	return reply, e, err
}
