// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"encoding/binary"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"
	"netcon/shm"
)

// isDatagram reports whether a socket of these arguments is a datagram socket of
// ours.
func isDatagram(family, kind, protocol int) bool {
	icmp := unix.IPPROTO_ICMP
	if family == unix.AF_INET6 {
		icmp = unix.IPPROTO_ICMPV6
	}
	switch kind {
	case unix.SOCK_DGRAM:
		return protocol == 0 || protocol == unix.IPPROTO_UDP || protocol == icmp
	case unix.SOCK_RAW:
		return protocol == icmp
	}
	return false
}

// datagramSocket carries out socket(2) of a datagram socket.
func (s *supervisor) datagramSocket(t *target) {
	kind := t.intArg(1)
	fd, e := s.openDatagram(t, kind&^(unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK), kind&unix.SOCK_NONBLOCK)
	switch {
	case e == launch.Gone && s.toKernel:
		t.pass()
	case e != 0:
		t.end(0, public(e))
	default:
		t.endWithFD(fd, kind&unix.SOCK_CLOEXEC != 0)
		_ = unix.Close(fd)
	}
}

// openDatagram makes the pair with the daemon, and the program's.
func (s *supervisor) openDatagram(t *target, kind, nonblock int) (int, syscall.Errno) {
	wire, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, unix.ENOBUFS
	}
	defer unix.Close(wire[1])
	r := launch.NewRequest(shm.OpSocket, launch.Cookie(wire[0]))
	r.Family, r.Level, r.Option = uint16(t.intArg(0)), int32(kind), int32(t.intArg(2))
	r.Flags, r.Value = shm.FlagSupervised, int32(t.process())
	if _, e := s.requests.Call(r, wire[1]); e != 0 {
		_ = unix.Close(wire[0])
		return -1, e
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|nonblock, 0)
	if err != nil {
		_ = unix.Close(wire[0])
		return -1, unix.ENOBUFS
	}
	d := &datagram{cookie: launch.Cookie(pair[0]), plain: pair[1], wire: wire[0], name: r.Cookie}
	e := launch.SetMark(pair[0], shm.MarkPlain)
	if e == 0 {
		e = s.relay.add(d)
	}
	if e != 0 {
		for _, fd := range []int{pair[0], pair[1], wire[0]} {
			_ = unix.Close(fd)
		}
		return -1, e
	}
	return pair[0], 0
}

// datagram carries out a call on a datagram socket.
func (v *virtual) datagram() error {
	d := v.relay.find(v.fd)
	if d == nil {
		v.pass()
		return nil
	}
	v.known = d.name
	switch v.call.nr {
	case unix.SYS_CONNECT:
		v.end(0, v.connectDatagram(d))
	case unix.SYS_BIND:
		v.end(0, v.bind())
	case unix.SYS_GETSOCKNAME:
		v.end(0, v.getsockname())
	case unix.SYS_GETPEERNAME:
		v.end(0, v.getpeername())
	case unix.SYS_GETSOCKOPT:
		v.datagramOption(d)
	case unix.SYS_SETSOCKOPT:
		v.end(0, v.setsockopt())
	case unix.SYS_SHUTDOWN:
		v.end(0, v.shutdownDatagram())
	case unix.SYS_LISTEN, unix.SYS_ACCEPT, unix.SYS_ACCEPT4:
		v.end(0, unix.EOPNOTSUPP)
	case unix.SYS_SENDTO, unix.SYS_SENDMSG:
		v.sendDatagram(d)
	case unix.SYS_RECVFROM, unix.SYS_RECVMSG:
		return v.receiveDatagram(d)
	case unix.SYS_IOCTL:
		v.end(0, v.outq())
	default:
		v.pass()
	}
	return nil
}

// flush sends what the program wrote before this call.
func (d *datagram) flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.send(make([]byte, shm.SizeofDatagram+shm.PayloadMax+1))
	}
}

func (v *virtual) connectDatagram(d *datagram) syscall.Errno {
	r := v.request(shm.OpConnect)
	length := v.intArg(2)
	var e syscall.Errno
	if r.Addr, e = v.readSockaddr(v.arg(1), length); e != 0 {
		return e
	}
	r.Value = int32(length)
	d.flush()
	if _, e = v.ask(r); e == 0 {
		d.mu.Lock()
		d.connected = r.Addr.Family != unix.AF_UNSPEC
		d.mu.Unlock()
	}
	return e
}

