// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"
	"netcon/shm"
)

// maxKnown bounds the destinations that a PacketConn remembers.
const maxKnown = 1024

// records are buffers for a header and the longest payload.
var records = sync.Pool{New: func() any { return new([shm.SizeofDatagram + shm.PayloadMax]byte) }}

// PacketConn is a UDP socket of a container. One that Dial made has a peer, to
// which Write sends; an error that the network reports for what was sent comes out
// of the next read.
type PacketConn struct {
	container *Container
	pair      *net.UnixConn
	cookie    uint64
	six       bool
	local     *net.UDPAddr
	remote    *net.UDPAddr // nil: no peer

	mu    sync.Mutex
	known map[netip.Addr]struct{} // what can be sent to
}

var (
	_ net.PacketConn = (*PacketConn)(nil)
	_ net.Conn       = (*PacketConn)(nil)
)

// ListenPacket opens a UDP socket at an address; network is udp, udp4 or udp6. No
// host is all of the container's addresses, port 0 any port.
func (c *Container) ListenPacket(network, address string) (net.PacketConn, error) {
	targets, err := c.resolve(context.Background(), "udp", network, address, true)
	if err == nil && len(targets) == 0 {
		err = errors.New("no address")
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	p, err := c.listenPacket(targets[0], network == "udp6")
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: net.UDPAddrFromAddrPort(targets[0]), Err: err}
	}
	return p, nil
}

