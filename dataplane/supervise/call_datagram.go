// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"encoding/binary"
	"syscall"

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
		v.end(0, v.bindDatagram())
	case unix.SYS_GETSOCKNAME:
		v.end(0, v.getsockname())
	case unix.SYS_GETPEERNAME:
		v.end(0, v.getpeername())
	case unix.SYS_GETSOCKOPT:
		v.datagramOption(d)
	case unix.SYS_SETSOCKOPT:
		v.end(0, v.setDatagramOption(d))
	case unix.SYS_SHUTDOWN:
		v.end(0, v.shutdownDatagram(d))
	case unix.SYS_LISTEN, unix.SYS_ACCEPT, unix.SYS_ACCEPT4:
		v.end(0, unix.EOPNOTSUPP)
	case unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_SENDMMSG:
		v.sendDatagram(d)
	case unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_RECVMMSG:
		return v.receiveDatagram(d)
	case unix.SYS_IOCTL:
		if v.arg(1) == fionread {
			v.end(0, v.nextLength())
		} else {
			v.end(0, v.outq())
		}
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

// bindDatagram carries out bind. What a program has closed is closed by the relay a
// moment later, and must not be in the way.
func (v *virtual) bindDatagram() syscall.Errno {
	e := v.bind()
	if e == unix.EADDRINUSE {
		// Also if nothing is left to end: the relay may just have done it.
		v.relay.reap()
		e = v.bind()
	}
	return e
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

// setDatagramOption carries out setsockopt: the program's end is to hold as much as
// the daemon's.
func (v *virtual) setDatagramOption(d *datagram) syscall.Errno {
	e := v.setsockopt()
	if option := v.intArg(2); e == 0 && v.intArg(1) == unix.SOL_SOCKET && (option == unix.SO_RCVBUF || option == unix.SO_RCVBUFFORCE) {
		if b, e := v.read(v.arg(3), 4); e == 0 {
			_ = unix.SetsockoptInt(d.plain, unix.SOL_SOCKET, unix.SO_SNDBUF, int(int32(binary.NativeEndian.Uint32(b))))
		}
	}
	return e
}

// nextLength carries out ioctl(FIONREAD): a pair would add up all datagrams.
func (v *virtual) nextLength() syscall.Errno {
	var none [1]byte
	n, _, err := unix.Recvfrom(v.fd, none[:], unix.MSG_PEEK|unix.MSG_TRUNC|unix.MSG_DONTWAIT)
	if err != nil {
		n = 0
	}
	return v.writeLen(v.arg(2), n)
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