// datagramOption carries out getsockopt: an error that the network reported is
// here, not with the daemon.
func (v *virtual) datagramOption(d *datagram) {
	if v.intArg(1) == unix.SOL_SOCKET && v.intArg(2) == unix.SO_ERROR {
		if e := d.take(); e != 0 {
			n, bad := v.readLen(v.arg(4))
			b := binary.NativeEndian.AppendUint32(nil, uint32(e))
			if bad == 0 {
				bad = v.write(v.arg(3), b[:min(n, len(b))])
			}
			v.end(0, bad)
			return
		}
	}
	v.getsockopt()
}

// take takes the error that the network reported.
func (d *datagram) take() (e syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, d.err = d.err, 0
	return e
}

func (v *virtual) shutdownDatagram() syscall.Errno {
	how := v.intArg(1)
	if how < unix.SHUT_RD || how > unix.SHUT_RDWR {
		return unix.EINVAL
	}
	r := v.request(shm.OpShutdown)
	r.Value = int32(how)
	_, e := v.ask(r)
	if how != unix.SHUT_WR {
		_ = unix.Shutdown(v.fd, unix.SHUT_RD)
	}
	return e
}

// message is what sendto, sendmsg, recvfrom and recvmsg are about.
type message struct {
	header        uint64 // address of the msghdr, 0: there is none
	name, nameLen uint64 // the name's address, and where its length is
	nameRoom      int
	spans         []span
	flags         int
}

type span struct{ base, size uint64 }

// readMessage finds the arguments of the call.
func (v *virtual) readMessage() (m message, e syscall.Errno) {
	switch v.call.nr {
	case unix.SYS_SENDTO:
		m = message{name: v.arg(4), nameRoom: v.intArg(5), spans: []span{{v.arg(1), v.arg(2)}}, flags: v.intArg(3)}
		return m, 0
	case unix.SYS_RECVFROM:
		m = message{name: v.arg(4), nameLen: v.arg(5), spans: []span{{v.arg(1), v.arg(2)}}, flags: v.intArg(3)}
		if m.name != 0 {
			m.nameRoom, e = v.readLen(m.nameLen)
		}
		return m, e
	}
	m = message{header: v.arg(1), flags: v.intArg(2)}
	h, e := v.read(m.header, msghdrSize)
	if e != 0 {
		return m, e
	}
	m.name, m.nameLen = binary.NativeEndian.Uint64(h), m.header+msgNameLen
	m.nameRoom = int(int32(binary.NativeEndian.Uint32(h[msgNameLen:])))
	n := binary.NativeEndian.Uint64(h[msgIovLen:])
	if n > iovecMax {
		return m, unix.EMSGSIZE
	}
	b, e := v.read(binary.NativeEndian.Uint64(h[msgIov:]), int(n)*iovecSize)
	for ; len(b) > 0; b = b[iovecSize:] {
		m.spans = append(m.spans, span{binary.NativeEndian.Uint64(b), binary.NativeEndian.Uint64(b[iovecLen:])})
	}
	return m, e
}

// size adds up the spans; more than a datagram takes counts as one byte more.
func (m *message) size() (n int) {
	for _, s := range m.spans {
		n += int(min(s.size, shm.PayloadMax+1))
		n = min(n, shm.PayloadMax+1)
	}
	return n
}

// sendDatagram carries out sendto and sendmsg. Without an address it is a write.
func (v *virtual) sendDatagram(d *datagram) {
	m, e := v.readMessage()
	if e == 0 && m.name == 0 {
		d.mu.Lock()
		connected := d.connected
		d.mu.Unlock()
		if connected {
			v.pass()
			return
		}
		e = unix.EDESTADDRREQ
	}
	n := 0
	if e == 0 {
		n, e = v.sendMessage(d, &m)
	}
	v.end(int64(n), e)
}

