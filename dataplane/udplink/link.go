// SPDX-License-Identifier: Apache-2.0

package udplink

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"netcon/dataplane/stat"
	"netcon/dataplane/stream"
)

// Link is one worker's underlay. It implements stream.Underlay.
type Link struct {
	local netip.AddrPort
	scope uint32 // interface index of a link-local local address
	mtu   int
	stats *stat.Block
	rx    receiver
	send  []sendSocket
	gso   bool
	pend  pending
	// scratch takes frames that Commit will refuse.
	scratch []byte

	// constant after Open
	features Features
	cfg      Config

	// refused is the errno with which the kernel refused UDP_SEGMENT at run
	// time, or 0. Written by the worker, read by anyone.
	refused atomic.Uint32
}

var _ stream.Underlay = (*Link)(nil)

// Features is what a link found the kernel to offer.
type Features struct {
	// GSO says whether trains leave as one UDP_SEGMENT message.
	GSO bool
	// GSORefused says why the kernel refused UDP_SEGMENT at run time; empty
	// if it did not.
	GSORefused string
	// GRO says whether trains are received whole.
	GRO bool
	// SendSockets is the number of outer source ports of the link.
	SendSockets int
	// RecvBuffer and SendBuffer are the socket buffers granted, in bytes.
	RecvBuffer, SendBuffer int
}

// String returns the features on one line.
func (f Features) String() string {
	onOff := map[bool]string{true: "on", false: "off"}
	gso := onOff[f.GSO]
	if f.GSORefused != "" {
		gso += " (refused: " + f.GSORefused + ")"
	}
	return fmt.Sprintf("gso %s, gro %s, %d send sockets, receive buffer %d KiB, send buffer %d KiB",
		gso, onOff[f.GRO], f.SendSockets, f.RecvBuffer>>10, f.SendBuffer>>10)
}

func newLink(cfg Config, scope uint32, stats *stat.Block) *Link {
	return &Link{
		local:    cfg.Local,
		scope:    scope,
		mtu:      cfg.MTU,
		stats:    stats,
		scratch:  make([]byte, maxPayload),
		features: Features{SendSockets: cfg.SendSockets},
		cfg:      cfg,
		rx:       receiver{fd: -1},
	}
}

// openReceiver opens the receive socket of worker w. Worker 0's binds
// exclusively and then admits the others', see the package doc.
func (l *Link) openReceiver(w int) error {
	fd, err := newSocket(l.local.Addr())
	if err != nil {
		return err
	}
	l.rx.fd = fd
	reuse := func() error {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return fmt.Errorf("set SO_REUSEPORT for %s: %w", l.local, err)
		}
		return nil
	}
	if w > 0 {
		if err := reuse(); err != nil {
			return err
		}
	}
	// Before bind: datagrams arrive from then on.
	l.features.RecvBuffer = setBuffer(fd, unix.SO_RCVBUF, unix.SO_RCVBUFFORCE, l.cfg.RecvBuffer)
	if !l.cfg.DisableOffload {
		l.features.GRO = unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1) == nil
	}
	if l.local, err = bind(fd, l.local, l.scope); err != nil {
		return err
	}
	if w == 0 && l.cfg.Workers > 1 {
		if err := reuse(); err != nil {
			return err
		}
	}
	l.rx.init(l.features.GRO, l.mtu)
	return nil
}

func (l *Link) openSenders() error {
	l.gso = !l.cfg.DisableOffload
	for range l.cfg.SendSockets {
		fd, err := newSocket(l.local.Addr())
		if err != nil {
			return err
		}
		l.send = append(l.send, newSendSocket(fd))
		if err := refuseInbound(fd); err != nil {
			return err
		}
		if err := dontFragment(fd, l.local.Addr()); err != nil {
			return err
		}
		l.features.SendBuffer = setBuffer(fd, unix.SO_SNDBUF, unix.SO_SNDBUFFORCE, l.cfg.SendBuffer)
		if _, err := unix.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT); err != nil {
			l.gso = false // a kernel before 4.18
		}
		if _, err := bind(fd, netip.AddrPortFrom(l.local.Addr(), 0), l.scope); err != nil {
			return err
		}
	}
	l.features.GSO = l.gso
	return nil
}

// Local returns the VTEP's address and port.
func (l *Link) Local() netip.AddrPort { return l.local }

// Features returns what the link uses now.
func (l *Link) Features() Features {
	f := l.features
	if errno := l.refused.Load(); errno != 0 {
		f.GSO = false
		f.GSORefused = unix.Errno(errno).Error()
	}
	return f
}

// FD is the receive socket.
func (l *Link) FD() int { return l.rx.fd }

// Close closes all sockets; what was not flushed is lost. Closing again does
// nothing.
func (l *Link) Close() error {
	var errs []error
	closeFD := func(fd *int) {
		if *fd >= 0 {
			if err := unix.Close(*fd); err != nil {
				errs = append(errs, fmt.Errorf("close udp socket of %s: %w", l.local, err))
			}
			*fd = -1
		}
	}
	closeFD(&l.rx.fd)
	for i := range l.send {
		closeFD(&l.send[i].fd)
	}
	return errors.Join(errs...)
}
