// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"encoding/binary"
	"errors"
	"iter"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"netcon/dataplane/wire"
)

var errShort = errors.New("netlink message is too short")

// message is one netlink message; body is what follows nlmsghdr.
type message struct {
	kind      uint16
	seq, port uint32
	body      []byte
}

// messages returns the messages of a datagram, up to the first that does not
// fit into it.
func messages(b []byte) iter.Seq[message] {
	return func(yield func(message) bool) {
		for len(b) >= unix.SizeofNlMsghdr {
			n := int(binary.NativeEndian.Uint32(b))
			if n < unix.SizeofNlMsghdr || n > len(b) {
				return
			}
			m := message{
				kind: binary.NativeEndian.Uint16(b[4:]),
				seq:  binary.NativeEndian.Uint32(b[8:]),
				port: binary.NativeEndian.Uint32(b[12:]),
				body: b[unix.SizeofNlMsghdr:n],
			}
			if !yield(m) {
				return
			}
			b = b[min(align(n), len(b)):]
		}
	}
}

// typeMask leaves out NLA_F_NESTED and NLA_F_NET_BYTEORDER.
const typeMask = 1<<14 - 1

// attributes returns the attributes in b by type, without the flag bits, up to
// the first that does not fit into b.
func attributes(b []byte) iter.Seq2[uint16, attribute] {
	return func(yield func(uint16, attribute) bool) {
		for len(b) >= unix.SizeofRtAttr {
			n := int(binary.NativeEndian.Uint16(b))
			if n < unix.SizeofRtAttr || n > len(b) {
				return
			}
			kind := binary.NativeEndian.Uint16(b[2:]) & typeMask
			if !yield(kind, b[unix.SizeofRtAttr:n]) {
				return
			}
			b = b[min(align(n), len(b)):]
		}
	}
}

// align rounds up to where the next message or attribute starts.
func align(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }

// attribute is the value of an attribute.
type attribute []byte

// u32 returns a number, or 0 if the attribute is no number.
func (a attribute) u32() uint32 {
	if len(a) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(a)
}

// addr returns an IPv4 or IPv6 address, or the zero Addr. It never is an
// IPv4-mapped address.
func (a attribute) addr() netip.Addr {
	ip, _ := netip.AddrFromSlice(a)
	return ip.Unmap()
}

// mac returns an Ethernet address, or zero.
func (a attribute) mac() wire.MAC {
	if len(a) != len(wire.MAC{}) {
		return wire.MAC{}
	}
	return wire.MAC(a)
}

// text returns a string without the zero byte at its end, at most 64 bytes.
func (a attribute) text() string {
	for i, c := range a {
		if c == 0 {
			a = a[:i]
			break
		}
	}
	return string(a[:min(len(a), 64)])
}

// linkInfo is what an RTM_NEWLINK says of an interface.
type linkInfo struct {
	index    int
	name     string
	kind     string // of the driver, such as "veth" or "vrf"; "" for hardware
	hardware uint16 // ARPHRD_
	flags    uint32 // IFF_
	mac      wire.MAC
	mtu      int
	mtu6     int // of IPv6, 0 if IPv6 is off
	master   int // ifindex of the bridge, bond or VRF it belongs to
}

func (l *linkInfo) up() bool { return l.flags&unix.IFF_UP != 0 && l.flags&unix.IFF_RUNNING != 0 }

// parseLink reads an ifinfomsg and its attributes.
func parseLink(b []byte) (l linkInfo, err error) {
	if len(b) < unix.SizeofIfInfomsg {
		return l, errShort
	}
	l.hardware = binary.NativeEndian.Uint16(b[2:])
	l.index = int(int32(binary.NativeEndian.Uint32(b[4:])))
	l.flags = binary.NativeEndian.Uint32(b[8:])
	for kind, a := range attributes(b[unix.SizeofIfInfomsg:]) {
		switch kind {
		case unix.IFLA_IFNAME:
			l.name = a.text()
		case unix.IFLA_ADDRESS:
			l.mac = a.mac()
		case unix.IFLA_MTU:
			l.mtu = clampMTU(a.u32())
		case unix.IFLA_MASTER:
			l.master = int(int32(a.u32()))
		case unix.IFLA_LINKINFO:
			for kind, a := range attributes(a) {
				if kind == unix.IFLA_INFO_KIND {
					l.kind = a.text()
				}
			}
		case unix.IFLA_AF_SPEC:
			l.mtu6 = inet6MTU(a)
		}
	}
	return l, nil
}

// inet6MTU returns the MTU of IPv6 on an interface: a router's advertisement
// may make it smaller than the interface's own.
func inet6MTU(spec attribute) int {
	const conf, confMTU6 = 2, 2 // IFLA_INET6_CONF, DEVCONF_MTU6
	for family, a := range attributes(spec) {
		if family != unix.AF_INET6 {
			continue
		}
		for kind, a := range attributes(a) {
			if kind == conf && len(a) >= 4*(confMTU6+1) {
				return clampMTU(a[4*confMTU6:].u32())
			}
		}
	}
	return 0
}