func (c *Container) listenPacket(at netip.AddrPort, v6only bool) (*PacketConn, error) {
	fd, err := c.datagram(at.Addr())
	if err != nil {
		return nil, err
	}
	cookie := launch.Cookie(fd)
	var e syscall.Errno
	if at.Addr().Is6() {
		only := int32(0)
		if v6only {
			only = 1
		}
		e = c.set(cookie, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only)
	}
	if e == 0 { // as package net
		e = c.set(cookie, unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
	}
	if e != 0 {
		_ = unix.Close(fd)
		return nil, failure("setsockopt", e)
	}
	r := launch.NewRequest(shm.OpBind, cookie)
	r.Addr, r.Value = toAddr(at)
	if _, e := c.requests.Call(r, -1); e != 0 {
		_ = unix.Close(fd)
		return nil, failure("bind", e)
	}
	return c.newPacketConn(fd, at.Addr().Is6(), netip.AddrPort{})
}

// dialPacket opens a UDP socket with a peer.
func (c *Container) dialPacket(to netip.AddrPort) (*PacketConn, error) {
	fd, err := c.datagram(to.Addr())
	if err != nil {
		return nil, err
	}
	r := launch.NewRequest(shm.OpConnect, launch.Cookie(fd))
	r.Addr, r.Value = toAddr(to)
	_, e := c.requests.Call(r, -1)
	if e == 0 {
		e = launch.SetMark(fd, mark(to.Addr())|shm.MarkPeer)
	}
	if e != 0 {
		_ = unix.Close(fd)
		return nil, failure("connect", e)
	}
	return c.newPacketConn(fd, to.Addr().Is6(), to)
}

func mark(a netip.Addr) uint32 {
	if a.Is6() {
		return shm.MarkDatagram | shm.MarkSix
	}
	return shm.MarkDatagram
}

// datagram makes a UDP socket of the family of an address.
func (c *Container) datagram(a netip.Addr) (int, error) {
	return c.socketOf(family(a), unix.SOCK_DGRAM, unix.SOCK_SEQPACKET, mark(a))
}

func (c *Container) newPacketConn(fd int, six bool, peer netip.AddrPort) (*PacketConn, error) {
	p := &PacketConn{container: c, cookie: launch.Cookie(fd), six: six, local: &net.UDPAddr{}, known: map[netip.Addr]struct{}{}}
	if peer.IsValid() {
		p.remote = net.UDPAddrFromAddrPort(peer)
	}
	if local, ok := c.socketName(shm.OpGetsockname, p.cookie); ok {
		p.local = net.UDPAddrFromAddrPort(local)
	}
	var err error
	if p.pair, err = pollable(fd); err != nil {
		return nil, err
	}
	return p, nil
}

// LocalAddr returns the address at this end.
func (p *PacketConn) LocalAddr() net.Addr { return p.local }

// RemoteAddr returns the peer's address, nil without a peer.
func (p *PacketConn) RemoteAddr() net.Addr {
	if p.remote == nil {
		return nil
	}
	return p.remote
}

// ReadFrom reads one datagram and who sent it. What b has no room for is lost.
func (p *PacketConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := p.ReadFromUDPAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// ReadFromUDPAddrPort is ReadFrom without memory for the address.
func (p *PacketConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	buf := records.Get().(*[shm.SizeofDatagram + shm.PayloadMax]byte)
	defer records.Put(buf)
	for {
		n, err := p.pair.Read(buf[:])
		if err == io.EOF || errors.Is(err, unix.ECONNRESET) {
			err = ErrDaemon
		}
		if err != nil {
			return 0, netip.AddrPort{}, p.wrap("read", nil, err)
		}
		var h shm.Datagram
		if copy(shm.DatagramBytes(&h), buf[:n]) < shm.SizeofDatagram || h.Magic != shm.Magic {
			return 0, netip.AddrPort{}, p.wrap("read", nil, unix.EPROTO)
		}
		switch {
		case h.Error != 0:
			return 0, netip.AddrPort{}, p.wrap("read", nil, failure("recvfrom", syscall.Errno(h.Error)))
		case h.Flags&shm.DatagramEvent == 0:
			from := addrPort(&h.Remote)
			if p.remote == nil {
				p.learn(from.Addr())
			}
			return copy(b, buf[shm.SizeofDatagram:n]), from, nil
		}
	}
}

// Read reads one datagram.
func (p *PacketConn) Read(b []byte) (int, error) {
	n, _, err := p.ReadFromUDPAddrPort(b)
	return n, err
}

// WriteTo sends one datagram to an address, a *net.UDPAddr.
func (p *PacketConn) WriteTo(b []byte, to net.Addr) (int, error) {
	a, ok := to.(*net.UDPAddr)
	if !ok || a == nil {
		return 0, p.wrap("write", to, unix.EINVAL)
	}
	return p.WriteToUDPAddrPort(b, a.AddrPort())
}

// WriteToUDPAddrPort is WriteTo without memory for the address.
func (p *PacketConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if p.remote != nil {
		return 0, p.wrap("write", net.UDPAddrFromAddrPort(to), net.ErrWriteToConnected)
	}
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	if err := p.send(b, to); err != nil {
		return 0, p.wrap("write", net.UDPAddrFromAddrPort(to), err)
	}
	return len(b), nil
}

// Write sends one datagram to the peer.
func (p *PacketConn) Write(b []byte) (int, error) {
	err := error(unix.EDESTADDRREQ)
	if p.remote != nil {
		err = p.send(b, netip.AddrPort{})
	}
	if err != nil {
		return 0, p.wrap("write", p.RemoteAddr(), err)
	}
	return len(b), nil
}

// send writes a record. What became of a datagram to a new destination is asked
// for, because the pair cannot tell.
func (p *PacketConn) send(b []byte, to netip.AddrPort) error {
	const most4, most6 = 65507, 65527
	h := shm.Datagram{Magic: shm.Magic}
	most := most4
	switch {
	case !to.IsValid():
		if p.six {
			most = most6
		}
	case to.Port() == 0:
		return unix.EINVAL
	case to.Addr().Is6() && !p.six:
		return &net.AddrError{Err: "non-IPv4 address", Addr: to.Addr().String()}
	case p.six:
		if to.Addr().Is6() {
			most = most6
		}
		h.Remote, _ = toAddr(netip.AddrPortFrom(netip.AddrFrom16(to.Addr().As16()), to.Port()))
	default:
		h.Remote, _ = toAddr(to)
	}
	if len(b) > most {
		return unix.EMSGSIZE
	}
	if to.IsValid() && !p.isKnown(to.Addr()) {
		p.mu.Lock() // the outcome is the last reported datagram's
		defer p.mu.Unlock()
		h.Flags = shm.DatagramReport
	}
	buf := records.Get().(*[shm.SizeofDatagram + shm.PayloadMax]byte)
	defer records.Put(buf)
	n := copy(buf[:], shm.DatagramBytes(&h))
	n += copy(buf[n:], b)
	if _, err := p.pair.Write(buf[:n]); err != nil {
		if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
			return ErrDaemon
		}
		return err
	}
	if h.Flags == 0 {
		return nil
	}
	if _, e := p.container.requests.Call(launch.NewRequest(shm.OpVerdict, p.cookie), -1); e != 0 {
		return failure("sendto", e)
	}
	p.remember(to.Addr())
	return nil
}

func (p *PacketConn) isKnown(a netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.known[a]
	return ok
}

// learn makes of a sender a destination that needs no asking.
func (p *PacketConn) learn(a netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remember(a)
}

// remember is called with the lock held.
func (p *PacketConn) remember(a netip.Addr) {
	if _, ok := p.known[a]; ok {
		return
	}
	if len(p.known) >= maxKnown {
		clear(p.known)
	}
	p.known[a] = struct{}{}
}

// Close closes the socket. What was written is sent.
func (p *PacketConn) Close() error {
	if err := p.pair.Close(); err != nil {
		return p.wrap("close", nil, err)
	}
	return nil
}

// SetDeadline bounds reads and writes.
func (p *PacketConn) SetDeadline(t time.Time) error { return p.wrap("set", nil, p.pair.SetDeadline(t)) }

// SetReadDeadline bounds reads.
func (p *PacketConn) SetReadDeadline(t time.Time) error {
	return p.wrap("set", nil, p.pair.SetReadDeadline(t))
}

// SetWriteDeadline bounds writes.
func (p *PacketConn) SetWriteDeadline(t time.Time) error {
	return p.wrap("set", nil, p.pair.SetWriteDeadline(t))
}

// SetReadBuffer sets how much waits for a reader, in bytes; what comes beyond it
// is lost.
func (p *PacketConn) SetReadBuffer(bytes int) error {
	if e := p.container.set(p.cookie, unix.SOL_SOCKET, unix.SO_RCVBUF, int32(bytes)); e != 0 {
		return p.wrap("set", nil, failure("setsockopt", e))
	}
	return nil
}

// wrap gives an error the socket's addresses; nil stays nil.
func (p *PacketConn) wrap(op string, to net.Addr, err error) error {
	if err == nil {
		return nil
	}
	var inner *net.OpError
	if errors.As(err, &inner) {
		err = inner.Err
	}
	if to == nil && p.remote != nil {
		to = p.remote
	}
	return &net.OpError{Op: op, Net: "udp", Source: p.local, Addr: to, Err: err}
}
