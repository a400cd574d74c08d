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
	s.endSocket(t, fd, e, kind)
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
	d := &datagram{
		cookie: launch.Cookie(pair[0]), plain: pair[1], wire: wire[0], name: r.Cookie,
		six: t.intArg(0) == unix.AF_INET6, icmp: kind == unix.SOCK_RAW || t.intArg(2) != 0 && t.intArg(2) != unix.IPPROTO_UDP,
	}
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
		v.end(0, v.shutdownDatagram(d))
	case unix.SYS_LISTEN, unix.SYS_ACCEPT, unix.SYS_ACCEPT4:
		v.end(0, unix.EOPNOTSUPP)
	case unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_SENDMMSG:
		v.sendDatagram(d)
	case unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_RECVMMSG:
		return v.receiveDatagram(d)
	case unix.SYS_IOCTL:
		v.end(0, v.outq())
	default:
		v.pass()
	}
	return nil
}

// flush sends what the program wrote before this call.
func (r *relay) flush(d *datagram) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.send(r.flushing)
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
	v.relay.flush(d)
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

func (v *virtual) shutdownDatagram(d *datagram) syscall.Errno {
	how := v.intArg(1)
	if how < unix.SHUT_RD || how > unix.SHUT_RDWR {
		return unix.EINVAL
	}
	r := v.request(shm.OpShutdown)
	r.Value = int32(how)
	v.relay.flush(d)
	_, e := v.ask(r)
	if how != unix.SHUT_WR {
		_ = unix.Shutdown(v.fd, unix.SHUT_RD)
	}
	if how != unix.SHUT_RD {
		d.mu.Lock()
		d.mute = true // the pair must not hang up: the socket lives on
		d.mu.Unlock()
	}
	return e
}

// message is what sendto, sendmsg, recvfrom and recvmsg are about. Sendmmsg
// and recvmmsg are about several.
type message struct {
	header        uint64 // address of the msghdr, 0: there is none
	length        uint64 // where its length goes (mmsghdr), 0: nowhere
	name, nameLen uint64 // the name's address, and where its length is
	nameRoom      int
	spans         []span
	flags         int
}

type span struct{ base, size uint64 }

// mmsghdrSize is the size of struct mmsghdr: a msghdr, and a length.
const mmsghdrSize = msghdrSize + 8

// messages returns how many messages the call is about, and whether there is a
// list of them.
func (v *virtual) messages() (n int, list bool) {
	if v.call.nr == unix.SYS_SENDMMSG || v.call.nr == unix.SYS_RECVMMSG {
		return int(min(uint32(v.arg(2)), iovecMax)), true
	}
	return 1, false
}

