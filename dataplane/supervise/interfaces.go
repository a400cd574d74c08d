// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"netcon/dataplane/launch"
)

// Sizes of struct ifreq and struct ifconf.
const (
	ifreqSize  = 40
	ifconfSize = 16
	ifconfMax  = 1 << 16
	queueLen   = 1000
)

func isInterfaceRequest(r uint32) bool { return slices.Contains(interfaceRequests, r) }

// interfaceRequest carries out an ioctl that asks for the container's interfaces,
// by any socket.
func (v *virtual) interfaceRequest() {
	if launch.Cookie(v.fd) == 0 {
		v.pass() // no socket
		return
	}
	list, e := launch.Interfaces(v.requests)
	switch {
	case e == launch.Gone && v.toKernel:
		v.pass()
		return
	case e != 0:
	case uint32(v.arg(1)) == unix.SIOCGIFCONF:
		e = v.listAddresses(list)
	default:
		e = v.oneInterface(list)
	}
	v.end(0, e)
}

// oneInterface answers what is asked about one interface.
func (v *virtual) oneInterface(list []launch.Interface) syscall.Errno {
	b, e := v.read(v.arg(2), ifreqSize)
	if e != 0 {
		return e
	}
	request, value := uint32(v.arg(1)), b[unix.IFNAMSIZ:]
	name, _, _ := strings.Cut(unix.ByteSliceToString(b[:unix.IFNAMSIZ]), ":")
	index := int(int32(binary.NativeEndian.Uint32(value)))
	at := slices.IndexFunc(list, func(i launch.Interface) bool {
		if request == unix.SIOCGIFNAME {
			return i.Index == index
		}
		return i.Name == name
	})
	if at < 0 {
		return unix.ENODEV
	}
	i := &list[at]
	number := func(n int) { binary.NativeEndian.PutUint32(value, uint32(int32(n))) }
	switch request {
	case unix.SIOCGIFNAME:
		clear(b[:unix.IFNAMSIZ])
		copy(b[:unix.IFNAMSIZ-1], i.Name)
	case unix.SIOCGIFFLAGS:
		binary.NativeEndian.PutUint16(value, uint16(i.Flags))
	case unix.SIOCGIFMETRIC:
		number(0)
	case unix.SIOCGIFMTU:
		number(i.MTU)
	case unix.SIOCGIFINDEX:
		number(i.Index)
	case unix.SIOCGIFTXQLEN:
		number(queueLen)
	case unix.SIOCGIFHWADDR:
		clear(value[:16])
		binary.NativeEndian.PutUint16(value, i.Kind)
		copy(value[2:16], i.MAC)
	default:
		first := slices.IndexFunc(i.Addrs, func(p netip.Prefix) bool { return p.Addr().Is4() })
		if first < 0 {
			return unix.EADDRNOTAVAIL
		}
		putIPv4(value, ofAddress(request, i.Addrs[first], i.Flags))
	}
	return v.write(v.arg(2), b)
}

// ofAddress is what a request asks of an IPv4 address.
func ofAddress(request uint32, p netip.Prefix, flags uint32) netip.Addr {
	ip := p.Addr().As4()
	mask := ^uint32(0) << (32 - p.Bits())
	if p.Bits() == 0 {
		mask = 0
	}
	switch request {
	case unix.SIOCGIFNETMASK:
		binary.BigEndian.PutUint32(ip[:], mask)
	case unix.SIOCGIFBRDADDR:
		if flags&unix.IFF_BROADCAST == 0 {
			return netip.IPv4Unspecified()
		}
		binary.BigEndian.PutUint32(ip[:], binary.BigEndian.Uint32(ip[:])|^mask)
	}
	return netip.AddrFrom4(ip)
}

// putIPv4 writes a sockaddr_in.
func putIPv4(to []byte, ip netip.Addr) {
	clear(to[:sockaddrIn])
	binary.NativeEndian.PutUint16(to, unix.AF_INET)
	copy(to[4:8], ip.AsSlice())
}

// listAddresses answers SIOCGIFCONF: the IPv4 addresses, as many as there is room
// for, or how much room they take.
func (v *virtual) listAddresses(list []launch.Interface) syscall.Errno {
	conf, e := v.read(v.arg(2), ifconfSize)
	if e != 0 {
		return e
	}
	room, to := int(int32(binary.NativeEndian.Uint32(conf))), binary.NativeEndian.Uint64(conf[8:])
	var all []byte
	for _, i := range list {
		for _, p := range i.Addrs {
			if p.Addr().Is4() {
				var r [ifreqSize]byte
				copy(r[:unix.IFNAMSIZ-1], i.Name)
				putIPv4(r[unix.IFNAMSIZ:], p.Addr())
				all = append(all, r[:]...)
			}
		}
	}
	if to != 0 {
		all = all[:min(len(all), min(max(room, 0), ifconfMax)/ifreqSize*ifreqSize)]
		if e := v.write(to, all); e != 0 {
			return e
		}
	}
	return v.writeLen(v.arg(2), len(all))
}
