// SPDX-License-Identifier: Apache-2.0

package rtnetlink

import (
	"encoding/binary"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// forever is a lifetime without an end, in struct ifa_cacheinfo.
const forever = 0xffffffff

// answer is what becomes of one request: messages, gathered into datagrams.
type answer struct {
	seq, port uint32
	emit      func([]byte)
	b         []byte
	at        int // where the open message begins
}

// begin opens a message. One that would make its datagram too long begins
// another: none of ours comes near the difference to a page.
func (a *answer) begin(kind, flags uint16) {
	if len(a.b) > datagramMax {
		a.flush()
	}
	a.at = len(a.b)
	a.u32(0) // the length, by end
	a.u16(kind)
	a.u16(flags)
	a.u32(a.seq)
	a.u32(a.port)
}

func (a *answer) end() {
	binary.NativeEndian.PutUint32(a.b[a.at:], uint32(len(a.b)-a.at))
	a.pad()
}

func (a *answer) pad() {
	for len(a.b)%4 != 0 {
		a.b = append(a.b, 0)
	}
}

func (a *answer) u8(v uint8)   { a.b = append(a.b, v) }
func (a *answer) u16(v uint16) { a.b = binary.NativeEndian.AppendUint16(a.b, v) }
func (a *answer) u32(v uint32) { a.b = binary.NativeEndian.AppendUint32(a.b, v) }

func (a *answer) attr(kind uint16, value []byte) {
	a.u16(uint16(unix.SizeofRtAttr + len(value)))
	a.u16(kind)
	a.b = append(a.b, value...)
	a.pad()
}

func (a *answer) attr8(kind uint16, v uint8) { a.attr(kind, []byte{v}) }

func (a *answer) attr32(kind uint16, v uint32) {
	a.attr(kind, binary.NativeEndian.AppendUint32(nil, v))
}

func (a *answer) attrName(kind uint16, name string) { a.attr(kind, append([]byte(name), 0)) }

func (a *answer) flush() {
	if len(a.b) > 0 {
		a.emit(a.b)
		a.b = a.b[:0]
	}
}

// acknowledge ends a request that is no dump.
func (a *answer) acknowledge(r *request, e syscall.Errno) {
	a.begin(unix.NLMSG_ERROR, 0)
	a.u32(uint32(-int32(e)))
	if e != 0 {
		// The whole request, as far as it makes sense to repeat it.
		a.b = append(a.b, r.whole[:min(len(r.whole), datagramMax)]...)
	} else {
		a.b = append(a.b, r.whole[:unix.NLMSG_HDRLEN]...)
	}
	a.end()
	a.flush()
}

// done ends a dump, in the last datagram that has room: musl reads the second one
// without waiting for it, because the kernel has it ready then.
func (a *answer) done() {
	a.begin(unix.NLMSG_DONE, unix.NLM_F_MULTI)
	a.u32(0)
	a.end()
	a.flush()
}

func (a *answer) link(l *link, flags uint16) {
	a.begin(unix.RTM_NEWLINK, flags)
	a.u8(unix.AF_UNSPEC)
	a.u8(0)
	a.u16(l.kind)
	a.u32(uint32(l.index))
	a.u32(l.flags)
	a.u32(0)
	a.attrName(unix.IFLA_IFNAME, l.name)
	a.attr32(unix.IFLA_TXQLEN, 1000)
	a.attr8(unix.IFLA_OPERSTATE, l.state)
	a.attr8(unix.IFLA_LINKMODE, 0)
	a.attr32(unix.IFLA_MTU, uint32(l.mtu))
	a.attr32(unix.IFLA_GROUP, 0)
	a.attr8(unix.IFLA_CARRIER, 1)
	a.attrName(unix.IFLA_QDISC, "noqueue")
	a.attr(unix.IFLA_ADDRESS, l.mac[:])
	a.attr(unix.IFLA_BROADCAST, l.all[:])
	a.end()
}

func (a *answer) address(l *link, p netip.Prefix) {
	ip := p.Addr()
	scope := uint8(unix.RT_SCOPE_UNIVERSE)
	switch {
	case ip.IsLoopback():
		scope = unix.RT_SCOPE_HOST
	case ip.IsLinkLocalUnicast():
		scope = unix.RT_SCOPE_LINK
	}
	a.begin(unix.RTM_NEWADDR, unix.NLM_F_MULTI)
	a.u8(familyOf(ip))
	a.u8(uint8(p.Bits()))
	a.u8(unix.IFA_F_PERMANENT)
	a.u8(scope)
	a.u32(uint32(l.index))
	a.attr(unix.IFA_ADDRESS, ip.AsSlice())
	if ip.Is4() {
		a.attr(unix.IFA_LOCAL, ip.AsSlice())
		if all, ok := broadcast(p); ok && !ip.IsLoopback() {
			a.attr(unix.IFA_BROADCAST, all[:])
		}
		a.attrName(unix.IFA_LABEL, l.name)
	}
	a.attr32(unix.IFA_FLAGS, unix.IFA_F_PERMANENT)
	times := make([]byte, 0, unix.SizeofIfaCacheinfo)
	for _, v := range []uint32{forever, forever, 0, 0} { // preferred, valid; made, changed
		times = binary.NativeEndian.AppendUint32(times, v)
	}
	a.attr(unix.IFA_CACHEINFO, times)
	a.end()
}

// broadcast is the last address of an IPv4 subnet that has one to spare.
func broadcast(p netip.Prefix) (ip [4]byte, ok bool) {
	const spare = 30
	ip = p.Addr().As4()
	v := binary.BigEndian.Uint32(ip[:]) | ^uint32(0)>>p.Bits()
	binary.BigEndian.PutUint32(ip[:], v)
	return ip, p.Bits() <= spare
}

func (a *answer) route(to netip.Prefix, gateway, source netip.Addr) {
	scope, protocol := uint8(unix.RT_SCOPE_UNIVERSE), uint8(unix.RTPROT_STATIC)
	if !gateway.IsValid() {
		protocol = unix.RTPROT_KERNEL
		if to.Addr().Is4() {
			scope = unix.RT_SCOPE_LINK
		}
	}
	a.begin(unix.RTM_NEWROUTE, unix.NLM_F_MULTI)
	a.u8(familyOf(to.Addr()))
	a.u8(uint8(to.Bits()))
	a.u8(0)
	a.u8(0)
	a.u8(unix.RT_TABLE_MAIN)
	a.u8(protocol)
	a.u8(scope)
	a.u8(unix.RTN_UNICAST)
	a.u32(0)
	a.attr32(unix.RTA_TABLE, unix.RT_TABLE_MAIN)
	if to.Bits() > 0 {
		a.attr(unix.RTA_DST, to.Addr().AsSlice())
	}
	if gateway.IsValid() {
		a.attr(unix.RTA_GATEWAY, gateway.AsSlice())
	}
	if source.IsValid() && source.Is4() {
		a.attr(unix.RTA_PREFSRC, source.AsSlice())
	}
	a.attr32(unix.RTA_OIF, DeviceIndex)
	a.end()
}
