// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"encoding/binary"
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/shm"
)

// Control messages of datagrams: the fields of the header in the forms that
// programs know, both ways (preload/datagram_control.c is the same for the
// library). Order and sizes are the kernel's (ip_cmsg_recv_offset,
// ip6_datagram_recv_ctl).

// controlMax bounds the control messages of one datagram that is sent; the kernel
// has sysctl net.core.optmem_max.
const controlMax = 1 << 16

// Options that x/sys does not name: the forms with a 64-bit time, asm/socket.h.
const (
	soTimestampNew   = 63
	soTimestampNSNew = 64
)

// controls are control messages for a program that has room for so many bytes.
type controls struct {
	b         []byte
	room      int
	truncated bool
}

func align(n int) int { return (n + 7) &^ 7 }

// put adds a message, or as much of it as there is room for (put_cmsg).
func (c *controls) put(level, kind int, data []byte) {
	left := c.room - len(c.b)
	if left < unix.SizeofCmsghdr {
		c.truncated = true
		return
	}
	size := unix.SizeofCmsghdr + len(data)
	if size > left {
		c.truncated = true
		size = left
	}
	m := make([]byte, min(align(size), left))
	binary.NativeEndian.PutUint64(m, uint64(size))
	binary.NativeEndian.PutUint32(m[8:], uint32(level))
	binary.NativeEndian.PutUint32(m[12:], uint32(kind))
	copy(m[unix.SizeofCmsghdr:size], data)
	c.b = append(c.b, m...)
}

func (c *controls) putInt(level, kind int, value uint32) {
	c.put(level, kind, binary.NativeEndian.AppendUint32(nil, value))
}

// putDatagram adds what the program asked to be told of a datagram.
func (c *controls) putDatagram(h *shm.Datagram, six bool) {
	c.putTime(h)
	if h.Flags&shm.WantOverflow != 0 && h.Drops != 0 {
		c.putInt(unix.SOL_SOCKET, unix.SO_RXQ_OVFL, h.Drops)
	}
	if !six {
		c.putIPv4(h, h.Local.Ip[:4])
		return
	}
	if h.Flags&shm.WantPktInfo6 != 0 {
		info := binary.NativeEndian.AppendUint32(append([]byte(nil), h.Local.Ip[:]...), h.Local.Scope)
		c.put(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, info)
	}
	if isMapped(&h.Local) {
		c.putIPv4(h, h.Local.Ip[12:])
		return
	}
	if h.Flags&shm.WantHopLimit != 0 {
		c.putInt(unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT, uint32(h.Ttl))
	}
	if h.Flags&shm.WantTClass != 0 {
		c.putInt(unix.IPPROTO_IPV6, unix.IPV6_TCLASS, uint32(h.Tos))
	}
	if h.Flags&shm.WantHopLimitOld != 0 {
		c.putInt(unix.IPPROTO_IPV6, unix.IPV6_2292HOPLIMIT, uint32(h.Ttl))
	}
}

// putTime adds the one time stamp that goes before the others.
func (c *controls) putTime(h *shm.Datagram) {
	seconds, rest, kind := h.Time/1e9, h.Time%1e9, 0
	switch {
	case h.Flags&shm.WantStampNS != 0:
		kind = unix.SO_TIMESTAMPNS
	case h.Flags&shm.WantStampNSNew != 0:
		kind = soTimestampNSNew
	case h.Flags&shm.WantStamp != 0:
		kind, rest = unix.SO_TIMESTAMP, rest/1000
	case h.Flags&shm.WantStampNew != 0:
		kind, rest = soTimestampNew, rest/1000
	default:
		return
	}
	b := binary.NativeEndian.AppendUint64(nil, seconds)
	c.put(unix.SOL_SOCKET, kind, binary.NativeEndian.AppendUint64(b, rest))
}

func (c *controls) putIPv4(h *shm.Datagram, ip []byte) {
	if h.Flags&shm.WantPktInfo != 0 {
		b := binary.NativeEndian.AppendUint32(nil, h.Local.Scope)
		if ip[0] >= 224 { // a group, or broadcast: no address of ours
			b = append(b, 0, 0, 0, 0)
		} else {
			b = append(b, ip...)
		}
		c.put(unix.IPPROTO_IP, unix.IP_PKTINFO, append(b, ip...))
	}
	if h.Flags&shm.WantTTL != 0 {
		c.putInt(unix.IPPROTO_IP, unix.IP_TTL, uint32(h.Ttl))
	}
	if h.Flags&shm.WantTOS != 0 {
		c.put(unix.IPPROTO_IP, unix.IP_TOS, []byte{h.Tos})
	}
	if h.Flags&shm.WantOrigDst != 0 {
		a := shm.Addr{Family: unix.AF_INET, Port: h.Local.Port}
		copy(a.Ip[:], ip)
		c.put(unix.IPPROTO_IP, unix.IP_ORIGDSTADDR, sockaddrFromAddr(&a))
	}
}