// clampMTU keeps what is no MTU from being taken for one: no IP packet is
// longer than 64 KiB here, and no host may be asked to take less than 68 bytes
// (RFC 791).
func clampMTU(n uint32) int {
	switch {
	case n < 68:
		return 0
	case n > 0xffff:
		return 0xffff
	}
	return int(n)
}

// neighInfo is what an RTM_NEWNEIGH or RTM_DELNEIGH says of a neighbour.
type neighInfo struct {
	index    int
	ip       netip.Addr
	mac      wire.MAC
	nud      uint16 // NUD_
	managed  bool
	protocol uint8
}

// parseNeigh reads an ndmsg and its attributes. It returns false for what is no
// neighbour of IPv4 or IPv6, such as forwarding entries of a bridge, which
// share the multicast group, and addresses that the host answers for.
func parseNeigh(b []byte) (n neighInfo, ok bool) {
	if len(b) < unix.SizeofNdMsg {
		return n, false
	}
	family, flags := b[0], b[10]
	n.index = int(int32(binary.NativeEndian.Uint32(b[4:])))
	n.nud = binary.NativeEndian.Uint16(b[8:])
	for kind, a := range attributes(b[unix.SizeofNdMsg:]) {
		switch kind {
		case netlink.NDA_DST:
			n.ip = a.addr()
		case netlink.NDA_LLADDR:
			n.mac = a.mac()
		case netlink.NDA_FLAGS_EXT:
			n.managed = a.u32()&netlink.NTF_EXT_MANAGED != 0
		case netlink.NDA_PROTOCOL:
			if len(a) >= 1 {
				n.protocol = a[0]
			}
		}
	}
	ok = n.ip.IsValid() && (family == unix.AF_INET || family == unix.AF_INET6) && flags&netlink.NTF_PROXY == 0
	return n, ok
}

// routeInfo is what an RTM_NEWROUTE says.
type routeInfo struct {
	kind   uint8 // RTN_
	dst    netip.Prefix
	oif    int
	via    netip.Addr // gateway; zero: on-link
	mtu    int        // 0: the interface's
	encap  bool       // the kernel would add a header of its own
	legs   []leg      // of a multipath route
	family uint8
}

// leg is one way of a multipath route.
type leg struct {
	oif   int
	dead  bool
	via   netip.Addr
	encap bool
}

// parseRoute reads an rtmsg and its attributes.
func parseRoute(b []byte) (r routeInfo, err error) {
	if len(b) < unix.SizeofRtMsg {
		return r, errShort
	}
	r.family, r.kind = b[0], b[7]
	bits, dst := int(b[1]), netip.IPv4Unspecified()
	if r.family == unix.AF_INET6 {
		dst = netip.IPv6Unspecified()
	}
	for kind, a := range attributes(b[unix.SizeofRtMsg:]) {
		switch kind {
		case unix.RTA_DST:
			// Not through addr: a route to ::ffff:0:0/96 is one of IPv6.
			dst, _ = netip.AddrFromSlice(a)
		case unix.RTA_OIF:
			r.oif = int(int32(a.u32()))
		case unix.RTA_GATEWAY:
			r.via = a.addr()
		case unix.RTA_VIA:
			r.via = viaAddr(a)
		case unix.RTA_ENCAP_TYPE:
			r.encap = true
		case unix.RTA_METRICS:
			for kind, a := range attributes(a) {
				if kind == unix.RTAX_MTU {
					r.mtu = clampMTU(a.u32())
				}
			}
		case unix.RTA_MULTIPATH:
			r.legs = nexthops(a)
		}
	}
	if !dst.IsValid() {
		return r, errors.New("the destination of the route is no address")
	}
	r.dst, err = dst.Prefix(bits)
	return r, err
}

// viaAddr reads a struct rtvia: the gateway is of another family than the
// route.
func viaAddr(a attribute) netip.Addr {
	if len(a) < 2 {
		return netip.Addr{}
	}
	switch binary.NativeEndian.Uint16(a) {
	case unix.AF_INET, unix.AF_INET6:
		return a[2:].addr()
	}
	return netip.Addr{}
}

// nexthops reads a list of struct rtnexthop.
func nexthops(a attribute) (legs []leg) {
	const dead = unix.RTNH_F_DEAD | unix.RTNH_F_LINKDOWN | unix.RTNH_F_UNRESOLVED
	for len(a) >= unix.SizeofRtNexthop {
		n := int(binary.NativeEndian.Uint16(a))
		if n < unix.SizeofRtNexthop || n > len(a) {
			break
		}
		l := leg{oif: int(int32(a[4:].u32())), dead: a[2]&dead != 0}
		for kind, a := range attributes(a[unix.SizeofRtNexthop:n]) {
			switch kind {
			case unix.RTA_GATEWAY:
				l.via = a.addr()
			case unix.RTA_VIA:
				l.via = viaAddr(a)
			case unix.RTA_ENCAP_TYPE:
				l.encap = true
			}
		}
		legs = append(legs, l)
		a = a[min(align(n), len(a)):]
	}
	return legs
}
