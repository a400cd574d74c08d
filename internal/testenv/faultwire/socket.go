// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net"

	"golang.org/x/sys/unix"
)

// vnetLen is the length of struct virtio_net_hdr without mergeable buffers,
// which precedes every frame read from or written to a port.
//
//	0      1         2..4    4..6      6..8        8..10
//	flags  gso_type  hdr_len gso_size  csum_start  csum_offset
const vnetLen = 10

// vnetGSONone is VIRTIO_NET_HDR_GSO_NONE.
const vnetGSONone = 0

// socketBuffer holds what arrives while the loop is busy: a super-frame's
// kernel memory counts, not its bytes.
const socketBuffer = 64 << 20

// port is one interface's raw socket.
type port struct {
	fd   int
	name string
}

func htons(v uint16) uint16 { return bits.ReverseBytes16(v) }

// openPort opens a promiscuous raw socket on an interface.
func openPort(name string) (p *port, err error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("find interface %s: %w", name, err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket for %s: %w (need CAP_NET_RAW)", name, err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	for _, o := range []struct{ opt, v int }{
		{unix.PACKET_IGNORE_OUTGOING, 1},
		{unix.PACKET_VNET_HDR, 1},
	} {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, o.opt, o.v); err != nil {
			return nil, fmt.Errorf("set packet option %d on %s: %w", o.opt, name, err)
		}
	}
	for _, opt := range []int{unix.SO_RCVBUFFORCE, unix.SO_SNDBUFFORCE} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, socketBuffer); err != nil {
			return nil, fmt.Errorf("set buffer of %s to %d: %w (need CAP_NET_ADMIN)", name, socketBuffer, err)
		}
	}
	mreq := unix.PacketMreq{Ifindex: int32(ifi.Index), Type: unix.PACKET_MR_PROMISC}
	if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &mreq); err != nil {
		return nil, fmt.Errorf("make %s promiscuous: %w", name, err)
	}
	sa := unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: ifi.Index}
	if err := unix.Bind(fd, &sa); err != nil {
		return nil, fmt.Errorf("bind packet socket to %s: %w", name, err)
	}
	return &port{fd: fd, name: name}, nil
}

// read reads one frame behind its virtio header into buf.
func (p *port) read(buf []byte) (h vnetHeader, frame []byte, err error) {
	n, err := unix.Read(p.fd, buf)
	if err != nil {
		return nil, nil, err
	}
	if n < vnetLen {
		return nil, nil, unix.EBADMSG
	}
	return vnetHeader(buf[:vnetLen]), buf[vnetLen:n], nil
}

// drops returns how many frames the socket buffer had no room for since the
// last call.
func (p *port) drops() uint64 {
	s, err := unix.GetsockoptTpacketStats(p.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0
	}
	return uint64(s.Drops)
}

// vnetHeader is a struct virtio_net_hdr in host byte order.
type vnetHeader []byte

// isGSO reports whether the frame is a super-frame.
func (h vnetHeader) isGSO() bool { return h[1] != vnetGSONone }

// gsoSize returns the transport payload bytes of each frame to be cut.
func (h vnetHeader) gsoSize() int { return int(binary.NativeEndian.Uint16(h[4:6])) }

// csumStart returns the offset of the transport header to be repeated.
func (h vnetHeader) csumStart() int { return int(binary.NativeEndian.Uint16(h[6:8])) }