// readMessage finds the arguments of the call, of message i of a list.
func (v *virtual) readMessage(i int) (m message, e syscall.Errno) {
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
	if _, list := v.messages(); list {
		m.header += uint64(i) * mmsghdrSize
		m.flags, m.length = v.intArg(3), m.header+msghdrSize
	}
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

// sendDatagram carries out sendto, sendmsg and sendmmsg. Without an address they
// are writes.
func (v *virtual) sendDatagram(d *datagram) {
	total, list := v.messages()
	done := 0
	for done < total {
		m, e := v.readMessage(done)
		if e == 0 && m.name == 0 {
			if d.connectedNow() && done == 0 {
				v.pass()
				return
			}
			e = unix.EDESTADDRREQ
		}
		n := 0
		if e == 0 {
			n, e = v.sendMessage(d, &m)
		}
		if e == 0 && list {
			e = v.writeLen(m.length, n)
		}
		switch {
		case e != 0 && done == 0, !list:
			v.end(int64(n), e)
			return
		case e != 0:
			total = done
		default:
			done++
		}
	}
	v.end(int64(done), 0)
}

// destination reads the address in m as udp_sendmsg and its like do; family 0: the
// peer.
func (v *virtual) destination(d *datagram, m *message) (a shm.Addr, e syscall.Errno) {
	least := sockaddrIn
	if d.six {
		least = familyLength
	}
	if m.nameRoom < least {
		return a, unix.EINVAL
	}
	b, e := v.read(m.name, min(m.nameRoom, sockaddrMax))
	if e != 0 {
		return a, e
	}
	family := binary.NativeEndian.Uint16(b)
	switch {
	case d.six && family == unix.AF_UNSPEC:
		if !d.connectedNow() {
			e = unix.EDESTADDRREQ
		}
		return a, e
	case d.six && family != unix.AF_INET6 && d.icmp, !d.six && family != unix.AF_INET && (family != unix.AF_UNSPEC || d.icmp):
		return a, unix.EAFNOSUPPORT
	case d.six && family != unix.AF_INET6 && family != unix.AF_INET:
		return a, unix.EINVAL
	}
	if a, e = addrFromSockaddr(b); e != 0 {
		return a, e
	}
	if d.six && a.Family == unix.AF_INET {
		four := [4]uint8(a.Ip[:4])
		a.Ip = [16]uint8{10: 0xff, 11: 0xff, 12: four[0], 13: four[1], 14: four[2], 15: four[3]}
		a.Family = unix.AF_INET6
	}
	if a.Family == unix.AF_UNSPEC {
		a.Family = unix.AF_INET
	}
	if d.icmp {
		a.Port = 0
	} else if a.Port == 0 {
		return a, unix.EINVAL
	}
	return a, 0
}

// sendMessage sends a datagram to the address in m.
func (v *virtual) sendMessage(d *datagram, m *message) (int, syscall.Errno) {
	header := shm.Datagram{Magic: shm.Magic}
	var e syscall.Errno
	if header.Remote, e = v.destination(d, m); e != 0 {
		return 0, e
	}
	n := m.size()
	if n > shm.PayloadMax || !d.icmp && n > longest(&header.Remote) {
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
	v.relay.flush(d)
	if d.isMute() {
		return 0, unix.EPIPE
	}
	if d.connectedNow() {
		if e := d.take(); e != 0 {
			return 0, e
		}
	}
	return n, v.sendRecord(d, record, header.Remote)
}

func (d *datagram) isMute() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mute
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

// The longest payloads of UDP.
const (
	udpMax4 = 65507
	udpMax6 = 65527
)

func longest(to *shm.Addr) int {
	if to.Family == unix.AF_INET6 && [12]uint8(to.Ip[:12]) != [12]uint8{10: 0xff, 11: 0xff} {
		return udpMax6
	}
	return udpMax4
}

// hearing is a receive that waits for a datagram.
type hearing struct {
	virtual
	d     *datagram
	m     message // the first one
	until time.Time
}

// receiveDatagram carries out recvfrom, recvmsg and recvmmsg.
func (v *virtual) receiveDatagram(d *datagram) error {
	if total, _ := v.messages(); total == 0 {
		v.end(0, 0)
		return nil
	}
	m, e := v.readMessage(0)
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
	n, e := h.one(&h.m)
	if e == unix.EAGAIN {
		return false
	}
	// What else is there, if the program has room for it.
	total, list := h.messages()
	done := 1
	for e == 0 && done < total {
		m, bad := h.readMessage(done)
		if bad == 0 {
			_, bad = h.one(&m)
		}
		if bad != 0 {
			break
		}
		done++
	}
	if list {
		n = done
	}
	h.end(int64(n), e)
	return true
}

// one receives one message.
func (h *hearing) one(m *message) (int, syscall.Errno) {
	b := make([]byte, m.size())
	control := make([]byte, unix.CmsgSpace(4))
	n, controlLen, flags, _, err := unix.Recvmsg(h.fd, b, control, h.m.flags&(unix.MSG_PEEK|unix.MSG_TRUNC)|unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return 0, launch.Errno(err)
	}
	from := sender(control[:controlLen])
	e := h.hand(m, b[:min(n, len(b))], &from, flags&unix.MSG_TRUNC)
	if e == 0 && m.length != 0 {
		e = h.writeLen(m.length, n)
	}
	return n, e
}

// hand gives the program what was received.
func (h *hearing) hand(m *message, b []byte, from *shm.Addr, flags int) syscall.Errno {
	for _, s := range m.spans {
		part := b[:min(uint64(len(b)), s.size)]
		if e := h.write(s.base, part); e != 0 {
			return e
		}
		b = b[len(part):]
	}
	if m.name != 0 && from.Family != 0 {
		if e := h.writeSockaddr(from, m.name, m.nameLen, m.nameRoom); e != 0 {
			return e
		}
	}
	if m.header == 0 {
		return 0
	}
	rest := make([]byte, 8+4)
	binary.NativeEndian.PutUint32(rest[8:], uint32(flags))
	return h.write(m.header+msgControlLen, rest)
}

func (h *hearing) interrupt() bool { return h.endIfInterrupted(h.until) }
