// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"encoding/binary"
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/shm"
)

// sendDatagram carries out sendto, sendmsg and sendmmsg. Without anything that a
// write has not they are writes.
func (v *virtual) sendDatagram(d *datagram) {
	total, list := v.messages()
	if e := d.takeIfConnected(); e != 0 && total > 0 {
		v.end(0, e)
		return
	}
	if v.areWrites(d, total) {
		v.pass()
		return
	}
	done := 0
	for done < total {
		m, e := v.readMessage(done)
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

// areWrites reports whether all messages go to the peer, as they are.
func (v *virtual) areWrites(d *datagram, total int) bool {
	if !d.connectedNow() || d.isMute() {
		return false
	}
	for i := range total {
		m, e := v.readMessage(i)
		if e != 0 || m.name != 0 && m.nameRoom != 0 || m.controlRoom != 0 || m.flags&(unix.MSG_OOB|unix.MSG_MORE) != 0 {
			return false
		}
	}
	return true
}

// destination reads the address in m as udp_sendmsg and its like do; family 0: the
// peer.
func (v *virtual) destination(d *datagram, m *message) (a shm.Addr, e syscall.Errno) {
	if m.name == 0 || m.nameRoom == 0 {
		if !d.connectedNow() {
			e = unix.EDESTADDRREQ
		}
		return a, e
	}
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
		a.Family, a.Ip = unix.AF_INET6, mapped(a.Ip[:4])
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

// sendMessage sends a datagram as m says.
func (v *virtual) sendMessage(d *datagram, m *message) (int, syscall.Errno) {
	header := shm.Datagram{Magic: shm.Magic}
	var e syscall.Errno
	n := m.size(longestDatagram)
	switch {
	case n > shm.PayloadMax:
		return 0, unix.EMSGSIZE
	case m.flags&(unix.MSG_OOB|unix.MSG_MORE) != 0: // there is no cork
		return 0, unix.EOPNOTSUPP
	case m.controlRoom > controlMax:
		return 0, unix.ENOBUFS
	}
	if header.Remote, e = v.destination(d, m); e != 0 {
		return 0, e
	}
	control, e := v.read(m.control, m.controlRoom)
	if e == 0 {
		e = takeControls(&header, control, d.six, d.icmp)
	}
	switch {
	case e != 0:
		return 0, e
	case d.isMute():
		return 0, unix.EPIPE
	case !d.icmp && n > d.longest(&header.Remote):
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
	return n, v.sendRecord(d, record, &header)
}

func (d *datagram) isMute() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mute
}

// takeIfConnected takes the error that the network reported of the peer.
func (d *datagram) takeIfConnected() syscall.Errno {
	if !d.connectedNow() {
		return 0
	}
	return d.take()
}

func (d *datagram) connectedNow() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.connected
}

// sendRecord sends a record, and asks what became of it if the destination is new.
func (v *virtual) sendRecord(d *datagram, record []byte, header *shm.Datagram) syscall.Errno {
	to := route{header.Remote, header.Local}
	d.mu.Lock()
	_, known := d.known[to]
	if to == (route{}) {
		known = true
	}
	if !known {
		header.Flags |= shm.DatagramReport
		copy(record, shm.DatagramBytes(header))
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

func (d *datagram) longest(to *shm.Addr) int {
	if d.six && !isMapped(to) {
		return udpMax6
	}
	return udpMax4
}
