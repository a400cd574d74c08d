// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Interface is one interface of a container.
type Interface struct {
	Index int
	Name  string
	Kind  uint16 // ARPHRD_*
	Flags uint32 // IFF_*
	MTU   int
	MAC   net.HardwareAddr
	Addrs []netip.Prefix
}

// interfacesTimeout bounds the wait for an answer.
const interfacesTimeout = 5 * time.Second

// Interfaces asks for the interfaces of the container.
func Interfaces(q *Requests) ([]Interface, syscall.Errno) {
	fd, e := OpenNetlink(q, unix.Getpid(), 0)
	if e != 0 {
		return nil, e
	}
	defer unix.Close(fd)
	tv := unix.NsecToTimeval(interfacesTimeout.Nanoseconds())
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	var list []Interface
	if e := dump(fd, unix.RTM_GETLINK, func(m *syscall.NetlinkMessage) { list = append(list, readLink(m)) }); e != 0 {
		return nil, e
	}
	return list, dump(fd, unix.RTM_GETADDR, func(m *syscall.NetlinkMessage) {
		index, p := readAddress(m)
		for i := range list {
			if list[i].Index == index && p.IsValid() {
				list[i].Addrs = append(list[i].Addrs, p)
			}
		}
	})
}

// dump asks for all of a kind and calls each for what comes.
func dump(fd int, kind uint16, each func(*syscall.NetlinkMessage)) syscall.Errno {
	b := binary.NativeEndian.AppendUint32(nil, unix.NLMSG_HDRLEN+unix.SizeofRtGenmsg)
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	b = append(b, make([]byte, 8+unix.SizeofRtGenmsg)...) // number, port id, family
	if err := unix.Send(fd, b, unix.MSG_NOSIGNAL); err != nil {
		return Gone
	}
	in := make([]byte, 8192)
	for {
		n, err := unix.Read(fd, in)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return Gone
		}
		messages, err := syscall.ParseNetlinkMessage(in[:n])
		if err != nil {
			return unix.EPROTO
		}
		for i := range messages {
			switch m := &messages[i]; m.Header.Type {
			case unix.NLMSG_DONE:
				return 0
			case unix.NLMSG_ERROR:
				return unix.EPROTO
			default:
				each(m)
			}
		}
	}
}

func readLink(m *syscall.NetlinkMessage) (i Interface) {
	if len(m.Data) < unix.SizeofIfInfomsg {
		return i
	}
	i.Kind = binary.NativeEndian.Uint16(m.Data[2:])
	i.Index = int(int32(binary.NativeEndian.Uint32(m.Data[4:])))
	i.Flags = binary.NativeEndian.Uint32(m.Data[8:])
	attrs, _ := syscall.ParseNetlinkRouteAttr(m)
	for _, a := range attrs {
		switch a.Attr.Type {
		case unix.IFLA_IFNAME:
			i.Name = unix.ByteSliceToString(a.Value)
		case unix.IFLA_ADDRESS:
			i.MAC = a.Value
		case unix.IFLA_MTU:
			if len(a.Value) == 4 {
				i.MTU = int(binary.NativeEndian.Uint32(a.Value))
			}
		}
	}
	return i
}

func readAddress(m *syscall.NetlinkMessage) (index int, p netip.Prefix) {
	if len(m.Data) < unix.SizeofIfAddrmsg {
		return 0, p
	}
	attrs, _ := syscall.ParseNetlinkRouteAttr(m)
	for _, a := range attrs {
		if a.Attr.Type == unix.IFA_ADDRESS {
			ip, _ := netip.AddrFromSlice(a.Value)
			p = netip.PrefixFrom(ip, int(m.Data[1]))
		}
	}
	return int(int32(binary.NativeEndian.Uint32(m.Data[4:]))), p
}
