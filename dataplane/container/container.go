// SPDX-License-Identifier: Apache-2.0

package container

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/config"
	"netcon/dataplane/launch"
	"netcon/shm"
)

// ErrDaemon says that the daemon is gone.
var ErrDaemon = errors.New("the daemon is gone")

// Container is the network of one container.
type Container struct {
	name     string
	requests *launch.Requests
}

// Attach attaches to a container of the daemon with a runtime directory. The empty
// directory is the default one; the empty name asks for the daemon's only
// container.
func Attach(runtimeDir, name string) (*Container, error) {
	if runtimeDir == "" {
		runtimeDir = config.DefaultRuntimeDir()
	}
	a, err := launch.Attach(filepath.Join(runtimeDir, config.AttachSocket), name)
	if err != nil {
		return nil, err
	}
	unix.CloseOnExec(a.FD)
	return &Container{name: a.Container, requests: launch.NewRequests(a)}, nil
}

// Name returns the container's name.
func (c *Container) Name() string { return c.name }

// Close detaches. What was opened stays open, but is asked about no more.
func (c *Container) Close() error { return c.requests.Close() }

// socket makes a virtual stream socket and returns its end here.
func (c *Container) socket(family uint16) (int, error) {
	return c.socketOf(family, unix.SOCK_STREAM, unix.SOCK_STREAM, shm.MarkTimed)
}

// socketOf makes a virtual socket of a type on a pair of another, and returns its
// end here.
func (c *Container) socketOf(family uint16, kind, pairKind int32, mark uint32) (int, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, int(pairKind)|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(pair[1])
	r := launch.NewRequest(shm.OpSocket, launch.Cookie(pair[0]))
	r.Family, r.Level = family, kind
	e := launch.SetMark(pair[0], mark)
	if e == 0 {
		_, e = c.requests.Call(r, pair[1])
	}
	if e != 0 {
		_ = unix.Close(pair[0])
		return -1, failure("socket", e)
	}
	return pair[0], nil
}

// failure is the error of a call.
func failure(call string, e syscall.Errno) error {
	if e == launch.Gone {
		return fmt.Errorf("%s: %w", call, ErrDaemon)
	}
	return os.NewSyscallError(call, e)
}

// family is the address family of a socket for an address.
func family(a netip.Addr) uint16 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// toAddr is an address in the contract's form, and the length of its sockaddr.
func toAddr(ap netip.AddrPort) (a shm.Addr, length int32) {
	a.Family, a.Port = family(ap.Addr()), ap.Port()<<8|ap.Port()>>8
	if ap.Addr().Is4() {
		b := ap.Addr().As4()
		copy(a.Ip[:], b[:])
		return a, unix.SizeofSockaddrInet4
	}
	a.Ip = ap.Addr().As16()
	return a, unix.SizeofSockaddrInet6
}

// addrPort is an address of the contract as Go has it.
func addrPort(a *shm.Addr) netip.AddrPort {
	port := a.Port<<8 | a.Port>>8
	if a.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(a.Ip[:4])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(a.Ip).Unmap(), port)
}

// fromAddr is an address in the form of package net.
func fromAddr(a *shm.Addr) *net.TCPAddr { return net.TCPAddrFromAddrPort(addrPort(a)) }

// socketName asks for an address of a socket; false: it has none.
func (c *Container) socketName(op uint16, cookie uint64) (netip.AddrPort, bool) {
	reply, e := c.requests.Call(launch.NewRequest(op, cookie), -1)
	if e != 0 {
		return netip.AddrPort{}, false
	}
	return addrPort(&reply.Addr), true
}

// address asks for an address of a connection; nil: it has none.
func (c *Container) address(op uint16, fd int) *net.TCPAddr {
	ap, ok := c.socketName(op, launch.Cookie(fd))
	if !ok {
		return nil
	}
	return net.TCPAddrFromAddrPort(ap)
}

// pollable makes of a virtual socket what Go's poller watches. fd is closed.
func pollable(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "netcon")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("%T is no Unix socket", c)
	}
	return u, nil
}

// past is a deadline that is over.
var past = time.Unix(1, 0)