// sendMessage sends a datagram to the address in m.
func (v *virtual) sendMessage(d *datagram, m *message) (int, syscall.Errno) {
	header := shm.Datagram{Magic: shm.Magic}
	var e syscall.Errno
	if header.Remote, e = v.readSockaddr(m.name, m.nameRoom); e != 0 {
		return 0, e
	}
	n := m.size()
	if n > shm.PayloadMax {
		return 0, unix.EMSGSIZE
	}
	record := append(make([]byte, 0, shm.SizeofDatagram+n), shm.DatagramBytes(&header)...)
	for _, s := range m.spans {
		b, e := v.read(s.base, int(s.size))
		if e != 0 {
			return 0, e
		}
		record = append(record, b...)
	}
	d.flush()
	if d.connectedNow() {
		if e := d.take(); e != 0 {
			return 0, e
		}
	}
	return n, v.sendRecord(d, record, header.Remote)
}

func (d *datagram) connectedNow() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.connected
}

// sendRecord sends a record, and asks what became of it if the destination is new.
func (v *virtual) sendRecord(d *datagram, record []byte, to shm.Addr) syscall.Errno {
	d.mu.Lock()
	_, known := d.known[to]
	if !known {
		h := shm.Datagram{Magic: shm.Magic, Flags: shm.DatagramReport, Remote: to}
		copy(record, shm.DatagramBytes(&h))
	}
	e := unix.EAGAIN
	if d.out == nil {
		e = d.write(record)
	}
	d.mu.Unlock()
	switch {
	case e == unix.EAGAIN && v.blocks():
		return unix.ENOBUFS // as of a full device: nobody waits with it
	case e == unix.EAGAIN:
		return e
	case e != 0:
		return unix.ENETDOWN
	case known:
		return 0
	}
	_, e = v.ask(v.request(shm.OpVerdict))
	if e == 0 {
		d.mu.Lock()
		if len(d.known) >= knownMax {
			clear(d.known)
		}
		d.known[to] = struct{}{}
		d.mu.Unlock()
	}
	return e
}

// hearing is a receive that waits for a datagram.
type hearing struct {
	virtual
	d     *datagram
	m     message
	until time.Time
}

// receiveDatagram carries out recvfrom and recvmsg.
func (v *virtual) receiveDatagram(d *datagram) error {
	m, e := v.readMessage()
	switch {
	case e != 0:
		v.end(0, e)
		return nil
	case m.flags&unix.MSG_ERRQUEUE != 0:
		v.end(0, unix.EAGAIN)
		return nil
	}
	h := &hearing{virtual: *v, d: d, m: m}
	if h.try() {
		return nil
	}
	if m.flags&unix.MSG_DONTWAIT != 0 || !v.blocks() {
		v.end(0, unix.EAGAIN)
		return nil
	}
	h.until = v.deadline(unix.SO_RCVTIMEO)
	return v.parking.add(h)
}

func (h *hearing) waitsFor() (int, uint32) { return h.fd, unix.EPOLLIN }

func (h *hearing) try() bool {
	if e := h.d.take(); e != 0 {
		h.end(0, e)
		return true
	}
	b := make([]byte, h.m.size())
	control := make([]byte, unix.CmsgSpace(4))
	n, controlLen, flags, _, err := unix.Recvmsg(h.fd, b, control, h.m.flags&(unix.MSG_PEEK|unix.MSG_TRUNC)|unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if err == unix.EAGAIN {
		return false
	}
	if err != nil {
		h.end(0, launch.Errno(err))
		return true
	}
	from := sender(control[:controlLen])
	h.end(int64(n), h.hand(b[:min(n, len(b))], &from, flags&unix.MSG_TRUNC))
	return true
}

// hand gives the program what was received.
func (h *hearing) hand(b []byte, from *shm.Addr, flags int) syscall.Errno {
	for _, s := range h.m.spans {
		part := b[:min(uint64(len(b)), s.size)]
		if e := h.write(s.base, part); e != 0 {
			return e
		}
		b = b[len(part):]
	}
	if h.m.name != 0 && from.Family != 0 {
		if e := h.writeSockaddr(from, h.m.name, h.m.nameLen, h.m.nameRoom); e != 0 {
			return e
		}
	}
	if h.m.header == 0 {
		return 0
	}
	rest := make([]byte, 8+4)
	binary.NativeEndian.PutUint32(rest[8:], uint32(flags))
	return h.write(h.m.header+msgControlLen, rest)
}

func (h *hearing) interrupt() bool { return h.endIfInterrupted(h.until) }
