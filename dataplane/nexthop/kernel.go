// SPDX-License-Identifier: Apache-2.0

package nexthop

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// protocol marks the neighbour entries that we made (NDA_PROTOCOL), so
	// that a later daemon knows what an earlier one left behind, and nobody
	// else's entries are ever removed. The number is free in rtnetlink.h.
	protocol = 110

	skipStats = 1 << 3 // RTEXT_FILTER_SKIP_STATS: only what parseLink reads
)

// kernel asks the kernel. All calls belong to one goroutine.
type kernel struct {
	*socket
}

// u32 returns an attribute with a number.
func u32(kind int, v uint32) *nl.RtAttr {
	return nl.NewRtAttr(kind, binary.NativeEndian.AppendUint32(nil, v))
}

// family returns the address family of ip.
func family(ip netip.Addr) uint8 {
	if ip.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// link reads an interface.
func (k kernel) link(index int) (linkInfo, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	info := nl.NewIfInfomsg(unix.AF_UNSPEC)
	info.Index = int32(index)
	req.AddData(info)
	req.AddData(u32(unix.IFLA_EXT_MASK, skipStats))
	m, err := k.exchange(req)
	if err != nil {
		return linkInfo{}, err
	}
	return parseLink(m.body)
}

// query is a question for a route.
type query struct {
	dst, src netip.Addr // src may be zero: any
	oif      int        // 0: any
	dport    uint16     // of UDP, for rules that name one; 0: none
	match    bool       // the entry of the table itself, not what it comes to
}

// route asks which way a packet would go.
func (k kernel) route(q query) (routeInfo, error) {
	bits := uint8(q.dst.BitLen())
	msg := &nl.RtMsg{RtMsg: unix.RtMsg{Family: family(q.dst), Dst_len: bits}}
	if q.src.IsValid() {
		msg.Src_len = bits
	}
	if q.match {
		msg.Flags = unix.RTM_F_FIB_MATCH
	}
	req := nl.NewNetlinkRequest(unix.RTM_GETROUTE, 0)
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.RTA_DST, q.dst.AsSlice()))
	if q.src.IsValid() {
		req.AddData(nl.NewRtAttr(unix.RTA_SRC, q.src.AsSlice()))
	}
	if q.oif != 0 {
		req.AddData(u32(unix.RTA_OIF, uint32(q.oif)))
	}
	req.AddData(nl.NewRtAttr(unix.RTA_IP_PROTO, []byte{unix.IPPROTO_UDP}))
	if q.dport != 0 {
		req.AddData(nl.NewRtAttr(unix.RTA_DPORT, binary.BigEndian.AppendUint16(nil, q.dport)))
	}
	m, err := k.exchange(req)
	if err != nil {
		return routeInfo{}, err
	}
	return parseRoute(m.body)
}

// neighMessage returns a request about the neighbour ip.
func neighMessage(kind, flags, index int, ip netip.Addr, ntf uint8) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(kind, flags)
	req.AddData(&netlink.Ndmsg{Family: family(ip), Index: uint32(index), Flags: ntf})
	req.AddData(nl.NewRtAttr(netlink.NDA_DST, ip.AsSlice()))
	return req
}

// neigh reads the neighbour ip of an interface. It is zero if there is none.
func (k kernel) neigh(index int, ip netip.Addr) (neighInfo, error) {
	m, err := k.exchange(neighMessage(unix.RTM_GETNEIGH, 0, index, ip, 0))
	if errors.Is(err, unix.ENOENT) {
		return neighInfo{}, nil
	}
	if err != nil {
		return neighInfo{}, err
	}
	n, ok := parseNeigh(m.body)
	if !ok || n.ip != ip || n.index != index {
		return neighInfo{}, nil
	}
	return n, nil
}

// create makes a neighbour entry of ours and has the kernel resolve it and, if
// it can, keep it so. It is unix.EEXIST if there is one already.
func (k kernel) create(index int, ip netip.Addr, managed bool) error {
	req := neighMessage(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, index, ip, netlink.NTF_USE)
	req.AddData(nl.NewRtAttr(netlink.NDA_PROTOCOL, []byte{protocol}))
	if managed {
		req.AddData(u32(netlink.NDA_FLAGS_EXT, netlink.NTF_EXT_MANAGED))
	}
	_, err := k.exchange(req)
	return err
}

// use has the kernel resolve or confirm an existing entry now, and begin or
// cease to keep it so. It must not be done to a permanent entry, which the
// kernel would make an ordinary one.
func (k kernel) use(index int, ip netip.Addr, managed bool) error {
	req := neighMessage(unix.RTM_NEWNEIGH, unix.NLM_F_ACK, index, ip, netlink.NTF_USE)
	if managed {
		req.AddData(u32(netlink.NDA_FLAGS_EXT, netlink.NTF_EXT_MANAGED))
	}
	_, err := k.exchange(req)
	return err
}

// remove deletes a neighbour entry.
func (k kernel) remove(index int, ip netip.Addr) error {
	_, err := k.exchange(neighMessage(unix.RTM_DELNEIGH, unix.NLM_F_ACK, index, ip, 0))
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
