// SPDX-License-Identifier: Apache-2.0

package tcphost

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stream"
)

// Stream is a connection of either kind.
type Stream interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Network is a host's TCP: the engine's or the kernel's.
type Network interface {
	Dial(to netip.AddrPort) (Stream, error)
	Listen(at netip.AddrPort) (Acceptor, error)
	// Retransmitted returns how many segments of a stream were sent again.
	Retransmitted(s Stream) uint32
}

// Acceptor gives out connections.
type Acceptor interface{ Accept() (Stream, error) }

// Native is the engine of a Host.
type Native struct {
	Host   *Host
	Unsent int // see Conn.LimitUnsent
}

// Dial implements Network.
func (n Native) Dial(to netip.AddrPort) (Stream, error) {
	c, err := n.Host.Dial(to, nil)
	if err == nil {
		err = n.prepare(c)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (n Native) prepare(c *Conn) error {
	if n.Unsent > 0 {
		return c.LimitUnsent(n.Unsent)
	}
	return nil
}

// Listen implements Network.
func (n Native) Listen(at netip.AddrPort) (Acceptor, error) {
	l, err := n.Host.Listen(at, 128, map[stream.Option]int{stream.OptRecvBuffer: n.Host.cfg.Ring})
	return nativeAcceptor{n, l}, err
}

// Retransmitted implements Network.
func (Native) Retransmitted(s Stream) uint32 {
	i, _ := s.(*Conn).Info()
	return i.TotalRetrans
}

type nativeAcceptor struct {
	n Native
	l *Listener
}

func (a nativeAcceptor) Accept() (Stream, error) {
	c, err := a.l.Accept()
	if err == nil {
		err = a.n.prepare(c)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Kernel is the kernel's TCP in the namespace of the thread.
type Kernel struct {
	Buffer  int    // bytes of send and receive buffer, 0: the kernel's choice
	Unsent  int    // TCP_NOTSENT_LOWAT
	Control string // congestion control
}

func (k Kernel) control(_, _ string, raw syscall.RawConn) (err error) {
	set := func(fd, level, opt, v int, name string) {
		if err == nil && v != 0 {
			if e := unix.SetsockoptInt(fd, level, opt, v); e != nil {
				err = fmt.Errorf("set %s to %d: %w", name, v, e)
			}
		}
	}
	e := raw.Control(func(f uintptr) {
		fd := int(f)
		set(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, k.Buffer, "SO_RCVBUF")
		set(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, k.Buffer, "SO_SNDBUF")
		set(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, k.Unsent, "TCP_NOTSENT_LOWAT")
		if k.Control != "" && err == nil {
			err = unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, k.Control)
		}
	})
	if e != nil {
		return e
	}
	return err
}

// Dial implements Network.
func (k Kernel) Dial(to netip.AddrPort) (Stream, error) {
	d := net.Dialer{Control: k.control, KeepAlive: -1}
	c, err := d.Dial("tcp", to.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// Listen implements Network.
func (k Kernel) Listen(at netip.AddrPort) (Acceptor, error) {
	c := net.ListenConfig{Control: k.control, KeepAlive: -1}
	l, err := c.Listen(context.Background(), "tcp", at.String())
	if err != nil {
		return nil, err
	}
	return kernelAcceptor{l}, nil
}

// Retransmitted implements Network.
func (Kernel) Retransmitted(s Stream) (n uint32) {
	raw, err := s.(*net.TCPConn).SyscallConn()
	if err != nil {
		return 0
	}
	raw.Control(func(fd uintptr) {
		if i, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = i.Total_retrans
		}
	})
	return n
}

type kernelAcceptor struct{ net.Listener }

func (a kernelAcceptor) Accept() (Stream, error) {
	c, err := a.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}