// isMapped reports whether a is an IPv4 address in the form of IPv6.
func isMapped(a *shm.Addr) bool {
	return a.Family == unix.AF_INET6 && [12]uint8(a.Ip[:12]) == [12]uint8{10: 0xff, 11: 0xff}
}

// mapped is an IPv4 address in the form of IPv6.
func mapped(four []byte) (ip [16]uint8) {
	ip[10], ip[11] = 0xff, 0xff
	copy(ip[12:], four)
	return ip
}

// takeControls puts what a program asks of a datagram that it sends into the
// header.
func takeControls(h *shm.Datagram, b []byte, six, icmp bool) syscall.Errno {
	for len(b) >= unix.SizeofCmsghdr {
		size := binary.NativeEndian.Uint64(b)
		if size < unix.SizeofCmsghdr || size > uint64(len(b)) {
			return unix.EINVAL
		}
		kind, data := int(int32(binary.NativeEndian.Uint32(b[12:]))), b[unix.SizeofCmsghdr:size]
		var e syscall.Errno
		switch level := int(int32(binary.NativeEndian.Uint32(b[8:]))); {
		case level == unix.IPPROTO_IP:
			e = takeIPv4(h, kind, data, six)
		case level == unix.IPPROTO_IPV6 && six:
			e = takeIPv6(h, kind, data)
		case level == unix.IPPROTO_UDP && !icmp:
			e = unix.EINVAL
		}
		if e != 0 {
			return e
		}
		b = b[min(align(int(size)), len(b)):]
	}
	return 0
}

// takeIPv4 follows ip_cmsg_send.
func takeIPv4(h *shm.Datagram, kind int, data []byte, six bool) syscall.Errno {
	switch {
	case kind == unix.IP_PKTINFO && len(data) == unix.SizeofInet4Pktinfo:
		source := data[4:8]
		switch {
		case [4]byte(source) == [4]byte{}:
		case six:
			h.Local = shm.Addr{Family: unix.AF_INET6, Ip: mapped(source)}
		default:
			h.Local = shm.Addr{Family: unix.AF_INET}
			copy(h.Local.Ip[:], source)
		}
		return 0
	case kind == unix.IP_TTL && len(data) == 4:
		value := binary.NativeEndian.Uint32(data)
		if value < 1 || value > 255 {
			return unix.EINVAL
		}
		h.Flags |= shm.DatagramTTL
		h.Ttl = uint8(value)
		return 0
	case kind == unix.IP_TOS && (len(data) == 4 || len(data) == 1):
		value := uint32(data[0])
		if len(data) == 4 {
			value = binary.NativeEndian.Uint32(data)
		}
		if value > 255 {
			return unix.EINVAL
		}
		h.Flags |= shm.DatagramTOS
		h.Tos = uint8(value)
		return 0
	}
	return unix.EINVAL
}

// takeIPv6 follows ip6_datagram_send_ctl. A value of -1 is the socket's own.
func takeIPv6(h *shm.Datagram, kind int, data []byte) syscall.Errno {
	if kind == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo {
		if ip := [16]uint8(data[:16]); ip != [16]uint8{} {
			h.Local = shm.Addr{Family: unix.AF_INET6, Ip: ip}
		}
		return 0
	}
	if len(data) != 4 {
		return unix.EINVAL
	}
	value := int32(binary.NativeEndian.Uint32(data))
	if kind == unix.IPV6_DONTFRAG {
		return 0
	}
	if value < -1 || value > 255 {
		return unix.EINVAL
	}
	switch kind {
	case unix.IPV6_HOPLIMIT, unix.IPV6_2292HOPLIMIT:
		if value > 0 {
			h.Flags |= shm.DatagramTTL
			h.Ttl = uint8(value)
		}
	case unix.IPV6_TCLASS:
		if value >= 0 {
			h.Flags |= shm.DatagramTOS
			h.Tos = uint8(value)
		}
	default:
		return unix.EINVAL
	}
	return 0
}
