// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// How an interface has a program: XDP_ATTACHED_* of linux/if_link.h.
const (
	attachedNone = iota
	attachedNative
	attachedGeneric
	attachedOffload
	attachedSeveral
)

// attributeType masks the flags of a netlink attribute's type.
const attributeType = 1<<14 - 1

// holder is an XDP program that an interface already has.
type holder struct {
	id   ebpf.ProgramID
	mode byte    // attached*
	name string  // empty: we may not ask
	link link.ID // zero: none, or we may not ask
}

// heldError says for people which program keeps Attach from an interface, and
// what to do. It is EBUSY.
type heldError string

func (e heldError) Error() string { return unix.EBUSY.Error() + ": " + string(e) }

func (e heldError) Is(target error) bool { return target == unix.EBUSY }

// whoHolds returns "" if refused is not about a program: see dev_xdp_attach in
// net/core/dev.c, which returns EBUSY and EEXIST. EBUSY may be a driver's, too.
func whoHolds(dev *net.Interface, refused error) heldError {
	if !errors.Is(refused, unix.EBUSY) && !errors.Is(refused, unix.EEXIST) {
		return ""
	}
	h, err := findHolder(dev.Index)
	switch {
	case err != nil:
		return heldError(fmt.Sprintf("another XDP program is there, see \"ip link show dev %s\" (%v)", dev.Name, err))
	case h != nil:
		return heldError(h.describe(dev.Name))
	case errors.Is(refused, unix.EEXIST):
		return "a device above it, such as a bridge or a bond, has an XDP program, see \"bpftool net show\"; remove that one, or use that device"
	}
	return ""
}

func (h *holder) describe(dev string) string {
	mode, off := "native mode", "xdpdrv"
	switch h.mode {
	case attachedGeneric:
		mode, off = "generic mode", "xdpgeneric"
	case attachedOffload:
		mode, off = "offloaded", "xdpoffload"
	case attachedSeveral:
		mode, off = "several modes", "xdp"
	}
	remedy := fmt.Sprintf("remove it with \"ip link set dev %s %s off\"", dev, off)
	if h.link != 0 {
		remedy = fmt.Sprintf("end the process that holds its link, or \"bpftool link detach id %d\"", h.link)
	}
	who := "an XDP program"
	switch h.name {
	case "":
	case overlayProgNetconOverlay:
		who = "another netcon's XDP program " + h.name
		remedy = "stop that netcon, or use another interface"
	default:
		who = "XDP program " + h.name
	}
	return fmt.Sprintf("%s (id %d, %s) is there and is left alone; see \"ip link show dev %s\" or \"bpftool net show dev %s\"; %s",
		who, h.id, mode, dev, dev, remedy)
}

// findHolder returns the XDP program of an interface, nil if there is none.
// Names and links need CAP_SYS_ADMIN; without it they stay empty.
func findHolder(ifindex int) (*holder, error) {
	dump, err := syscall.NetlinkRIB(unix.RTM_GETLINK, unix.AF_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	h, err := parseHolder(dump, ifindex)
	if err != nil || h == nil {
		return nil, err
	}
	if p, err := ebpf.NewProgramFromID(h.id); err == nil {
		if info, err := p.Info(); err == nil {
			h.name = info.Name
		}
		p.Close()
	}
	h.link = findLink(h.id, ifindex)
	return h, nil
}

// findLink returns the link by which an interface has a program, zero if it has
// none. Links of all network namespaces are listed, so an interface's index
// alone is not enough.
func findLink(id ebpf.ProgramID, ifindex int) link.ID {
	var links link.Iterator
	defer links.Close()
	for links.Next() {
		info, err := links.Link.Info()
		if err == nil && info.Type == link.XDPType && info.Program == id && info.XDP().Ifindex == uint32(ifindex) {
			return info.ID
		}
	}
	return 0
}

// parseHolder finds the IFLA_XDP attribute of an interface in the answer to
// RTM_GETLINK: messages, one per interface, each with a header, a struct
// ifinfomsg and attributes. It cuts them up itself because package syscall
// panics if the last one is not padded.
func parseHolder(dump []byte, ifindex int) (*holder, error) {
	for len(dump) >= unix.SizeofNlMsghdr {
		size := int64(binary.NativeEndian.Uint32(dump))
		if size < unix.SizeofNlMsghdr || size > int64(len(dump)) {
			return nil, errors.New("list interfaces: malformed answer")
		}
		kind, m := binary.NativeEndian.Uint16(dump[4:]), dump[unix.SizeofNlMsghdr:size]
		dump = dump[min((size+3)&^3, int64(len(dump))):]
		if kind != unix.RTM_NEWLINK || len(m) < unix.SizeofIfInfomsg ||
			int(int32(binary.NativeEndian.Uint32(m[4:]))) != ifindex {
			continue
		}
		for kind, value := range attributes(m[unix.SizeofIfInfomsg:]) {
			if kind == unix.IFLA_XDP {
				return parseXDP(value), nil
			}
		}
		return nil, nil
	}
	return nil, errors.New("interface is gone")
}

// parseXDP reads the attributes inside IFLA_XDP. Of several programs it returns
// one.
func parseXDP(b []byte) *holder {
	var h holder
	for kind, value := range attributes(b) {
		switch kind {
		case unix.IFLA_XDP_ATTACHED:
			if len(value) >= 1 {
				h.mode = value[0]
			}
		case unix.IFLA_XDP_PROG_ID, unix.IFLA_XDP_DRV_PROG_ID, unix.IFLA_XDP_SKB_PROG_ID, unix.IFLA_XDP_HW_PROG_ID:
			if len(value) >= 4 && h.id == 0 {
				h.id = ebpf.ProgramID(binary.NativeEndian.Uint32(value))
			}
		}
	}
	if h.mode == attachedNone {
		return nil
	}
	return &h
}

// attributes yields types and values of netlink attributes, up to the first
// that is malformed.
func attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofNlAttr {
			size := int(binary.NativeEndian.Uint16(b))
			if size < unix.SizeofNlAttr || size > len(b) ||
				!yield(binary.NativeEndian.Uint16(b[2:])&attributeType, b[unix.SizeofNlAttr:size]) {
				return
			}
			b = b[min((size+3)&^3, len(b)):]
		}
	}
}
